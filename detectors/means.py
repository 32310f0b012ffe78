"""Means of neighbouring buckets: of half-hours, and of the hours that end with each bucket. What is not known is left out."""

from __future__ import annotations

import numpy as np

from tocsin.model import Floats, Ints, Window
from tocsin.timegrid import SLOT

FEW = 4
"""Means up to so many are added up bucket by bucket where the values of a bucket lie side by side."""


def half_hours(values: Floats, window: Window, first: int, count: int) -> tuple[Floats, Floats]:
    """Sum and number of the known values in so many half-hours from `first` on, each (n_series, count). A bucket is in the one
    that holds its centre; one longer than half an hour is in all whose centre it holds. What is before the window is unknown."""
    span, edges = window.span, first + np.arange(count + 1) * SLOT
    if span > SLOT:
        columns = (edges[:-1] + SLOT // 2 - window.start) // span
        held = (
            np.where(columns < 0, np.nan, values[:, np.maximum(columns, 0)])
            if values.shape[1]
            else np.full((len(values), count), np.nan)
        )
        return np.nan_to_num(held), (~np.isnan(held)).astype(np.float64)
    bounds = -(-(edges - window.start - span // 2) // span)
    if bounds[0] < 0:
        values = np.pad(values, ((0, 0), (-bounds[0], 0)), constant_values=np.nan)
        bounds -= bounds[0]
    values = values[:, bounds[0] : bounds[-1]]
    known = ~np.isnan(values)
    filled, there = np.where(known, values, 0.0), known.astype(np.float64)
    if SLOT % span == 0:
        each = np.ones(SLOT // span)
        return filled.reshape(len(values), count, len(each)) @ each, there.reshape(len(values), count, len(each)) @ each
    inside = bounds[:-1] - bounds[0]
    return np.add.reduceat(filled, inside, axis=1), np.add.reduceat(there, inside, axis=1)


def trailing_mean(values: Floats, width: int, columns: slice | None = None, rows: Ints | None = None) -> Floats:
    """Mean of the known values of each bucket and the `width - 1` before it, as far as there are any; NaN where none is known.
    Only of `rows`, and of `columns`, which may begin before the first; what lies there is unknown."""
    columns = slice(0, values.shape[1]) if columns is None else columns
    first = columns.start - width + 1
    part = values[:, max(0, first) : max(0, columns.stop)]
    if values.strides[0] == values.itemsize and 0 < columns.stop - columns.start <= min(FEW, width):
        return _of_few(part, width, columns.stop - columns.start, rows)
    if rows is not None:
        part = part[rows]
    if part.shape[1] < columns.stop - first:
        part = np.pad(part, ((0, 0), (columns.stop - first - part.shape[1], 0)), constant_values=np.nan)
    mean = _sliding(part, width) / width
    holes = np.flatnonzero(np.isnan(mean).any(axis=1))
    if len(holes):
        part = part[holes]
        there = ~np.isnan(part)
        mean[holes] = mean_of(_sliding(np.where(there, part, 0.0), width), _sliding(there.astype(np.float64), width))
    return mean


def _of_few(values: Floats, width: int, count: int, rows: Ints | None) -> Floats:
    """Of these rows the mean of each of the last `count` buckets and the `width - 1` before it; what all of them hold is added
    up once."""
    lacking = width + count - 1 - values.shape[1]

    def added(first: int, stop: int) -> tuple[Floats, Floats]:
        return _added(values[:, max(0, first - lacking) : max(0, stop - lacking)], rows)

    total, known = added(count - 1, width)
    means = np.empty((len(total), count), order="F")
    for place in range(count):
        before, after = added(place, count - 1), added(width, place + width)
        means[:, place] = mean_of(total + before[0] + after[0], known + before[1] + after[1])
    return means


def _added(values: Floats, rows: Ints | None) -> tuple[Floats, Floats]:
    """Sum and number of the known values of these rows, (n_rows,), bucket by bucket."""
    count = len(values) if rows is None else len(rows)
    total, known = np.zeros(count), np.full(count, float(values.shape[1]))
    for column in range(values.shape[1]):
        value = values[:, column] if rows is None else values[:, column].take(rows)
        unknown = np.isnan(value)
        if unknown.any():
            value = np.where(unknown, 0.0, value)
            known -= unknown
        total += value
    return total, known


def _sliding(values: Floats, width: int) -> Floats:
    """Sum of each `width` neighbouring columns, (n_series, n_buckets - width + 1); put together from sums of 1, 2, 4 ... of them,
    so that a value far away leaves no trace."""
    count = values.shape[1] - width + 1
    if count == 1:
        return (values @ np.ones(width))[:, None]
    total, sums, first, size = np.zeros((len(values), count)), values, 0, 1
    while size <= width:
        if width & size:
            total += sums[:, first : first + count]
            first += size
        if 2 * size <= width:
            sums = sums[:, : sums.shape[1] - size] + sums[:, size:]
        size *= 2
    return total


def mean_of(total: Floats, count: Floats) -> Floats:
    """Total over count; NaN where nothing was counted."""
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
