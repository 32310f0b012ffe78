"""Arrow columns → numpy arrays, through their buffers.

`Array.to_numpy()`, `pa.array()` and `pa.scalar()` import pandas wherever it is installed (40 MB and 0.4 s in the daemon);
nothing here does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectors.files.times import BAD
from tocsin.model import Bools, Floats, Ints


def one(column: Any) -> Any:
    """A chunked column as a single array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def valid(column: Any) -> Bools | None:
    """Which cells are not null, (n,); None when all are there."""
    bitmap = column.buffers()[0]
    if column.null_count == 0 or bitmap is None:
        return None
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little", count=column.offset + len(column))
    return bits[column.offset :].astype(bool)


def _data(column: Any, dtype: Any) -> Any:
    if not len(column):
        return np.zeros(0, dtype)
    size = np.dtype(dtype).itemsize
    return np.frombuffer(column.buffers()[1], dtype, count=len(column), offset=column.offset * size)


def floats(column: Any) -> Floats:
    """A column of float64, NaN where null, (n,)."""
    column = one(column)
    values, there = _data(column, np.float64), valid(column)
    return values if there is None else np.where(there, values, np.nan)


def integers(column: Any) -> Ints:
    """A column of 64-bit integers, timestamps or dates, `BAD` where null, (n,)."""
    column = one(column)
    values, there = _data(column, np.int64), valid(column)
    return values if there is None else np.where(there, values, BAD)


def flags(column: Any) -> Bools:
    """A column of booleans, False where null, (n,)."""
    column = one(column)
    if not len(column):
        return np.zeros(0, bool)
    bits = np.unpackbits(np.frombuffer(column.buffers()[1], np.uint8), bitorder="little", count=column.offset + len(column))
    values = bits[column.offset :].astype(bool)
    there = valid(column)
    return values if there is None else values & there


def words(column: Any) -> tuple[list[str | None], Ints]:
    """A dictionary-encoded column as (the distinct words, which of them each row has), null as the word None."""
    column = one(column)
    codes = _data(column.indices, np.int32).astype(np.int64)
    there = valid(column.indices)
    distinct = column.dictionary.to_pylist()
    if there is not None:
        codes = np.where(there, codes, len(distinct))
    return [*distinct, None], codes


def numbers_in(column: Any, number: str, nothing: str) -> tuple[Floats, Bools]:
    """A column of text → (values, NaN where there is none; which cells are neither number nor nothing), both (n,)."""
    column = one(column)
    good = flags(pc.match_substring_regex(column, number))
    values = np.full(len(column), np.nan)
    text = pc.replace_substring(pc.utf8_trim_whitespace(column.filter(pc.match_substring_regex(column, number))), ",", ".")
    values[good] = floats(pc.cast(text, pa.float64()))
    there = valid(column)
    empty = flags(pc.match_substring_regex(column, nothing))
    bad = ~(good | empty)
    return values, bad if there is None else bad & there
