"""What was learnt of logs, in a file of our own: JSON, versioned, written whole or not at all, believed only after a look.

    {"format": 1, "templates": [{"number": 7, "name": "a94f0c11", "words": ["=failed", "job", "<id>", "failed"], …}],
     "components": {"web1": {"first": 1767225600, "last": …, "levels": ["error"], "templates": {"a94f0c11": [first, last]}}},
     "read": [[1767225600, 1767312000]]}

Whoever may write the file can make templates look known: it holds masked text only, and no code is ever made of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collectors.logs.known import MOST_PAIRS, MOST_STRETCHES, Known, Registry, Stretches
from collectors.logs.levels import LEVELS
from collectors.logs.mine import ESTABLISHED, MOST_WORDS, Template
from collectors.logs.text import harmless

FORMAT = 1
MOST_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[0-9a-f]{8}")
_LATEST = 1 << 40


class Unbelievable(Exception):
    """The file is not one of ours; the message is the end of a sentence that begins with its name."""


def write(path: Path, templates: Mapping[int, Template], registry: Registry) -> None:
    """Replace the file. Raises OSError; the file is then the one from before."""
    body = {
        "format": FORMAT,
        "templates": [
            {
                "number": one.number,
                "name": one.name,
                "words": one.words,
                "seen": one.seen,
                "used": one.used,
                "first": one.first,
                "last": one.last,
                "groups": sorted(one.groups),
            }
            for one in templates.values()
            if one.name
        ],
        "components": {
            name: {
                "first": known.first,
                "last": known.last,
                "levels": sorted(known.levels),
                "templates": known.templates,
                "other": known.other,
                "waits": known.waits,
            }
            for name, known in registry.components.items()
        },
        "read": registry.stretches.all,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    # Nobody else on the machine needs to read what applications log.
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(body, file, ensure_ascii=True, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path, registry: Registry, most_templates: int) -> list[Template]:
    """Fill the registry, and the templates that were known; nothing when there is no file. Raises `Unbelievable`, OSError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    if len(data) > MOST_BYTES:
        raise Unbelievable(f"is larger than {MOST_BYTES >> 20} MiB")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unbelievable("is no JSON") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise Unbelievable(f"has another format than {FORMAT}")
    try:
        templates = [_template(one) for one in _list(body["templates"], most_templates)]
        if len({one.number for one in templates}) != len(templates):
            raise ValueError("a template is there twice")
        components = _dict(body["components"], registry.most_components)
        known = {_text(name, 255): _known(one, registry.most_templates) for name, one in components.items()}
        stretches = Stretches((_time(start), _time(end)) for start, end in _list(body["read"], MOST_STRETCHES))
    except (KeyError, TypeError, ValueError) as error:
        raise Unbelievable("does not hold what it should") from error
    pairs = sum(len(one.templates) for one in known.values())
    if pairs > MOST_PAIRS:
        raise Unbelievable("holds more than was ever written")
    registry.components, registry.stretches, registry.pairs = known, stretches, pairs
    return templates


def _template(one: Any) -> Template:
    words = tuple(_text(word, 65_536) for word in _list(one["words"], MOST_WORDS + 1))
    if not words or not words[0].startswith("="):
        raise ValueError("no template")
    return Template(
        number=_number(one["number"], 1 << 60),
        name=_named(one["name"]),
        words=words,
        seen=_number(one["seen"], ESTABLISHED),
        used=_number(one["used"], 1 << 60),
        first=_time(one["first"]),
        last=_time(one["last"]),
        groups=_levels(one["groups"]),
    )


def _known(one: Any, most_templates: int) -> Known:
    templates = _dict(one["templates"], most_templates)
    levels = _levels(one["levels"])
    # Files written before requests were told say nothing of waits.
    other, waits = one["other"], one.get("waits", False)
    if other not in (True, False) or waits not in (True, False):
        raise ValueError("no component")
    followed = {_named(name): [_time(first), _time(last)] for name, (first, last) in templates.items()}
    return Known(
        first=_time(one["first"]),
        last=_time(one["last"]),
        levels=levels,
        templates=followed,
        other=bool(other),
        waits=bool(waits),
    )


def _levels(value: Any) -> set[str]:
    levels = {str(level) for level in _list(value, len(LEVELS) + 1)}
    if not levels <= {"", *LEVELS}:
        raise ValueError("no levels")
    return levels


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("no list of that size")
    return value


def _dict(value: Any, most: int) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > most:
        raise ValueError("no object of that size")
    return value


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or not value or harmless(value, most) != value:
        raise ValueError("no harmless text")
    return value


def _named(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("no name")
    return value


def _number(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no number in bounds")
    return value


def _time(value: Any) -> int:
    return _number(value, _LATEST)
