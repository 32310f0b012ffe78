"""A small installation that ticks through a few hours of a simulated clock; run as a process that a test kills.

`python -m tests.crash FOLDER` goes on from wherever the last one was killed, and ends when everything is judged and shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import structlog

from tocsin.app import App
from tocsin.config import load
from tocsin.store.lock import StateLock

SPAN = 300
START = 1_780_000_200 // SPAN * SPAN
HISTORY = 16 * 288
TICKS = 30

_MAIN = "state: var\ndeliver: {sink: {use: recording, file: sent.jsonl}}\ntrain: {every: 1h, keep: 2}\nhttp: {listen: null}\n"
_TYPE = """\
component_type: web
timezone: Europe/Paris
every: 5m
delay: 0s
collect: [{from: files, path: ../data/*.csv, metrics: [latency, requests]}]
alert: {ladder: status}
"""


def make(folder: Path) -> Path:
    """Sixteen days and a few hours of three components; two of them get into trouble, one of them recovers."""
    (folder / "components").mkdir(parents=True)
    (folder / "data").mkdir()
    rng = np.random.default_rng(7)
    times = START + SPAN * np.arange(-HISTORY, TICKS)
    wave = 1 + 0.3 * np.sin(2 * np.pi * times / 86_400)
    for name in ("web-1", "web-2", "web-3"):
        latency, requests = (level * wave * rng.lognormal(0, 0.05, len(times)) for level in (100, 50))
        if name == "web-1":
            latency[HISTORY + 4 : HISTORY + 10] *= 5
        if name == "web-2":
            requests[HISTORY + 8 :] *= 6
        rows = [f"{time},{a:.6g},{b:.6g}" for time, a, b in zip(times, latency, requests, strict=True)]
        (folder / "data" / f"{name}.csv").write_text("\n".join(["timestamp,latency,requests", *rows]) + "\n")
    (folder / "tocsin.yaml").write_text(_MAIN)
    (folder / "components" / "web.yaml").write_text(_TYPE)
    return folder / "tocsin.yaml"


def live(config: Path) -> None:
    """Tick, deliver, train and keep house on a simulated clock, from the watermark on."""
    loaded = load(config)
    with StateLock(loaded.state), App(loaded, started=START) as app:
        shard = app.shards[0]
        now = float(shard.watermark or START)
        while now < START + TICKS * SPAN:
            now += SPAN
            if app.needs_training(shard, now):
                app.train(shard, now)
            app.tick(shard, now)
            app.refresh(shard, now)
            app.watch(now)
            app.deliver_step(now)
            app.housekeeping(now)
        for _ in range(10):
            now += 30
            app.deliver_step(now)
        print("delivered" if app.delivered(now) else "not delivered")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    live(Path(sys.argv[1]))
