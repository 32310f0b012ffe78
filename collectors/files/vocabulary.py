"""Names as small numbers, so that rows travel as integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectors.files.cells import is_name
from tocsin.model import Ints, SeriesIndex, SeriesKey

REFUSED = -1
"""The number of a text that cannot be a name, or came after the vocabulary was full."""
IGNORED = -2
"""The number of a metric nobody asked for."""


class Names:
    """Every name of one kind seen so far; at most `cap` of them, so that hostile files cannot fill the memory."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._ids: dict[str, int] = {}
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def learn(self, name: str | None) -> int:
        """The number of a name, new if need be; `REFUSED` for what is no name."""
        if name is None:
            return REFUSED
        known = self._ids.get(name)
        if known is None:
            if len(self._names) >= self._cap or not is_name(name):
                return REFUSED
            known = self._ids[name] = len(self._names)
            self._names.append(name)
        return known

    def find(self, name: str) -> int:
        """The number of a name, `REFUSED` when it was never seen."""
        return self._ids.get(name, REFUSED)


class Vocabulary:
    """The names of components and of metrics."""

    def __init__(self, cap: int) -> None:
        self.components, self.metrics = Names(cap), Names(cap)

    def __len__(self) -> int:
        return len(self.components) + len(self.metrics)

    def key(self, code: int) -> SeriesKey:
        """The series behind a code."""
        return SeriesKey(self.components[code >> 32], self.metrics[code & 0xFFFFFFFF])


def codes_of(components: Ints, metrics: Ints) -> Ints:
    """One number per series, -1 where either name was refused or ignored; shapes broadcast."""
    return np.where((components >= 0) & (metrics >= 0), (components << 32) | metrics, -1)


class Rowfinder:
    """Series codes → rows of one index."""

    def __init__(self, index: SeriesIndex, vocabulary: Vocabulary) -> None:
        component, metric = vocabulary.components.find, vocabulary.metrics.find
        components = np.fromiter((component(key.component) for key in index), np.int64, len(index))
        metrics = np.fromiter((metric(key.metric) for key in index), np.int64, len(index))
        codes = codes_of(components, metrics)
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] >= 0]
        self._codes, self._rows = codes[order], order

    def rows(self, codes: Ints | Sequence[int]) -> Ints:
        """The row of each series, -1 for those the index does not have, same shape."""
        codes = np.asarray(codes, np.int64)
        if not len(self._codes):
            return np.full(codes.shape, -1, np.int64)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._rows[place], -1)
