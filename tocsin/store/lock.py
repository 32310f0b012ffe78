"""One daemon per state directory, and a directory that is ours alone."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from tocsin.errors import ConfigError


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
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"state directory {folder} can be written by others (mode {stat.S_IMODE(status.st_mode):04o}): make it 0700 with chmod"
        )
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"state directory {folder} cannot be read and written by tocsin (mode {stat.S_IMODE(status.st_mode):04o})"
        )
    return folder


class Lock:
    """Holds a state directory until it is closed or the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when another process holds it (its number is in the sentence) or the directory is refused."""
        self.folder = prepare(folder)
        path = folder / "lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"state directory {folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "?"
            os.close(self._descriptor)
            raise ConfigError(
                f"state directory {folder} is used by process {holder}: stop that one, or give this one a state directory of its own"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise ConfigError(f"state directory {folder} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go. The file stays: removing it would let two processes hold two files of one name."""
        os.close(self._descriptor)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
