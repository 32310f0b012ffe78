"""Distances to values that were seen before. All float32, so that equal values stay equal; no value is further than 1e30."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detectors.clockdays import ClockDays

KEPT = 32
"""Of all stretches that hold three values so many are kept: half of them even in rank, half even in value."""
NEVER = np.float32(np.inf)
"""Stands for a value that is not known among those to compare with: further than any other."""
TOGETHER = 1 << 15
"""Values compared at once, so that the arrays stay in the cache."""

Small = NDArray[np.float32]


def second_nearest(asked: Small, others: Iterable[Small]) -> Small:
    """Distance of each of `asked` to the second nearest of the `others`, each an array that fits its shape; NaN where the value
    or two of the others are not known."""
    one, two = np.full(asked.shape, NEVER), np.full(asked.shape, NEVER)
    distance, second = np.empty(asked.shape, np.float32), np.empty(asked.shape, np.float32)
    for other in others:
        np.subtract(asked, other, out=distance)
        np.abs(distance, out=distance)
        np.minimum(two, np.maximum(one, distance, out=second), out=two)
        np.minimum(one, distance, out=one)
    np.copyto(two, np.nan, where=two == NEVER)
    return two


def stretches(rising: Small) -> tuple[Small, Small]:
    """What decides the distance to the third nearest of many values, given in rising order, `NEVER` last, (n, m): the lowest and
    highest value of `KEPT` of the stretches that hold three of them, each (n, KEPT); NaN where there are not three."""
    rows, count = rising.shape
    if not rows or count < 3:
        nothing = np.full((rows, KEPT), np.nan, np.float32)
        return nothing, nothing
    many = np.count_nonzero(rising < NEVER, axis=1) - 2
    low, high = rising[:, :-2], rising[:, 2:]
    last = np.maximum(many - 1, 0)
    half = KEPT // 2
    ranks = np.round(np.linspace(0.0, 1.0, half) * last[:, None]).astype(np.int64)
    lowest, highest = low[:, 0], np.take_along_axis(high, last[:, None], axis=1)[:, 0]
    enough = many >= 1
    between = (np.arange(half, dtype=np.float32) + np.float32(0.5)) / np.float32(half)
    reach = np.where(enough, highest, 0) - np.where(enough, lowest, 0)
    wanted = np.where(enough, lowest, 0)[:, None] + reach[:, None] * between
    # Where in the sorted values each wanted one would be; rows cannot be searched together.
    by_value = np.reshape([row.searchsorted(value) for row, value in zip(rising, wanted, strict=True)], (rows, half)) - 1
    places = np.concatenate([ranks, np.clip(by_value, 0, last[:, None])], axis=1)
    kept = np.where(enough[:, None], np.take_along_axis(low, places, axis=1), np.float32(np.nan))
    return kept, np.where(enough[:, None], np.take_along_axis(high, places, axis=1), np.float32(np.nan))


def third_nearest(asked: Small, low: Small, high: Small) -> Small:
    """Distance of each of `asked` (n, k) to the third nearest of the values that the `stretches` (n, KEPT) were made of, never
    less and seldom much more."""
    result = np.full(asked.shape, NEVER)
    if asked.shape[1] == 1:
        # One value of many rows: along what is kept of each.
        distance = asked - low
        np.maximum(distance, high - asked, out=distance).min(axis=1, out=result[:, 0])
        return result
    near, far = np.empty(asked.shape, np.float32), np.empty(asked.shape, np.float32)
    for place in range(KEPT):
        np.subtract(asked, low[:, place, None], out=near)
        np.subtract(high[:, place, None], asked, out=far)
        np.minimum(result, np.maximum(near, far, out=near), out=result)
    return result


def nearest_at_hour(values: Small, remembered: Small, at: ClockDays, before: int, reach: int) -> Small:
    """Distance of the values of each day but the first `before` ones to the second nearest of those remembered of so many days
    before it, `reach` slots to either side at most, (n_series, n_buckets of those days). The day is a ring.

    `values` (n_series, n_buckets + 1) ends with a column of NaN, `remembered` is (n_series, n_days, n_slots).
    """
    first = int(np.searchsorted(at.day, before))
    rounds, slots = len(at.day) - first, remembered.shape[2]
    columns = np.flatnonzero(at.round >= first)
    places = at.place[columns] * rounds + at.round[columns] - first
    source = np.full(at.each * slots * rounds, -1)
    source[places] = columns
    # Slot by slot the days lie side by side, so that a slot further on or a day earlier is the same block of memory, shifted.
    asked = np.take(values, source, axis=1).reshape(len(values), at.each, slots, rounds)
    ring = remembered[:, :, np.arange(-reach, slots + reach) % slots].swapaxes(1, 2)
    result = np.empty_like(asked)
    series = max(1, TOGETHER // max(1, at.each * slots * rounds))
    buckets = max(1, TOGETHER // max(1, series * slots * rounds))
    for row in range(0, len(values), series):
        days = [np.take(ring[row : row + series], at.day[first:] - back, axis=2)[:, None] for back in range(1, before + 1)]
        for bucket in range(0, at.each, buckets):
            part = slice(row, row + series), slice(bucket, bucket + buckets)
            others = (day[:, :, aside : aside + slots] for day in days for aside in range(2 * reach + 1))
            result[part] = second_nearest(asked[part], others)
    return result.reshape(len(values), at.each * slots * rounds)[:, places]
