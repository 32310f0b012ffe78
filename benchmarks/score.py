"""Rows per CPU second of `tocsin score`, per detector set, beside learning anew before each day as it is defined.

The plain way is measured on the last days only and asks the same detectors: `learn` from the four weeks before, then `evaluate`.
Rows are those of the file; each has a value of every series. Reading and writing the CSV file are measured with all detectors.

    ./dev bench score
    ./dev bench score --days 60
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tocsin.model import Floats, Frame, Ints, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.registry import find
from tocsin.score import Job, score_file
from tocsin.scoring import AnyDetector, evaluate, learn
from tocsin.timegrid import DAY, Calendar
from tocsin.verdict import DETECTORS, TRAIN, score_rows

T0 = 1_760_000_000 // DAY * DAY
ZONE = "Europe/Paris"
PLAIN_DAYS = 3
TARGET = 200_000


def series(count: int, days: int, span: int) -> tuple[Ints, Floats]:
    """Office hours and noise, a few outages, a few incidents: timestamps (n,) and values (n, count)."""
    random = np.random.default_rng(0)
    times = T0 + np.arange(0, days * DAY, span)
    busy = np.sin(2 * np.pi * (times % DAY) / DAY) * np.where(times // DAY % 7 < 5, 1.0, 0.3)
    values = 100 + 20 * busy[:, None] + 5 * random.standard_normal((len(times), count))
    for _ in range(days // 5):
        begin, length = random.integers(0, len(times)), random.integers(1, 3600 // span + 2)
        values[begin : begin + length] = np.nan
        begin = random.integers(0, len(times))
        values[begin : begin + length, random.integers(0, count)] += 80
    return times, values


def quickest(act: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of the quickest of several runs."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        act()
        spent.append(time.process_time() - began)
    return min(spent)


def plain(times: Ints, values: Floats, span: int, names: Sequence[str]) -> float:
    """CPU seconds to judge the last days, each learnt for as it is defined."""
    around = Surroundings(component_type="score", calendar=Calendar(ZONE), span=span, metrics={}, folder=Path())
    plugins = [find("detectors", name) for name in names]
    detectors: list[AnyDetector] = [plugin.build(plugin.settings(), around) for plugin in plugins]
    index = SeriesIndex(SeriesKey("web1", f"m{row:02d}") for row in range(values.shape[1]))
    whole = Frame.of(index, Window(int(times[0]), int(times[-1]) + span, span), np.ascontiguousarray(values.T))
    began = time.process_time()
    for day in range(PLAIN_DAYS):
        start = whole.window.end - (PLAIN_DAYS - day) * DAY
        history = whole.within(Window(max(whole.window.start, start - TRAIN), start, span))
        evaluate(whole, Window(start, start + DAY, span), detectors, learn(history, detectors))
    return time.process_time() - began


def file_of(folder: Path, times: Ints, values: Floats) -> Job:
    """The rows as a file, to be scored with all detectors."""
    names = ",".join(f"m{column:02d}" for column in range(values.shape[1]))
    cells = np.column_stack([times.astype(np.float64), values])
    text = "\n".join(",".join("" if np.isnan(cell) else f"{cell:.10g}" for cell in row) for row in cells)
    (folder / "web1.csv").write_text(f"timestamp,{names}\n{text}\n")
    return Job(
        source=folder / "web1.csv",
        output=folder / "said.csv",
        timezone=ZONE,
        train_rows=0,
        detectors=DETECTORS,
        per_metric=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=90)
    days = parser.parse_args().days
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{'series':>6} {'bucket s':>9} {'detectors':<16} {'rows/s':>10} {'plain rows/s':>13} {'ratio':>7}")
    for count, span in ((1, 60), (1, 300), (20, 300)):
        times, values = series(count, days, span)
        names = tuple(f"m{column:02d}" for column in range(count))
        for chosen in (*((name,) for name in DETECTORS), DETECTORS):
            ours = quickest(partial(score_rows, times, values, names, timezone=ZONE, detectors=chosen))
            slow = PLAIN_DAYS * DAY // span / plain(times, values, span, chosen)
            title = chosen[0] if len(chosen) == 1 else "all five"
            print(
                f"{count:>6} {span:>9} {title:<16} {len(times) / ours:>10,.0f} {slow:>13,.0f} {len(times) / ours / slow:>6.1f}x"
            )
        with tempfile.TemporaryDirectory() as folder:
            job = file_of(Path(folder), times, values)
            print(f"{count:>6} {span:>9} {'file to file':<16} {len(times) / quickest(partial(score_file, job)):>10,.0f}")
    print(f"target for one series, file to file: {TARGET:,} rows/s")


if __name__ == "__main__":
    main()
