"""The series of each component in groups of one kind, and several groups' surprises as one.

Metrics, counts of log lines and waits come from different sources, are of different numbers, and other troubles surprise them.
Each group is heard by itself, however many series the others have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tocsin.model import KINDS, Floats, Ints, SeriesIndex


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Groups of one kind and of equal size: the positions of their components (n,), and the rows of each (n, size).

    `single` are the only groups of their components, `first` those which detectors of whole components are heard with.
    """

    components: Ints
    rows: Ints
    kind: int
    first: bool
    single: bool

    @property
    def alone(self) -> bool:
        """Whether these are components of one series."""
        return self.single and self.rows.shape[1] == 1


def batches(index: SeriesIndex) -> Iterator[Batch]:
    """All groups of an index, those that are alike together."""
    if not index.kinds.any():
        sizes = np.diff(np.r_[index.component_starts, len(index)])
        for size in np.unique(sizes):
            components = np.flatnonzero(sizes == size)
            rows = index.component_starts[components][:, None] + np.arange(size)
            yield Batch(components=components, rows=rows, kind=0, first=True, single=True)
        return
    group = index.component_of * len(KINDS) + index.kinds
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(np.r_[starts, len(order)])
    components, kinds = np.divmod(group[order[starts]], len(KINDS))
    first = np.diff(components, prepend=-1) > 0
    single = first & (np.diff(components, append=-1) != 0)
    alike = ((sizes * len(KINDS) + kinds) * 2 + first) * 2 + single
    for which in np.unique(alike):
        chosen = np.flatnonzero(alike == which)
        one = chosen[0]
        yield Batch(
            components=components[chosen],
            rows=order[starts[chosen][:, None] + np.arange(sizes[one])],
            kind=int(kinds[one]),
            first=bool(first[one]),
            single=bool(single[one]),
        )


def sizes_of(index: SeriesIndex) -> Ints:
    """How many series of each kind each component has, (n_components, n_kinds)."""
    group = index.component_of * len(KINDS) + index.kinds
    return np.bincount(group, minlength=len(index.components) * len(KINDS)).reshape(-1, len(KINDS))


def of_several(index: SeriesIndex) -> Ints:
    """The positions of the components that have several groups."""
    if not index.kinds.any():
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.count_nonzero(sizes_of(index), axis=1) > 1)


def worth(said: Floats) -> tuple[Floats, Floats]:
    """What the surprises of groups (n_kinds, n_components, n_buckets) come to, NaN where none is judged, and the part of each
    group in it, before they are made to sum to 1.

    It is the cube root of the sum of the cubes, so that one alone is itself: between the sum, in which a single group that is
    far off drowns where a load moves all of them, and the largest, which does not hear that they agree.
    """
    parts = np.where(np.isnan(said), 0.0, said) ** 3
    # One by one: numpy adds in another order where there is a single bucket, and a tick must say what a replay says.
    total = np.cbrt(sum(parts[1:], parts[0]))
    return np.where(np.isnan(said).all(axis=0), np.nan, total), parts
