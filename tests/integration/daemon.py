"""A daemon in a process of its own, fed by a folder that grows, for integration tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tocsin.config import load
from tocsin.model import Floats
from tocsin.shard import STREAM
from tocsin.store.state import State

SPAN = 10
DELAY = 8
TYPE = "web"

_MAIN = """\
state: {state}
deliver:
  sink: {{use: command-file, command_file: {commands}, status_file: {status}}}
  reassert: 30s
  read_back: 10s
train: {{every: 30d, history: 4d}}
http: {{listen: "127.0.0.1:{port}"}}
"""
_TYPE = """\
component_type: {name}
timezone: Europe/Paris
every: {span}s
delay: {delay}s
collect: [{{from: files, path: "{data}/*.csv", metrics: {{requests: {{unit: "/s"}}}}}}]
alert: {{ladder: status}}
"""


class Feed:
    """A folder of one CSV a component: days of history, then a row a bucket in real time. `trouble[name]` multiplies."""

    def __init__(self, folder: Path, series: Mapping[str, Floats], history: int) -> None:
        self.folder, self._series, self._history = folder, series, history
        self.trouble: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        folder.mkdir()
        self._now = int(time.time()) // SPAN * SPAN
        start = self._now - history * SPAN
        for name, values in series.items():
            rows = [f"{start + place * SPAN},{value:.10g}" for place, value in enumerate(values[:history])]
            (folder / f"{name}.csv").write_text("\n".join(["timestamp,requests", *rows]) + "\n")
        self._written = history

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            while self._now + SPAN <= time.time() + 1:
                for name, values in self._series.items():
                    value = values[self._written % len(values)] * self.trouble.get(name, 1.0)
                    with (self.folder / f"{name}.csv").open("a") as file:
                        file.write(f"{self._now},{value:.10g}\n")
                self._now += SPAN
                self._written += 1


class Daemon:
    """`tocsin run` on a configuration in `folder`."""

    def __init__(self, folder: Path, data: Path, commands: Path, status: Path, port: int) -> None:
        self.folder, self.config = folder, folder / "tocsin.yaml"
        (folder / "components").mkdir(parents=True)
        self.config.write_text(_MAIN.format(state="var", commands=commands, status=status, port=port))
        (folder / "components" / f"{TYPE}.yaml").write_text(_TYPE.format(name=TYPE, span=SPAN, delay=DELAY, data=data))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of tocsin on the same configuration."""
        return subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments, "-c", str(self.config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tocsin", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """kill -9, at once, with whatever it started."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=15)
        self._process = None
        return code

    def end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.kill()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def __str__(self) -> str:
        return self.log[-5000:]

    def state(self) -> State:
        return State.open(load(self.config).database_url())

    def copy(self, target: Path) -> Path:
        """The same installation elsewhere; its tocsin.yaml."""
        shutil.copytree(self.folder, target)
        return target / "tocsin.yaml"

    def watermark(self) -> int:
        with self.state() as state:
            return state.watermarks(TYPE).get((TYPE, STREAM), 0)


def wait(until: Callable[[], object], what: object, seconds: float) -> None:
    """Wait for something to come true; `what` is told as it is when that did not happen."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, str(what)
        time.sleep(0.3)


def wave(seed: int, buckets: int) -> Floats:
    """A day's wave with a little noise, one value a bucket."""
    rng = np.random.default_rng(seed)
    return 100 + 20 * np.sin(2 * np.pi * np.arange(buckets) * SPAN / 86_400) + rng.normal(0, 2, buckets)
