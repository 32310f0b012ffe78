"""A text file in pieces of whole lines, and what is remembered of each piece so that a window reads only what it needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from collectors.files.cells import Dialect
from collectors.files.layout import Layout, Unusable
from collectors.files.limits import Limits
from collectors.files.packed import Readable
from tocsin.model import Ints


@dataclass(frozen=True, slots=True)
class Block:
    """`length` bytes at `start` (a row group's number and rows in Parquet) hold rows from `first` to `last`, microseconds."""

    start: int
    length: int
    first: int
    last: int


@dataclass(kw_only=True, slots=True, eq=False)
class Known:
    """What is known of one file. Without a layout it was empty or unreadable so far.

    `codes` are the series it has rows for, `end` the bytes that were looked at, `marks` what stood at its head and just before
    `end` then. `failure` says why it cannot be read now; what it once held is kept, to tell what is not known without it.
    """

    path: Path
    name: str
    stamp: tuple[int, int, int, int]
    kind: str = "csv"
    component: int = -1
    layout: Layout | None = None
    delimiter: str = ","
    dialect: Dialect | None = None
    body: int = 0
    blocks: list[Block] = field(default_factory=list)
    codes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    end: int = 0
    marks: tuple[bytes, bytes] = (b"", b"")
    failure: str = ""
    try_again: bool = False
    first: int = 0
    last: int = -1

    def overlapping(self, start: int, end: int) -> list[Block]:
        """The blocks that may hold rows in `[start, end)`, in the file's order."""
        if self.first >= end or self.last < start:
            return []
        return [block for block in self.blocks if block.first < end and block.last >= start]

    def add(self, block: Block, small: int) -> None:
        """One more block behind the others; a last one below `small` bytes grows instead."""
        self.first = min(self.first, block.first) if self.blocks else block.first
        self.last = max(self.last, block.last) if self.blocks else block.last
        end = self.blocks[-1] if self.blocks else None
        if self.kind == "csv" and end is not None and end.length < small and end.start + end.length == block.start:
            block = Block(end.start, end.length + block.length, min(end.first, block.first), max(end.last, block.last))
            self.blocks.pop()
        self.blocks.append(block)


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The first line of a text file that is not blank, and where the rows begin."""

    line: str
    body: int
    lines: int


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], os.stat_result]]:
    """The file for reading, if it is a regular one: opening a pipe would wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as handle:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("is no regular file")
        yield handle, status


def kind_of(path: Path, magic: bytes) -> str:
    """`csv`, `gzip` or `parquet`, by the first bytes. Raises `Unusable` when the name promises what the bytes are not."""
    if magic.startswith(b"\x1f\x8b"):
        return "gzip"
    if magic.startswith(b"PAR1"):
        return "parquet"
    name = path.name.casefold()
    if name.endswith((".gz", ".parquet")):
        raise Unusable(f"is no {'gzip' if name.endswith('.gz') else 'Parquet'} file, or not written yet")
    return "csv"


def read_head(handle: Readable, limits: Limits, *, final: bool) -> Head | None:
    """The header; None while it is not there completely. Raises `Unusable` for what is no text of ours."""
    data = b""
    while True:
        more = _read(handle, limits.block)
        data += more
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise Unusable("is UTF-16 text; save it as UTF-8")
        start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        lines = 0
        while (stop := data.find(b"\n", start)) >= 0:
            lines += 1
            if data[start:stop].strip():
                return Head(line=_text(data[start:stop]), body=stop + 1, lines=lines)
            start = stop + 1
        if len(data) > limits.line:
            raise Unusable(f"its first line is longer than {limits.line} bytes")
        if not more:
            if b"\r" in data[start:].rstrip():
                raise Unusable("its lines end in CR alone; save it with LF or CRLF")
            return Head(line=_text(data[start:]), body=len(data), lines=lines + 1) if final and data[start:].strip() else None


def _text(line: bytes) -> str:
    if b"\0" in line:
        raise Unusable("its header holds NUL bytes")
    try:
        return line.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError as error:
        raise Unusable("its header is not UTF-8") from error


@dataclass(kw_only=True, slots=True)
class Piece:
    """Whole lines that lie in `[start, stop)` of the file; `data` is empty for one line that was too long."""

    start: int
    stop: int
    data: bytes
    lines: int


def pieces(handle: Readable, start: int, end: int | None, columns: int, limits: Limits, *, final: bool) -> Iterator[Piece]:
    """Whole lines of so many columns, from `start` on, in pieces of about a block.

    An incomplete last line is left for the next time, unless the file is `final`. No piece ends inside a quoted cell, as far as
    quotes are paired and the file is written to the end of the cell.
    """
    handle.seek(start)
    size = limits.block_for(columns)
    at, data, skipping = start, b"", False
    while True:
        room = size if end is None else min(size, end - at - len(data))
        more = _read(handle, room) if room > 0 else b""
        if skipping:
            stop = more.find(b"\n")
            if stop < 0 and more:
                at += len(more)
                continue
            yield Piece(start=at, stop=at + stop + 1, data=b"", lines=1)
            at, more, skipping = at + stop + 1, more[stop + 1 :], False
            if stop < 0:
                return
        data += more
        if not more:
            stop = len(data) if final else data.rfind(b"\n") + 1
            if stop > 0:
                lines = data.count(b"\n", 0, stop) + (data[stop - 1 : stop] != b"\n")
                yield Piece(start=at, stop=at + stop, data=data[:stop], lines=lines)
            return
        stop = _cut(data)
        if stop > 0:
            yield Piece(start=at, stop=at + stop, data=data[:stop], lines=data.count(b"\n", 0, stop))
            at, data = at + stop, data[stop:]
        elif len(data) > limits.line:
            at, data, skipping = at + len(data), b"", True


def _cut(data: bytes) -> int:
    """Behind the last line break that is not inside quotes; behind the last one when the quotes are not paired; else 0."""
    last = data.rfind(b"\n") + 1
    if data.count(b'"', 0, last) % 2 == 0:
        return last
    before = data.rfind(b"\n", 0, data.rfind(b'"', 0, last)) + 1
    return before or last


def _read(handle: Readable, size: int) -> bytes:
    """`size` bytes, or fewer at the end: a raw read may return less for no reason."""
    parts: list[bytes] = []
    while size > 0 and (part := handle.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_block(handle: Readable, block: Block) -> bytes:
    """A block's bytes. Raises `Unusable` when the file is shorter than it was."""
    handle.seek(block.start)
    data = _read(handle, block.length)
    if len(data) != block.length:
        raise Unusable("became shorter while it was read")
    return data


def marks_of(handle: Readable, body: int, end: int) -> tuple[bytes, bytes]:
    """What stands at the head of a file and just before `end`: when both are the same, the file only grew."""
    handle.seek(0)
    head = _read(handle, min(body, end, 4096))
    handle.seek(max(0, end - 256))
    return head, _read(handle, min(end, 256))


def unique(parts: Sequence[Ints]) -> Ints:
    """The series in any of the parts, sorted, without what was refused."""
    codes = np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))
    return codes[codes >= 0]
