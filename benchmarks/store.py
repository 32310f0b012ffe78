"""What it costs to keep things: CPU seconds and wall seconds on this disk.

    python benchmarks/store.py [--series 100000] [--days 28] [--services 10000]

Prints one line per act: a tick's commit, a tick appended to the history, a past day written, a week to four of twenty
series and of all series read back, baselines saved and loaded. Everything is written to a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.model import Baseline, Desired, Frame, Perf, SeriesIndex, SeriesKey, ServiceKey, Severity, Window
from tocsin.store import baselines
from tocsin.store.history import History
from tocsin.store.state import State

T = TypeVar("T")
SPAN, DAY, START = 300, 86_400, 20_000 * 86_400


def measured(what: str, act: Callable[[], T], per: int = 1) -> T:
    wall, cpu = time.perf_counter(), time.process_time()
    result = act()
    wall, cpu = (time.perf_counter() - wall) / per, (time.process_time() - cpu) / per
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:68} {cpu * 1e3:10.1f} ms CPU {wall * 1e3:10.1f} ms wall   peak {memory:6.0f} MiB", flush=True)
    return result


def commits(folder: Path, services: int) -> None:
    def rows(version: int, count: int) -> list[Desired]:
        perf = tuple(Perf(label=f"metric{number}", value=1.5 * version, unit="ms") for number in range(3))
        return [
            Desired(
                service=ServiceKey(f"host{number:06}", "Anomaly-web"),
                code=Severity.OK,
                text=f"OK: nothing unusual, 7 metrics, looked at {version}",
                perf=perf,
                changed_at=version,
                version=version,
                valid_until=1 << 40,
            )
            for number in range(count)
        ]

    with State.open(folder / "tocsin.db") as state:

        def tick(wanted: list[Desired]) -> None:
            with state.tick("web") as one:
                one.set_watermark("files", 1)
                one.want(wanted)

        tick(rows(1, services))
        all_rows, some = rows(2, services), rows(3, services // 10)
        measured(f"tick: {services:,} services, all written", lambda: tick(all_rows))
        measured(f"tick: {len(some):,} of {services:,} services written", lambda: tick(some))
        measured("tick: the watermark alone (mean of 50)", lambda: [tick([]) for _ in range(50)], 50)
        due = measured("delivery: 500 due rows found", lambda: state.due(0.0, 500))
        measured("delivery: 500 rows recorded", lambda: state.record(due, due))


def histories(folder: Path, series: int, days: int) -> None:
    numbers = np.random.default_rng(0)
    index = SeriesIndex(SeriesKey(f"host{number // 10:06}", f"metric.{number % 10}") for number in range(series))
    typical = numbers.lognormal(3, 1, (series, 1))

    def frame(start: int, buckets: int) -> Frame:
        values = typical * np.exp(numbers.normal(0, 0.1, (series, buckets)))
        return Frame.of(index, Window(start, start + buckets * SPAN, SPAN), values.round(2))

    with History(folder) as history:
        end = START + days * DAY
        ticks = [frame(end + number * SPAN, 1) for number in range(12)]
        history.append("web", frame(end - SPAN, 1))
        measured(
            f"history: a tick of {series:,} series appended (mean of 12)",
            lambda: [history.append("web", one) for one in ticks],
            12,
        )
        day = frame(START, 288)
        measured(f"history: a past day of {series:,} series written", lambda: history.append("web", day))
        for number in range(1, days):
            history.append("web", frame(START + number * DAY, 288))
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
        print(f"{'':68} {size / series / days / 288:10.2f} bytes a value on disk, two decimals")
        window = Window(START, end + 12 * SPAN, SPAN)
        twenty = SeriesIndex(index.keys[series // 2 : series // 2 + 20])
        measured(f"history: {days} days of 20 neighbouring series read", lambda: history.read("web", window, twenty))
        part = SeriesIndex(index.keys[: min(series, 4000)])
        measured(
            f"history: {days} days of {len(part):,} series read (a worker's share)", lambda: history.read("web", window, part)
        )
        one_day = Window(START, START + DAY, SPAN)
        measured(f"history: what a day of {series:,} series lacks", lambda: history.lacking("web", one_day, index))


def versions(folder: Path, series: int) -> None:
    numbers = np.random.default_rng(0)
    index = SeriesIndex(SeriesKey(f"host{number // 10:06}", f"metric.{number % 10}") for number in range(series))
    arrays = {
        "center": numbers.normal(size=(series, 240)),
        "spread": numbers.normal(size=(series, 240)),
        "tail": numbers.normal(size=(series, 20)),
    }
    learnt = {"seasonal": Baseline(detector="seasonal", index=index, trained_on=Window(START, START + DAY, SPAN), arrays=arrays)}
    saved = measured(f"baselines: {series:,} series of 4 kB saved", lambda: baselines.save(learnt, folder))
    print(f"{'':68} {saved.size / 1e6:10.1f} MB")
    measured(f"baselines: {series:,} series loaded", lambda: baselines.load(saved.path, saved.sha256))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--services", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        commits(Path(folder), options.services)
        histories(Path(folder) / "history", options.series, options.days)
        versions(Path(folder) / "models", options.series)


if __name__ == "__main__":
    main()
