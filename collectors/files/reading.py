"""One file at a time: look at what is new in it, and read back the blocks that a window needs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from collectors.files.blocks import (
    Block,
    Known,
    kind_of,
    marks_of,
    opened,
    pieces,
    read_block,
    read_head,
    unique,
)
from collectors.files.catalogue import Found
from collectors.files.layout import Layout, Unusable, delimiter_of, lay_out, metric_of, split
from collectors.files.limits import Limits
from collectors.files.packed import Mark, Readable, Unpacked
from collectors.files.parquet import flat_names, opened_parquet, read_group, sniff_times
from collectors.files.parsing import Naming, Rows, parse, sniff
from collectors.files.settings import FilesSettings
from collectors.files.tally import Tally
from collectors.files.times import BAD
from collectors.files.vocabulary import IGNORED, REFUSED, Vocabulary, codes_of
from tocsin.model import Bools, Ints

UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file may raise beside `Unusable`: it vanished, may not be read, or its packing is broken."""

MAX_MARKS = 64
"""Packed files that can be read on from where the last window stopped."""


class Reader:
    """Reads files the way the settings say; names go to the vocabulary, problems to the tally."""

    def __init__(self, settings: FilesSettings, zone: ZoneInfo, vocabulary: Vocabulary, tally: Tally, limits: Limits) -> None:
        self._settings, self._zone, self._vocabulary, self._tally, self._limits = settings, zone, vocabulary, tally, limits
        self._marks: dict[Path, tuple[tuple[int, int, int, int], Mark]] = {}
        self.naming = Naming(component=vocabulary.components.learn, metric=self._metric)

    def look(self, found: Found, name: str, before: Known | None) -> Known:
        """What is known of a file now. Only what is new is read when it only grew; it never raises for what is in the file."""
        known = Known(path=found.path, name=name, stamp=found.stamp)
        try:
            if before is None or before.failure or not self._grow(before, found):
                known.component = self._vocabulary.components.learn(self.component_of(found))
                self._look_at_all(known)
            else:
                known = before
        except (Unusable, *UNREADABLE) as error:
            again = isinstance(error, OSError) and error.errno is not None  # it may become readable without a change
            known = self._failed(known, before, reason_of(error), try_again=again)
        return known

    def read(self, known: Known, start: int, end: int, values: Sequence[int]) -> Iterator[Rows]:
        """The rows of the blocks that may hold times in `[start, end)` microseconds; others may be among them.

        Raises `Unusable` or one of `UNREADABLE` when the file is not what it was.
        """
        layout, dialect, blocks = known.layout, known.dialect, known.overlapping(start, end)
        if layout is None or dialect is None or not blocks:
            return
        if known.kind == "parquet":
            with opened_parquet(known.path) as file:
                for block in blocks:
                    if block.start >= file.num_row_groups:
                        raise Unusable("was replaced while it was read")
                    yield from read_group(file, block.start, layout, dialect, values, self.naming, self._zone)
            return
        with opened(known.path) as (raw, status):
            if (status.st_dev, status.st_ino) != known.stamp[:2]:
                raise Unusable("was replaced while it was read")
            handle = self._resumed(known, raw, blocks[0].start) if known.kind == "gzip" else raw
            for block in blocks:
                if block is blocks[-1] and isinstance(handle, Unpacked):
                    handle.seek(block.start)
                    self._remember(known, handle.mark())
                yield parse(read_block(handle, block), layout, dialect, values, self.naming, self._zone)

    def _resumed(self, known: Known, raw: Readable, start: int) -> Unpacked:
        """Windows mostly move forward: go on unpacking where the last one needed its last block."""
        stamp, mark = self._marks.get(known.path, (known.stamp, None))
        return Unpacked(raw, mark if mark is not None and mark.place <= start and stamp == known.stamp else None)

    def _remember(self, known: Known, mark: Mark) -> None:
        self._marks.pop(known.path, None)
        self._marks[known.path] = known.stamp, mark
        if len(self._marks) > MAX_MARKS:
            del self._marks[next(iter(self._marks))]

    def columns(self, known: Known) -> Ints:
        """The metric of each value column of a wide file, (m,)."""
        assert known.layout is not None
        return np.fromiter((self._vocabulary.metrics.learn(metric) for _, metric in known.layout.columns), np.int64)

    def _metric(self, word: str | None) -> int:
        if word is None:
            return REFUSED
        metric = metric_of(word, self._settings)
        return IGNORED if metric is None else self._vocabulary.metrics.learn(metric)

    def component_of(self, found: Found) -> str:
        """The component that the path names, hostile or not."""
        template = self._settings.component
        if not isinstance(template, str):
            template = "{component}" if found.captured else "{stem}"
        return template.format(stem=found.stem, folder=found.path.parent.name, component=found.captured)

    def _failed(self, known: Known, before: Known | None, why: str, *, try_again: bool) -> Known:
        """Keep what the file once held, to tell what is not known without it."""
        if before is not None:
            before.stamp, known = known.stamp, before
        known.failure, known.try_again = why, try_again
        return known

    def _look_at_all(self, known: Known) -> None:
        with opened(known.path) as (raw, status):
            known.stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            known.kind = kind_of(known.path, raw.read(4))
            raw.seek(0)
            if known.kind != "parquet":
                self._look_at_text(known, Unpacked(raw) if known.kind == "gzip" else raw)
                return
        with opened_parquet(known.path) as file:
            names = flat_names(file)
            known.layout = self._laid_out(known, names)
            known.dialect = sniff_times(file, known.layout, self._settings.missing)
            if known.dialect is not None:
                for group in range(file.num_row_groups):
                    parts = read_group(file, group, known.layout, known.dialect, (), self.naming, self._zone)
                    self._note(known, group, file.metadata.row_group(group).num_rows, parts)

    def _look_at_text(self, known: Known, handle: Readable) -> None:
        packed = known.kind == "gzip"
        head = read_head(handle, self._limits, final=packed)
        if head is None:
            return
        known.delimiter = delimiter_of(head.line, self._settings)
        known.layout = self._laid_out(known, split(head.line, known.delimiter))
        known.body = known.end = head.body
        self._look_on(known, handle, None if packed else known.stamp[2])

    def _grow(self, known: Known, found: Found) -> bool:
        """Look at the new bytes only; False when the file did not just grow, and has to be looked at anew."""
        same_file = known.stamp[:2] == found.stamp[:2] and found.stamp[2] > known.stamp[2]
        if known.kind != "csv" or known.layout is None or not same_file:
            return False
        with opened(known.path) as (raw, status):
            if (status.st_dev, status.st_ino) != found.stamp[:2] or status.st_size < known.end:
                return False
            if marks_of(raw, known.body, known.end) != known.marks:
                return False
            known.stamp = (*found.stamp[:2], status.st_size, status.st_mtime_ns)
            self._look_on(known, raw, status.st_size)
        return True

    def _look_on(self, known: Known, handle: Readable, end: int | None) -> None:
        """Index what lies behind `known.end`."""
        layout = known.layout
        assert layout is not None
        for piece in pieces(handle, known.end, end, len(layout.names), self._limits, final=known.kind == "gzip"):
            known.end = piece.stop
            if not piece.data:
                self._tally.say("lines too long", 1, f"{known.name}: the line at byte {piece.start} is too long")
                continue
            if known.dialect is None:
                known.dialect = sniff(piece.data, layout, known.delimiter, self._settings.decimal, self._settings.missing)
            if known.dialect is None:
                lost = sum(1 for line in piece.data.splitlines() if line.strip())
                self._tally.say("bad rows", lost, f"{known.name}: {lost} rows have no time")
                continue
            rows = parse(piece.data, layout, known.dialect, (), self.naming, self._zone)
            self._note(known, piece.start, piece.stop - piece.start, [rows])
        if known.kind == "csv":
            known.marks = marks_of(handle, known.body, known.end)

    def _note(self, known: Known, start: int, length: int, parts: Sequence[Rows] | Iterator[Rows]) -> None:
        """Remember a block: its times and its series. Rows that can never be used are counted here, once."""
        first, last, found, bad = np.iinfo(np.int64).max, BAD, [known.codes], 0
        for rows in parts:
            good = rows.times != BAD
            for numbers in (rows.components, rows.metrics):
                if numbers is not None:
                    good &= numbers != REFUSED
            bad += rows.lost + int(np.count_nonzero(~good))
            if good.any():
                first, last = min(first, int(rows.times[good].min())), max(last, int(rows.times[good].max()))
                found.append(self._series(known, rows, good))
        if bad:
            self._tally.say(
                "bad rows", bad, f"{known.name}: {bad} rows at {start} have no time, no name or not as many cells as the header"
            )
        if last != BAD:
            known.add(Block(start, length, int(first), last), self._limits.small)
            known.codes = unique(found)

    def _series(self, known: Known, rows: Rows, good: Bools) -> Ints:
        """The series that these rows can have values for."""
        components = np.array([known.component]) if rows.components is None else np.unique(rows.components[good])
        if rows.metrics is None:
            return codes_of(components[None, :], self.columns(known)[:, None]).ravel()
        return np.unique(codes_of(components if rows.components is None else rows.components[good], rows.metrics[good]))

    def _laid_out(self, known: Known, names: Sequence[str]) -> Layout:
        layout = lay_out(names, self._settings)
        if layout.component is None and known.component < 0:
            raise Unusable("its name cannot be a component's, or there are too many")
        return layout


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, as the end of a sentence that begins with its name."""
    if isinstance(error, Unusable):
        return str(error)
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is no complete gzip file"


def label_of(found: Found, folder: Path) -> str:
    """A file's name as people see it: below the folder, printable."""
    try:
        text = str(found.path.relative_to(folder))
    except ValueError:
        text = str(found.path)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
