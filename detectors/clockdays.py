"""Days as they are compared: each bucket in its half-hour of the local day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.model import Ints
from tocsin.timegrid import DAY, SLOT, Calendar


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A local day cut into buckets of `span` seconds. Where the clock changes some half-hours come twice, or not at all."""

    calendar: Calendar
    span: int

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

    def slots(self, starts: Ints) -> Ints:
        """The half-hour of the local day each bucket begins in."""
        return self.local(starts) % DAY // SLOT
