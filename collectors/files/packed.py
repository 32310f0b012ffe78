"""gzip text that can be read on from where reading stopped, without a file kept open."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Protocol

CHUNK = 1 << 18
_GZIP = 31  # a window of 32 KiB, with gzip's header and checksum


class Readable(Protocol):
    """What is needed of an open file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to a place."""
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text, and all that is needed to unpack on from there (some 40 KiB)."""

    place: int
    offset: int
    unpacker: Any
    pending: bytes


class Unpacked:
    """The text of a gzip file with one or many members; going back starts again at the beginning.

    Raises EOFError when the file ends before its last member does, zlib.error when it is broken.
    """

    _place: int
    _offset: int
    _unpacker: Any
    _pending: bytes

    def __init__(self, raw: Readable, mark: Mark | None = None) -> None:
        self._raw = raw
        self._start(mark or Mark(0, 0, zlib.decompressobj(_GZIP), b""))

    def mark(self) -> Mark:
        """Where reading stands now."""
        return Mark(self._place, self._offset, self._unpacker.copy(), self._pending)

    def seek(self, offset: int, /) -> int:
        """Go to a place of the text."""
        if offset < self._place:
            self._start(Mark(0, 0, zlib.decompressobj(_GZIP), b""))
        while self._place < offset and self.read(min(CHUNK, offset - self._place)):
            pass
        return self._place

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of text; none at the end."""
        text = b""
        while not text and size > 0:
            if not self._pending and not self._unpacker.eof:
                self._pending = self._more()
                if not self._pending:
                    raise EOFError("the file ends too early")
            if self._unpacker.eof and not self._next_member():
                return b""
            text = self._unpacker.decompress(self._pending, size)
            self._pending = self._unpacker.unused_data if self._unpacker.eof else self._unpacker.unconsumed_tail
        self._place += len(text)
        return text

    def _start(self, mark: Mark) -> None:
        self._place, self._offset, self._pending = mark.place, mark.offset, mark.pending
        self._unpacker = mark.unpacker.copy()
        self._raw.seek(mark.offset)

    def _more(self) -> bytes:
        data = self._raw.read(CHUNK)
        self._offset += len(data)
        return data

    def _next_member(self) -> bool:
        """Go on to the next member; zeros between and behind members are padding."""
        while not (rest := self._pending.lstrip(b"\0")):
            self._pending = self._more()
            if not self._pending:
                return False
        self._unpacker, self._pending = zlib.decompressobj(_GZIP), rest
        return True
