"""Static thresholds in the notation of the monitoring plugins, and what a static template makes of values.

    10       alert outside 0..10            10:      alert below 10
    ~:10     alert above 10                 10:20    alert outside 10..20
    @10:20   alert inside 10..20, both ends included

A template judges each metric of each component alone, with the same numbers everywhere. A check that is not OK is
first *soft*; after `attempts` checks in a row that were not OK it is *hard* and somebody is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Bools, Floats, Frame, Ints, SeriesKey, Severity, whole

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<inside>@)?(?:(?P<low>~|{_NUMBER})?(?P<colon>:))?(?P<high>{_NUMBER})?", re.ASCII)
_EXAMPLE = (
    "write the values that are fine, such as 10 (0 to 10), 10: (10 or more), ~:10 (10 or less), 10:20, "
    "or @10:20 for an alert inside"
)


@dataclass(frozen=True, slots=True)
class Range:
    """The values from `low` to `high`, both included; an alert is raised outside of them, or `inside`."""

    low: float
    high: float
    inside: bool = False

    def violated(self, values: Floats) -> Bools:
        """Where the values raise an alert, same shape; NaN never does."""
        values = np.asarray(values, np.float64)
        if self.inside:
            return (values >= self.low) & (values <= self.high)
        return (values < self.low) | (values > self.high)

    @property
    def edges(self) -> tuple[float, ...]:
        """The finite limits, low first: what a person would draw as a line."""
        return tuple(edge for edge in (self.low, self.high) if math.isfinite(edge))

    def __str__(self) -> str:
        low = "~:" if self.low == -math.inf else "" if self.low == 0 and self.high != math.inf else f"{self.low:.15g}:"
        high = "" if self.high == math.inf else f"{self.high:.15g}"
        return f"{'@' if self.inside else ''}{low}{high}"


def parse_range(text: str | float) -> Range:
    """`10`, `10:`, `~:10`, `10:20`, `@10:20` → Range; a bare number of YAML is fine too.

    Raises ValueError with one sentence and an example for anything else.
    """
    plain = str(text).strip()
    match = _RANGE.fullmatch(plain) if isinstance(text, str | int | float) and not isinstance(text, bool) else None
    if match is None or not (match["colon"] or match["high"]):
        raise ValueError(f"{plain!r} is no threshold range: {_EXAMPLE}")
    low = -math.inf if match["low"] == "~" else float(match["low"] or 0)
    high = float(match["high"]) if match["high"] else math.inf
    if low > high or low == math.inf or (match["high"] and math.isinf(high)):
        raise ValueError(f"{plain!r} is no threshold range, its start is above its end: {_EXAMPLE}")
    return Range(low, high, bool(match["inside"]))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a template says of one metric; either may be missing."""

    warning: Range | None = None
    critical: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Template:
    """The static template of a component type: one check per metric that has thresholds, each run once per bucket.

    `attempts` is Centreon's `max_check_attempts`. With `unknown_alerts`, a check that gets no value is UNKNOWN and
    somebody is told of that too; otherwise a missing value leaves a check as it was. Trouble that comes back within
    `reopen` seconds is still the same alert. `own` are the thresholds that single series have instead.
    """

    thresholds: Mapping[str, Thresholds]
    own: Mapping[SeriesKey, Thresholds] = field(default_factory=dict)
    attempts: int = 3
    unknown_alerts: bool = False
    reopen: int = 1_800

    def of(self, key: SeriesKey) -> Thresholds | None:
        """Those of a series: its own, or its metric's; what is written of `disk.used` holds for each of its parts."""
        return self.own.get(key) or self.thresholds.get(whole(key.metric, self.thresholds))


@dataclass(frozen=True, slots=True)
class Alert:
    """Hard trouble of one check, from the end of the bucket that made it hard to that of the first one that was fine.

    `told` holds the opening and every change for the worse: the instants at which somebody is told. `checks` names what
    was in trouble.
    """

    start: int
    end: int
    told: tuple[int, ...]
    severity: Severity
    checks: tuple[str, ...] = ()


def static_severity(values: Floats, thresholds: Thresholds) -> Ints:
    """The `Severity` of each value, same shape; UNKNOWN where there is no value."""
    values = np.asarray(values, np.float64)
    severity = np.full(values.shape, int(Severity.OK), np.int64)
    if thresholds.warning is not None:
        severity[thresholds.warning.violated(values)] = Severity.WARNING
    if thresholds.critical is not None:
        severity[thresholds.critical.violated(values)] = Severity.CRITICAL
    severity[np.isnan(values)] = Severity.UNKNOWN
    return severity


def hard_severity(severity: Ints, attempts: int, *, unknown_alerts: bool = False) -> Ints:
    """What each check's hard state is after each bucket, (n_checks, n_buckets); all checks begin as hard OK.

    Trouble is hard after `attempts` results in a row that were not OK, whatever their codes; then it follows every
    code at once, and one OK ends it. Without `unknown_alerts` a result UNKNOWN never took place.
    """
    hard = np.empty_like(severity)
    state = np.zeros(len(severity), np.int64)
    tries = np.zeros(len(severity), np.int64)
    for bucket in range(severity.shape[1]):
        code = severity[:, bucket]
        took_place = np.full(len(code), True) if unknown_alerts else code != Severity.UNKNOWN
        tries = np.where(took_place, np.where(code == Severity.OK, 0, tries + 1), tries)
        state = np.where(took_place & ((code == Severity.OK) | (tries >= attempts)), code, state)
        hard[:, bucket] = state
    return hard


# UNKNOWN is a higher code than CRITICAL and less bad: how bad each code is.
_BADNESS: NDArray[np.int64] = np.array([0, 2, 3, 1])


def alerts(hard: Ints, ends: Ints, check: str = "") -> Iterator[Alert]:
    """The alerts of one check from its hard states, (n_buckets,), and the ends of the buckets."""
    bad = np.concatenate([[False], hard != Severity.OK, [False]])
    edges = np.flatnonzero(bad[1:] != bad[:-1])
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        badness = _BADNESS[hard[first:after]]
        worst = np.maximum.accumulate(badness)
        told = first + np.concatenate([[0], np.flatnonzero(worst[1:] > worst[:-1]) + 1])
        end = int(ends[after]) if after < len(ends) else int(ends[-1])
        severity = Severity(int(hard[first + int(np.argmax(badness))]))
        yield Alert(int(ends[first]), end, tuple(int(ends[b]) for b in told), severity, (check,) if check else ())


def template_alerts(frame: Frame, template: Template) -> Mapping[str, Sequence[Alert]]:
    """Every alert the template raises over a frame, per component in order of time; components without any have none.

    Checks of a component that are in trouble at the same time, and trouble that comes back, are one alert, as one person
    would see them: this is kinder to the template than its notifications are.
    """
    alike: dict[Thresholds, list[int]] = {}
    rows: list[int] = []
    for row, key in enumerate(frame.index):
        if (limits := template.of(key)) is not None:
            alike.setdefault(limits, []).append(len(rows))
            rows.append(row)
    severity = np.empty((len(rows), len(frame.window)), np.int64)
    for limits, ours in alike.items():
        severity[ours] = static_severity(frame.values[np.array(rows)[ours]], limits)
    severity[~frame.known[rows]] = Severity.UNKNOWN
    hard = hard_severity(severity, template.attempts, unknown_alerts=template.unknown_alerts)
    ends = frame.window.starts + frame.window.span
    found: dict[str, list[Alert]] = {component: [] for component in frame.index.components}
    for i, row in enumerate(rows):
        found[frame.index[row].component] += merge(
            list(alerts(hard[i], ends, frame.index[row].metric)), template.reopen, same_check=True
        )
    return {component: merge(several, template.reopen, same_check=False) for component, several in found.items()}


def merge(several: Sequence[Alert], reopen: int, *, same_check: bool) -> list[Alert]:
    """Alerts at most `reopen` seconds apart become one.

    When they are of the `same_check`, one that comes back tells something new only where it is worse than before;
    alerts of different checks each told somebody what the others had not.
    """
    merged: list[Alert] = []
    for alert in sorted(several, key=lambda a: (a.start, a.end)):
        if not merged or alert.start > merged[-1].end + reopen:
            merged.append(alert)
            continue
        last = merged[-1]
        worse = bool(_BADNESS[alert.severity] > _BADNESS[last.severity])
        told = {*last.told, *(() if same_check and not worse else alert.told[-1:] if same_check else alert.told)}
        severity = alert.severity if worse else last.severity
        checks = tuple(dict.fromkeys((*last.checks, *alert.checks)))
        merged[-1] = Alert(last.start, max(last.end, alert.end), tuple(sorted(told)), severity, checks)
    return merged
