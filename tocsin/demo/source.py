"""The park as a source: a collector that says what its agents would have, out of memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tocsin.demo.park import Park
from tocsin.model import Frame, SeriesIndex, SeriesKey, Window

WHERE: Mapping[str, Mapping[str, Collection[str]]] = {
    "web": {"elasticsearch": ("latency.p95", "requests", "instances"), "splunk": ("errors",), "centreon": ("cpu",)}
}
"""Which source each metric of a component type comes from; other types have all of theirs from one."""


class ParkSource:
    """Collects one component type of a park, or some metrics of it; counters as they count. Outside the park's weeks there is
    no data."""

    def __init__(self, park: Park, component_type: str, metrics: Collection[str] | None = None) -> None:
        self._raw, self._metrics = park.types[component_type].raw, metrics

    def discover(self) -> Sequence[SeriesKey]:
        keys = self._raw.index.keys
        return keys if self._metrics is None else [key for key in keys if key.metric in self._metrics]

    def check(self) -> Sequence[str]:
        return ()

    def reach(self) -> tuple[int, int] | None:
        return self._raw.window.start, self._raw.window.end - self._raw.window.span

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        values = np.full((len(index), len(window)), np.nan)
        ours = self._raw.window
        if window.span != ours.span or (window.start - ours.start) % ours.span:
            raise ValueError(f"the park was measured in buckets of {ours.span} s, not on the grid of {window}")
        start, end = max(window.start, ours.start), min(window.end, ours.end)
        rows = index.rows_in(self._raw.index)
        there = np.flatnonzero(rows >= 0)
        if start < end:
            common = Window(start, end, window.span)
            values[there, common.columns_in(window)] = self._raw.values[rows[there], common.columns_in(ours)]
        return Frame.of(index, window, values)
