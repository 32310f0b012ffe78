"""A baseline's arrays by the rows of a frame, and several surprises of one detector as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Baseline, Bools, Floats, SeriesIndex


def learnt_of(index: SeriesIndex, baseline: Baseline, *, besides: str = "") -> tuple[dict[str, NDArray[Any]], Bools]:
    """The baseline's arrays row by row of `index`, and which rows it knows, (n_series,). What is said of the others means
    nothing. The array named `besides` is left as it is: too large to be copied."""
    if index == baseline.index:
        return dict(baseline.arrays), np.ones(len(index), np.bool_)
    rows = index.rows_in(baseline.index)
    if not len(baseline.index):
        nothing = {
            name: np.full((len(rows), *array.shape[1:]), np.nan if array.dtype.kind == "f" else 0, array.dtype)
            for name, array in baseline.arrays.items()
        }
        return nothing, rows >= 0
    return {name: array if name == besides else array[rows] for name, array in baseline.arrays.items()}, rows >= 0


def agreed(said: Sequence[Floats], judged: Bools) -> Floats:
    """Mean of the surprises (n_series, n_buckets) that know something; 0 where a value is judged of which none does."""
    heard = np.stack(said)
    known = ~np.isnan(heard)
    mean = np.where(known, heard, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(judged, mean, np.nan)
