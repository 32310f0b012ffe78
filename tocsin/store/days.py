"""Whole past days of the history: one Parquet file per component type and day, a row per series.

Columns: `component`, `metric`, `values` (one float64 per bucket, in order of time) and `known` (one bit per bucket,
empty when all are known). Rows are sorted by component and metric, and a row group holds about a megabyte, so that a
reader of a few components finds theirs by the group's statistics. One packed row per series and day is what makes both
the training of everything and the drawing of one band fast: with a row per value, four times the work goes into
repeating keys and times. Any Parquet reader understands the files (`unnest` the values).
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.errors import PermanentError
from tocsin.model import Bools, Floats, Frame, Ints, SeriesIndex, SeriesKey, Window
from tocsin.store.files import write_whole
from tocsin.store.recent import Block, Canvas

Places: TypeAlias = dict[tuple[str, int], tuple[Ints, Ints]]
"""(digest of a file's series, row group) → rows of the group, rows of the reader: the same in every file of the same series."""

_GROUP_BYTES = 1 << 20
_MARK = b"tocsin"
_SCHEMA = pa.schema(
    [
        pa.field("component", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("values", pa.list_(pa.field("value", pa.float64(), nullable=False)), nullable=False),
        pa.field("known", pa.binary(), nullable=False),
    ]
)


def write(path: Path, window: Window, index: SeriesIndex, parts: Iterable[Frame]) -> None:
    """A day file of `index`, whose rows come in `parts`, in order. The old file stays until the new one is whole."""
    facts = {"format": 1, "start": window.start, "end": window.end, "span": window.span, "index": index.digest}
    schema = _SCHEMA.with_metadata({_MARK: json.dumps(facts).encode()})
    group = max(16, _GROUP_BYTES // (8 * max(1, len(window))))

    def fill(file: BufferedRandom) -> None:
        with pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["component", "metric", "known"],
            write_page_checksum=True,
        ) as writer:
            for part in parts:
                writer.write_table(_table(part, schema), row_group_size=group)

    write_whole(path, fill)


def _table(frame: Frame, schema: pa.Schema) -> pa.Table:
    rows, buckets = frame.values.shape
    # from_buffers, because pa.array() would import pandas wherever it is installed
    flat = pa.Array.from_buffers(pa.float64(), frame.values.size, [None, pa.py_buffer(np.ascontiguousarray(frame.values))])
    ends = np.arange(rows + 1, dtype=np.int32) * np.int32(buckets)
    lists = pa.Array.from_buffers(schema.field("values").type, rows, [None, pa.py_buffer(ends)], children=[flat])
    whole: Bools = np.all(frame.known, axis=1)
    packed = np.packbits(frame.known, axis=1)
    known = [b"" if whole[row] else packed[row].tobytes() for row in range(rows)]
    components = _words([key.component.encode("utf-8", "replace") for key in frame.index], pa.string())
    metrics = _words([key.metric.encode("utf-8", "replace") for key in frame.index], pa.string())
    return pa.Table.from_arrays([components, metrics, lists, _words(known, pa.binary())], schema=schema)


def _words(words: list[bytes], kind: pa.DataType) -> pa.Array:
    ends = np.zeros(len(words) + 1, np.int32)
    np.cumsum([len(word) for word in words], out=ends[1:])
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(words))])


class Day:
    """An open day file. All it does raises PermanentError when the file is damaged, FileNotFoundError when it is gone."""

    def __init__(self, path: Path, window: Window) -> None:
        self.path, self.window = path, window
        with _suspicion(path):
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            facts = json.loads((self._file.schema_arrow.metadata or {}).get(_MARK, b"{}"))
            found = tuple(facts.get(name) for name in ("format", "start", "end", "span"))
            if found != (1, window.start, window.end, window.span) or not self._file.schema_arrow.equals(_SCHEMA):
                self._file.close()
                raise PermanentError(f"{path} is damaged: it is another kind of file")
            self.digest = str(facts["index"])

    def close(self) -> None:
        self._file.close()

    @property
    def cells(self) -> int:
        """How many values the file holds."""
        return int(self._file.metadata.num_rows) * len(self.window)

    def index(self) -> SeriesIndex:
        """The series of the file."""
        with _suspicion(self.path):
            return SeriesIndex(_keys(self._file.read(columns=["component", "metric"], use_threads=False)))

    def fill(self, canvas: Canvas, places: Places) -> None:
        """Lay the file over the canvas, as far as it reaches; only row groups that hold a wanted component are read."""
        start, end = max(canvas.window.start, self.window.start), min(canvas.window.end, self.window.end)
        if start >= end or (canvas.window.start - self.window.start) % self.window.span:
            return
        part = Window(start, end, self.window.span)
        ours = np.arange(len(canvas.window))[part.columns_in(canvas.window)]
        with _suspicion(self.path):
            for group in range(self._file.metadata.num_row_groups):
                place = (self.digest, group)
                if place not in places:
                    places[place] = self._rows(group, canvas.index)
                theirs, mine = places[place]
                if len(mine):
                    known, values = self._read(group, with_values=canvas.values is not None)
                    columns = part.columns_in(self.window)
                    Block(mine, ours, known[theirs, columns], None if values is None else values[theirs, columns]).lay_on(canvas)

    def _rows(self, group: int, wanted: SeriesIndex) -> tuple[Ints, Ints]:
        """Rows of a group that are wanted, and their rows in `wanted`."""
        bounds = self._file.metadata.row_group(group).column(0).statistics
        if bounds is not None and bounds.has_min_max:
            nearest = bisect_left(wanted.components, bounds.min)
            if nearest == len(wanted.components) or wanted.components[nearest] > bounds.max:
                return _NONE, _NONE
        keys = _keys(self._file.read_row_group(group, columns=["component", "metric"], use_threads=False))
        rows = np.fromiter((wanted.rows.get(key, -1) for key in keys), np.int64, len(keys))
        theirs = np.flatnonzero(rows >= 0)
        return theirs, rows[theirs]

    def _read(self, group: int, *, with_values: bool) -> tuple[Bools, Floats | None]:
        """(known, values) of the rows of a group, (n_rows, n_buckets)."""
        buckets = len(self.window)
        table = self._file.read_row_group(group, columns=["known", "values"] if with_values else ["known"], use_threads=False)
        rows = table.num_rows
        known = np.ones((rows, buckets), bool)
        for row, bits in enumerate(table.column("known").to_pylist()):
            if bits:
                known[row] = np.unpackbits(np.frombuffer(bits, np.uint8), count=buckets).astype(bool)
        if not with_values:
            return known, None
        lists = table.column("values").combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        flat = lists.flatten()
        if len(flat) != rows * buckets or flat.null_count or lists.null_count:
            raise PermanentError(f"{self.path} is damaged: a row has no {buckets} values")
        # a view of Arrow's buffer, because to_numpy() would import pandas wherever it is installed
        values = np.frombuffer(flat.buffers()[1], np.float64, len(flat), flat.offset * 8)
        return known, values.reshape(rows, buckets)


_NONE = np.zeros(0, np.int64)


def _keys(table: pa.Table) -> list[SeriesKey]:
    return [
        SeriesKey(component, metric)
        for component, metric in zip(table.column("component").to_pylist(), table.column("metric").to_pylist(), strict=True)
    ]


@contextmanager
def _suspicion(path: Path) -> Iterator[None]:
    try:
        yield
    except (PermanentError, FileNotFoundError):
        raise
    except Exception as error:  # a damaged file makes pyarrow raise a dozen kinds, all mean the same
        raise PermanentError(f"{path} is damaged: {type(error).__name__}: {error}") from error
