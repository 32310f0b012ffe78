"""Hours that are not where they used to be."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.level import Level, trailing_mean
from tests.naive import naive_trailing_mean
from tocsin.model import Floats, Frame, Scores, SeriesIndex, SeriesKey, Window
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
