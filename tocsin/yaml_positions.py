"""YAML as plain values that remember where they were written, and nothing that a configuration does not need.

Read as YAML 1.2: `22:30` and `no` are text. Refused, each in one sentence: duplicate keys, anchors, aliases, tags,
several documents, control characters, files of more than 1 MiB, lines of more than 10,000 characters, more than 20
levels or 20,000 values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

MAX_BYTES, MAX_LINE, MAX_DEPTH, MAX_VALUES = 1 << 20, 10_000, 20, 20_000

Place: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of a document down to a value."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One mistake, where it was made, and the path of keys that leads there."""

    file: str
    line: int
    column: int
    path: str
    sentence: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return _printable(f"{where}: {self.path}: {self.sentence}" if self.path else f"{where}: {self.sentence}")


@dataclass(frozen=True, kw_only=True)
class Document:
    """The values of a file and their positions, (line, column) counted from 1. `data` is None when nothing could be read."""

    path: Path
    data: Any = None
    keys: dict[Place, tuple[int, int]] = field(default_factory=dict)
    values: dict[Place, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, place: Place, sentence: str, *, at_key: bool = False) -> Problem:
        """A mistake at a place; one that was not written has the position of the nearest thing around it that was."""
        mark, around = None, place
        if place in self.values:
            value = self.value(place)
            # An empty value has no position of its own, and a block begins on the line below its key.
            by_key = at_key or value is None or isinstance(value, dict | list)
            mark = self.keys.get(place, self.values[place]) if by_key else self.values[place]
        while mark is None and around:
            around = around[:-1]
            mark = self.keys.get(around) or self.values.get(around)
        line, column = mark or (1, 1)
        return Problem(file=str(self.path), line=line, column=column, path=spell(place), sentence=sentence)

    def value(self, place: Place) -> Any:
        """The value that was written there."""
        value = self.data
        for step in place:
            value = value[step]
        return value


def spell(place: Place) -> str:
    """`collect[0].metrics["latency.p95"].unit`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w-]{1,60}", step):
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def quoted(text: str) -> str:
    """Text from outside, between quotes, short and printable."""
    return f'"{_printable(text if len(text) <= 60 else text[:57] + "...")}"'


def _printable(text: str) -> str:
    # Direction marks and control characters would let a file forge what a terminal shows.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read(path: Path) -> Document:
    """Read one file. Never raises: what is wrong is in `Document.problems`, and reading goes on where that makes sense."""
    try:
        if path.is_dir():
            return _refused(path, "is a folder; name a file in it, such as tocsin.yaml")
        if path.exists() and not path.is_file():
            return _refused(path, "is no regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        return _refused(path, "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}")
    except ValueError as error:
        return _refused(path, f"is no file name: {error}")
    if len(raw) > MAX_BYTES:
        return _refused(path, "more than 1 MiB; a configuration is written by people")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _line_and_column(raw[: error.start].decode("utf-8", "replace"))
        return _refused(path, f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8", line, column)
    for number, written in enumerate(text.split("\n"), start=1):
        if len(written) > MAX_LINE:  # the parser's time for some lines grows with the square of their length
            return _refused(path, f"a line of more than {MAX_LINE:,} characters; a configuration is written by people", number, 1)
    return _Builder(path).build(text)


def _refused(path: Path, sentence: str, line: int = 0, column: int = 0) -> Document:
    return Document(path=path, problems=(Problem(file=str(path), line=line, column=column, path="", sentence=sentence),))


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _StopError(Exception):
    """Reading on would make no sense."""


class _Builder:
    """Turns the parser's events into plain values. The parser works lazily, so the caps hold before the work is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[Place, tuple[int, int]] = {}
        self._values: dict[Place, tuple[int, int]] = {}
        self._problems: list[Problem] = []

    def build(self, text: str) -> Document:
        data = None
        try:
            data = self._document(iter(YAML(typ="safe", pure=True).parse(text)))
        except _StopError:
            pass
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column, index = (mark.line, mark.column, mark.index) if isinstance(mark, StringMark) else (0, 0, 0)
            self._say(line + 1, column + 1, (), _syntax(error, text, index))
        except ReaderError as error:
            line, column = _line_and_column(text[: error.position])
            self._say(line, column, (), f"character U+{ord(text[error.position]):04X} has no place in YAML")
        except Exception as error:  # noqa: BLE001  (the parser lets others out: OverflowError for "\UFFFFFFFF", AssertionError …)
            self._say(1, 1, (), f"is no YAML: {type(error).__name__}: {quoted(str(error))}")
        return Document(path=self._path, data=data, keys=self._keys, values=self._values, problems=tuple(self._problems))

    def _document(self, events: Iterator[Event]) -> Any:
        data: Any = None
        documents = 0
        for event in events:
            if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                continue
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(event, (), "a second document begins here; one file holds one")
                continue
            data = self._value(event, events, ())
        if data is None:
            self._say(1, 1, (), "is empty")
        return data

    def _value(self, event: Event, events: Iterator[Event], place: Place) -> Any:
        if isinstance(event, AliasEvent):
            self._stop(event, place, "aliases (*) are not read here; write it out")
        if len(place) > MAX_DEPTH:
            self._stop(event, (), f"more than {MAX_DEPTH} levels")
        if len(self._values) >= MAX_VALUES:
            self._stop(event, (), f"more than {MAX_VALUES:,} values")
        self._check(event, place)
        self._values[place] = _mark(event)
        if isinstance(event, ScalarEvent):
            return event.value if event.style is not None else _resolved(event.value)
        if isinstance(event, SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := next(events), SequenceEndEvent):
                items.append(self._value(inner, events, (*place, len(items))))
            return items
        mapping: dict[str, Any] = {}
        while not isinstance(inner := next(events), MappingEndEvent):
            key = self._key(inner, place)
            inside: Place = (*place, key)
            if key in mapping:
                line, column = _mark(inner)
                self._say(line, column, inside, f"is there twice, first in line {self._keys[inside][0]}")
                self._value(next(events), events, (*place, -1))  # a place nobody asks about
            else:
                self._keys[inside] = _mark(inner)
                mapping[key] = self._value(next(events), events, inside)
        return mapping

    def _key(self, event: Event, place: Place) -> str:
        if not isinstance(event, ScalarEvent):
            self._stop(event, place, "a key must be text")
        self._check(event, place)
        if event.value == "" and event.style is None:
            self._stop(event, place, "a key is missing here")
        return str(event.value)

    def _check(self, event: Event, place: Place) -> None:
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent)
        if event.anchor is not None:
            self._stop(event, place, "anchors (&) are not read here; write it out where it is needed")
        if event.tag is not None:
            self._stop(event, place, f"tags such as {quoted(event.tag)} are not read here")
        if isinstance(event, ScalarEvent) and (unwanted := _UNWANTED.search(event.value)):
            self._stop(event, place, f"control character U+{ord(unwanted[0]):04X} has no place here")

    def _stop(self, event: Event, place: Place, sentence: str) -> NoReturn:
        self._say(*_mark(event), place, sentence)
        raise _StopError

    def _say(self, line: int, column: int, place: Place, sentence: str) -> None:
        self._problems.append(Problem(file=str(self._path), line=line, column=column, path=spell(place), sentence=sentence))


def _mark(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _resolved(text: str) -> Any:
    """What an unquoted scalar means in the core schema of YAML 1.2 (without 0x and 0o, which nobody writes here)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= 400 and _NUMBER.fullmatch(text):
        return float(text)
    return float(_SPECIAL[text.lower()]) if text.lower() in _SPECIAL else text


def _syntax(error: MarkedYAMLError, text: str, index: int) -> str:
    if text[index : index + 1] == "\t":
        return "a tab cannot indent YAML; use spaces"
    said = ", ".join(filter(None, (error.context, error.problem)))
    return f"is no YAML: {said[:200]}"
