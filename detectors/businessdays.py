"""Business days are like the business days before them, for detectors that know hours but not what day it is.

Idea and figures: docs/detection/businessdays.md. A month-end differs from other working days in some half-hours, by about as much
each time. `aware` lets a detector see each value of such a day without that difference, as far as the days before showed it:
whatever lies between an ordinary working day and a quarter more than what was seen is ordinary. So what is usual at month-end is
no incident, and an outage at month-end is one. One such day in the history is enough; of three the largest difference is left
out, because an incident on one of them shall not be usual ever after. Fails where the difference moves by more than an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.halfhours import HalfHours
from detectors.learnt import learnt_of
from tocsin.calibration import median
from tocsin.model import Baseline, Bools, Fitted, Floats, Frame, Ints, Metric, Scores, Window
from tocsin.ports import Detector, Surroundings
from tocsin.timegrid import SLOT, SLOTS_PER_DAY, Calendar, DayKind

MOST_DAYS = 366
REFERENCE = 7
"""Ordinary working days, the nearest ones, that a business day is compared with."""
NOISE = 4.0
"""A difference of less than this many spreads of those days is none."""
MORE = 1.25
"""A business day may differ by this much more than those before it."""
USUAL, DIFFERENCE = "business_usual", "business_difference"

Small = NDArray[np.float32]


def aware(detector: Detector, surroundings: Surroundings) -> Detector:
    """The detector, knowing business days where the calendar has any."""
    calendar = surroundings.calendar
    return Aware(inner=detector, calendar=calendar, metrics=surroundings.metrics) if calendar.business else detector


@dataclass(frozen=True, kw_only=True)
class Aware:
    """See the module. Its baseline is that of the detector inside, with what business days are like beside it.

    A business day that falls on a weekend or a public holiday is one of those.
    """

    inner: Detector
    calendar: Calendar
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def signature(self) -> str:
        return self.inner.signature

    @property
    def lookback(self) -> int:
        return self.inner.lookback

    def fit(self, history: Frame) -> Fitted:
        """Learn what business days are like, and let the detector learn from days without that."""
        usual, difference = _learn(history, self.calendar)
        fitted = self.inner.fit(self._ordinary(history, usual, difference))
        arrays = {**fitted.baseline.arrays, USUAL: usual, DIFFERENCE: difference}
        return replace(fitted, baseline=replace(fitted.baseline, arrays=arrays))

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """What the detector says of the values without what business days are like; its bands with it."""
        window = window or frame.window
        if USUAL not in baseline.arrays or not self._special(frame.window).any():
            return self.inner.score(frame, baseline, window)
        mine = replace(baseline, arrays={name: baseline.arrays[name] for name in (USUAL, DIFFERENCE)})
        own, there = learnt_of(frame.index, mine)
        usual = np.where(there[:, None], own[USUAL], np.float32(np.nan))
        scores = self.inner.score(self._ordinary(frame, usual, own[DIFFERENCE]), baseline, window)
        special = self._special(window)
        if not special.any():
            return scores
        slots = self.calendar.slots(window.starts[special] + window.span // 2)
        known = ~np.isnan(usual[:, slots])
        low, high = (np.zeros(scores.surprise.shape) for _ in range(2))
        low[:, special], high[:, special] = (np.where(known, own[DIFFERENCE][:, side][:, slots], 0.0) for side in (0, 1))
        floor, ceiling = self._bounds(frame)
        return replace(
            scores,
            expected=np.clip(scores.expected + (low + high) / MORE, floor, ceiling),
            lower=np.maximum(scores.lower + low, np.minimum(scores.lower, floor)),
            upper=np.minimum(scores.upper + high, np.maximum(scores.upper, ceiling)),
        )

    def _bounds(self, frame: Frame) -> tuple[Floats, Floats]:
        """What no value of each row can be below and above, (n_series, 1)."""
        metrics = [self.metrics.get(key.metric) or Metric(name=key.metric) for key in frame.index]
        return np.array([[one.lower] for one in metrics]), np.array([[one.upper] for one in metrics])

    def _special(self, window: Window) -> Bools:
        """Which buckets lie in a business day that would be a working day else, (n_buckets,)."""
        centres = window.starts + window.span // 2
        special = self.calendar.kinds(centres) == DayKind.BUSINESS
        if special.any():
            special[special] = _plain(self.calendar).kinds(centres[special]) == DayKind.WORKING
        return np.asarray(special, np.bool_)

    def _ordinary(self, frame: Frame, usual: Small, difference: Small) -> Frame:
        """The frame with business days as if they were ordinary working days."""
        special = self._special(frame.window)
        if not special.any() or np.isnan(usual).all():
            return frame
        centres = frame.window.starts[special] + frame.window.span // 2
        # Between two half-hours' centres what is usual is linear, and the wider difference counts.
        below, above = self.calendar.slots(centres - SLOT // 2), self.calendar.slots(centres + SLOT // 2)
        part = self.calendar.local_seconds(centres - SLOT // 2) % SLOT / SLOT
        normal = usual[:, below] * (1.0 - part) + usual[:, above] * part
        low = np.minimum(difference[:, 0][:, below], difference[:, 0][:, above])
        high = np.maximum(difference[:, 1][:, below], difference[:, 1][:, above])
        values = frame.values.copy()
        seen = values[:, special]
        without = seen - np.clip(seen - normal, low, high)
        values[:, special] = np.where(np.isnan(without), seen, without)
        return replace(frame, values=values)


def _plain(calendar: Calendar) -> Calendar:
    return Calendar(calendar.timezone, calendar.country)


def _learn(history: Frame, calendar: Calendar) -> tuple[Small, Small]:
    """What is usual on working days, (n_series, 48), NaN where it is not known; and how far business days were below (<= 0) and
    above (>= 0) it, (n_series, 2, 48)."""
    rows = len(history.index)
    usual = np.full((rows, SLOTS_PER_DAY), np.nan, np.float32)
    difference = np.zeros((rows, 2, SLOTS_PER_DAY), np.float32)
    halves = HalfHours.of(history.window, calendar, MOST_DAYS)
    business = halves.kinds == DayKind.BUSINESS
    if not business.any() or not rows:
        return usual, difference
    working = HalfHours.of(history.window, _plain(calendar), MOST_DAYS).kinds == DayKind.WORKING
    cells = halves.cells(history.values)
    sides = np.zeros((rows, 2, SLOTS_PER_DAY))
    for slot in range(SLOTS_PER_DAY):
        ordinary = np.flatnonzero(working[:, slot] & ~business[:, slot])
        special = np.flatnonzero(working[:, slot] & business[:, slot])
        if len(ordinary):
            usual[:, slot] = median(cells[:, ordinary[-REFERENCE:], slot])
            if len(special):
                seen = np.stack([_beside(cells[:, :, slot], int(day), ordinary) for day in special], axis=1)
                sides[:, 0, slot], sides[:, 1, slot] = -_most(-seen), _most(seen)
    # A batch that begins a little earlier or ends a little later is the same batch.
    near = MORE * np.stack([np.roll(sides, step, axis=2) for step in (-1, 0, 1)])
    difference[:, 0], difference[:, 1] = near[:, :, 0].min(axis=0), near[:, :, 1].max(axis=0)
    return usual, difference


def _beside(cells: NDArray[np.floating], day: int, ordinary: Ints) -> Floats:
    """How far a half-hour of a day was from that of the working days nearest to it, (n_series, days) → (n_series,); 0 where
    that is noise, or not known."""
    nearest = cells[:, ordinary[np.argsort(np.abs(ordinary - day), kind="stable")[:REFERENCE]]]
    usual = median(nearest)
    spread = 1.4826 * median(np.abs(nearest - usual[:, None]))
    far = cells[:, day] - usual
    return np.asarray(np.where(np.abs(far) > NOISE * spread, far, 0.0), np.float64)


def _most(seen: Floats) -> Floats:
    """The largest of some differences (n_series, days) above 0; of three or more the second largest."""
    ranked = np.sort(np.maximum(seen, 0.0), axis=1)
    return np.asarray(ranked[:, -1 if ranked.shape[1] < 3 else -2], np.float64)
