"""Injected faults in a park of micro-services (Nezha, 2023-01-30): is the faulty pod among the most surprising ones?

    ./dev bench nezha
    ./dev bench nezha --faults          fault by fault: what of the faulty pod was surprising, and who stood before it

Seventeen faults on one day; metrics of the whole half day, logs of three minutes around each fault only. That is no two weeks, so
each fault is judged by what is learnt of all *other* minutes, in their order, repeated until they fill three days: for metrics
every other minute of the day, for logs the 48 others that were recorded, of which two thirds are minutes of other faults. No
detector is told which; the list of faults says which minutes are left out when one is judged (two before it, four after), and
whose rank is told. What came just before a fault is what came before it. The metrics are what a person would watch of a pod,
with the deviations that matter, and nothing is tuned to the answers. Of the default detectors `novelty` and `level` are left
out: where minutes repeat, nothing was ever far from what had been seen, and half a day has no weeks to compare.

What is told is the rank of the faulty pod among all by the surprise that it reached in two of the whole minutes within three
minutes of the fault, as an incident is opened. Each line of the table is what the fusion makes of pods of which
only these series are collected.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from collectors.files import Files, FilesSettings
from collectors.logfiles import LogFilesSettings
from collectors.logfiles import build as build_logs
from collectors.logs.collector import WAIT
from detectors.change import Change
from detectors.fuse import Fusion
from detectors.logs import Logs
from detectors.seasonal import Seasonal
from tocsin.model import Bools, Direction, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Detector, Surroundings
from tocsin.timegrid import DAY, Calendar

DATA = Path(__file__).resolve().parents[2] / "shared/data/nezha/2023-01-30"
SPAN = 60
OFFSET = 54
"""Metrics are sampled, and log files begin, in second 53 of each minute: our minutes begin just after."""
HISTORY = 3 * DAY // SPAN
BEFORE, AFTER = 2, 4
"""Minutes before and after a fault that are not learnt from when it is judged."""
WITHIN = 180
"""Seconds after a fault in which a pod must stand out."""
LOOKBACK = 120
"""Minutes before a fault that detectors may look back on."""
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
SLOW = Metric(name=WAIT, unit="s", direction=Direction.HIGH, lower=0, min_deviation=0.05)
CALENDAR = Calendar("UTC")
NAMES = ("metrics", "counts", "waits")
"""Of the kinds of series (`tocsin.model.KINDS`), in their order."""
WAYS: Mapping[str, Sequence[str]] = {
    "metrics": ["metrics"],
    "counts of log lines": ["counts"],
    "waits in logs": ["waits"],
    "logs: counts + waits": ["counts", "waits"],
    "metrics + counts": ["metrics", "counts"],
    "metrics + waits": ["metrics", "waits"],
    "metrics + logs": ["metrics", "counts", "waits"],
}
"""What is collected, and fused."""


def read(folder: Path) -> tuple[Frame, Frame]:
    """Metrics and logs of the day, each minute once."""
    around = Surroundings(component_type="pod", calendar=CALENDAR, span=SPAN, metrics=METRICS, folder=folder)
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
                "request": "TraceID",
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
    told = logs.collect(SeriesIndex([key for key in logs.discover() if key.component in pods]), window)
    recorded = np.isin(np.arange(len(window)), minutes_of(folder, start))
    values = np.where(recorded, told.values, np.nan)
    return measured, Frame(index=told.index, window=window, values=values, known=told.known & recorded)


def minutes_of(folder: Path, start: int) -> Ints:
    """The minutes that log files were recorded for: `12_06_log.csv.gz` ends in the minute 12:06 of the day."""
    names = [path.name.split("_") for path in sorted(folder.glob("log/*_log.csv.gz"))]
    midnight = start // DAY * DAY
    return np.array([(midnight + int(hour) * 3600 + int(minute) * 60 - start) // SPAN for hour, minute, _ in names], np.int64)


def joined(parts: Sequence[Frame]) -> Frame:
    """Their rows in one frame."""
    keys = [key for part in parts for key in part.index]
    index = SeriesIndex(keys)
    rows = np.array([index.rows[key] for key in keys])
    values = np.empty((len(index), len(parts[0].window)))
    known = np.empty(values.shape, bool)
    values[rows], known[rows] = np.vstack([part.values for part in parts]), np.vstack([part.known for part in parts])
    return Frame(index=index, window=parts[0].window, values=values, known=known)


def repeated(frame: Frame, columns: Ints, end: int) -> Frame:
    """A past of three days before `end`, made of these minutes in their order, the last one last."""
    chosen = columns[(np.arange(HISTORY) - HISTORY) % len(columns)]
    window = Window(end - HISTORY * SPAN, end, SPAN)
    return Frame(index=frame.index, window=window, values=frame.values[:, chosen], known=frame.known[:, chosen])


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is said of one fault: of each series (n_series, n_minutes), by kind of series, and what a past of them was like."""

    scores: Sequence[Scores]
    rehearsals: Sequence[Scores]


def judge(parts: Sequence[tuple[Frame, Bools]], at: int, detectors: Sequence[Detector]) -> Judged:
    """Learn from all minutes but those around `at`, and judge those after it. Of each frame those minutes are there."""
    frame = joined([part for part, _ in parts])
    start, end = frame.window.start + (at - frame.window.start) // SPAN * SPAN, at + WITHIN
    minute = (start - frame.window.start) // SPAN
    near = np.arange(len(frame.window))
    away = (near < minute - BEFORE) | (near > minute + AFTER)
    past = joined([repeated(part, np.flatnonzero(there & away), frame.window.start) for part, there in parts])
    judged = Window(start, start + (end - start) // SPAN * SPAN, SPAN)
    recent = frame.within(Window(max(frame.window.start, start - LOOKBACK * SPAN), judged.end, SPAN))
    learnt = [detector.fit(past) for detector in detectors]
    said = [detector.score(recent, one.baseline, judged) for detector, one in zip(detectors, learnt, strict=True)]
    return Judged(scores=said, rehearsals=[one.rehearsal for one in learnt])


def of_kinds(scores: Scores, kinds: Sequence[str]) -> Scores:
    """Only the series of these kinds."""
    rows = np.flatnonzero(np.isin(scores.index.kinds, [NAMES.index(kind) for kind in kinds]))
    index = SeriesIndex(scores.index[int(row)] for row in rows)
    parts = {name: getattr(scores, name)[rows] for name in ("surprise", "expected", "lower", "upper")}
    return Scores(index=index, window=scores.window, **parts)


def reached(judged: Judged, kinds: Sequence[str], names: Sequence[str], pods: Sequence[str]) -> Floats:
    """The surprise of each pod in two of the minutes, (n_pods,); 0 where nothing is said."""
    said = np.zeros((len(pods), len(judged.scores[0].window)))
    fusion = Fusion(names=names)
    learnt = fusion.fit([of_kinds(one, kinds) for one in judged.rehearsals])
    fused = fusion.fuse([of_kinds(one, kinds) for one in judged.scores], learnt)
    said[[pods.index(name) for name in fused.index.components]] = np.nan_to_num(fused.surprise)
    return np.asarray(np.sort(said, axis=1)[:, -2], np.float64)


def loudest(judged: Judged, pod: str) -> str:
    """The series of a pod of which most is said, and how much, in two of the minutes."""
    said = np.mean(np.stack([np.minimum(np.nan_to_num(one.surprise), 12.0) for one in judged.scores]), axis=0)
    rows = [row for row, key in enumerate(judged.scores[0].index) if key.component == pod]
    best = max(rows, key=lambda row: np.sort(said[row])[-2])
    return f"{judged.scores[0].index[best].metric} {np.sort(said[best])[-2]:.1f}"


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
    parser.add_argument("--faults", action="store_true", help="fault by fault, with the loudest series")
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        print(f"skipped: the recordings are not in {asked.folder}")
        return
    measured, told = read(asked.folder)
    parts = [(measured, np.ones(len(measured.window), bool)), (told, np.asarray(told.known.any(axis=0), np.bool_))]
    metrics = {**METRICS, WAIT: SLOW}
    detectors: list[Detector] = [
        Seasonal(calendar=CALENDAR, span=SPAN, metrics=metrics),
        Change(span=SPAN, metrics=metrics),
        Logs(span=SPAN, calendar=CALENDAR),
    ]
    names = [detector.name for detector in detectors]
    pods = list(measured.index.components)
    faults = faults_of(asked.folder)
    ranks: dict[str, list[int]] = {way: [] for way in WAYS}
    for at, pod, what in faults:
        judged = judge(parts, at, detectors)
        for way, kinds in WAYS.items():
            surprise = reached(judged, kinds, names, pods)
            own = surprise[pods.index(pod)]
            # Who is as surprising as the faulty pod stands before it: a tie is not found.
            ranks[way].append(int(np.count_nonzero(surprise >= own)) if own > 0 else len(pods))
        if asked.faults:
            surprise = reached(judged, WAYS["metrics + logs"], names, pods)
            first = pods[int(surprise.argmax())]
            print(
                f"{np.datetime64(at, 's')} {what:14s} {pod:45s} {loudest(judged, pod)}; first: {first} {loudest(judged, first)}"
            )
    counts, waits = (np.count_nonzero(told.index.kinds == NAMES.index(kind)) for kind in ("counts", "waits"))
    print(f"{len(pods)} pods, {len(measured.index)} metrics, {counts} counts of log lines, {waits} waits")
    injected = sorted({what for _, _, what in faults})
    print(f"{'fused':30s} rank 1     <= 3     <= 5   " + "  ".join(f"{what} <= 3" for what in injected) + "   ranks")
    for way, found in ranks.items():
        rank = np.array(found)
        shares = " ".join(f"{np.mean(rank <= most):8.0%}" for most in (1, 3, 5))
        each = "  ".join(
            f"{np.mean([one <= 3 for one, fault in zip(found, faults, strict=True) if fault[2] == what]):{len(what) + 5}.0%}"
            for what in injected
        )
        print(f"{way:28s} {shares}   {each}   {' '.join(map(str, found))}")


if __name__ == "__main__":
    main()
