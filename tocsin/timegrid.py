"""The only calendar arithmetic: local half-hours of the day, kinds of day, DST.

Instants are epoch seconds, UTC. Seasons are local: a day in spring has 23 hours and one in autumn 25, and the
half-hour that happens twice is the same half-hour twice.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from tocsin.model import Ints

DAY = 86_400
SLOT = 1_800
SLOTS_PER_DAY = DAY // SLOT


class DayKind(IntEnum):
    """What sort of day it is for the people who cause the load."""

    WORKING = 0
    SATURDAY = 1
    SUNDAY = 2
    HOLIDAY = 3
    BUSINESS = 4


class Calendar:
    """The local time, public holidays and special business days of a component type.

    `country` is an ISO code, with a subdivision after a hyphen where one is wanted (`FR`, `FR-57`, `DE-BY`); empty for
    none. `business` names recurring special days: `month-end` and `month-start` (last and first working day of the
    month), a day of the month (`15`), or a date (`2026-12-24`). Unknown names are a ValueError.
    """

    def __init__(self, timezone: str = "UTC", country: str = "", business: tuple[str, ...] = ()) -> None:
        self.timezone, self.country, self.business = timezone, country, business
        try:
            self._zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no time zone {timezone!r}: use a name such as Europe/Paris") from error
        self._dates = frozenset(date.fromisoformat(name) for name in business if _is_date(name))
        self._days_of_month = frozenset(int(name) for name in business if name.isdigit() and 1 <= int(name) <= 31)
        for name in business:
            if not (_is_date(name) or (name.isdigit() and 1 <= int(name) <= 31) or name in ("month-end", "month-start")):
                raise ValueError(f"no business day {name!r}: use month-end, month-start, a day of the month or a date")
        self._kind_of_date = lru_cache(maxsize=4096)(self._kind)
        self._offsets_of_day = lru_cache(maxsize=4096)(self._offsets)
        _ = self._holidays

    def __repr__(self) -> str:
        return f"Calendar({self.timezone!r}, {self.country!r}, {self.business!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calendar) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self) -> tuple[type[Calendar], tuple[str, str, tuple[str, ...]]]:
        return Calendar, (self.timezone, self.country, self.business)

    def local(self, instant: float) -> datetime:
        """The instant as people there would say it."""
        return datetime.fromtimestamp(instant, self._zone)

    def local_seconds(self, instants: Ints) -> Ints:
        """Each instant as seconds of the local clock since 1970-01-01T00:00 local, same shape."""
        instants = np.asarray(instants, np.int64)
        days, ends = _runs(instants.ravel() // DAY)
        offsets = [self._offsets_of_day(day) for day in days.tolist()]
        local = instants.ravel() + np.repeat(np.array([before for before, _, _ in offsets], np.int64), np.diff(ends, prepend=0))
        for run, (before, after, change) in enumerate(offsets):
            if before != after:
                inside = slice(ends[run - 1] if run else 0, ends[run])
                local[inside] += np.where(instants.ravel()[inside] >= change, after - before, 0)
        return local.reshape(instants.shape)

    def slots(self, instants: Ints) -> Ints:
        """Local half-hour of the day, 0..47, same shape."""
        return self.local_seconds(instants) % DAY // SLOT

    def days(self, instants: Ints) -> Ints:
        """Local day as days since 1970-01-01, same shape."""
        return self.local_seconds(instants) // DAY

    def kinds(self, instants: Ints) -> Ints:
        """The `DayKind` of each instant's local day, same shape."""
        days, ends = _runs(self.days(instants).ravel())
        kinds = np.array([self.kind_of_day(day) for day in days.tolist()], np.int64)
        return np.repeat(kinds, np.diff(ends, prepend=0)).reshape(np.shape(instants))

    def kind_of_day(self, day: int) -> DayKind:
        """The kind of a local day given as days since 1970-01-01."""
        return self._kind_of_date(date(1970, 1, 1) + timedelta(days=day))

    def _kind(self, day: date) -> DayKind:
        if day in self._dates or day.day in self._days_of_month:
            return DayKind.BUSINESS
        if self._is_holiday(day):
            return DayKind.HOLIDAY
        if day.weekday() == 5:
            return DayKind.SATURDAY
        if day.weekday() == 6:
            return DayKind.SUNDAY
        if "month-end" in self.business and self._working_days_left(day, +1) == 0:
            return DayKind.BUSINESS
        if "month-start" in self.business and self._working_days_left(day, -1) == 0:
            return DayKind.BUSINESS
        return DayKind.WORKING

    def _working_days_left(self, day: date, step: int) -> int:
        count, other = 0, day + timedelta(days=step)
        while other.month == day.month:
            count += other.weekday() < 5 and not self._is_holiday(other)
            other += timedelta(days=step)
        return count

    def _is_holiday(self, day: date) -> bool:
        return self._holidays is not None and day in self._holidays

    @cached_property
    def _holidays(self) -> Container[date] | None:
        if not self.country:
            return None
        import holidays  # noqa: PLC0415  (60 ms, and most component types that share a process share a calendar)

        country, _, subdivision = self.country.partition("-")
        try:
            found: Container[date] = holidays.country_holidays(country, subdiv=subdivision or None)
        except NotImplementedError as error:
            raise ValueError(f"no public holidays known for {self.country!r}: use an ISO code such as FR or FR-57") from error
        return found

    def _offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, UTC).astimezone(self._zone).utcoffset()
        return round(offset.total_seconds()) if offset is not None else 0

    def _offsets(self, day: int) -> tuple[int, int, int]:
        """Offset from UTC at the start and at the end of a whole UTC day, and the first instant of the latter."""
        low, high = day * DAY, day * DAY + DAY - 1
        before, after = self._offset(low), self._offset(high)
        while before != after and high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._offset(middle) == before else (low, middle)
        return before, after, high


def _runs(values: Ints) -> tuple[Ints, Ints]:
    """Equal values that follow one another: the value of each run, and where it ends. Instants mostly come in order."""
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, len(values))[: len(values)]
    return values[ends - 1], ends


def _is_date(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True
