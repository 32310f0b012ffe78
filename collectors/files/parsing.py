"""A piece of CSV text → rows of numbers.

The fast way lets Arrow convert whole columns and succeeds on clean data. Where a cell is not what its column should hold, or a
quote was never closed, the careful way reads the same piece as text and says which cells are bad. Both give the same values.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from collectors.files import arrow
from collectors.files.cells import Dialect
from collectors.files.layout import Layout
from collectors.files.times import BAD, detect, from_cell, from_local, from_numbers
from tocsin.model import Bools, Floats, Ints

_WORDS = pa.dictionary(pa.int32(), pa.string())
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
SAMPLE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """How words become numbers: `component` and `metric` map one distinct word to its number or to a negative one."""

    component: Callable[[str | None], int]
    metric: Callable[[str | None], int]


@dataclass(kw_only=True, slots=True)
class Rows:
    """Some rows of a file, in its order.

    `times` (n,) are microseconds, `BAD` where the cell is no time; `components` and `metrics` (n,) are numbers of the
    vocabulary, negative where refused or ignored, None where the path (or the column) names them. `values` (m, n) has one row
    per column asked for, NaN where there is none; `bad` (same shape) marks cells that are neither number nor empty, None when
    there are none. `lost` rows had more or fewer cells than the header.
    """

    times: Ints
    components: Ints | None
    metrics: Ints | None
    values: Floats
    bad: Bools | None = None
    lost: int = 0


def sniff(data: bytes, layout: Layout, delimiter: str, decimal: str, missing: tuple[str, ...]) -> Dialect | None:
    """The dialect of a file from its first rows; None while none of them has a time."""
    text = data[: 1 << 20].decode("utf-8", "replace")
    cells = []
    try:
        for row in csv.reader(text.splitlines()[:SAMPLE], delimiter=delimiter):
            if len(row) == len(layout.names):
                cells.append(row)
    except csv.Error:
        pass  # what was read so far is enough to tell
    found = detect([row[layout.time] for row in cells])
    if found is None:
        return None
    point = "," if decimal == "," or (decimal == "auto" and delimiter != "," and _has_commas(cells)) else "."
    return Dialect(delimiter=delimiter, decimal=decimal, point=point, missing=missing, unit=found[0], naive=found[1])


def _has_commas(rows: list[list[str]]) -> bool:
    return any(_DECIMAL_COMMA.fullmatch(cell.strip()) for row in rows for cell in row)


def parse(data: bytes, layout: Layout, dialect: Dialect, values: Sequence[int], naming: Naming, zone: ZoneInfo) -> Rows:
    """The rows in `data` (whole lines), with the value columns at these positions."""
    data, lost = _without_open_quote(data, dialect.delimiter)
    rows = _parse(data, layout, dialect, values, naming, zone)
    rows.lost += lost
    return rows


def _without_open_quote(data: bytes, delimiter: str) -> tuple[bytes, int]:
    """Without the last line that opens a quoted cell nobody closes: it would swallow all lines behind it."""
    if data.count(b'"') % 2 == 0:
        return data, 0
    opening, end = re.compile(rb'(?:^|%b)[ \t]*"' % re.escape(delimiter.encode())), len(data)
    while (end := data.rfind(b'"', 0, end)) >= 0:
        start = data.rfind(b"\n", 0, end) + 1
        stop = data.find(b"\n", end)
        line = data[start : stop if stop >= 0 else len(data)]
        if line.count(b'"') % 2 and opening.search(line):
            return data[:start] + data[start + len(line) + 1 :], 1
        end = start
    return data, 0


def _parse(data: bytes, layout: Layout, dialect: Dialect, values: Sequence[int], naming: Naming, zone: ZoneInfo) -> Rows:
    if not data.strip():
        return _nothing(layout, len(values))
    try:
        table, odd = _read(data, layout, dialect, _fast_types(layout, dialect, values))
    except pa.ArrowInvalid:
        return _parse_carefully(data, layout, dialect, values, naming, zone)
    if any("\n" in text for text in odd):
        return _parse_carefully(data, layout, dialect, values, naming, zone)
    times = table.column(f"c{layout.time}")
    if dialect.unit == "iso":
        micros = arrow.integers(times)
        micros = np.where(micros == BAD, BAD, micros // 1000)
        micros = from_local(micros, zone) if dialect.naive else micros
    elif dialect.unit == "ns":
        micros = from_numbers(arrow.integers(times), dialect.unit)
    else:
        micros = from_numbers(arrow.floats(times), dialect.unit)
    numbers = np.empty((len(values), table.num_rows))
    for row, position in enumerate(values):
        numbers[row] = arrow.floats(table.column(f"c{position}"))
    return _rows(table, layout, micros, numbers, naming, lost=len(odd))


def _fast_types(layout: Layout, dialect: Dialect, values: Sequence[int]) -> dict[str, Any]:
    types: dict[str, Any] = {f"c{position}": pa.float64() for position in values}
    for position in (layout.component, layout.metric):
        if position is not None:
            types[f"c{position}"] = _WORDS
    if dialect.unit == "iso":
        types[f"c{layout.time}"] = pa.timestamp("ns") if dialect.naive else pa.timestamp("ns", tz="UTC")
    else:
        types[f"c{layout.time}"] = pa.int64() if dialect.unit == "ns" else pa.float64()
    return types


def _read(data: bytes, layout: Layout, dialect: Dialect, types: dict[str, Any]) -> tuple[Any, list[str]]:
    """The columns in `types`, and the text of the rows that do not have as many cells as the header."""
    odd: list[str] = []

    def skip(row: Any) -> str:
        odd.append(row.text)
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(pa.py_buffer(data)),
        read_options=pacsv.ReadOptions(
            column_names=[f"c{position}" for position in range(len(layout.names))], use_threads=False, block_size=len(data) + 1
        ),
        parse_options=pacsv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pacsv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=["", "null", "NULL", "Null", *dialect.missing],
            strings_can_be_null=False,
            decimal_point=dialect.point,
        ),
    )
    return table, odd


def _parse_carefully(
    data: bytes, layout: Layout, dialect: Dialect, values: Sequence[int], naming: Naming, zone: ZoneInfo
) -> Rows:
    parts: list[Rows] = []
    rest = [data.decode("utf-8", "replace").encode()]
    while rest:
        piece = rest.pop()
        if not piece.strip():
            continue
        types: dict[str, Any] = {f"c{position}": pa.string() for position in (layout.time, *values)}
        types |= {f"c{position}": _WORDS for position in (layout.component, layout.metric) if position is not None}
        try:
            table, odd = _read(piece, layout, dialect, types)
        except pa.ArrowInvalid:  # nothing in it is a row
            parts.append(_nothing(layout, len(values), lost=piece.count(b"\n")))
            continue
        micros = _times_in(arrow.one(table.column(f"c{layout.time}")).to_pylist(), dialect, zone)
        numbers = np.empty((len(values), table.num_rows))
        bad = np.zeros(numbers.shape, bool)
        for row, position in enumerate(values):
            numbers[row], bad[row] = arrow.numbers_in(table.column(f"c{position}"), dialect.number, dialect.nothing)
        part = _rows(table, layout, micros, numbers, naming, lost=len(odd))
        part.bad = bad if bad.any() else None
        parts.append(part)
        # A quote that is closed lines later has swallowed the lines between: only the line that opens it is lost.
        swallowed = [text for text in odd if "\n" in text]
        if b'"' in piece:
            swallowed += [cell for name in types for cell in _with_line_break(table.column(name))]
        rest.extend(text.partition("\n")[2].encode() for text in swallowed)
    return _joined(parts) if parts else _nothing(layout, len(values))


def _with_line_break(column: Any) -> list[str]:
    column = arrow.one(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
    found: list[str] = column.filter(pc.match_substring(column, "\n")).to_pylist()
    return found


def _times_in(cells: list[str], dialect: Dialect, zone: ZoneInfo) -> Ints:
    known: dict[str, int] = {}
    for cell in cells:
        if cell not in known:
            known[cell] = from_cell(cell, dialect.unit, zone)
    return np.fromiter((known[cell] for cell in cells), np.int64, len(cells))


def _rows(table: Any, layout: Layout, micros: Ints, numbers: Floats, naming: Naming, lost: int) -> Rows:
    numbers[~np.isfinite(numbers)] = np.nan
    components = metrics = None
    if layout.component is not None:
        components = numbered(table.column(f"c{layout.component}"), naming.component)
    if layout.metric is not None:
        metrics = numbered(table.column(f"c{layout.metric}"), naming.metric)
    return Rows(times=micros, components=components, metrics=metrics, values=numbers, lost=lost)


def numbered(column: Any, number: Callable[[str | None], int]) -> Ints:
    """A dictionary-encoded column of words → numbers, (n,)."""
    distinct, codes = arrow.words(column)
    return np.fromiter((number(word) for word in distinct), np.int64, len(distinct))[codes]


def _nothing(layout: Layout, columns: int, lost: int = 0) -> Rows:
    none = np.zeros(0, np.int64)
    return Rows(
        times=none,
        components=None if layout.component is None else none,
        metrics=None if layout.metric is None else none,
        values=np.zeros((columns, 0)),
        lost=lost,
    )


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    bads = [np.zeros(part.values.shape, bool) if part.bad is None else part.bad for part in parts]
    return Rows(
        times=np.concatenate([part.times for part in parts]),
        components=_merged([part.components for part in parts]),
        metrics=_merged([part.metrics for part in parts]),
        values=np.concatenate([part.values for part in parts], axis=1),
        bad=np.concatenate(bads, axis=1) if any(part.bad is not None for part in parts) else None,
        lost=sum(part.lost for part in parts),
    )


def _merged(columns: list[Ints | None]) -> Ints | None:
    there = [column for column in columns if column is not None]
    return np.concatenate(there) if there else None
