"""A PostgreSQL server of our own for the tests: found on the machine, or unpacked from Debian without installing it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "postgresql"
NOBODY = 65534


@contextmanager
def server() -> Iterator[str]:
    """Starts an empty server and gives the URL of its database; skips the test, with the reason, when there cannot be one."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="tocsin-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        _run([programs / "initdb", "-D", folder / "data", "-U", "tocsin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        )
        _run([programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w", "-o", options, "start"])
        try:
            yield f"postgresql+pg8000://tocsin@127.0.0.1:{port}/postgres"
        finally:
            _run([programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache
def _programs() -> Path:
    """The folder of initdb and pg_ctl."""
    for root in (Path("/usr/lib/postgresql"), TOOLS / "usr" / "lib" / "postgresql"):
        for folder in sorted(root.glob("*/bin"), reverse=True):
            if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
                return folder
    on_path = shutil.which("initdb")
    if on_path and shutil.which("pg_ctl"):
        return Path(on_path).resolve().parent
    return _unpacked()


def _unpacked() -> Path:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        pytest.skip("no PostgreSQL on this machine, and no Debian to take one from")
    TOOLS.mkdir(parents=True, exist_ok=True)
    try:
        found = _output(["apt-cache", "search", "--names-only", "^postgresql-[0-9]+$"]).split()
        package = max((word for word in found if word.startswith("postgresql-")), key=lambda name: int(name.rpartition("-")[2]))
        _output(["apt-get", "download", package, "libpq5"], cwd=TOOLS)
        for archive in TOOLS.glob("*.deb"):
            _output(["dpkg", "-x", str(archive), str(TOOLS)])
            archive.unlink()
        (folder,) = (TOOLS / "usr" / "lib" / "postgresql").glob("*/bin")
        _run([folder / "initdb", "--version"])
        _run([folder / "postgres", "--version"])
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        shutil.rmtree(TOOLS, ignore_errors=True)
        pytest.skip(f"no PostgreSQL on this machine, and none could be unpacked: {error}")
    return folder


def _run(command: list[str | Path]) -> None:
    """As nobody when we are root, because PostgreSQL refuses to run as root."""
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    libraries = ":".join(str(folder) for folder in (TOOLS / "usr" / "lib").glob("*-linux-gnu*"))
    environment = os.environ | {"LC_ALL": "C", "LD_LIBRARY_PATH": libraries}
    # The server inherits what it is given as output, so nothing may wait for that to be closed.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            [*prefix, *map(str, command)], stdout=said, stderr=said, env=environment, cwd="/", timeout=60, check=False
        )
        if done.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            raise subprocess.SubprocessError(f"{Path(str(command[0])).name}: {text or done.returncode}")


def _output(command: list[str], cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180, check=True).stdout
