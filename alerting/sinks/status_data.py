"""The engine's status file: what it shows, as it last wrote it down.

    info {
        created=1763779210
        }
    servicestatus {
        host_name=srv-db-01
        service_description=Anomaly-cpu
        has_been_checked=1
        current_state=2
        last_check=1763779201
        plugin_output=CRITICAL: …
        }

The engine writes a new file and renames it over the old one, so a file that can be opened is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tocsin.errors import TransientError
from tocsin.model import ServiceKey, Severity, Shown

_LONGEST_LINE = 65_536


def read_status(path: Path, now: float, most_age: float) -> Iterator[Shown]:
    """Every service of the file. TransientError when there is no file, it is no status file, or it was written too long ago."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from _services(_blocks(iter(lambda: lines.readline(_LONGEST_LINE), "")), path, now, most_age)
    except OSError as error:
        raise TransientError(f"{path}: {error.strerror}") from error


def _services(blocks: Iterable[tuple[str, dict[str, str]]], path: Path, now: float, most_age: float) -> Iterator[Shown]:
    created = None
    for kind, block in blocks:
        if kind == "info":
            created = _integer(block.get("created", ""))
            if created is not None and now - created > most_age:
                raise TransientError(f"{path} was written {now - created:.0f} s ago: is the engine running?")
        elif kind == "servicestatus":
            shown = _shown(block)
            if shown is not None:
                yield shown
    if created is None:
        raise TransientError(f"{path} does not say when it was written: expected an engine's status file")


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    kind, block = "", dict[str, str]()
    for line in lines:
        text = line.strip()
        if kind and text == "}":
            yield kind, block
            kind = ""
        elif kind:
            name, separator, value = text.partition("=")
            if separator:
                block[name] = value
        elif text.endswith("{"):
            kind, block = text[:-1].strip(), {}


def _shown(block: dict[str, str]) -> Shown | None:
    """None for a block we cannot understand: it is left out, as if the service were not there."""
    code, last_check = _integer(block.get("current_state", "")), _integer(block.get("last_check", ""))
    host, service = block.get("host_name"), block.get("service_description")
    if host is None or service is None or code is None or code > 3 or last_check is None:
        return None
    checked = block.get("has_been_checked") == "1"
    return Shown(
        service=ServiceKey(host, service),
        code=Severity(code) if checked else None,
        text=block.get("plugin_output", ""),
        last_check=last_check,
    )


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
