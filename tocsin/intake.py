"""What the sources of one component type say, merged into one frame.

Each source answers for the series it discovered. A source that cannot answer makes its rows "not known" and itself
visible as a state with a reason; it never makes a value, and never stops another source.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from tocsin.errors import PermanentError, TransientError
from tocsin.model import Bools, Frame, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Collector

log = structlog.get_logger()

MAX_SERIES = 200_000


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
                    self._known[source.name] = tuple(found)
            keys = list(dict.fromkeys(key for source in self._sources for key in self._known[source.name]))
            self.cut = max(0, len(keys) - MAX_SERIES)
            return SeriesIndex(sorted(keys)[:MAX_SERIES])

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
        counters = np.fromiter((self._metric(key.metric).counter for key in index), bool, len(index))
        reading = window.reaching_back(window.span) if counters.any() else window
        values = np.full((len(index), len(reading)), np.nan)
        known = np.zeros(values.shape, bool)
        taken = np.zeros(len(index), bool)
        for source in self._sources:
            mine = set(self._known[source.name])
            rows = np.fromiter((row for row, key in enumerate(index) if key in mine and not taken[row]), np.int64)
            taken[rows] = True
            part = self._ask(source, SeriesIndex([index[row] for row in rows]), reading)
            values[rows], known[rows] = part.values, part.known
        known[~taken] = True  # every source was asked what it has, and none has these: "no data"
        values[~np.isfinite(values)] = np.nan
        frame = Frame(index=index, window=reading, values=values, known=known)
        return to_rate(frame, counters) if counters.any() else frame

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
