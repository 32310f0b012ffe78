"""What the seasonal detector learns of series: their season, and how far from it they were on days it had not seen.

Everything that is as long as the past itself is in single precision: distances from what was forecast, not values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.halfhours import HalfHours, at_times, between_centres
from detectors.season import Days, Kinds, learn_season
from tocsin.calibration import Tails, exceeded, median
from tocsin.model import Floats, Window
from tocsin.timegrid import DAY, SLOTS_PER_DAY, DayKind

Arrays = dict[str, NDArray[Any]]
Singles = NDArray[np.float32]

LEAST_DAYS = 2
LEAST_VALUES = 40
"""Nothing is judged before a series has had values on two days, and forty of them that could be forecast."""
CLIP = 3.0
"""Spreads that one bucket counts for at most in the recent deviation."""
NARROWEST = 0.25
"""A half-hour's spread is at least this part of the whole day's; and one side at least half the other's."""
SHRINK = 8.0
"""Days of its own that a half-hour's spread needs to count as much as that of the whole day."""
FURTHEST = np.float32(1e30)
"""No deviation is larger."""
_SIGMA = 2.5066
"""Mean of the positive part of a normal variable x this = its standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """`arrays` are those of a baseline; `deviation` (n_series, n_buckets) is what they calibrate on."""

    arrays: Arrays
    tails: Tails
    deviation: Singles

    def surprise(self, rows: slice = slice(None), last: int | None = None) -> Floats:
        """How surprising the past was, (n_series, n_buckets), or the `last` buckets of it."""
        deviation = self.deviation[rows]
        return self.tails.rows(rows).surprise(deviation if last is None else deviation[:, deviation.shape[1] - last :])


def learn(
    values: Floats, days: Days, halves: Sequence[HalfHours], kinds: Sequence[Kinds], facts: Mapping[str, NDArray[Any]], width: int
) -> Learnt:
    """Learn from the `values` (n_series, n_buckets) that end a history, those of its days from `days.since` on; a recent
    deviation is one of the last `width` buckets. Rows may be the same series at one time after the other, whole days
    apart, with the `kinds` of days before each; `halves` are those of each time, or one for all while no clock changes."""
    centre, days = days.from_centre()
    season = learn_season(days, kinds)
    window, since = halves[0].window, days.since
    starts = Window(window.end - values.shape[1] * window.span, window.end, window.span).starts
    began = halves[0].start + since * DAY
    by_time = at_times(halves, season.rehearsed, lambda one, rows: one.in_time(rows, since))
    forecast = between_centres(by_time, starts, window.span, began)
    residual = (values - centre[:, None] - forecast).astype(np.float32)
    usual = np.fmax(np.abs(centre), np.fmax.reduce(np.abs(season.table).reshape(len(centre), -1), axis=1))
    lived = np.repeat(np.array([one.lived for one in kinds], np.float32), len(values) // len(kinds))
    spread = _spread(residual, usual.astype(np.float32), halves, since, lived)
    by_time = at_times(halves, spread, lambda one, rows: rows[:, :, one.slots[since * SLOTS_PER_DAY :]])
    sides = (
        between_centres(by_time.reshape(2 * len(values), -1), starts, window.span, began)
        .astype(np.float32)
        .reshape(len(values), 2, -1)
    )
    z = in_spreads(residual, sides[:, 0], sides[:, 1])
    clipped = clip(z)
    recent = recent_deviation(z, clipped, width, slice(0, z.shape[1]))
    follow = _slope(recent, clipped, z)
    deviation = beyond(z, recent * follow[:, None], facts["up"], facts["down"])
    days_seen = np.count_nonzero(~np.isnan(days.cells).all(axis=2), axis=1)
    if (few := days_seen < LEAST_DAYS).any():
        deviation[few] = np.nan
    tails = Tails.fit(deviation, LEAST_VALUES)
    arrays: Arrays = {
        "centre": centre,
        "season": season.table.astype(np.float32),
        "spread": spread,
        "follow": follow,
        "tails": tails.to_array(),
    }
    return Learnt(arrays=arrays, tails=tails, deviation=deviation)


def nothing(rows: int, buckets: int) -> Learnt:
    """What is learnt of less than a day."""
    unknown = np.full((rows, 5), np.nan, np.float32)
    arrays: Arrays = {
        "centre": np.zeros(rows),
        "season": np.full((rows, len(DayKind), SLOTS_PER_DAY), np.nan, np.float32),
        "spread": np.full((rows, 2, SLOTS_PER_DAY), np.nan, np.float32),
        "follow": np.zeros(rows, np.float32),
        "tails": unknown,
    }
    deviation = np.full((rows, buckets), np.nan, np.float32)
    return Learnt(arrays=arrays, tails=Tails.from_array(unknown), deviation=deviation)


def _spread(residual: Singles, usual: Singles, halves: Sequence[HalfHours], first_day: int, lived: Singles) -> Singles:
    """How far values usually are above and below, per local half-hour, (n_series, 2, 48); as a standard deviation. `lived`
    (n_series,) are the days there were."""
    size, large = exceeded(np.abs(residual), 0.5, 0.1)
    whole = np.maximum(1.4826 * size, NARROWEST / 1.645 * large)
    floor = np.fmax(1e-6 * usual, np.float32(1e-9))
    whole = np.fmax(whole, floor)
    grouped = halves[0].grouped(residual, halves[0].columns_since(first_day), first_day)
    most = (5.0 * whole)[:, None, None]
    ones = np.ones(grouped.shape[2], np.float32)
    sums = np.stack([np.fmin(np.fmax(side, np.float32(0)), most) @ ones for side in (grouped, -grouped)], axis=1)
    count = np.full((1, 1, 1), grouped.shape[2], np.float32)
    if np.isnan(grouped).any():
        known = (~np.isnan(grouped)).astype(np.float32) @ ones
        count = np.where(known > 0, known, np.float32(np.nan))[:, None]
    sums /= count
    by_day = at_times(halves, sums, lambda one, rows: one.by_day(rows, first_day))
    near = np.concatenate([np.roll(by_day, 1, axis=3), by_day, np.roll(by_day, -1, axis=3)], axis=2)
    own = np.float32(_SIGMA) * median(near.transpose(0, 1, 3, 2))
    there = ~np.isnan(own)
    side = np.where(there, own, np.float32(0)).sum(axis=2) / np.maximum(np.count_nonzero(there, axis=2), 1)
    side = np.maximum(side, 0.3 * whole[:, None])[:, :, None]
    days, shrink = lived[:, None, None], np.float32(SHRINK)
    spread = (days * np.where(there, own, side) + shrink * side) / (days + shrink)
    spread = np.maximum(spread, NARROWEST * side)
    spread = np.maximum(spread, 0.5 * spread[:, ::-1])
    return np.asarray(np.maximum(spread, floor[:, None, None]), np.float32)


def in_spreads(residual: Singles, above: Singles, below: Singles) -> Singles:
    """Residuals in spreads of the side they are on."""
    # Of a series that never moved, an absurd value is more spreads away than single precision can say.
    with np.errstate(over="ignore"):
        z: Singles = np.maximum(residual, np.float32(0))
        z /= above
        under: Singles = np.minimum(residual, np.float32(0))
        under /= below
    z += under
    np.minimum(z, FURTHEST, out=z)
    return np.maximum(z, -FURTHEST, out=z)


def clip(z: Singles) -> Singles:
    """Deviations as far as they count in the recent one, 0 where there is none."""
    clipped: Singles = np.minimum(z, np.float32(CLIP))
    np.maximum(clipped, np.float32(-CLIP), out=clipped)
    unknown = np.isnan(clipped)
    if unknown.any():
        clipped[unknown] = 0
    return clipped


def recent_deviation(z: Singles, clipped: Singles, width: int, columns: slice) -> Singles:
    """Mean of the clipped deviations of the `width` buckets before each of `columns`; 0 where none is known."""
    near = z[:, max(0, columns.start - width) : columns.stop]
    total = _sum_before(clipped, width, columns)
    if np.isnan(near).any():
        count = _sum_before((~np.isnan(z)).astype(np.float32), width, columns)
    else:
        count = np.minimum(np.arange(columns.start, columns.stop), width).astype(np.float32)
    total /= np.maximum(count, np.float32(width / 2))
    return total


def _sum_before(values: Singles, width: int, columns: slice) -> Singles:
    """Sum of the `width` values before each of `columns`, nothing before the first. Sums of powers of two, so that what is
    said of a bucket does not depend on where the array begins."""
    short = max(0, width - columns.start)
    sums = values[:, max(0, columns.start - width) : max(0, columns.stop - 1)]
    if short:
        sums = np.concatenate([np.zeros((len(values), short), np.float32), sums], axis=1)
    count = columns.stop - columns.start
    total: Singles = np.zeros_like(sums[:, :count])
    size, taken = 1, 0
    while True:
        if width & size:
            total += sums[:, taken : taken + count]
            taken += size
        size *= 2
        if size > width:
            return total
        sums = sums[:, : -size // 2] + sums[:, size // 2 :]


def beyond(z: Singles, shift: Singles, up: NDArray[Any], down: NDArray[Any]) -> Singles:
    """How far each value is beyond both what is usual (0) and what is recent (`shift`), in spreads, >= 0, on the sides that
    matter (n_series,)."""
    over: Singles = np.maximum(shift, np.float32(0))
    np.subtract(z, over, out=over)
    under: Singles = np.minimum(shift, np.float32(0))
    under -= z
    for side, matters in ((over, up), (under, down)):
        if not matters.all():
            np.minimum(side, np.where(matters, np.inf, 0).astype(np.float32)[:, None], out=side)
    np.maximum(over, under, out=over)
    return np.maximum(over, np.float32(0), out=over)


def _slope(recent: Singles, clipped: Singles, z: Singles) -> Singles:
    """How much of the recent deviation goes on into the next bucket: least squares, kept in 0..1, (n_series,)."""
    unknown = np.isnan(z)
    if unknown.any():
        recent = np.where(unknown, np.float32(0), recent)
    # In double precision it is the same number however many unknown ones are before.
    product = np.einsum("ij,ij->i", recent, clipped, dtype=np.float64)
    square = np.einsum("ij,ij->i", recent, recent, dtype=np.float64)
    return np.asarray(np.clip(product / np.maximum(square, 1e-9), 0.0, 1.0), np.float32)
