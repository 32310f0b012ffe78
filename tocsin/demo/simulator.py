"""A park of 46 components over five weeks, drawn from a seed.

It has what a real park has: working hours and evenings in Europe/Paris, four French public holidays (one of them in
the live week) that are like Sundays, two month-ends on which some components work more, a backup every night at each
machine's own hour, batches at fixed hours, noise that correlates and has heavy tails, counters with resets, metrics
that hardly ever move, percentages that end at 100, samples and minutes that were lost, a deployment after which a
component never is what it was, and incidents. It knows nothing of how any of this might be found.

One seed is one park, on every machine: each component draws from its own generator.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.random import Generator

from tocsin.demo.components import KINDS, Kind, Values
from tocsin.demo.nature import Clock, now_and_then
from tocsin.demo.park import Park, ParkType
from tocsin.demo.troubles import EARLIER, TROUBLES, Trouble, deploy
from tocsin.evaluation import Label
from tocsin.intake import to_rate
from tocsin.model import Bools, Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.thresholds import Template
from tocsin.timegrid import Calendar

MONDAY = date(2026, 4, 27)
SPAN = 300
WEEKS = 5

_PLAN, _LIFE = 0, 1  # what a generator is for; the third number tells components apart


def simulate(seed: int = 1, monday: date = MONDAY) -> Park:
    """The park of a seed, in the five weeks that begin on a Monday."""
    calendar = Calendar("Europe/Paris", "FR", ("month-end",))
    clock = _clock(calendar, monday)
    whole = Window(clock.window.start + SPAN, clock.window.end, SPAN)
    live = Window(int(clock.window.starts[clock.at(7 * (WEEKS - 1), 0)]), whole.end, SPAN)

    lives = {kind.name: _behave(kind, clock, seed) for kind in KINDS}
    plan = np.random.default_rng([seed, _PLAN])
    changes = _deployments(lives["web"], clock, plan)
    taken = {change.component for change in changes}
    incidents = [_befall(trouble, lives[trouble.component_type], 7 * (WEEKS - 1), clock, plan, taken) for trouble in TROUBLES]
    taken = {change.component for change in changes}
    past = [
        _befall(t, lives[t.component_type], 7 * int(plan.integers(0, 4)), clock, plan, taken)
        for t in TROUBLES
        if t.kind in EARLIER
    ]

    return Park(
        seed=seed,
        calendar=calendar,
        history=Window(whole.start, live.start, SPAN),
        live=live,
        types={kind.name: _measure(kind, lives[kind.name], clock, seed) for kind in KINDS},
        incidents=tuple(sorted(incidents, key=lambda label: label.start)),
        changes=changes,
        past=tuple(sorted(past, key=lambda label: label.start)),
    )


def _clock(calendar: Calendar, monday: date) -> Clock:
    """Five weeks, and one bucket before them from which counters begin to count."""
    first_day = (monday - date(1970, 1, 1)).days
    midnight = datetime(monday.year, monday.month, monday.day, tzinfo=ZoneInfo(calendar.timezone)).astimezone(UTC)
    after = date.fromordinal(monday.toordinal() + 7 * WEEKS)
    end = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(calendar.timezone)).astimezone(UTC)
    return Clock(calendar, Window(int(midnight.timestamp()) - SPAN, int(end.timestamp()), SPAN), first_day)


def _behave(kind: Kind, clock: Clock, seed: int) -> dict[str, Values]:
    number = KINDS.index(kind)
    return {name: kind.behave(clock, np.random.default_rng([seed, _LIFE, number, i])) for i, name in enumerate(kind.components)}


def _deployments(lives: dict[str, Values], clock: Clock, plan: Generator) -> tuple[Label, ...]:
    """One in the third week, to be learnt, and one in the live week."""
    components = plan.permutation(sorted(lives))[:2]
    changes = []
    for component, (day, hour) in zip(components, ((15, 10.0), (29, 14.0)), strict=True):
        first = clock.at(day, hour)
        deploy(lives[str(component)], first, plan)
        start = int(clock.window.starts[first])
        changes.append(
            Label(
                component=str(component),
                start=start,
                end=clock.window.end,
                kind="deployment",
                metrics=("latency.p95", "cpu"),
                text="a new release is slower and needs more CPU, for good",
            )
        )
    return tuple(changes)


def _befall(trouble: Trouble, lives: dict[str, Values], week: int, clock: Clock, plan: Generator, taken: set[str]) -> Label:
    """One trouble in the week that begins on this day, to a component that has none yet."""
    component = str(plan.choice(sorted(set(lives) - taken)))
    taken.add(component)
    first = clock.at(week + int(plan.choice(trouble.days)), plan.uniform(*trouble.starts))
    after = min(first + clock.buckets(plan.uniform(*trouble.hours)), len(clock))
    trouble.apply(lives[component], first, after, clock, plan)
    return Label(
        component=component,
        start=int(clock.window.starts[first]),
        end=int(clock.window.starts[first]) + (after - first) * SPAN,
        kind=trouble.kind,
        metrics=trouble.metrics,
        text=trouble.text,
    )


def _measure(kind: Kind, lives: dict[str, Values], clock: Clock, seed: int) -> ParkType:
    """What the agents report of the true values: bounded, rounded, counted, and not always there."""
    index = SeriesIndex([SeriesKey(component, metric) for component in lives for metric in kind.metrics])
    values = np.empty((len(index), len(clock)))
    for number, component in enumerate(kind.components):
        rng = np.random.default_rng([seed, _LIFE, KINDS.index(kind), number, 1])
        lost = now_and_then(rng, len(clock), 1 / 900, 2)  # a sample or two that never arrived
        restarts = now_and_then(rng, len(clock), 0.6 / len(clock), 1)
        lost |= restarts | np.roll(restarts, 1)  # a restarted agent is away for a while, and its counters begin anew
        for name, metric in kind.metrics.items():
            row = np.clip(lives[component][name], metric.lower, metric.upper)
            if metric.counter:
                row = _count(row, restarts, rng)
            row = np.round(row, kind.decimals[name])
            row[lost] = np.nan
            values[index.rows[SeriesKey(component, name)]] = row
    raw = Frame.of(index, clock.window, values)
    counters = np.array([kind.metrics[key.metric].counter for key in index])
    return ParkType(
        name=kind.name,
        metrics=kind.metrics,
        template=Template(thresholds=kind.thresholds, unknown_alerts=True),
        raw=raw,
        frame=to_rate(raw, counters),
    )


def _count(rate: Floats, restarts: Bools, rng: Generator) -> Floats:
    """A rate per second as the counter an agent shows at the end of each bucket; whole numbers, NaN where nothing is heard."""
    counted = np.cumsum(np.nan_to_num(rate) * SPAN) + rng.uniform(1e6, 1e9)
    for first in np.flatnonzero(restarts):
        counted[first:] -= counted[first] - rate[first] * SPAN * rng.uniform(0, 1)
    return np.where(np.isnan(rate), np.nan, np.floor(np.maximum(counted, 0)))
