"""PyOD's detectors over the surprises of a component's series, by name: ecod, copod, hbos, knn, lof, pca.

What they learn is taken out of them as plain arrays, and all components are judged at once in numpy; their distances are
calibrated like everybody's. Idea and source of each: docs/detection/outliers.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from detectors import components
from detectors.components import CAP, Arrays
from tocsin.model import Baseline, Fitted, Floats, Scores
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings

STEPS = 20
"""Per-series methods tell surprises apart to a twentieth: what each value means is a table."""
GRID = np.arange(int(CAP) * STEPS + 1) / STEPS
NEAR = {"knn": 5, "lof": 20}
"""Neighbours, PyOD's defaults."""

MethodName = Literal["ecod", "copod", "hbos", "knn", "lof", "pca"]


class OutlierSettings(Settings):
    """`method`: one of PyOD's detectors."""

    method: MethodName = "ecod"


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """See the module."""

    method: MethodName = "ecod"

    @property
    def name(self) -> str:
        return "outlier"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def listens_to(self) -> str:
        return "anomaly"

    def fit(self, rehearsals: Sequence[Scores]) -> Fitted:
        """Learn every component of three series or more that was rehearsed in 200 buckets."""
        return components.fit(self.name, self, rehearsals, {"method": self.method})

    def score(self, scores: Sequence[Scores], baseline: Baseline) -> Scores:
        """See the port. A baseline of another method judges nothing."""
        if baseline.facts.get("method") != self.method:
            return components.nothing(scores)
        return components.score(self, scores, baseline)

    def learn(self, halves: tuple[Floats, Floats], seed: int) -> tuple[Arrays, Arrays, Arrays]:
        """Three times the same: from the first half, from the second, from both."""
        even, odd = halves
        return self._learn(even, seed), self._learn(odd, seed), self._learn(np.concatenate([even, odd]), seed)

    def _learn(self, rows: Floats, seed: int) -> Arrays:
        from detectors import outliers_fit as of  # noqa: PLC0415  (PyOD: 250 MB that only a worker needs)

        match self.method:
            case "ecod" | "copod":
                return of.tails(self.method, np.round(rows * STEPS) / STEPS, GRID)
            case "hbos":
                return of.histogram(np.round(rows * STEPS) / STEPS, GRID)
            case "knn":
                return of.neighbours(rows, seed)
            case "lof":
                return of.densities(rows, seed)
            case "pca":
                return of.directions(rows)

    def far(self, arrays: Arrays, rows: Floats) -> Floats:
        """PyOD's decision function of each row, whatever its unit."""
        match self.method:
            case "knn":
                return np.partition(_distances(arrays, rows), NEAR["knn"] - 1, axis=2)[:, :, NEAR["knn"] - 1]
            case "lof":
                return _local_density(arrays, rows)
            case "pca":
                return _to_directions(arrays, rows)
            case _:
                return _looked_up(arrays, rows)


def _looked_up(arrays: Arrays, rows: Floats) -> Floats:
    table = arrays["table"]
    count, width, steps = table.shape
    step = np.minimum(np.round(rows * STEPS), steps - 1).astype(np.int64)
    base = (np.arange(count)[:, None] * width + np.arange(width)) * steps
    return np.asarray(table.reshape(-1)[base[:, None] + step].sum(axis=2), np.float64)


def _distances(arrays: Arrays, rows: Floats) -> Floats:
    """From each row to each of the reference, (n_components, n, n_reference)."""
    reference = arrays["reference"].astype(np.float32)
    near = np.einsum("crw,crw->cr", reference, reference)[:, None] + np.einsum("cnw,cnw->cn", rows, rows)[:, :, None]
    near = near - 2.0 * np.matmul(rows, reference.transpose(0, 2, 1))
    return np.asarray(np.sqrt(np.maximum(near, 0.0)), np.float64)


def _local_density(arrays: Arrays, rows: Floats) -> Floats:
    """Breunig et al., LOF (SIGMOD 2000): how much thinner it is around a row than around its neighbours."""
    far = _distances(arrays, rows)
    nearest = np.argpartition(far, NEAR["lof"] - 1, axis=2)[:, :, : NEAR["lof"]]
    shape = (*far.shape[:2], arrays["reach"].shape[1])
    reach = np.take_along_axis(np.broadcast_to(arrays["reach"][:, None], shape), nearest, axis=2)
    density = np.take_along_axis(np.broadcast_to(arrays["density"][:, None], shape), nearest, axis=2).astype(np.float64)
    reachable = np.maximum(np.take_along_axis(far, nearest, axis=2), reach).mean(axis=2)
    return np.asarray(density.mean(axis=2) * (reachable + 1e-10), np.float64)


def _to_directions(arrays: Arrays, rows: Floats) -> Floats:
    z = (rows - arrays["mean"][:, None]) * arrays["scale"][:, None]
    axes = arrays["axes"]
    lengths = np.einsum("caw,caw->ca", axes, axes)[:, None] + np.einsum("cnw,cnw->cn", z, z)[:, :, None]
    square = lengths - 2.0 * np.matmul(z, axes.transpose(0, 2, 1))
    return np.asarray((np.sqrt(np.maximum(square, 0.0)) * arrays["weights"][:, None]).sum(axis=2), np.float64)


def _build(settings: OutlierSettings, _surroundings: Surroundings) -> Outlier:
    return Outlier(method=settings.method)


PLUGIN = Plugin(
    name="outlier",
    summary="Outliers among a component's surprises (PyOD: ecod, copod, hbos, knn, lof, pca)",
    settings=OutlierSettings,
    build=_build,
)
