"""Timestamps: epoch seconds, milliseconds, microseconds, nanoseconds or ISO 8601 → microseconds since the epoch.

The unit is detected once per file, by magnitude, and then checked in every row: a row of another unit is no time.

A local time without offset is read in the component type's zone. In the hour that happens twice in autumn it means the
first one (`fold=0`, as in PEP 495), so the samples of the second hour replace those of the first; in the hour that is skipped
in spring it is read with the offset before the change. Files that must be right in those hours need an offset or epochs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from tocsin.model import Floats, Ints
from tocsin.timegrid import DAY

MICRO = 1_000_000
BAD = int(np.iinfo(np.int64).min)
"""In an array of times: this cell is no time."""

UNITS = {
    "s": "epoch seconds",
    "ms": "epoch milliseconds",
    "us": "epoch microseconds",
    "ns": "epoch nanoseconds",
    "iso": "ISO 8601",
}

# A number below 1e11 is seconds until the year 5138; the same number of milliseconds would be before March 1973.
_RANGES = {"s": (-1e11, 1e11), "ms": (1e11, 1e14), "us": (1e14, 1e17), "ns": (1e17, 9.2e18)}
_PER_MICRO = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?)? ?(Z|z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_EPOCH = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_EPOCH_DATE = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def unit_of(number: float) -> str:
    """The unit in which this number is a plausible time."""
    size = abs(number)
    return next((unit for unit in ("s", "ms", "us") if size < _RANGES[unit][1]), "ns")


def detect(cells: Sequence[str]) -> tuple[str, bool] | None:
    """(unit, whether ISO times come without offset) of a file, from some of its timestamp cells; None when none is a time.

    What most cells say counts, so that one zero or one broken cell does not decide for a file.
    """
    epochs = [float(text.replace(",", ".")) for text in (cell.strip() for cell in cells) if _EPOCH.fullmatch(text)]
    dates = [match for match in (_ISO.fullmatch(cell.strip()) for cell in cells) if match]
    if not epochs and not dates:
        return None
    if len(epochs) >= len(dates):
        return unit_of(float(np.median(np.abs(epochs)))), False
    naive = sum(match[6] is None for match in dates)
    return "iso", 2 * naive > len(dates)


def from_numbers(numbers: Floats | Ints, unit: str) -> Ints:
    """Numbers in `unit` → microseconds, same shape; `BAD` where the number is not of that unit (or is NaN)."""
    low, high = _RANGES[unit]
    with np.errstate(invalid="ignore"):
        good = (numbers > low) & (numbers < high) if unit == "s" else (numbers >= low) & (numbers < high)
    if numbers.dtype.kind == "i" and unit in ("us", "ns"):
        micros = numbers if unit == "us" else numbers // 1000
    else:
        micros = np.rint(np.where(good, numbers, 0.0) * _PER_MICRO[unit])
    return np.where(good, micros, BAD).astype(np.int64)


def from_local(micros: Ints, zone: ZoneInfo) -> Ints:
    """Microseconds of the local clock → microseconds UTC, same shape; `BAD` stays `BAD`."""
    good = micros != BAD
    seconds = np.where(good, micros, 0) // MICRO
    days, inverse = np.unique(seconds // DAY, return_inverse=True)
    offsets = np.array([_offset_of_day(int(day), zone) for day in days], dtype=np.float64)[inverse].reshape(micros.shape)
    for i in np.flatnonzero(np.isnan(offsets)):  # at most the rows of two days a year
        offsets.flat[i] = _offset(int(seconds.flat[i]), zone)
    return np.where(good, micros - (offsets * MICRO).astype(np.int64), BAD)


def from_cell(cell: str, unit: str, zone: ZoneInfo) -> int:
    """One cell → microseconds, or `BAD`: the definition for whatever the fast way could not read."""
    text = cell.strip()
    if unit != "iso":
        if not _EPOCH.fullmatch(text):
            return BAD
        if unit == "ns" and text.lstrip("+-").isdigit() and len(text) < 20:
            return int(from_numbers(np.array([int(text)]), unit)[0])
        return int(from_numbers(np.array([float(text.replace(",", "."))]), unit)[0])
    match = _ISO.fullmatch(text)
    if match is None:
        return BAD
    day, hour, minute, second, fraction, offset = match.groups()
    try:
        when = datetime.combine(date.fromisoformat(day), datetime.min.time()).replace(
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            microsecond=int((fraction or "0")[:6].ljust(6, "0")),
        )
    except ValueError:
        return BAD
    micros = (when - _EPOCH_DATE) // timedelta(microseconds=1)
    if offset is None:
        return int(from_local(np.array([micros]), zone)[0])
    return micros - _seconds_of(offset) * MICRO


def _seconds_of(offset: str) -> int:
    if offset in ("Z", "z"):
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _offset(local: int, zone: ZoneInfo) -> float:
    """Offset from UTC that the local clock has when it shows `local` (seconds)."""
    try:
        offset = (_EPOCH_DATE + timedelta(seconds=local)).replace(tzinfo=zone).utcoffset()
    except OverflowError:  # the first or the last day a date can have
        offset = datetime.fromtimestamp(0, UTC).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _offset_of_day(day: int, zone: ZoneInfo) -> float:
    """The offset during a whole local day; NaN when it changes in that day."""
    first, last = _offset(day * DAY, zone), _offset(day * DAY + DAY - 1, zone)
    return first if first == last else float("nan")
