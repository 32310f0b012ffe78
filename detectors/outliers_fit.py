"""What PyOD's detectors learn, taken out of them as arrays. The only module that imports PyOD: loaded where something is learnt.

Rows are the surprises of one component, (n, n_series).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.pca import PCA

from tocsin.model import Floats

REFERENCE = 256
"""Rows that neighbours are looked for among."""
NOBODY = 1000.0
"""Where rows stand that fill up a smaller reference: nobody's neighbour."""
LEAST_VARIANCE = 1e-4
"""Directions with a smaller share of the variance are noise of the arithmetic, and would decide alone."""

Arrays = dict[str, NDArray[Any]]


def tails(method: str, rows: Floats, grid: Floats) -> Arrays:
    """ECOD, COPOD: what each value of `grid` adds to the distance, (n_series, len(grid)).

    PyOD judges rows as a part of what was learnt from and sorts all of it each time; here a row is one more among n, so that
    each value's part is known beforehand.
    """
    fitted = (ECOD if method == "ecod" else COPOD)().fit(rows)
    rising = np.sort(fitted.X_train, axis=0)
    n = len(rising)
    parts = []
    for column in rising.T:
        below = -np.log((np.searchsorted(column, grid, side="right") + 1) / (n + 1))
        above = -np.log((n - np.searchsorted(column, grid, side="left") + 1) / (n + 1))
        lopsided = np.sign(np.mean((column - column.mean()) ** 3)) if column[0] < column[-1] else 0.0
        skewed = -below * np.sign(lopsided - 1) + above * np.sign(lopsided + 1)
        parts.append(np.maximum(skewed, np.maximum(below, above) if method == "ecod" else (below + above) / 2))
    return {"table": np.array(parts, np.float32)}


def histogram(rows: Floats, grid: Floats) -> Arrays:
    """HBOS: what each value of `grid` adds to the distance, (n_series, len(grid))."""
    fitted = HBOS().fit(rows)
    parts = []
    for heights, edges in zip(fitted.hist_.T, fitted.bin_edges_.T, strict=True):
        says = -np.log2(heights + fitted.alpha)
        bins = np.digitize(grid, edges, right=True)
        near = fitted.tol * (edges[1] - edges[0])
        inside = says[np.clip(bins - 1, 0, len(says) - 1)]
        outside = ((bins == 0) & (edges[0] - grid > near)) | ((bins == len(edges)) & (grid - edges[-1] > near))
        parts.append(np.where(outside, says.max(), inside))
    return {"table": np.array(parts, np.float32)}


def neighbours(rows: Floats, seed: int) -> Arrays:
    """KNN: the rows whose fifth nearest is looked for."""
    some = _reference(rows, seed)
    KNN(n_neighbors=5).fit(some)
    return {"reference": _filled(some)}


def densities(rows: Floats, seed: int) -> Arrays:
    """LOF: the same, with the distance of each one's twentieth neighbour and its density."""
    some = _reference(rows, seed)
    fitted = LOF(n_neighbors=20).fit(some).detector_
    reach, density = np.zeros(REFERENCE, np.float32), np.ones(REFERENCE, np.float32)
    reach[: len(some)] = fitted._distances_fit_X_[:, -1]  # scikit-learn keeps them under no other name
    density[: len(some)] = fitted._lrd  # noqa: SLF001
    return {"reference": _filled(some), "reach": reach, "density": density}


def directions(rows: Floats) -> Arrays:
    """PCA as PyOD has it: the distance to each direction, over the share of the variance that it has."""
    fitted = PCA().fit(rows)
    share = np.maximum(fitted.selected_w_components_, 0.0)
    weight = np.where(share >= LEAST_VARIANCE, 1.0 / np.maximum(share, LEAST_VARIANCE), 0.0)
    size = rows.shape[1]
    axes, weights = np.zeros((size, size), np.float32), np.zeros(size, np.float32)
    axes[: len(weight)], weights[: len(weight)] = fitted.selected_components_, weight
    return {
        "mean": fitted.scaler_.mean_.astype(np.float32),
        "scale": (1.0 / fitted.scaler_.scale_).astype(np.float32),
        "axes": axes,
        "weights": weights,
    }


def _reference(rows: Floats, seed: int) -> Floats:
    # float16 is how they are kept: what is learnt of them is learnt of what is kept.
    some = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:REFERENCE])]
    return np.asarray(some.astype(np.float16), np.float64)


def _filled(some: Floats) -> NDArray[np.float16]:
    reference = np.full((REFERENCE, some.shape[1]), NOBODY, np.float16)
    reference[: len(some)] = some
    return reference
