"""An incident held against the weeks before it: what the same hour usually brought, when it last looked like this. Pure.

What was learnt says what is normal; this says what was there, for the person who wonders whether to believe it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tocsin.likeness import ALIKE, side
from tocsin.model import Anomaly, Bools, Floats, Frame, Incident, Ints, SeriesKey
from tocsin.timegrid import DAY, Calendar

DAYS = 28
WEEKS = 4
APART = 3600
"""Moments nearer than this to the beginning of an incident belong to it."""
NEAR = 1800
"""The same hour of another week is what was usual within this many seconds around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric before an incident.

    `same_hour` are its medians around the same local time one, two, three, four weeks before, NaN where it had no value.
    `again` is the last time that it was at least as extreme on the same side, and its value then; None when it never was.
    `most` is the most extreme value on that side, at `most_at`. `known` is how many days its values make.
    """

    metric: str
    side: str
    same_hour: tuple[float, ...]
    again: tuple[int, float] | None
    most: float
    most_at: int
    known: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """The bucket of the weeks before that was most like the incident at `of`: `alike` is 1 where all its metrics were the
    same, 0 where they were as they usually are."""

    at: int
    of: int
    alike: float
    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookback:
    """What the weeks before say."""

    metrics: tuple[Metric, ...] = ()
    moment: Moment | None = None


NOTHING = Lookback()


def look_back(incident: Incident, frame: Frame, calendar: Calendar) -> Lookback:
    """Hold the incident's metrics against the frame, which reaches from some weeks before it to its worst bucket.

    Metrics that the frame does not know are left out.
    """
    before = frame.window.starts < incident.since - APART
    metrics = tuple(_metrics(incident, frame, before, calendar))
    return Lookback(metrics=metrics, moment=_nearest(incident, frame, before))


def _metrics(incident: Incident, frame: Frame, before: Bools, calendar: Calendar) -> Iterator[Metric]:
    starts = frame.window.starts
    for anomaly in incident.anomalies:
        row = frame.index.rows.get(SeriesKey(incident.component, anomaly.metric), -1)
        values = frame.values[row] if row >= 0 else np.empty(0)
        there = np.flatnonzero(before & np.isfinite(values)) if row >= 0 else np.empty(0, np.int64)
        if not len(there) or math.isnan(anomaly.value):
            continue
        past = values[there]
        where = _side(anomaly, past)
        sign = 1.0 if where == "high" else -1.0
        reached = there[sign * past >= sign * anomaly.value]
        most = there[len(there) - 1 - int(np.argmax(sign * past[::-1]))]
        yield Metric(
            metric=anomaly.metric,
            side=where,
            same_hour=tuple(_same_hour(values, starts, anomaly.at, calendar, frame.window.span)),
            again=(int(starts[reached[-1]]), float(values[reached[-1]])) if len(reached) else None,
            most=float(values[most]),
            most_at=int(starts[most]),
            known=max(1, round(len(there) * frame.window.span / DAY)),
        )


def _side(anomaly: Anomaly, past: Floats) -> str:
    """Whether it was high or low; where nothing was expected, against the middle of the past."""
    if math.isfinite(anomaly.expected) or math.isfinite(anomaly.lower) or math.isfinite(anomaly.upper):
        return side(anomaly)
    return "high" if anomaly.value > float(np.median(past)) else "low"


def _same_hour(values: Floats, starts: Ints, at: int, calendar: Calendar, span: int) -> Iterator[float]:
    local = int(calendar.local_seconds(np.array([at]))[0])
    for week in range(1, WEEKS + 1):
        then = at - week * 7 * DAY
        # The clocks may have changed in between: the same time on the clock is meant.
        then += local - week * 7 * DAY - int(calendar.local_seconds(np.array([then]))[0])
        near = values[(starts > then - max(NEAR, span)) & (starts < then + max(NEAR, span))]
        near = near[np.isfinite(near)]
        yield float(np.median(near)) if len(near) else math.nan


def _nearest(incident: Incident, frame: Frame, before: Bools) -> Moment | None:
    """The moment before it that all its metrics together were most like."""
    if not incident.anomalies:
        return None
    worst = incident.anomalies[0].at
    column = (worst - frame.window.start) // frame.window.span
    if not 0 <= column < len(frame.window):
        return None
    found: list[tuple[Anomaly, Floats, float]] = []
    for anomaly in incident.anomalies:
        row = frame.index.rows.get(SeriesKey(incident.component, anomaly.metric), -1)
        if row < 0 or not np.isfinite(frame.values[row, column]) or not np.isfinite(frame.values[row, before]).any():
            continue
        values = frame.values[row]
        away = abs(float(values[column]) - float(np.nanmedian(values[before])))
        if away > 0:
            found.append((anomaly, values, away))
    weights = np.array([max(anomaly.share, 0.0) for anomaly, _, _ in found])
    if not weights.sum() > 0:
        return None
    far = np.zeros(len(frame.window))
    for weight, (_, values, away) in zip(weights / weights.sum(), found, strict=True):
        far += weight * np.minimum(np.abs(values - values[column]) / away, 1.0)
    far = np.where(before & np.isfinite(far), far, np.inf)
    best = int(np.argmin(far))
    alike = 1.0 - float(far[best])
    if alike < ALIKE:
        return None
    return Moment(
        at=int(frame.window.starts[best]),
        of=worst,
        alike=alike,
        values=tuple((anomaly.metric, float(values[best])) for anomaly, values, _ in found),
    )
