"""What a service shows: one code, one text and the values for its graph, from the incidents behind it.

The text carries no code of its own ("CRITICAL: …"): that is put in front when it is sent, because a recovery may have to
wait until the opening was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerting.desired import worse
from alerting.line import clean
from alerting.stages import ACKNOWLEDGED, LADDER, visible
from alerting.words import LANGUAGES, Words
from tocsin.model import Anomaly, CheckResult, Incident, Perf, Phase, ServiceKey, Severity
from tocsin.settings import spell_duration
from tocsin.timegrid import DAY, Calendar

MOST_INCIDENTS = 5
MOST_METRICS = 5
MOST_MEMBERS = 8
MOST_OF_A_LINE = 60
_UNIT_WORDS = {
    "": "count",
    "%": "percentage",
    "ms": "milliseconds",
    "s": "seconds",
    "us": "microseconds",
    "B": "bytes",
    "b": "bits",
    "b/s": "bitspersecond",
    "B/s": "bytespersecond",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Static:
    """What the static template says in the place of learned bands: its code, and the metric, value and limit behind it."""

    code: Severity
    metric: str = ""
    unit: str = ""
    value: float = math.nan
    limit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What stands behind a service: how many metrics, how many of them were judged in the latest bucket.

    `last_data` is the end of the latest bucket that held a value. `blind_since` is set while there is no data (or no answer,
    then with `why`). A service whose components cannot be judged, for this reason or because they are still being learnt, is
    UNKNOWN unless an incident is open, never OK. With `static` its static thresholds take over for that time. The bands of
    `borrowed` of the judged metrics were partly learnt from siblings.
    """

    metrics: int
    judged: int
    borrowed: int = 0
    components: int = 1
    last_data: int | None = None
    blind_since: int | None = None
    why: str = ""
    static: Static | None = None


class Look(Protocol):
    """One metric at one moment; an `Anomaly` is one."""

    @property
    def metric(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def expected(self) -> float: ...
    @property
    def lower(self) -> float: ...
    @property
    def upper(self) -> float: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A metric's latest bucket, for the graph."""

    metric: str
    unit: str
    value: float
    expected: float
    lower: float
    upper: float


def result(
    service: ServiceKey,
    incidents: Iterable[Incident],
    watched: Watched,
    now: int,
    *,
    calendar: Calendar,
    language: str = "en",
    perf: Sequence[Perf] = (),
) -> CheckResult:
    """Everything a service shows. `incidents` are the open ones and, to be mentioned, those that recovered a while ago.

    An incident that a stage holds back gives its text, not its code.
    """
    words = LANGUAGES[language]
    tell = _Teller(words, calendar, now, watched)
    ranked = sorted(
        incidents, key=lambda one: (not visible(one.held_by), -_rank(one.severity), -one.peak, one.since, one.component)
    )
    now_open = [one for one in ranked if one.phase is Phase.OPEN]
    shown = [one for one in now_open if visible(one.held_by)]
    code = Severity.OK
    for incident in shown:
        code = incident.severity if worse(incident.severity, code) else code
    blind = tell.blindness()
    if not now_open:
        over = [one for one in ranked if one.recovered is not None]
        ended = [tell.over(max(over, key=lambda one: (one.recovered or 0, one.peak)))] if over else []
        lines = [", ".join([*ended, blind or tell.calm()])]
    handed_back = watched.static if not shown and (blind or not watched.judged) else None
    if not shown and (blind or not watched.judged):
        # Nobody judges it: saying OK would be a lie, whatever the reason.
        code = Severity.UNKNOWN if handed_back is None else handed_back.code
    if now_open:
        lines = tell.troubles(now_open)
        if blind:
            lines[0] += f", {blind}"
    if handed_back is not None:
        lines[0] = f"{tell.static(handed_back)}, {words.not_judged.format(why=lines[0])}"
    return CheckResult(service=service, code=code, text="\n".join(lines), perf=tuple(perf), at=now)


def perf(readings: Iterable[Look], surprise: float = math.nan, instance: str = "") -> tuple[Perf, ...]:
    """Value, band and expectation of each metric under names as Centreon's own plugins give them.

    `instance` is the component where a service shows several. What is not finite is left out.
    """
    before = f"{instance}#" if instance else ""
    found = [Perf(label=f"{before}anomaly.surprise.count", value=surprise)]
    for look in readings:
        spelled = _UNIT_WORDS.get(look.unit) or "".join(char for char in look.unit.lower() if char.isalnum()) or "count"
        for part, value in (("", look.value), ("lower.", look.lower), ("upper.", look.upper), ("expected.", look.expected)):
            found.append(Perf(label=f"{before}{look.metric}.{part}{spelled}", value=value, unit=look.unit))
    return tuple(one for one in found if math.isfinite(one.value))


def is_of_logs(metric: str) -> bool:
    """Whether a series counts log lines."""
    return metric.startswith("log.")


def lines_in_words(anomaly: Anomaly, words: Words) -> str:
    """`42 new “connection to * timed out” lines`"""
    example = clean(anomaly.example).strip()
    example = example if len(example) <= MOST_OF_A_LINE else example[: MOST_OF_A_LINE - 1] + "…"
    quoted = words.quote.format(text=example) if example else clean(anomaly.metric.removeprefix("log.template."))
    kind, count = anomaly.metric.removeprefix("log."), number(anomaly.value)
    if kind == "lines":
        return words.all_lines.format(count=count)
    if kind.startswith("level."):
        level = clean(kind.removeprefix("level."))
        return words.lines_at.format(count=count, level=level, quoted=quoted if example else "").strip()
    if kind == "new":
        return " ".join(words.new_lines.format(count=count, quoted=quoted if example else "").split())
    return words.lines_of.format(count=count, quoted=quoted)


def number(value: float) -> str:
    """Four significant digits as a person writes them: 840, 12.35, 1234000."""
    if not math.isfinite(value):
        return "?"
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{round(value, 3 - math.floor(math.log10(abs(value)))) if value else 0.0:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class _Teller:
    words: Words
    calendar: Calendar
    now: int
    watched: Watched

    def when(self, instant: int) -> str:
        """The local time, with as much of the date as is needed."""
        local, today = self.calendar.local(instant), self.calendar.local(self.now)
        if local.date() == today.date():
            return f"{local:%H:%M}"
        if abs(self.now - instant) < 6 * DAY:
            return f"{self.words.days[local.weekday()]} {local:%H:%M}"
        return f"{local:%Y-%m-%d %H:%M}"

    def blindness(self) -> str:
        if self.watched.blind_since is None:
            return ""
        text = self.words.no_data.format(lasted=spell_duration(max(0, self.now - self.watched.blind_since)))
        parts = (
            [text]
            if self.watched.last_data is None
            else [text, self.words.last_data.format(when=self.when(self.watched.last_data))]
        )
        return ", ".join(parts) + (f" ({clean(self.watched.why)})" if self.watched.why else "")

    def calm(self) -> str:
        watched, words = self.watched, self.words
        if not watched.judged:
            text = words.learning.format(all=watched.metrics)
        else:
            text = words.within_one if watched.judged == watched.metrics == 1 else words.within.format(some=watched.judged)
            if watched.judged < watched.metrics:
                text += ", " + words.judged.format(some=watched.judged, all=watched.metrics)
            if watched.borrowed:
                partly = words.partly_one if watched.judged == 1 else words.partly
                text += ", " + partly.format(some=watched.borrowed)
        return text if watched.last_data is None else f"{text}, {words.last_data.format(when=self.when(watched.last_data))}"

    def over(self, incident: Incident) -> str:
        end = incident.recovered or self.now
        if incident.phase is Phase.WITHDRAWN:
            return self.words.withdrawn.format(when=self.when(end))
        text = self.words.recovered.format(when=self.when(end), lasted=spell_duration(end - incident.since))
        return f"{text} ({self.subject(incident, incident.anomalies[0])})" if incident.anomalies else text

    def troubles(self, incidents: Sequence[Incident]) -> list[str]:
        """One line for one incident; a headline and a line each for several; then what else is wrong in the worst."""
        told = [self.trouble(incident) for incident in incidents[:MOST_INCIDENTS]]
        if len(incidents) > MOST_INCIDENTS:
            told.append(self.words.more.format(count=len(incidents) - MOST_INCIDENTS))
        if len(incidents) > 1:
            told[0] = f"{self.words.incidents.format(count=len(incidents))}: {told[0]}"
        if len(incidents) > 1:
            return told
        only = incidents[0]
        details = [self.subject(only, anomaly) for anomaly in only.anomalies[1:MOST_METRICS]]
        return [*told, *details, self.words.surprise.format(surprise=f"{only.peak:.1f}")]

    def trouble(self, incident: Incident) -> str:
        words, parts = self.words, []
        if incident.anomalies:
            parts.append(self.subject(incident, incident.anomalies[0]))
        else:
            parts.append(f"{clean(incident.component)} {clean(incident.signature)}")
        if incident.flapping_since is not None:
            parts.append(words.flapping.format(when=self.when(incident.flapping_since)))
        parts.append(words.since.format(when=self.when(incident.since)))
        if incident.anomalies and self.watched.metrics >= max(2, len(incident.anomalies)):
            parts.append(words.of_metrics.format(some=len(incident.anomalies), all=self.watched.metrics))
        text = ", ".join(parts)
        if also := next((one for one in incident.anomalies[1:] if is_of_logs(one.metric)), None):
            text += f"; {words.also.format(what=lines_in_words(also, words))}"
        if incident.folded:
            text += f"; {self.members(incident)}"
        if visible(incident.held_by):
            return text + "".join(f", {words.acknowledged.format(why=clean(why))}" for _, why in incident.held_by)
        stage, why = next((stage, why) for stage, why in incident.held_by if stage != ACKNOWLEDGED)
        before = words.would_be.format(code=incident.severity.name)
        return (
            f"{before}: {text}"
            if stage == LADDER and ":" not in why
            else f"{before}: {text}, {words.held.format(stage=clean(stage), why=clean(why))}"
        )

    def members(self, incident: Incident) -> str:
        """`499 more behind sw-1: web-002, web-003, web-004, …`"""
        kind, _, name = incident.behind.partition(" ")
        spelled = {"group": self.words.of_group, "type": self.words.of_type}.get(kind if name else "", self.words.nothing_common)
        behind = spelled.format(name=clean(name if name and kind in ("group", "type") else incident.behind))
        names = ", ".join(clean(member) for member in incident.folded[:MOST_MEMBERS])
        rest = ", …" if len(incident.folded) > MOST_MEMBERS else ""
        return self.words.folded.format(count=len(incident.folded), behind=behind, names=names + rest)

    def static(self, static: Static) -> str:
        """What the static template says."""
        if static.code is Severity.OK:
            return self.words.static_ok
        value = f"{number(static.value)} {clean(static.unit)}".strip()
        return self.words.static.format(metric=clean(static.metric), value=value, limit=clean(static.limit))

    def subject(self, incident: Incident, anomaly: Anomaly) -> str:
        """`latency.p95 840 ms, expected 60..180 (Tue 10:30)`"""
        words, metric = self.words, clean(anomaly.metric)
        if is_of_logs(anomaly.metric) and not math.isnan(anomaly.value):
            who = f"{clean(incident.component)} " if self.watched.components > 1 else ""
            return f"{who}{lines_in_words(anomaly, words)}{self.band(anomaly)} ({self.moment(anomaly.at)})"
        name = f"{clean(incident.component)} {metric}" if self.watched.components > 1 else metric
        if math.isnan(anomaly.value):
            return f"{words.no_data_from.format(metric=name)} ({self.moment(anomaly.at)})"
        unit = f" {clean(anomaly.unit)}" if anomaly.unit else ""
        return f"{name} {number(anomaly.value)}{unit}{self.band(anomaly)} ({self.moment(anomaly.at)})"

    def moment(self, instant: int) -> str:
        local = self.calendar.local(instant)
        return f"{self.words.days[local.weekday()]} {local:%H:%M}"

    def band(self, anomaly: Anomaly) -> str:
        lower, upper = math.isfinite(anomaly.lower), math.isfinite(anomaly.upper)
        if lower and upper:
            text = self.words.expected.format(lower=number(anomaly.lower), upper=number(anomaly.upper))
        elif upper:
            text = self.words.at_most.format(upper=number(anomaly.upper))
        elif lower:
            text = self.words.at_least.format(lower=number(anomaly.lower))
        elif math.isfinite(anomaly.expected):
            text = self.words.about.format(expected=number(anomaly.expected))
        else:
            return ""
        if anomaly.borrowed:
            text += ", " + self.words.siblings.format(share=round(100 * (1 - anomaly.own)))
        return f", {text}"


def _rank(code: Severity) -> int:
    return sum(worse(code, other) for other in Severity)
