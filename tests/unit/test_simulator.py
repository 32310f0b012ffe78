"""The simulated park: one seed is one park, and it has what a real park has."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import date
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from tocsin.demo.nature import wander
from tocsin.demo.park import Park
from tocsin.demo.simulator import simulate
from tocsin.demo.source import ParkSource
from tocsin.evaluation import Label
from tocsin.model import Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DayKind

HOUR, DAY = 3600, 86_400


@cache
def park(seed: int = 1) -> Park:
    return simulate(seed)


def series(component: str, metric: str, seed: int = 1) -> Floats:
    frame = park(seed).of(component).frame
    return frame.values[frame.index.rows[SeriesKey(component, metric)]]


def during(label: Label, metric: str, seed: int = 1) -> Floats:
    window = park(seed).window
    return series(label.component, metric, seed)[
        (label.start - window.start) // window.span : (label.end - window.start) // window.span
    ]


def incident(kind: str, seed: int = 1) -> Label:
    return next(label for label in park(seed).incidents if label.kind == kind)


def test_one_seed_is_one_park_and_another_is_another() -> None:
    again, other = simulate(1), park(2)
    for name, kind in park().types.items():
        assert np.array_equal(kind.raw.values, again.types[name].raw.values, equal_nan=True)
        assert not np.array_equal(kind.raw.values, other.types[name].raw.values, equal_nan=True)
    assert park().incidents == again.incidents != other.incidents


def test_the_park_is_as_large_as_promised() -> None:
    assert park().components >= 40
    assert len(park().types) == 4
    assert (len(park().history), len(park().live)) == (28 * 288, 7 * 288)
    assert park().history.end == park().live.start
    assert park().calendar.local(park().live.start).strftime("%a %H:%M") == "Mon 00:00"


def test_a_holiday_and_a_month_end_lie_in_the_history_and_in_the_live_week() -> None:
    for window in (park().history, park().live):
        kinds = set(park().calendar.kinds(window.starts))
        assert {DayKind.HOLIDAY, DayKind.BUSINESS, DayKind.WORKING, DayKind.SATURDAY, DayKind.SUNDAY} <= kinds


def test_a_public_holiday_is_like_a_sunday() -> None:
    calendar, window = park().calendar, park().history
    kinds = calendar.kinds(window.starts)
    noon = np.abs(calendar.slots(window.starts) - 22) <= 2  # from ten to half past twelve
    frame = park().types["host"].frame.within(window)
    for name in frame.index.components[:6]:
        traffic = frame.values[frame.index.rows[SeriesKey(name, "net.in")]]
        holiday, sunday, working = (
            np.nanmedian(traffic[noon & (kinds == k)]) for k in (DayKind.HOLIDAY, DayKind.SUNDAY, DayKind.WORKING)
        )
        assert abs(np.log(holiday / sunday)) < abs(np.log(holiday / working))


def test_a_dozen_incidents_of_different_kinds_lie_in_the_live_week_one_a_component() -> None:
    for seed in (1, 2, 3):
        incidents, live = park(seed).incidents, park(seed).live
        assert len({label.kind for label in incidents}) == len(incidents) >= 12
        assert len({label.component for label in (*incidents, *park(seed).changes)}) == len(incidents) + len(park(seed).changes)
        for label in incidents:
            assert live.start <= label.start < label.end <= live.end
            assert set(label.metrics) <= set(park(seed).of(label.component).metrics)
            assert label.text
        assert all(park(seed).history.start <= label.start < label.end <= live.start for label in park(seed).past)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_incident_leaves_its_mark(seed: int) -> None:
    def usual(label: Label, metric: str) -> Floats:
        window, values = park(seed).window, series(label.component, metric, seed)
        first = (label.start - window.start) // window.span
        return np.concatenate([values[first - 288 * week * 7 :][: (label.end - label.start) // window.span] for week in (1, 2)])

    def change(kind: str, metric: str) -> float:
        label = incident(kind, seed)
        return float(np.nanmean(during(label, metric, seed)) / np.nanmean(usual(label, metric)))

    assert change("spike", "latency.p95") > 1.8
    assert change("drop", "requests") < 0.2
    assert change("wrong hour", "requests") > 1.5
    assert change("level jump", "connections") > 1.4
    assert (
        2 * float(np.nanmedian(usual(label := incident("few errors", seed), "errors")))
        < np.nanmedian(during(label, "errors", seed))
        < 2
    )
    assert np.isnan(during(incident("silence", seed), "cpu", seed)).all()
    stuck = during(incident("stuck", seed), "cpu", seed)
    assert np.nanmin(stuck) == np.nanmax(stuck)
    restless = incident("restless", seed)
    assert np.nanstd(np.log(during(restless, "query.time", seed))) > 2 * np.nanstd(np.diff(np.log(usual(restless, "query.time"))))
    assert np.nanmax(during(incident("backlog", seed), "workers", seed)) == 1


def test_a_deployment_lasts() -> None:
    change = park().changes[1]
    first = (change.start - park().window.start) // park().window.span
    latency = series(change.component, "latency.p95")
    assert np.nanmedian(latency[first:]) > 1.2 * np.nanmedian(latency[first - 288 * 7 : first])
    assert change.end == park().window.end


def test_a_backup_is_seen_every_night_and_is_no_incident() -> None:
    name = park().types["host"].frame.index.components[0]
    reading = series(name, "disk.io").reshape(35, 288)
    assert (np.nanmax(reading[:, 6:60], axis=1) > 3 * np.nanmedian(reading)).all()


def test_percentages_stay_percentages_and_counters_grow_until_they_are_reset() -> None:
    resets = 0
    for kind in park().types.values():
        for row, key in enumerate(kind.raw.index):
            metric, values = kind.metrics[key.metric], kind.raw.values[row]
            values = values[np.isfinite(values)]
            assert metric.lower <= values.min() <= values.max() <= metric.upper
            if metric.counter:
                resets += int((np.diff(values) < 0).sum())
                assert np.array_equal(values, np.floor(values))
    assert 10 < resets < 200


def test_there_are_gaps_metrics_that_hardly_move_and_heavy_tails() -> None:
    web = park().types["web"].frame
    assert 0.0005 < np.isnan(web.values).mean() < 0.01
    instances = web.values[[row for row, key in enumerate(web.index) if key.metric == "instances"]]
    assert (np.nanmedian(np.abs(instances - np.nanmedian(instances, axis=1, keepdims=True)), axis=1) == 0).all()
    latency = np.log(series("media-1", "latency.p95"))
    steps = np.diff(latency[np.isfinite(latency)])
    kurtosis = np.mean((steps - steps.mean()) ** 4) / np.var(steps) ** 2
    assert kurtosis > 3.5


def test_noise_that_remembers_has_unit_variance_and_the_memory_asked_for() -> None:
    rng = np.random.default_rng(1)
    noise = np.array([wander(rng, 4000, 0.8) for _ in range(20)])
    assert abs(noise.std() - 1) < 0.05
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1]) - 0.8) < 0.05
    assert abs(noise[:, :20].std() - 1) < 0.15  # settled from the first bucket


def test_a_park_may_live_through_the_change_of_the_clocks() -> None:
    spring = simulate(1, monday=date(2026, 3, 9))
    assert spring.window.end - spring.window.start == 35 * DAY - HOUR
    assert spring.calendar.local(spring.live.start).strftime("%a %H:%M") == "Mon 00:00"
    assert spring.calendar.local(spring.live.end).strftime("%a %H:%M") == "Mon 00:00"


def test_the_source_says_what_the_agents_said_and_nothing_outside() -> None:
    kind = park().types["web"]
    source = ParkSource(park(), "web")
    index = SeriesIndex([SeriesKey("nobody", "cpu"), *source.discover()[:3]])
    window = Window(kind.raw.window.start - 600, kind.raw.window.start + 900, 300)
    frame = source.collect(index, window)
    rows = [row for row, key in enumerate(index) if key.component != "nobody"]
    assert np.isnan(frame.values[:, :2]).all()
    assert np.isnan(frame.values[index.rows[SeriesKey("nobody", "cpu")]]).all()
    assert np.array_equal(frame.values[rows, 2:], kind.raw.values[:3, :3], equal_nan=True)
    assert source.reach() == (kind.raw.window.start, kind.raw.window.end - 300)
    far = Window(0, 600, 300)
    assert np.array_equal(source.collect(index, far).values, Frame.of(index, far, np.full((4, 2), np.nan)).values, equal_nan=True)
    with pytest.raises(ValueError, match="buckets of 300 s"):
        source.collect(index, Window(0, 120, 60))


def test_rates_agree_with_the_counters() -> None:
    kind = park().types["web"]
    row = next(row for row, key in enumerate(kind.raw.index) if key.metric == "requests")
    for (before, after), rate in zip(pairwise(kind.raw.values[row][:500]), kind.frame.values[row][:499], strict=True):
        if np.isfinite(before) and np.isfinite(after) and after >= before:
            assert rate == pytest.approx((after - before) / 300)


def test_the_simulator_knows_nothing_of_how_incidents_are_found() -> None:
    code = "import sys, tocsin.demo.simulator; print(sorted({m.split('.')[0] for m in sys.modules}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"detectors", "alerting", "collectors"} & set(ast.literal_eval(told.stdout))
