"""An SQLite state file that is damaged or lost is replaced by its last good copy, loudly."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tocsin import failpoints
from tocsin.errors import ConfigError
from tocsin.store.files import move_aside, sync_folder, write_whole


def fault(path: Path) -> str:
    """Why a database file cannot be trusted; empty when it can."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            answers = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # somebody reads or writes it, so it is not beyond use
            return ""
        return str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if answers == [("ok",)] else str(answers[0][0]).splitlines()[0]


def make_sound(path: Path) -> list[str]:
    """Check the file at `path` and put the newest good copy in its place if it is damaged or lost.

    Returns sentences about what happened, none when all is well. The damaged file is kept beside it. Raises ConfigError
    when files cannot be moved.
    """
    copies = sorted(_folder(path).glob("*.db"), reverse=True)
    try:
        if path.exists() and path.stat().st_size:
            reason = fault(path)
            if not reason:
                return []
            kept = move_aside(path)
            problem = f"state database {path} was damaged ({reason}) and is kept as {kept.name}"
        elif copies:
            problem = f"state database {path} was gone"
        else:
            return []
        for suffix in ("-wal", "-shm"):
            # Left beside another file they would be taken for its own.
            if (beside := path.with_name(path.name + suffix)).exists():
                move_aside(beside)
        for copy_file in copies:
            if not fault(copy_file):
                with copy_file.open("rb") as source:
                    write_whole(path, lambda target: shutil.copyfileobj(source, target))
                return [f"{problem}; the copy {copy_file.name} took its place, what came after it will be judged again"]
    except OSError as error:
        raise ConfigError(f"state database {path} is damaged and cannot be replaced: {error.strerror}") from error
    return [f"{problem}; there was no good copy, so it starts empty: open incidents are found again as they go on"]


def copy(path: Path, now: float, keep: int) -> Path:
    """Copy the database, which may be in use, into the folder of copies; keep the newest `keep`."""
    folder = _folder(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{path.stem}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.db"
    temporary = target.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(temporary),))
    temporary.chmod(0o600)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    failpoints.reached("before_backup_rename")
    os.replace(temporary, target)
    sync_folder(folder)
    for old in sorted(folder.glob("*.db"), reverse=True)[keep:]:
        old.unlink(missing_ok=True)
    return target


def _folder(path: Path) -> Path:
    return path.parent / "backups"
