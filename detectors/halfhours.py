"""The half-hours of a history: which buckets lie in which, and which local half-hour of which kind of day each is.

A history is cut backwards, from the last half-hour that was over when it ended, into whole days of 48 half-hours. In such a
row of 48 every local half-hour comes once, except where the clocks change: there one is missing or one comes twice (the
later one counts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.medians import middle
from tocsin.calibration import median
from tocsin.model import Floats, Ints, Window
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY, Calendar

N = TypeVar("N", bound=np.floating)

FEW = 7
"""Up to so many buckets of a half-hour, their median is found by comparing; beyond, by sorting."""


@dataclass(frozen=True, kw_only=True)
class HalfHours:
    """`days` x 48 half-hours before a window's end.

    `slots` (days * 48,) is the local half-hour of each in order of time; `places` (days, 48) the position of each local
    half-hour in a day, -1 where it is missing; `kinds` (days, 48) the kind of day of `places`, of its last half-hour for those
    that are missing.
    """

    window: Window
    start: int
    days: int
    slots: Ints
    places: Ints
    kinds: Ints

    @classmethod
    def of(cls, window: Window, calendar: Calendar, most_days: int) -> HalfHours:
        """Those of the window's last whole days, at most `most_days`."""
        return _half_hours(window, calendar, most_days)

    def part(self, window: Window, days: int) -> HalfHours:
        """Those of the last `days` days of a window that ends whole days before ours does, as `of` would give them."""
        last = self.days - (self.window.end - window.end) // DAY
        first = last - days
        before = first * SLOTS_PER_DAY
        places = self.places[first:last]
        return HalfHours(
            window=window,
            start=self.start + first * DAY,
            days=days,
            slots=self.slots[before : last * SLOTS_PER_DAY],
            places=np.where(places < 0, -1, places - before),
            kinds=self.kinds[first:last],
        )

    def columns_since(self, day: int) -> slice:
        """The window's buckets whose centre lies in day `day` or later."""
        first = -(-(self.start + day * DAY - self.window.start - self.window.span // 2) // self.window.span)
        return slice(min(max(0, first), len(self.window)), len(self.window))

    def grouped(self, values: NDArray[np.floating], columns: slice, day: int) -> NDArray[np.floating]:
        """`values` (n_series, buckets of `columns`) by half-hour from day `day` on: (n_series, half-hours, buckets in one),
        NaN where there is none. A bucket longer than half an hour is in each of its half-hours."""
        span, first = self.window.span, self.start + day * DAY
        count = (self.days - day) * SLOTS_PER_DAY
        began = self.window.start + columns.start * span
        if SLOT % span == 0 and 0 <= began - first < SLOT and (began - first) % span == 0:
            each = SLOT // span
            before = (began - first) // span
            values = values[:, : count * each - before]
            after = count * each - before - values.shape[1]
            if before or after:
                values = np.pad(values, ((0, 0), (before, after)), constant_values=np.nan)
            return values.reshape(len(values), count, each)
        starts = first + np.arange(count) * SLOT
        if span > SLOT:
            index = ((starts + SLOT // 2 - began) // span)[:, None]
            outside = (index < 0) | (index >= values.shape[1])
        else:
            lowest = -(-(starts - began - span // 2) // span)
            index = lowest[:, None] + np.arange(-(-SLOT // span))
            outside = (index < 0) | (index >= values.shape[1]) | (began + index * span + span // 2 >= starts[:, None] + SLOT)
        return np.where(outside, np.nan, values[:, np.clip(index, 0, max(0, values.shape[1] - 1))])

    def cells(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Median of each half-hour's values, (n_series, days, 48) in local half-hours; NaN where there is none."""
        if not self.days:
            return np.empty((len(values), 0, SLOTS_PER_DAY))
        columns = self.columns_since(0)
        return self.by_day(_medians(self.grouped(values[:, columns], columns, 0)), 0)

    def by_day(self, table: NDArray[N], day: int) -> NDArray[N]:
        """`table` (..., half-hours from day `day` on) by local half-hour, (..., days, 48); NaN where there is none."""
        places = self.places[day:] - day * SLOTS_PER_DAY
        return np.where(self.places[day:] < 0, table.dtype.type(np.nan), table[..., np.maximum(places, 0)])

    def in_time(self, table: NDArray[np.floating], day: int) -> NDArray[np.floating]:
        """`table` (n_series, days from `day` on, 48) put back in order of time, (n_series, half-hours)."""
        days = np.repeat(np.arange(self.days - day), SLOTS_PER_DAY)
        return table[:, days, self.slots[day * SLOTS_PER_DAY :]]


def at_times(halves: Sequence[HalfHours], rows: NDArray[N], act: Callable[[HalfHours, NDArray[N]], NDArray[N]]) -> NDArray[N]:
    """What `act` makes of rows that are the same series at one time after the other; `halves` are those of each time, or one for
    all times."""
    if len(halves) == 1:
        return act(halves[0], rows)
    return np.concatenate([act(one, part) for one, part in zip(halves, np.split(rows, len(halves)), strict=True)])


@lru_cache(maxsize=16)
def _half_hours(window: Window, calendar: Calendar, most_days: int) -> HalfHours:
    # The same for all series of a component type, which are learnt in portions.
    phase = int(calendar.local_seconds(np.array([window.end]))[0] - window.end) % SLOT
    end = (window.end + phase) // SLOT * SLOT - phase
    days = max(0, min(most_days, (end - window.start) // DAY))
    centres = end - days * DAY + np.arange(days * SLOTS_PER_DAY) * SLOT + SLOT // 2
    slots, kinds = calendar.slots(centres), calendar.kinds(centres)
    places = np.full((days, SLOTS_PER_DAY), -1)
    places[np.arange(len(slots)) // SLOTS_PER_DAY, slots] = np.arange(len(slots))
    last = np.arange(1, days + 1)[:, None] * SLOTS_PER_DAY - 1
    kinds = kinds[np.where(places < 0, last, places)]
    found = HalfHours(window=window, start=end - days * DAY, days=days, slots=slots, places=places, kinds=kinds)
    for array in (found.slots, found.places, found.kinds):
        array.setflags(write=False)
    return found


def _medians(grouped: NDArray[np.floating]) -> NDArray[np.floating]:
    """Median of each half-hour's buckets (n_series, half-hours, buckets), (n_series, half-hours)."""
    each = grouped.shape[2]
    if each <= FEW:
        return middle(list(np.ascontiguousarray(np.moveaxis(grouped, 2, 0))))
    first = grouped[:, :, 0]
    if np.isnan(first).any():
        first = np.where(np.isnan(first), np.fmin.reduce(grouped, axis=2), first)
    # Single precision is sorted several times as fast, and as a distance from one of them it is precise enough.
    return first + median((grouped - first[:, :, None]).astype(np.float32))


def between_centres(table: NDArray[np.floating], starts: Ints, span: int, first: int) -> Floats:
    """What a value per half-hour (n_series, half-hours from `first`) says of buckets one after the other: linear between
    half-hours' centres, constant beyond the first and last, (n_series, n_buckets)."""
    if len(starts) and SLOT % span == 0 and (starts[0] - first) % span == 0 and starts[0] >= first:
        each = SLOT // span
        skipped = int(starts[0] - first) // span + (each + 1) // 2
        columns = slice(skipped, skipped + len(starts))
        ends = table[:, :1], table, table[:, -1:], table[:, -1:]
        edges = np.concatenate(ends, axis=1, dtype=np.float64)
        if columns.stop <= (edges.shape[1] - 1) * each:
            result = np.repeat(np.diff(edges, axis=1), each, axis=1)[:, columns]
            result *= _parts(each, edges.shape[1] - 1)[columns]
            result += np.repeat(edges[:, :-1], each, axis=1)[:, columns]
            return result
    place = np.clip((starts + span / 2 - first) / SLOT - 0.5, 0.0, table.shape[1] - 1)
    below = np.minimum(place.astype(np.int64), max(0, table.shape[1] - 2))
    above = np.minimum(below + 1, table.shape[1] - 1)
    part = place - below
    return np.asarray(table[:, below] * (1.0 - part) + table[:, above] * part, np.float64)


@lru_cache(maxsize=8)
def _parts(each: int, count: int) -> Floats:
    """How far along between two centres each bucket is, for `count` pairs of centres."""
    return np.tile((np.arange(each) - (each + 1) // 2 + 0.5) / each + 0.5, count)
