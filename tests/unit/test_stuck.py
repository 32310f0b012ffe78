"""Sensors that hang, and series that have every right to repeat themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.silence import Silence
from detectors.stuck import Stuck, changes
from tocsin.model import Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY

SPAN = 300
A_DAY = DAY // SPAN
T0 = 1_760_000_000 // DAY * DAY
DETECTOR = Stuck(stops=Silence(span=SPAN))
SHAPE = 6, 16 * A_DAY


def frame(values: Floats) -> Frame:
    index = SeriesIndex(SeriesKey(f"web{row}", "temperature") for row in range(len(values)))
    return Frame.of(index, Window(T0, T0 + values.shape[1] * SPAN, SPAN), values)


def judged(whole: Frame) -> Floats:
    """Surprises of the last two of sixteen days."""
    cut = T0 + 14 * DAY
    baseline = DETECTOR.fit(whole.within(Window(T0, cut, SPAN))).baseline
    window = Window(cut, whole.window.end, SPAN)
    return DETECTOR.score(whole.within(window.reaching_back(DETECTOR.lookback)), baseline, window).surprise


WORLDS = {
    "never twice the same": lambda rng: 20 + rng.standard_normal(SHAPE),
    "to a tenth": lambda rng: np.round(20 + 0.1 * rng.standard_normal(SHAPE), 1),
    "whole numbers": lambda rng: rng.poisson(3.0, SHAPE).astype(float),
    "nothing at night": lambda rng: np.where(np.arange(SHAPE[1]) % A_DAY < 90, 0.0, rng.poisson(40.0, SHAPE)),
    "hardly ever anything": lambda rng: rng.poisson(0.02, SHAPE).astype(float),
    "constant": lambda rng: np.full(SHAPE, 7.0),
    "steps": lambda rng: np.repeat(rng.standard_normal((6, 16 * 4)), A_DAY // 4, axis=1),
}


@pytest.mark.parametrize("world", WORLDS)
def test_series_may_repeat_themselves_as_they_always_do(world: str) -> None:
    told = judged(frame(WORLDS[world](np.random.default_rng(1))))
    assert np.mean(told[~np.isnan(told)] >= 4) < 0.001 if (~np.isnan(told)).any() else True


@pytest.mark.parametrize(("world", "within"), [("never twice the same", 8), ("to a tenth", 25), ("whole numbers", 20)])
def test_a_sensor_that_hangs_is_told_of(world: str, within: int) -> None:
    values = WORLDS[world](np.random.default_rng(1))
    began = 14 * A_DAY + 100
    values[:, began:] = values[:, began : began + 1]
    told = judged(frame(values))
    assert (told[:, 100 + within :] > 4).all()
    assert not (told[:, :100] > 4).any()


def test_a_missing_value_is_no_repetition_and_neither_is_one_that_was_not_asked() -> None:
    values = WORLDS["never twice the same"](np.random.default_rng(1))
    values[:, 14 * A_DAY + 50 : 14 * A_DAY + 80] = np.nan
    told = judged(frame(values))
    assert np.isnan(told[:, 50:80]).all()
    assert not (told > 1).any()


def test_live_is_the_same_as_after_the_fact() -> None:
    rng = np.random.default_rng(2)
    values = np.round(20 + 0.1 * rng.standard_normal(SHAPE), 1)
    values[0, -200:] = 20.0
    values[rng.random(SHAPE) < 0.01] = np.nan
    whole = frame(values)
    after = judged(whole)
    baseline = DETECTOR.fit(whole.within(Window(T0, T0 + 14 * DAY, SPAN))).baseline
    for bucket in range(0, 2 * A_DAY, 11):
        one = Window(T0 + 14 * DAY + bucket * SPAN, T0 + 14 * DAY + (bucket + 1) * SPAN, SPAN)
        live = DETECTOR.score(whole.within(one.reaching_back(DETECTOR.lookback)), baseline, one).surprise
        np.testing.assert_allclose(live[:, 0], after[:, bucket], atol=1e-9)


def test_what_is_a_change() -> None:
    whole = frame(np.array([[1.0, 1.0, 2.0, np.nan, 2.0, 2.0]]))
    known = np.array([[True, True, True, False, True, True]])
    told = changes(replace(whole, known=known))
    np.testing.assert_array_equal(told.known, [[False, True, True, False, True, True]])
    np.testing.assert_array_equal(np.isnan(told.values), [[True, True, False, True, False, True]])
