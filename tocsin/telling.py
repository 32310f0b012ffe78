"""What a tick leaves behind for who watches: lines in the log and figures at /metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog

from tocsin.late import Late
from tocsin.model import Transition, Window, utc
from tocsin.ports import Mannered
from tocsin.shard import Shard
from tocsin.telemetry import Metrics

log = structlog.get_logger()


def tell(metrics: Metrics, shard: Shard, window: Window, transitions: Sequence[Transition]) -> None:
    """A tick's line in the log, one for each step, and the figures."""
    metrics.ticks.labels(shard.name).inc()
    metrics.watermark.labels(shard.name).set(window.end)
    metrics.open_incidents.labels(shard.name).set(len(shard.open))
    for state in shard.intake.states.values():
        metrics.source_up.labels(shard.name, state.name).set(state.up)
        metrics.source_degraded.labels(shard.name, state.name).set(state.kind == "degraded")
    for source in shard.intake.sources:
        if isinstance(source.collector, Mannered):
            usage = source.collector.manners.usage
            metrics.source_requests.labels(shard.name, source.name).set(usage.requests)
            metrics.source_bytes.labels(shard.name, source.name).set(usage.bytes)
    metrics.delay.labels(shard.name).set(shard.delay.seconds)
    metrics.cut.labels(shard.name).set(shard.intake.cut)
    log.info(
        "tick.done",
        component_type=shard.name,
        until=utc(window.end).isoformat(),
        series=len(shard.index),
        open=len(shard.open),
    )
    for step in transitions:
        metrics.transitions.labels(shard.name, step.kind).inc()
        log.info("incident.step", kind=step.kind, incident=step.incident, severity=step.severity.name, reason=step.reason)


def count_late(metrics: Metrics, shard: Shard, late: Late, window: Window, now: float) -> None:
    """Values that came after their bucket was judged, by what became of them."""
    start = shard.past.start if shard.past.by == shard.judged_by() else np.inf
    for fate, count in (("judged again", late.count(start, window.start)), ("too late", late.count(-np.inf, start))):
        if count:
            metrics.late_values.labels(shard.name, fate).inc(count)
            shard.late_since[fate] = now
            log.info("values.late", component_type=shard.name, count=count, fate=fate)
