"""A value that was not seen before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.clockdays import Clock
from detectors.neighbours import KEPT, NEVER, Small, ranges, second_nearest_range, stretches, third_nearest
from detectors.novelty import Novelty
from detectors.walking import refitted
from tests.naive import naive_at_hour, naive_nearest
from tocsin.model import Direction, Floats, Frame, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, SLOTS_PER_DAY, Calendar

SPAN = 300
A_DAY = DAY // SPAN
T0 = 1_767_225_600
FEW = st.one_of(st.integers(-500, 500).map(float), st.just(np.nan))


def days(count: int) -> Floats:
    """Noise around a daily wave; each night at three something is five times as high for half an hour."""
    buckets = np.arange(count * A_DAY)
    values = 100 + 20 * np.sin(2 * np.pi * buckets / A_DAY) + 3 * np.random.default_rng(5).standard_normal(len(buckets))
    return np.asarray(np.where(buckets % A_DAY // 6 == 6, 5 * values, values)[None], np.float64)


def judged(values: Floats, metrics: dict[str, Metric] | None = None) -> Scores:
    """What is said of the last day after having learnt from the days before."""
    index = SeriesIndex(SeriesKey(f"web{row}", "cpu") for row in range(len(values)))
    window = Window(T0, T0 + values.shape[1] * SPAN, SPAN)
    whole = Frame.of(index, window, values)
    detector = Novelty(calendar=Calendar("UTC"), span=SPAN, metrics=metrics or {})
    last = Window(window.end - DAY, window.end, SPAN)
    return detector.score(whole.within(last), detector.fit(whole.within(Window(T0, last.start, SPAN))).baseline)


@given(st.data())
@settings(max_examples=40)
def test_what_a_half_hour_had_is_a_range_and_nothing_where_nothing_is_known(data: st.DataObject) -> None:
    values: Small = data.draw(arrays.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=FEW))
    group = np.array(data.draw(st.lists(st.integers(0, 4), min_size=values.shape[1], max_size=values.shape[1])))
    found = ranges(values, group, 5)
    for row, line in enumerate(values):
        for one in range(5):
            known = line[(group == one) & ~np.isnan(line)].tolist()
            assert found[row, :, one].tolist() == [min(known, default=NEVER), max(known, default=-NEVER)]


def test_inside_a_range_is_no_distance_and_two_of_them_must_be_known() -> None:
    low = np.array([[10, 50, NEVER], [10, NEVER, NEVER]], np.float32)
    high = np.array([[20, 60, -NEVER], [20, -NEVER, -NEVER]], np.float32)
    asked = np.array([[15, 4, 55, 70, np.nan], [15, 4, 55, 70, 20]], np.float32)
    found = second_nearest_range(asked, zip(low.T[:, :, None], high.T[:, :, None], strict=True))
    np.testing.assert_array_equal(found[0], [35, 46, 35, 50, np.nan])
    assert np.isnan(found[1]).all()


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 3), st.integers(3, KEPT // 2)), elements=st.integers(-500, 500).map(float)
    ),
    st.lists(st.integers(-900, 900).map(float), min_size=1, max_size=6),
)
@settings(max_examples=60)
def test_of_few_values_all_are_kept_and_the_third_nearest_is_exact(past: Floats, asked: list[float]) -> None:
    x = np.tile(np.array(asked, np.float32), (len(past), 1))
    wanted = [[naive_nearest(row.tolist(), value, 3) for value in asked] for row in past]
    np.testing.assert_array_equal(third_nearest(x, *stretches(np.sort(past))), wanted)


@given(st.data())
@settings(max_examples=30)
def test_the_same_hour_of_the_days_before_is_as_it_is_defined_whatever_the_clocks_do(data: st.DataObject) -> None:
    calendar = Calendar(data.draw(st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe", "Asia/Kathmandu"])))
    clock = Clock(calendar=calendar, span=data.draw(st.sampled_from([300, 420, 900, 3600])))
    change = data.draw(st.sampled_from([1_774_746_000, 1_792_890_000, 1_775_314_800]))  # Paris in spring and autumn, Lord Howe
    start = change - data.draw(st.integers(-1, 4 * 24 * 60)) * 60
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.integers(-50, 50, (2, 4 * clock.buckets)).astype(np.float32)
    values[rng.random(values.shape) < data.draw(st.sampled_from([0.0, 0.1, 0.9]))] = np.nan
    at = np.repeat(np.arange(4), clock.buckets) * SLOTS_PER_DAY + clock.slots(start + clock.span * np.arange(values.shape[1]))
    of_hours = ranges(values, at, 4 * SLOTS_PER_DAY)
    asked = slice(2 * clock.buckets, None)
    earlier = (of_hours[:, :, at[asked] - back * SLOTS_PER_DAY] for back in (1, 2))
    found = second_nearest_range(values[:, asked], ((one[:, 0], one[:, 1]) for one in earlier))
    locals_ = [calendar.local(start + bucket * clock.span) for bucket in range(values.shape[1])]
    wanted = [naive_at_hour(row.tolist(), locals_, clock.buckets, 2) for row in values]
    np.testing.assert_array_equal(found, np.array(wanted))


def test_the_nightly_backup_is_not_new_at_night_and_is_new_in_the_afternoon() -> None:
    assert judged(days(22)).surprise.max() < 4
    values = days(22)
    values[0, -60] = 500
    said = judged(values).surprise[0]
    assert said[-60] > 3
    assert said[-60] > 1.5 * np.delete(said, -60).max()


def test_a_value_seen_once_before_is_still_new_and_one_seen_each_day_is_not() -> None:
    values = days(22)
    values[0, 15 * A_DAY + 200] = values[0, -88] = 900
    assert judged(values).surprise[0, -88] > 3
    values[0, 200::A_DAY] = 900
    assert judged(values).surprise[0, -88] < 2


def test_only_the_side_that_matters_and_only_as_far_as_it_matters() -> None:
    values = days(22)
    values[0, -60] = -500
    assert judged(values).surprise[0, -60] > 3
    assert judged(values, {"cpu": Metric(name="cpu", direction=Direction.HIGH)}).surprise[0, -60] == 0
    assert judged(values, {"cpu": Metric(name="cpu", min_deviation=1000)}).surprise.max() == 0


def test_the_clocks_that_change_move_the_hours_with_them() -> None:
    """30 March 2026 in Paris: one hour less, and what was at nine is at nine."""
    start = 1_774_825_200 - 21 * DAY
    buckets = np.arange(22 * A_DAY)
    local = Calendar("Europe/Paris").local_seconds(start + buckets * SPAN)
    values = np.where(local % DAY // 3600 == 9, 300.0, 100.0) + np.random.default_rng(1).standard_normal(len(buckets))
    index = SeriesIndex([SeriesKey("web", "cpu")])
    whole = Frame.of(index, Window(start, start + len(buckets) * SPAN, SPAN), values[None])
    detector = Novelty(calendar=Calendar("Europe/Paris"), span=SPAN)
    cut = start + 21 * DAY
    baseline = detector.fit(whole.within(Window(start, cut, SPAN))).baseline
    assert detector.score(whole.within(Window(cut, cut + DAY, SPAN)), baseline).surprise.max() < 3


@given(st.data())
@settings(max_examples=15)
def test_a_walk_says_what_learning_anew_each_day_says(data: st.DataObject) -> None:
    span = data.draw(st.sampled_from([60, 300, 420, 900, 3600, 7200]))
    zone = data.draw(st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe"]))
    start = 1_774_825_200 - data.draw(st.integers(0, 30 * 24 * 60)) * 60  # before the clocks change at the end of March
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = 100 + 10 * rng.standard_normal((data.draw(st.integers(1, 3)), data.draw(st.integers(1, 36 * DAY // span))))
    if data.draw(st.booleans()):
        values = np.round(values / 10)
    for _ in range(data.draw(st.integers(0, 3))):
        gap = data.draw(st.integers(0, values.shape[1]))
        values[rng.integers(len(values)), gap : gap + rng.integers(values.shape[1])] = np.nan
    index = SeriesIndex(SeriesKey(f"web{row}", "cpu") for row in range(len(values)))
    frame = Frame.of(index, Window(start, start + values.shape[1] * span, span), values)
    metrics = data.draw(st.sampled_from([{}, {"cpu": Metric(name="cpu", direction=Direction.HIGH, min_deviation=2)}]))
    detector = Novelty(calendar=Calendar(zone), span=span, metrics=metrics)
    a_day = -(-DAY // span) * span
    every = data.draw(st.sampled_from([a_day, a_day, a_day // 4 // span * span, 2 * a_day]))
    begin = start + data.draw(st.integers(0, values.shape[1] - 1)) * span
    windows = [Window(at, min(at + every, frame.window.end), span) for at in range(begin, frame.window.end, every)]
    for said, wanted in zip(detector.walk(frame, windows, 28 * DAY), refitted(detector, frame, windows, 28 * DAY), strict=True):
        np.testing.assert_allclose(said.scores.surprise, wanted.scores.surprise, rtol=1e-6, atol=1e-9)
        assert said.scores.window == wanted.scores.window
        learnt, anew = said.fitted(), wanted.fitted()
        assert learnt.rehearsal.window == anew.rehearsal.window
        np.testing.assert_allclose(learnt.rehearsal.surprise, anew.rehearsal.surprise, rtol=1e-6, atol=1e-9)
        assert learnt.baseline.trained_on == anew.baseline.trained_on
        for name, array in anew.baseline.arrays.items():
            np.testing.assert_allclose(learnt.baseline.arrays[name], array, rtol=1e-6)
