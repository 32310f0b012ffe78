"""How far from normal → how surprising: `-log10` of the probability, learnt from a series' own past deviations.

The body of the distribution is what was counted, `(count + 1) / (n + 1)`; beyond the value that one in twenty exceeds it
goes on as an exponential tail. Its slope is a winsorised mean excess, so that an incident among the days learnt from makes
it a little flatter and no more. Fails on tails much heavier than that (more false alarms than promised far out) and on
series whose past says nothing of their future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Bools, Floats, Ints

BODY = (0.3, 0.1)
"""Probabilities of being exceeded at which the body is kept; between them surprise is linear in the deviation."""
TAIL = 0.05
"""Where the exponential tail begins."""
WINSOR = 0.2
"""Share of the excesses that is cut down to the largest of the others before their mean is taken: incidents in a hundredth of
the past do not count."""
PRIOR = 3.0
"""How many excesses the slope of the body is worth while few excesses were seen."""
STEEPEST = 12.0
"""The mean excess is at least the tail's start divided by this: nothing is known to be that bounded."""
HIGHEST = 300.0
"""No surprise is larger; numbers beyond it say nothing more."""
LIMIT = 3.0
"""The surprise at which bands are drawn: one in a thousand."""
SHORT = 512
"""Rows up to this length are sorted in a fraction of the time, per value, that longer ones take."""
SLACK = 3.5
"""Standard deviations by which a piece of a row may differ from the others before the whole row is sorted."""
BLOCK = 16384
"""Values judged at once: few enough for the cache."""
_TINY = 1e-12
_SHARES = np.array([*BODY, TAIL])


def quantiles(values: NDArray[np.floating], *shares: float) -> list[NDArray[np.floating]]:
    """Quantiles along the last axis, NaN left out, interpolated; NaN where there is nothing. No warnings."""
    width = values.shape[-1]
    if not width:
        return [np.full(values.shape[:-1], np.nan) for _ in shares]
    if np.isnan(values).any():
        return _quantiles_of_some(values, shares)
    places = [(width - 1) * share for share in shares]
    wanted = {int(place) for place in places} | {min(int(place) + 1, width - 1) for place in places}
    rising = np.sort(values, axis=-1) if width <= SHORT else np.partition(values, sorted(wanted), axis=-1)
    found = []
    for place in places:
        low, high = rising[..., int(place)], rising[..., min(int(place) + 1, width - 1)]
        found.append(np.asarray(low + (high - low) * (place - int(place)), rising.dtype))
    return found


def _quantiles_of_some(values: NDArray[np.floating], shares: Sequence[float]) -> list[NDArray[np.floating]]:
    """`quantiles` of rows that have holes, each as many as it likes."""
    rising = np.sort(values, axis=-1)
    last = np.maximum(values.shape[-1] - 1 - np.count_nonzero(np.isnan(values), axis=-1), 0)
    found = []
    for share in shares:
        place = last * share
        below = place.astype(np.int64)
        above = np.minimum(below + 1, last)
        low = np.take_along_axis(rising, below[..., None], axis=-1)[..., 0]
        high = np.take_along_axis(rising, above[..., None], axis=-1)[..., 0]
        found.append(np.asarray(low + (high - low) * (place - below), rising.dtype))
    return found


def median(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Median along the last axis, NaN left out; NaN where there is nothing. No warnings."""
    return quantiles(values, 0.5)[0]


def in_pieces(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row (n_rows, n) dealt out into pieces of at most `SHORT`, filled up with -1, each sorted: (n_rows, pieces, size).

    Sorting short pieces costs a tenth of sorting the whole. Their number has no divisor in common with the buckets of an hour
    or a day, so that each of them sees some of everything.
    """
    n_rows, width = values.shape
    pieces = -(-width // SHORT)
    while pieces > 1 and gcd(pieces, 30) > 1:
        pieces += 1
    size = -(-width // pieces)
    dealt = np.empty((n_rows, pieces, size), np.float32)
    whole = width // pieces
    dealt[:, :, :whole] = values[:, : whole * pieces].reshape(n_rows, whole, pieces).transpose(0, 2, 1)
    if whole < size:
        dealt[:, : width - whole * pieces, whole] = values[:, whole * pieces :]
        dealt[:, width - whole * pieces :, whole] = -1.0
    dealt.sort(axis=2)
    return dealt


def ranked(pieces: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """The values of ranks `first` to `last` of each row that `in_pieces` dealt out, 1 being the largest, (n_rows, ranks)."""
    n_rows, n, size = pieces.shape
    slack = [SLACK * np.sqrt((1.0 - 1.0 / n) * rank / n * max(0.0, 1.0 - rank / n / size)) for rank in (first, last)]
    start, stop = max(0, int((first - 1) / n - slack[0])), min(size, int(np.ceil(last / n + slack[1])))
    near = np.sort(pieces[:, :, size - stop : size - start].reshape(n_rows, -1), axis=1)
    found = near[:, near.shape[1] - 1 - (first - 1 - n * start) :: -1][:, : last - first + 1]
    # Right unless a piece that is not like the others has more such values than were looked at.
    wrong = np.zeros(n_rows, np.bool_)
    if start:
        wrong |= found[:, 0] > pieces[:, :, size - start].min(axis=1)
    if stop < size:
        wrong |= found[:, -1] < pieces[:, :, size - stop - 1].max(axis=1)
    if wrong.any():
        found[wrong] = np.sort(pieces[wrong].reshape(-1, n * size), axis=1)[:, ::-1][:, first - 1 : last]
    return found


def exceeded(values: NDArray[np.floating], *shares: float) -> list[NDArray[np.float32]]:
    """The values that these shares of each row's (n_rows, n) known ones, all >= 0, reach; NaN where there is none."""
    known = np.fmax(values.astype(np.float32, copy=False), np.float32(-1))
    if not known.size:
        return [np.full(len(known), np.nan, np.float32) for _ in shares]
    count = _known(known)
    pieces, rows, found = in_pieces(known), np.arange(len(known)), []
    for share in shares:
        rank = np.maximum(np.ceil(share * count), 1).astype(np.int64)
        first = rank.min()
        found.append(np.where(count > 0, ranked(pieces, first, rank.max())[rows, rank - first], np.float32(np.nan)))
    return found


@dataclass(frozen=True, kw_only=True)
class Tails:
    """How large deviations are in normal times, per row, all (n_rows,).

    `common` and `rare` are exceeded with the probabilities of `BODY`, `far` with `10**-far_surprise`; from there each
    `1 / steepness` of deviation is one more order of magnitude. Rows without enough past are NaN.
    """

    common: Floats
    rare: Floats
    far: Floats
    far_surprise: Floats
    steepness: Floats

    @classmethod
    def fit(cls, deviations: NDArray[np.floating], least: int) -> Tails:
        """Learn each row's distribution from its past deviations (n_rows, n), all >= 0, NaN = none.

        Rows with fewer than `least` of them learn nothing. A row that deviated only now and then has its tail begin at
        zero with the share of buckets in which it did; for one that never did, any deviation is as surprising as n
        buckets without one allow: `log10(n + 1)`.
        """
        width = deviations.shape[1]
        if not deviations.size:
            nothing = np.full(len(deviations), np.nan)
            return cls(common=nothing, rare=nothing, far=nothing, far_surprise=nothing, steepness=nothing)
        known = np.fmax(deviations.astype(np.float32, copy=False), np.float32(-1))
        some = count = np.full(len(known), width)
        if known.min() <= 0:
            some, count = _counted(known > 0), _counted(known >= 0)
        ranks = np.maximum(np.ceil(np.multiply.outer(_SHARES, count + 1)), 1).astype(np.int64)
        pieces, rows = in_pieces(known), np.arange(len(known))
        first, last = ranks[0].min(), ranks[0].max()
        common = np.maximum(ranked(pieces, first, last)[rows, ranks[0] - first], 0.0, dtype=np.float64)
        falling = ranked(pieces, 1, ranks[1].max())
        rare, far = np.maximum(falling[rows, ranks[1:] - 1], 0.0, dtype=np.float64)
        beyond = np.minimum((TAIL * (count + 1)).astype(np.int64), some)
        # What is not beyond `far` adds nothing, so that the sum needs no rank of its own.
        top = np.minimum(falling[:, : max(1, beyond.max())], falling[rows, (WINSOR * beyond).astype(np.int64), None])
        excess = np.maximum(top - far[:, None], 0.0)
        total = excess.sum(axis=1) / (1.0 - WINSOR * (beyond >= 1 / WINSOR))
        body = np.where(far > 0, far / -np.log(TAIL), 1.0)
        mean = np.maximum((total + PRIOR * body) / (beyond + PRIOR), np.maximum(far / STEEPEST, _TINY))
        chance = np.where(far > 0, TAIL, np.minimum(TAIL, (some + 1) / (count + 1)))
        steepness = np.where(some > 0, 1.0 / (mean * np.log(10.0)), 0.0)
        enough = np.where(count >= max(1, least), 1.0, np.nan)
        return cls(
            common=common * enough,
            rare=rare * enough,
            far=far * enough,
            far_surprise=-np.log10(chance) * enough,
            steepness=steepness * enough,
        )

    def widened(self, factor: float | Floats) -> Tails:
        """The same for deviations `factor` times as large (one for all rows, or one each): days to come are others."""
        return Tails(
            common=self.common * factor,
            rare=self.rare * factor,
            far=self.far * factor,
            far_surprise=self.far_surprise,
            steepness=self.steepness / factor,
        )

    def at_least_as_steep(self, steepness: Floats) -> Tails:
        """The same, but no tail is flatter than `steepness` (n_rows,) orders of magnitude per unit of deviation."""
        return replace(self, steepness=np.maximum(self.steepness, steepness))

    def rows(self, rows: slice) -> Tails:
        """Those of some rows."""
        return Tails(
            common=self.common[rows],
            rare=self.rare[rows],
            far=self.far[rows],
            far_surprise=self.far_surprise[rows],
            steepness=self.steepness[rows],
        )

    def surprise(self, deviation: NDArray[np.floating]) -> Floats:
        """Surprise of deviations (n_rows, n_buckets), all >= 0; NaN stays NaN, 0 is never surprising."""
        result = np.empty_like(deviation, np.float64)
        each = max(1, BLOCK // max(1, deviation.shape[1]))
        for first in range(0, len(deviation), each):
            rows = slice(first, first + each)
            self._surprise(deviation[rows], rows, result[rows])
        return result

    def _surprise(self, deviation: NDArray[np.floating], rows: slice, result: Floats) -> None:
        """Write the surprise of these rows: a line per piece of the distribution, each going on where the last one ends."""
        first, second, last = -np.log10(BODY[0]), -np.log10(BODY[1]), self.far_surprise[rows, None]
        common, rare, far = self.common[rows, None], self.rare[rows, None], self.far[rows, None]
        np.multiply(deviation, first / np.maximum(common, _TINY), out=result)
        np.minimum(result, first, out=result)
        piece = np.empty_like(result)
        for start, end, rise in ((common, rare, second - first), (rare, far, last - second)):
            np.subtract(deviation, start, out=piece)
            piece *= rise / np.maximum(end - start, _TINY)
            np.minimum(piece, rise, out=piece)
            result += np.maximum(piece, 0.0, out=piece)
        np.subtract(deviation, far, out=piece)
        np.maximum(piece, 0.0, out=piece)
        piece *= self.steepness[rows, None]
        result += piece
        np.minimum(result, HIGHEST, out=result)

    def limit(self) -> Floats:
        """The deviation from which on surprise is above `LIMIT`, (n_rows,); infinite where none is."""
        missing = np.maximum(LIMIT - self.far_surprise, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            more = np.where(missing > 0, missing / self.steepness, 0.0)
        return self.far + more

    def to_array(self) -> NDArray[np.float32]:
        """As one array (n_rows, 5), for a baseline."""
        return np.stack([self.common, self.rare, self.far, self.far_surprise, self.steepness], axis=1).astype(np.float32)

    @classmethod
    def from_array(cls, array: NDArray[np.float32]) -> Tails:
        """What `to_array` gave."""
        common, rare, far, far_surprise, steepness = np.ascontiguousarray(array.T, np.float64)
        return cls(common=common, rare=rare, far=far, far_surprise=far_surprise, steepness=steepness)


def _known(values: NDArray[np.float32]) -> Ints:
    """How many values of each row (n_rows, n) are not the -1 of unknown ones, (n_rows,)."""
    return np.full(len(values), values.shape[1]) if values.min() >= 0 else _counted(values >= 0)


def _counted(chosen: Bools) -> Ints:
    """How many of each row (n_rows, n) are chosen, (n_rows,)."""
    return np.asarray(np.bitwise_count(np.packbits(chosen, axis=1)).sum(axis=1), np.int64)
