"""What was measured, so that training does not read the sources again. Losing it loses learning, never an alert.

New buckets go to one SQLite file (`recent.db`); whole past days become Parquet, `TYPE/SPANs/DAY.parquet`. What a
reader gets is both, the newer over the older: a value that came late replaces the one before it, and "not known"
never replaces anything. Another bucket length is another history; the old one is left alone until it is pruned.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import numpy as np
import structlog

from tocsin import failpoints
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Frame, SeriesIndex, Window
from tocsin.store import days
from tocsin.store.files import file_name, move_aside
from tocsin.store.recent import RECORD_ROWS, Block, Canvas, Recent
from tocsin.timegrid import DAY

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

SETTLED = 3600
"""Seconds after its end before a day becomes a file."""
WORTH_IT = 0.1
"""A day file is written again when what came late is at least this part of it; less stays in the SQLite file."""


class History:
    """The history below a folder. Any number of processes may read while others append; use it, then close it.

    Everything raises TransientError when the disk does not let it. What is damaged is logged once and told in `problems`,
    a damaged file is moved aside, and its part of the past is not known; nothing else stops because of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self._recent = Recent(folder / "recent.db", self._note)

    def __reduce__(self) -> tuple[type[History], tuple[Path]]:
        return History, (self.folder,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._recent.close()

    # --- writing -------------------------------------------------------------------------------------------------

    def append(self, component_type: str, frame: Frame) -> None:
        """Keep what the frame knows. The same again changes nothing, another value for a bucket takes its place."""
        if not frame.known.any():
            return
        span = frame.window.span
        for day, window in _days(frame.window):
            part = frame.within(window)
            if window == _day_window(day, span) and not self._path(component_type, span, day).exists():
                self._write_day(component_type, span, day, part)
            else:
                self._writing(self._recent.put, component_type, part)

    def compact(self, now: float) -> int:
        """Make files of the days that ended an hour ago or earlier; how many were written."""
        written = 0
        for component_type, span, first, last in self._writing(self._recent.kinds):
            for day in range(first // DAY, last // DAY + 1):
                if (day + 1) * DAY + SETTLED <= now and self._is_worth_it(component_type, span, day):
                    self._write_day(component_type, span, day, None)
                    written += 1
        return written

    def prune(self, before: float) -> None:
        """Forget the days before the day of this time."""
        edge = int(before // DAY)
        self._writing(self._recent.prune, edge * DAY)
        with self._file_lock():
            for path in self.folder.glob("*/*s/*.parquet*"):
                if _is_before(path, edge):
                    path.unlink(missing_ok=True)
            for path in self.folder.glob("*/*s/.*.tmp"):
                path.unlink(missing_ok=True)  # of a process that died: nobody writes while we hold the lock

    def _is_worth_it(self, component_type: str, span: int, day: int) -> bool:
        late = self._writing(self._recent.cells, component_type, _day_window(day, span))
        with self._opened(component_type, span, day) as file:
            return late > 0 and (file is None or late >= WORTH_IT * file.cells)

    def _write_day(self, component_type: str, span: int, day: int, newest: Frame | None) -> None:
        """Make a day's file of the file that is there, the recent records and a frame; then drop those records."""
        window = _day_window(day, span)
        path = self._path(component_type, span, day)
        with self._file_lock():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _told(), self._recent.snapshot() as last:
                index = self.index(component_type, window)
                if newest is not None:
                    index = SeriesIndex({*index.keys, *newest.index.keys})
                parts = (canvas.frame() for canvas in self._canvases(component_type, window, index, newest))
                days.write(path, window, index, parts)
            failpoints.reached("during_compact")
            self._writing(self._recent.drop, component_type, window, last)

    def _writing(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the SQLite file; when it proves damaged, begin a new one and do it again."""
        with _told():
            for attempt in range(3):
                try:
                    return act(*args, **kwargs)
                except sqlite3.Error as error:
                    if not _is_damage(error) or attempt == 2:
                        raise
                    self._recent.close()
                    if attempt == 1:  # not only our connection: the file itself
                        kept = [move_aside(path).name for path in self._recent.files() if path.exists()]
                        self._note(f"{self._recent.path} was damaged ({error}) and is kept as {kept[0]}")
        raise AssertionError

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """One writer of day files at a time, whatever its process."""
        with _told():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "days.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, component_type: str, window: Window, index: SeriesIndex | None = None) -> Frame:
        """What is kept of these series (default: all there are) in the window. What was never appended is not known."""
        wanted = self.index(component_type, window) if index is None else index
        canvas = Canvas.empty(wanted, window)
        self._fill(component_type, canvas)
        return canvas.frame()

    def index(self, component_type: str, window: Window) -> SeriesIndex:
        """Every series that was appended in the window."""
        found: dict[str, SeriesIndex] = {}
        try:
            with _told(), self._recent.snapshot():
                found |= {index.digest: index for index in self._recent.indexes(component_type, window)}
        except PermanentError as error:
            self._note(str(error))
        for day, _ in _days(window):
            with self._opened(component_type, window.span, day) as file:
                if file is not None and file.digest not in found:
                    found[file.digest] = file.index()
        if len(found) == 1:
            return next(iter(found.values()))
        return SeriesIndex({key for index in found.values() for key in index})

    def lacking(self, component_type: str, window: Window, index: SeriesIndex) -> SeriesIndex:
        """The series of which some bucket in the window is not known."""
        lacking = []
        for canvas in self._canvases(component_type, window, index, None, values=False):
            lacking += [canvas.index[row] for row in np.flatnonzero(~canvas.known.all(axis=1))]
        return index if len(lacking) == len(index) else SeriesIndex(lacking)

    def _canvases(
        self, component_type: str, window: Window, index: SeriesIndex, newest: Frame | None, *, values: bool = True
    ) -> Iterator[Canvas]:
        """The window filled for some thousand series at a time, a newer frame laid over them."""
        for first in range(0, len(index), RECORD_ROWS):
            canvas = Canvas.empty(SeriesIndex(index.keys[first : first + RECORD_ROWS]), window, values=values)
            self._fill(component_type, canvas)
            if newest is not None:
                rows = canvas.index.rows_in(newest.index)
                mine = np.flatnonzero(rows >= 0)
                theirs = newest.take(rows[mine], SeriesIndex([canvas.index[row] for row in mine]))
                Block(mine, np.arange(len(window)), theirs.known, theirs.values).lay_on(canvas)
            yield canvas

    def _fill(self, component_type: str, canvas: Canvas) -> None:
        try:
            # The records are read as they are before the files are opened: what leaves them meanwhile is in the files.
            with _told(), self._recent.snapshot():
                self._fill_from_days(component_type, canvas)
                self._recent.fill(component_type, canvas)
        except PermanentError as error:
            self._note(str(error))
            self._fill_from_days(component_type, canvas)

    def _fill_from_days(self, component_type: str, canvas: Canvas) -> None:
        places: days.Places = {}
        for day, _ in _days(canvas.window):
            with self._opened(component_type, canvas.window.span, day) as file:
                if file is not None:
                    file.fill(canvas, places)

    @contextmanager
    def _opened(self, component_type: str, span: int, day: int) -> Iterator[days.Day | None]:
        """A day's file, None when there is none. One that proves damaged is moved aside, and what it held is not known."""
        path, file = self._path(component_type, span, day), None
        try:
            file = days.Day(path, _day_window(day, span))
        except FileNotFoundError:
            pass
        except PermanentError as error:
            self._set_aside(path, error)
        try:
            yield file
        except PermanentError as error:
            self._set_aside(path, error)
        finally:
            if file is not None:
                file.close()

    def _set_aside(self, path: Path, error: PermanentError) -> None:
        try:
            kept = move_aside(path)
        except OSError:
            self._note(str(error))
        else:
            self._note(f"{error}; it is kept as {kept.name}")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            log.error("history.damaged", problem=problem)

    def _path(self, component_type: str, span: int, day: int) -> Path:
        name = datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")
        return self.folder / file_name(component_type) / f"{span}s" / f"{name}.parquet"


def _days(window: Window) -> Iterator[tuple[int, Window]]:
    """The window cut by the UTC day in which a bucket begins."""
    starts = window.starts
    numbers = starts // DAY
    edges = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1], True]) if len(starts) else np.zeros(0, np.int64)
    for first, after in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        start = window.start + first * window.span
        yield int(numbers[first]), Window(start, window.start + after * window.span, window.span)


def _day_window(day: int, span: int) -> Window:
    """The aligned buckets that begin in a UTC day."""
    return Window(-(-day * DAY // span) * span, -(-(day + 1) * DAY // span) * span, span)


def _day_of(path: Path) -> int:
    return (date.fromisoformat(path.name[:10]) - date(1970, 1, 1)).days


def _is_before(path: Path, day: int) -> bool:
    try:
        return _day_of(path) < day
    except ValueError:  # not a file of ours
        return False


def _is_damage(error: sqlite3.Error) -> bool:
    unsaid = sqlite3.SQLITE_CORRUPT if type(error) is sqlite3.DatabaseError else sqlite3.SQLITE_MISUSE
    return getattr(error, "sqlite_errorcode", unsaid) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the SQLite file and of the disk in our words."""
    try:
        yield
    except sqlite3.Error as error:
        kind = PermanentError if _is_damage(error) else TransientError
        raise kind(f"history: {error}") from error
    except OSError as error:
        raise TransientError(f"history: {error}") from error
