"""`tocsin promote`, `ladder` and `feedback`: how far a type may go, and whether its alerts were worth it."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.errors import ConfigError
from tocsin.options import ByOption, ConfigOption, JsonOption, TypeOption, emit, load_config, open_state, user

if TYPE_CHECKING:
    from tocsin.config import ComponentType, Config

app = typer.Typer()


class Said(StrEnum):
    """What an alert was worth."""

    USEFUL = "useful"
    NOISE = "noise"
    KNOWN = "known"


class To(StrEnum):
    """A rung of the ladder."""

    LEARN = "learn"
    SHOW = "show"
    STATUS = "status"
    NOTIFY = "notify"


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
            figures = replace(figures, placebo=placebo_rate(history, kind, now, kind.learns_from(loaded.train.history)))
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
            by=by or user(),
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

    loaded, now, author = load_config(config), int(time.time()), by or user()
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


# --- inside -----------------------------------------------------------------------------------------------------------


def _kind(loaded: Config, name: str) -> ComponentType:
    from tocsin.errors import did_you_mean

    for kind in loaded.types:
        if kind.name == name:
            return kind
    raise ConfigError(f'no component type "{name}"{did_you_mean(name, [kind.name for kind in loaded.types])}')


def _of(component: str) -> str:
    return f" {component}" if component else ""


def _or_dash(value: object) -> str:
    return "-" if value is None else f"{value}"
