"""A baseline's arrays by the rows of a frame, several surprises of one detector as one, and large frames piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Baseline, Bools, Floats, Ints, SeriesIndex, Window

SLAB = 1 << 15
"""Values worked on at once, so that what is in between stays in the cache."""
BLOCK = 1 << 19
"""Values of several windows, and of what each of them learns from, that are laid out side by side."""
NARROW = 64
"""Columns up to which it is faster to have those of a bucket, and not those of a series, next to one another."""

N = TypeVar("N", bound=np.floating)


def learnt_of(index: SeriesIndex, baseline: Baseline) -> tuple[dict[str, NDArray[Any]], Bools]:
    """The baseline's arrays row by row of `index`, and which rows it knows, (n_series,). What is said of the others means
    nothing."""
    if index == baseline.index:
        return dict(baseline.arrays), np.ones(len(index), np.bool_)
    rows = index.rows_in(baseline.index)
    if not len(baseline.index):
        nothing = {
            name: np.full((len(rows), *array.shape[1:]), np.nan if array.dtype.kind == "f" else 0, array.dtype)
            for name, array in baseline.arrays.items()
        }
        return nothing, rows >= 0
    return {name: array[rows] for name, array in baseline.arrays.items()}, rows >= 0


def agreed(said: Sequence[Floats], judged: Bools) -> Floats:
    """Mean of the surprises (n_series, n_buckets) that know something; 0 where a value is judged of which none does."""
    total = sum(said[1:], start=said[0])
    mean = total / len(said)
    if np.isnan(mean).any():
        known = sum((~np.isnan(one) for one in said), start=np.zeros(mean.shape, np.int64))
        mean = sum((np.fmax(one, 0.0) for one in said), start=np.zeros(mean.shape)) / np.maximum(known, 1)
    np.copyto(mean, np.nan, where=~judged)
    return mean


def slabs(n_series: int, n_buckets: int) -> Iterator[slice]:
    """The rows of so large an array in pieces that are worked on one after the other."""
    each = max(1, SLAB // max(1, n_buckets))
    for first in range(0, n_series, each):
        yield slice(first, min(n_series, first + each))


def narrow(values: Floats) -> Floats:
    """The same values; where they are few columns of many rows, each column in one piece."""
    return values if values.shape[1] > NARROW or values.strides[0] == values.itemsize else np.asfortranarray(values)


def blocks(windows: Sequence[Window], n_series: int, learnt_from: int) -> Iterator[Sequence[Window]]:
    """Neighbouring windows that are learnt and judged together, each from `learnt_from` buckets before it."""
    first = cells = 0
    for place, window in enumerate(windows):
        cells += n_series * (learnt_from + len(window))
        if cells > BLOCK and place > first:
            yield windows[first:place]
            first, cells = place, n_series * (learnt_from + len(window))
    if first < len(windows):
        yield windows[first:]


def laid(values: NDArray[N], starts: Ints, width: int) -> NDArray[N]:
    """So many columns from each of the starts on, (n_series, n_starts, width); NaN outside."""
    result = np.empty((len(values), len(starts), width), values.dtype)
    for place, start in enumerate(starts.tolist()):
        part = values[:, max(0, start) : max(0, start + width)]
        before = min(width, max(0, -start))
        result[:, place, :before] = np.nan
        result[:, place, before : before + part.shape[1]] = part
        result[:, place, before + part.shape[1] :] = np.nan
    return result
