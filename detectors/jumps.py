"""How rare a jump is: the distribution of a series' own changes, read in one of two ways.

A series among siblings is held against all of its last two weeks: of many metrics one jumps somewhere every hour, and a metric
that does so by its nature shall say little.

A series that stands alone is its component's only witness, and what happened to it a few times in two weeks may well have been
trouble each time. So its distances are first put into proportion with how much it moves at this hour (a small jump in a quiet
night is as rare as a large one at noon), and the tail beyond one in twenty passes through the median of the largest values of
every 600 buckets: half of these blocks may hold incidents without making the next one usual, and what happens in most of them is
normal. Where most blocks stay below what one in twenty exceeds, the series moves in part of its time only, and all of it counts.
While there are less than four such blocks they are shorter, and before there are four of 150 buckets the tail goes on
beyond surprise 3 as the body of the distribution falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import HIGHEST, STEEPEST, Tails, quantiles
from tocsin.model import Bools, Floats, Ints, SeriesIndex
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY

LEARNT = ("tails", "outright", "noise", "single")
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
QUIETEST = 0.3
"""No half-hour counts as quieter than this part of the whole day."""
LARGE = 4.0
"""Distances count for the noise of a half-hour up to so many times the mean one."""

Small = NDArray[np.float32]


def alone(index: SeriesIndex) -> Bools:
    """Which series are the only one of their component, (n_series,)."""
    sizes = np.diff(np.r_[index.component_starts, len(index)]).astype(np.int64)
    return np.repeat(sizes == 1, sizes)


def learnt(far: Small, slots: Ints, single: Bools, span: int) -> dict[str, NDArray[Any]]:
    """What is known of distances (n_rows, n) >= 0 in the local half-hours `slots` (n,), NaN where unknown: `tails` (n_rows, 5),
    how steep they are `outright` beyond surprise 3 (n_rows,), and the `noise` of each half-hour in proportion to the day's
    (n_rows, 48), by which distances are divided first. `single` rows stand alone. Unknown values in front change nothing."""
    noise = np.ones((len(far), SLOTS_PER_DAY), np.float32)
    if single.any() and span <= SLOT:
        noise[single] = _noise(far if single.all() else far[single], slots, LEAST_KNOWN // span)
        proportion = noise.take(slots, axis=1)
        far = np.divide(far, proportion, out=proportion)
    tails = Tails.fit(far, LEAST_VALUES)
    outright = tails.steepness
    if single.any():
        through = np.where(single, _through_blocks(far, tails), np.nan)
        known = ~np.isnan(through)
        outright = np.where(known, through, tails.steepness)
        tails = replace(tails, steepness=outright)
        if not known.all():
            outright = np.where(single & ~known, _as_the_body(far, tails), outright)
    return {"tails": tails.to_array(), "outright": outright.astype(np.float32), "noise": noise, "single": single}


def surprise_of(far: NDArray[np.floating], slots: Ints, own: Mapping[str, NDArray[Any]]) -> Floats:
    """Surprise of distances (n_rows, n_buckets) in the half-hours `slots` (n_buckets,) by what `learnt` gave; NaN stays NaN."""
    tails = Tails.from_array(own["tails"])
    if not own["single"].any():
        return tails.surprise(far)
    # Laid out as it was: a tick has few buckets of many series.
    far = np.divide(far, own["noise"].take(slots, axis=1), out=np.empty_like(far))
    surprise, steeper = tails.surprise(far), own["outright"] - tails.steepness
    if (steeper > 0).any():
        more = far - tails.limit()[:, None]
        np.maximum(more, 0.0, out=more)
        more *= steeper[:, None]
        surprise += more
    return np.minimum(surprise, HIGHEST, out=surprise)


def _noise(far: Small, slots: Ints, least: int) -> Small:
    """Square root of how much each half-hour and its neighbours move in proportion to the whole day, (n_rows, 48); 1 with less
    than so many known values."""
    filled, unknown = np.fmax(far, np.float32(0)), np.isnan(far)
    seen = _by_slot(unknown, slots) if unknown.any() else np.zeros((1, SLOTS_PER_DAY))
    seen = np.bincount(slots, minlength=SLOTS_PER_DAY) - seen
    count = np.maximum(seen.sum(axis=1), 1)
    cut = filled
    for _ in range(2):
        ceiling = LARGE * cut.sum(axis=1, dtype=np.float64) / count
        cut = np.minimum(filled, ceiling[:, None].astype(np.float32), out=None if cut is filled else cut)
    total = _by_slot(cut, slots)
    overall = (total.sum(axis=1) / count)[:, None]
    mean = np.where(seen > 0, total / np.maximum(seen, 1), overall)
    near = (np.roll(mean, 1, axis=1) + mean + np.roll(mean, -1, axis=1)) / 3
    enough = (overall > 0) & (count[:, None] >= least)
    proportion = np.where(enough, near / np.where(enough, overall, 1.0), 1.0)
    return np.maximum(np.sqrt(proportion), QUIETEST).astype(np.float32)


def _by_slot(values: NDArray[Any], slots: Ints) -> Floats:
    """Sums of the values (n_rows, n) of each half-hour, (n_rows, 48)."""
    sums = np.zeros((len(values), SLOTS_PER_DAY))
    # Most neighbours are of one half-hour: they are added up where they lie.
    begins = np.flatnonzero(np.diff(slots, prepend=-1))
    runs = np.add.reduceat(values, begins, axis=1, dtype=np.float32)
    order = np.argsort(slots[begins], kind="stable")
    present, first = np.unique(slots[begins][order], return_index=True)
    sums[:, present] = np.add.reduceat(runs.take(order, axis=1), first, axis=1, dtype=np.float64)
    return sums


def _through_blocks(far: Small, tails: Tails) -> Floats:
    """How steep tails must be from one in twenty on to pass through the median of the largest value of each block (a value that
    a block's n values stay below every other time is exceeded with the probability log(2) / n), (n_rows,); NaN where there are
    not enough blocks."""
    largest, known = _blocks(far)
    steep = np.full(len(far), np.nan)
    for each in range(LARGEST_BLOCK, 0, -1):
        # From the end, so that what was not known yet changes no block.
        first, shape = largest.shape[1] % each, (len(far), largest.shape[1] // each, each)
        whole = (known[:, first:].reshape(shape) > 0).all(axis=2)
        of_block = np.maximum.reduce(largest[:, first:].reshape(shape), axis=2)
        (usual,) = quantiles(np.where(whole, of_block, np.float32(np.nan)), 0.5)
        count = np.count_nonzero(whole, axis=1)
        values = np.where(whole, known[:, first:].reshape(shape).sum(axis=2), 0).sum(axis=1) / np.maximum(count, 1)
        orders = np.log10(np.maximum(values, 2.0) / np.log(2.0)) - tails.far_surprise
        beyond = np.maximum(usual - tails.far, np.maximum(tails.far / STEEPEST, 1e-12))
        enough = np.isnan(steep) & (count >= LEAST_BLOCKS) & (tails.steepness > 0) & (usual > tails.far)
        steep = np.where(enough, np.maximum(orders, LEAST_ORDERS) / beyond, steep)
        if not np.isnan(steep).any():
            break
    return steep


def _blocks(far: Small) -> tuple[Small, Ints]:
    """The largest value of each `BLOCK` buckets, counted from the end, and how many of them are known: 0 where less than half
    are, (n_rows, n_blocks) both."""
    odd = far.shape[1] % BLOCK
    parts = [far[:, None, :odd], far[:, odd:].reshape(len(far), far.shape[1] // BLOCK, BLOCK)]
    largest = np.concatenate([np.fmax.reduce(part, axis=2, initial=np.float32(0)) for part in parts], axis=1)
    known = np.concatenate([part.shape[2] - np.count_nonzero(np.isnan(part), axis=2) for part in parts], axis=1)
    return largest, np.where(known < BLOCK / 2, 0, known)


def _as_the_body(far: Small, tails: Tails) -> Floats:
    """How steep the body of the distribution falls, where that is steeper than the tail."""
    usual = np.fmin(far, np.nan_to_num(tails.far)[:, None].astype(far.dtype))
    known = ~np.isnan(far)
    mean = usual.sum(axis=1, dtype=np.float64, where=known) / np.maximum(np.count_nonzero(known, axis=1), 1)
    steep = 1.0 / (np.log(10.0) * np.where(mean > 0, mean, np.inf))
    return np.asarray(np.maximum(steep, tails.steepness), np.float64)
