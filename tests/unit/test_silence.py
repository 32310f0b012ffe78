"""Series that stop: who is missed, after how long, and what is no silence at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.silence import PLUGIN, Silence, SilenceSettings
from tests.naive import naive_gaps
from tocsin.model import Baseline, Bools, Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY

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


@given(cells, st.integers(1, 20), st.booleans())
def test_gaps_are_counted_as_they_are_defined(row: list[tuple[bool, bool]], most: int, from_start: bool) -> None:
    there, known = (np.array([pair[side] for pair in row], np.bool_) for side in (0, 1))
    fast = Silence(span=SPAN, reach=max(3, most) * SPAN)._gaps(there[None], known[None], from_start=from_start)[0]
    slow = naive_gaps(there.tolist(), known.tolist(), max(3, most), from_start=from_start)
    np.testing.assert_array_equal(fast, np.array(slow, np.float64))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 40))
def test_rows_that_miss_nothing_cost_nothing_and_change_nothing(seed: int, rows: int, buckets: int) -> None:
    random = np.random.default_rng(seed)
    there = random.random((rows, buckets)) < random.choice([0.5, 0.95, 1.0], (rows, 1))
    known = there | (random.random((rows, buckets)) < 0.8)
    baseline = learnt(random.random((rows, 3 * A_DAY)) < random.choice([0.5, 0.99, 1.0], (rows, 1)))
    whole = surprise_of(there, baseline, known)
    most = DETECTOR.lookback // SPAN
    for row in range(rows):
        gaps = np.array(naive_gaps(there[row].tolist(), known[row].tolist(), most, from_start=True))
        # A series of gaps only: computed, whatever the row looks like.
        asked = np.array([[gap == 0 for gap in range(most + 1)]])
        by_gap = surprise_of(asked, baseline)[0] if row == 0 else _alone(asked, baseline, row)
        expected = np.where(np.isnan(gaps), np.nan, by_gap[np.nan_to_num(gaps).astype(int)])
        np.testing.assert_array_equal(whole[row], expected)


def _alone(there: Bools, baseline: Baseline, row: int) -> Floats:
    index = SeriesIndex([baseline.index[row]])
    start = baseline.trained_on.end
    window = Window(start, start + there.shape[1] * SPAN, SPAN)
    return DETECTOR.score(Frame.of(index, window, np.where(there, 1.0, np.nan)), baseline).surprise[0]


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
