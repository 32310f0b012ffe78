"""Our own logs, metrics and watchdog datagrams. Events have fields; what happens per series is a counter."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import ecs_logging
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


def set_up_logging(*, json: bool | None = None, verbose: bool = False) -> None:
    """Log to stderr: one ECS line per event for machines, coloured text when a person watches."""
    as_json = not sys.stderr.isatty() if json is None else json
    level = logging.DEBUG if verbose else logging.INFO
    final: Any = ecs_logging.StructlogFormatter() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp" if as_json else "timestamp"),
            structlog.processors.format_exc_info,
            final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


class Metrics:
    """What Tocsin tells about itself at /metrics; one registry per daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_type = ("component_type",)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"tocsin_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"tocsin_{name}", text, labels, registry=self.registry)

        self.ticks = counter("ticks_total", "Ticks that were committed.", by_type)
        self.tick_failures = counter("tick_failures_total", "Ticks that were rolled back.", by_type)
        self.tick_seconds = Histogram(
            "tocsin_tick_cpu_seconds",
            "CPU time of a tick's own thread.",
            by_type,
            registry=self.registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        )
        self.watermark = gauge("watermark_seconds", "Everything before this time (epoch) was judged.", by_type)
        self.series = gauge("series", "Series a component type has.", by_type)
        self.components = gauge("components", "Components a component type has.", by_type)
        self.open_incidents = gauge("open_incidents", "Incidents that are open now.", by_type)
        self.transitions = counter("transitions_total", "Steps in the life of incidents.", ("component_type", "kind"))
        self.source_up = gauge("source_up", "1 while the source answers.", ("component_type", "source"))
        source = ("component_type", "source")
        self.source_degraded = gauge("source_degraded", "1 while the source answers, but not always or not all.", source)
        self.source_requests = gauge("source_requests", "Requests made to the source since the start.", source)
        self.source_bytes = gauge("source_bytes", "Bytes read from the source since the start.", source)
        self.cut = gauge("series_cut", "Series left out because a component type has too many.", by_type)
        self.late_values = counter(
            "late_values_total",
            "Values that came after their bucket was judged: judged again, or too late for it.",
            ("component_type", "fate"),
        )
        self.backfilled = gauge("backfilled_ratio", "How much of the past that is learnt from was read.", by_type)
        self.delay = gauge("delay_seconds", "How long after its end a bucket is judged: what the sources need.", by_type)
        self.model_trained = gauge(
            "model_trained_on_seconds", "End (epoch) of the history the baseline in force was learnt from.", by_type
        )
        self.trainings = counter("trainings_total", "Trainings, by outcome.", ("component_type", "outcome"))
        self.skipped = counter("buckets_not_evaluated_total", "Buckets that were too old to judge after an outage.", by_type)
        self.sent = counter("results_sent_total", "Passive results handed to the transport, by its answer.", ("answer",))
        self.undelivered = gauge("services_not_delivered", "Services that the far side does not show as they should be.")
        self.undeliverable = gauge("services_undeliverable", "Services that do not exist on the far side.")
        self.told = counter("changes_told_total", "Changes that a sink beside Centreon took.", ("sink",))
        self.sink_up = gauge("sink_up", "1 while a sink beside Centreon takes what it is told.", ("sink",))
        self.missed_runs = counter("missed_runs_total", "Scheduled jobs that were missed or failed.", ("job",))
        self.reload_ok = gauge("config_last_reload_successful", "1 when the last load of the configuration worked.")
        self.reload_at = gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded.")


def tell_systemd(message: str) -> None:
    """One datagram to the service manager (`READY=1`, `WATCHDOG=1`, …); nothing when there is none. Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            structlog.get_logger().warning("systemd.unreachable", error=str(error))
