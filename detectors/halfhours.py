"""The half-hours of a history: which buckets lie in which, and which local half-hour of which kind of day each is.

A history is cut backwards from its end into whole days of 48 half-hours. In such a row of 48 every local half-hour comes
once, except where the clocks change: there one is missing or one comes twice (the later one counts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import median
from tocsin.model import Floats, Ints, Window
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY, Calendar


@dataclass(frozen=True, kw_only=True)
class HalfHours:
    """`days` x 48 half-hours before a window's end.

    `slots` (days * 48,) is the local half-hour of each in order of time; `places` (days, 48) the position of each local
    half-hour in a day, -1 where it is missing; `kinds` (days, 48) the kind of day of `places`.
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
        phase = int(calendar.local_seconds(np.array([window.end]))[0] - window.end) % SLOT
        end = -(-(window.end + phase) // SLOT) * SLOT - phase
        days = max(0, min(most_days, (end - window.start) // DAY))
        centres = end - days * DAY + np.arange(days * SLOTS_PER_DAY) * SLOT + SLOT // 2
        slots, kinds = calendar.slots(centres), calendar.kinds(centres)
        places = np.full((days, SLOTS_PER_DAY), -1)
        places[np.arange(len(slots)) // SLOTS_PER_DAY, slots] = np.arange(len(slots))
        return cls(window=window, start=end - days * DAY, days=days, slots=slots, places=places, kinds=kinds[places])

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
        columns = self.columns_since(0)
        grouped = self.grouped(values[:, columns], columns, 0)
        flat = grouped[:, :, 0] if grouped.shape[2] == 1 else median(grouped)
        return np.where(self.places < 0, np.nan, flat[:, self.places])

    def in_time(self, table: NDArray[np.floating], day: int) -> NDArray[np.floating]:
        """`table` (n_series, days from `day` on, 48) put back in order of time, (n_series, half-hours)."""
        days = np.repeat(np.arange(self.days - day), SLOTS_PER_DAY)
        return table[:, days, self.slots[day * SLOTS_PER_DAY :]]


def between_centres(table: NDArray[np.floating], starts: Ints, span: int, first: int) -> Floats:
    """What a value per half-hour (n_series, half-hours from `first`) says of buckets: linear between half-hours' centres,
    constant beyond the first and last, (n_series, n_buckets)."""
    place = np.clip((starts + span / 2 - first) / SLOT - 0.5, 0.0, table.shape[1] - 1)
    below = np.minimum(place.astype(np.int64), max(0, table.shape[1] - 2))
    above = np.minimum(below + 1, table.shape[1] - 1)
    part = place - below
    return np.asarray(table[:, below] * (1.0 - part) + table[:, above] * part, np.float64)
