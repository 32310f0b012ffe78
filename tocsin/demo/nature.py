"""What the weather is made of: local time, working rhythms, noise that remembers and has heavy tails.

Nothing here knows how anything is detected. All series are (n_buckets,) and drawn from the generator given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from tocsin.model import Bools, Floats, Ints, Window
from tocsin.timegrid import DAY, Calendar, DayKind


@dataclass(frozen=True)
class Clock:
    """The buckets of the park as people there would say them; `monday` is its first local day, since 1970-01-01."""

    calendar: Calendar
    window: Window
    monday: int

    def __len__(self) -> int:
        return len(self.window)

    @cached_property
    def hour(self) -> Floats:
        """Local hour of the day, 10.5 is half past ten."""
        return (self.calendar.local_seconds(self.window.starts) % DAY) / 3600.0

    @cached_property
    def day(self) -> Ints:
        """Local day, 0 is the first Monday."""
        return self.calendar.days(self.window.starts) - self.monday

    @cached_property
    def kind(self) -> Ints:
        """`DayKind` of each bucket's local day."""
        return self.calendar.kinds(self.window.starts)

    def at(self, day: int, hour: float) -> int:
        """The column of the first bucket of a day at or after an hour of its clock."""
        return int(np.flatnonzero((self.day == day) & (self.hour >= hour))[0])

    def buckets(self, hours: float) -> int:
        """How many buckets a time is, one at least."""
        return max(1, round(hours * 3600 / self.window.span))


def wander(rng: Generator, n: int, memory: float) -> Floats:
    """Gaussian noise of unit variance whose neighbours correlate by `memory`: an AR(1) process, already settled.

    x[t] = memory * x[t-1] + e[t], summed by doubling: after step k every value holds its last 2^k innovations.
    """
    settle = min(8 * n, int(12 / (1 - memory)))
    noise = rng.standard_normal(n + settle) * np.sqrt(1 - memory**2)
    reach, weight = 1, memory
    while reach < len(noise) and weight > 1e-9:
        noise[reach:] += weight * noise[:-reach]
        reach, weight = 2 * reach, weight * weight
    settled: Floats = noise[settle:]
    return settled


def heavy(rng: Generator, n: int) -> Floats:
    """Noise of unit variance with tails that a normal distribution does not have: Student, 4 degrees of freedom."""
    noise: Floats = rng.standard_t(4, n) / np.sqrt(2)
    return noise


def _bump(hour: Floats, centre: float, width: float) -> Floats:
    distance = (hour - centre + 12) % 24 - 12
    bump: Floats = np.exp(-0.5 * np.square(distance / width))
    return bump


def office_hours(clock: Clock, rng: Generator) -> Floats:
    """Activity of people at work, about 1 at the busiest hour of a working day; week-ends and holidays are quiet."""
    hour = clock.hour - rng.uniform(-0.7, 0.7)
    day = _bump(hour, 10.4, 1.7) + rng.uniform(0.75, 1.0) * _bump(hour, 15.2, 1.9)
    quiet = rng.uniform(0.12, 0.3)
    of_kind = np.array([1.0, quiet * 1.4, quiet, quiet, 1.0])
    return _live(clock, rng, 0.05 + 0.95 * day / day.max(), of_kind)


def public_hours(clock: Clock, rng: Generator) -> Floats:
    """Activity of people at home: evenings are busiest, Saturdays too; a public holiday is like a Sunday."""
    hour = clock.hour - rng.uniform(-0.7, 0.7)
    day = 0.55 * _bump(hour, 11.0, 2.3) + 0.5 * _bump(hour, 15.5, 2.8) + rng.uniform(0.7, 1.0) * _bump(hour, 20.6, 1.9)
    sunday = rng.uniform(0.7, 0.95)
    of_kind = np.array([1.0, rng.uniform(1.0, 1.2), sunday, sunday, 1.0])
    return _live(clock, rng, 0.06 + 0.94 * day / day.max(), of_kind)


def _live(clock: Clock, rng: Generator, shape: Floats, of_kind: Floats) -> Floats:
    """A day's shape on real days: kinds of day, a level that drifts over days, a little growth, noise."""
    n = len(clock)
    growth = np.linspace(0, rng.uniform(-0.03, 0.06), n)
    return shape * of_kind[clock.kind] * np.exp(growth + 0.06 * wander(rng, n, 0.998) + 0.05 * wander(rng, n, 0.9))


def month_end(clock: Clock, extra: float) -> Floats:
    """A factor: 1 on ordinary days, up to 1 + `extra` during the hours of the last working day of a month."""
    closing = _bump(clock.hour, 14.5, 3.5)
    factor: Floats = 1 + extra * closing * (clock.kind == DayKind.BUSINESS)
    return factor


def backup(clock: Clock, rng: Generator) -> Floats:
    """1 while the nightly backup runs, 0 otherwise: every night at the component's own hour, give or take a bucket."""
    hour, length = rng.uniform(1.0, 3.8), rng.uniform(0.5, 1.1)
    running = np.zeros(len(clock))
    for day in range(int(clock.day[-1]) + 1):
        first = clock.at(day, hour) + int(rng.integers(-1, 2))
        running[first : first + clock.buckets(length) + int(rng.integers(-1, 2))] = 1
    return running


def batches(clock: Clock, rng: Generator, hours: tuple[float, ...]) -> Floats:
    """1 while a batch of working days arrives, at these local hours, a few minutes early or late."""
    arriving = np.zeros(len(clock))
    for day in range(int(clock.day[-1]) + 1):
        for hour in hours:
            first = clock.at(day, hour) + int(rng.integers(-1, 2))
            if clock.kind[first] in (DayKind.WORKING, DayKind.BUSINESS):
                arriving[first : first + clock.buckets(0.5) + int(rng.integers(-1, 2))] = rng.uniform(0.85, 1.15)
    return arriving


def now_and_then(rng: Generator, n: int, probability: float, longest: int) -> Bools:
    """True for a few buckets (1..longest), beginning anywhere with this probability per bucket."""
    mask = np.zeros(n, bool)
    for first in np.flatnonzero(rng.random(n) < probability):
        mask[first : first + int(rng.integers(1, longest + 1))] = True
    return mask
