"""The newest part of the history: one SQLite file, a record per bucket and 4,096 series.

A tick is appended in milliseconds; what a reader wants of it is found without reading the rest. Values are kept as
float64, because what was learnt from must be what was judged; zstd at its fastest level takes 20–40 ns a value and
leaves 3 bytes of one with two decimals. The file is written with `synchronous=NORMAL`: a power cut may cost the last
ticks of history, which can be read from the sources again, never an alert.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tocsin.model import Bools, Floats, Frame, Ints, SeriesIndex, SeriesKey, Window

RECORD_ROWS = 4096
_FORMAT = 1
_FETCH = 128
_CODEC = pa.Codec("zstd", compression_level=1)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, component_type TEXT NOT NULL, span INTEGER NOT NULL, digest TEXT NOT NULL, keys BLOB NOT NULL,
    UNIQUE (component_type, span, digest));
CREATE TABLE IF NOT EXISTS bucket (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, series INTEGER NOT NULL REFERENCES series (id), start INTEGER NOT NULL,
    first INTEGER NOT NULL, count INTEGER NOT NULL, known BLOB, data BLOB NOT NULL,
    UNIQUE (series, first, start));
CREATE INDEX IF NOT EXISTS bucket_by_start ON bucket (series, start);
PRAGMA user_version = {_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Canvas:
    """A frame being filled, newest last. Without `values` only what is known is of interest."""

    index: SeriesIndex
    window: Window
    known: Bools
    values: Floats | None

    @classmethod
    def empty(cls, index: SeriesIndex, window: Window, *, values: bool = True) -> Canvas:
        shape = (len(index), len(window))
        return cls(index, window, np.zeros(shape, bool), np.full(shape, np.nan) if values else None)

    def frame(self) -> Frame:
        assert self.values is not None
        return Frame(index=self.index, window=self.window, values=self.values, known=self.known)


@dataclass(frozen=True, slots=True)
class Block:
    """Values for some rows and columns of a canvas; `known` and `values` are (n_rows, n_columns)."""

    rows: Ints
    columns: Ints
    known: Bools
    values: Floats | None

    def part(self, which: Ints | Bools) -> Block:
        """Some of the columns."""
        values = None if self.values is None else self.values[:, which]
        return Block(self.rows, self.columns[which], self.known[:, which], values)

    def lay_on(self, canvas: Canvas) -> None:
        """Put the block over what is there; cells that are not known leave it as it is."""
        place = np.ix_(self.rows, self.columns)
        if canvas.values is not None and self.values is not None:
            whole = bool(self.known.all())
            canvas.values[place] = self.values if whole else np.where(self.known, self.values, canvas.values[place])
        canvas.known[place] |= self.known


class Recent:
    """The SQLite file of the newest buckets. Each thread has its own connection; all raise sqlite3.Error."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        """`note` is told of damaged records, which are left out."""
        self.path = path
        self._note = note
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._indexes: dict[int, SeriesIndex] = {}

    def close(self) -> None:
        """Close the connections of all threads; the next use opens new ones."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()
            self._indexes.clear()

    def files(self) -> Sequence[Path]:
        """The file and what SQLite keeps beside it."""
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(0o600)
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            with self._lock:
                self._connections.append(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise sqlite3.DatabaseError(f"format {version}, expected {_FORMAT}")
            if not version:
                connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            self._local.connection = connection
        return connection

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        if connection.in_transaction:  # inside a `snapshot` of this thread
            yield connection
            return
        connection.execute(f"BEGIN {kind}")
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """What this thread reads inside is the file as it was at the beginning. Gives the newest record's number."""
        with self._transaction("DEFERRED") as connection:
            yield connection.execute("SELECT coalesce(max(seq), 0) FROM bucket").fetchone()[0]

    # --- writing -------------------------------------------------------------------------------------------------

    def put(self, component_type: str, frame: Frame) -> None:
        """Keep what the frame knows; the same bucket of the same series again takes the place of the older one."""
        firsts = range(0, len(frame.index), RECORD_ROWS)
        with self._transaction("IMMEDIATE") as connection:
            series = self._series(connection, component_type, frame)
            for column, start in enumerate(frame.window.starts.tolist()):
                records = []
                for first in firsts:
                    rows = slice(first, first + RECORD_ROWS)
                    values, known = np.ascontiguousarray(frame.values[rows, column]), frame.known[rows, column]
                    if not known.any():
                        continue
                    if not known.all():
                        values, known = self._merged(connection, (series, first, start), values, known)
                    bits = None if known.all() else np.packbits(known).tobytes()
                    records.append((series, start, first, len(values), bits, _CODEC.compress(values, asbytes=True)))
                connection.executemany(
                    "INSERT OR REPLACE INTO bucket (series, start, first, count, known, data) VALUES (?, ?, ?, ?, ?, ?)", records
                )

    def _merged(
        self, connection: sqlite3.Connection, place: tuple[int, int, int], values: Floats, known: Bools
    ) -> tuple[Floats, Bools]:
        query = "SELECT count, known, data FROM bucket WHERE series = ? AND first = ? AND start = ?"
        row = connection.execute(query, place).fetchone()
        try:
            if row is None:
                return values, known
            old_known, old_values = _known(row[0], row[1]), _values(row[0], row[2])
        except (pa.ArrowException, OSError, ValueError):
            self._note(f"records in {self.path} are damaged and left out")
            return values, known
        return np.where(known, values, old_values), known | old_known

    def _series(self, connection: sqlite3.Connection, component_type: str, frame: Frame) -> int:
        place = (component_type, frame.window.span, frame.index.digest)
        row = connection.execute("SELECT id FROM series WHERE component_type = ? AND span = ? AND digest = ?", place).fetchone()
        if row is None:
            keys = json.dumps([(key.component, key.metric) for key in frame.index]).encode()
            packed = len(keys).to_bytes(8, "big") + _CODEC.compress(keys, asbytes=True)
            row = connection.execute(
                "INSERT INTO series (component_type, span, digest, keys) VALUES (?, ?, ?, ?) RETURNING id", (*place, packed)
            ).fetchone()
        self._remember(row[0], frame.index)
        return int(row[0])

    def drop(self, component_type: str, window: Window, up_to: int) -> None:
        """Remove the records of a window up to record number `up_to`."""
        with self._transaction("IMMEDIATE") as connection:
            for series in self._ids(connection, component_type, window.span):
                connection.execute(
                    "DELETE FROM bucket WHERE series = ? AND start >= ? AND start < ? AND seq <= ?",
                    (series, window.start, window.end, up_to),
                )
            self._sweep(connection)

    def prune(self, before: int) -> None:
        """Remove every record that begins before this time."""
        with self._transaction("IMMEDIATE") as connection:
            connection.execute("DELETE FROM bucket WHERE start < ?", (before,))
            self._sweep(connection)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM bucket WHERE bucket.series = series.id)")
        self._indexes.clear()

    # --- reading -------------------------------------------------------------------------------------------------

    def kinds(self) -> Sequence[tuple[str, int, int, int]]:
        """(component type, span, first start, last start) of everything here."""
        query = """SELECT component_type, span, min(low), max(high) FROM (
                       SELECT component_type, span, (SELECT min(start) FROM bucket WHERE series = id) AS low,
                              (SELECT max(start) FROM bucket WHERE series = id) AS high FROM series)
                   WHERE low IS NOT NULL GROUP BY component_type, span ORDER BY component_type, span"""
        with self._transaction("DEFERRED") as connection:
            return connection.execute(query).fetchall()

    def cells(self, component_type: str, window: Window) -> int:
        """About how many values the records of a window hold."""
        with self._transaction("DEFERRED") as connection:
            return sum(
                connection.execute(
                    "SELECT coalesce(sum(count), 0) FROM bucket WHERE series = ? AND start >= ? AND start < ?",
                    (series, window.start, window.end),
                ).fetchone()[0]
                for series in self._ids(connection, component_type, window.span)
            )

    def indexes(self, component_type: str, window: Window) -> Sequence[SeriesIndex]:
        """The series of every record in the window."""
        with self._transaction("DEFERRED") as connection:
            return [self._index(connection, series) for series in self._present(connection, component_type, window)]

    def fill(self, component_type: str, canvas: Canvas) -> None:
        """Lay every record in the window over the canvas, oldest first."""
        with self._transaction("DEFERRED") as connection:
            present = self._present(connection, component_type, canvas.window)
            times = Counter(start for starts in present.values() for start in starts)
            late: list[tuple[int, Block]] = []
            for series in present:
                theirs = _places(canvas.index, self._index(connection, series))
                for number in np.unique(theirs[theirs >= 0] // RECORD_ROWS).tolist():
                    first = number * RECORD_ROWS
                    mine = np.flatnonzero((theirs >= first) & (theirs < first + RECORD_ROWS))
                    for seqs, starts, known, values in self._blocks(connection, series, first, canvas):
                        columns = (starts - canvas.window.start) // canvas.window.span
                        block = Block(
                            mine, columns, known[theirs[mine] - first], None if values is None else values[theirs[mine] - first]
                        )
                        # Where two sets of series hold the same bucket, the order in which they were appended decides.
                        contested = np.fromiter((times[start] > 1 for start in starts.tolist()), bool, len(starts))
                        block.part(~contested).lay_on(canvas)
                        late += [(int(seqs[at]), block.part(np.array([at]))) for at in np.flatnonzero(contested)]
            for _, block in sorted(late, key=lambda one: one[0]):
                block.lay_on(canvas)

    def _blocks(
        self, connection: sqlite3.Connection, series: int, first: int, canvas: Canvas
    ) -> Iterator[tuple[Ints, Ints, Bools, Floats | None]]:
        """(seqs, starts, known, values) of the records of up to 128 buckets; arrays are (n_rows, n_buckets)."""
        wanted = "data" if canvas.values is not None else "NULL"
        cursor = connection.execute(
            f"SELECT seq, start, count, known, {wanted} FROM bucket"  # noqa: S608  (one of two words)
            " WHERE series = ? AND first = ? AND start >= ? AND start < ? ORDER BY start",
            (series, first, canvas.window.start, canvas.window.end),
        )
        while rows := cursor.fetchmany(_FETCH):
            good, knowns, values = [], [], []
            for seq, start, count, bits, data in rows:
                if (start - canvas.window.start) % canvas.window.span:
                    continue
                try:
                    known = _known(count, bits)
                    numbers = None if data is None else _values(count, data)
                except (pa.ArrowException, OSError, ValueError):
                    self._note(f"records in {self.path} are damaged and left out")
                    continue
                good.append((seq, start))
                knowns.append(known)
                if numbers is not None:
                    values.append(numbers)
            if good:
                places = np.array(good, np.int64)
                yield places[:, 0], places[:, 1], np.array(knowns).T, np.array(values).T if values else None

    def _ids(self, connection: sqlite3.Connection, component_type: str, span: int) -> list[int]:
        query = "SELECT id FROM series WHERE component_type = ? AND span = ? ORDER BY id"
        return [row[0] for row in connection.execute(query, (component_type, span))]

    def _present(self, connection: sqlite3.Connection, component_type: str, window: Window) -> dict[int, list[int]]:
        """Set of series → the buckets of the window it has records of, if any."""
        query = "SELECT DISTINCT start FROM bucket WHERE series = ? AND start >= ? AND start < ?"
        found = {
            series: [row[0] for row in connection.execute(query, (series, window.start, window.end))]
            for series in self._ids(connection, component_type, window.span)
        }
        return {series: starts for series, starts in found.items() if starts}

    def _index(self, connection: sqlite3.Connection, series: int) -> SeriesIndex:
        if series not in self._indexes:
            packed = connection.execute("SELECT keys FROM series WHERE id = ?", (series,)).fetchone()[0]
            keys = json.loads(_CODEC.decompress(packed[8:], int.from_bytes(packed[:8], "big"), asbytes=True))
            self._remember(series, SeriesIndex(SeriesKey(component, metric) for component, metric in keys))
        return self._indexes[series]

    def _remember(self, series: int, index: SeriesIndex) -> None:
        self._indexes[series] = index


def _places(wanted: SeriesIndex, stored: SeriesIndex) -> Ints:
    """As `wanted.rows_in(stored)`; a few are looked up by halving, without making a dictionary of all."""
    if 20 * len(wanted) > len(stored):
        return wanted.rows_in(stored)
    rows = np.array([bisect_left(stored.keys, key) for key in wanted], np.int64)
    there = [row < len(stored) and stored.keys[row] == key for row, key in zip(rows.tolist(), wanted, strict=True)]
    return np.where(there, rows, -1)


def _known(count: int, bits: bytes | None) -> Bools:
    if bits is None:
        return np.ones(count, bool)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).astype(bool)


def _values(count: int, data: bytes) -> Floats:
    return np.frombuffer(_CODEC.decompress(data, count * 8, asbytes=True), np.float64, count)
