"""How far from normal → how surprising: `-log10` of the probability, learnt from a series' own past deviations.

The body of the distribution is what was counted, `(count + 1) / (n + 1)`; beyond the value that one in twenty exceeds it
goes on as an exponential tail. Its slope is a winsorised mean excess, so that an incident among the days learnt from makes
it a little flatter and no more. Fails on tails much heavier than that (more false alarms than promised far out) and on
series whose past says nothing of their future.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Floats

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
_TINY = 1e-12


def ordered(values: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Values sorted along the last axis, NaN last, and how many are not NaN."""
    result = np.sort(values, axis=-1)
    return result, values.shape[-1] - np.isnan(result).sum(axis=-1)


def quantiles(values: NDArray[np.floating], *shares: float) -> list[NDArray[np.floating]]:
    """Quantiles along the last axis, NaN left out, interpolated; NaN where there is nothing. No warnings."""
    if not values.shape[-1]:
        return [np.full(values.shape[:-1], np.nan) for _ in shares]
    result, count = ordered(values)
    found = []
    for share in shares:
        place = np.maximum(count - 1, 0) * share
        below = place.astype(np.int64)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low = np.take_along_axis(result, below[..., None], axis=-1)[..., 0]
        high = np.take_along_axis(result, above[..., None], axis=-1)[..., 0]
        found.append(np.asarray(low + (high - low) * (place - below), result.dtype))
    return found


def median(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Median along the last axis, NaN left out; NaN where there is nothing. No warnings."""
    return quantiles(values, 0.5)[0]


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
        if not width:
            nothing = np.full(len(deviations), np.nan)
            return cls(common=nothing, rare=nothing, far=nothing, far_surprise=nothing, steepness=nothing)
        rising = np.sort(np.where(np.isnan(deviations), np.float32(-1), deviations.astype(np.float32, copy=False)), axis=1)
        some = width - np.count_nonzero(rising <= 0, axis=1)
        count = width - np.count_nonzero(rising < 0, axis=1)

        def exceeded(share: float) -> Floats:
            rank = np.clip(np.ceil(share * (count + 1)).astype(np.int64), 1, width)
            return np.maximum(np.take_along_axis(rising, (width - rank)[:, None], axis=1)[:, 0].astype(np.float64), 0.0)

        common, rare, far = exceeded(BODY[0]), exceeded(BODY[1]), exceeded(TAIL)
        beyond = np.minimum(np.floor(TAIL * (count + 1)).astype(np.int64), some)
        most = max(1, int(beyond.max(initial=1)))
        excess = rising[:, ::-1][:, :most].astype(np.float64) - far[:, None]
        inside = np.arange(most) < beyond[:, None]
        cut = np.minimum((WINSOR * beyond).astype(np.int64), most - 1)
        highest = np.take_along_axis(excess, cut[:, None], axis=1)
        total = np.where(inside, np.minimum(excess, highest), 0.0).sum(axis=1) / (1.0 - WINSOR * (beyond >= 1 / WINSOR))
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

    def surprise(self, deviation: NDArray[np.floating]) -> Floats:
        """Surprise of deviations (n_rows, n_buckets), all >= 0; NaN stays NaN, 0 is never surprising."""
        first, second = -np.log10(BODY[0]), -np.log10(BODY[1])
        common, rare, far = self.common[:, None], self.rare[:, None], self.far[:, None]
        result = first * np.minimum(deviation / np.maximum(common, _TINY), 1.0)
        result += (second - first) * np.clip((deviation - common) / np.maximum(rare - common, _TINY), 0.0, 1.0)
        result += (self.far_surprise[:, None] - second) * np.clip((deviation - rare) / np.maximum(far - rare, _TINY), 0.0, 1.0)
        result += np.maximum(deviation - far, 0.0) * self.steepness[:, None]
        return np.asarray(np.minimum(result, HIGHEST), np.float64)

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
        common, rare, far, far_surprise, steepness = np.asarray(array, np.float64).T
        return cls(common=common, rare=rare, far=far, far_surprise=far_surprise, steepness=steepness)
