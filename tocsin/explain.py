"""One incident explained: what was seen against what was expected, since when, how it was before, what Tocsin did and why.

In words and as data, the same facts in both. `gather` asks the state and the history; the rest is pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from alerting.say import number
from alerting.stages import ACKNOWLEDGED
from tocsin import likeness
from tocsin.lookback import DAYS, NOTHING, Lookback, Metric, look_back
from tocsin.model import Anomaly, Incident, SeriesIndex, SeriesKey, Transition, Window, utc
from tocsin.settings import spell_duration
from tocsin.timegrid import DAY

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.store.state import State

At: TypeAlias = Callable[[int], str]
MOST_OF_A_LINE = 300
_PAST_INCIDENTS = 5_000


@dataclass(frozen=True, kw_only=True)
class Around:
    """What is known around an incident: what people said of it, which earlier one is like it, how its metrics were before."""

    people: Mapping[str, Any] = field(default_factory=lambda: {"said": [], "most_alike": None})
    before: Lookback = NOTHING


def gather(config: Config, state: State, incident: Incident) -> Around:
    """Ask what is known around an incident. A component type that is configured no more has no weeks before."""
    past = state.incidents(component_type=incident.component_type, limit=_PAST_INCIDENTS)
    return Around(
        people=likeness.document(incident, past, state.accounts.verdicts()),
        before=_before(config, incident),
    )


def _before(config: Config, incident: Incident) -> Lookback:
    from tocsin.store.history import History  # noqa: PLC0415  (reads Parquet: slow to import, and rarely asked)

    kind = next((kind for kind in config.types if kind.name == incident.component_type), None)
    if kind is None or not incident.anomalies:
        return NOTHING
    worst = max(anomaly.at for anomaly in incident.anomalies)
    window = Window(incident.since, worst + kind.every, kind.every).reaching_back(DAYS * DAY)
    index = SeriesIndex({SeriesKey(incident.component, anomaly.metric) for anomaly in incident.anomalies})
    with History(config.state / "history") as history:
        frame = history.read(kind.name, window, index)
    return look_back(incident, frame, kind.surroundings().calendar)


# --- as data --------------------------------------------------------------------------------------------------------------


def document(incident: Incident, transitions: Sequence[Transition], around: Around | None = None) -> dict[str, Any]:
    """An incident as JSON: times in ISO 8601, numbers that JSON has. With `around` also what is known around it."""
    spelled = {
        **asdict(incident),
        "phase": incident.phase.value,
        "severity": incident.severity.name,
        "since": iso(incident.since),
        "opened": iso(incident.opened),
        "last_bad": iso(incident.last_bad),
        "recovered": iso(incident.recovered),
        "anomalies": [
            {
                **{key: finite(value) for key, value in asdict(anomaly).items()},
                "own": round(anomaly.own, 3),
                "at": iso(anomaly.at),
            }
            for anomaly in incident.anomalies
        ],
        "held_by": [{"stage": stage, "reason": reason} for stage, reason in incident.held_by],
    }
    if transitions:
        spelled["transitions"] = [
            {"at": iso(step.at), "kind": step.kind, "reason": step.reason, "severity": step.severity.name} for step in transitions
        ]
    known = {} if around is None else {**around.people, "before": _before_document(around.before)}
    return {key: finite(value) for key, value in spelled.items()} | known


def _before_document(before: Lookback) -> dict[str, Any]:
    moment = before.moment
    return {
        "metrics": [
            {
                "metric": one.metric,
                "side": one.side,
                "same_hour": [finite(value) for value in one.same_hour],
                "again": None if one.again is None else {"at": iso(one.again[0]), "value": one.again[1]},
                "most": one.most,
                "most_at": iso(one.most_at),
                "days": one.known,
            }
            for one in before.metrics
        ],
        "moment": None
        if moment is None
        else {
            "at": iso(moment.at),
            "of": iso(moment.of),
            "alike": round(moment.alike, 3),
            "values": dict(moment.values),
        },
    }


# --- in words -------------------------------------------------------------------------------------------------------------


def story(config: Config, incident: Incident, transitions: Sequence[Transition], around: Around | None = None) -> str:
    """One incident in plain sentences, its anomalies as a small table, its steps with their reasons; with `around` also how it
    was before and what people said."""

    def at(seconds: int) -> str:
        return local_time(config, incident.component_type, seconds)

    lasted = spell_duration(max(0, (incident.recovered or incident.last_bad) - incident.since))
    who = f"{incident.component} ({incident.component_type})"
    lines = [
        f"Incident {incident.id}",
        f"{who}: {incident.severity.name}, {incident.signature}, {incident.phase.value}",
        f"Since {at(incident.since)}, opened {at(incident.opened)}, last bad {at(incident.last_bad)}"
        + (f", recovered {at(incident.recovered)} after {lasted}" if incident.recovered is not None else ""),
        f"Surprise {incident.peak:.1f} at its worst: in normal operation {odds(incident.peak)} looks like this.",
    ]
    if incident.held_by:
        hides = {True: "Not shown: ", False: ""}
        lines += [f"{hides[stage != ACKNOWLEDGED]}{stage}: {reason}" for stage, reason in incident.held_by]
    if incident.folded:
        names = ", ".join(incident.folded[:20]) + (", …" if len(incident.folded) > 20 else "")
        lines.append(f"Shown here too, behind {incident.behind}: {len(incident.folded)} more: {names}")
    before = {} if around is None else {one.metric: one for one in around.before.metrics}
    if incident.anomalies:
        lines += ["", "What was seen, and what would have been normal:"]
        width = max(len(anomaly.metric) for anomaly in incident.anomalies)
        for anomaly in incident.anomalies:
            lines.append(f"  {anomaly.metric:<{width}}  {in_words(anomaly)}  ({at(anomaly.at)})")
            if anomaly.example:
                lines.append(f"  {'':<{width}}  such as: {printable(anomaly.example)}")
            if anomaly.metric in before:
                lines.append(f"  {'':<{width}}  {_metric_before(before[anomaly.metric], at)}")
    if around is not None:
        lines += ["", *_moments(around, at)]
    if transitions:
        lines += ["", "What Tocsin did, and why:"]
        lines += [f"  {at(step.at)}  {step.kind:<10} {step.severity.name:<8} {step.reason}" for step in transitions]
    return "\n".join(lines)


def in_words(anomaly: Anomaly) -> str:
    """`840 ms, expected 110, normal 60..180, surprise 7.2 (64% of the component's)`"""
    unit = f" {anomaly.unit}" if anomaly.unit else ""
    parts = [f"{number(anomaly.value)}{unit}" if math.isfinite(anomaly.value) else "no data"]
    if math.isfinite(anomaly.expected):
        parts.append(f"expected {number(anomaly.expected)}")
    lower, upper = math.isfinite(anomaly.lower), math.isfinite(anomaly.upper)
    if lower and upper:
        parts.append(f"normal {number(anomaly.lower)}..{number(anomaly.upper)}")
    elif lower or upper:
        parts.append(f"normal at least {number(anomaly.lower)}" if lower else f"normal at most {number(anomaly.upper)}")
    if anomaly.borrowed:
        parts.append(f"learnt to {anomaly.own:.0%} from itself and to {1 - anomaly.own:.0%} from its siblings")
    share = f" ({anomaly.share:.0%} of the component's)" if anomaly.share >= 0.005 else ""
    return ", ".join([*parts, f"surprise {anomaly.surprise:.1f}{share}"])


def printable(line: str) -> str:
    """A log line as a terminal may show it, whoever masked it."""
    return "".join(char if char.isprintable() else " " for char in line[:MOST_OF_A_LINE])


def odds(surprise: float) -> str:
    """Surprise 3 → "one bucket in 1,000"; capped where the arithmetic promises more than data can show."""
    return f"one bucket in {10 ** min(surprise, 6):,.0f}" if surprise <= 6 else "less than one bucket in 1,000,000"


def _metric_before(one: Metric, at: At) -> str:
    """`at this hour of the weeks before 11.2, 12.5, none, 11.8; never as high in the 28 days before, at most 24.3 (…)`"""
    if one.again is not None:
        again = f"last as {one.side} {at(one.again[0])} ({number(one.again[1])})"
    else:
        limit = "at most" if one.side == "high" else "at least"
        again = f"never as {one.side} in {_days(one.known)}: {limit} {number(one.most)} ({at(one.most_at)})"
    if not any(math.isfinite(value) for value in one.same_hour):
        return again
    hour = ", ".join(number(value) if math.isfinite(value) else "none" for value in one.same_hour)
    return f"at this hour of the weeks before {hour}; {again}"


def _days(count: int) -> str:
    return f"the {count} days before" if count > 1 else "the day before"


def _moments(around: Around, at: At) -> Iterator[str]:
    """When it was like this before, as far as that is known, and what people said."""
    if (moment := around.before.moment) is not None:
        values = ", ".join(f"{name} {number(value)}" for name, value in moment.values)
        yield f"Nearest moment before: {at(moment.at)}, {moment.alike:.0%} like {at(moment.of)}: {values}"
    elif around.before.metrics:
        yield f"Nothing in {_days(max(one.known for one in around.before.metrics))} was like it"
    yield from likeness.sentences(around.people, at)


def iso(seconds: float | None) -> str | None:
    """`2026-05-28T00:40:00Z`"""
    return None if seconds is None else utc(seconds).isoformat().replace("+00:00", "Z")


def finite(value: Any) -> Any:
    """What JSON has no number for as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def local_time(config: Config, component_type: str, seconds: int) -> str:
    """A time as the people of a component type say it."""
    kind = next((kind for kind in config.types if kind.name == component_type), None)
    when: datetime = kind.surroundings().calendar.local(seconds) if kind else utc(seconds)
    return f"{when:%a %Y-%m-%d %H:%M}" + ("" if kind else " UTC")
