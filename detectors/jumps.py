"""How rare a jump is: the distribution of a series' own changes, read in one of two ways.

A series among siblings is held against all of its last two weeks: of many metrics one jumps somewhere every hour, and a metric
that does so by its nature shall say little.

A series that stands alone is its component's only witness, and what happened to it a few times in two weeks may well have been
trouble each time. So its distances are first put into proportion with how much it moves at this hour (a small jump in a quiet
night is as rare as a large one at noon), and the tail beyond one in twenty passes through the median of the largest values of
every 600 buckets: half of these blocks may hold incidents without making the next one usual, and what happens in most of them is
normal. (Where most blocks stay below what one in twenty exceeds, the series moves in part of its time only, and all of it counts.)
While there are less than four such blocks they are shorter, and before there are four of 150 buckets the tail goes on
beyond surprise 3 as the body of the distribution falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import HIGHEST, Tails, quantiles
from tocsin.model import Bools, Floats, Ints, SeriesIndex
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY

LEARNT = ("tails", "outright", "noise")
"""Names of the arrays of `learnt`."""
LEAST_VALUES = 40
"""Nothing is judged before a series had that many values."""
BLOCK, LARGEST_BLOCK = 150, 4
"""Buckets whose largest value is looked for, and how many of these count as one, where there are `LEAST_BLOCKS` then."""
LEAST_BLOCKS = 4
LEAST_KNOWN = DAY
"""Seconds of known values before half-hours are told apart."""
LEAST_ORDERS = 0.3
"""Orders of magnitude at least between one in twenty and the largest value of a block."""
STEEPEST = 12.0
"""As in `tocsin.calibration`: nothing is known to be more bounded."""
QUIETEST = 0.3
"""No half-hour counts as quieter than this part of the whole day."""
LARGE = 4.0
"""Distances count for the noise of a half-hour up to so many times the mean one."""

Small = NDArray[np.float32]


def alone(index: SeriesIndex) -> Bools:
    """Which series are the only one of their component, (n_series,)."""
    sizes = np.diff(np.r_[index.component_starts, len(index)]).astype(np.int64)
    return np.repeat(sizes == 1, sizes)


def learnt(far: Small, slots: Ints, single: Bools, span: int) -> dict[str, Small]:
    """What is known of distances (n_rows, n) >= 0 in the local half-hours `slots` (n,), NaN where unknown: `tails` (n_rows, 5),
    how steep they are `outright` beyond surprise 3 (n_rows,), and the `noise` of each half-hour in proportion to the day's
    (n_rows, 48), by which distances are divided first. `single` rows stand alone. Unknown values in front change nothing."""
    noise = np.ones((len(far), SLOTS_PER_DAY), np.float32)
    if not single.any():
        tails = Tails.fit(far, LEAST_VALUES)
        return {"tails": tails.to_array(), "outright": tails.steepness.astype(np.float32), "noise": noise}
    if span <= SLOT:
        noise[single] = _noise(far[single], slots, LEAST_KNOWN // span)
        far = far / noise[:, slots]
    tails = Tails.fit(far, LEAST_VALUES)
    through = _through_blocks(far, tails)
    known = ~np.isnan(through)
    outright = np.where(single, np.where(known, through, _as_the_body(far, tails)), tails.steepness)
    tails = replace(tails, steepness=np.where(single & known, through, tails.steepness))
    return {"tails": tails.to_array(), "outright": outright.astype(np.float32), "noise": noise}


def surprise_of(far: NDArray[np.floating], slots: Ints, own: Mapping[str, NDArray[Any]]) -> Floats:
    """Surprise of distances (n_rows, n_buckets) in the half-hours `slots` (n_buckets,) by what `learnt` gave; NaN stays NaN."""
    tails = Tails.from_array(own["tails"])
    noise, steeper = own["noise"], own["outright"] - tails.steepness
    if (noise != 1).any():
        far = far / noise[:, slots]
    surprise = tails.surprise(far)
    if (steeper > 0).any():
        more = far - tails.limit()[:, None]
        np.maximum(more, 0.0, out=more)
        more *= steeper[:, None]
        surprise += more
    return np.minimum(surprise, HIGHEST, out=surprise)


def _noise(far: Small, slots: Ints, least: int) -> Small:
    """Square root of how much each half-hour and its neighbours move in proportion to the whole day, (n_rows, 48); 1 with less
    than so many known values."""
    known = ~np.isnan(far)
    filled = np.where(known, far, np.float32(0))
    count = np.maximum(np.count_nonzero(known, axis=1), 1)
    ceiling = np.full(len(far), np.inf)
    for _ in range(2):
        ceiling = LARGE * np.minimum(filled, ceiling[:, None].astype(np.float32)).sum(axis=1, dtype=np.float64) / count
    order = np.argsort(slots, kind="stable")
    present, starts = np.unique(slots[order], return_index=True)
    cut = np.minimum(filled, ceiling[:, None].astype(np.float32))
    total, seen = np.zeros((len(far), SLOTS_PER_DAY)), np.zeros((len(far), SLOTS_PER_DAY))
    total[:, present] = np.add.reduceat(cut[:, order], starts, axis=1)
    seen[:, present] = np.add.reduceat(known[:, order], starts, axis=1, dtype=np.float64)
    overall = (total.sum(axis=1) / count)[:, None]
    mean = np.where(seen > 0, total / np.maximum(seen, 1), overall)
    near = (np.roll(mean, 1, axis=1) + mean + np.roll(mean, -1, axis=1)) / 3
    enough = (overall > 0) & (count[:, None] >= least)
    proportion = np.where(enough, near / np.where(enough, overall, 1.0), 1.0)
    return np.maximum(np.sqrt(proportion), QUIETEST).astype(np.float32)


def _through_blocks(far: Small, tails: Tails) -> Floats:
    """How steep tails must be from one in twenty on to pass through the median of the largest value of each block (a value that
    a block's n values stay below every other time is exceeded with the probability log(2) / n), (n_rows,); NaN where there are
    not enough blocks."""
    lacking = -far.shape[1] % (BLOCK * LARGEST_BLOCK)
    padded = np.pad(far, ((0, 0), (lacking, 0)), constant_values=np.nan) if lacking else far
    cut = padded.reshape(len(far), padded.shape[1] // BLOCK, BLOCK)
    known = BLOCK - np.count_nonzero(np.isnan(cut), axis=2)
    known[known < BLOCK / 2] = 0
    largest = np.where(known > 0, np.fmax.reduce(cut, axis=2, initial=np.float32(0)), np.float32(np.nan))
    steep = np.full(len(far), np.nan)
    for each in range(1, LARGEST_BLOCK + 1):
        # From the end, so that what was not known yet changes no block.
        first = largest.shape[1] % each
        n_blocks = largest.shape[1] // each
        of_block = np.fmax.reduce(largest[:, first:].reshape(len(far), n_blocks, each), axis=2)
        whole = (known[:, first:].reshape(len(far), n_blocks, each) > 0).all(axis=2)
        (usual,) = quantiles(np.where(whole, of_block, np.float32(np.nan)), 0.5)
        count = np.count_nonzero(whole, axis=1)
        values = np.where(whole, known[:, first:].reshape(len(far), n_blocks, each).sum(axis=2), 0).sum(axis=1)
        values = values / np.maximum(count, 1)
        orders = np.log10(np.maximum(values, 2.0) / np.log(2.0)) - tails.far_surprise
        beyond = np.maximum(usual - tails.far, np.maximum(tails.far / STEEPEST, 1e-12))
        through = np.maximum(orders, LEAST_ORDERS) / beyond
        steep = np.where((count >= LEAST_BLOCKS) & (tails.steepness > 0) & (usual > tails.far), through, steep)
    return steep


def _as_the_body(far: Small, tails: Tails) -> Floats:
    """How steep the body of the distribution falls, where that is steeper than the tail."""
    usual = np.fmin(far, np.nan_to_num(tails.far)[:, None].astype(far.dtype))
    known = ~np.isnan(far)
    mean = usual.sum(axis=1, dtype=np.float64, where=known) / np.maximum(np.count_nonzero(known, axis=1), 1)
    steep = 1.0 / (np.log(10.0) * np.where(mean > 0, mean, np.inf))
    return np.asarray(np.maximum(steep, tails.steepness), np.float64)
