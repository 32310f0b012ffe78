"""Isolation forest over the surprises of all series of a component: combinations that are rare although no part of them is.

Never over raw values: on residuals it finds twice as much (docs/detection/forest.md). Trees are fitted with scikit-learn where
models are learnt and kept as full binary trees of small integers; all components are judged at once by walking down all their
trees level by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors import components
from detectors.components import Arrays
from tocsin.model import Baseline, Fitted, Floats, Scores
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings

LEVELS = 8
SAMPLE = 1 << LEVELS
"""Rows that each tree is grown from."""
STEPS = 20.0
"""Surprises are told apart to a twentieth, so that a threshold is one byte."""
WALKS = 1 << 14
"""Walks down a tree taken at once: their places stay in the cache."""


class ForestSettings(Settings):
    """`trees`: more are steadier, and cost as much more time and memory (768 bytes each, per component)."""

    trees: int = 64


@dataclass(frozen=True, kw_only=True)
class Forest:
    """See the module."""

    trees: int = 64

    @property
    def name(self) -> str:
        return "forest"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def listens_to(self) -> str:
        return "anomaly"

    def fit(self, rehearsals: Sequence[Scores]) -> Fitted:
        """Learn every component of three series or more that was rehearsed in 200 buckets. About 20 ms a component."""
        return components.fit(self.name, self, rehearsals, {"trees": self.trees, "sample": SAMPLE})

    def score(self, scores: Sequence[Scores], baseline: Baseline) -> Scores:
        return components.score(self, scores, baseline)

    def learn(self, halves: tuple[Floats, Floats], seed: int) -> tuple[Arrays, Arrays, Arrays]:
        """Half of the trees from each half of the rows."""
        from detectors.forest_fit import grow  # noqa: PLC0415  (scikit-learn: 190 MB that only a worker needs)

        even, odd = (
            grow(in_steps(rows), max(1, self.trees // 2), SAMPLE, LEVELS, seed + place) for place, rows in enumerate(halves)
        )
        nodes, leaves = (np.concatenate([one, other]) for one, other in zip(even, odd, strict=True))
        return (
            {"nodes": even[0], "leaves": even[1]},
            {"nodes": odd[0], "leaves": odd[1]},
            {"nodes": nodes, "leaves": leaves},
        )

    def far(self, arrays: Arrays, rows: Floats) -> Floats:
        """How few levels there are, in the mean over the trees, until a row is alone: -log of those beyond the first, so that the
        little that is left between strange and stranger is not lost."""
        return -np.log(np.maximum(path_length(arrays["nodes"], arrays["leaves"], in_steps(rows)) - 1.0, 0.05))


def in_steps(rows: Floats) -> NDArray[np.uint8]:
    """Surprises as the small integers that trees compare."""
    return np.minimum(rows * STEPS, 255.0).astype(np.uint8)


def path_length(nodes: NDArray[np.uint16], leaves: NDArray[np.uint8], rows: NDArray[np.uint8]) -> Floats:
    """Mean path length (n_components, n) of rows (n_components, n, n_series) in the trees of their component
    (n_components or 1, n_trees, 2**levels)."""
    forests, trees, size = nodes.shape
    count, n, width = rows.shape
    flat_nodes, flat_leaves, flat = nodes.reshape(-1), leaves.reshape(-1), rows.reshape(-1)
    most = max(1, min(WALKS // trees, count * n))
    at_tree = np.arange(trees) * size
    total = np.empty(count * n)
    # Written into again and again: half of the time would go into making them.
    shape = most, trees
    where, at, code = np.empty(shape, np.intp), np.empty(shape, np.intp), np.empty(shape, np.uint16)
    value, right = np.empty(shape, np.uint8), np.empty(shape, np.bool_)
    for first in range(0, count * n, most):
        row = np.arange(first, min(first + most, count * n))
        w, a, c, v, r = (one[: len(row)] for one in (where, at, code, value, right))
        root = ((row // n if forests > 1 else 0 * row) * (trees * size))[:, None] + at_tree
        values = (row * width)[:, None]
        a.fill(1)
        for _ in range(size.bit_length() - 1):
            np.take(flat_nodes, np.add(root, a, out=w), out=c, mode="clip")
            np.add(values, np.right_shift(c, 8), out=w)
            np.take(flat, w, out=v, mode="clip")
            np.greater(v, c.astype(np.uint8), out=r)  # the lower byte is the threshold
            np.add(np.add(a, a, out=a), r, out=a)
        total[first : first + len(row)] = flat_leaves.take(root + a - size, mode="clip").sum(axis=1, dtype=np.int64)
    return np.asarray(total / (16.0 * trees), np.float64).reshape(count, n)


def _build(settings: ForestSettings, _surroundings: Surroundings) -> Forest:
    return Forest(trees=settings.trees)


PLUGIN = Plugin(
    name="forest",
    summary="Rare combinations of surprises in a component (isolation forest)",
    settings=ForestSettings,
    build=_build,
)
