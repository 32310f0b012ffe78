"""What the sources of one component type say, merged into one frame.

Each source answers for the series it discovered. A source that cannot answer makes its rows "not known" and itself
visible as a state with a reason; it never makes a value, and never stops another source. That holds for a fault in the
collector's own code too: whatever it raises is caught here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import structlog

from tocsin.errors import PermanentError, TransientError
from tocsin.model import LARGEST, Bools, Frame, Ints, Metric, SeriesIndex, SeriesKey, Window, utc
from tocsin.ports import Collector, LogCollector, Mannered, Noting, RemoteCollector
from tocsin.timegrid import DAY

log = structlog.get_logger()

T = TypeVar("T")

MAX_SERIES = 200_000
KEPT = DAY
"""Seconds for which a source that lost all its series at once keeps them."""

Routes: TypeAlias = tuple[list[tuple[Ints, SeriesIndex]], Ints, Bools]
"""Each source's rows and their index, the rows nobody answers for, and which rows are counters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A collector, by the name people know it under."""

    name: str
    collector: Collector


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceState:
    """How a source did when it was last asked: `ok`, `degraded` (it answers, not always or not all) or `down`, and why.

    `read_to` is the end of the newest bucket it answered for, 0 before the first answer.
    """

    name: str
    kind: Literal["ok", "degraded", "down"] = "ok"
    reason: str = ""
    failures: int = 0
    read_to: int = 0

    @property
    def up(self) -> bool:
        return self.kind != "down"


class Turn:
    """A lock at which a tick goes before whoever reads the past."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy, self._ticks_waiting = False, 0

    @contextmanager
    def taken(self, *, past: bool) -> Iterator[None]:
        with self._changed:
            self._ticks_waiting += not past
            while self._busy or (past and self._ticks_waiting):
                self._changed.wait()
            self._ticks_waiting -= not past
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()


class Intake:
    """The sources of one component type. Safe to use from the tick and from a training at the same time.

    Of each source one thing is asked at a time; what a tick asks (`past` is False) goes first. Several sources are asked
    side by side.
    """

    def __init__(self, sources: Sequence[Source], metrics: Mapping[str, Metric]) -> None:
        self._sources, self._metrics = tuple(sources), metrics
        # Asked for every metric of every incident: looking at a protocol's methods takes longer than the answer.
        self._logs = [(source, source.collector) for source in sources if isinstance(source.collector, LogCollector)]
        self._known: dict[str, tuple[SeriesKey, ...]] = {source.name: () for source in sources}
        self._turns = {source.name: Turn() for source in sources}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._index: SeriesIndex | None = None
        self._routes: tuple[SeriesIndex, Routes] | None = None
        self._restored: tuple[SeriesKey, ...] = ()
        self._silent = {source.name for source in sources}
        self._emptied: dict[str, float] = {}
        self._read_once: set[str] = set()
        self._missed: int | None = None
        self._past_troubles: dict[str, Exception] = {}
        self.states: dict[str, SourceState] = {source.name: SourceState(name=source.name) for source in sources}
        self.cut = 0

    @property
    def sources(self) -> Sequence[Source]:
        """In the order of the configuration."""
        return self._sources

    def restore(self, keys: Iterable[SeriesKey], read_to: Mapping[str, int]) -> None:
        """After a restart: the series there were, and how far each source was read.

        Until every source was discovered nobody can tell that one of these is gone: they are kept, "not known".
        """
        with self._lock:
            self._restored = tuple(keys)
            for name, state in self.states.items():
                self.states[name] = replace(state, read_to=max(state.read_to, read_to.get(name, 0)))

    @property
    def complete(self) -> bool:
        """Whether every source could be discovered since the start."""
        return not self._silent

    def discover(self, *, past: bool = False, now: float | None = None) -> SeriesIndex:
        """Every series of every source; a source that fails now keeps the series it had.

        One that has none any more keeps those it had for a day by `now`, because that is rather a fault than the end of all
        of them; `notes` tells. A series that two sources offer belongs to the one named first. Beyond 200,000 series the rest
        is left out and counted in `cut`.
        """
        found = self._side_by_side([(source, _discoverer(source)) for source in self._sources], past)
        with self._lock:
            before = dict(self._known), self._restored
            answers = {source.name: keys for source, keys in zip(self._sources, found, strict=True) if keys is not None}
            for name, keys in answers.items():
                if keys:
                    self._emptied.pop(name, None)
                    self._known[name] = keys
                elif self._known[name] and now is not None:
                    self._known[name] = () if now - self._emptied.setdefault(name, now) >= KEPT else self._known[name]
            self._silent -= answers.keys()
            if self._restored and not self._silent:
                self._share_restored([name for name, keys in answers.items() if not keys], now)
            if self._index is None or before != (self._known, self._restored):
                every = {*self._restored, *(key for keys in self._known.values() for key in keys)}
                self.cut = max(0, len(every) - MAX_SERIES)
                self._routes, self._index = None, SeriesIndex(sorted(every)[:MAX_SERIES])
            if not past:
                for name in answers:
                    if not self._known[name] and not self.states[name].up:  # it is not asked for values, and did answer
                        self.states[name] = replace(self.states[name], kind="ok", reason="", failures=0)
                        log.info("source.back", source=name)
            return self._index

    def _share_restored(self, empty: Sequence[str], now: float | None) -> None:
        """Every source was discovered: what was there before the restart and nobody has now is gone, unless it went at once."""
        owned = {key for keys in self._known.values() for key in keys}
        lost = tuple(key for key in self._restored if key not in owned)
        if empty and lost:
            self._known[empty[0]] = lost
            if now is not None:
                self._emptied[empty[0]] = now
        self._restored = ()

    def known(self, source: str) -> Sequence[SeriesKey]:
        """The series that a source had when it was last discovered."""
        return self._known[source]

    def notes(self) -> list[str]:
        """What is left out, by the sources' caps or ours, a sentence each."""
        told: list[str] = []
        for source in self._sources:
            told += _safely(source, partial(_noted, source), [])
        for name, at in self._emptied.items():
            if self._known[name]:
                told.append(
                    f"{name} has none of its {len(self._known[name])} series any more since {utc(at):%Y-%m-%d %H:%M} UTC; "
                    "they are kept for a day"
                )
        if self.cut:
            told.append(f"{self.cut} series are left out: a component type has {MAX_SERIES:,} at most; split it, or exclude some")
        return told

    def check(self) -> list[str]:
        """What a person should put right in the sources, a sentence each."""
        problems: list[str] = []
        for source in self._sources:
            try:
                problems += source.collector.check()
            except (TransientError, PermanentError) as error:
                problems.append(str(error))
            except Exception as error:
                log.exception("source.fault", source=source.name)
                problems.append(_reason(error))
        return problems

    def reach(self, *, past: bool = False) -> tuple[int, int] | None:
        """The time all sources together have values for; None when none of them has any now."""
        found = self._side_by_side([(source, source.collector.reach) for source in self._sources], past)
        spans = [reach for reach in found if reach is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def lag(self) -> float | None:
        """How late the latest source is, in seconds (99 % of its data have come by then); None while none can tell."""
        lags = [_safely(source, partial(_lag, source), None) for source in self._sources]
        return max((lag for lag in lags if lag is not None and np.isfinite(lag)), default=None)

    def missed(self) -> int | None:
        """Since when a source that answers again lacks an answer, told once: what it missed can be read now."""
        missed, self._missed = self._missed, None
        return missed

    def why(self, *, past: bool = False) -> str:
        """Why sources do not answer, in words: those that are down now, or those that failed when last asked about the past."""
        if past:
            return "; ".join(map(_reason, self._past_troubles.values()))
        return "; ".join(f"{state.name}: {state.reason}" for state in self.states.values() if not state.up)

    def refuses_past(self) -> bool:
        """Whether a source that was last asked about the past will never answer like this: a person must act."""
        return any(isinstance(error, PermanentError) for error in self._past_troubles.values())

    def collect(self, index: SeriesIndex, window: Window, *, past: bool = False) -> Frame:
        """The window's values for exactly these rows: finite, within the metric's bounds, counters as rates per second.

        One bucket before the window is read too, because the rate of a counter needs the value before it.
        """
        parts, orphans, counters = self._route(index)
        reading = window.reaching_back(window.span) if counters.any() else window
        # A bucket's values side by side, as they are remembered and judged.
        values = np.full((len(reading), len(index)), np.nan).T
        known = np.zeros((len(reading), len(index)), bool).T
        # Where every source was asked what it has and none has these, there is "no data".
        known[orphans] = self.complete
        asked = [(source, rows, part) for source, (rows, part) in zip(self._sources, parts, strict=True) if len(part)]
        frames = self._side_by_side([(source, _reader(source, part, reading)) for source, _, part in asked], past)
        for (source, rows, _), frame in zip(asked, frames, strict=True):
            if frame is not None:
                mine = slice(None) if len(rows) == len(index) else rows
                values[mine], known[mine] = frame.values, frame.known
                if not past:  # what is not known of last month says nothing of today
                    self._read(source, frame)
        values[~(np.abs(values) <= LARGEST)] = np.nan
        frame = Frame(index=index, window=reading, values=values, known=known)
        return to_rate(frame, counters) if counters.any() else frame

    def example(self, key: SeriesKey) -> str:
        """A recent masked log line behind a series, empty where nobody has one. Asks no source anything."""
        told = (_safely(source, partial(collector.example, key), "") for source, collector in self._logs)
        return next((line for line in told if line), "")

    def close(self) -> None:
        """Give back connections. Nothing is asked afterwards."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for source in self._sources:
            if isinstance(source.collector, RemoteCollector):
                try:
                    source.collector.close()
                except Exception as error:  # noqa: BLE001  (it is left anyway)
                    log.warning("source.not_closed", source=source.name, error=_reason(error))

    def _route(self, index: SeriesIndex) -> Routes:
        """Which rows each source answers for; worked out once per index and discovery, not once per tick."""
        with self._lock:
            if self._routes is not None and self._routes[0] is index:
                return self._routes[1]
            places = reversed(list(enumerate(self._sources)))
            owner = {key: place for place, source in places for key in self._known[source.name]}
        of_row = np.fromiter((owner.get(key, -1) for key in index), np.int64, len(index))
        rows = [np.flatnonzero(of_row == place) for place in range(len(self._sources))]
        parts = [(mine, index if len(mine) == len(index) else SeriesIndex([index[row] for row in mine])) for mine in rows]
        counters = np.fromiter((self._metric(key.metric).counter for key in index), bool, len(index))
        routes = parts, np.flatnonzero(of_row < 0), counters
        with self._lock:
            if index is self._index:  # the tick's own; the few rows that a past lacks come and go
                self._routes = index, routes
        return routes

    def _side_by_side(self, questions: Sequence[tuple[Source, Callable[[], T]]], past: bool) -> list[T | None]:
        """Ask each source its question; None from one that failed."""
        if len(questions) < 2:
            return [self._ask(source, question, past) for source, question in questions]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(2 * len(self._sources), thread_name_prefix="collect")
        return list(self._pool.map(lambda one: self._ask(one[0], one[1], past), questions))

    def _ask(self, source: Source, question: Callable[[], T], past: bool) -> T | None:
        with self._turns[source.name].taken(past=past):
            try:
                answer = question()
            except (TransientError, PermanentError) as error:
                self._failed(source, error, past)
                return None
            except Exception as error:
                if self.states[source.name].up:  # one trace tells as much as many
                    log.exception("source.fault", source=source.name)
                self._failed(source, error, past)
                return None
        if past:
            self._past_troubles.pop(source.name, None)
        return answer

    def _failed(self, source: Source, error: Exception, past: bool) -> None:
        reason = _reason(error)
        if past:  # what it cannot say of last month says nothing of today
            self._past_troubles[source.name] = error
            return
        before = self.states[source.name]
        if before.up:
            log.warning("source.failed", source=source.name, error=reason)
        self.states[source.name] = replace(before, kind="down", reason=reason, failures=before.failures + 1)

    def _read(self, source: Source, frame: Frame) -> None:
        """Note that a source answered. Only it knows whether that was all of it, or only after some tries."""
        before = self.states[source.name]
        wellbeing = source.collector.manners.state if isinstance(source.collector, Mannered) else None
        answered = np.flatnonzero(frame.known.any(axis=0))
        read_to = frame.window.start + (int(answered[-1]) + 1) * frame.window.span if len(answered) else 0
        after = SourceState(name=source.name, read_to=max(before.read_to, read_to))
        if wellbeing is not None and wellbeing.kind != "ok":
            after = replace(after, kind="degraded", reason=wellbeing.reason)
        elif not frame.known.all():
            after = replace(after, kind="degraded", reason=f"{np.mean(~frame.known):.0%} of what was asked is not known")
        self.states[source.name] = after
        first = source.name not in self._read_once
        self._read_once.add(source.name)
        if not before.up or (first and 0 < before.read_to < frame.window.start):
            since = before.read_to or frame.window.start
            self._missed = since if self._missed is None else min(self._missed, since)
        if not before.up:
            log.info("source.back", source=source.name)
        if after.kind == "degraded" and before.kind != "degraded":
            log.warning("source.degraded", source=source.name, reason=after.reason)

    def _metric(self, name: str) -> Metric:
        return self._metrics.get(name) or Metric(name=name)


def _reader(source: Source, index: SeriesIndex, window: Window) -> Callable[[], Frame]:
    def read() -> Frame:
        frame = source.collector.collect(index, window)
        if frame.values.shape != (len(index), len(window)):
            raise PermanentError(f"{source.name} was asked for {(len(index), len(window))} values and gave {frame.values.shape}")
        return frame

    return read


def _discoverer(source: Source) -> Callable[[], tuple[SeriesKey, ...]]:
    return lambda: tuple(source.collector.discover())


def _reason(error: Exception) -> str:
    """What a person reads: our own sentences as they are, a fault in a collector with its kind."""
    return str(error) if isinstance(error, (TransientError, PermanentError)) else f"{type(error).__name__}: {error}"


def _safely(source: Source, question: Callable[[], T], otherwise: T) -> T:
    """What a source says of itself; a fault in that costs nothing else."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001  (asked again and again: a line each, not a trace)
        log.warning("source.fault", source=source.name, error=_reason(error))
        return otherwise


def _noted(source: Source) -> list[str]:
    return list(source.collector.notes) if isinstance(source.collector, Noting) else []


def _lag(source: Source) -> float | None:
    return source.collector.lag() if isinstance(source.collector, RemoteCollector) else None


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
