"""Samples → one value per series and bucket.

Of several samples of a series at the same microsecond the last one read counts. Samples come in batches, in the order of the
files' names and of the rows in them. Whatever comes in the order of time inside its bucket is added at once; a bucket that gets
a sample not later than one it already has may hold a duplicate, and is settled at the end by reading its samples again, a bounded
number at a time. The memory is thus that of the frame and a batch, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from collectors.files.times import MICRO
from tocsin.model import Aggregate, Bools, Floats, Ints, Window

KINDS = {kind: number for number, kind in enumerate(Aggregate)}
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of rows of the index at times in microseconds, each (k,), in reading order; no NaN."""

    rows: Ints
    times: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class _Groups:
    """The samples of each bucket that has any: its place, how many, first and last time, and the aggregate, each (g,)."""

    cells: Ints
    counts: Ints
    first: Ints
    last: Ints
    values: Floats


class Grid:
    """Buckets of some rows over a window. `kinds` (n,) says how each row aggregates."""

    def __init__(self, window: Window, kinds: Ints) -> None:
        cells = len(kinds) * len(window)
        self.window, self._kinds, self._buckets = window, kinds, len(window)
        self._there = {int(kind) for kind in np.unique(kinds)}
        self._values = np.full(cells, np.nan)
        self._counts = np.zeros(cells, np.int32)
        self._latest = np.full(cells, _NEVER, np.int64)
        self._disordered = np.zeros(cells, bool)

    def add(self, samples: Samples) -> None:
        """One more batch; its samples lie in the window."""
        groups = self._grouped(samples)
        cells = groups.cells
        fresh = groups.first > self._latest[cells]
        self._disordered[cells[~fresh]] = True
        before, now = self._values[cells], groups.values
        kinds = self._kinds[cells // self._buckets]
        empty = self._counts[cells] == 0
        with np.errstate(over="ignore", invalid="ignore"):
            merged = before + now
        for kind, better in ((Aggregate.MIN, np.fmin(before, now)), (Aggregate.MAX, np.fmax(before, now)), (Aggregate.LAST, now)):
            merged = np.where(kinds == KINDS[kind], better, merged)
        self._values[cells] = np.where(empty, now, merged)
        self._counts[cells] += groups.counts.astype(np.int32)
        self._latest[cells] = np.maximum(self._latest[cells], groups.last)

    def disordered(self, samples: int) -> Iterator[tuple[Window, Bools]]:
        """Parts of the window with buckets to settle, and which (n, buckets of the part); about so many samples each."""
        if not self._disordered.any():
            return
        marked = self._disordered.reshape(-1, self._buckets)
        load = np.where(marked, self._counts.reshape(marked.shape), 0).sum(axis=0, dtype=np.int64)
        part = np.cumsum(load) // samples
        for number in np.unique(part[load > 0]):
            columns = np.flatnonzero((part == number) & (load > 0))
            first, last, span = int(columns[0]), int(columns[-1]), self.window.span
            yield (
                Window(self.window.start + first * span, self.window.start + (last + 1) * span, span),
                marked[:, first : last + 1].copy(),
            )

    def settle(self, batches: list[Samples]) -> None:
        """Replace the buckets of these samples by what all their samples, in reading order, make. Uses the list up."""
        if batches:
            everything = Samples(
                np.concatenate([batch.rows for batch in batches]),
                np.concatenate([batch.times for batch in batches]),
                np.concatenate([batch.values for batch in batches]),
            )
            batches.clear()
            groups = self._grouped(everything)
            self._values[groups.cells], self._counts[groups.cells] = groups.values, groups.counts

    def result(self) -> Floats:
        """The values, (n, buckets); NaN where there was no sample."""
        values, counts = self._values.reshape(-1, self._buckets), self._counts.reshape(-1, self._buckets)
        mean, count = self._kinds == KINDS[Aggregate.MEAN], self._kinds == KINDS[Aggregate.COUNT]
        if mean.all():
            np.divide(values, counts, out=values, where=counts > 0)
        elif mean.any():
            values[mean] = values[mean] / np.maximum(counts[mean], 1)
        values[count] = np.where(counts[count] > 0, counts[count], np.nan)
        values[~np.isfinite(values)] = np.nan
        return values

    def _grouped(self, samples: Samples) -> _Groups:
        rows, times, values = samples.rows, samples.times, samples.values
        same = rows[1:] == rows[:-1]
        if not np.all((rows[1:] > rows[:-1]) | (same & (times[1:] > times[:-1]))):
            order = np.lexsort((times, rows))  # stable: of equal ones the last read stays last
            rows, times = rows[order], times[order]
            last = np.r_[(rows[1:] != rows[:-1]) | (times[1:] != times[:-1]), True]
            rows, times, values = rows[last], times[last], values[order[last]]
        cells = rows * self._buckets + (times - self.window.start * MICRO) // (self.window.span * MICRO)
        first = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
        counts = np.diff(np.r_[first, len(cells)])
        ends = first + counts - 1
        with np.errstate(over="ignore", invalid="ignore"):
            made = np.add.reduceat(values, first)
        kinds = self._kinds[rows[first]]
        for kind, reduce in ((Aggregate.MIN, np.minimum), (Aggregate.MAX, np.maximum)):
            if KINDS[kind] in self._there:
                made = np.where(kinds == KINDS[kind], reduce.reduceat(values, first), made)
        made = np.where(kinds == KINDS[Aggregate.LAST], values[ends], made)
        return _Groups(cells[first], counts, times[first], times[ends], made)
