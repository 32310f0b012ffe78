"""The sinks beside Centreon, wired: each with its own memory of what it was told, none able to hold up another."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from alerting.tell import Tell, Told
from tocsin.config_parts import Sink as SinkSettings
from tocsin.ports import Closable, Sink
from tocsin.store import told
from tocsin.store.state import State
from tocsin.telemetry import Metrics

log = structlog.get_logger()


class Elsewhere:
    """`step` about once a second, from a thread of its own: a chat that does not answer must not delay Centreon."""

    def __init__(self, sinks: Sequence[SinkSettings], state: State, metrics: Metrics, reassert: float) -> None:
        self._metrics = metrics
        self._sinks: list[Sink] = []
        self._tells: dict[str, Tell] = {}
        self._failing: dict[str, str] = {}
        for place, entry in enumerate(sinks):
            name = entry.plugin.name if place == _first(sinks, entry) else f"{entry.plugin.name} {place + 1}"
            sink: Sink = entry.plugin.build(entry.settings, None)
            self._sinks.append(sink)
            self._tells[name] = Tell(told.Told(state, name), sink, reassert)

    def step(self, now: float) -> None:
        """Tell each what is due. A sink's fault is logged when it begins and when it ends, and reaches no other."""
        for name, tell in self._tells.items():
            try:
                done = tell.step(now)
            except Exception as error:  # noqa: BLE001  (other people's code, and the database)
                done = Told(why=f"{type(error).__name__}: {error}")
            self._metrics.told.labels(name).inc(done.taken)
            before = self._failing.pop(name, "")
            if done.why:
                self._failing[name] = done.why
                if not before:
                    log.warning("sink.failed", sink=name, error=done.why)
            elif before and done.taken:
                log.info("sink.back", sink=name)
            elif before:
                self._failing[name] = before  # nothing was due: it is not known to be well
            self._metrics.sink_up.labels(name).set(name not in self._failing)

    @property
    def failing(self) -> dict[str, str]:
        """Why a sink does not take what it is told, by its name."""
        return dict(self._failing)

    def close(self) -> None:
        """Give back connections."""
        for sink in self._sinks:
            if isinstance(sink, Closable):
                sink.close()


def _first(sinks: Sequence[SinkSettings], entry: SinkSettings) -> int:
    return next(place for place, other in enumerate(sinks) if other.plugin.name == entry.plugin.name)
