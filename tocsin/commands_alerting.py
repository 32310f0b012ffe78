"""What people tell Tocsin about alerts: silences, how far a type may go, whether an alert was worth it; and the account of it."""

from __future__ import annotations

import getpass
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.errors import ConfigError
from tocsin.options import ConfigOption, JsonOption, TypeOption, emit, load_config, open_state

if TYPE_CHECKING:
    from tocsin.config import ComponentType, Config

app = typer.Typer()
silence_app = typer.Typer(
    help="Not see some incidents for a while. They are recorded, and shown when the silence ends and they are still there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
audit_app = typer.Typer(
    help="The journal: each step of each incident and each decision of a person, a line of JSON each, chained by digests.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(silence_app, name="silence")
app.add_typer(audit_app, name="audit")

ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; you, when it is not given.")]


class Said(StrEnum):
    """What an alert was worth."""

    USEFUL = "useful"
    NOISE = "noise"
    KNOWN = "known"


class UpTo(StrEnum):
    """A severity as people write it."""

    WARNING = "warning"
    CRITICAL = "critical"


class To(StrEnum):
    """A rung of the ladder."""

    LEARN = "learn"
    SHOW = "show"
    STATUS = "status"
    NOTIFY = "notify"


# --- silences ---------------------------------------------------------------------------------------------------------


@silence_app.command("add")
def silence_add(
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; people read it beside the service.")],
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long from now, such as 30m, 4h or 2d.")],
    component_type: Annotated[str, typer.Option("--type", "-t", metavar="PATTERN", help="Component types; * and ? fit.")] = "",
    component: Annotated[str, typer.Option("--component", metavar="PATTERN", help="Components; * and ? fit.")] = "",
    metric: Annotated[
        str, typer.Option("--metric", metavar="PATTERN", help="Incidents in which only such metrics take part.")
    ] = "",
    severity: Annotated[UpTo | None, typer.Option("--severity", help="Only up to this; what gets worse is shown.")] = None,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Silence incidents that meet every pattern given, from now on. The daemon follows within a tick.

    Examples:

      tocsin silence add --component "web-*" --for 2h -m "load test"

      tocsin silence add --type db --severity warning --for 12h -m "known, ticket 4711"
    """
    import secrets

    from tocsin.model import Severity, utc
    from tocsin.records import Matcher, Silence
    from tocsin.settings import parse_duration

    loaded, now = load_config(config), int(time.time())
    try:
        seconds = parse_duration(lasts)
    except ValueError as error:
        raise ConfigError(f"--for: {error}") from error
    if not 0 < seconds <= 366 * 86_400:
        raise ConfigError("--for: a silence lasts at most a year; ended ones are forgotten problems")
    if not comment.strip():
        raise ConfigError("--comment: say why, people will read it")
    matcher = Matcher(
        component_type=component_type,
        component=component,
        metric=metric,
        severity=None if severity is None else Severity[severity.value.upper()],
    )
    if not any((component_type, component, metric)):
        raise ConfigError("a silence names at least a --type, a --component or a --metric; '*' is every one")
    one = Silence(
        id=secrets.token_hex(6),
        matcher=matcher,
        start=now,
        end=now + seconds,
        author=by or _user(),
        comment=comment.strip(),
        created_at=now,
    )
    with open_state(loaded) as state:
        state.accounts.add_silence(one)
        meant = [it for it in state.incidents(open_only=True, limit=10_000) if matcher.matches(it)]
    if as_json:
        emit(_silence_document(one) | {"open_incidents": [it.id for it in meant]})
        return
    print(f"silence {one.id}: {matcher.words}, until {utc(one.end):%Y-%m-%d %H:%M} UTC")
    print(f"{len(meant)} open incident{'' if len(meant) == 1 else 's'} meant now")


@silence_app.command("list")
def silence_list(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended ones too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the silences in force: what they mean, until when, by whom and why.

    Example: tocsin silence list --all
    """
    from tocsin.model import utc

    with open_state(load_config(config)) as state:
        found = state.accounts.silences(at=None if everything else time.time())
    if as_json:
        emit([_silence_document(one) for one in found])
        return
    if not found:
        print("no silence is in force" if not everything else "nothing was ever silenced")
    for one in found:
        ended = f", ended early by {one.expired_by}" if one.expired_by else ""
        print(f"{one.id}  until {utc(one.end):%Y-%m-%d %H:%M} UTC  {one.matcher.words}  by {one.author}: {one.comment}{ended}")


@silence_app.command("expire")
def silence_expire(
    silence: Annotated[str, typer.Argument(help="Its id; the first characters are enough.")],
    by: ByOption = None,
    config: ConfigOption = None,
) -> None:
    """End a silence now. What it held back and is still there is shown at the next tick.

    Example: tocsin silence expire 3fa9c1
    """
    with open_state(load_config(config)) as state:
        one = state.accounts.expire_silence(silence, time.time(), by or _user())
    print(f"silence {one.id} ({one.matcher.words}) has ended")


def _silence_document(one: Any) -> dict[str, Any]:
    severity = one.matcher.severity
    return {
        "id": one.id,
        "component_type": one.matcher.component_type,
        "component": one.matcher.component,
        "metric": one.matcher.metric,
        "severity": None if severity is None else severity.name,
        "start": _iso(one.start),
        "end": _iso(one.end),
        "author": one.author,
        "comment": one.comment,
        "expired_by": one.expired_by,
    }


# --- the ladder -------------------------------------------------------------------------------------------------------


@app.command()
def promote(
    component_type: Annotated[str, typer.Argument(metavar="TYPE", help="The component type.")],
    component: Annotated[str, typer.Option("--component", help="Only this one of its components.")] = "",
    to: Annotated[
        To | None, typer.Option("--to", help="The rung; the next one up by default. A lower one needs no proof.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Without the proof. It is written down that you did.")] = False,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; needed with --force.")] = "",
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a component type, or one component, climb the ladder: learn, show, status, notify.

    Each step needs its proof, measured on what is stored: days judged, alerts per component and week that nobody called useful
    (no more than alert.promise), as few alarms on a placebo (the past shuffled by hours, where nothing can have happened; it
    takes as long as a training), no more alerts than the static template had, and for notify that people found alerts useful.
    Refused with the figures, exit code 1, when the proof is missing. `tocsin ladder` shows what each type lacks.

    Examples:

      tocsin promote web

      tocsin promote web --component web-7 --to status --force -m "agreed with the team"
    """
    from dataclasses import replace

    from alerting.ladder import RUNGS, missing
    from alerting.stages import Rung
    from tocsin.model import utc
    from tocsin.proof import measure, placebo_rate
    from tocsin.records import Promotion
    from tocsin.staging import World
    from tocsin.store.history import History

    loaded, now = load_config(config), time.time()
    kind = _kind(loaded, component_type)
    with open_state(loaded) as state, History(loaded.state / "history") as history:
        world = World(promotions={(one.component_type, one.component): one for one in state.accounts.promotions()})
        here = world.rung(kind.name, kind.alert.ladder, component)
        wanted = Rung(to.value) if to is not None else RUNGS[min(RUNGS.index(here) + 1, len(RUNGS) - 1)]
        if wanted is here:
            print(f"{kind.name}{_of(component)} stands on {here.value} already")
            return
        figures = measure(state, kind, now, component=component, history=history)
        up = RUNGS.index(wanted) > RUNGS.index(here)
        if up and wanted in (Rung.STATUS, Rung.NOTIFY) and not force:
            figures = replace(figures, placebo=placebo_rate(history, kind, now, loaded.train.history))
        lacks = missing(wanted, figures, kind.alert.promise) if up else ()
        if lacks and not force:
            if as_json:
                emit(
                    {"type": kind.name, "component": component, "to": wanted.value, "lacks": lacks, "figures": figures.document()}
                )
            else:
                for sentence in lacks:
                    print(f"tocsin: {kind.name}{_of(component)}: {sentence}", file=sys.stderr)
                print(f"tocsin: not promoted to {wanted.value}; --force does it without the proof", file=sys.stderr)
            raise typer.Exit(1)
        if force and not comment.strip():
            raise ConfigError("--force: say why with --comment; it is written into the journal")
        one = Promotion(
            component_type=kind.name,
            component=component,
            rung=wanted.value,
            written=kind.alert.ladder,
            at=int(now),
            by=by or _user(),
            reason=comment.strip() or ("proved" if up else "sent down by hand"),
            forced=bool(lacks) and force,
            figures=figures.document() | {"lacks": list(lacks)},
        )
        state.accounts.promote(one)
    if as_json:
        emit({"type": kind.name, "component": component, "from": here.value, "to": wanted.value, "figures": dict(one.figures)})
    else:
        print(f"{kind.name}{_of(component)}: {here.value} -> {wanted.value}, {utc(now):%Y-%m-%d %H:%M} UTC, by {one.by}")


@app.command()
def ladder(config: ConfigOption = None, component_type: TypeOption = None, as_json: JsonOption = False) -> None:
    """Show where each component type stands, what was measured of it, what it lacks for the next rung; and the alert budgets.

    Example: tocsin ladder --type web
    """
    from alerting.ladder import RUNGS, missing
    from tocsin.proof import measure
    from tocsin.staging import World
    from tocsin.store.history import History

    loaded, now = load_config(config), time.time()
    kinds = [_kind(loaded, component_type)] if component_type else list(loaded.types)
    told: list[dict[str, Any]] = []
    with open_state(loaded) as state, History(loaded.state / "history") as history:
        world = World(promotions={(one.component_type, one.component): one for one in state.accounts.promotions()})
        for kind in kinds:
            figures = measure(state, kind, now, history=history)
            here = world.rung(kind.name, kind.alert.ladder)
            place = RUNGS.index(here) + 1
            lacks = missing(RUNGS[place], figures, kind.alert.promise) if place < len(RUNGS) else ()
            let = world.promotions.get((kind.name, ""))
            told.append(
                {
                    "type": kind.name,
                    "rung": here.value,
                    "why": let.reason if let is not None and let.rung == here.value else "as the YAML says",
                    "by": let.by if let is not None else "",
                    "promise": kind.alert.promise,
                    "figures": figures.document(),
                    "next": RUNGS[place].value if place < len(RUNGS) else None,
                    "lacks": list(lacks),
                    "components": {
                        one.component: one.rung
                        for one in world.promotions.values()
                        if one.component and one.component_type == kind.name
                    },
                }
            )
        bars = {name: {"bar": one.value, "used": one.used, "reason": one.reason} for name, one in state.accounts.bars().items()}
    if as_json:
        emit({"types": told, "budgets": bars})
        return
    for one in told:
        _print_rung(one)
    for name, bar in bars.items():
        print(f"budget of {name}: shown from surprise {bar['bar']:.1f} ({bar['reason']})")


def _print_rung(one: dict[str, Any]) -> None:
    print(f"{one['type']}: {one['rung']} ({one['why']})")
    facts = one["figures"]
    rate = "-" if facts["rate"] is None else f"{facts['rate']:.2g}"
    print(f"  {facts['days']:.1f} days, {facts['alerts']} alerts, {facts['false']} of them nobody called useful")
    print(f"  {rate} per component and week, {one['promise']:g} promised; the static template had {_or_dash(facts['static'])}")
    for component, rung in one["components"].items():
        print(f"  {component}: {rung}")
    if one["next"] is not None:
        print(f"  for {one['next']}: {'; '.join(one['lacks']) or 'all is proved: tocsin promote ' + one['type']}")


# --- feedback ---------------------------------------------------------------------------------------------------------


@app.command()
def feedback(
    incident: Annotated[str, typer.Argument(help="Its id, the first characters are enough; or the word report.")],
    verdict: Annotated[Said | None, typer.Argument(help="Whether it was worth it.")] = None,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What it was.")] = "",
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether an incident was useful, noise, or known before; or report how often alerts were useful.

    What you say goes before what is read off acknowledgements, downtimes and closings in Centreon. `tocsin feedback report`
    tells precision per component type, detector and model version.

    Examples:

      tocsin feedback 3fa9c1 noise -m "nightly backup"

      tocsin feedback report
    """
    if incident == "report":
        _report(load_config(config), as_json)
        return
    if verdict is None:
        raise ConfigError("say what it was: useful, noise or known")
    from tocsin.oversight import attributed
    from tocsin.records import Verdict

    loaded, now, author = load_config(config), int(time.time()), by or _user()
    with open_state(loaded) as state:
        found, _ = state.incident(incident)
        one = Verdict(
            id=f"cli:feedback:{author}:{found.id}",
            incident=found.id,
            component_type=found.component_type,
            component=found.component,
            verdict=verdict.value,
            source="cli",
            kind="feedback",
            at=now,
            author=author,
            text=comment.strip(),
            severity=found.severity,
        )
        kind = next((kind for kind in loaded.types if kind.name == found.component_type), None)
        state.accounts.add_verdicts([attributed(one, kind, state)])
    if as_json:
        emit({"incident": found.id, "verdict": verdict.value, "author": author, "comment": one.text})
    else:
        print(f"{found.id[:8]} of {found.component}: {verdict.value}")


def _report(loaded: Config, as_json: bool) -> None:
    from tocsin.precision import precision

    with open_state(loaded) as state:
        rows = precision(state.incidents(), state.accounts.verdicts())
    if as_json:
        emit(rows)
        return
    if not rows:
        print("nobody said anything of any incident yet: tocsin feedback INCIDENT useful|noise|known")
        return
    print(f"{'by':<16} {'name':<24} {'alerts':>7} {'useful':>7} {'noise':>6} {'known':>6} {'precision':>10}")
    for row in rows:
        share = "-" if row["precision"] is None else f"{row['precision']:.0%}"
        counts = f"{row['alerts']:>7} {row['useful']:>7} {row['noise']:>6} {row['known']:>6}"
        print(f"{row['by']:<16} {row['name']:<24} {counts} {share:>10}")


# --- the journal ------------------------------------------------------------------------------------------------------


@audit_app.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(help="A file that `tocsin audit export` wrote; the database by default.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no line of the journal was changed, taken out or put in. Exit code 1 with the place when one was.

    The digest of the last line stands for all of them: write it down elsewhere, and nobody can write the journal anew.

    Example: tocsin audit verify
    """
    from tocsin import chain

    links = _links(config, file)
    fault = chain.first_break(links)
    if as_json:
        emit({"lines": len(links), "whole": not fault, "fault": fault, "last": links[-1].digest if links else None})
    elif fault:
        print(f"tocsin: journal: {fault}", file=sys.stderr)
    else:
        print(f"{len(links)} lines, whole; the last digest is {links[-1].digest if links else 'none yet'}")
    if fault:
        raise typer.Exit(1)


@audit_app.command("export")
def audit_export(
    incident: Annotated[
        str, typer.Option("--incident", metavar="ID", help="Only this incident's life; the chain is left out.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Print the journal as JSON lines: what happened, with its number and digest. `tocsin audit verify FILE` checks it.

    Example: tocsin audit export > journal.jsonl
    """
    import json

    with open_state(load_config(config)) as state:
        whole = state.incident(incident)[0].id if incident else ""
        after = 0
        while links := state.accounts.journal(after, 10_000):
            for link in links:
                if whole and json.loads(link.line).get("incident") != whole:
                    continue
                facts = (
                    link.line
                    if whole
                    else json.dumps({"seq": link.seq, "line": link.line, "digest": link.digest}, ensure_ascii=False)
                )
                print(facts)
            after = links[-1].seq


def _links(config: Path | None, file: Path | None) -> list[Any]:
    import json

    from tocsin.chain import Link

    if file is None:
        with open_state(load_config(config)) as state:
            return list(state.accounts.journal())
    try:
        with file.open(encoding="utf-8") as lines:
            return [Link(**json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: cannot be read as an exported journal: {error}") from error


# --- inside -----------------------------------------------------------------------------------------------------------


def _kind(loaded: Config, name: str) -> ComponentType:
    from tocsin.errors import did_you_mean

    for kind in loaded.types:
        if kind.name == name:
            return kind
    raise ConfigError(f'no component type "{name}"{did_you_mean(name, [kind.name for kind in loaded.types])}')


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _of(component: str) -> str:
    return f" {component}" if component else ""


def _or_dash(value: object) -> str:
    return "-" if value is None else f"{value}"


def _iso(seconds: float) -> str:
    from tocsin.model import utc

    return utc(seconds).isoformat().replace("+00:00", "Z")
