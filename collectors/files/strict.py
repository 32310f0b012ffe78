"""Files read strictly: every cell that a person must mend, with its place. Used before the first tick, never in the daemon."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from collectors.files.blocks import kind_of, opened, pieces, read_head
from collectors.files.catalogue import Found, list_files
from collectors.files.cells import Dialect, is_name
from collectors.files.layout import Layout, Unusable, delimiter_of, lay_out, metric_of, missing_fields, split
from collectors.files.limits import LIMITS
from collectors.files.packed import Unpacked
from collectors.files.parquet import flat_names, opened_parquet, read_group, sniff_times
from collectors.files.parsing import Rows, parse, sniff
from collectors.files.reading import UNREADABLE, Reader, label_of, reason_of
from collectors.files.settings import FilesSettings
from collectors.files.tally import Tally
from collectors.files.times import BAD, MICRO, UNITS, from_cell
from collectors.files.vocabulary import REFUSED, Vocabulary
from tocsin.errors import ConfigError
from tocsin.model import Bools, Floats, Ints
from tocsin.ports import Surroundings

LIMIT = 20
"""Problems told at once: a file that is wrong everywhere needs no more to be understood."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One whole wide file in row order: `timestamps` (n,) in seconds, `values` (n, m), NaN where there is none."""

    timestamps: Ints
    metrics: tuple[str, ...]
    values: Floats


def read_table(path: Path | str, timezone: str = "UTC") -> Table:
    """A wide file as it is, row by row; times without offset are read in `timezone`; a column `label` is not looked at.

    Raises `ConfigError` with `file:line: column: …` for the first cells that are no number or no time, and for a file that cannot
    be read or has no metric.
    """
    path = Path(path)
    settings = FilesSettings(path=str(path), layout="wide", component="{stem}")
    examination = _Examination(settings, ZoneInfo(timezone), str(path))
    parts: list[Rows] = []
    try:
        for rows in examination.rows(path):
            parts.append(rows)
            if len(examination.problems) >= LIMIT:
                break
    except (Unusable, *UNREADABLE) as error:
        raise ConfigError(*examination.problems, f"{path}: {reason_of(error)}") from error
    if examination.problems:
        raise ConfigError(*examination.problems[:LIMIT])
    layout = examination.layout
    if layout is None:
        raise ConfigError(f"{path}: is empty; a header with a timestamp and metrics was expected")
    if not layout.columns:
        raise ConfigError(f"{path}: has no metric; a column beside {layout.names[layout.time]!r} was expected")
    return Table(
        timestamps=np.concatenate([np.zeros(0, np.int64), *(part.times // MICRO for part in parts)]),
        metrics=tuple(metric for _, metric in layout.columns),
        values=np.concatenate([np.zeros((0, len(layout.columns))), *(part.values.T for part in parts)]),
    )


def check(settings: FilesSettings, surroundings: Surroundings) -> list[str]:
    """What a person should mend in the files that the settings mean now, one sentence each with its place, at most 20."""
    folder, problems = surroundings.folder, list[str]()
    found = list_files(settings, folder, Tally())
    if not found:
        return [f"no file matches {', '.join(settings.paths)} in {folder}"]
    for file in found:
        problems += _problems_of(file, settings, surroundings)
        if len(problems) >= LIMIT:
            break
    return problems[:LIMIT]


def _problems_of(file: Found, settings: FilesSettings, surroundings: Surroundings) -> list[str]:
    name = label_of(file, surroundings.folder)
    examination = _Examination(settings, ZoneInfo(surroundings.calendar.timezone), name)
    try:
        for _ in examination.rows(file.path):
            if len(examination.problems) >= LIMIT:
                break
    except (Unusable, *UNREADABLE) as error:
        return [*examination.problems, f"{name}: {reason_of(error)}"]
    layout = examination.layout
    if layout is None:
        return examination.problems
    missing = [f"{name}: {sentence}" for sentence in missing_fields(layout, settings)]
    component = examination.component_of(file)
    unnamed = layout.component is None and not is_name(component)
    return missing + [f"{name}: its name cannot be a component's"] * unnamed + examination.problems


class _Examination:
    """One file, read from its first to its last line; `problems` grows while it is read."""

    def __init__(self, settings: FilesSettings, zone: ZoneInfo, name: str) -> None:
        self._settings, self._zone, self._name = settings, zone, name
        self._reader = Reader(settings, zone, Vocabulary(2 * settings.max_series + 1000), Tally(), LIMITS)
        self.component_of: Callable[[Found], str] = self._reader.component_of
        self.problems: list[str] = []
        self.layout: Layout | None = None

    def rows(self, path: Path) -> Iterator[Rows]:
        """All rows in order. Raises what reading raises."""
        with opened(path) as (raw, _):
            kind = kind_of(path, raw.read(4))
            raw.seek(0)
            if kind != "parquet":
                handle = Unpacked(raw) if kind == "gzip" else raw
                head = read_head(handle, LIMITS, final=True)
                if head is None:
                    return
                delimiter = delimiter_of(head.line, self._settings)
                self.layout = layout = lay_out(split(head.line, delimiter), self._settings)
                line, dialect = head.lines + 1, None
                for piece in pieces(handle, head.body, None, len(layout.names), LIMITS, final=True):
                    if not piece.data:
                        self._tell(line, "", f"the line is longer than {LIMITS.line} bytes")
                    elif piece.data.strip():
                        dialect = dialect or sniff(piece.data, layout, delimiter, self._settings.decimal, self._settings.missing)
                        yield from self._checked(piece.data, layout, dialect, line)
                    line += piece.lines
                return
        with opened_parquet(path) as file:
            yield from self._parquet_rows(file)

    def _checked(self, data: bytes, layout: Layout, dialect: Dialect | None, line: int) -> Iterator[Rows]:
        if dialect is None:
            self._tell(line, layout.names[layout.time], "no row has a time: expected epoch seconds, milliseconds or ISO 8601")
            return
        rows = parse(data, layout, dialect, layout.values, self._reader.naming, self._zone)
        if rows.lost or rows.bad is not None or _unusable(rows).any():
            before = len(self.problems)
            self._locate(data, layout, dialect, line)
            if len(self.problems) == before:
                self._tell(line, "", "in this line or one of the next there is something that cannot be read")
        yield rows

    def _locate(self, data: bytes, layout: Layout, dialect: Dialect, first: int) -> None:
        """The same rows once more, cell by cell, to say where the bad ones are."""
        reader = csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""), delimiter=dialect.delimiter)
        start = 0
        try:
            for row in reader:
                line, start = first + start, reader.line_num
                if row and not self._locate_in(row, layout, dialect, line, first + start - 1):
                    return
        except csv.Error as error:
            self._tell(first + start, "", str(error))

    def _locate_in(self, row: list[str], layout: Layout, dialect: Dialect, line: int, last: int) -> bool:
        if len(row) != len(layout.names):
            quote = f"; a quote in it is closed only in line {last}, if at all" if last > line else ""
            self._tell(line, "", f"there are {len(row)} cells where the header has {len(layout.names)}{quote}")
            return len(self.problems) < LIMIT
        if from_cell(row[layout.time], dialect.unit, self._zone) == BAD:
            wanted = f"{UNITS[dialect.unit]}, as in the rest of the file"
            self._tell(line, layout.names[layout.time], f"{quoted(row[layout.time])} is no time: expected {wanted}")
        for place, what in ((layout.component, "component"), (layout.metric, "metric")):
            if (
                place is not None
                and not is_name(row[place])
                and not (what == "metric" and metric_of(row[place], self._settings) is None)
            ):
                self._tell(line, layout.names[place], f"{quoted(row[place])} cannot be the name of a {what}")
        for place in layout.values:
            if not dialect.says_number(row[place]):
                self._tell(line, layout.names[place], f"{quoted(row[place])} is not a number")
        return len(self.problems) < LIMIT

    def _parquet_rows(self, file: object) -> Iterator[Rows]:
        self.layout = layout = lay_out(flat_names(file), self._settings)
        dialect = sniff_times(file, layout, self._settings.missing)
        done = 0
        for group in range(file.num_row_groups if dialect else 0):  # type: ignore[attr-defined]
            assert dialect is not None
            for rows in read_group(file, group, layout, dialect, layout.values, self._reader.naming, self._zone):
                for row in np.flatnonzero(_unusable(rows))[:LIMIT]:
                    self._tell(f"row {done + row + 1}", "", "it has no time, component or metric")
                for column, row in np.argwhere(rows.bad)[:LIMIT] if rows.bad is not None else ():
                    self._tell(f"row {done + row + 1}", layout.names[layout.values[column]], "it is not a number")
                done += len(rows.times)
                yield rows

    def _tell(self, line: int | str, column: str, what: str) -> None:
        place = f"{self._name}:{line}: {column}: " if column else f"{self._name}:{line}: "
        self.problems.append(place + what)


def _unusable(rows: Rows) -> Bools:
    bad: Bools = rows.times == BAD
    for numbers in (rows.components, rows.metrics):
        if numbers is not None:
            bad = bad | (numbers == REFUSED)
    return bad


def quoted(cell: str) -> str:
    """A cell as it may be shown: printable, in quotes, not longer than 40 characters."""
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cell)
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'
