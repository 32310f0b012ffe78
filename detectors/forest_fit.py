"""Isolation trees from scikit-learn, as arrays. The only module that imports it: loaded where something is learnt, in a worker.

Liu, Ting, Zhou: Isolation Forest (ICDM 2008). A tree is grown as `sklearn.ensemble.IsolationForest` grows it (a random feature,
a random threshold, no deeper than log2 of the sample), without what that class does around it, which costs six times as much.
"""

from __future__ import annotations

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeRegressor

from tocsin.model import Floats


def grow(
    rows: NDArray[np.uint8], trees: int, sample: int, levels: int, seed: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """`trees` trees, each from `sample` of the rows (n, n_series): their nodes and leaves, see `packed`."""
    random = np.random.RandomState(seed)  # what scikit-learn takes
    values = np.asarray(rows, np.float32)
    grown = []
    with sklearn.config_context(skip_parameter_validation=True):
        for _ in range(trees):
            some = values[random.permutation(len(values))[:sample]]
            tree = ExtraTreeRegressor(max_features=1, splitter="random", max_depth=levels, random_state=random)
            tree.fit(np.asfortranarray(some), random.uniform(size=(len(some), 1)), check_input=False)
            grown.append(tree)
    return packed(grown, levels)


def packed(trees: list[ExtraTreeRegressor], levels: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Fitted trees as full binary ones: nodes and leaves, both (n_trees, 2**levels).

    Node 1 is the root, 2k and 2k + 1 the children of k; a node is `feature << 8 | threshold` and sends to the right what is
    larger. Leaves hold the path's length, to a sixteenth: its depth, and what the rows left there would still have needed. A
    leaf higher up sends everything to the left, and all places below it hold the same.
    """
    parts = [tree.tree_ for tree in trees]
    first = np.cumsum([0, *(part.node_count for part in parts[:-1])])
    left = np.concatenate(
        [np.where(part.children_left < 0, -1, part.children_left + at) for part, at in zip(parts, first, strict=True)]
    )
    right = np.concatenate([part.children_right + at for part, at in zip(parts, first, strict=True)])
    feature = np.concatenate([part.feature for part in parts])
    threshold = np.floor(np.concatenate([part.threshold for part in parts]))
    still = usual_depth(np.concatenate([part.n_node_samples for part in parts]))
    inner = left >= 0
    code = np.where(inner, np.clip(feature, 0, 255).astype(np.int64) << 8 | np.clip(threshold, 0, 255).astype(np.int64), 255)
    nodes = np.full((len(parts), 1 << levels), 255, np.uint16)
    at, depth = first[:, None], np.zeros((len(parts), 1))
    for level in range(levels):
        nodes[:, 1 << level : 2 << level] = code[at]
        split = inner[at]
        below = np.stack([np.where(split, left[at], at), np.where(split, right[at], at)], axis=2)
        depth = np.repeat(depth + split, 2, axis=1)
        at = below.reshape(len(parts), -1)
    leaves = np.minimum(np.round(16.0 * (depth + still[at])), 255.0)
    return nodes, leaves.astype(np.uint8)


def usual_depth(count: NDArray[np.generic]) -> Floats:
    """Mean depth at which one of `count` rows is alone, section 2 of the paper."""
    n = np.maximum(np.asarray(count, np.float64), 1.0)
    return np.where(n > 2, 2.0 * (np.log(np.maximum(n - 1, 1.0)) + np.euler_gamma) - 2.0 * (n - 1) / n, np.where(n > 1, 1.0, 0.0))
