"""Log files → log entries. What grew is read on; of the rest only what lies in the window."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from math import inf
from typing import IO, TypeAlias, TypeVar, cast
from zoneinfo import ZoneInfo

import numpy as np

from collectors.files import FilesSettings
from collectors.files.catalogue import Found, list_files
from collectors.files.reading import label_of
from collectors.files.tally import Tally
from collectors.logfiles.settings import LogFilesSettings
from collectors.logfiles.times import Clock
from tocsin.errors import TransientError
from tocsin.model import Ints, LogBatch, LogLine, Window, utc
from tocsin.ports import Surroundings

BLOCK = 1 << 20
"""Bytes between two marks: a window reads the blocks that overlap it."""
LONGEST = 1 << 16
"""Characters of an entry that are kept; the rest of it is read over."""
MOST_LINES = 200
"""Lines of one entry that are kept."""
AHEAD = 900
"""Seconds by which a clock may run ahead."""
TRIES = 3
"""Readings in a row in which a file was replaced, after which the source cannot answer now."""

_SUFFIXES = re.compile(r"(?:[.-](?:log|txt|csv|out|err|gz|\d{1,8}|\d{4}-\d\d-\d\d))+$", re.IGNORECASE)
_UNREADABLE = (OSError, EOFError, zlib.error, csv.Error)

T = TypeVar("T")

Identity: TypeAlias = tuple[int, int]


@dataclass(kw_only=True, slots=True)
class Block:
    """A stretch of a file that begins with an entry, and the times of its first and last one."""

    start: int
    first: float
    last: float


@dataclass(kw_only=True, slots=True)
class Known:
    """What is known of one file, also after it was renamed: `read` bytes of it are indexed."""

    found: Found
    name: str
    component: str
    stamp: tuple[int, int, int, int]
    read: int = 0
    head: bytes = b""
    blocks: list[Block] = field(default_factory=list)


class _ReplacedError(Exception):
    """A file was rotated between the listing and the reading."""

    def __init__(self, file: Found) -> None:
        super().__init__(file.path)
        self.file = file


class LogFiles:
    """A `LogSource` over files. Not safe for two threads at once.

    A line without a time belongs to the entry before it. Beyond `max_lines` entries in a window only every second, fourth, …
    is given as text; all are counted.
    """

    def __init__(self, settings: LogFilesSettings, surroundings: Surroundings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._folder, self._clock = settings, surroundings.folder, clock
        self._zone = ZoneInfo(surroundings.calendar.timezone)
        self._search = FilesSettings(path=settings.path, follow_links=settings.follow_links, max_files=settings.max_files)
        self._tally = Tally()
        self._known: dict[Identity, Known] = {}

    def read(self, window: Window) -> LogBatch:
        """Every entry counted. Buckets before the first entry of any file are not known: older files are gone."""
        return self._calmly(lambda: self._read(window))

    def reach(self) -> tuple[int, int] | None:
        """Times of the first and the last entry; what claims to be of the future is not believed."""
        return self._calmly(self._span)

    def check(self) -> list[str]:
        """Files that cannot be read, in which no line has a time, or a line has one that is still to come."""
        try:
            self._calmly(self._refresh)
        except TransientError as error:
            return [str(error)]
        problems, until = list(self._tally.examples.values()), self._clock() + AHEAD
        wanted = "begins with a time" if self._settings.layout == "lines" else f"has a time in {self._settings.timestamp!r}"
        for known in self._known.values():
            if not known.blocks and known.stamp[2]:
                problems.append(f"{known.name}: no line {wanted}")
            elif (newest := max((block.last for block in known.blocks), default=0.0)) >= until:
                problems.append(
                    f"{known.name}: its newest entry is of {utc(newest):%Y-%m-%d %H:%M} UTC, which is still to come: mend the "
                    "clock, or the time zone, of who writes it"
                )
        return problems[:20]

    def _calmly(self, work: Callable[[], T]) -> T:
        """Look and read anew when a file was replaced in between."""
        for _ in range(TRIES - 1):
            with suppress(_ReplacedError):
                return work()
        try:
            return work()
        except _ReplacedError as error:
            name = label_of(error.file, self._folder)
            raise TransientError(f"{name}: was replaced while it was read, {TRIES} times in a row") from error

    def _read(self, window: Window) -> LogBatch:
        self._refresh()
        counts: dict[tuple[str, str], Ints] = {}
        lines: list[LogLine] = []
        stride = seen = 0
        for known in self._known.values():
            for entry in self._between(known, window.start, window.end):
                bucket = (int(entry.at) - window.start) // window.span
                key = entry.component, entry.level
                if key not in counts:
                    counts[key] = np.zeros(len(window), np.int64)
                counts[key][bucket] += 1
                if seen % (stride + 1) == 0:
                    lines.append(entry)
                seen += 1
                if len(lines) > self._settings.max_lines:
                    lines, stride = lines[::2], 2 * stride + 1
        oldest = min((block.first for known in self._known.values() for block in known.blocks), default=inf)
        return LogBatch(window=window, counts=counts, lines=lines, known=window.starts + window.span > oldest)

    def _span(self) -> tuple[int, int] | None:
        self._refresh()
        until = self._clock() + AHEAD
        spans = [span for known in self._known.values() if (span := self._believed(known, until)) is not None]
        return (int(min(first for first, _ in spans)), int(max(last for _, last in spans))) if spans else None

    def _believed(self, known: Known, until: float) -> tuple[float, float] | None:
        """First and last time before `until`; only blocks that go beyond it are read for that."""
        sure = [block for block in known.blocks if block.last < until]
        first = min((block.first for block in sure), default=until)
        last = max((block.last for block in sure), default=-inf)
        if len(sure) < len(known.blocks):
            for entry in self._between(known, -inf, until):
                first, last = min(first, entry.at), max(last, entry.at)
        return (first, last) if first < until else None

    # --- what there is ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        found = list_files(self._search, self._folder, self._tally)
        if not found:
            raise TransientError(f"no file matches {', '.join(self._settings.paths)} in {self._folder}")
        for file in found:
            identity = file.stamp[:2]
            try:
                self._known[identity] = self._look(file, self._known.get(identity))
            except _UNREADABLE as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else "is damaged"
                raise TransientError(f"{label_of(file, self._folder)}: {reason}") from error
        self._known = {file.stamp[:2]: self._known[file.stamp[:2]] for file in found}

    def _look(self, file: Found, known: Known | None) -> Known:
        """What is known of a file now: nothing new, what grew, or all of it anew."""
        if known is not None and known.stamp == file.stamp and known.found.path == file.path:
            return known
        with _opened(file) as (head, stream):
            grew = known is not None and file.stamp[2] >= known.read and head.startswith(known.head) and not _packed(head)
            if known is None or not grew:
                known = Known(found=file, name="", component="", stamp=file.stamp, head=head)
            known.found, known.name, known.head = file, label_of(file, self._folder), head
            known.component = self._settings.component.format(
                stem=_SUFFIXES.sub("", file.path.name) or file.path.name, folder=file.path.parent.name, component=file.captured
            )
            stream.seek(known.read)
            for start, entry in self._entries(known, stream, known.read):
                if not known.blocks or start - known.blocks[-1].start >= BLOCK:
                    known.blocks.append(Block(start=start, first=entry.at, last=entry.at))
                block = known.blocks[-1]
                block.first, block.last = min(block.first, entry.at), max(block.last, entry.at)
                known.read = start
        known.stamp = file.stamp  # only now: what could not be read to its end is looked at again
        return known

    def _between(self, known: Known, start: float, end: float) -> Iterator[LogLine]:
        """The entries of a file in [start, end)."""
        try:
            with _opened(known.found) as (head, stream):
                if not head.startswith(known.head):
                    raise _ReplacedError(known.found)
                for block, following in zip_longest(known.blocks, known.blocks[1:]):
                    if block.first >= end or block.last < start:
                        continue
                    stream.seek(block.start)
                    for place, entry in self._entries(known, stream, block.start):
                        if following is not None and place >= following.start:
                            break
                        if start <= entry.at < end:
                            yield entry
        except _UNREADABLE as error:
            raise TransientError(f"{known.name}: cannot be read") from error

    # --- what stands in it ------------------------------------------------------------------------------------------------

    def _entries(self, known: Known, stream: IO[bytes], start: int) -> Iterator[tuple[int, LogLine]]:
        """Entries from `start` on, each with where it begins. The last one may grow: it is where reading goes on."""
        if self._settings.layout == "csv":
            yield from self._rows(known, stream)
            return
        clock = Clock(self._zone, known.found.stat.st_mtime)
        entry: tuple[int, float] | None = None
        parts: list[str] = []
        place = start
        while data := stream.readline(LONGEST):
            whole = data.endswith(b"\n")
            text = data.decode("utf-8", "replace").rstrip("\r\n")
            at = clock.read(text)
            if at is not None:
                if entry is not None:
                    yield entry[0], LogLine(at=entry[1], component=known.component, text="\n".join(parts))
                entry, parts = (place, at), [text]
            elif entry is not None and len(parts) < MOST_LINES:
                parts.append(text)
            place += len(data)
            while not whole and data:  # read over the rest of a line that is too long
                data = stream.readline(LONGEST)
                whole = data.endswith(b"\n")
                place += len(data)
        if entry is not None:
            yield entry[0], LogLine(at=entry[1], component=known.component, text="\n".join(parts))

    def _rows(self, known: Known, stream: IO[bytes]) -> Iterator[tuple[int, LogLine]]:
        settings = self._settings
        stream.seek(0)
        clock = Clock(self._zone, known.found.stat.st_mtime)
        rows = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline=""))
        for row in rows:
            at = clock.read(row.get(settings.timestamp) or "")
            if at is None:
                continue
            component = row.get(settings.component_column) if settings.component_column else known.component
            level = row.get(settings.level) if settings.level else ""
            request = row.get(settings.request) if settings.request else ""
            text = (row.get(settings.text) or "")[:LONGEST]
            yield 0, LogLine(at=at, component=component or "", text=text, level=level or "", request=request or "")


def _packed(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b")


@contextmanager
def _opened(file: Found) -> Iterator[tuple[bytes, IO[bytes]]]:
    """How a file begins, and what stands in it. Raises `_ReplacedError` when it is not the one that was listed, or was cut."""
    try:
        raw = file.path.open("rb")
    except FileNotFoundError:
        raise _ReplacedError(file) from None
    with raw:
        now = os.fstat(raw.fileno())
        if (now.st_dev, now.st_ino) != file.stamp[:2] or now.st_size < file.stamp[2]:
            raise _ReplacedError(file)
        head = raw.read(64)
        raw.seek(0)
        if _packed(head):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield head, cast("IO[bytes]", unpacked)
        else:
            yield head, raw
