"""Series that stop: who is missed, after how long, and what is no silence at all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.gaps import gaps_of
from detectors.rates import cells_of
from detectors.silence import PLUGIN, Silence, SilenceSettings
from detectors.walking import refitted
from tests.naive import naive_gaps
from tocsin.calibration import Tails
from tocsin.model import Baseline, Bools, Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

SPAN = 300
A_DAY = DAY // SPAN
AN_HOUR = 3600 // SPAN
T0 = 1_760_000_000 // DAY * DAY
DETECTOR = Silence(span=SPAN)


def frame(there: Bools, *, start: int = T0, known: Bools | None = None, span: int = SPAN) -> Frame:
    """Rows that have a value where `there` (n_series, n_buckets)."""
    index = SeriesIndex(SeriesKey("web1", f"m{row:02d}") for row in range(len(there)))
    window = Window(start // span * span, start // span * span + there.shape[1] * span, span)
    made = Frame.of(index, window, np.where(there, 1.0, np.nan))
    return made if known is None else replace(made, known=known)


def learnt(there: Bools, known: Bools | None = None) -> Baseline:
    return DETECTOR.fit(frame(there, known=known)).baseline


def surprise_of(there: Bools, baseline: Baseline, known: Bools | None = None) -> Floats:
    after = baseline.trained_on.end
    return DETECTOR.score(frame(there, start=after, known=known), baseline).surprise


def stops(present: int, silent: int, rows: int = 1) -> Bools:
    """Rows that are there for some buckets and then silent."""
    return np.broadcast_to(np.arange(present + silent) < present, (rows, present + silent)).copy()


STEADY = np.ones((1, 14 * A_DAY), np.bool_)
HOURLY = (np.arange(14 * A_DAY) % AN_HOUR == 0)[None, :]


def test_a_series_that_never_missed_a_bucket_is_missed_after_a_few() -> None:
    said = surprise_of(stops(12, 12), learnt(STEADY))[0]
    assert (said[:12] == 0).all()
    assert said[12] < 4.5 < said[12 + 3]
    assert (np.diff(said[11:]) > 0).all()


def test_a_series_that_speaks_every_hour_is_missed_only_when_the_hour_is_over() -> None:
    baseline = learnt(HOURLY)
    as_always = surprise_of(HOURLY[:, :A_DAY], baseline)[0]
    assert as_always.max() < 2
    said = surprise_of(HOURLY[:, :A_DAY] & (np.arange(A_DAY) < AN_HOUR), baseline)[0]
    assert (said[: AN_HOUR + 3] < 3).all()
    assert (said[2 * AN_HOUR + 6 :] > 4).all()


@pytest.mark.parametrize("chance", [0.5, 0.25, 0.15])
def test_a_series_that_comes_and_goes_is_hardly_ever_missed(chance: float) -> None:
    random = np.random.default_rng(7)
    baseline = learnt(random.random((20, 14 * A_DAY)) < chance)
    said = surprise_of(random.random((20, 14 * A_DAY)) < chance, baseline)
    judged = said[~np.isnan(said)]
    assert len(judged) > 0.9 * said.size
    assert np.mean(judged >= 3) < 3e-3
    assert np.mean(judged >= 4) < 1e-3
    assert surprise_of(stops(1, int(14 / chance), rows=20), baseline)[:, -1].min() > 3


def at_hours(*hours: float, days: int = 14, jitter: int = 0, free: bool = True, span: int = SPAN) -> Bools:
    """One value a day at these hours, a few buckets later at random; not on Saturdays and Sundays unless `free`."""
    random = np.random.default_rng(3)
    there = np.zeros((1, days * DAY // span), np.bool_)
    for day in range(days):
        if free or not OFFICE.kind_of_day(T0 // DAY + day):
            for hour in hours:
                there[0, int(day * DAY + hour * 3600) // span + random.integers(0, jitter + 1)] = True
    return there


OFFICE = Calendar("UTC")


@pytest.mark.parametrize("span", [60, 300, 900])
def test_a_nightly_job_that_does_not_report_is_missed_within_an_hour_or_so_and_until_the_next_one(span: int) -> None:
    detector = Silence(span=span)
    always = at_hours(2.1, days=17, jitter=2, span=span)
    missed = always.copy()
    missed[0, 15 * DAY // span : 16 * DAY // span] = False
    whole = frame(missed, span=span)
    baseline = detector.fit(whole.within(Window(T0, T0 + 14 * DAY, span))).baseline

    def said(day: int, start: float, end: float) -> Floats:
        window = Window(T0 + day * DAY + int(start * 3600), T0 + day * DAY + int(end * 3600), span)
        return detector.score(whole.within(window.reaching_back(detector.lookback)), baseline, window).surprise[0]

    assert not (said(14, 0, 24) > 1).any()
    assert not (said(15, 0, 2.5) > 1).any()
    opened = 3 + 8 * span / 3600
    assert (said(15, opened, 7) > 4).all()
    assert (said(15, 9, 24) > 4).all() | np.isnan(said(15, 9, 24)).all(), "not judged: an open incident stays open"
    assert (said(16, 2.5, 7) == 0).all()


def test_a_job_of_working_days_is_not_missed_at_the_weekend() -> None:
    days = 21
    there = at_hours(20, days=days, free=False)
    whole = frame(there)
    baseline = DETECTOR.fit(whole.within(Window(T0, T0 + 14 * DAY, SPAN))).baseline
    window = Window(T0 + 14 * DAY, T0 + days * DAY, SPAN)
    said = DETECTOR.score(whole.within(window.reaching_back(DETECTOR.lookback)), baseline, window).surprise
    assert not (said > 1).any()
    gone = whole.values.copy()
    gone[:, 14 * A_DAY :] = np.nan
    said = DETECTOR.score(replace(whole, values=gone), baseline, window).surprise[0]
    missed = np.unique((window.starts[said > 4] - 6 * 3600) // DAY)  # it is missed until two in the night
    assert [OFFICE.kind_of_day(int(day)) for day in missed] == [0] * 5


def test_an_appointment_in_an_hour_that_could_not_be_asked_is_not_missed() -> None:
    there = at_hours(2.1, days=15)
    there[0, 14 * A_DAY :] = False
    known = np.ones(there.shape, np.bool_)
    known[0, 14 * A_DAY + 2 * AN_HOUR : 14 * A_DAY + 3 * AN_HOUR] = False
    whole = frame(there, known=known)
    baseline = DETECTOR.fit(whole.within(Window(T0, T0 + 14 * DAY, SPAN))).baseline
    window = Window(T0 + 14 * DAY, T0 + 15 * DAY, SPAN)
    assert not (DETECTOR.score(whole, baseline, window).surprise > 1).any()


def test_a_series_that_is_quiet_at_night_is_missed_sooner_by_day() -> None:
    random = np.random.default_rng(5)
    hour = np.arange(21 * A_DAY) % A_DAY / AN_HOUR
    often = np.where((hour >= 8) & (hour < 20), 0.9, 0.15)
    whole = frame(random.random((10, 21 * A_DAY)) < often)
    baseline = DETECTOR.fit(whole.within(Window(T0, T0 + 14 * DAY, SPAN))).baseline
    window = Window(T0 + 14 * DAY, T0 + 21 * DAY, SPAN)
    said = DETECTOR.score(whole.within(window.reaching_back(DETECTOR.lookback)), baseline, window).surprise
    assert np.mean(said >= 3) < 3e-3

    def after(start: int) -> int:
        """Buckets of silence from that hour on until it is surprising."""
        values = whole.values.copy()
        began = 14 * A_DAY + start * AN_HOUR
        values[:, began:] = np.nan
        told = DETECTOR.score(replace(whole, values=values), baseline, window).surprise
        return int(np.median(np.argmax(told[:, began - 14 * A_DAY :] > 4, axis=1)))

    assert after(10) < 10
    assert after(1) > 25


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_an_outage_of_the_source_inside_a_long_gap_counts_the_same_live_and_after_the_fact(seed: int) -> None:
    random = np.random.default_rng(seed)
    detector = Silence(span=1800, reach=random.integers(3, 8) * 1800)
    rows, buckets = 4, 60
    there = random.random((rows, buckets)) < random.choice([0.02, 0.2, 0.7], (rows, 1))
    known = there | (random.random((rows, buckets)) < random.choice([0.5, 0.9], (rows, 1)))
    there[3] = np.arange(buckets) == 10  # a job that reported once and has an appointment
    past = np.vstack([random.random((3, 10 * 48)) < 0.4, np.arange(480) % 48 == 10])
    history = frame(past, span=1800)
    baseline = detector.fit(history).baseline
    ahead = frame(there, start=history.window.end, known=known | there, span=1800)
    assert baseline.arrays["kept"][3].any()
    most = detector.lookback // 1800
    whole = detector.score(ahead, baseline).surprise
    for bucket in range(most, buckets):
        one = Window(ahead.window.start + bucket * 1800, ahead.window.start + (bucket + 1) * 1800, 1800)
        live = detector.score(ahead.within(one.reaching_back(detector.lookback)), baseline, one).surprise
        np.testing.assert_allclose(live[:, 0], whole[:, bucket], atol=1e-9)


def test_who_learnt_nothing_judges_nothing() -> None:
    nobody = frame(np.ones((0, 100), np.bool_))
    baseline = DETECTOR.fit(nobody).baseline
    assert np.isnan(DETECTOR.score(frame(stops(3, 3)), baseline).surprise).all()


def test_a_series_that_speaks_a_few_times_a_day_cannot_be_missed() -> None:
    random = np.random.default_rng(8)
    baseline = learnt(random.random((20, 14 * A_DAY)) < 0.01)
    assert np.isnan(surprise_of(stops(1, A_DAY, rows=20), baseline)).all()


def test_a_source_that_cannot_be_asked_is_no_silence_and_the_gap_goes_on_after_it() -> None:
    baseline = learnt(STEADY)
    there = stops(6, 18)
    known = np.ones(there.shape, np.bool_)
    known[:, 9:15] = False
    said = surprise_of(there, baseline, known)[0]
    without = surprise_of(stops(6, 12), baseline)[0]
    assert np.isnan(said[9:15]).all()
    np.testing.assert_array_equal(np.delete(said, np.s_[9:15]), without)


def test_an_evening_on_which_nobody_could_ask_is_not_learnt_as_a_gap() -> None:
    there, known = STEADY.copy(), np.ones(STEADY.shape, np.bool_)
    there[:, 500:560] = known[:, 500:560] = False
    said = surprise_of(stops(6, 6), learnt(there, known))[0]
    np.testing.assert_allclose(said, surprise_of(stops(6, 6), learnt(STEADY))[0], atol=0.02)


def test_learning_in_the_middle_of_an_outage_does_not_make_it_normal() -> None:
    outage = 3 * AN_HOUR
    healthy = learnt(STEADY)
    meanwhile = learnt(np.hstack([STEADY[:, outage:], np.zeros((1, outage), np.bool_)]))
    still = np.zeros((1, 6), np.bool_)
    np.testing.assert_allclose(surprise_of(still, meanwhile), surprise_of(still, healthy), atol=0.02)


def test_a_long_outage_in_the_history_leaves_the_next_one_surprising() -> None:
    there = STEADY.copy()
    there[:, 1000 : 1000 + 2 * AN_HOUR] = False
    assert surprise_of(stops(3, 3 * AN_HOUR), learnt(there))[0, -1] > 3


def test_a_series_that_never_had_data_judges_nothing() -> None:
    fitted = DETECTOR.fit(frame(np.zeros((1, 14 * A_DAY), np.bool_)))
    assert np.isnan(fitted.rehearsal.surprise).all()
    assert np.isnan(surprise_of(stops(3, 100), fitted.baseline)).all()


def test_a_series_of_yesterday_is_not_judged_and_one_of_the_day_before_is() -> None:
    there = STEADY.repeat(2, axis=0)
    there[0, : -2 * A_DAY + 1] = False
    there[1, : -2 * A_DAY] = False
    said = surprise_of(stops(3, 100, rows=2), learnt(there))
    assert np.isnan(said[0]).all()
    assert said[1, -1] > 4


def test_a_series_without_baseline_is_not_judged() -> None:
    known = learnt(STEADY)
    said = DETECTOR.score(frame(stops(3, 100, rows=2), start=known.trained_on.end), known).surprise
    assert np.isnan(said[1]).all()
    assert said[0, -1] > 4


def test_a_history_without_a_bucket_judges_nothing() -> None:
    assert np.isnan(surprise_of(stops(3, 3), learnt(np.ones((1, 0), np.bool_)))).all()


def test_nothing_is_expected_of_the_values() -> None:
    baseline = learnt(STEADY)
    scores = DETECTOR.score(frame(stops(3, 3), start=baseline.trained_on.end), baseline)
    for band in (scores.expected, scores.lower, scores.upper):
        assert band.shape == (1, 6) and np.isnan(band).all()


def test_gaps_are_measured_three_buckets_far_even_when_buckets_are_long() -> None:
    assert PLUGIN.settings is SilenceSettings
    assert Silence(span=6 * 3600).lookback == 18 * 3600
    assert Silence(span=60, reach=7200).lookback == 7200


cells = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=0, max_size=60)


@given(cells, st.integers(1, 20))
def test_gaps_are_counted_as_they_are_defined(row: list[tuple[bool, bool]], most: int) -> None:
    there, known = (np.array([pair[side] for pair in row], np.bool_) for side in (0, 1))
    fast = gaps_of(there[None], known[None], most)[0]
    slow = naive_gaps(there.tolist(), known.tolist(), most, [1.0] * len(row), from_start=True)
    np.testing.assert_array_equal(fast, np.array(slow, np.float64))


@settings(max_examples=50)
@example(2007, 2, 19)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 40))
def test_rows_that_miss_nothing_cost_nothing_and_change_nothing(seed: int, rows: int, buckets: int) -> None:
    random = np.random.default_rng(seed)
    there = random.random((rows, buckets)) < random.choice([0.5, 0.95, 1.0], (rows, 1))
    known = there | (random.random((rows, buckets)) < 0.8)
    baseline = learnt(random.random((rows, 3 * A_DAY)) < random.choice([0.5, 0.99, 1.0], (rows, 1)))
    whole = surprise_of(there, baseline, known)
    cells = cells_of(Window(baseline.trained_on.end, baseline.trained_on.end + buckets * SPAN, SPAN).starts, DETECTOR.calendar)
    for row in range(rows):
        weights = (1.0 / baseline.arrays["usual"][row, cells]).tolist()
        most = DETECTOR.lookback // SPAN
        gaps = np.array(naive_gaps(there[row].tolist(), known[row].tolist(), most, weights, from_start=True))
        tails = Tails.from_array(baseline.arrays["gaps"][row : row + 1])
        # Two sums of the same weights differ in their last digit, and there may be a step just there.
        least, most_surprise = (
            tails.surprise(gaps[None] * factor)[0] - sign * 1e-5 for factor, sign in ((1 - 1e-6, 1), (1 + 1e-6, -1))
        )
        if not baseline.arrays["kept"][row].any():
            np.testing.assert_array_equal(np.isnan(whole[row]), np.isnan(least))
            assert ((whole[row] >= least) & (whole[row] <= most_surprise) | np.isnan(least)).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
def test_the_order_of_rows_and_shards_have_no_effect(seed: int, order: list[int]) -> None:
    random = np.random.default_rng(seed)
    history = frame(random.random((5, 3 * A_DAY)) < np.array([[0.3], [0.9], [0.99], [1.0], [0.01]]))
    now = frame(random.random((5, 30)) < 0.7, start=history.window.end)
    whole = DETECTOR.score(now, DETECTOR.fit(history).baseline).surprise
    for part in (order[:2], order[2:]):
        rows = np.array(sorted(part))
        index = SeriesIndex(history.index[row] for row in rows)
        baseline = DETECTOR.fit(history.take(rows, index)).baseline
        np.testing.assert_array_equal(DETECTOR.score(now.take(rows, index), baseline).surprise, whole[rows])


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([600, 3600, 7000]),
    st.sampled_from([3, 20, 35]),
    st.sampled_from([DAY, DAY // 2]),
    st.sampled_from([28 * DAY, 5 * DAY]),
)
def test_a_walk_says_what_learning_before_each_window_says(seed: int, span: int, days: int, every: int, train: int) -> None:
    random = np.random.default_rng(seed)
    buckets = days * DAY // span
    there = random.random((3, buckets)) < random.choice([0.02, 0.9, 0.99, 1.0], (3, 1))
    there[0] = np.arange(buckets) % (DAY // span) == random.integers(0, 3, buckets)  # a nightly job
    for row in there:
        begin = random.integers(0, buckets)
        row[begin : begin + random.integers(0, buckets // 3 + 2)] = random.random() < 0.2
    known = there | (random.random(there.shape) < random.choice([0.9, 1.0]))
    whole = frame(there, known=known, start=T0 - 5 * DAY, span=span)
    detector = Silence(span=span, calendar=Calendar("Europe/Paris"))
    begins = list(range(whole.window.start + span * int(random.integers(0, 30)), whole.window.end, every // span * span))
    windows = [Window(begin, end, span) for begin, end in pairwise([*begins, whole.window.end])]
    plain = refitted(detector, whole, windows, train)
    for one, other, window in zip(detector.walk(whole, windows, train), plain, windows, strict=True):
        assert one.scores.window == window
        np.testing.assert_allclose(one.scores.surprise, other.scores.surprise, rtol=1e-6, atol=1e-9)
        learnt, anew = one.fitted(), other.fitted()
        assert learnt.baseline.trained_on == anew.baseline.trained_on
        assert learnt.rehearsal.window == anew.rehearsal.window
        np.testing.assert_allclose(learnt.rehearsal.surprise, anew.rehearsal.surprise, rtol=1e-5, atol=1e-6)
        for name, array in anew.baseline.arrays.items():
            np.testing.assert_allclose(learnt.baseline.arrays[name], array, rtol=1e-5, err_msg=name)
