"""How large a series usually is, and which deviations from it matter: what detectors that compare series have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import quantiles
from tocsin.model import Direction, Floats, Metric, SeriesIndex


def scales(values: Floats) -> tuple[Floats, Floats]:
    """Each row's median (0 without values), and its usual distance from it as a standard deviation; infinite for a row that
    hardly ever changes."""
    (centre,) = quantiles(values, 0.5)
    usual, large = quantiles(np.abs(values - centre[:, None]), 0.5, 0.9)
    scale = np.maximum(1.4826 * usual, large / 1.645)
    moves = scale > 1e-9 * np.maximum(np.abs(centre), 1.0)
    return np.nan_to_num(np.asarray(centre, np.float64)), np.asarray(np.where(moves, scale, np.inf), np.float64)


def facts_of(index: SeriesIndex, metrics: Mapping[str, Metric]) -> dict[str, NDArray[Any]]:
    """On which sides each row matters, and how far away at least, from the configuration of its metric; all (n_series,)."""
    known = [metrics.get(key.metric) or Metric(name=key.metric) for key in index]
    return {
        "up": np.array([metric.direction is not Direction.LOW for metric in known], np.bool_),
        "down": np.array([metric.direction is not Direction.HIGH for metric in known], np.bool_),
        "least": np.array([metric.min_deviation for metric in known], np.float64),
    }


def mattering(residual: Floats, facts: Mapping[str, NDArray[Any]]) -> Floats:
    """Size of the residuals (n_series, n_buckets) where they matter, 0 where they do not or are too small to; NaN stays."""
    size = np.abs(residual)
    for side, where in (("up", np.greater), ("down", np.less)):
        if not facts[side].all():
            np.copyto(size, 0.0, where=where(residual, 0.0) & ~facts[side][:, None])
    if facts["least"].any():
        np.copyto(size, 0.0, where=size < facts["least"][:, None])
    return size


def one_sided(expected: Floats, limit: Floats, facts: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
    """The band [lower, upper] around what is expected; infinite on a side that does not matter, NaN where nothing is expected."""
    limit = np.maximum(limit, facts["least"][:, None])
    hidden = np.isnan(expected)
    lower = np.where(facts["down"][:, None], expected - limit, np.where(hidden, np.nan, -np.inf))
    upper = np.where(facts["up"][:, None], expected + limit, np.where(hidden, np.nan, np.inf))
    return lower, upper
