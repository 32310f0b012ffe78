"""Injected faults in a park of micro-services (Nezha, 2023-01-30): is the faulty pod among the most surprising ones?

    ./dev bench nezha

Seventeen faults on one day; metrics of the whole day, logs of the minute before and the two minutes after each fault only.
That is no two weeks, so each fault is judged by what is learnt of *other* minutes, faults of other pods among them, drawn at
random (seed 0) until they fill three days. The metrics are what a person would watch of a pod, with the deviations that matter.
Nothing is tuned to the answers; they say which minutes are left out of what is learnt, and whose rank is told.
What is told is the rank of the faulty pod by its highest surprise within three minutes of the fault, out of all pods.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from collectors.files import Files, FilesSettings
from collectors.logfiles import LogFilesSettings
from collectors.logfiles import build as build_logs
from detectors.logs import Logs
from detectors.seasonal import Seasonal
from tocsin.model import Bools, Direction, Frame, Ints, Metric, SeriesIndex, Window
from tocsin.ports import Detector, Surroundings
from tocsin.scoring import evaluate, learn
from tocsin.timegrid import Calendar

DATA = Path(__file__).resolve().parents[2] / "shared/data/nezha/2023-01-30"
SPAN = 60
OFFSET = 54
"""Metrics are sampled, and log files begin, in second 53 of each minute: our minutes begin just after."""
HISTORY = 3 * 1440
BEFORE, AFTER = 2, 4
"""Minutes before and after a fault that are not learnt from when it is judged."""
WITHIN = 180
"""Seconds after a fault in which a pod must stand out."""
LOOKBACK = 60
FOLDS = 4
"""Every fourth fault is judged by the same models, which were not shown any of them."""
WATCHED = {
    "cpu": ("CpuUsageRate(%)", Metric(name="cpu", unit="%", direction=Direction.HIGH, lower=0, min_deviation=20)),
    "memory": ("MemoryUsageRate(%)", Metric(name="memory", unit="%", direction=Direction.HIGH, lower=0, min_deviation=10)),
    "latency.server": (
        "PodServerLatencyP95(s)",
        Metric(name="latency.server", unit="s", direction=Direction.HIGH, min_deviation=0.05),
    ),
    "latency.client": (
        "PodClientLatencyP95(s)",
        Metric(name="latency.client", unit="s", direction=Direction.HIGH, min_deviation=0.05),
    ),
    "requests": ("PodWorkload(Ops)", Metric(name="requests", lower=0, min_deviation=0.5)),
    "network.in": ("NetworkReceiveBytes", Metric(name="network.in", lower=0, min_deviation=5000)),
    "network.out": ("NetworkTransmitBytes", Metric(name="network.out", lower=0, min_deviation=5000)),
}
METRICS = {name: metric for name, (_, metric) in WATCHED.items()}


def read(folder: Path) -> tuple[Frame, Frame]:
    """Metrics and log counts of the day, each minute once."""
    calendar = Calendar("UTC")
    around = Surroundings(component_type="pod", calendar=calendar, span=SPAN, metrics=METRICS, folder=folder)
    settings = FilesSettings.model_validate(
        {
            "path": "metric/ts-*.csv.gz",
            "timestamp": "TimeStamp",
            "component": {"column": "PodName"},
            "fields": {name: field for name, (field, _) in WATCHED.items()},
        }
    )
    metrics = Files(settings, around)
    logs = build_logs(
        LogFilesSettings.model_validate(
            {
                "path": "log/*.csv.gz",
                "layout": "csv",
                "timestamp": "Timestamp",
                "component_column": "PodName",
                "text": "Log",
                "max_lines": 500_000,
                "logs": {"settle": 0, "fresh": "3m"},
            }
        ),
        around,
    )
    first, last = metrics.reach() or (0, 0)
    start = first // SPAN * SPAN + OFFSET - SPAN
    window = Window(start, start + ((last - start) // SPAN + 1) * SPAN, SPAN)
    pods = sorted({key.component for key in metrics.discover()})
    measured = metrics.collect(SeriesIndex([key for key in metrics.discover() if key.component in pods]), window)
    logs.collect(SeriesIndex(list(logs.discover())[:1]), window)
    counted = logs.collect(SeriesIndex([key for key in logs.discover() if key.component in pods]), window)
    # A minute without any line of any pod is one that nobody recorded.
    recorded = np.nansum(counted.values, axis=0) > 0
    values = np.where(recorded, counted.values, np.nan)
    return measured, Frame(index=counted.index, window=window, values=values, known=counted.known & recorded)


def joined(parts: Sequence[Frame]) -> Frame:
    """Their rows in one frame."""
    keys = [key for part in parts for key in part.index]
    index = SeriesIndex(keys)
    rows = np.array([index.rows[key] for key in keys])
    values = np.empty((len(index), len(parts[0].window)))
    known = np.empty(values.shape, bool)
    values[rows], known[rows] = np.vstack([part.values for part in parts]), np.vstack([part.known for part in parts])
    return Frame(index=index, window=parts[0].window, values=values, known=known)


def drawn(frame: Frame, columns: Ints, end: int, rng: np.random.Generator) -> Frame:
    """A past of three days before `end`, made of these minutes."""
    chosen = rng.choice(columns, HISTORY)
    window = Window(end - HISTORY * SPAN, end, SPAN)
    return Frame(index=frame.index, window=window, values=frame.values[:, chosen], known=frame.known[:, chosen])


def ranks(parts: Sequence[tuple[Frame, Bools]], faults: Sequence[tuple[int, str]], detectors: Sequence[Detector]) -> list[int]:
    """The rank of each faulty pod among all; a pod without any judgement is last. Of each frame those minutes are learnt from."""
    frame = joined([part for part, _ in parts])
    found = [0] * len(faults)
    rng = np.random.default_rng(0)
    near = np.arange(len(frame.window))
    columns = [(at - frame.window.start) // SPAN for at, _ in faults]
    for fold in range(FOLDS):
        mine = range(fold, len(faults), FOLDS)
        away = [(near < columns[place] - BEFORE) | (near > columns[place] + AFTER) for place in mine]
        left = np.logical_and.reduce(away)
        past = joined([drawn(part, np.flatnonzero(minutes & left), frame.window.start, rng) for part, minutes in parts])
        models = learn(past, detectors)
        for place in mine:
            at, pod = faults[place]
            start = frame.window.start + columns[place] * SPAN
            judged = Window(start, start + -(-(at + WITHIN - start) // SPAN) * SPAN, SPAN)
            here = frame.within(judged)
            recent = Frame(
                index=frame.index,
                window=Window(judged.start - LOOKBACK * SPAN, judged.end, SPAN),
                values=np.hstack([past.values[:, -LOOKBACK:], here.values]),
                known=np.hstack([past.known[:, -LOOKBACK:], here.known]),
            )
            fused = evaluate(recent, judged, detectors, models).fused["anomaly"]
            surprise = np.where(np.isnan(fused.surprise), 0.0, fused.surprise).max(axis=1)
            # Who is as surprising as the faulty pod stands before it: a tie is not found.
            names = fused.index.components
            own = surprise[names.index(pod)] if pod in names else 0.0
            found[place] = int(np.count_nonzero(surprise >= own)) if own > 0 else len(names)
    return found


def faults_of(folder: Path) -> list[tuple[int, str, str]]:
    """The answers: when, which pod, what."""
    (path,) = folder.glob("*fault_list.json.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        hours = json.load(file)
    return sorted(
        (int(one["inject_timestamp"]), one["inject_pod"], one["inject_type"]) for faults in hours.values() for one in faults
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    folder = parser.parse_args().folder
    if not folder.is_dir():
        print(f"skipped: the recordings are not in {folder}")
        return
    measured, counted = read(folder)
    faults = faults_of(folder)
    calendar = Calendar("UTC")
    detectors: list[Detector] = [
        Seasonal(calendar=calendar, span=SPAN, metrics=METRICS),
        Logs(span=SPAN, calendar=calendar),
    ]
    recorded = counted.known.any(axis=0)
    whole_day = np.ones(len(measured.window), bool)
    print(f"{len(measured.index.components)} pods, {len(measured.index)} metrics, {len(counted.index)} series of log lines")
    print(f"{'learnt and judged':34s} rank 1  rank <= 3  rank <= 5   ranks")
    plain = [(at, pod) for at, pod, _ in faults]
    metrics, logs = (measured, whole_day), (counted, recorded)
    for name, parts in (("metrics", [metrics]), ("logs", [logs]), ("metrics + logs", [metrics, logs])):
        found = np.array(ranks(parts, plain, detectors))
        shares = "  ".join(f"{np.mean(found <= most):8.0%}" for most in (1, 3, 5))
        print(f"{name:34s} {shares}   {' '.join(map(str, found))}", flush=True)


if __name__ == "__main__":
    main()
