"""Distances to values that were seen before. All float32, so that equal values stay equal; no value is further than 1e30."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Ints

KEPT = 32
"""Of all stretches that hold three values so many are kept: half of them even in rank, half even in value."""
FEW = 4
"""Values of a row up to which it is quicker to compare them one by one."""
NEVER = np.float32(np.inf)
"""Stands for a value that is not known among those to compare with: further than any other."""

Small = NDArray[np.float32]


def second_nearest_range(asked: Small, others: Iterable[tuple[Small, Small]]) -> Small:
    """Distance of each of `asked` to the second nearest of the `others`, each the lower and upper ends of ranges that fit its
    shape (0 inside); NaN where the value or two of the others are not known. Of an unknown range the ends are the wrong way
    round."""
    one, two = np.full_like(asked, NEVER), np.full_like(asked, NEVER)
    distance, second = np.empty_like(asked), np.empty_like(asked)
    for low, high in others:
        np.subtract(low, asked, out=distance)
        np.maximum(distance, np.subtract(asked, high, out=second), out=distance)
        np.maximum(distance, 0, out=distance)
        np.minimum(two, np.maximum(one, distance, out=second), out=two)
        np.minimum(one, distance, out=one)
    np.copyto(two, np.nan, where=two == NEVER)
    return two


def ranges(values: Small, group: Ints, groups: int) -> Small:
    """Lowest and highest known value of each of so many groups of columns, (n_series, 2, n_groups); `group` (n_buckets,) tells
    which each belongs to. Where none is known the ends are `NEVER` and minus that."""
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    result = np.empty((len(values), 2, groups), np.float32)
    result[:, 0], result[:, 1] = NEVER, -NEVER
    if len(present):
        sorted_ = values if (np.diff(order) == 1).all() else np.take(values, order, axis=1)
        result[:, 0, present] = np.fmin(np.fmin.reduceat(sorted_, starts, axis=1), NEVER)
        result[:, 1, present] = np.fmax(np.fmax.reduceat(sorted_, starts, axis=1), -NEVER)
    return result


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
    result = np.full_like(asked, NEVER)
    if asked.shape[1] <= FEW:
        # Few values of many rows: along what is kept of each.
        near, far = np.empty_like(low), np.empty_like(low)
        for column in range(asked.shape[1]):
            np.subtract(asked[:, column, None], low, out=near)
            np.subtract(high, asked[:, column, None], out=far)
            np.maximum(near, far, out=near).min(axis=1, out=result[:, column])
        return result
    near, far = np.empty_like(asked), np.empty_like(asked)
    for place in range(KEPT):
        np.subtract(asked, low[:, place, None], out=near)
        np.subtract(high[:, place, None], asked, out=far)
        np.minimum(result, np.maximum(near, far, out=near), out=result)
    return result
