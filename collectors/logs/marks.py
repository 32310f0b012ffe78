"""What stands for what was masked: `<num>`, `<user>`, ….

While rules run, each is one private character, which counts as part of a word: no rule looks into another's result, and a
line that is already masked comes out as it went in.
"""

from __future__ import annotations

import re

NAMES = (
    *("num", "hex", "id", "uuid", "ip", "mac", "email", "user", "secret", "name", "query", "tmp", "str", "blob", "time"),
    *("duration", "size", "iban", "card", "nir", "phone", "1xx", "2xx", "3xx", "4xx", "5xx"),
)
MARK = {name: chr(0xE000 + place) for place, name in enumerate(NAMES)}
_SPELLED = {ord(mark): f"<{name}>" for name, mark in MARK.items()} | {0xE100 + digit: str(digit) for digit in range(10)}
_KEPT = str.maketrans("0123456789", "".join(chr(0xE100 + digit) for digit in range(10)))
_MASKED = re.compile("<(" + "|".join(NAMES) + ")>")

MARKS = r"\uE000-\uE1FF"
W = rf"\w{MARKS}"
"""Marks, and the characters of a word with marks among them; to be put in brackets."""
L, R = rf"(?<![{W}])", rf"(?![{W}])"
"""Where a word begins and ends."""


def folded(line: str) -> str:
    """`<num>` → its private character."""
    return _MASKED.sub(lambda found: MARK[found[1]], line) if "<" in line else line


def spelled(text: str) -> str:
    """The reverse, and digits that were to be kept come back."""
    return text.translate(_SPELLED)


def kept(text: str) -> str:
    """These digits are part of a name (`ORA-00600`, `HTTP/1.1`): no rule sees them as a number."""
    return text.translate(_KEPT)


def words(*parts: str) -> str:
    """Alternatives of a pattern, from lists with blanks between them."""
    return "|".join(word for part in parts for word in part.split())
