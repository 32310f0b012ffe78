"""What people wrote down of the past: a CSV file of known incidents.

    component,start,end,kind
    web-1,2026-05-27T09:00:00+02:00,2026-05-27T11:30:00+02:00,pool exhausted
    web-2,1779868800,1779872400,

Times are ISO 8601 (in the time zone given where they name none) or seconds since the epoch; `kind` and further columns
are optional.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tocsin.errors import ConfigError, did_you_mean
from tocsin.evaluation import Label

NEEDED = ("component", "start", "end")
MAX_TOLD = 20


def read_labels(path: Path, *, timezone: str = "UTC", known: Collection[str] = ()) -> tuple[Label, ...]:
    """The labels of a file. With `known` components, a label of another one is a mistake.

    Raises `ConfigError` with every mistake as `file:line: sentence`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: byte {error.start} cannot be read") from error
    labels, problems = parse_labels(text, timezone=timezone, known=known)
    if problems:
        told = [f"{path}:{problem}" for problem in problems[:MAX_TOLD]]
        raise ConfigError(*told, *([f"{path}: {len(problems) - MAX_TOLD} more mistakes"] if len(problems) > MAX_TOLD else []))
    return labels


def parse_labels(text: str, *, timezone: str = "UTC", known: Collection[str] = ()) -> tuple[tuple[Label, ...], list[str]]:
    """The labels in a text, and its mistakes as `line: sentence`."""
    rows = csv.reader(text.splitlines())
    labels: list[Label] = []
    problems: list[str] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        if missing := [name for name in NEEDED if name not in header]:
            return (), [f"1: no column {', '.join(missing)}: the first line must be component,start,end"]
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
                try:
                    labels.append(_label(cells, ZoneInfo(timezone), known))
                except ValueError as error:
                    problems.append(f"{rows.line_num}: {error}")
    except csv.Error as error:
        problems.append(f"{rows.line_num}: {error}")
    return tuple(labels), problems


def _label(cells: dict[str, str], zone: ZoneInfo, known: Collection[str]) -> Label:
    for name in NEEDED:
        if not cells.get(name):
            raise ValueError(f"{name} is empty")
    component = cells["component"]
    if known and component not in known:
        raise ValueError(f'no component "{component}"{did_you_mean(component, known)}')
    start, end = (_instant(cells[name], name, zone) for name in ("start", "end"))
    if end <= start:
        raise ValueError(f"end {cells['end']} is not after start {cells['start']}")
    return Label(component=component, start=start, end=end, kind=cells.get("kind", ""))


def _instant(text: str, name: str, zone: ZoneInfo) -> int:
    try:
        seconds = float(text)
    except ValueError:
        return _iso(text, name, zone)
    if not 0 <= seconds < 1e11:
        raise ValueError(f"{name} {text} is no time: seconds since the epoch were expected")
    return int(seconds)


def _iso(text: str, name: str, zone: ZoneInfo) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no time: write 2026-05-27T09:00:00+02:00 or seconds since the epoch") from None
    return int((when if when.tzinfo else when.replace(tzinfo=zone)).timestamp())
