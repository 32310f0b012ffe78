"""Hours that are not where they used to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.level import Level
from detectors.means import half_hours, trailing_mean
from detectors.walking import refitted
from tests.naive import naive_half_hour, naive_trailing_mean, same_fitted, same_scores
from tocsin.model import Direction, Floats, Frame, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.scoring import walk
from tocsin.timegrid import DAY, Calendar

SPAN = 600
A_DAY = DAY // SPAN
T0 = 1_767_225_600
FEW = st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))
DETECTOR = Level(calendar=Calendar("Europe/Paris"), span=SPAN)


def days(count: int, rows: int = 1) -> Floats:
    buckets = np.arange(count * A_DAY)
    noise = np.random.default_rng(5).standard_normal((rows, len(buckets)))
    return np.asarray(100 + 20 * np.sin(2 * np.pi * buckets / A_DAY) + 3 * noise, np.float64)


def frame(values: Floats) -> Frame:
    index = SeriesIndex(SeriesKey(f"web{row}", "cpu") for row in range(len(values)))
    return Frame.of(index, Window(T0, T0 + values.shape[1] * SPAN, SPAN), values)


def lived(values: Floats, start: int) -> Floats:
    """Surprises from day `start` on, learnt again each six hours."""
    told = walk(frame(values), [DETECTOR], train=28 * DAY, every=6 * 3600, start=T0 + start * DAY)
    return np.concatenate([evaluation.scores["level"].surprise for _, evaluation in told], axis=1)[0]


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=FEW), st.integers(1, 9), st.data())
@settings(max_examples=60)
def test_a_trailing_mean_is_as_it_is_defined_also_before_there_was_anything(
    values: Floats, width: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(-5, values.shape[1] - 1))
    stop = data.draw(st.integers(start + 1, values.shape[1]))
    found = trailing_mean(values, width, slice(start, stop))
    wanted = [[naive_trailing_mean(row.tolist(), at, width) for at in range(start, stop)] for row in values]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-4)
    some = np.arange(len(values))[::2]
    for same in (values, np.asfortranarray(values)):
        part = trailing_mean(same, width, slice(start, stop), some)
        np.testing.assert_allclose(part, np.array(wanted)[some], rtol=1e-6, atol=1e-4)


def test_hours_at_another_level_are_surprising_though_no_value_is_out_of_range() -> None:
    values = days(25)
    values[0, 24 * A_DAY + 10 : 24 * A_DAY + 60] = 112
    said = lived(values, 23)
    assert said[:A_DAY].max() < 1.5
    assert said[A_DAY:].max() > 2


def test_a_lasting_shift_is_adopted_within_five_days() -> None:
    values = days(38)
    values[0, 24 * A_DAY :] += 60
    said = lived(values, 24)
    assert said[: A_DAY // 2].max() > 6
    assert np.median(said[5 * A_DAY : 6 * A_DAY]) < 2


def test_an_incident_of_a_day_is_not_adopted() -> None:
    values = days(26)
    calm = DETECTOR.fit(frame(values)).baseline.arrays
    values[0, 24 * A_DAY : 25 * A_DAY] += 60
    after = DETECTOR.fit(frame(values)).baseline.arrays
    np.testing.assert_allclose(after["week"], calm["week"], atol=8)
    np.testing.assert_allclose(after["hours"], calm["hours"], atol=8)


def test_what_is_expected_is_the_hour_of_the_last_seven_days() -> None:
    values = days(24)
    whole = frame(values)
    cut = T0 + 23 * DAY
    window = Window(cut, cut + DAY, SPAN)
    baseline = DETECTOR.fit(whole.within(Window(T0, cut, SPAN))).baseline
    said: Scores = DETECTOR.score(whole.within(window.reaching_back(DETECTOR.lookback)), baseline, window)
    hourly = 100 + 20 * np.sin(2 * np.pi * (np.arange(A_DAY) - 2.5) / A_DAY)
    np.testing.assert_allclose(said.expected[0], hourly, atol=3)
    assert (said.lower < said.expected).all()
    assert (said.upper > said.expected).all()


@pytest.mark.parametrize(
    ("span", "zone", "begin", "start"),
    [
        (300, "Europe/Paris", "2026-03-09T10:10", 0),
        (1800, "Australia/Lord_Howe", "2026-03-15T00:00", 2 * DAY + 7200),
        (600, "UTC", "2026-01-01T00:20", 9 * DAY + 1200),
        (3600, "Europe/Paris", "2025-10-05T03:00", 0),
        (7200, "Europe/Paris", "2025-10-05T02:00", 3 * DAY),
    ],
)
def test_going_through_a_past_says_what_learning_anew_each_day_says(span: int, zone: str, begin: str, start: int) -> None:
    rng = np.random.default_rng(span)
    buckets = 32 * DAY // span - 5
    noise = rng.standard_normal((5, buckets))
    values = np.array([[50.0], [1e9], [3.0], [0.0], [7.1]]) + noise + np.cumsum(noise, axis=1) / 9
    values[2:4] = np.maximum(0, np.round(noise[2:4] - 1))
    values[4] = 7.1
    values[0, 9 * DAY // span : 17 * DAY // span] = values[1, -3 * DAY // span :] = values[2, : 5 * DAY // span] = np.nan
    values[:2, rng.integers(0, buckets, 200)] = np.nan
    index = SeriesIndex([SeriesKey(f"web{row}", "cpu" if row else "free") for row in range(5)])
    first = int(np.datetime64(begin, "s").astype(np.int64))
    whole = Frame.of(index, Window(first, first + buckets * span, span), values)
    metrics = {"free": Metric(name="free", direction=Direction.LOW, min_deviation=0.1)}
    detector = Level(calendar=Calendar(zone), span=span, metrics=metrics)
    days = range(first + start, whole.window.end, DAY)
    windows = [Window(one, min(one + DAY, whole.window.end), span) for one in days]
    plain = refitted(detector, whole, windows, 28 * DAY)
    for number, (said, wanted) in enumerate(zip(detector.walk(whole, windows, 28 * DAY), plain, strict=True)):
        same_scores(said.scores, wanted.scores)
        if number % 7 in (0, 1, 5):
            same_fitted(said.fitted(), wanted.fitted())


def test_windows_that_are_not_days_are_learnt_one_by_one() -> None:
    whole = frame(days(4))
    windows = [Window(T0 + start, T0 + start + DAY // 2, SPAN) for start in range(0, 4 * DAY, DAY // 2)]
    for said, wanted in zip(DETECTOR.walk(whole, windows, 28 * DAY), refitted(DETECTOR, whole, windows, 28 * DAY), strict=True):
        same_scores(said.scores, wanted.scores)
    assert not list(DETECTOR.walk(whole, [], 28 * DAY))


@given(st.sampled_from([300, 420, 1800, 3600, 7200]), st.integers(-3, 30), st.data())
@settings(max_examples=60)
def test_half_hours_hold_the_buckets_whose_centre_they_hold(span: int, late: int, data: st.DataObject) -> None:
    values = data.draw(arrays.arrays(np.float64, (2, 4 * 7200 // span), elements=FEW))
    window = Window(T0, T0 + values.shape[1] * span, span)
    first, count = T0 + late * 600, 5
    for row, total, known in zip(values, *half_hours(values, window, first, count), strict=True):
        wanted = [naive_half_hour(row.tolist(), T0, span, first + number * 1800) for number in range(count)]
        np.testing.assert_allclose(total, [one for one, _ in wanted], rtol=1e-6, atol=1e-4)
        np.testing.assert_array_equal(known, [one for _, one in wanted])


def test_a_day_that_nothing_came_before_is_not_rehearsed() -> None:
    rehearsal = DETECTOR.fit(frame(days(9))).rehearsal
    assert np.isnan(rehearsal.surprise[:, :A_DAY]).all()
    assert not np.isnan(rehearsal.surprise[:, A_DAY:]).any()


def test_a_value_that_is_always_the_same_is_never_off() -> None:
    values = np.full((1, 20 * A_DAY), 7.1)
    values[0, 3 * A_DAY] = np.nan
    assert np.nanmax(lived(values, 15)) == 0


def test_a_tick_looks_at_the_slow_hours_of_those_only_whose_last_hour_is_off() -> None:
    whole = frame(days(24, 40))
    cut = T0 + 23 * DAY
    baseline = DETECTOR.fit(whole.within(Window(T0, cut, SPAN))).baseline
    ahead = Window(cut, cut + DAY, SPAN)
    said = DETECTOR.score(whole.within(ahead.reaching_back(DETECTOR.lookback)), baseline).surprise[:, -A_DAY:]
    for column in range(0, A_DAY, 7):
        one = Window(cut + column * SPAN, cut + (column + 1) * SPAN, SPAN)
        tick = DETECTOR.score(whole.within(one.reaching_back(DETECTOR.lookback)), baseline, one).surprise
        np.testing.assert_allclose(tick[:, 0], said[:, column], rtol=1e-6, atol=1e-9)
    assert 0.8 < (said == 0).mean() < 0.99
