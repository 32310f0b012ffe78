"""Buckets without a value: how long the gap is that each one is in, and what gaps a series usually has.

Series are looked at from moments of a frame: at each the days before it are what is known, and nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from detectors.rates import CELLS, hourly_rates
from tocsin.calibration import Tails, median
from tocsin.model import Bools, Floats, Ints
from tocsin.timegrid import DAY

REHEARSAL = 14
"""Days whose gaps are learnt from."""
LEAST_DAYS = 2
LEAST_BUCKETS = 40
"""Nothing is judged before a series was there for two days and forty buckets."""
BLOCK = 1 << 20
"""Buckets of series that are looked at at once."""


def gaps_of(there: Bools, known: Bools, most: int, weights: Floats | float = 1.0) -> Floats:
    """Buckets without value among the `most` up to and with each one, since the last with one, each with its weight,
    (n_rows, n_buckets): 0 where there is a value, NaN where it is not known. What is before the first column is not counted."""
    counted = np.cumsum((~there & known) * weights, axis=1)
    since = np.where(there, counted, 0.0)
    since = np.maximum.accumulate(since, axis=1) if since.shape[1] else since
    # Only what `most` reaches counts, however far the columns go: judged live, they would go no further.
    since[:, most:] = np.maximum(since[:, most:], counted[:, : -most or None])
    return np.where(known | there, np.maximum(counted - since, 0.0), np.nan)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Where series have values, (n_series, n_buckets), what could be asked, and the `rates.cells_of` the buckets (n_buckets,)."""

    there: Bools
    known: Bools
    cells: Ints
    span: int
    lookback: int

    @property
    def most(self) -> int:
        """Buckets that a gap is measured over at most."""
        return self.lookback // self.span

    @property
    def recent(self) -> int:
        """Buckets that are learnt from at most."""
        return max(1, REHEARSAL * DAY // self.span)

    def rows(self, series: Ints, ends: Ints, width: int) -> tuple[Bools, Bools, Ints]:
        """The `width` buckets before column `ends` of some series: there, known, and their cells, each (n, width). Nothing is
        known of buckets before the first one."""
        before = max(0, width - int(ends.min(initial=0)))
        there, known = (np.pad(part, ((0, 0), (before, 0))) if before else part for part in (self.there, self.known))
        cells = np.pad(self.cells, (before, 0)) if before else self.cells
        begins = ends + before - width
        return (
            sliding_window_view(there, width, axis=1)[series, begins],
            sliding_window_view(known, width, axis=1)[series, begins],
            sliding_window_view(cells, width)[begins],
        )


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What is known of series just before some columns, all (n_series, n_moments).

    `first` to `last` are the columns that are learnt from: recent ones, from the first value known to the last; a gap that
    goes on is not learnt from, it is what is being judged. `judged` were there for long enough, `rare` are those whose gaps
    are often about as long as is looked back. `steady` ones missed nothing.
    """

    first: Ints
    last: Ints
    judged: Bools
    rare: Bools
    steady: Bools

    @classmethod
    def of(cls, seen: Seen, begins: Ints, ends: Ints) -> Moments:
        """Just before the columns `ends`, when all is known from `begins` on, (n_moments,) each."""
        shape = len(seen.there), len(ends)
        low = np.maximum(begins, ends - seen.recent)
        first, last = (np.broadcast_to(edge, shape).copy() for edge in (low, ends))
        began = np.broadcast_to(begins, shape).copy()
        count, rare, steady = last - first, np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
        # Most series miss nothing: only the others cost anything.
        some = np.flatnonzero(~seen.there.all(axis=1))
        step = max(1, BLOCK // max(1, seen.there.shape[1]))
        for rows in (some[place : place + step] for place in range(0, len(some), step)):
            there, known = seen.there[rows], seen.known[rows]
            at = np.arange(there.shape[1], dtype=np.int32)
            following = np.where(there, at, there.shape[1]).astype(np.int32)
            following = np.pad(
                np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)), constant_values=len(at)
            )
            previous = np.pad(np.maximum.accumulate(np.where(there, at, -1), axis=1), ((0, 0), (1, 0)), constant_values=-1)
            began[rows] = following[:, begins]
            first[rows] = np.maximum(low, began[rows])
            last[rows] = np.maximum(previous[:, ends] + 1, first[rows])
            far = gaps_of(there, known, seen.most) * seen.span >= seen.lookback / 2
            count[rows] = _between(known | there, first[rows], last[rows])
            rare[rows] = _between(far, first[rows], last[rows]) > 0.01 * count[rows]
            steady[rows] = (
                _between(~there, np.broadcast_to(low, first[rows].shape), np.broadcast_to(ends, first[rows].shape)) == 0
            )
        old = (ends - began) * seen.span >= LEAST_DAYS * DAY
        return cls(first=first, last=last, judged=old & ~rare & (count >= LEAST_BUCKETS), rare=rare, steady=steady)


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What gaps are usual: `tails` (n_rows, 5) of their lengths, `usual` (n_rows, 96) buckets to one value in each half-hour of
    each kind of day, and the `rehearsed` gaps (n_rows, n_recent) counted so, NaN where they were not learnt from."""

    tails: NDArray[np.float32]
    usual: NDArray[np.float32]
    rehearsed: Floats


def usual_gaps(seen: Seen, series: Ints, ends: Ints, first: Ints, last: Ints) -> Usual:
    """Learn the gaps of series, (n_rows,), from what is before column `ends` between `first` and `last`; rows are judged ones."""
    there, known, cells = seen.rows(series, ends, seen.most + seen.recent)
    columns = ends[:, None] - seen.recent + np.arange(seen.recent)
    learnt = (columns >= first[:, None]) & (columns < last[:, None]) & (known | there)[:, seen.most :]
    usual = 1.0 / np.minimum(hourly_rates(there[:, seen.most :] & learnt, learnt, cells[:, seen.most :]), 1.0)
    weights = 1.0 / np.take_along_axis(usual, cells, axis=1)
    gaps = np.where(learnt, gaps_of(there, known, seen.most, weights)[:, seen.most :], np.nan)
    tails = Tails.fit(gaps, LEAST_BUCKETS).to_array()
    return Usual(tails=_at_most_a_fold(tails, median(usual)), usual=usual.astype(np.float32), rehearsed=gaps)


def steady_tails(counts: Ints) -> NDArray[np.float32]:
    """The tails of series that missed nothing in so many buckets, (n, 5)."""
    distinct, places = np.unique(counts, return_inverse=True)
    return np.concatenate([np.empty((0, 5), np.float32), *map(_steady, distinct.tolist())])[places]


@lru_cache(maxsize=1024)
def _steady(count: int) -> NDArray[np.float32]:
    return _at_most_a_fold(Tails.fit(np.zeros((1, count)), LEAST_BUCKETS).to_array(), np.ones(1))


def surprise_of_gaps(seen: Seen, moments: Moments, first: int, edges: Ints) -> Floats:
    """Surprise of what is missing between the columns `edges` (n + 1,), by what was learnt at the n moments from the `first`
    on, (n_series, n_buckets). What was looked at and not missing has none, what is not judged is NaN."""
    columns, here = slice(int(edges[0]), int(edges[-1])), slice(first, first + len(edges) - 1)
    there, known = seen.there[:, columns], seen.known[:, columns]
    surprise = np.where(np.repeat(moments.judged[:, here], np.diff(edges), axis=1) & (there | known), 0.0, np.nan)
    missing = np.logical_or.reduceat(~there & known, edges[:-1] - edges[0], axis=1)
    series, places = np.nonzero(missing & moments.judged[:, here])
    for length in np.unique(np.diff(edges)[places]).tolist():
        most = max(1, BLOCK // (seen.most + max(seen.recent, length)))
        chosen = np.flatnonzero(np.diff(edges)[places] == length)
        for some in (chosen[begin : begin + most] for begin in range(0, len(chosen), most)):
            rows, moment = series[some], places[some] + first
            own, starts = (rows, moment), edges[places[some]]
            tails = np.zeros((len(rows), 5), np.float32)
            usual = np.ones((len(rows), CELLS), np.float32)
            steady, other = np.flatnonzero(moments.steady[own]), np.flatnonzero(~moments.steady[own])
            tails[steady] = steady_tails((moments.last - moments.first)[own][steady])
            if len(other):
                learnt = usual_gaps(seen, rows[other], starts[other], moments.first[own][other], moments.last[own][other])
                tails[other], usual[other] = learnt.tails, learnt.usual
            was_there, asked, cells = seen.rows(rows, starts + length, seen.most + length)
            weights = 1.0 / np.take_along_axis(usual, cells, axis=1).astype(np.float64)
            gaps = gaps_of(was_there, asked, seen.most, weights)[:, seen.most :]
            surprise[rows[:, None], (starts - edges[0])[:, None] + np.arange(length)] = Tails.from_array(tails).surprise(gaps)
    return surprise


def _at_most_a_fold(tails: NDArray[np.float32], usual: NDArray[np.floating]) -> NDArray[np.float32]:
    """One more bucket of a gap is at most one e-fold less likely, even when no gap was ever seen."""
    fold = usual / np.log(10)
    tails[:, 4] = np.where(tails[:, 4] > 0, np.minimum(tails[:, 4], fold), np.where(np.isnan(tails[:, 4]), np.nan, fold))
    return tails


def _between(what: Bools, first: Ints, last: Ints) -> Ints:
    """How many of each row's columns (n_rows, n_buckets) from `first` to `last` (n_rows, n) are true, (n_rows, n)."""
    counted = np.zeros((len(what), what.shape[1] + 1), np.int64)
    np.cumsum(what, axis=1, out=counted[:, 1:])
    return np.asarray(np.take_along_axis(counted, last, axis=1) - np.take_along_axis(counted, first, axis=1), np.int64)
