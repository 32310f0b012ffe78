"""One daemon per state directory; a directory others can reach is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin.store.lock import StateLock, holder, prepare

HOLD = """
import sys, time
from pathlib import Path
from tocsin.store.lock import StateLock
with StateLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def somebody_holds(folder: Path) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def test_a_second_daemon_is_told_who_holds_the_directory_until_that_one_dies(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert holder(folder) is None
    with somebody_holds(folder) as pid:
        assert holder(folder) == pid
        with pytest.raises(ConfigError, match=f"{folder} is used by process {pid}: ") as refused:
            StateLock(folder)
        assert len(refused.value.problems) == 1
    assert holder(folder) is None
    with StateLock(folder):  # it was killed, and left nothing to clean up
        assert holder(folder) == os.getpid()
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
            StateLock(folder)
    with StateLock(folder):
        pass


def test_a_new_directory_is_ours_alone(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        (0o777, "can be written by others"),
        (0o770, "can be written by others"),
        (0o500, "cannot be read"),
        (0o300, "cannot be read"),
    ],
)
def test_a_directory_with_wrong_permissions_is_refused(mode: int, sentence: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    try:
        with pytest.raises(ConfigError, match=f"{folder} {sentence}") as refused:
            StateLock(folder)
    finally:
        folder.chmod(0o700)
    assert len(refused.value.problems) == 1
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        StateLock(folder)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/tocsin")):
        with pytest.raises(ConfigError, match=f"state directory {folder} ") as refused:
            StateLock(folder)
        assert "\n" not in str(refused.value)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be written"):
        StateLock(tmp_path / "state")
    assert not (tmp_path / "elsewhere").exists()
