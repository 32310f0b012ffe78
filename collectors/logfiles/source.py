"""Log files → log entries. What grew is read on; of the rest only what lies in the window."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import IO, TypeAlias, cast
from zoneinfo import ZoneInfo

import numpy as np

from collectors.files import FilesSettings
from collectors.files.catalogue import Found, list_files
from collectors.files.reading import label_of
from collectors.files.tally import Tally
from collectors.logfiles.settings import LogFilesSettings
from collectors.logfiles.times import Clock
from tocsin.errors import TransientError
from tocsin.model import Ints, LogBatch, LogLine, Window
from tocsin.ports import Surroundings

BLOCK = 1 << 20
"""Bytes between two marks: a window reads the blocks that overlap it."""
LONGEST = 1 << 16
"""Characters of an entry that are kept; the rest of it is read over."""
MOST_LINES = 200
"""Lines of one entry that are kept."""

_SUFFIXES = re.compile(r"(?:[.-](?:log|txt|csv|out|err|gz|\d{1,8}|\d{4}-\d\d-\d\d))+$", re.IGNORECASE)
_UNREADABLE = (OSError, EOFError, zlib.error, csv.Error)

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

    @property
    def span(self) -> tuple[float, float] | None:
        return (min(one.first for one in self.blocks), max(one.last for one in self.blocks)) if self.blocks else None


class LogFiles:
    """A `LogSource` over files. Not safe for two threads at once.

    A line without a time belongs to the entry before it. Beyond `max_lines` entries in a window only every second, fourth, …
    is given as text; all are counted.
    """

    def __init__(self, settings: LogFilesSettings, surroundings: Surroundings) -> None:
        self._settings, self._folder = settings, surroundings.folder
        self._zone = ZoneInfo(surroundings.calendar.timezone)
        self._search = FilesSettings(path=settings.path, follow_links=settings.follow_links, max_files=settings.max_files)
        self._tally = Tally()
        self._known: dict[Identity, Known] = {}

    def read(self, window: Window) -> LogBatch:
        """Every entry counted. Buckets before the first entry of any file are not known: older files are gone."""
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
        spans = [known.span for known in self._known.values() if known.span is not None]
        oldest = min((first for first, _ in spans), default=float("inf"))
        return LogBatch(window=window, counts=counts, lines=lines, known=window.starts + window.span > oldest)

    def reach(self) -> tuple[int, int] | None:
        """Times of the first and the last entry."""
        self._refresh()
        spans = [known.span for known in self._known.values() if known.span is not None]
        return (int(min(first for first, _ in spans)), int(max(last for _, last in spans))) if spans else None

    def check(self) -> list[str]:
        """Files that cannot be read, or in which no line has a time."""
        try:
            self._refresh()
        except TransientError as error:
            return [str(error)]
        silent = [known for known in self._known.values() if not known.blocks and known.stamp[2]]
        wanted = "begins with a time" if self._settings.layout == "lines" else f"has a time in {self._settings.timestamp!r}"
        return [*self._tally.examples.values(), *(f"{known.name}: no line {wanted}" for known in silent)][:20]

    # --- what there is ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        found = list_files(self._search, self._folder, self._tally)
        if not found:
            raise TransientError(f"no file matches {', '.join(self._settings.paths)} in {self._folder}")
        fresh: dict[Identity, Known] = {}
        for file in found:
            identity = file.stamp[:2]
            known = self._known.get(identity)
            try:
                fresh[identity] = self._look(file, known)
            except _UNREADABLE as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else "is damaged"
                raise TransientError(f"{label_of(file, self._folder)}: {reason}") from error
        self._known = fresh

    def _look(self, file: Found, known: Known | None) -> Known:
        """What is known of a file now: nothing new, what grew, or all of it anew."""
        if known is not None and known.stamp == file.stamp and known.found.path == file.path:
            return known
        with file.path.open("rb") as raw:
            head = raw.read(64)
        grew = known is not None and file.stamp[2] >= known.read and head.startswith(known.head) and not _packed(head)
        if known is None or not grew:
            known = Known(found=file, name="", component="", stamp=file.stamp, head=head)
        known.found, known.stamp, known.name, known.head = file, file.stamp, label_of(file, self._folder), head
        known.component = self._settings.component.format(
            stem=_SUFFIXES.sub("", file.path.name) or file.path.name, folder=file.path.parent.name, component=file.captured
        )
        with _opened(file.path, head) as stream:
            stream.seek(known.read)
            for start, entry in self._entries(known, stream, known.read):
                if not known.blocks or start - known.blocks[-1].start >= BLOCK:
                    known.blocks.append(Block(start=start, first=entry.at, last=entry.at))
                block = known.blocks[-1]
                block.first, block.last = min(block.first, entry.at), max(block.last, entry.at)
                known.read = start
        return known

    def _between(self, known: Known, start: int, end: int) -> Iterator[LogLine]:
        """The entries of a file in [start, end)."""
        try:
            with _opened(known.found.path, known.head) as stream:
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
            yield 0, LogLine(at=at, component=component or "", text=(row.get(settings.text) or "")[:LONGEST], level=level or "")


def _packed(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b")


def _opened(path: Path, head: bytes) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if _packed(head) else path.open("rb")
