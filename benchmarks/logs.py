"""Log lines per second and core, and memory when every cap is reached.

    ./dev bench logs

Lines of a synthetic application (English and French, a third with identifiers, a stack trace now and then), then noise: lines of
which no two are alike, with every cap reached. CPU time of this process; nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import string
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collectors.logs import LogSettings, collector
from collectors.logs.learn import understood
from tocsin.model import Ints, LogBatch, LogLine, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

SPAN, START = 60, 1_767_225_600
SHAPES = (
    "2026-01-12T10:21:{s:02}.{ms:03}Z INFO  request {n} from 10.0.{a}.{b} to /api/orders/{n}?id={n} served in {ms} ms",
    "2026-01-12T10:21:{s:02}.{ms:03}Z WARN  slow query took {ms} ms on table orders for user user{a}",
    "2026-01-12T10:21:{s:02}.{ms:03}Z ERROR connection to db{b}.example.org:5432 refused after {a} tries",
    "12/01/2026 10:21:{s:02} ERREUR échec du virement {n} de {a},{b} € vers FR7630006000011234567890189",
    '10.0.{a}.{b} - - [12/Jan/2026:10:21:{s:02} +0100] "GET /static/{n}.js HTTP/1.1" 200 {n} "-" "Mozilla/5.0 (X11)"',
    '{{"time":"2026-01-12T10:21:{s:02}Z","level":"info","message":"session {h:016x} opened for alice@example.org"}}',
    "INFO job nightly-{a} step {b} ended",
)


class Lines:
    """A log source that has exactly these lines."""

    def __init__(self, lines: Sequence[LogLine]) -> None:
        self._lines = lines

    def read(self, window: Window) -> LogBatch:
        counts: dict[tuple[str, str], Ints] = {}
        mine = [line for line in self._lines if window.start <= line.at < window.end]
        for line in mine:
            counts.setdefault((line.component, ""), np.zeros(len(window), np.int64))[(int(line.at) - window.start) // SPAN] += 1
        return LogBatch(window=window, counts=counts, lines=mine, known=np.ones(len(window), bool))

    def reach(self) -> tuple[int, int] | None:
        return START, START + 3600

    def check(self) -> Sequence[str]:
        return ()


def application(count: int, components: int, seed: int = 0) -> list[LogLine]:
    rng = random.Random(seed)
    lines = []
    for place in range(count):
        values = {"s": rng.randrange(60), "ms": rng.randrange(1000), "n": rng.randrange(10**7), "h": rng.getrandbits(64)}
        text = rng.choice(SHAPES).format(a=rng.randrange(256), b=rng.randrange(100), **values)
        lines.append(LogLine(at=START + 3600 * place / count, component=f"app{rng.randrange(components):05}", text=text))
    return lines


def noise(count: int, components: int, seed: int = 0) -> list[LogLine]:
    rng = random.Random(seed)

    def text() -> str:
        return " ".join("".join(rng.choices(string.ascii_letters, k=7)) for _ in range(rng.randrange(3, 15)))

    return [
        LogLine(at=START + 3600 * place / count, component=f"app{rng.randrange(components):05}", text=text())
        for place in range(count)
    ]


def measure(name: str, lines: list[LogLine], settings: LogSettings) -> None:
    around = Surroundings(component_type="app", calendar=Calendar("UTC"), span=SPAN, metrics={}, folder=Path())
    counts = collector(Lines(lines), settings, around)
    index = SeriesIndex([SeriesKey(lines[0].component, "log.lines")])
    gc.collect()
    before = time.process_time()
    counts.collect(index, Window(START, START + 3600, SPAN))
    took = time.process_time() - before
    found = counts.discover()
    print(f"{name:28s} {len(lines) / took:10,.0f} lines/s   {len(found):7,} series   {took:6.1f} s for {len(lines):,} lines")


def held(lines: list[LogLine], settings: LogSettings) -> float:
    """MiB that stay in use once the lines are forgotten."""
    around = Surroundings(component_type="app", calendar=Calendar("UTC"), span=SPAN, metrics={}, folder=Path())
    source = Lines(lines)
    tracemalloc.start()
    counts = collector(source, settings, around)
    before = tracemalloc.get_traced_memory()[0]
    counts.collect(SeriesIndex([SeriesKey(lines[0].component, "log.lines")]), Window(START, START + 3600, SPAN))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--components", type=int, default=2000)
    wanted = parser.parse_args()
    lines = application(wanted.lines, wanted.components)
    texts = [line.text for line in lines]
    before = time.process_time()
    for text in texts:
        understood(text, 4096)
    took = time.process_time() - before
    print(f"masking alone, {np.mean([len(text) for text in texts]):.0f} characters {len(texts) / took:13,.0f} lines/s")
    measure("an application", lines, LogSettings(settle=0))
    random_lines = noise(wanted.lines, wanted.components)
    measure("noise, every cap reached", random_lines, LogSettings(settle=0, max_templates=2000))
    print(f"held after the noise         {held(random_lines[: wanted.lines // 2], LogSettings(settle=0)):10,.0f} MiB")
    print(f"peak of this process         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:10,.0f} MiB")


if __name__ == "__main__":
    main()
