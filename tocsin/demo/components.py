"""The four kinds of component in the park: what they measure, how they behave, and the template deployed on them.

Components of one kind differ in size, in whom they serve and in how full they are, as in any park. The thresholds of
a template are the round numbers a team writes once for the whole kind ("warn at 80 % CPU, alert at 90"), and are the
same for all its components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tocsin.demo.nature import Clock, backup, batches, heavy, month_end, now_and_then, office_hours, public_hours, wander
from tocsin.model import Aggregate, Direction, Floats, Metric
from tocsin.thresholds import Thresholds, parse_range

Values = dict[str, Floats]
"""The true values of one component's metrics, counters as rates per second, each (n_buckets,)."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One component type. `behave` draws one component's normal life; `decimals` is how finely each metric is measured."""

    name: str
    components: tuple[str, ...]
    metrics: Mapping[str, Metric]
    decimals: Mapping[str, int]
    thresholds: Mapping[str, Thresholds]
    behave: Callable[[Clock, Generator], Values]


def _metrics(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


def _percent(name: str, direction: Direction = Direction.HIGH, matters: float = 5) -> Metric:
    return Metric(name=name, unit="%", direction=direction, lower=0, upper=100, min_deviation=matters)


def _counter(name: str, unit: str, matters: float, direction: Direction = Direction.BOTH) -> Metric:
    return Metric(
        name=name, unit=unit, direction=direction, aggregate=Aggregate.LAST, counter=True, lower=0, min_deviation=matters
    )


def _thresholds(**pairs: tuple[str, str]) -> Mapping[str, Thresholds]:
    return {
        name.replace("__", "."): Thresholds(parse_range(warning), parse_range(critical))
        for name, (warning, critical) in pairs.items()
    }


def _size(rng: Generator, typical: float, spread: float) -> float:
    return float(typical * np.exp(spread * rng.standard_normal()))


def _web(clock: Clock, rng: Generator) -> Values:
    n = len(clock)
    activity = (public_hours if rng.random() < 0.6 else office_hours)(clock, rng)
    use = rng.uniform(0.35, 0.85) * activity
    instances = np.full(n, float(rng.choice([3, 4, 6])))
    instances -= now_and_then(rng, n, 1 / 2500, 2)  # a rolling restart
    return {
        "requests": _size(rng, 80, 0.8) * activity * np.exp(0.04 * heavy(rng, n)),
        "latency.p95": _size(rng, 150, 0.5) * (1 + 0.8 * use**3) * np.exp(0.09 * wander(rng, n, 0.8) + 0.07 * heavy(rng, n)),
        "errors": _size(rng, 0.12, 0.6) * np.exp(0.4 * wander(rng, n, 0.6) + 0.2 * heavy(rng, n)),
        "cpu": 4 + 80 * use + 2.5 * wander(rng, n, 0.7) + 1.2 * heavy(rng, n),
        "instances": instances,
    }


WEB = Kind(
    name="web",
    components=tuple(
        f"{site}-{i}" for site in ("shop", "booking", "account", "intranet", "search", "api", "media") for i in (1, 2)
    ),
    metrics=_metrics(
        _counter("requests", "/s", 2),
        Metric(name="latency.p95", unit="ms", direction=Direction.HIGH, lower=0, min_deviation=25),
        _percent("errors", matters=0.3),
        _percent("cpu"),
        Metric(name="instances", direction=Direction.LOW, aggregate=Aggregate.LAST, lower=0, min_deviation=0.5),
    ),
    decimals={"requests": 0, "latency.p95": 1, "errors": 2, "cpu": 1, "instances": 0},
    thresholds=_thresholds(latency__p95=("500", "1000"), errors=("2", "5"), cpu=("80", "90"), instances=("2:", "1:")),
    behave=_web,
)


def _database(clock: Clock, rng: Generator) -> Values:
    n = len(clock)
    activity = (public_hours if rng.random() < 0.4 else office_hours)(clock, rng)
    activity *= month_end(clock, rng.uniform(0.3, 0.6) if rng.random() < 0.4 else 0.0)
    dump, use = backup(clock, rng), rng.uniform(0.3, 0.7) * activity
    filled = rng.uniform(35, 72)
    daily = ((clock.hour - 4) % 24) / 24  # logs pile up until they are purged at four in the morning
    return {
        "connections": rng.uniform(8, 30)
        + _size(rng, 70, 0.5) * activity * np.exp(0.05 * wander(rng, n, 0.8) + 0.03 * heavy(rng, n)),
        "queries": _size(rng, 900, 0.8) * activity * np.exp(0.05 * heavy(rng, n)) * (1 + rng.uniform(0.1, 0.6) * dump),
        "query.time": _size(rng, 7, 0.5)
        * (1 + 0.7 * use**3 + 0.5 * dump)
        * np.exp(0.12 * wander(rng, n, 0.8) + 0.08 * heavy(rng, n)),
        "replication.lag": 0.4 * np.exp(0.7 * wander(rng, n, 0.7) + 0.3 * heavy(rng, n))
        + rng.uniform(4, 25) * dump * rng.uniform(0.7, 1.3, n),
        "cache.hit": 99.7 - _size(rng, 0.5, 0.5) * np.exp(0.4 * wander(rng, n, 0.9)) - rng.uniform(1.5, 5) * dump,
        "disk.used": filled + rng.uniform(2, 5) * daily + np.linspace(0, rng.uniform(0, 3), n) + 0.15 * wander(rng, n, 0.95),
    }


DATABASE = Kind(
    name="database",
    components=(
        "billing-db-1",
        "billing-db-2",
        "crm-db-1",
        "crm-db-2",
        "hr-db-1",
        "orders-db-1",
        "orders-db-2",
        "reports-db-1",
        "stock-db-1",
        "stock-db-2",
    ),
    metrics=_metrics(
        Metric(name="connections", lower=0, min_deviation=5),
        _counter("queries", "/s", 20),
        Metric(name="query.time", unit="ms", direction=Direction.HIGH, lower=0, min_deviation=2),
        Metric(name="replication.lag", unit="s", direction=Direction.HIGH, lower=0, min_deviation=5),
        _percent("cache.hit", Direction.LOW, 1),
        _percent("disk.used", matters=2),
    ),
    decimals={"connections": 0, "queries": 0, "query.time": 2, "replication.lag": 1, "cache.hit": 2, "disk.used": 2},
    thresholds=_thresholds(
        connections=("200", "300"),
        query__time=("50", "100"),
        replication__lag=("30", "120"),
        cache__hit=("90:", "80:"),
        disk__used=("80", "90"),
    ),
    behave=_database,
)


def _host(clock: Clock, rng: Generator) -> Values:
    n = len(clock)
    activity = (public_hours if rng.random() < 0.3 else office_hours)(clock, rng)
    activity *= month_end(clock, rng.uniform(0.3, 0.7) if rng.random() < 0.3 else 0.0)
    dump, cores = backup(clock, rng), float(rng.choice([4, 8, 16]))
    cpu = 5 + rng.uniform(25, 80) * activity + rng.uniform(15, 45) * dump + 2.5 * wander(rng, n, 0.7) + 1.5 * heavy(rng, n)
    reading = _size(rng, 2e6, 0.8)
    return {
        "cpu": cpu,
        "memory": rng.uniform(30, 62) + rng.uniform(3, 12) * activity + 1.5 * wander(rng, n, 0.995) + 0.4 * heavy(rng, n),
        "load": cores * np.clip(cpu, 1, 100) / 100 * np.exp(0.12 * wander(rng, n, 0.7) + 0.06 * heavy(rng, n)),
        "disk.io": reading * (0.3 + 0.7 * activity) * np.exp(0.25 * wander(rng, n, 0.6) + 0.15 * heavy(rng, n))
        + rng.uniform(8, 20) * reading * dump,
        "net.in": _size(rng, 4e6, 0.8) * activity * np.exp(0.1 * wander(rng, n, 0.8) + 0.05 * heavy(rng, n)),
        "clock.offset": 0.1 * np.abs(heavy(rng, n)),
    }


HOST = Kind(
    name="host",
    components=tuple(f"srv-{place}-{i:02}" for place in ("lyon", "metz") for i in range(1, 8)),
    metrics=_metrics(
        _percent("cpu"),
        _percent("memory", matters=3),
        Metric(name="load", direction=Direction.HIGH, lower=0, min_deviation=0.5),
        _counter("disk.io", "B/s", 500_000, Direction.HIGH),
        _counter("net.in", "B/s", 100_000),
        Metric(name="clock.offset", unit="ms", direction=Direction.HIGH, lower=0, min_deviation=5),
    ),
    decimals={"cpu": 1, "memory": 1, "load": 2, "disk.io": 0, "net.in": 0, "clock.offset": 1},
    thresholds=_thresholds(cpu=("80", "90"), memory=("85", "95"), load=("8", "16"), clock__offset=("50", "100")),
    behave=_host,
)


def _queue(clock: Clock, rng: Generator) -> Values:
    n, span = len(clock), clock.window.span
    activity = office_hours(clock, rng) * month_end(clock, rng.uniform(0.3, 0.8) if rng.random() < 0.6 else 0.0)
    usual = _size(rng, 40, 0.8)
    capacity = usual * rng.uniform(1.25, 1.6)
    hours = tuple(rng.choice([5.5, 6.5, 12.5, 19.0, 21.5, 22.5], 2, replace=False))
    arriving = usual * activity * np.exp(0.06 * heavy(rng, n)) + capacity * rng.uniform(0.9, 1.4) * batches(clock, rng, hours)
    waiting = np.cumsum((arriving - capacity) * span)  # what could not be taken at once waits: Lindley's recursion
    waiting -= np.minimum(np.minimum.accumulate(waiting), 0)
    consumed = np.maximum(arriving - np.diff(waiting, prepend=0) / span, 0)
    depth = waiting + usual * 0.4 * np.exp(0.4 * wander(rng, n, 0.6) + 0.2 * heavy(rng, n))
    return {
        "depth": depth,
        "consumed": consumed,
        "age": depth / np.maximum(consumed, 0.2 * usual),
        "workers": np.full(n, float(rng.choice([4, 8, 12]))) - now_and_then(rng, n, 1 / 3000, 1),
    }


QUEUE = Kind(
    name="queue",
    components=("invoices", "labels", "mails", "orders", "payments", "refunds", "stock-moves", "transfers"),
    metrics=_metrics(
        Metric(name="depth", direction=Direction.HIGH, lower=0, min_deviation=50),
        _counter("consumed", "/s", 2),
        Metric(name="age", unit="s", direction=Direction.HIGH, lower=0, min_deviation=20),
        Metric(name="workers", direction=Direction.LOW, aggregate=Aggregate.LAST, lower=0, min_deviation=0.5),
    ),
    decimals={"depth": 0, "consumed": 0, "age": 1, "workers": 0},
    thresholds=_thresholds(depth=("50000", "200000"), age=("1800", "3600"), workers=("2:", "1:")),
    behave=_queue,
)

KINDS = (WEB, DATABASE, HOST, QUEUE)
