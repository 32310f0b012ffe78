"""A value that was not seen before: not at this time of day, or not at all.

Idea and formulas: docs/detection/novelty.md. Two distances, each with its own calibration, speak with one voice, their average:
to the second nearest of the ranges that the values of this local half-hour had on the ten days before, and to the third nearest
of all values of those days. What happens every night is not new at night. Second and third, because one earlier incident shall
not make the next one usual. Fails on series that wander (everything is new), and while a lasting shift is younger than two days.

A day's distances depend on the ten days before it and on nothing else, so that they are the same numbers whether the day is
rehearsed, judged, or one of many in a walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.clockdays import Clock
from detectors.learnt import agreed, learnt_of, narrow
from detectors.neighbours import NEVER, Small, ranges, second_nearest_range, stretches, third_nearest
from detectors.scales import facts_of
from detectors.walking import past, refitted, unjudged
from tocsin.calibration import Tails
from tocsin.model import LARGEST, Baseline, Bools, Fitted, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Detector, Plugin, Stretch, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import SLOTS_PER_DAY, Calendar

REHEARSAL = 14
DAYS = 10
"""Days that are remembered."""
STEP = 300
"""Seconds between the values of a day that count for "all values", where buckets are shorter."""
AHEAD = 1.2
"""Days to come are that much further from those remembered than the days of the rehearsal were from theirs."""
AHEAD_OF_COUNTS = 1.6
"""The same where most distances are 0, because values repeat: what was seen of the others is a few steps, and days to come
bring the next."""
LEAST_VALUES = 40
"""Nothing is judged before so many values could be compared with those of days before them."""
ROWS = 1 << 14
"""Series judged together, so that the arrays stay in the cache."""
LEARNT = 1 << 17
"""Values of several series that are learnt from together, for the same reason."""
TOGETHER = 1 << 14
"""Distances that are judged together, so that not even the allocator is asked."""
WALKED = 1 << 21
"""Values of all rehearsals that are looked at together in a walk."""

Facts = Mapping[str, NDArray[Any]]


class NoveltySettings(Settings):
    """Nothing needs to be set."""


class _Days(NamedTuple):
    """Days in a row, each compared with those before it, all (n_series, n_days, n_buckets): distances where they matter, else 0,
    NaN where there is no value or nothing to compare it with; and where there is a value."""

    hour: Small
    ever: Small
    known: Bools

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> _Days:
        """The same change made to all of them."""
        return _Days(*map(change, self))


@dataclass(frozen=True, kw_only=True)
class _Mornings:
    """What is known at the beginning of days in a row: lowest and highest value of each half-hour of each day, (n_series, 2,
    n_days + 9, 48), ten days each; the middle of their values, (n_series, n_days); the stretches that stand for them all,
    (n_series, n_days, KEPT)."""

    ranges: Small
    middle: Small
    low: Small
    high: Small

    def arrays(self, day: int) -> dict[str, NDArray[Any]]:
        """Of one of the mornings, for a baseline. What belongs to an hour lies together for all series: a tick reads no more."""
        hours = {f"at_{slot}": self.ranges[:, :, day : day + DAYS, slot] for slot in range(SLOTS_PER_DAY)}
        return {"middle": self.middle[:, day], "low": self.low[:, day], "high": self.high[:, day], **hours}


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "novelty"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return 0

    @property
    def _clock(self) -> Clock:
        return Clock(calendar=self.calendar, span=self.span)

    @property
    def _buckets(self) -> int:
        """In a day."""
        return self._clock.buckets

    @property
    def _day(self) -> int:
        """In seconds: longer than it is where buckets do not tile it."""
        return self._buckets * self.span

    def _rehearsed(self, history: Window) -> int:
        """Days of a history that can be compared with one before."""
        return min(REHEARSAL, max(0, -(-len(history) // self._buckets) - 1))

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn from the last 24 days; the rehearsal covers the last two, each day judged by the days before it."""
        facts = facts_of(history.index, self.metrics)
        days = self._rehearsed(history.window)
        together = max(1, LEARNT // ((DAYS + REHEARSAL) * self._buckets))
        parts, surprises = [], []
        for first in range(0, max(1, len(history.index)), together):
            rows = slice(first, first + together)
            own = {name: fact[rows] for name, fact in facts.items()}
            seen, mornings = self._compared(
                history.values[rows], history.window, history.window.end - days * self._day, days, own
            )
            seen = seen.each(_flat)
            tails = _tails(seen)
            parts.append({**mornings.arrays(days), **tails})
            surprises.append(_surprise(seen, tails))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self._fitted(history.index, history.window, {**facts, **arrays}, np.concatenate(surprises))

    def _fitted(self, index: SeriesIndex, history: Window, arrays: Mapping[str, NDArray[Any]], surprise: Floats) -> Fitted:
        window = Window(history.end - surprise.shape[1] * self.span, history.end, self.span)
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=history,
                arrays=arrays,
                facts={"format": 3, "span": self.span, "days": DAYS, "calendar": repr(self.calendar)},
            ),
            rehearsal=Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown),
        )

    def _compared(self, values: Floats, window: Window, start: int, days: int, facts: Facts) -> tuple[_Days, _Mornings]:
        """So many days from an instant on, and their mornings and the one after them."""
        count, buckets, all_days = len(values), self._buckets, DAYS + days
        first = (start - DAYS * self._day - window.start) // self.span
        x = np.full((count, all_days * buckets), np.nan, np.float32)
        part = _small(values[:, max(0, first) : max(0, first + x.shape[1])])
        x[:, max(0, -first) : max(0, -first) + part.shape[1]] = part
        slots = self._clock.slots(start - DAYS * self._day + self.span * np.arange(x.shape[1]))
        of_hours = ranges(x, np.repeat(np.arange(all_days), buckets) * SLOTS_PER_DAY + slots, all_days * SLOTS_PER_DAY)
        kept = np.take(x, self._remembered(all_days), axis=1)
        kept[np.isnan(kept)] = NEVER
        weeks = sliding_window_view(kept, DAYS, axis=1).swapaxes(2, 3)
        rising = np.sort(weeks.reshape(count * (days + 1), kept.shape[2] * DAYS), axis=1)
        many = np.count_nonzero(rising < NEVER, axis=1)
        middle = np.take_along_axis(rising, (np.maximum(many - 1, 0) // 2)[:, None], axis=1).reshape(count, days + 1)
        low, high = (one.reshape(count, days + 1, one.shape[1]) for one in stretches(rising))
        asked = x[:, DAYS * buckets :]
        at = np.repeat(np.arange(DAYS, all_days), buckets) * SLOTS_PER_DAY + slots[DAYS * buckets :]
        earlier = (at - back * SLOTS_PER_DAY for back in range(1, DAYS + 1))
        hour = second_nearest_range(
            asked, ((np.take(of_hours[:, 0], one, axis=1), np.take(of_hours[:, 1], one, axis=1)) for one in earlier)
        ).reshape(count, days, buckets)
        asked = asked.reshape(hour.shape)
        flat = (one[:, :days].reshape(count * days, one.shape[2]) for one in (low, high))
        ever = third_nearest(asked.reshape(count * days, buckets), *flat).reshape(asked.shape)
        for distance in (hour, ever):
            _unless_matters(distance, asked, middle[:, :days, None], facts)
        seen = _Days(hour=hour, ever=ever, known=~np.isnan(asked))
        of_days = of_hours.reshape(count, 2, all_days, SLOTS_PER_DAY)
        return seen, _Mornings(ranges=of_days, middle=middle, low=low, high=high)

    def _remembered(self, days: int) -> Ints:
        """The bucket of each step of each day that is among "all values", (n_days, n_steps). Another one each day and each step:
        what happens at a fixed minute shall count now and then, not never."""
        each = -(-STEP // self.span)
        step, day = np.arange(-(-self._buckets // each)), np.arange(days)[:, None]
        within = np.minimum(step * each + (day + step) % each, self._buckets - 1)
        return np.asarray(day * self._buckets + within)

    # --- walking ------------------------------------------------------------------------------------------------------

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """Windows of a day or less that begin at the same time of day share the days they learn from; each is compared once."""
        for (_, short), run in groupby(windows, lambda window: (window.start % self._day, len(window) <= self._buckets)):
            alike = list(run)
            enough = short and train >= (REHEARSAL + DAYS) * self._day
            yield from self._walk(frame, alike, train) if enough else refitted(self, frame, alike, train)

    def _walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        facts = facts_of(frame.index, self.metrics)
        count, buckets = len(frame.index), self._buckets
        together = max(1, WALKED // max(1, count * REHEARSAL * buckets))
        nothing = np.full((count, REHEARSAL, buckets), np.nan, np.float32)
        seen = _Days(hour=nothing, ever=nothing, known=np.zeros(nothing.shape, np.bool_))
        for first in range(0, len(windows), together):
            block = windows[first : first + together]
            earlier = self._rehearsed(Window(frame.window.start, block[0].start, self.span)) if not first else 0
            days = earlier + len(block)
            fresh, mornings = self._compared(frame.values, frame.window, block[0].start - earlier * self._day, days, facts)
            most = REHEARSAL + len(block)
            seen = _Days(*(np.concatenate(both, axis=1)[:, -most:] for both in zip(seen, fresh, strict=True)))
            weeks = seen.each(lambda one: sliding_window_view(one[:, :-1], REHEARSAL, axis=1).swapaxes(2, 3))
            tails = _tails(weeks.each(lambda one: one.reshape(-1, REHEARSAL * buckets)))
            judged = _surprise(seen.each(lambda one: one[:, REHEARSAL:].reshape(-1, buckets)), tails)
            surprise = judged.reshape(count, len(block), buckets)
            for place, window in enumerate(block):
                history = past(frame.window, window, train)
                yield Stretch(
                    scores=_scores(frame.index, window, surprise[:, place, : len(window)]),
                    fitted=partial(self._relearnt, frame.index, history, facts, seen, mornings, tails, place, earlier),
                )

    def _relearnt(
        self,
        index: SeriesIndex,
        history: Window,
        facts: Facts,
        seen: _Days,
        mornings: _Mornings,
        tails: Facts,
        place: int,
        earlier: int,
    ) -> Fitted:
        """What was learnt before the window at a place of its block."""
        days, end = self._rehearsed(history), REHEARSAL + place
        own = {name: array.reshape(len(index), -1, array.shape[1])[:, place] for name, array in tails.items()}
        surprise = _surprise(seen.each(lambda one: _flat(one[:, end - days : end])), own)
        return self._fitted(index, history, {**facts, **mornings.arrays(earlier + place), **own}, surprise)

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket by the days that were learnt from."""
        window = window or frame.window
        hours = {name: array for name, array in baseline.arrays.items() if name.startswith("at_")}
        others = {name: array for name, array in baseline.arrays.items() if name not in hours}
        own, there = learnt_of(frame.index, replace(baseline, arrays=others))
        if not there.any():
            return unjudged(frame, window)
        rows = None if frame.index == baseline.index else frame.index.rows_in(baseline.index)
        slots = self._clock.slots(window.starts)
        x = _small(narrow(frame.values[:, window.columns_in(frame.window)]))
        hour, ever = np.empty_like(x), np.empty_like(x)
        for first in range(0, len(x), ROWS):
            part = slice(first, first + ROWS)
            hour[part] = self._at_hour(x[part], slots, hours, part if rows is None else rows[part])
            ever[part] = third_nearest(x[part], own["low"][part], own["high"][part])
        for distance in (hour, ever):
            _unless_matters(distance, x, own["middle"][:, None], own)
        return _scores(frame.index, window, _surprise(_Days(hour, ever, ~np.isnan(x) & there[:, None]), own))

    def _at_hour(self, x: Small, slots: Ints, hours: Facts, rows: slice | Ints) -> Small:
        """Distance of each of x (n, k) to the second nearest range of its series and half-hour, as remembered in `rows`."""
        result = np.empty_like(x)
        for slot in np.unique(slots):
            known = hours[f"at_{slot}"][rows]
            columns = np.flatnonzero(slots == slot)
            days = ((known[:, 0, day, None], known[:, 1, day, None]) for day in range(DAYS))
            result[:, columns] = second_nearest_range(x[:, columns], days)
        return result


def _small(values: Floats) -> Small:
    """As they are remembered and compared: equal ones stay equal."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float32)


def _flat(days: NDArray[Any]) -> NDArray[Any]:
    return days.reshape(len(days), days.shape[1] * days.shape[2])


def _unless_matters(distance: Small, x: Small, middle: Small, facts: Facts) -> None:
    """Make the distances 0 that do not matter: on a side of the middle that is not watched, or smaller than a person wants."""
    more = (slice(None), *(None,) * (distance.ndim - 1))
    if not (facts["up"].all() and facts["down"].all()):
        watched = np.where(x >= middle, facts["up"][more], facts["down"][more])
        np.copyto(distance, 0, where=~watched & (distance > 0))
    if facts["least"].any():
        np.copyto(distance, 0, where=distance < facts["least"][more])


def _tails(seen: _Days) -> dict[str, NDArray[np.float32]]:
    """How far away values usually are, of each voice; days flat, (n, n_buckets)."""
    found = {"tails_hour": Tails.fit(seen.hour, LEAST_VALUES), "tails_ever": Tails.fit(seen.ever, LEAST_VALUES)}
    return {name: tails.widened(np.where(tails.common > 0, AHEAD, AHEAD_OF_COUNTS)).to_array() for name, tails in found.items()}


def _surprise(seen: _Days, tails: Facts) -> Floats:
    """What the two voices say together; days flat, (n, n_buckets)."""
    result = np.empty_like(seen.known, np.float64)
    each = max(1, TOGETHER // max(1, seen.known.shape[1]))
    for first in range(0, len(result), each):
        rows = slice(first, first + each)
        hour, ever = (
            Tails.from_array(tails[name][rows]).surprise(distance[rows])
            for name, distance in (("tails_hour", seen.hour), ("tails_ever", seen.ever))
        )
        result[rows] = agreed([hour, ever], seen.known[rows] & ~np.isnan(tails["tails_ever"][rows, 2])[:, None])
    return result


def _scores(index: SeriesIndex, window: Window, surprise: Floats) -> Scores:
    unknown = np.broadcast_to(np.nan, surprise.shape)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def _build(_settings: NoveltySettings, surroundings: Surroundings) -> Detector:
    return aware(Novelty(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics), surroundings)


PLUGIN = Plugin(name="novelty", summary="A value that was not seen before", settings=NoveltySettings, build=_build)
