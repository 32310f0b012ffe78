"""One daemon per state directory, and a directory that is ours alone."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Self

from tocsin.errors import ConfigError

_PATIENCE = 1.0


def prepare(folder: Path) -> Path:
    """The state directory, made with mode 0700 when it is not there.

    Raises ConfigError, in one sentence, when it cannot be made or used, is not ours, or others may write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"state directory {folder} is no directory: name one that is, or one that can be made") from None
    except OSError as error:
        raise ConfigError(f"state directory {folder} cannot be made: {error.strerror}") from error
    if status.st_uid != os.geteuid():
        raise ConfigError(f"state directory {folder} belongs to user {status.st_uid}, not to user {os.geteuid()} who runs tocsin")
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"state directory {folder} can be written by others (mode {mode:04o}): make it 0700 with chmod")
    if mode & stat.S_IRWXU != stat.S_IRWXU or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"state directory {folder} cannot be read and written by tocsin (mode {mode:04o})")
    return folder


class StateLock:
    """Holds a state directory until it is closed or the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when another process holds it (its number is in the sentence) or the directory is refused."""
        prepare(folder)
        try:
            self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if not _taken(self._descriptor):
                    who = _pid(self._descriptor) or "?"
                    raise ConfigError(
                        f"state directory {folder} is used by process {who}: stop that one, or give this one another directory"
                    )
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(self._descriptor)
                raise
        except OSError as error:
            raise ConfigError(f"state directory {folder} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go. The file stays: removing it would let two processes hold two files of one name."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def holder(folder: Path) -> int | None:
    """The process that holds a state directory now, None when nobody does (or we may not look)."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _taken(descriptor: int) -> bool:
    """Take the lock; for a second, because somebody may only be asking who holds it."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        else:
            return True


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else None
