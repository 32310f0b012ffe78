"""Days as they are compared: each bucket at its local time of day, of which some are remembered."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np

from tocsin.model import Ints
from tocsin.timegrid import DAY, Calendar


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A local day cut into buckets of `span` seconds, of which one of each step is to be remembered. A step is the smallest
    number of buckets that is `least` seconds at least and tiles the day, if buckets tile the day at all."""

    calendar: Calendar
    span: int
    least: int

    @property
    def each(self) -> int:
        """Buckets in a step."""
        least = -(-self.least // self.span)
        return least if DAY % self.span else next(each for each in count(least) if not DAY % (each * self.span))

    @property
    def step(self) -> int:
        return self.each * self.span

    @property
    def slots(self) -> int:
        """Steps in a day, the last of which may be shorter."""
        return -(-DAY // self.step)

    @property
    def buckets(self) -> int:
        """Buckets in a day."""
        return -(-DAY // self.span)

    def local(self, starts: Ints) -> Ints:
        """Local seconds of evenly spaced instants: the same as the calendar says, and quicker while no clock changes."""
        some = np.append(starts[:: self.buckets], starts[-1:])
        offsets = self.calendar.local_seconds(some) - some
        if not len(some) or (offsets == offsets[0]).all():
            return starts + (offsets[0] if len(some) else 0)
        return self.calendar.local_seconds(starts)

    def slot(self, starts: Ints) -> Ints:
        """The step of the local day each bucket lies in."""
        return self.local(starts) % DAY // self.step


@dataclass(frozen=True, kw_only=True)
class ClockDays:
    """Where the buckets of some days lie. Each of the days is 24 hours long; what is left of it after the clock changed, when
    some hours of the local day come a second time or not at all, is a round of its own. So is what is left after midnight where
    buckets do not tile the day."""

    each: int
    """Buckets in a step."""
    place: Ints
    """(n_buckets,): each bucket's slot of the local day, plus `n_slots` for each bucket of its step before it."""
    round: Ints
    """(n_buckets,): the round each belongs to."""
    day: Ints
    """(n_rounds,): the day each round belongs to."""
    remembered: Ints
    """(n_days, n_slots): the bucket that is remembered, -1 where there is none."""

    @classmethod
    def of(cls, clock: Clock, start: int, days: int) -> ClockDays:
        """So many days from an instant on."""
        number = np.arange(days * clock.buckets)
        starts, day = start + clock.span * number, number // clock.buckets
        local = clock.local(starts)
        anew = (np.diff(local - starts, prepend=local[:1] - starts[:1]) != 0) | (number % clock.buckets == 0)
        if DAY % clock.span:
            anew |= np.diff(local // DAY, prepend=local[:1] // DAY) != 0
        slot, within = local % DAY // clock.step, local % clock.step // clock.span
        # Another one each day and each step: what happens at a fixed minute shall be remembered now and then, not never.
        to_remember = np.flatnonzero(within == (local // DAY + slot) % clock.each)
        remembered = np.full((days, clock.slots), -1)
        remembered[day[to_remember], slot[to_remember]] = to_remember
        return cls(
            each=clock.each, place=within * clock.slots + slot, round=np.cumsum(anew) - 1, day=day[anew], remembered=remembered
        )
