"""Files that are either there as a whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path
from urllib.parse import quote


def write_whole(path: Path, write: Callable[[BufferedRandom], None]) -> None:
    """Give `path` new contents that survive a power cut: all of it or nothing, readable by us only.

    `write` fills a file beside it, which is synced and takes the place of the old one. Raises OSError, and whatever
    `write` raises; then nothing has changed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged-N` beside it, and say where it is now."""
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.replace(path, target)
    return target


def file_name(name: str) -> str:
    """A name from outside as the name of one file or folder: distinct names stay distinct, none leaves its folder."""
    quoted = quote(name, safe=" ")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted or "%"
