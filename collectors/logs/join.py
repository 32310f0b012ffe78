"""Lines that belong together become one entry: a stack trace is one event, however many lines its source made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tocsin.model import LogLine

MOST_LINES = 200
"""An entry has no more lines; what follows is a new one."""
PATIENCE = 5.0
"""Seconds after its first line within which an entry goes on."""

_FRAMES = r"at\s+[\w$.<>/]+[(.]|at async |\.\.\. \d+ (?:more|common frames)|--- End of "
_CAUSES = r"(?:Caused by|Suppressed|Cause|Causée? par|Nested exception)\b"
_GOES_ON = re.compile(
    r"\s+\S"  # indented
    rf"|\s*(?:{_FRAMES}|{_CAUSES}:?)"
    r"|(?:Traceback \(most recent|During handling of the above|The above exception was)"
    r"|(?:goroutine \d+ \[|created by |exit status \d+|panic\.go|runtime\.\w+\()"
    r"|[)}\]]+[,;]?\s*$"
    r"|\s*$"
)
_LAST_OF_PYTHON = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning|Interrupt|Exit)(?::|\s*$)")
_FRAME = re.compile(r"\s*(?:at\s|\.\.\. \d+ |File \"|\s+\^+|---|goroutine |created by |\s+/|\s{2,})")
_CAUSE = re.compile(rf"\s*{_CAUSES}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One event: where its lines stand in what was given, in order of time."""

    lines: tuple[int, ...]
    text: str


def join(lines: Sequence[LogLine], order: Iterable[int]) -> list[Entry]:
    """Entries of one component, from the positions of its lines in order of time. Every line is in exactly one entry."""
    entries: list[Entry] = []
    places: list[int] = []
    parts: list[str] = []
    for place in order:
        line = lines[place]
        if places and len(places) < MOST_LINES and line.at - lines[places[0]].at <= PATIENCE and _goes_on(line.text, parts):
            places.append(place)
            parts.append(line.text)
            continue
        if places:
            entries.append(Entry(lines=tuple(places), text=gist(parts)))
        places, parts = [place], [line.text]
    if places:
        entries.append(Entry(lines=tuple(places), text=gist(parts)))
    return entries


def _goes_on(text: str, before: Sequence[str]) -> bool:
    if _GOES_ON.match(text):
        return True
    # Python names the exception after the frames: the last line is not indented.
    return (
        len(before) > 1 and before[-1][:1].isspace() and bool(_LAST_OF_PYTHON.match(text)) and "Traceback" in "".join(before[:3])
    )


def gist(parts: Sequence[str]) -> str:
    """What tells one kind of event from another: the first line, and the causes and exceptions among the others.

    A part may have several lines itself. Frames are left out: their line numbers change with every build.
    """
    every = [line for part in parts for line in part.splitlines()[:MOST_LINES]] if len(parts) > 1 or "\n" in parts[0] else parts
    every = [line for line in every if line.strip()]
    if len(every) < 2:
        return every[0] if every else ""
    told = [every[0]]
    for line in every[1:MOST_LINES]:
        if len(told) < 6 and not _FRAME.match(line) and (_CAUSE.match(line) or _LAST_OF_PYTHON.match(line)):
            told.append(line.strip())
    return "\n".join(told) if not _FRAME.match(every[0]) else "\n".join(["(frames of a stack trace)", *told[1:]])
