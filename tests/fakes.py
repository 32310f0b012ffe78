"""Stand-ins for the ports, used by everyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tocsin.model import Frame, SeriesIndex, SeriesKey, Window


class ListCollector:
    """A source made of `{series: {time: value}}`; set `error` to make every question fail."""

    def __init__(self, samples: Mapping[SeriesKey, Mapping[int, float]]) -> None:
        self.samples = {key: dict(values) for key, values in samples.items()}
        self.error: Exception | None = None

    def discover(self) -> Sequence[SeriesKey]:
        self._fail()
        return list(self.samples)

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        self._fail()
        values = np.full((len(index), len(window)), np.nan)
        for row, key in enumerate(index):
            for time, value in self.samples.get(key, {}).items():
                if window.start <= time < window.end:
                    values[row, (time - window.start) // window.span] = value
        return Frame.of(index, window, values)

    def reach(self) -> tuple[int, int] | None:
        self._fail()
        times = [time for values in self.samples.values() for time in values]
        return (min(times), max(times)) if times else None

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
