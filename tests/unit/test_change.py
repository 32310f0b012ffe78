"""A value unlike the buckets just before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.change import CAP, MEMORY, TOGETHER, Change, recent_mean
from detectors.walking import refitted
from tests.naive import naive_recent_mean, naive_told, same_fitted, same_scores
from tocsin.model import Direction, Floats, Frame, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

SPAN = 60
T0 = 1_767_225_600
MARCH = T0 + 64 * DAY
WEEK = 7 * 1440
FEW = st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))
SURPRISES = st.one_of(st.floats(0, 2), st.floats(2.5, 20), st.just(np.nan))


def frame(values: Floats, *, siblings: bool = False) -> Frame:
    """Each row a component of its own, or all of them the metrics of one."""
    keys = (SeriesKey("web", f"cpu{row}") if siblings else SeriesKey(f"web{row}", "cpu") for row in range(len(values)))
    index = SeriesIndex(keys)
    return Frame.of(index, Window(T0, T0 + values.shape[1] * SPAN, SPAN), values)


def noise(rows: int = 1, buckets: int = WEEK) -> Floats:
    return 50 + np.random.default_rng(3).standard_normal((rows, buckets))


def judged(values: Floats, live: int, metrics: dict[str, Metric] | None = None, *, siblings: bool = False) -> Scores:
    """What is said of the last `live` buckets after having learnt from the others."""
    whole = frame(values, siblings=siblings)
    detector = Change(span=SPAN, metrics=metrics or {})
    cut = T0 + (values.shape[1] - live) * SPAN
    baseline = detector.fit(whole.within(Window(T0, cut, SPAN))).baseline
    window = Window(cut, whole.window.end, SPAN)
    return detector.score(whole.within(window.reaching_back(detector.lookback)), baseline, window)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 70)), elements=FEW), st.integers(0, 60))
@settings(max_examples=60)
def test_the_recent_mean_is_as_it_is_defined(values: Floats, first: int) -> None:
    first = min(first, values.shape[1] - 1)
    found = recent_mean(values, first)
    wanted = [[naive_recent_mean(row.tolist(), at) for at in range(first, values.shape[1])] for row in values]
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-6)


def test_a_tick_says_what_a_whole_day_says() -> None:
    values = noise(3, 200)
    values[1, 40:60] = np.nan
    whole = recent_mean(values)
    for at in range(MEMORY, 198):
        np.testing.assert_allclose(recent_mean(values[:, at - MEMORY : at + 2], MEMORY), whole[:, at : at + 2], rtol=1e-12)


def test_what_is_only_rounding_is_no_change() -> None:
    values = np.full((1, WEEK), 7.1)
    values[0, -1] = 7.1 * (1 + 1e-14)
    assert judged(values, 500).surprise.max() == 0


@pytest.mark.parametrize(
    ("span", "start", "every", "single"),
    [
        (60, 15 * DAY, DAY, 2),
        (300, 0, DAY, 2),
        (300, 16 * DAY, DAY, 5),
        (3600, 9 * DAY, DAY, 5),
        (600, 3 * DAY + 4200, 6 * 3600, 0),
    ],
)
def test_going_through_a_past_says_what_learning_anew_each_time_says(span: int, start: int, every: int, single: int) -> None:
    """So many series stand alone, the others are siblings; clocks are set forward in the fourth week."""
    rng = np.random.default_rng(span)
    buckets = 33 * DAY // span
    values = np.array([[50.0], [1e9], [3.0], [0.0], [7.1]]) + np.cumsum(rng.standard_normal((5, buckets)), axis=1)
    values[2:4] = np.maximum(0, np.round(rng.standard_normal((2, buckets)) - 1))
    values[4] = 7.1
    values[0, 100:400] = values[1, -3 * DAY // span :] = np.nan
    values[:2, rng.integers(0, buckets, 200)] = np.nan
    index = SeriesIndex(SeriesKey(f"web{min(row, single)}", f"cpu{row}" if row else "free") for row in range(5))
    begin = MARCH + 4200
    whole = Frame.of(index, Window(begin, begin + buckets * span, span), values)
    metrics = {"free": Metric(name="free", direction=Direction.LOW, min_deviation=0.5)}
    detector = Change(span=span, metrics=metrics, calendar=Calendar("Europe/Paris"))
    firsts = range(whole.window.start + start, whole.window.end, every)
    windows = [Window(one, min(one + every, whole.window.end), span) for one in firsts]
    for train in (28 * DAY, 10 * DAY):
        plain = refitted(detector, whole, windows, train)
        for number, (said, wanted) in enumerate(zip(detector.walk(whole, windows, train), plain, strict=True)):
            same_scores(said.scores, wanted.scores)
            if number % 7 in (0, 5):
                same_fitted(said.fitted(), wanted.fitted())


@pytest.mark.parametrize("siblings", [0, 2])
def test_a_step_is_surprising_at_once_and_not_for_hours(siblings: int) -> None:
    values = noise(1 + siblings)
    values[0, -300:] += 8
    said = judged(values, 301, siblings=bool(siblings)).surprise[0]
    assert said[0] < 2
    assert 4 < said[1:4].min() <= said[1:4].max() <= CAP
    assert (np.diff(said[3:9]) < 0).all()
    assert said[20:].max() < 3


@pytest.mark.parametrize("siblings", [0, 2])
def test_a_single_spike_however_high_counts_two_thirds_and_is_over_after_ten_minutes(siblings: int) -> None:
    values = noise(1 + siblings)
    values[0, -20] += 1e6
    said = judged(values, 30, siblings=bool(siblings)).surprise[0]
    most = (CAP / TOGETHER + CAP) / 2
    assert most <= said[10] < most + 0.5
    assert (np.diff(said[10:21]) < 0).all()
    assert said[20] > CAP / 6
    assert said[21:].max() < 1


def test_what_is_no_news_is_not_told_again() -> None:
    values = noise()
    values[0, -20] += 2.5
    said = judged(values, 30).surprise[0]
    assert 1 < said[10] < 2
    assert said[13:17].max() < 0.5


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=SURPRISES), st.data())
@settings(max_examples=60)
def test_three_buckets_and_the_last_ten_minutes_are_told_together_as_it_is_defined(surprise: Floats, data: st.DataObject) -> None:
    span = data.draw(st.sampled_from([60, 100, 300, 3600]))
    width = data.draw(st.integers(1, surprise.shape[1]))
    found = Change(span=span)._together(surprise, width)
    for row, said in zip(surprise, found, strict=True):
        wanted = [naive_told(row.tolist(), at, span) for at in range(surprise.shape[1] - width, surprise.shape[1])]
        np.testing.assert_allclose(said, wanted, rtol=1e-9, atol=1e-12)


def test_a_series_that_is_calm_after_incidents_is_judged_by_its_calm_and_not_by_them() -> None:
    values = noise()
    for start in range(200, WEEK - 200, 2500):
        values[0, start : start + 8] += 40
    values[0, -8:] += 40
    assert judged(values, 8).surprise[0, 4:].min() > 3


def test_only_the_side_that_matters_and_only_as_far_as_it_matters() -> None:
    values = noise()
    values[0, -3:] -= 30
    high = {"cpu": Metric(name="cpu", direction=Direction.HIGH)}
    assert judged(values, 3, high).surprise.max() < 1.5
    assert np.isinf(judged(values, 3, high).lower).all()
    small = {"cpu": Metric(name="cpu", min_deviation=40)}
    assert judged(values, 3, small).surprise.max() == 0
    assert judged(values, 3).surprise[0, 2] > 6


def test_after_a_gap_longer_than_the_memory_there_is_nothing_to_compare_with() -> None:
    values = noise()
    values[0, -MEMORY - 10 : -1] = np.nan
    values[0, -1] = 500.0
    assert judged(values, 1).surprise[0, 0] == 0
