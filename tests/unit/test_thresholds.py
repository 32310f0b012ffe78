"""The notation of the monitoring plugins, and what a static template makes of a series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import Frame, SeriesIndex, SeriesKey, Severity, Window
from tocsin.thresholds import (
    Alert,
    Range,
    Template,
    Thresholds,
    alerts,
    hard_severity,
    merge,
    parse_range,
    static_severity,
    template_alerts,
)

OK, WARNING, CRITICAL, UNKNOWN = Severity


@pytest.mark.parametrize(
    ("text", "alerting", "fine"),
    [
        ("10", [-0.1, 10.1], [0, 5, 10]),
        (10, [-0.1, 10.1], [0, 5, 10]),
        ("10:", [9.9, -5], [10, 1e9]),
        ("~:10", [10.1, 1e9], [10, -1e9]),
        ("10:20", [9.9, 20.1], [10, 15, 20]),
        ("@10:20", [10, 15, 20], [9.9, 20.1]),
        ("@10", [0, 10], [-0.1, 10.1]),
        (":10", [-0.1, 10.1], [0, 10]),
        ("-5:-1.5", [-5.1, -1.4], [-5, -1.5]),
        ("1e3:", [999], [1000]),
        (" 0.5 ", [0.51], [0.5]),
        ("~:", [], [-1e9, 1e9]),
    ],
)
def test_the_notation_of_the_monitoring_plugins(text: str, alerting: list[float], fine: list[float]) -> None:
    read = parse_range(text)
    assert read.violated(np.array(alerting, float)).all()
    assert not read.violated(np.array(fine, float)).any()


@pytest.mark.parametrize(
    "text", ["", "@", "ten", "10::20", "20:10", "10-20", "~", "10:~", "nan", "inf:", "10 20", "١٠", "1e999", True]
)
def test_what_is_no_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"no threshold range.* such as 10 "):
        parse_range(text)


ends_of_ranges = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.one_of(st.just(-math.inf), ends_of_ranges), st.one_of(st.just(math.inf), ends_of_ranges), st.booleans())
def test_a_range_that_is_written_down_is_read_back_the_same(low: float, high: float, inside: bool) -> None:
    low, high = (float(f"{x:.15g}") for x in sorted([low, high]))
    written = Range(low, high, inside)
    assert parse_range(str(written)) == written


@given(ends_of_ranges, ends_of_ranges, st.booleans())
def test_a_missing_value_never_violates_a_range(low: float, high: float, inside: bool) -> None:
    assert not Range(*sorted([low, high]), inside).violated(np.array([np.nan])).any()


def test_the_worst_threshold_wins_and_no_value_is_unknown() -> None:
    thresholds = Thresholds(parse_range("80"), parse_range("90"))
    assert static_severity(np.array([50, 85, 95, np.nan]), thresholds).tolist() == [OK, WARNING, CRITICAL, UNKNOWN]
    assert static_severity(np.array([95.0]), Thresholds(warning=parse_range("80"))).tolist() == [WARNING]


@pytest.mark.parametrize(
    ("checks", "hard", "unknown_alerts"),
    [
        ([0, 1, 1, 1, 0], [0, 0, 0, 1, 0], False),  # hard on the third attempt, over at once
        ([1, 1, 0, 1, 1], [0, 0, 0, 0, 0], False),  # never three in a row
        ([1, 2, 1, 2, 1], [0, 0, 1, 2, 1], False),  # any trouble counts as an attempt, then every code is hard
        ([1, 1, 3, 1, 3], [0, 0, 0, 1, 1], False),  # a missing value is no attempt and ends nothing
        ([3, 3, 3, 3, 0], [0, 0, 3, 3, 0], True),
    ],
)
def test_trouble_is_hard_after_max_check_attempts(checks: list[int], hard: list[int], unknown_alerts: bool) -> None:
    assert hard_severity(np.array([checks]), 3, unknown_alerts=unknown_alerts).tolist() == [hard]


def test_an_alert_lasts_from_hard_to_fine_and_tells_when_it_gets_worse() -> None:
    ends = np.arange(1, 9) * 300
    found = list(alerts(np.array([0, 1, 1, 2, 1, 2, 0, 1]), ends))
    assert found == [Alert(600, 2100, (600, 1200), CRITICAL), Alert(2400, 2400, (2400,), WARNING)]


def test_checks_of_one_component_in_trouble_together_are_one_alert() -> None:
    cpu, load, later = Alert(600, 1200, (600,), WARNING), Alert(900, 1500, (900,), CRITICAL), Alert(1801, 2100, (1801,), WARNING)
    assert merge([later, cpu, load], 300, same_check=False) == [Alert(600, 1500, (600, 900), CRITICAL), later]


def test_a_check_that_comes_and_goes_is_one_alert_and_tells_only_of_worse() -> None:
    first, again, worse = (
        Alert(0, 300, (0,), WARNING),
        Alert(600, 900, (600,), WARNING),
        Alert(1200, 1500, (1200, 1500), CRITICAL),
    )
    assert merge([first, again, worse], 300, same_check=True) == [Alert(0, 1500, (0, 1500), CRITICAL)]


def test_a_template_holds_the_same_numbers_against_every_component() -> None:
    index = SeriesIndex([SeriesKey(c, m) for c in ("calm", "busy") for m in ("cpu", "other")])
    window = Window(0, 1500, 300)
    values = np.full((4, 5), 50.0)
    values[index.rows[SeriesKey("busy", "cpu")]] = 85
    values[index.rows[SeriesKey("calm", "other")]] = 1e9  # no threshold, no check
    template = Template(thresholds={"cpu": Thresholds(parse_range("80"), parse_range("90"))})
    raised = template_alerts(Frame.of(index, window, values), template)
    assert raised == {"busy": [Alert(900, 1500, (900,), WARNING, ("cpu",))], "calm": []}


def test_what_is_written_of_a_metric_holds_for_each_of_its_parts() -> None:
    index = SeriesIndex([SeriesKey("web", "disk.used[/]"), SeriesKey("web", "disk.used[/var]"), SeriesKey("web", "disk")])
    window = Window(0, 300, 60)
    values = np.array([[10.0] * 5, [99.0] * 5, [10.0] * 5])[[2, 0, 1]]
    template = Template(thresholds={"disk.used": Thresholds(critical=parse_range("95"))})
    (alert,) = template_alerts(Frame.of(index, window, values), template)["web"]
    assert alert.checks == ("disk.used[/var]",)


def test_a_series_own_thresholds_go_before_those_of_its_metric() -> None:
    index = SeriesIndex([SeriesKey("calm", "cpu"), SeriesKey("busy", "cpu")])
    frame = Frame.of(index, Window(0, 1500, 300), np.full((2, 5), 85.0))
    own = {SeriesKey("busy", "cpu"): Thresholds(parse_range("95"))}
    raised = template_alerts(frame, Template(thresholds={"cpu": Thresholds(parse_range("80"))}, own=own))
    assert {component: len(found) for component, found in raised.items()} == {"busy": 0, "calm": 1}


def test_a_check_without_value_alerts_only_when_asked_to() -> None:
    index = SeriesIndex([SeriesKey("web", "cpu")])
    frame = Frame.of(index, Window(0, 1200, 300), np.full((1, 4), np.nan))
    thresholds = {"cpu": Thresholds(parse_range("80"))}
    assert template_alerts(frame, Template(thresholds=thresholds))["web"] == []
    assert template_alerts(frame, Template(thresholds=thresholds, unknown_alerts=True))["web"][0].severity is UNKNOWN
