"""Programs from Debian's packages, unpacked into `.tools/` without being installed; the second run needs no network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_TOOLS = Path(__file__).resolve().parents[2] / ".tools"


def program(name: str, packages: Sequence[str], path: str) -> Path:
    """The program, from the cache, the system or Debian's archive; skips the test where it cannot be had.

    `path` is where the first of the packages puts it, such as `usr/sbin/nagios4`.
    """
    cached = _TOOLS / packages[0] / path
    if not cached.exists():
        installed = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
        if installed is not None:
            return Path(installed)
        why = _fetch(packages, path)
        if why:
            pytest.skip(f"no {name} to test with: {why}")
    return cached


def _fetch(packages: Sequence[str], path: str) -> str:
    """Unpack the packages into the cache; the reason why not, where that fails."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return "apt-get and dpkg are needed to fetch it"
    cache = _TOOLS / packages[0]
    download = cache.with_suffix(".download")
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir(parents=True)
    try:
        fetch = ["apt-get", "download", *packages]
        if _run(fetch, download) and (_run(["apt-get", "update", "-q"], download) or _run(fetch, download)):
            return f"apt-get download {' '.join(packages)}: {_last_line(download)}"
        for package in download.glob("*.deb"):
            if _run(["dpkg", "-x", str(package), str(download / "root")], download):
                return f"dpkg -x {package.name}: {_last_line(download)}"
        missing = subprocess.run(["ldd", download / "root" / path], capture_output=True, text=True, check=False).stdout
        if "not found" in missing:
            return "it needs shared libraries that this machine does not have"
        shutil.rmtree(cache, ignore_errors=True)
        (download / "root").rename(cache)
    finally:
        shutil.rmtree(download, ignore_errors=True)
    return ""


def _run(command: list[str], folder: Path) -> int:
    with (folder / "log").open("wb") as log:
        try:
            return subprocess.run(command, cwd=folder, stdout=log, stderr=log, timeout=120, check=False).returncode
        except subprocess.TimeoutExpired:
            log.write(b"no answer within two minutes\n")
            return 1


def _last_line(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
