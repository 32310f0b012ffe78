"""What was learnt leaves in three shapes; an independent reader of each finds what the detector said."""

from __future__ import annotations

import csv
import json
import os
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.seasonal import Seasonal
from tocsin import export
from tocsin.config_shapes import To
from tocsin.errors import ConfigError, TransientError
from tocsin.export import Cell, Target
from tocsin.forecast import Bands, forecast
from tocsin.model import Direction, Frame, Metric, SeriesIndex, SeriesKey, Window
from tocsin.scoring import Models, learn
from tocsin.thresholds import parse_range
from tocsin.timegrid import DAY, Calendar, DayKind

SPAN = 300
NOW = 1_762_992_000 // SPAN * SPAN  # a Thursday
PARIS = Calendar("Europe/Paris")
CPU, ERRORS, NEW = SeriesKey("web-1", "cpu"), SeriesKey("web-1", "errors"), SeriesKey("web-2", "cpu")
METRICS = {"errors": Metric(name="errors", direction=Direction.HIGH, lower=0.0), "cpu": Metric(name="cpu", lower=0, upper=100)}


@pytest.fixture(scope="module")
def learnt() -> tuple[Frame, list[Seasonal], Models]:
    index = SeriesIndex([CPU, ERRORS, NEW])
    window = Window(NOW - 21 * DAY, NOW, SPAN)
    random = np.random.default_rng(5)
    hours = PARIS.local_seconds(window.starts) % DAY / 3600
    values = np.stack(
        [
            40 + 30 * (abs(hours - 12) < 4) + random.normal(0, 1.5, len(window)),
            random.poisson(3, len(window)).astype(float),
            np.full(len(window), np.nan),
        ]
    )
    detectors = [Seasonal(calendar=PARIS, span=SPAN, metrics=METRICS)]
    history = Frame.of(index, window, values)
    return history, detectors, learn(history, detectors)


@pytest.fixture(scope="module")
def bands(learnt: tuple[Frame, list[Seasonal], Models]) -> Bands:
    history, detectors, models = learnt
    return forecast(history, Window(NOW, NOW + 8 * DAY, SPAN), detectors, models)


def test_the_band_ahead_follows_the_hours_and_kinds_of_day(bands: Bands) -> None:
    starts = bands.window.starts
    hours = PARIS.local_seconds(starts) % DAY // 3600
    row = bands.index.rows[CPU]
    noon, night = bands.expected[row][hours == 12], bands.expected[row][hours == 2]
    assert (abs(noon - 70) < 3).all()
    assert (abs(night - 40) < 3).all()
    assert (bands.lower[row] < bands.expected[row]).all()
    assert (bands.upper[row] > bands.expected[row]).all()
    assert np.isnan(bands.expected[bands.index.rows[NEW]]).all()


def test_a_day_ahead_nothing_is_left_of_what_was_recent(learnt: tuple[Frame, list[Seasonal], Models]) -> None:
    history, detectors, models = learnt
    late = Frame.of(
        history.index, history.window, np.where(np.arange(len(history.window)) > len(history.window) - 12, 95.0, history.values)
    )
    window = Window(NOW, NOW + 2 * DAY, SPAN)
    calm, excited = (forecast(past, window, detectors, models) for past in (history, late))
    assert np.array_equal(calm.expected[0, 288:], excited.expected[0, 288:])


def verdict(entry: Any, at: int, value: float) -> str:
    """What Centreon's engine makes of a value: linear between two points, both bounds fine, UNKNOWN outside the points."""
    points = entry["predict"]
    stamps = [point["timestamp"] for point in points]
    assert stamps == sorted(set(stamps))
    if len(points) < 2 or not stamps[0] < at <= stamps[-1]:
        return "UNKNOWN"
    place = bisect_left(stamps, at)
    before, after = points[place - 1], points[place]
    part = (at - before["timestamp"]) / (after["timestamp"] - before["timestamp"])

    def bound(side: str) -> float:
        low, high = (point["fit"] + entry["sensitivity"] * point[side] for point in (before, after))
        return float(low + part * (high - low))

    return "OK" if bound("lower_margin") <= value <= bound("upper_margin") else "CRITICAL"


def test_the_engine_finds_in_the_file_what_the_detector_said(bands: Bands, tmp_path: Path) -> None:
    targets = [
        Target(key=CPU, host_id=17, service_id=20, metric_name="cpu.utilization.percentage"),
        Target(key=ERRORS, host_id=17, service_id=21, metric_name="errors"),
        Target(key=NEW, host_id=18, service_id=22, metric_name="cpu"),
        Target(key=SeriesKey("nobody", "cpu"), host_id=19, service_id=23, metric_name="cpu"),
    ]
    document, left_out = export.thresholds(bands, targets, METRICS)
    assert [sentence.partition(":")[0] for sentence in left_out] == ["web-2/cpu", "nobody/cpu"]
    path = tmp_path / "web.json"
    export.write_thresholds(path, document)
    assert path.stat().st_mode & 0o777 == 0o644
    cpu, errors = json.loads(path.read_text())
    assert (cpu["host_id"], cpu["service_id"], cpu["metric_name"]) == ("17", "20", "cpu.utilization.percentage")
    for place in (5, 77, 300, 1000):
        at = int(bands.window.starts[place])
        assert verdict(cpu, at, bands.expected[0, place]) == "OK"
        assert verdict(cpu, at, bands.upper[0, place] + 0.5) == "CRITICAL"
        assert verdict(cpu, at, bands.lower[0, place] - 0.5) == "CRITICAL"
        assert verdict(errors, at, 0.0) == "OK"
        assert verdict(errors, at, 500.0) == "CRITICAL"
    assert verdict(cpu, bands.window.start, 50.0) == "UNKNOWN"


def test_a_side_without_limit_and_bound_is_a_number_in_the_file() -> None:
    key = SeriesKey("a", "m")
    window = Window(NOW, NOW + 4 * SPAN, SPAN)
    flat = np.ones((1, 4))
    band = Bands(index=SeriesIndex([key]), window=window, expected=flat, lower=-np.inf * flat, upper=2 * flat)
    (entry,), _ = export.thresholds(band, [Target(key=key, host_id=1, service_id=2, metric_name="m")], {})
    assert verdict(entry, NOW + SPAN, -1e11) == "OK"
    assert verdict(entry, NOW + SPAN, 2.5) == "CRITICAL"
    json.dumps(entry, allow_nan=False)


def test_targets_are_read_and_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(
        "component,metric,host_id,service_id,metric_name\nweb-1,cpu,17,20,cpu.utilization.percentage\nweb-2,cpu,18,21,\n"
    )
    assert export.read_targets(path)[1] == Target(key=SeriesKey("web-2", "cpu"), host_id=18, service_id=21, metric_name="cpu")
    path.write_text("component,metric,host_id,service_id\nweb-1,cpu,x,20\n,cpu,1,2\na,b,1,9\nc,d,1,9\n")
    with pytest.raises(ConfigError) as told:
        export.read_targets(path)
    assert [problem.partition(": ")[0] for problem in told.value.problems] == [f"{path}:{line}" for line in (2, 3, 5)]
    path.write_text("component,metric\n")
    with pytest.raises(ConfigError, match="no column host_id"):
        export.read_targets(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        export.read_targets(tmp_path / "none.csv")


def test_the_engine_is_told_through_its_command_file_and_never_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "engine.cmd"
    with pytest.raises(TransientError, match="could not be told"):
        export.tell_engine(fifo, tmp_path / "web.json", NOW)
    os.mkfifo(fifo)
    with pytest.raises(TransientError, match="could not be told"):
        export.tell_engine(fifo, tmp_path / "web.json", NOW)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        export.tell_engine(fifo, tmp_path / "web.json", NOW)
        assert os.read(reader, 4096).decode() == f"[{NOW}] NEW_THRESHOLDS_FILE;{tmp_path}/web.json\n"
        with pytest.raises(ValueError, match="cannot be named"):
            export.tell_engine(fifo, tmp_path / "web.json;[1] SHUTDOWN_PROGRAM", NOW)
    finally:
        os.close(reader)


def test_the_matrix_has_a_line_per_half_hour_and_kind_of_day(bands: Bands) -> None:
    rows = list(csv.DictReader(export.matrix_csv(export.matrix(bands, PARIS))))
    cpu = {(row["day"], row["time"]): row for row in rows if (row["component"], row["metric"]) == ("web-1", "cpu")}
    assert len(cpu) == 3 * 48
    assert abs(float(cpu["working", "12:30"]["expected"]) - 70) < 3
    assert abs(float(cpu["sunday", "02:00"]["expected"]) - 40) < 3
    assert {row["lower"] for row in rows if row["metric"] == "errors"} <= {"", "0"}
    assert not [row for row in rows if row["component"] == "web-2"]


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_no_name_breaks_a_line_of_the_matrix_or_becomes_a_formula(component: str, metric: str) -> None:
    cell = Cell(key=SeriesKey(component, metric), kind=DayKind.WORKING, slot=19, expected=1.0, lower=0.5, upper=float("inf"))
    lines = list(export.matrix_csv([cell]))
    (row,) = csv.DictReader([lines[0], lines[1]])
    assert (row["day"], row["time"], row["expected"], row["lower"], row["upper"]) == ("working", "09:30", "1", "0.5", "")
    assert row["component"][0] not in "=+-@\t\r"
    assert "\n" not in lines[1][:-1]


def test_a_macro_is_a_range_the_plugins_understand_and_holds_all_week(bands: Bands) -> None:
    found = export.ranges(export.matrix(bands, PARIS))
    cpu, errors = parse_range(found[CPU]), parse_range(found[ERRORS])
    assert not cpu.violated(bands.expected[0]).any()
    assert cpu.violated(np.array([200.0])).all()
    assert errors.violated(np.array([1000.0])).all()
    lines = list(export.macro_lines({CPU: "20:90", SeriesKey("a;b", "x"): "1:2"}, To(), "web"))
    assert lines == ["SERVICE;setmacro;web-1;Anomaly-web;TOCSIN_CPU;20:90;0;learnt by Tocsin\n"]
