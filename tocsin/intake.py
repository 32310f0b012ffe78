"""What the sources of one component type say, merged into one frame.

Each source answers for the series it discovered. A source that cannot answer makes its rows "not known" and itself
visible as a state with a reason; it never makes a value, and never stops another source.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import structlog

from tocsin.errors import PermanentError, TransientError
from tocsin.model import LARGEST, Bools, Frame, Ints, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Collector

log = structlog.get_logger()

MAX_SERIES = 200_000

Routes: TypeAlias = tuple[list[tuple[Ints, SeriesIndex]], Ints, Bools]
"""Each source's rows and their index, the rows nobody answers for, and which rows are counters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A collector, by the name people know it under."""

    name: str
    collector: Collector


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceState:
    """How a source did when it was last asked; `reason` is empty while it answers."""

    name: str
    reason: str = ""
    failures: int = 0

    @property
    def up(self) -> bool:
        return not self.reason


class Intake:
    """The sources of one component type. Safe to use from the tick and from a training at the same time."""

    def __init__(self, sources: Sequence[Source], metrics: Mapping[str, Metric]) -> None:
        self._sources, self._metrics = tuple(sources), metrics
        self._known: dict[str, tuple[SeriesKey, ...]] = {source.name: () for source in sources}
        self._lock = threading.Lock()
        self._index: SeriesIndex | None = None
        self._routes: tuple[SeriesIndex, Routes] | None = None
        self.states: dict[str, SourceState] = {source.name: SourceState(name=source.name) for source in sources}
        self.cut = 0

    def discover(self) -> SeriesIndex:
        """Every series of every source; a source that fails now keeps the series it had.

        A series that two sources offer belongs to the one named first. Beyond 200,000 series the rest is left out
        and counted in `cut`.
        """
        with self._lock:
            for source in self._sources:
                try:
                    found = source.collector.discover()
                except (TransientError, PermanentError) as error:
                    self._failed(source, error)
                else:
                    if tuple(found) != self._known[source.name]:
                        self._known[source.name], self._routes, self._index = tuple(found), None, None
            if self._index is not None:
                return self._index
            keys = list(dict.fromkeys(key for source in self._sources for key in self._known[source.name]))
            self.cut = max(0, len(keys) - MAX_SERIES)
            self._index = SeriesIndex(sorted(keys)[:MAX_SERIES])
            return self._index

    def check(self) -> list[str]:
        """What a person should put right in the sources, a sentence each."""
        problems: list[str] = []
        for source in self._sources:
            try:
                problems += source.collector.check()
            except (TransientError, PermanentError) as error:
                problems.append(str(error))
        return problems

    def reach(self) -> tuple[int, int] | None:
        """The time all sources together have values for; None when none of them has any now."""
        spans = []
        with self._lock:
            for source in self._sources:
                try:
                    reach = source.collector.reach()
                except (TransientError, PermanentError) as error:
                    self._failed(source, error)
                else:
                    if reach is not None:
                        spans.append(reach)
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for exactly these rows: finite, within the metric's bounds, counters as rates per second.

        One bucket before the window is read too, because the rate of a counter needs the value before it.
        """
        parts, orphans, counters = self._route(index)
        reading = window.reaching_back(window.span) if counters.any() else window
        values = np.full((len(index), len(reading)), np.nan)
        known = np.zeros(values.shape, bool)
        known[orphans] = True  # every source was asked what it has, and none has these: "no data"
        for source, (rows, part_index) in zip(self._sources, parts, strict=True):
            part = self._ask(source, part_index, reading)
            values[rows], known[rows] = part.values, part.known
        values[~(np.abs(values) <= LARGEST)] = np.nan
        frame = Frame(index=index, window=reading, values=values, known=known)
        return to_rate(frame, counters) if counters.any() else frame

    def _route(self, index: SeriesIndex) -> Routes:
        """Which rows each source answers for; worked out once per index and discovery, not once per tick."""
        if self._routes is None or self._routes[0] is not index:
            owner = {key: place for place, source in reversed(list(enumerate(self._sources))) for key in self._known[source.name]}
            of_row = np.fromiter((owner.get(key, -1) for key in index), np.int64, len(index))
            rows = [np.flatnonzero(of_row == place) for place in range(len(self._sources))]
            parts = [(mine, index if len(mine) == len(index) else SeriesIndex([index[row] for row in mine])) for mine in rows]
            counters = np.fromiter((self._metric(key.metric).counter for key in index), bool, len(index))
            self._routes = index, (parts, np.flatnonzero(of_row < 0), counters)
        return self._routes[1]

    def _ask(self, source: Source, index: SeriesIndex, window: Window) -> Frame:
        if not len(index):
            return Frame.unknown(index, window)
        with self._lock:
            try:
                frame = source.collector.collect(index, window)
            except (TransientError, PermanentError) as error:
                self._failed(source, error)
                return Frame.unknown(index, window)
        if not self.states[source.name].up:
            log.info("source.back", source=source.name)
        self.states[source.name] = SourceState(name=source.name)
        return frame

    def _failed(self, source: Source, error: Exception) -> None:
        before = self.states[source.name]
        if before.up:
            log.warning("source.failed", source=source.name, error=str(error))
        self.states[source.name] = SourceState(name=source.name, reason=str(error), failures=before.failures + 1)

    def _metric(self, name: str) -> Metric:
        return self._metrics.get(name) or Metric(name=name)


def to_rate(frame: Frame, counters: Bools) -> Frame:
    """Counters (rows where `counters`) become their growth per second; the first bucket is used up and dropped.

    A counter that fell was reset: its new value is what it grew since, as Prometheus does. No rate without the value
    of the bucket just before.
    """
    before, after = frame.values[:, :-1], frame.values[:, 1:]
    growth = np.where(after < before, after, after - before)
    window = Window(frame.window.start + frame.window.span, frame.window.end, frame.window.span)
    values = np.where(counters[:, None], growth / window.span, after)
    known = frame.known[:, 1:] & (frame.known[:, :-1] | ~counters[:, None])
    return Frame(index=frame.index, window=window, values=values, known=known)
