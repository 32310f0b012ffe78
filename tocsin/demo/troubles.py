"""What goes wrong in the park: one function per kind of incident, each changes the true values of one component.

Sizes are drawn so that a person who sees the graph, and knows the component, says "something is wrong here". Some
cross the template's thresholds, most do not, as in life: whoever writes thresholds sets them for the troubles he knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tocsin.demo.components import Values
from tocsin.demo.nature import Clock


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A kind of incident: which type it befalls, when (days of the week it is drawn for, hours of the day), how long.

    `apply(values, first, after, clock, rng)` changes the values in the buckets `[first, after)`, and may leave traces behind.
    """

    kind: str
    component_type: str
    metrics: tuple[str, ...]
    days: tuple[int, ...]
    starts: tuple[float, float]
    hours: tuple[float, float]
    text: str
    apply: Callable[[Values, int, int, Clock, Generator], None]


WORKING = (1, 2, 3, 4)
ANY = (0, 1, 2, 3, 4, 5)


def _spike(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["latency.p95"][first:after] *= rng.uniform(2.6, 4.0)


def _drop(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    left = rng.uniform(0.02, 0.06)
    values["requests"][first:after] *= left
    values["cpu"][first:after] = 4 + left * (values["cpu"][first:after] - 4) + rng.standard_normal(after - first)


def _wrong_hour(values: Values, first: int, after: int, clock: Clock, _rng: Generator) -> None:
    noon = clock.at(int(clock.day[first]) - 1, 11.0)
    for metric in ("requests", "cpu"):
        values[metric][first:after] = values[metric][noon : noon + after - first]


def _few_errors(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["errors"][first:after] = rng.uniform(1.3, 1.7) * np.exp(0.06 * rng.standard_normal(after - first))


def _many_errors(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["errors"][first:after] = rng.uniform(9, 20) * np.exp(0.2 * rng.standard_normal(after - first))


def _together(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["latency.p95"][first:after] *= rng.uniform(1.4, 1.55)
    values["errors"][first:after] *= rng.uniform(2.5, 3.2)
    values["cpu"][first:after] += rng.uniform(9, 13)
    values["requests"][first:after] *= rng.uniform(0.72, 0.8)


def _jump(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["connections"][first:after] *= rng.uniform(1.9, 2.5)


def _restless(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["query.time"][first:after] *= np.exp(rng.uniform(0.9, 1.2) * rng.standard_normal(after - first))


def _filling(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["disk.used"][first:after] += np.linspace(0, rng.uniform(18, 26), after - first)


def _cold_cache(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["cache.hit"][first:after] -= rng.uniform(5, 7)
    values["query.time"][first:after] *= rng.uniform(1.4, 1.8)


def _leak(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["memory"][first:after] += np.linspace(0, rng.uniform(28, 36), after - first)


def _silence(values: Values, first: int, after: int, _clock: Clock, _rng: Generator) -> None:
    for metric in values:
        values[metric][first:after] = np.nan


def _plateau(values: Values, first: int, after: int, _clock: Clock, rng: Generator) -> None:
    values["cpu"][first:after] = 98.5 + 0.4 * rng.standard_normal(after - first)
    values["load"][first:after] *= rng.uniform(2.5, 4.0)


def _stuck(values: Values, first: int, after: int, _clock: Clock, _rng: Generator) -> None:
    for metric in ("cpu", "load", "memory"):
        values[metric][first:after] = values[metric][first]


def _backlog(values: Values, first: int, after: int, clock: Clock, rng: Generator) -> None:
    slow, span = rng.uniform(0.2, 0.4), clock.window.span
    stays = values["consumed"][first:after] * (1 - slow)
    values["consumed"][first:after] -= stays
    values["workers"][first:after] = 1
    piled = np.cumsum(stays * span)
    values["depth"][first:after] += piled
    drain = clock.buckets(0.5)  # once the workers are back they catch up in half an hour
    values["depth"][after : after + drain] += np.linspace(piled[-1], 0, drain)
    values["consumed"][after : after + drain] += piled[-1] / (drain * span)
    reach = slice(first, after + drain)
    values["age"][reach] = values["depth"][reach] / np.maximum(values["consumed"][reach], 0.1)


TROUBLES = (
    Trouble(
        kind="spike",
        component_type="web",
        metrics=("latency.p95",),
        days=WORKING,
        starts=(9.5, 16),
        hours=(0.5, 1),
        text="answers take three times as long",
        apply=_spike,
    ),
    Trouble(
        kind="drop",
        component_type="web",
        metrics=("requests", "cpu"),
        days=WORKING,
        starts=(9.5, 16),
        hours=(0.7, 1.3),
        text="nearly no request gets through any more",
        apply=_drop,
    ),
    Trouble(
        kind="wrong hour",
        component_type="web",
        metrics=("requests", "cpu"),
        days=(2, 3, 4),
        starts=(2, 4),
        hours=(1.3, 2.2),
        text="as many requests as at noon, in the middle of the night",
        apply=_wrong_hour,
    ),
    Trouble(
        kind="few errors",
        component_type="web",
        metrics=("errors",),
        days=WORKING,
        starts=(9, 17),
        hours=(2, 4),
        text="several times as many errors as usual, and fewer than the threshold",
        apply=_few_errors,
    ),
    Trouble(
        kind="many errors",
        component_type="web",
        metrics=("errors",),
        days=ANY,
        starts=(8, 20),
        hours=(0.5, 1),
        text="one request in ten fails",
        apply=_many_errors,
    ),
    Trouble(
        kind="a little of everything",
        component_type="web",
        metrics=("latency.p95", "errors", "cpu", "requests"),
        days=WORKING,
        starts=(9, 14),
        hours=(3, 4.5),
        text="four metrics a little wrong at once, none of them much",
        apply=_together,
    ),
    Trouble(
        kind="level jump",
        component_type="database",
        metrics=("connections",),
        days=WORKING,
        starts=(9, 13),
        hours=(4, 7),
        text="twice as many connections for some hours: a pool leaks",
        apply=_jump,
    ),
    Trouble(
        kind="restless",
        component_type="database",
        metrics=("query.time",),
        days=WORKING,
        starts=(9, 15),
        hours=(2.5, 4),
        text="query times jump up and down around their usual level",
        apply=_restless,
    ),
    Trouble(
        kind="disk fills",
        component_type="database",
        metrics=("disk.used",),
        days=WORKING,
        starts=(6, 12),
        hours=(10, 15),
        text="a runaway log fills the disk, until somebody deletes it",
        apply=_filling,
    ),
    Trouble(
        kind="cold cache",
        component_type="database",
        metrics=("cache.hit", "query.time"),
        days=WORKING,
        starts=(9, 16),
        hours=(2, 3.5),
        text="the cache misses ten times as often and queries are slower",
        apply=_cold_cache,
    ),
    Trouble(
        kind="leak",
        component_type="host",
        metrics=("memory",),
        days=(0, 1, 2, 3),
        starts=(8, 14),
        hours=(28, 40),
        text="a process leaks memory for a day and a half, until it is restarted",
        apply=_leak,
    ),
    Trouble(
        kind="silence",
        component_type="host",
        metrics=("cpu", "memory", "load", "disk.io", "net.in", "clock.offset"),
        days=ANY,
        starts=(7, 20),
        hours=(1.5, 3),
        text="nothing is heard of the host",
        apply=_silence,
    ),
    Trouble(
        kind="saturation",
        component_type="host",
        metrics=("cpu", "load"),
        days=WORKING,
        starts=(9, 16),
        hours=(1.5, 3),
        text="the processor is pinned near 100 %",
        apply=_plateau,
    ),
    Trouble(
        kind="stuck",
        component_type="host",
        metrics=("cpu", "load", "memory"),
        days=WORKING,
        starts=(14.5, 16),
        hours=(14, 17),
        text="the agent repeats the same values all night",
        apply=_stuck,
    ),
    Trouble(
        kind="backlog",
        component_type="queue",
        metrics=("workers", "consumed", "depth", "age"),
        days=WORKING,
        starts=(9, 14),
        hours=(1.5, 3),
        text="all workers but one died and messages pile up",
        apply=_backlog,
    ),
)

EARLIER = ("spike", "drop", "level jump", "saturation")
"""The kinds that also happened during the weeks to learn from, when nobody wrote them down."""


def deploy(values: Values, first: int, rng: Generator) -> None:
    """A new release of a web application, slower and hungrier from now on: a change, not an incident."""
    values["latency.p95"][first:] *= rng.uniform(1.3, 1.5)
    values["cpu"][first:] += rng.uniform(7, 12)
