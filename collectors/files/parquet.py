"""Parquet row groups → the same rows as CSV gives. A half-written or broken file is `Unusable`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectors.files import arrow
from collectors.files.cells import Dialect
from collectors.files.layout import Layout, Unusable
from collectors.files.parsing import Naming, Rows, numbered
from collectors.files.times import BAD, detect, from_cell, from_local, from_numbers, unit_of
from tocsin.model import Bools, Floats, Ints
from tocsin.timegrid import DAY

BATCH = 1 << 16


@contextmanager
def opened_parquet(path: Path) -> Iterator[Any]:
    """The file; its columns are flat, and their names text as in a CSV header."""
    try:
        with pa.OSFile(str(path), "rb") as source, pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, (PermissionError, FileNotFoundError)):
            raise
        raise Unusable(f"is no complete Parquet file ({str(error).splitlines()[0][:120]})") from error


def flat_names(file: Any) -> list[str]:
    """A name per column, empty for those that hold neither numbers, times nor text."""
    return [field.name if _holds_something(field.type) else "" for field in file.schema_arrow]


def sniff_times(file: Any, layout: Layout, missing: tuple[str, ...]) -> Dialect | None:
    """How the times of a file are written; None while it has no row with one."""
    kind = file.schema_arrow.field(layout.time).type
    if pa.types.is_timestamp(kind):
        return _dialect("iso", kind.tz is None, missing)
    if pa.types.is_date(kind):
        return _dialect("iso", True, missing)
    for batch in file.iter_batches(batch_size=1024, columns=[layout.names[layout.time]], use_threads=False):
        column = batch.column(0)
        if _is_text(kind):
            found = detect([cell for cell in _text(column).to_pylist() if cell is not None])
            if found is not None:
                return _dialect(found[0], found[1], missing)
        else:
            numbers = _floats(column)
            numbers = np.abs(numbers[np.isfinite(numbers)])
            if len(numbers):
                return _dialect(unit_of(float(np.median(numbers))), False, missing)
    return None


def read_group(
    file: Any, group: int, layout: Layout, dialect: Dialect, values: Sequence[int], naming: Naming, zone: ZoneInfo
) -> Iterator[Rows]:
    """The rows of one row group, a batch at a time."""
    wanted = [layout.time, *values, *(place for place in (layout.component, layout.metric) if place is not None)]
    names = [layout.names[place] for place in wanted]
    for batch in file.iter_batches(batch_size=BATCH, row_groups=[group], columns=names, use_threads=False):
        columns = {layout.names.index(name): batch.column(name) for name in names}
        numbers = np.empty((len(values), batch.num_rows))
        bad = np.zeros(numbers.shape, bool)
        for row, place in enumerate(values):
            numbers[row], bad[row] = _numbers(columns[place], dialect)
        numbers[~np.isfinite(numbers)] = np.nan
        yield Rows(
            times=_times(columns[layout.time], dialect, zone),
            components=None if layout.component is None else numbered(_words(columns[layout.component]), naming.component),
            metrics=None if layout.metric is None else numbered(_words(columns[layout.metric]), naming.metric),
            values=numbers,
            bad=bad if bad.any() else None,
        )


def _dialect(unit: str, naive: bool, missing: tuple[str, ...]) -> Dialect:
    return Dialect(delimiter=",", decimal=".", point=".", missing=missing, unit=unit, naive=naive)


def _times(column: Any, dialect: Dialect, zone: ZoneInfo) -> Ints:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_date32(kind):
            ticks, per_second = arrow.integers(column.cast(pa.int32()).cast(pa.int64())), 1 / DAY
        else:
            ticks, per_second = arrow.integers(column), {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[getattr(kind, "unit", "ms")]
        good = ticks != BAD
        with np.errstate(over="ignore"):
            micros = ticks // 1000 if per_second == 1e9 else ticks * round(1e6 / per_second)
        micros = np.where(good, micros, BAD)
        return from_local(micros, zone) if dialect.naive else micros
    if _is_text(kind):
        cells = _text(column).to_pylist()
        return np.fromiter((BAD if cell is None else from_cell(cell, dialect.unit, zone) for cell in cells), np.int64, len(cells))
    if pa.types.is_integer(kind) and dialect.unit in ("us", "ns"):
        return from_numbers(arrow.integers(column.cast(pa.int64(), safe=False)), dialect.unit)
    return from_numbers(_floats(column), dialect.unit if dialect.unit != "iso" else "s")


def _numbers(column: Any, dialect: Dialect) -> tuple[Floats, Bools]:
    if _is_text(column.type):
        return arrow.numbers_in(_text(column), dialect.number, dialect.nothing)
    return _floats(column), np.zeros(len(column), bool)


def _floats(column: Any) -> Floats:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return arrow.floats(column.cast(pa.float64(), safe=False))


def _words(column: Any) -> Any:
    return column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column.cast(pa.string()))


def _text(column: Any) -> Any:
    return column.cast(pa.string())


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))


def _holds_something(kind: Any) -> bool:
    return (
        _is_number(kind)
        or _is_text(kind)
        or bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind))
    )
