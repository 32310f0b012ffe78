"""A log entry as its source gave it → one harmless line and its level."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,32}[ -/]?[@-~]|\x1b[@-Z\\-_]")
_SPACES = re.compile(r"\s+")
_TEXT_KEYS = ("message", "msg", "log", "@message", "MESSAGE", "short_message", "body", "text", "event")
_LEVEL_KEYS = (
    "level",
    "log.level",
    "severity",
    "severity_text",
    "severityText",
    "levelname",
    "loglevel",
    "lvl",
    "@l",
    "PRIORITY",
)
_CLASS_KEYS = ("error.type", "exception.type", "exception_class")
MOST_JSON = 65_536


def harmless(text: str, most: int) -> str:
    """One line of at most `most` bytes without control characters; line breaks become ` | `. Harmless again is the same."""
    if len(text) > most:
        text = text[:most]
    if not text.isprintable():  # controls, line ends, invisible, direction-changing and private characters, halves of pairs
        text = _ANSI.sub("", text)
        if "\n" in text or "\r" in text:
            text = " | ".join(part for part in (part.strip() for part in text.splitlines()) if part)
        text = _SPACES.sub(" ", "".join(char if char.isprintable() else " " for char in text))
    elif "  " in text:
        text = _SPACES.sub(" ", text)
    text = text.strip()
    if len(text.encode()) > most:
        text = text.encode()[:most].decode(errors="ignore").rstrip()
    return text


def unpack(text: str) -> tuple[str, str]:
    """(message, level word) of an entry; the level is empty unless the entry is JSON that tells it.

    {"log": "20:00:36.278 INFO pay ok\\n", "stream": "stdout"}     → 20:00:36.278 INFO pay ok
    """
    body = text.strip() if text[:1].isspace() else text
    if not body.startswith("{") or len(body) > MOST_JSON:
        return text, ""
    try:
        entry = json.loads(body)
    except (ValueError, RecursionError):
        return text, ""
    message = next((found for key in _TEXT_KEYS if isinstance(found := _at(entry, key), str) and found.strip()), "")
    if not message:
        return text, ""
    level = next((str(found) for key in _LEVEL_KEYS if isinstance(found := _at(entry, key), str | int)), "")
    kind = next((found for key in _CLASS_KEYS if isinstance(found := _at(entry, key), str)), "")
    return (f"{message} [{kind}]" if kind and kind not in message else message), level


def _at(entry: object, key: str) -> object:
    """`a.b` as it is written, or nested."""
    if not isinstance(entry, Mapping):
        return None
    if key in entry:
        return entry[key]
    first, dot, rest = key.partition(".")
    return _at(entry.get(first), rest) if dot else None
