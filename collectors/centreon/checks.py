"""Results of checks → buckets. A check is not a sample: its value stands until the next one, as its state does in Centreon.

every 5m, checked every 5m    a check a second late leaves one bucket empty: the value before it stands there
every 1m, checked every 5m    each value stands for five buckets; silence begins when the next check is half an interval late
every 1h, checked every 5m    twelve values, aggregated
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.model import LARGEST, Aggregate, Bools, Floats, Ints, Window

QUANTILES = {Aggregate.P50: 0.5, Aggregate.P90: 0.9, Aggregate.P95: 0.95, Aggregate.P99: 0.99}
STANDS = frozenset({Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST, *QUANTILES})
"""Where the value before says something about a bucket without a check: not about how many there were, or their sum."""


def once(places: Ints, times: Ints, values: Floats) -> tuple[Ints, Ints, Floats]:
    """Sorted by series and time, and each time of a series once: results stored twice count as their mean.

    A value too large to be one (no value, an infinity) becomes NaN.
    """
    values = np.where(np.abs(values) <= LARGEST, values, np.nan)
    order = np.lexsort((times, places))
    places, times, values = places[order], times[order], values[order]
    if len(places) < 2:
        return places, times, values
    fresh = np.r_[True, (places[1:] != places[:-1]) | (times[1:] != times[:-1])]
    if fresh.all():
        return places, times, values
    starts = np.flatnonzero(fresh)
    finite = np.isfinite(values)
    total = np.add.reduceat(np.where(finite, values, 0.0), starts)
    count = np.add.reduceat(finite.astype(np.int64), starts)
    return places[starts], times[starts], np.where(count > 0, total / np.maximum(count, 1), np.nan)


def settle(places: Ints, times: Ints, values: Floats, *, rows: int, window: Window, aggregate: Aggregate, stands: Ints) -> Floats:
    """(rows, n_buckets): each bucket's aggregate of the checks in it, else the value that still stands there, else NaN.

    `times` may begin before the window, for what stands at its beginning; `stands` (rows,) is for how many seconds a value
    does, 0 for not at all. A check that ran without a value ends what stood before it.
    """
    buckets = len(window)
    result = np.full((rows, buckets), np.nan)
    if not len(places) or not buckets:
        return result
    places, times, values = once(places, times, values)
    columns = np.minimum((times - window.start) // window.span, buckets - 1)
    columns = np.where(times < window.start, -1, columns)
    inside = (columns >= 0) & (times < window.end)
    finite = inside & np.isfinite(values)
    cells = places * buckets + columns
    if aggregate is Aggregate.COUNT:
        counted = np.bincount(cells[finite], minlength=rows * buckets).astype(float)
        result = np.where(counted > 0, counted, np.nan).reshape(rows, buckets)
    else:
        _aggregate(result.reshape(-1), cells[finite], values[finite], aggregate)
    if aggregate in STANDS and (stands > 0).any():
        _stand(result, places, times, values, columns, window, stands)
    return result


def _aggregate(flat: Floats, cells: Ints, values: Floats, aggregate: Aggregate) -> None:
    """Into each cell the aggregate of its values; cells come in order, and within a cell in order of time."""
    if not len(cells):
        return
    if aggregate in QUANTILES:
        order = np.lexsort((values, cells))
        cells, values = cells[order], values[order]
    starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    ends = np.r_[starts[1:], len(cells)]
    where, count = cells[starts], ends - starts
    if aggregate is Aggregate.MEAN:
        flat[where] = np.add.reduceat(values, starts) / count
    elif aggregate is Aggregate.SUM:
        flat[where] = np.add.reduceat(values, starts)
    elif aggregate is Aggregate.MIN:
        flat[where] = np.minimum.reduceat(values, starts)
    elif aggregate is Aggregate.MAX:
        flat[where] = np.maximum.reduceat(values, starts)
    elif aggregate is Aggregate.LAST:
        flat[where] = values[ends - 1]
    else:
        position = (count - 1) * QUANTILES[aggregate]
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, count - 1)
        low, high = values[starts + below], values[starts + above]
        flat[where] = low + (high - low) * (position - below)


def _stand(result: Floats, places: Ints, times: Ints, values: Floats, columns: Ints, window: Window, stands: Ints) -> None:
    """Fill buckets without a check from the check before them, as long as its value stands at the bucket's start."""
    rows, buckets = result.shape
    # The last check of each row and column, column 0 being all that was before the window.
    last = np.full((rows, buckets + 1), -1, np.int64)
    ours = times < window.end
    chosen = np.flatnonzero(ours)
    cells = places[chosen] * (buckets + 1) + columns[chosen] + 1
    ends = chosen[np.flatnonzero(np.r_[cells[1:] != cells[:-1], True])] if len(chosen) else chosen
    last[places[ends], columns[ends] + 1] = ends
    newest = np.maximum.accumulate(last, axis=1)
    before, empty = newest[:, :-1], last[:, 1:] < 0
    at = np.maximum(before, 0)
    fits = empty & (before >= 0) & (window.starts[None, :] < times[at] + stands[:, None])
    result[fits] = values[at][fits]


def combine(parts: Floats, rows: Ints, n_rows: int, aggregate: Aggregate) -> Floats:
    """Several series of one row, (n_parts, n_buckets) → (n_rows, n_buckets); `rows` (n_parts,) says which row each belongs to.

    For `last` one series cannot be told from another: the first one with a value is taken.
    """
    result = np.full((n_rows, parts.shape[1]), np.nan)
    if not len(rows):
        return result
    order = np.argsort(rows, kind="stable")
    rows, parts = rows[order], parts[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    where = rows[starts]
    if len(starts) == len(rows):
        result[where] = parts
        return result
    there: Bools = np.isfinite(parts)
    if aggregate in (Aggregate.MEAN, *QUANTILES, Aggregate.SUM, Aggregate.COUNT):
        total = np.add.reduceat(np.where(there, parts, 0.0), starts, axis=0)
        count = np.add.reduceat(there.astype(np.int64), starts, axis=0)
        if aggregate not in (Aggregate.SUM, Aggregate.COUNT):
            total = total / np.maximum(count, 1)
        result[where] = np.where(count > 0, total, np.nan)
    elif aggregate is Aggregate.MIN:
        result[where] = np.fmin.reduceat(parts, starts, axis=0)
    elif aggregate is Aggregate.MAX:
        result[where] = np.fmax.reduceat(parts, starts, axis=0)
    else:
        result[where] = _first(parts, starts)
    return result


def _first(parts: Floats, starts: Sequence[int] | Ints) -> Floats:
    ends = [*starts[1:], len(parts)]
    return np.array(
        [
            np.where(np.isnan(block).all(axis=0), np.nan, block[np.isfinite(block).argmax(axis=0), np.arange(block.shape[1])])
            for block in (parts[start:end] for start, end in zip(starts, ends, strict=True))
        ]
    )
