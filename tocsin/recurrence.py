"""Periods that come back, in local time: "every Tuesday from 22:00 to 02:00", over midnight and over a change of the clocks.

What recurs is written as RFC 5545 does (an RRULE). A period begins and ends at times of the local clock: one that ends at
06:00 ends at 06:00, however long that night was. A time that happens twice in autumn belongs to the period both times; one
that does not happen in spring is the moment at which the clocks jump over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

LONGEST = timedelta(days=31)
"""A longer period is no recurring one."""
FIRST = date(2024, 1, 1)
"""From here on a rule is followed that names no first day: a Monday, so that weeks count as people count them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A time `[start, end)` in epoch seconds, with the name of what recurs."""

    start: int
    end: int
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Recurring:
    """Periods from `at` to `until` (the next day's, when it is not later) or of a length `lasts`, on the days of `rule`.

    Without a rule it is every day. ValueError, in a sentence, for a rule that is none.
    """

    timezone: str
    at: time
    until: time | None = None
    lasts: int | None = None
    rule: str = "FREQ=DAILY"
    first: date = FIRST
    name: str = ""
    _rule: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.until is None) is (self.lasts is None):
            raise ValueError("expected either until or lasts")
        if self.lasts is not None and not 0 < self.lasts <= LONGEST.total_seconds():
            raise ValueError("a period that comes back lasts more than nothing and at most 31 days")
        object.__setattr__(self, "_rule", parse_rule(self.rule, self.first, self.at))

    def spans(self, start: float, end: float) -> Sequence[Span]:
        """The periods that overlap `[start, end)`, in order."""
        zone = ZoneInfo(self.timezone)
        longest = LONGEST if self.lasts is not None else timedelta(days=2)
        earliest = datetime.fromtimestamp(start, zone).replace(tzinfo=None) - longest
        latest = datetime.fromtimestamp(end, zone).replace(tzinfo=None) + timedelta(hours=3)
        found = []
        for begins in self._rule.between(earliest, latest, inc=True):
            span = self._span(begins, zone)
            if span.start < end and span.end > start:
                found.append(span)
        return found

    def at_instant(self, instant: float) -> Span | None:
        """The period this moment lies in; the one that ends last when there are several."""
        spans = _spans_of_hour(self, int(instant // 3600))
        return max((one for one in spans if one.start <= instant < one.end), key=lambda one: one.end, default=None)

    def __hash__(self) -> int:
        return hash((self.timezone, self.at, self.until, self.lasts, self.rule, self.first, self.name))

    def _span(self, begins: datetime, zone: ZoneInfo) -> Span:
        start = instant_of(begins, zone)
        if self.lasts is not None:
            return Span(start=start, end=start + self.lasts, name=self.name)
        assert self.until is not None
        day = begins.date() if self.until > self.at else begins.date() + timedelta(days=1)
        return Span(start=start, end=max(start, instant_of(datetime.combine(day, self.until), zone, last=True)), name=self.name)


@lru_cache(maxsize=4096)
def _spans_of_hour(recurring: Recurring, hour: int) -> Sequence[Span]:
    # Asked at every tick, and a rule of three years ago is walked through each time.
    return recurring.spans(hour * 3600, hour * 3600 + 3600)


def parse_rule(text: str, first: date = FIRST, at: time = time(0)) -> Any:
    """An RRULE as dateutil's object on the local clock. ValueError with an example for anything else."""
    from dateutil.rrule import rrulestr  # noqa: PLC0415  (most configurations have no rule)

    plain = text.strip().removeprefix("RRULE:")
    example = "write FREQ=DAILY, FREQ=WEEKLY;BYDAY=SA,SU or FREQ=MONTHLY;BYDAY=2TU"
    if "\n" in plain or not plain.upper().startswith("FREQ=") or len(plain) > 200:
        raise ValueError(f"{text[:60]!r} is no rule of recurrence: {example}")
    if plain.upper().startswith(("FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=HOURLY")):
        raise ValueError("a rule of recurrence names days: use FREQ=DAILY or a longer one, and at: for the time of day")
    if "UNTIL=" in plain.upper() and plain.upper().partition("UNTIL=")[2].partition(";")[0].endswith("Z"):
        raise ValueError("UNTIL is in local time here: write it without the Z")
    try:
        return rrulestr(plain, dtstart=datetime.combine(first, at), cache=True)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{text[:60]!r} is no rule of recurrence ({error}): {example}") from error


def instant_of(local: datetime, zone: ZoneInfo, *, last: bool = False) -> int:
    """A time of the local clock as epoch seconds: the first such moment, or the `last` one where it happens twice.

    One that the clocks jump over is the moment of the jump.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, after = first.timestamp(), second.timestamp()
    if datetime.fromtimestamp(before, UTC).astimezone(zone).replace(tzinfo=None) != local.replace(fold=0):
        # In a gap fold 0 reads it with the offset before the jump and fold 1 with that after it: the jump is in between.
        return _jump(int(after), int(before), zone)
    return int(after if last else before)


def _jump(low: int, high: int, zone: ZoneInfo) -> int:
    """The moment in (low, high] at which the offset changes."""
    offset = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high
