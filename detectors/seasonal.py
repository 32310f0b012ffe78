"""What is normal at this half-hour of this kind of day, in local time, and how far from it a value is.

Idea and formulas: docs/detection/seasonal.md. A value is held against two things: what this half-hour usually is, and
what the last hour makes of it (a day that runs a little higher than usual stays a little higher). Only what is far from
both is surprising. The last hour counts for at most three spreads, so an incident does not become normal by lasting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.coldstart import LEAST_SIBLINGS, provisional
from detectors.halfhours import HalfHours
from detectors.learnt import laid
from detectors.season import WEEK, Days, Kinds
from detectors.seasonal_fit import Learnt, learn, nothing
from detectors.seasonal_judge import Between, Learned, judge, learned_of
from detectors.walking import past, refitted
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
"""Series, or series at one time after the other, learnt together: enough for the arrays, few enough for the cache."""
CELLS = 1 << 20
"""Half-hours of a walk that are looked at together: what is made of them takes some 50 MB."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A window of a walk: its history, the `days` of it and their kinds; `last` is the day it begins on, `slots` the half-hours
    that are rehearsed. Windows that are `alike` can be learnt for together, None only the plain way."""

    window: Window
    history: Window
    last: int
    days: int
    kinds: Kinds
    slots: bytes
    alike: bool | None


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
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        arrays = provisional(arrays, history.values, halves, history.index) | facts
        return self._fitted(history, np.concatenate([part.surprise() for part in parts]), arrays)

    def _learn(self, values: Floats, days: Days | None, halves: HalfHours, facts: Arrays) -> Learnt:
        return (
            nothing(*values.shape)
            if days is None or not len(values)
            else learn(values, days, [halves], [Kinds.of(halves.kinds, days.since)], facts, self._recent)
        )

    def _relearnt(self, frame: Frame, history: Window, surprise: Callable[[], Floats], arrays: Arrays) -> Fitted:
        return self._fitted(frame.within(history), surprise(), arrays)

    def _fitted(self, history: Frame, surprise: Floats, arrays: Arrays) -> Fitted:
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
        """Some windows, the half-hours before which are looked at together. All look back four weeks, before the first day there
        was to days that are not there."""
        before = past(frame.window, windows[0], train)
        whole = Window(before.start, windows[-1].start, self.span)
        there = HalfHours.of(whole, self.calendar, len(whole) * self.span // DAY)
        earlier = HISTORY + 1  # A first window may begin with a half-hour that is not over.
        longer = Window(whole.start + -earlier * DAY // self.span * self.span, whole.end, self.span)
        halves = HalfHours.of(longer, self.calendar, there.days + earlier)
        since = halves.days - (whole.end - windows[0].start) // DAY - REHEARSAL
        values = frame.values[:, whole.columns_in(frame.window)]
        days = []
        for rows in _portions(len(frame.index)):
            cells = there.cells(values[rows])
            absent = np.full((len(cells), earlier, SLOTS_PER_DAY), np.nan)
            days.append(Days.of(np.concatenate([absent, cells], axis=1), since))
        seen = [self._seen(frame, window, train, there, halves) for window in windows]
        most = max(1, ROWS // max(1, len(frame.index)))
        for alike, run in groupby(seen, key=lambda one: one.alike):
            group = list(run)
            if alike is None:
                yield from refitted(self, frame, [one.window for one in group], train)
                continue
            for first in range(0, len(group), most):
                yield from self._at_times(frame, group[first : first + most], days, there, halves, facts)

    def _seen(self, frame: Frame, window: Window, train: int, there: HalfHours, halves: HalfHours) -> _Seen:
        history = past(frame.window, window, train)
        last = halves.days - (halves.window.end - window.start) // DAY
        unfinished = there.window.end - there.start - there.days * DAY
        count = min(HISTORY, (window.start - unfinished - history.start) // DAY)
        codes = halves.kinds[last - HISTORY : last].copy()
        codes[: HISTORY - count] = -1
        kinds = Kinds.of(codes, HISTORY - REHEARSAL)
        slots = halves.slots[(last - REHEARSAL) * SLOTS_PER_DAY : last * SLOTS_PER_DAY]
        alike = kinds.groups > 1 if len(history) and count > 0 else None
        return _Seen(window=window, history=history, last=last, days=count, kinds=kinds, slots=slots.tobytes(), alike=alike)

    def _at_times(
        self, frame: Frame, seen: Sequence[_Seen], days: Sequence[Days], there: HalfHours, halves: HalfHours, facts: Arrays
    ) -> Iterator[Stretch]:
        """Windows that are alike: the rows are the series at one time after the other."""
        times, count, longer = len(seen), len(frame.index), len(halves.window) * self.span
        ends = [one.window.start for one in (seen if len({one.slots for one in seen}) > 1 else seen[:1])]
        mine = [halves.part(Window(end - longer, end, self.span), HISTORY) for end in ends]
        columns = mine[0].columns_since(HISTORY - REHEARSAL)
        width = columns.stop - columns.start
        starts = np.array([one.window.start - frame.window.start for one in seen]) // self.span
        kinds = [one.kinds for one in seen]
        parts = []
        for part, rows in zip(days, _portions(count), strict=True):
            before = Days.together([part.part(one.last - HISTORY, one.last, HISTORY - REHEARSAL) for one in seen])
            for one, cells in zip(seen, before.cells.reshape(times, -1, *before.cells.shape[1:]), strict=True):
                cells[:, : HISTORY - one.days] = np.nan
            values = _by_time(frame.values[rows], starts - width, width)
            own = {name: np.tile(fact[rows], times) for name, fact in facts.items()}
            parts.append(learn(values, before, mine, kinds, own, self._recent))
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        at = [{name: array[place * count :][:count] for name, array in arrays.items()} for place in range(times)]
        if count > LEAST_SIBLINGS:
            for place, one in enumerate(seen):
                history = frame.within(one.history)
                at[place] = provisional(at[place], history.values, there.part(one.history, one.days), frame.index)
            arrays = {name: np.concatenate([learnt[name] for learnt in at]) for name in at[0]}
        else:
            arrays["own"] = np.ones(times * count, np.float32)
            at = [{**learnt, "own": arrays["own"][:count]} for learnt in at]
        longest = max(len(one.window) for one in seen)
        between = Between.of(
            self.calendar, self.span, frame.window.start + (starts - self._recent) * self.span, self._recent + longest
        )
        known = np.ones(times * count, np.bool_)
        learned = Learned.of(arrays | {name: np.tile(fact, times) for name, fact in facts.items()}, known, between)
        values = _by_time(frame.values, starts - self._recent, self._recent + longest)
        told = judge(values, learned, slice(self._recent, self._recent + longest), self._recent)
        by_time = [array.reshape(times, count, longest) for array in told]
        for place, one in enumerate(seen):
            surprise, expected, lower, upper = (array[place, :, : len(one.window)] for array in by_time)
            scores = Scores(
                index=frame.index,
                window=one.window,
                surprise=surprise,
                expected=expected,
                lower=lower,
                upper=upper,
                own=at[place]["own"],
            )
            rehearsed = mine[0].columns_since(HISTORY - min(REHEARSAL, one.days))
            past_ = partial(_rehearsal, parts, place, times, rehearsed.stop - rehearsed.start)
            yield Stretch(scores=scores, fitted=partial(self._relearnt, frame, one.history, past_, at[place] | facts))

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket against its half-hour and the hour before it in the frame."""
        window = window or frame.window
        between = Between.of(self.calendar, self.span, np.array([frame.window.start]), len(frame.window))
        learned = learned_of(frame.index, baseline, between)
        surprise, expected, lower, upper = judge(frame.values, learned, window.columns_in(frame.window), self._recent)
        return Scores(
            index=frame.index, window=window, surprise=surprise, expected=expected, lower=lower, upper=upper, own=learned.own
        )


def _portions(count: int) -> list[slice]:
    """Rows by the portion; one of no rows where there are none."""
    return [slice(first, min(first + ROWS, count)) for first in range(0, max(1, count), ROWS)]


def _by_time(values: Floats, starts: Ints, width: int) -> Floats:
    """So many columns from each of the starts on, (n_starts * n_series, width); NaN outside."""
    return np.ascontiguousarray(laid(values, starts, width).swapaxes(0, 1)).reshape(-1, width)


def _rehearsal(parts: Sequence[Learnt], place: int, times: int, columns: int) -> Floats:
    """How surprising the last columns before one of the times were, of all series."""
    each = [slice(place * (count := len(part.deviation) // times), (place + 1) * count) for part in parts]
    return np.concatenate([part.surprise(rows, columns) for part, rows in zip(parts, each, strict=True)])


def _build(_settings: SeasonalSettings, surroundings: Surroundings) -> Detector:
    return aware(Seasonal(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics), surroundings)


PLUGIN = Plugin(
    name="seasonal",
    summary="What is normal at this half-hour of this kind of day",
    settings=SeasonalSettings,
    build=_build,
)

__all__ = ["PLUGIN", "Seasonal", "SeasonalSettings"]
