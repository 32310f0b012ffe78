"""How often something happens at which half-hour of which kind of day: Poisson rates that lean on one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Floats, Ints
from tocsin.timegrid import SLOTS_PER_DAY, Calendar, DayKind

FREE = 2
"""Kinds of day told apart: working ones, and all others."""
CELLS = FREE * SLOTS_PER_DAY
CHANCE = 2.0
"""Half-hours are told apart as far as they differ by more than this many times what chance makes of one rate."""


def cells_of(starts: Ints, calendar: Calendar) -> Ints:
    """Which half-hour of which kind of day each bucket begins in, 0..95."""
    free = calendar.kinds(starts) != DayKind.WORKING
    return np.asarray(free * SLOTS_PER_DAY + calendar.slots(starts), np.int64)


def hourly_rates(events: NDArray[np.generic], seen: NDArray[np.bool_], cells: Ints, clump: Floats | float = 1.0) -> Floats:
    """Events per seen bucket (both (n_series, n_buckets)) in each half-hour of each kind of day with its neighbours, (n_series,
    96); never 0: where nothing ever happened it is half an event in all that was seen. `cells` are those of the buckets, the same
    for all series (n_buckets,) or not (n_series, n_buckets).

    Half-hours lean on all of them together as far as chance may have made the difference (empirical Bayes on logarithms, whose
    variance is `clump`, the events that come at once, over the number of events).
    """
    count, happened = _in_cells(seen, cells), _in_cells(np.where(seen, events, 0), cells)
    whole = np.maximum(happened.sum(axis=(1, 2)), 0.5) / np.maximum(count.sum(axis=(1, 2)), 1.0)
    level = np.log(whole)[:, None, None]
    # A half-hour is looked at with the ones before and after it.
    near, often = (part + np.roll(part, 1, axis=2) + np.roll(part, -1, axis=2) for part in (count, happened))
    there = near > 0
    chance = CHANCE * np.reshape(clump, (-1, 1, 1)) / np.maximum(often, 1.0)
    away = np.where(there, np.log(np.maximum(often, 0.5) / np.maximum(near, 1.0)) - level, 0.0)
    differ = np.where(there, away**2 - chance, 0.0).sum(axis=(1, 2)) / np.maximum(there.sum(axis=(1, 2)), 1)
    differ = np.maximum(differ, 0.0)[:, None, None]
    return np.asarray(np.exp(level + away * differ / (differ + chance)), np.float64).reshape(len(events), CELLS)


def _in_cells(what: NDArray[np.generic], cells: Ints) -> Floats:
    """Sum of each row's buckets in each cell, (n_series, 2, 48)."""
    shape = len(what), FREE, SLOTS_PER_DAY
    if cells.ndim > 1:
        places = np.arange(len(what))[:, None] * CELLS + cells
        return np.asarray(np.bincount(places.ravel(), what.ravel(), len(what) * CELLS), np.float64).reshape(shape)
    result = np.zeros((len(what), CELLS))
    order = np.argsort(cells, kind="stable")
    used, starts = np.unique(cells[order], return_index=True)
    if len(used):
        result[:, used] = np.add.reduceat(what[:, order], starts, axis=1, dtype=np.float64)
    return result.reshape(shape)
