"""Header → what each column is. Pure: no file is touched here.

timestamp,cpu,disk            wide: one column a metric, the component comes from the path or a column
component,metric,timestamp,value      long: one row a sample
"""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from collectors.files.cells import is_name
from collectors.files.settings import LABEL, ColumnOf, FilesSettings

TIMESTAMP_NAMES = ("timestamp", "@timestamp", "time", "datetime", "date", "ts", "_time")
"""What a timestamp column may be called when the settings do not name it, the best first; case does not matter."""

DELIMITERS = ",;\t|"


class Unusable(Exception):
    """A file's content cannot be used as it is; the message says why in one sentence, without the file's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Positions of the columns. `component` is None when the path names it; `metric` and `value` are None when wide.

    `columns` are the metrics of a wide file: (position, the metric's name).
    """

    names: tuple[str, ...]
    time: int
    component: int | None
    metric: int | None
    value: int | None
    columns: tuple[tuple[int, str], ...]

    @property
    def long(self) -> bool:
        """Whether each row is one sample."""
        return self.metric is not None

    @property
    def values(self) -> tuple[int, ...]:
        """The columns that hold numbers."""
        return (self.value,) if self.value is not None else tuple(position for position, _ in self.columns)


def delimiter_of(header: str, settings: FilesSettings) -> str:
    """The delimiter that finds the timestamp column, and then the most columns."""
    if settings.delimiter != "auto":
        return settings.delimiter
    cells = {delimiter: split(header, delimiter) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: (_time_in(cells[delimiter], settings) is not None, len(cells[delimiter])))


def split(line: str, delimiter: str) -> list[str]:
    """The cells of one line."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise Unusable(f"the header cannot be split: {error}") from error


def lay_out(names: Sequence[str], settings: FilesSettings) -> Layout:
    """What each column of a file is. Raises `Unusable` when it is neither wide nor long as the settings want it."""
    time = _time_in(names, settings)
    if time is None:
        raise Unusable(_no_time(names, settings))
    twice = [name for name, count in Counter(name for name in names if name).items() if count > 1]
    if twice:
        raise Unusable(f"the column {twice[0]!r} is there twice")
    long = settings.layout == "long" or (settings.layout == "auto" and settings.metric in names and settings.value in names)
    component = _component_in(names, settings)
    if long:
        return Layout(
            names=tuple(names),
            time=time,
            component=component,
            metric=_position(names, settings.metric, "metric"),
            value=_position(names, settings.value, "value"),
            columns=(),
        )
    columns = tuple(
        (position, metric)
        for position, name in enumerate(names)
        if position not in (time, component) and (metric := metric_of(name, settings)) is not None and is_name(metric)
    )
    return Layout(names=tuple(names), time=time, component=component, metric=None, value=None, columns=columns)


def metric_of(name: str, settings: FilesSettings) -> str | None:
    """The metric that a column (or a metric cell) of this name holds; None when it is not wanted."""
    if name.casefold() == LABEL or name in settings.exclude:
        return None
    if settings.fields:
        return next((metric for metric, field in settings.fields.items() if field == name), None)
    return name


def missing_fields(layout: Layout, settings: FilesSettings) -> list[str]:
    """Sentences about wanted metrics that a wide file has no column for."""
    there = {metric for _, metric in layout.columns}
    return (
        []
        if layout.long
        else [_no_column(layout.names, field) for metric, field in settings.fields.items() if metric not in there]
    )


def _time_in(names: Sequence[str], settings: FilesSettings) -> int | None:
    if settings.timestamp is not None:
        return names.index(settings.timestamp) if settings.timestamp in names else None
    folded = [name.casefold() for name in names]
    return next((folded.index(name) for name in TIMESTAMP_NAMES if name in folded), None)


def _component_in(names: Sequence[str], settings: FilesSettings) -> int | None:
    if isinstance(settings.component, ColumnOf):
        return _position(names, settings.component.column, "component")
    return names.index("component") if settings.component is None and "component" in names else None


def _position(names: Sequence[str], name: str, role: str) -> int:
    if name not in names:
        raise Unusable(f"{role}: {_no_column(names, name)}")
    return names.index(name)


def _no_column(names: Sequence[str], name: str) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"there is no column {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _no_time(names: Sequence[str], settings: FilesSettings) -> str:
    if settings.timestamp is not None:
        return _no_column(names, settings.timestamp)
    shown = ", ".join(repr(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"no column is a timestamp (looked for {', '.join(TIMESTAMP_NAMES[:4])} among {shown})"
