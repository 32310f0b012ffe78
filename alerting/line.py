"""The one place that builds a line for the engine. Nothing else may write to its command file.

Whatever is in a text, the engine reads exactly one command with our host, service and code: every character that could
end a line, a field or the text is replaced, and the line stays far below the size at which the engine's reader (8,190
bytes) would take the rest for a new command, and below what a pipe writes in one piece (4,096).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tocsin.model import CheckResult, Desired, Perf

MOST_BYTES = 4000
MOST_PERF_BYTES = 1024
MOST_FIRST_LINE = 256

_COMMAND = "PROCESS_SERVICE_CHECK_RESULT"
# `;` ends a field, `|` starts perfdata, a backslash starts an escape (and doubling it does not help); the others are
# what engine and gateway delete from macros, which would leave a text that says something else.
_REPLACED = str.maketrans({";": ",", "|": "¦", "\\": "/", "`": "’", "'": "’", '"': "”", "<": "‹", ">": "›", "&": "+", "$": "S"})
_NEVER_IN_NAMES = frozenset("~!$%^&*\"|'<>?,()=`;\\")
_UNITS = frozenset({"", "s", "ms", "us", "%", "B", "b", "b/s"})


def clean(text: str) -> str:
    """Text that is safe in every field: one line, printable, without what the engine would interpret."""
    # Normalised first: U+037E and U+1FEF would only now become a semicolon and a backtick.
    text = unicodedata.normalize("NFC", text[: 2 * MOST_BYTES]).translate(_REPLACED)
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def check_name(name: str) -> str:
    """The name of a host or service, as it is; a ValueError when the engine could not have an object of that name."""
    if not name or len(name.encode(errors="replace")) > 255:
        raise ValueError(f"{name[:60]!r} cannot be the name of a host or service: expected 1 to 255 bytes")
    bad = next((char for char in name if char in _NEVER_IN_NAMES or not char.isprintable()), None)
    if bad is not None or name != name.strip():
        what = "a space at an end" if bad is None else repr(bad)
        raise ValueError(f"{name[:60]!r} cannot be the name of a host or service: it has {what}")
    return name


def perfdata(values: Iterable[Perf], most_bytes: int = MOST_PERF_BYTES) -> str:
    """`'label'=1.5ms 'other'=2`; what is not finite, repeated or does not fit is left out, whole values only."""
    parts: list[str] = []
    labels: set[str] = set()
    left = most_bytes
    for perf in values:
        label = " ".join(clean(perf.label).replace("=", ":").replace(",", ".").replace("’", " ").split())
        if not label or label in labels or not math.isfinite(perf.value):
            continue
        part = f"'{label}'={_number(perf.value)}{perf.unit if perf.unit in _UNITS else ''}"
        size = len(part.encode()) + 1
        if size <= left:
            labels.add(label)
            parts.append(part)
            left -= size
    return " ".join(parts)


def result_line(result: CheckResult) -> bytes:
    """The command for one result, newline included, at most 4,000 bytes. ValueError for a name that cannot be.

    A newline in the text becomes the engine's own line break: the first line is the short output, the rest the long.
    """
    text, perf = result_fields(result)
    return (_head(result) + (f"{text}|{perf}" if perf else text) + "\n").encode()


def result_fields(result: CheckResult) -> tuple[str, str]:
    """Output and perfdata as they may stand in the command, for transports that build the line on the far side.

    Both together, with our host and service, make a line of at most 4,000 bytes. ValueError as `result_line`.
    """
    perf = perfdata(result.perf)
    first, *more = (clean(line).strip() for line in result.text[: 2 * MOST_BYTES].split("\n"))
    short = first if len(first) <= MOST_FIRST_LINE else first[: MOST_FIRST_LINE - 1] + "…"
    text = "\\n".join([short or "(no text)", *(line for line in more if line)])
    room = MOST_BYTES - len(_head(result).encode()) - len(perf.encode()) - len("|\n")
    # Never in the middle of a character or a line break.
    return text.encode()[:room].decode(errors="ignore").rstrip("\\"), perf


def _head(result: CheckResult) -> str:
    host, service = check_name(result.service.host), check_name(result.service.service)
    return f"[{int(result.at)}] {_COMMAND};{host};{service};{int(result.code)};"


def thresholds_line(path: Path, at: int) -> bytes:
    """The command that has Centreon Engine read a thresholds file again. ValueError for a path that cannot be in a command."""
    text = str(path)
    if not path.is_absolute() or set(text) & _NEVER_IN_NAMES or not text.isprintable() or len(text.encode()) > 1024:
        raise ValueError(f"{text[:80]!r} cannot be named to the engine: expected a plain absolute path")
    return f"[{at}] NEW_THRESHOLDS_FILE;{text}\n".encode()


def _number(value: float) -> str:
    """A plain decimal where that is short, never with a comma."""
    text = f"{value:.9g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e15 else text


def readable(said: CheckResult | Desired) -> str:
    """`HOST;SERVICE;CODE;TEXT|PERFDATA`, for a person who looks on."""
    perf = perfdata(said.perf)
    line = f"{said.service.host};{said.service.service};{int(said.code)};{said.text}"
    return f"{line}|{perf}" if perf else line
