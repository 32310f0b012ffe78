"""Answers in rows → a frame: each row of an answer is put into the cell of its series and bucket.

A source answers with rows (component, metric, start of the bucket, value), in any order and never for all that was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.model import Floats, Frame, Ints, SeriesIndex, Window


class _Rows(dict[str, int]):
    """Row of each component, -1 for one that nobody asked for."""

    def __missing__(self, component: str) -> int:
        return -1


class Cells:
    """The cells of one `collect`: all "no data" at first.

    `strangers` counts rows of series that nobody asked for, `outside` those of times that are no bucket of the window.
    """

    def __init__(self, index: SeriesIndex, window: Window) -> None:
        self._index, self._window = index, window
        self._values = np.full((len(index), len(window)), np.nan)
        self._known = np.ones(self._values.shape, bool)
        self._rows: dict[str, _Rows] = {}
        for row, key in enumerate(index.keys):
            self._rows.setdefault(key.metric, _Rows())[key.component] = row
        self.strangers = self.outside = 0

    def add(self, components: Sequence[str], metrics: Sequence[str] | str, times: Ints, values: Floats) -> None:
        """Put `values` into the buckets that start at `times` (epoch seconds); one metric for all rows, or one for each.

        Of two values for one cell the later one wins; a NaN says nothing and leaves what is there. Rows that belong nowhere
        are counted.
        """
        times, values = np.asarray(times, np.int64), np.asarray(values, np.float64)
        if not len(components) == len(times) == len(values) or not (isinstance(metrics, str) or len(metrics) == len(times)):
            raise ValueError(f"{len(components)} components, {len(times)} times and {len(values)} values do not make rows")
        if isinstance(metrics, str):
            known = self._rows.get(metrics) or _Rows()
            rows = np.fromiter(map(known.__getitem__, components), np.int64, len(components))
        else:
            pairs = zip(components, metrics, strict=True)
            found = (self._rows[metric][component] if metric in self._rows else -1 for component, metric in pairs)
            rows = np.fromiter(found, np.int64, len(components))
        columns, off = np.divmod(times - self._window.start, self._window.span)
        there = (off == 0) & (columns >= 0) & (columns < len(self._window))
        self.strangers += int(np.count_nonzero(rows < 0))
        self.outside += int(np.count_nonzero(~there & (rows >= 0)))
        take = there & (rows >= 0) & ~np.isnan(values)
        cells = rows[take] * len(self._window) + columns[take]
        # What numpy does with a cell that is named twice is not promised: the last row of each cell is looked up.
        _, last = np.unique(cells[::-1], return_index=True)
        last = len(cells) - 1 - last
        self._values.reshape(-1)[cells[last]] = values[take][last]

    def zero(self, rows: Ints) -> None:
        """A bucket of these rows that no answer mentioned is 0: counts, whose source leaves out what did not happen."""
        values = self._values[rows]
        values[np.isnan(values)] = 0.0
        self._values[rows] = values

    def unknown(self, *, rows: Ints | slice = slice(None), columns: Ints | slice = slice(None)) -> None:
        """The source did not answer for these rows and columns (all of them where left out), whatever else it says of them."""
        if isinstance(rows, slice) or isinstance(columns, slice):
            self._known[rows, columns] = False
        else:
            self._known[np.ix_(rows, columns)] = False

    def frame(self) -> Frame:
        """What is known now; a value in a cell that is not known was only part of one, and is none."""
        values = np.where(self._known, self._values, np.nan)
        return Frame(index=self._index, window=self._window, values=values, known=self._known.copy())
