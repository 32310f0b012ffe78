"""What is normal at this half-hour of this kind of day, in local time, and how far from it a value is.

Idea and formulas: docs/detection/seasonal.md. A value is held against two things: what this half-hour usually is, and
what the last hour makes of it (a day that runs a little higher than usual stays a little higher). Only what is far from
both is surprising. The last hour counts for at most three spreads, so an incident does not become normal by lasting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.coldstart import provisional
from detectors.halfhours import HalfHours
from detectors.season import WEEK, Days
from detectors.seasonal_fit import Learnt, learn, nothing
from detectors.seasonal_judge import Between, Learned, judge, learned_of
from detectors.walking import past, refitted, unjudged
from tocsin.model import Baseline, Direction, Fitted, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Detector, Plugin, Stretch, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY, Calendar

REHEARSAL = 14
"""Days whose residuals calibrate: the trailing ones, each forecast from the days before it."""
HISTORY = 28
"""Days that are looked at, of those given."""
RECENT = 3600
RECENT_BUCKETS = 3
"""How far back the recent deviation reaches: an hour, three buckets at least."""
ROWS = 16
"""Series fitted together: enough for the arrays, few enough for the cache."""
CELLS = 1 << 20
"""Half-hours of a walk that are looked at together: what is made of them takes some 50 MB."""

Arrays = dict[str, NDArray[Any]]


class SeasonalSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Seasonal:
    """See the module. Metrics not named in `metrics` are judged on both sides and have no bounds."""

    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "seasonal"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return self._recent * self.span

    @property
    def _recent(self) -> int:
        return max(RECENT_BUCKETS, RECENT // self.span)

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn every row from its own last four weeks. The rehearsal covers the last two, as surprises; a row needs
        values on two days, and 40 of them, to be judged by itself. Before, its siblings speak for it (`coldstart`): `own`
        tells how much of each row is its own."""
        halves = HalfHours.of(history.window, self.calendar, HISTORY)
        since = halves.days - min(REHEARSAL, halves.days)
        facts = self._facts(history.index)
        columns = halves.columns_since(since)
        parts = []
        for rows in _portions(len(history.index)):
            values = history.values[rows]
            days = Days.of(halves.cells(values), since) if halves.days else None
            parts.append(self._learn(values[:, columns], days, halves, {name: fact[rows] for name, fact in facts.items()}))
        return self._fitted(history, halves, parts, _joined([part.arrays for part in parts], history, halves) | facts)

    def _learn(self, values: Floats, days: Days | None, halves: HalfHours, facts: Arrays) -> Learnt:
        return nothing(*values.shape) if days is None or not len(values) else learn(values, days, halves, facts, self._recent)

    def _fitted(self, history: Frame, halves: HalfHours, parts: Sequence[Learnt], arrays: Arrays) -> Fitted:
        surprise = np.concatenate([part.surprise() for part in parts])
        window = Window(history.window.end - surprise.shape[1] * self.span, history.window.end, self.span)
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Fitted(
            baseline=self._baseline(history, arrays),
            rehearsal=Scores(
                index=history.index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown
            ),
        )

    def _baseline(self, history: Frame, arrays: Arrays) -> Baseline:
        return Baseline(
            detector=self.name,
            index=history.index,
            trained_on=history.window,
            arrays=arrays,
            facts={"format": 1, "slot": SLOT, "calendar": repr(self.calendar), "span": self.span},
        )

    def _facts(self, index: SeriesIndex) -> Arrays:
        """What the configuration says of each row's metric, so that scoring needs no look-up by name."""
        metrics = [self.metrics.get(key.metric) or Metric(name=key.metric) for key in index]
        return {
            "up": np.array([metric.direction is not Direction.LOW for metric in metrics], np.bool_),
            "down": np.array([metric.direction is not Direction.HIGH for metric in metrics], np.bool_),
            "lowest": np.array([metric.lower for metric in metrics], np.float64),
            "highest": np.array([metric.upper for metric in metrics], np.float64),
            "least": np.array([metric.min_deviation for metric in metrics], np.float64),
        }

    # --- going through a past -------------------------------------------------------------------------------------------

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """What each day was forecast as does not depend on when it is looked back at, so it is found once; what the last two
        weeks leave is calibrated on anew before each window. Windows that are not whole days apart, or a `train` of three
        weeks and less, go the plain way."""
        starts = np.array([window.start for window in windows], np.int64)
        phases = (self.calendar.local_seconds(starts) - starts) % SLOT
        whole_days = not ((starts - starts[:1]) % DAY).any() and (phases == phases[:1]).all()
        if not whole_days or train // DAY <= REHEARSAL + WEEK:
            yield from refitted(self, frame, windows, train)
            return
        facts = self._facts(frame.index)
        each = max(REHEARSAL, CELLS // (SLOTS_PER_DAY * max(1, len(frame.index))) - HISTORY)
        for first in range(0, len(windows), each):
            yield from self._walk(frame, windows[first : first + each], train, facts)

    def _walk(self, frame: Frame, windows: Sequence[Window], train: int, facts: Arrays) -> Iterator[Stretch]:
        """Some windows, the half-hours before which are looked at together."""
        before = past(frame.window, windows[0], train)
        whole = Window(before.start, windows[-1].start, self.span)
        halves = HalfHours.of(whole, self.calendar, len(whole) * self.span // DAY)
        unfinished = whole.end - halves.start - halves.days * DAY
        since = max(0, halves.days - (whole.end - windows[0].start) // DAY - REHEARSAL)
        values = frame.values[:, whole.columns_in(frame.window)]
        portions = _portions(len(frame.index))
        days = [Days.of(halves.cells(values[rows]), since) for rows in portions] if halves.days else []
        seen = Window(max(frame.window.start, windows[0].reaching_back(self.lookback).start), windows[-1].end, self.span)
        between = self._between(seen.starts)
        for window in windows:
            history = frame.within(past(frame.window, window, train))
            if not len(history.window):
                yield Stretch(scores=unjudged(frame, window), fitted=partial(self.fit, history))
                continue
            last = halves.days - (whole.end - window.start) // DAY
            count = max(0, min(HISTORY, (window.start - unfinished - history.window.start) // DAY))
            own = halves.part(history.window, count)
            ahead = count - min(REHEARSAL, count)
            columns = own.columns_since(ahead)
            parts = []
            for number, rows in enumerate(portions):
                part = days[number].part(last - count, last, ahead) if count else None
                mine = {name: fact[rows] for name, fact in facts.items()}
                parts.append(self._learn(history.values[rows, columns], part, own, mine))
            arrays = _joined([part.arrays for part in parts], history, own) | facts
            back = Window(max(frame.window.start, window.reaching_back(self.lookback).start), window.end, self.span)
            there = back.columns_in(seen)
            known = np.ones(len(frame.index), np.bool_)
            learned = Learned.of(arrays, known, between.within(there))
            scores = judge(frame.within(back), learned, window, self._recent)
            yield Stretch(scores=scores, fitted=partial(self._fitted, history, own, parts, arrays))

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket against its half-hour and the hour before it in the frame."""
        learned = learned_of(frame.index, baseline, self._between(frame.window.starts))
        return judge(frame, learned, window or frame.window, self._recent)

    def _between(self, starts: Ints) -> Between:
        """The half-hours between whose centres buckets lie, by the local clock."""
        centres = starts + self.span // 2
        before, after = centres - SLOT // 2, centres + SLOT // 2
        below = self.calendar.kinds(before) * SLOTS_PER_DAY + self.calendar.slots(before)
        above = self.calendar.kinds(after) * SLOTS_PER_DAY + self.calendar.slots(after)
        return Between(below=below, above=above, part=self.calendar.local_seconds(before) % SLOT / SLOT)


def _portions(count: int) -> list[slice]:
    """Rows by the portion; one of no rows where there are none."""
    return [slice(first, min(first + ROWS, count)) for first in range(0, max(1, count), ROWS)]


def _joined(parts: Sequence[Arrays], history: Frame, halves: HalfHours) -> Arrays:
    """The arrays of all rows, those of young ones blended with their siblings'."""
    learnt = parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return provisional(learnt, history.values, halves, history.index)


def _build(_settings: SeasonalSettings, surroundings: Surroundings) -> Detector:
    return aware(Seasonal(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics), surroundings)


PLUGIN = Plugin(
    name="seasonal",
    summary="What is normal at this half-hour of this kind of day",
    settings=SeasonalSettings,
    build=_build,
)

__all__ = ["PLUGIN", "Seasonal", "SeasonalSettings"]
