"""The time at which a log line says it was written, in the spellings of common loggers → epoch seconds.

    2026-01-12T10:21:03.123+01:00 …          2026-01-12 10:21:03,123 …        1768209663.123 …
    <11>Jan 12 10:21:03 host app: …          12/01/2026 10:21:03 …            {"@timestamp":"2026-01-12T10:21:03Z", …
    10.0.0.1 - - [12/Jan/2026:10:21:03 +0100] …        [Mon Jan 12 10:21:03.123456 2026] …

A time without zone is local time of the component type. A syslog time has no year: it is the latest that is not after the file's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: place + 1 for place, name in enumerate(_NAMES)}
_CLOCK = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?"
_ZONE = r"\s?(?P<z>Z|[+-]\d\d:?\d\d)?"
_WORD = r"(?P<b>[A-Za-z]{3})"
_SPELLINGS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\W{{0,3}}(?P<Y>\d{{4}})[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)[T ]{_CLOCK}{_ZONE}",
        rf"(?:<\d{{1,3}}>)?{_WORD} {{1,2}}(?P<d>\d{{1,2}}) {_CLOCK}",
        rf"[^\[]{{0,300}}\[(?P<d>\d\d)/{_WORD}/(?P<Y>\d{{4}}):{_CLOCK} (?P<z>[+-]\d{{4}})\]",
        rf"\[[A-Za-z]{{3}} {_WORD} (?P<d>\d\d) {_CLOCK} (?P<Y>\d{{4}})\]",
        rf"\W{{0,3}}(?P<d>\d\d)[-/.](?P<m>\d\d)[-/.](?P<Y>\d{{4}})[T ,]{{1,2}}{_CLOCK}{_ZONE}",
        rf"[^@t]{{0,300}}\"(?:@timestamp|timestamp|time|ts)\"\s?:\s?\"(?P<Y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d)[T ]{_CLOCK}{_ZONE}",
    )
)
_EPOCH = re.compile(r"\W{0,3}(\d{10})(?:[.,](\d{1,9})|(\d{3})(?:\d{3}){0,2})?(?!\d)")
LOOK = 400
"""A line tells its time in its first characters."""


class Clock:
    """Reads the times of one file; remembers which spelling it uses."""

    def __init__(self, zone: tzinfo, newest: float) -> None:
        self._zone, self._newest = zone, newest
        self._usual = 0

    def read(self, line: str) -> float | None:
        """When the line was written, None when it does not say."""
        head = line[:LOOK]
        order = (self._usual, *(place for place in range(len(_SPELLINGS)) if place != self._usual))
        for place in order:
            if found := _SPELLINGS[place].match(head):
                if (at := self._at(found)) is not None:
                    self._usual = place
                return at
        if found := _EPOCH.match(head):
            return float(found[1]) + float(f"0.{found[2] or found[3] or 0}")
        return None

    def _at(self, found: re.Match[str]) -> float | None:
        parts = found.groupdict()
        word = parts.get("b")
        month = _MONTHS.get(word.lower()) if word else int(parts["m"])
        year = parts.get("Y")
        try:
            at = datetime(
                int(year) if year else datetime.fromtimestamp(self._newest, self._zone).year,
                month or 0,
                int(parts["d"]),
                int(parts["H"]),
                int(parts["M"]),
                min(59, int(parts["S"])),
                int((parts["f"] or "0")[:6].ljust(6, "0")),
                tzinfo=_offset(parts.get("z")) or self._zone,
            )
            if not year and at.timestamp() > self._newest + 86400:
                at = at.replace(year=at.year - 1)
            return at.astimezone(UTC).timestamp()
        except (ValueError, OverflowError):  # no such day, or one that UTC's calendar does not reach
            return None


def _offset(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
