"""An incident beside the weeks before it: was it ever like this, and what is there usually at this hour."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from tests.unit.test_grouping import incident
from tocsin.lookback import NOTHING, look_back
from tocsin.model import Anomaly, Floats, Frame, Incident, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

SPAN = 600
HOUR = 3600
PARIS = Calendar("Europe/Paris")
TEN = int(datetime.fromisoformat("2026-04-14T10:00+02:00").timestamp())
WINDOW = Window(TEN - 28 * DAY, TEN + HOUR, SPAN)


def at_ten(value: float, metric: str = "cpu", expected: float = 30.0, share: float = 0.6) -> Anomaly:
    return Anomaly(
        metric=metric, unit="%", value=value, expected=expected, lower=0.0, upper=40.0, surprise=7.0, share=share, at=TEN
    )


def of(*anomalies: Anomaly) -> Incident:
    return incident("web-1", since=TEN, anomalies=anomalies)


def frame(**metrics: Floats) -> Frame:
    index = SeriesIndex(SeriesKey("web-1", name) for name in metrics)
    return Frame.of(index, WINDOW, np.stack([metrics[key.metric] for key in index]))


def day() -> Floats:
    """Thirty at ten o'clock of the local day, less the further from it; ninety when the incident was."""
    hour = PARIS.local_seconds(WINDOW.starts) % DAY / HOUR
    values = 30.0 - np.abs(hour - 10.0)
    values[WINDOW.starts >= TEN] = 90.0
    return values


def test_the_same_hour_of_the_weeks_before_is_that_of_the_clock_on_the_wall() -> None:
    (cpu,) = look_back(of(at_ten(90.0)), frame(cpu=day()), PARIS).metrics
    assert cpu.same_hour == pytest.approx([30.0, 30.0, 30.0, 30.0], abs=0.3), "the clocks changed sixteen days before"


def test_a_week_without_values_has_none() -> None:
    values = day()
    values[(WINDOW.starts > TEN - 8 * DAY) & (WINDOW.starts < TEN - 6 * DAY)] = np.nan
    (cpu,) = look_back(of(at_ten(90.0)), frame(cpu=values), PARIS).metrics
    assert math.isnan(cpu.same_hour[0])
    assert math.isfinite(cpu.same_hour[1])
    assert cpu.known == 26


def test_what_was_never_seen_is_told_with_the_most_that_was() -> None:
    (cpu,) = look_back(of(at_ten(90.0)), frame(cpu=day()), PARIS).metrics
    assert cpu.again is None
    assert (cpu.side, cpu.most, cpu.most_at) == ("high", 30.0, TEN - DAY)
    assert look_back(of(at_ten(90.0)), frame(cpu=day()), PARIS).moment is None


def test_what_was_seen_before_is_told_with_the_last_time_and_the_hour_before_the_incident_is_part_of_it() -> None:
    values = day()
    places = [int(np.flatnonzero(WINDOW.starts == TEN - ago)[0]) for ago in (9 * DAY, 3 * DAY, SPAN)]
    values[places] = 95.0, 91.0, 90.0
    found = look_back(of(at_ten(90.0)), frame(cpu=values), PARIS)
    assert found.metrics[0].again == (TEN - 3 * DAY, 91.0)
    assert found.metrics[0].most == 95.0
    assert found.moment is not None
    assert (found.moment.at, found.moment.values) == (TEN - 3 * DAY, (("cpu", 91.0),))
    assert found.moment.alike == pytest.approx(0.98, abs=0.02)


def test_a_metric_that_nobody_expected_anything_of_is_low_or_high_beside_its_own_middle() -> None:
    values = np.full(len(WINDOW), 4.0)
    values[WINDOW.starts >= TEN] = 1.0
    unexpected = replace(at_ten(1.0, "workers", math.nan), lower=math.nan, upper=math.nan)
    (workers,) = look_back(of(unexpected), frame(workers=values), PARIS).metrics
    assert (workers.side, workers.again, workers.most) == ("low", None, 4.0)


def test_the_nearest_moment_is_that_of_all_metrics_together_by_their_share() -> None:
    cpu, disk = day(), np.where(WINDOW.starts >= TEN, 50.0, 10.0)
    only_cpu, both = (int(np.flatnonzero(WINDOW.starts == TEN - ago)[0]) for ago in (2 * DAY, 5 * DAY))
    cpu[[only_cpu, both]], disk[both] = 90.0, 45.0
    moment = look_back(of(at_ten(90.0), at_ten(50.0, "disk", share=0.4)), frame(cpu=cpu, disk=disk), PARIS).moment
    assert moment is not None
    assert moment.at == TEN - 5 * DAY
    assert moment.values == (("cpu", 90.0), ("disk", 45.0))


def test_of_what_is_gone_and_of_what_is_not_in_the_history_nothing_is_told() -> None:
    assert look_back(of(at_ten(math.nan)), frame(cpu=np.where(WINDOW.starts >= TEN, np.nan, day())), PARIS) == NOTHING
    assert look_back(of(at_ten(9.0, "net")), frame(cpu=day()), PARIS) == NOTHING
    assert look_back(of(at_ten(9.0)), frame(cpu=np.full(len(WINDOW), np.nan)), PARIS) == NOTHING
    assert look_back(of(), frame(cpu=day()), PARIS) == NOTHING
    late = of(replace(at_ten(9.0), at=WINDOW.end + HOUR))
    assert look_back(late, frame(cpu=day()), PARIS).moment is None
