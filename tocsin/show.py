"""What the command line prints: tables, stories, progress, and the documents behind `--json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from alerting.stages import visible
from tocsin.explain import in_words, iso, local_time
from tocsin.model import Incident, Phase, Severity, utc
from tocsin.settings import spell_duration
from tocsin.store.accounts import sources_of
from tocsin.store.lock import holder

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.store.rows import ModelVersion
    from tocsin.store.state import State

_COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.CRITICAL: "red", Severity.UNKNOWN: "magenta"}

Report = Callable[[int, int], None]
"""`report(done, total)`: called as long work advances."""


def console() -> Console:
    """Standard output, as wide as the terminal; a pipe gets plain text that is not folded."""
    return Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)


class Progress:
    """Bars on stderr while it is a terminal, silence otherwise."""

    def __init__(self) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._bars.stop()

    def reporter(self, title: str) -> Report:
        """A new bar; call what is returned with (done, total)."""
        task = self._bars.add_task(title, total=None)
        return lambda done, total: self._bars.update(task, completed=done, total=total)


def emit(document: Any) -> None:
    """Print a JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def configuration(facts: Mapping[str, Any]) -> None:
    """Print what `tocsin check-config` found."""
    out = console()
    out.print(Text(f"{facts['path']}: no mistakes"))
    for key, value in facts.items():
        if key not in ("path", "types"):
            out.print(Text(f"  {key}: {value}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    types: Sequence[Mapping[str, Any]] = facts["types"]
    for column in types[0] if types else ():
        table.add_column(column.replace("_", " "))
    for kind in types:
        table.add_row(
            *(Text(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)) for value in kind.values())
        )
    out.print(table)


def incident_table(config: Config, incidents: Sequence[Incident], everything: bool) -> None:
    """Print incidents, newest first."""
    if not incidents:
        console().print("No incident was ever opened." if everything else "No incident is open.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "state", "type", "component", "since", "lasted", "surprise", "what"):
        table.add_column(column, justify="right" if column in ("lasted", "surprise") else "left", no_wrap=column != "what")
    for incident in incidents:
        ended = incident.recovered or incident.last_bad
        table.add_row(
            incident.id[:8],
            _state(incident),
            Text(incident.component_type),
            Text(incident.component),
            local_time(config, incident.component_type, incident.since),
            spell_duration(max(0, ended - incident.since)),
            f"{incident.peak:.1f}",
            Text(_worst(incident)),
        )
    console().print(table)


def model_document(model: ModelVersion) -> dict[str, Any]:
    """A baseline version as JSON."""
    return {
        "component_type": model.component_type,
        "version": model.version,
        "active": model.active,
        "pinned": model.pinned,
        "created": iso(model.created_at),
        "trained_from": iso(model.trained_on.start),
        "trained_to": iso(model.trained_on.end),
        "file": model.path,
        "sha256": model.sha256,
        "facts": dict(model.facts),
    }


def model_table(models: Sequence[ModelVersion]) -> None:
    """Print baseline versions."""
    if not models:
        console().print("Nothing was learnt yet: run `tocsin train`.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "type", "version", "learnt on", "to", "created", "series", "file"):
        table.add_column(column, justify="right" if column in ("version", "series") else "left")
    for model in models:
        table.add_row(
            ("* pinned" if model.pinned else "*") if model.active else "",
            Text(model.component_type),
            str(model.version),
            f"{utc(model.trained_on.start):%Y-%m-%d %H:%M}",
            f"{utc(model.trained_on.end):%Y-%m-%d %H:%M}",
            f"{utc(model.created_at):%Y-%m-%d %H:%M} UTC",
            str(model.facts.get("series", "")),
            Text(model.path),
        )
    console().print(table)


def status_report(config: Config, state: State, now: float) -> dict[str, Any]:
    """How the installation is, as data; `problems` is empty when nothing needs a look."""
    problems: list[str] = list(state.problems)
    pid = holder(config.state)
    if pid is None:
        problems.append("the daemon is not running")
    types = []
    for kind in config.types:
        watermark = max(state.watermarks(kind.name).values(), default=None)
        model = state.active_model(kind.name)
        if watermark is None:
            problems.append(f"{kind.name}: nothing was judged yet")
        elif now - watermark > 3 * kind.every + kind.delay:
            problems.append(f"{kind.name}: nothing was judged since {iso(watermark)}")
        if model is None:
            problems.append(f"{kind.name}: nothing was learnt yet")
        looked = state.accounts.snapshot(sources_of(kind.name))
        unseen: dict[str, Any] = {"sources": [], "delay": kind.delay, "delay_reason": "not asked yet", "notes": []}
        facts: dict[str, Any] = unseen if looked is None else looked[1]
        problems += [
            f"{kind.name}: {one['name']} is {one['kind']} since {iso(one['since'])}: {one['reason']}"
            for one in facts["sources"]
            if one["kind"] != "ok"
        ] + list(facts["notes"])
        types.append(
            {
                "component_type": kind.name,
                "judged_until": iso(watermark),
                "model": model.version if model else None,
                "trained_to": iso(model.trained_on.end) if model else None,
                "open_incidents": len(state.incidents(open_only=True, component_type=kind.name, limit=10_000)),
                "delay": facts["delay"],
                "delay_reason": facts["delay_reason"],
                "sources": facts["sources"],
            }
        )
    rows = state.all_desired()
    wrong = [row for row in rows if row.error]
    problems += [f"{row.service.host}/{row.service.service}: {row.error}" for row in wrong[:20]]
    return {
        "running": pid is not None,
        "pid": pid,
        "state": str(Path(config.state).resolve()),
        "types": types,
        "services": len(rows),
        "services_confirmed": sum(row.last_seen_code == row.code for row in rows),
        "services_with_problems": len(wrong),
        "problems": problems,
    }


def status_table(facts: Mapping[str, Any]) -> None:
    """Print a status report."""
    out = console()
    out.print(
        Text(f"Tocsin {'runs' if facts['running'] else 'does not run'}" + (f" (process {facts['pid']})" if facts["pid"] else ""))
    )
    out.print(Text(f"  state {facts['state']}"))
    out.print(f"  {facts['services']} services, {facts['services_confirmed']} of them confirmed by the far side")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("type", "judged until", "model", "learnt to", "open"):
        table.add_column(column)
    for kind in facts["types"]:
        table.add_row(
            Text(kind["component_type"]),
            *(str(kind[key] or "-") for key in ("judged_until", "model", "trained_to", "open_incidents")),
        )
    out.print(table)
    for kind in facts["types"]:
        states = ", ".join(f"{one['name']} {one['kind']}" for one in kind["sources"]) or "not asked yet"
        out.print(
            Text(f"  {kind['component_type']}: {states}; judged after {spell_duration(kind['delay'])} ({kind['delay_reason']})")
        )
    for problem in facts["problems"]:
        out.print(Text(f"! {problem}", style="yellow"))


def _state(incident: Incident) -> Text:
    if incident.phase is not Phase.OPEN:
        return Text(incident.phase.value, style="green")
    return Text(incident.severity.name + ("" if visible(incident.held_by) else " (held)"), style=_COLOURS[incident.severity])


def _worst(incident: Incident) -> str:
    if not incident.anomalies:
        return incident.signature
    more = f" and {len(incident.anomalies) - 1} more" if len(incident.anomalies) > 1 else ""
    return f"{incident.anomalies[0].metric}: {in_words(incident.anomalies[0])}{more}"
