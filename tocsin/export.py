"""What was learnt, for others: the thresholds file of Centreon's engine, and the matrix of normal values.

    host_id, service_id, metric_name       of an anomaly-detection service (the engine's own ids)
    timestamp, fit, lower/upper margin     one point per bucket, two days ahead

The file belongs to whoever writes it: where Centreon's own anomaly detection is licensed and synchronised, gorgone writes
it too, and only one of both may.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

import numpy as np

from alerting.line import check_name, thresholds_line
from tocsin.config_shapes import To
from tocsin.errors import ConfigError, TransientError
from tocsin.forecast import Bands
from tocsin.model import Metric, SeriesKey
from tocsin.store.files import write_whole
from tocsin.timegrid import SLOT, Calendar, DayKind

BEHIND = 3600
"""Seconds of points before now: the engine refuses a check that is older than the first point."""
LEAST_POINTS = 2
LEAST_STEP = 300
"""Seconds between two points at least, as the product itself writes them; the engine interpolates."""
UNLIMITED = 1e12
"""Margin of a side that has no limit and no bound: far beyond any value, and still a number in JSON."""

_COLUMNS = ("component", "metric", "host_id", "service_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The anomaly-detection service that shows a series, by its ids in the engine, and the series' name in its perfdata."""

    key: SeriesKey
    host_id: int
    service_id: int
    metric_name: str


def read_targets(path: Path) -> list[Target]:
    """A CSV file with the columns component, metric, host_id, service_id and perhaps metric_name.

    Raises `ConfigError` with every mistake and its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if lacking := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise ConfigError(f"{path}:1: no column {lacking[0]}; expected {', '.join(_COLUMNS)} and perhaps metric_name")
            found = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    targets, problems = [], []
    seen: dict[tuple[int, int], int] = {}
    for line, row in found:
        component, metric, host, service = (str(row.get(name) or "").strip() for name in _COLUMNS)
        if not component or not metric or not _is_id(host) or not _is_id(service):
            problems.append(f"{path}:{line}: expected a component, a metric and two ids of the engine, whole numbers above 0")
            continue
        ids = int(host), int(service)
        if ids in seen:
            problems.append(f"{path}:{line}: service {ids[0]}/{ids[1]} stands in line {seen[ids]} too; it shows one metric")
            continue
        seen[ids] = line
        name = str(row.get("metric_name") or "").strip() or metric
        targets.append(Target(key=SeriesKey(component, metric), host_id=ids[0], service_id=ids[1], metric_name=name))
    if problems:
        raise ConfigError(*problems)
    return targets


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 2**31


# --- the engine's thresholds file ------------------------------------------------------------------------------------


def thresholds(
    bands: Bands, targets: Sequence[Target], metrics: Mapping[str, Metric]
) -> tuple[list[dict[str, object]], list[str]]:
    """The document for the engine, and a sentence for each target that is not in it.

    A side without a limit ends at the metric's own bound, or 10^12 away where it has none.
    """
    document: list[dict[str, object]] = []
    left_out: list[str] = []
    rows = bands.index.rows
    every = max(1, LEAST_STEP // bands.window.span)
    starts = bands.window.starts
    for target in targets:
        row = rows.get(target.key)
        if row is None:
            left_out.append(f"{target.key.component}/{target.key.metric}: no such series is known")
            continue
        metric = metrics.get(target.key.metric) or Metric(name=target.key.metric)
        fit = bands.expected[row, ::every]
        lower, upper = bands.lower[row, ::every], bands.upper[row, ::every]
        bottom = metric.lower if np.isfinite(metric.lower) else -UNLIMITED
        top = metric.upper if np.isfinite(metric.upper) else UNLIMITED
        lower, upper = np.where(np.isneginf(lower), bottom, lower), np.where(np.isposinf(upper), top, upper)
        there = np.flatnonzero(np.isfinite(fit) & np.isfinite(lower) & np.isfinite(upper))
        if len(there) < LEAST_POINTS:
            left_out.append(f"{target.key.component}/{target.key.metric}: nothing was learnt of it yet")
            continue
        points = [
            {
                "timestamp": int(starts[place * every]),
                "fit": float(fit[place]),
                "lower_margin": float(min(lower[place] - fit[place], 0.0)),
                "upper_margin": float(max(upper[place] - fit[place], 0.0)),
            }
            for place in there.tolist()
        ]
        document.append(
            {
                "host_id": str(target.host_id),
                "service_id": str(target.service_id),
                "metric_name": target.metric_name,
                "sensitivity": 1.0,
                "predict": points,
            }
        )
    return document, left_out


def write_thresholds(path: Path, document: Sequence[Mapping[str, object]]) -> None:
    """Replace the file as a whole, readable by the engine. Raises `ConfigError` where it cannot be written."""

    def write(file: BufferedRandom) -> None:
        file.write(json.dumps(document, allow_nan=False).encode())

    try:
        write_whole(path, write)
        path.chmod(0o644)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def tell_engine(command_file: Path, path: Path, now: float) -> None:
    """Have the engine read the file again. Raises `TransientError` when nobody reads its command file."""
    line = thresholds_line(path.resolve(), int(now))
    try:
        pipe = os.open(command_file, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
                raise TransientError(f"{command_file} is no pipe: the engine is down")
            os.write(pipe, line)
        finally:
            os.close(pipe)
    except OSError as error:
        raise TransientError(f"{command_file}: the engine could not be told: {error.strerror}") from error


# --- the matrix ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What is normal for a series in one half-hour of one kind of day, local time."""

    key: SeriesKey
    kind: DayKind
    slot: int
    expected: float
    lower: float
    upper: float

    @property
    def time(self) -> str:
        """The half-hour's start: 09:30."""
        return f"{self.slot * SLOT // 3600:02d}:{self.slot * SLOT % 3600 // 60:02d}"


def matrix(bands: Bands, calendar: Calendar) -> Iterator[Cell]:
    """The learned matrix: per series, kind of day and half-hour, the mean expectation and the widest range in it.

    Kinds of day that do not occur in the window are not in it.
    """
    starts = bands.window.starts
    cells = calendar.kinds(starts) * 48 + calendar.slots(starts)
    order = np.argsort(cells, kind="stable")
    codes, first = np.unique(cells[order], return_index=True)
    if not len(codes) or not len(bands.index):
        return
    there = np.isfinite(bands.expected)[:, order]
    counts = np.add.reduceat(there, first, axis=1)
    total = np.add.reduceat(np.where(there, bands.expected[:, order], 0.0), first, axis=1)
    lowest = np.minimum.reduceat(np.where(there, bands.lower[:, order], np.inf), first, axis=1)
    highest = np.maximum.reduceat(np.where(there, bands.upper[:, order], -np.inf), first, axis=1)
    for row, key in enumerate(bands.index):
        for place, code in enumerate(codes.tolist()):
            if counts[row, place]:
                yield Cell(
                    key=key,
                    kind=DayKind(code // 48),
                    slot=code % 48,
                    expected=float(total[row, place] / counts[row, place]),
                    lower=float(lowest[row, place]),
                    upper=float(highest[row, place]),
                )


def matrix_csv(cells: Iterable[Cell]) -> Iterator[str]:
    """Lines of CSV; an empty field is a side without a limit."""
    yield "component,metric,day,time,expected,lower,upper\n"
    for cell in cells:
        limits = ("" if not np.isfinite(value) else f"{value:.6g}" for value in (cell.expected, cell.lower, cell.upper))
        names = (_quoted(cell.key.component), _quoted(cell.key.metric))
        yield ",".join([*names, cell.kind.name.lower(), cell.time, *limits]) + "\n"


def _quoted(text: str) -> str:
    """A name as one CSV field that no spreadsheet takes for a formula."""
    safe = f"'{text}" if text[:1] in "=+-@\t\r" else text
    return (
        '"' + safe.replace('"', '""').replace("\n", " ").replace("\r", " ") + '"'
        if safe != text or set(safe) & set(',"\n\r')
        else safe
    )


def ranges(cells: Iterable[Cell]) -> dict[SeriesKey, str]:
    """One range per series that holds at every hour, in the notation of the monitoring plugins: `60:180`, `~:95`, `10:`.

    A static macro cannot know the hour, so it is the widest of all cells: what is never normal.
    """
    lowest: dict[SeriesKey, float] = {}
    highest: dict[SeriesKey, float] = {}
    for cell in cells:
        lowest[cell.key] = min(lowest.get(cell.key, np.inf), cell.lower)
        highest[cell.key] = max(highest.get(cell.key, -np.inf), cell.upper)
    found = {}
    for key, low in lowest.items():
        high = highest[key]
        if np.isfinite(low) or np.isfinite(high):
            found[key] = f"{f'{low:.6g}' if np.isfinite(low) else '~'}:{f'{high:.6g}' if np.isfinite(high) else ''}"
    return found


def macro_lines(found: Mapping[SeriesKey, str], to: To, component_type: str) -> Iterator[str]:
    """`SERVICE;setmacro;HOST;SERVICE;TOCSIN_LATENCY_P95;60:180;0;…`, for CLAPI's import. What cannot be named is left out."""
    for key, text in found.items():
        service = to.key(key.component, component_type, "anomaly")
        name = "TOCSIN_" + re.sub(r"[^A-Z0-9]+", "_", key.metric.upper()).strip("_")
        try:
            yield f"SERVICE;setmacro;{check_name(service.host)};{check_name(service.service)};{name};{text};0;learnt by Tocsin\n"
        except ValueError:
            continue
