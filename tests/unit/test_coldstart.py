"""A new host among known ones: judged by its siblings after half a day, more and more by itself, and at its own size."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.coldstart import GROWN, LEAST_OWN, borrowed, provisional
from detectors.halfhours import HalfHours
from detectors.seasonal import HISTORY, Seasonal
from tocsin.model import Baseline, Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

SPAN = 600
HOUR = 3600
T0 = 1_767_567_600  # a Monday in Paris
PARIS = Calendar("Europe/Paris")
SEASONAL = Seasonal(calendar=PARIS, span=SPAN)
WINDOW = Window(T0, T0 + 29 * DAY, SPAN)
LIVE = 28 * DAY


def park(sizes: list[float], *, lived: float, offsets: list[float] | None = None, seed: int = 0) -> Frame:
    """Servers of these sizes that share a day; the last of them has been there for so many hours when it is learnt."""
    rng = np.random.default_rng(seed)
    index = SeriesIndex(SeriesKey(f"web{place:02}", "latency") for place in range(len(sizes)))
    day = 100 + 60 * np.sin(2 * np.pi * (WINDOW.starts - T0) / DAY)
    values = np.array(sizes)[:, None] * (day + 5 * rng.standard_normal((len(sizes), len(WINDOW))))
    values += np.array(offsets or [0.0] * len(sizes))[:, None]
    values[-1, WINDOW.starts < T0 + LIVE - lived * HOUR] = np.nan
    return Frame.of(index, WINDOW, values)


def learnt(whole: Frame) -> Baseline:
    history = whole.within(Window(T0, T0 + LIVE, SPAN))
    baseline = SEASONAL.fit(history).baseline
    halves = HalfHours.of(history.window, PARIS, HISTORY)
    arrays = provisional(baseline.arrays, history.values, halves, history.index)
    return Baseline(
        detector="seasonal", index=baseline.index, trained_on=baseline.trained_on, arrays=arrays, facts=baseline.facts
    )


def judged(whole: Frame, baseline: Baseline) -> Floats:
    """Surprise of the last server on its first learnt day."""
    window = Window(T0 + LIVE, WINDOW.end, SPAN)
    return SEASONAL.score(whole.within(window.reaching_back(SEASONAL.lookback)), baseline, window).surprise[-1]


ONES = [1.0] * 7


@pytest.mark.parametrize("lived", [13, 24, 40, 72])
def test_a_new_host_is_judged_by_its_siblings_from_its_first_day_and_an_ordinary_day_is_ordinary(lived: float) -> None:
    whole = park(ONES, lived=lived)
    baseline = learnt(whole)
    told = judged(whole, baseline)
    assert np.mean(told >= 3) < 0.01
    assert np.median(told) < 1
    assert baseline.arrays["own"][-1] == pytest.approx(lived / (lived + 48), abs=0.02)
    whole.values[-1, WINDOW.starts >= T0 + LIVE] *= 2
    assert (judged(whole, baseline) > 4).mean() > 0.5


@pytest.mark.parametrize(("size", "offset"), [(5.0, 0.0), (0.2, 0.0), (1.0, 300.0)])
def test_it_is_judged_at_its_own_size(size: float, offset: float) -> None:
    whole = park([*ONES, size], lived=20, offsets=[*(0.0 for _ in ONES), offset])
    baseline = learnt(whole)
    assert np.mean(judged(whole, baseline) >= 3) < 0.02
    whole.values[-1, WINDOW.starts >= T0 + LIVE] += 80 * size
    assert (judged(whole, baseline) > 3).mean() > 0.5


def test_siblings_of_many_sizes_agree_on_the_shape_of_the_day() -> None:
    whole = park([0.1, 0.5, 1.0, 3.0, 20.0, 2.0], lived=16)
    assert np.mean(judged(whole, learnt(whole)) >= 3) < 0.02


def test_half_a_day_is_too_little_and_so_are_two_siblings() -> None:
    whole = park(ONES, lived=11)
    assert np.isnan(judged(whole, learnt(whole))).all()
    whole = park([1.0, 1.0, 1.0], lived=20)
    baseline = learnt(whole)
    assert np.isnan(judged(whole, baseline)).all()
    assert baseline.arrays["own"][-1] == 1


def test_known_hosts_stay_as_they_are_and_nothing_that_was_given_changes() -> None:
    whole = park(ONES, lived=20)
    history = whole.within(Window(T0, T0 + LIVE, SPAN))
    before = SEASONAL.fit(history).baseline.arrays
    kept = {name: array.copy() for name, array in before.items()}
    after = learnt(whole).arrays
    for name, array in before.items():
        np.testing.assert_array_equal(array, kept[name])
        np.testing.assert_array_equal(after[name][:-1], array[:-1])
    assert (after["own"][:-1] == 1).all()


def test_a_host_grows_out_of_it() -> None:
    shares = [learnt(park(ONES, lived=halves / 2)).arrays["own"][-1] for halves in (LEAST_OWN, 96, GROWN - 2, GROWN)]
    assert shares == pytest.approx([0.2, 0.5, 0.776, 1.0], abs=0.01)


def test_siblings_that_do_different_work_make_a_wide_band() -> None:
    whole = park(ONES, lived=20)
    rng = np.random.default_rng(1)
    whole.values[-1] = np.where(np.isnan(whole.values[-1]), np.nan, 100 + 60 * rng.standard_normal(len(WINDOW)))
    assert np.mean(judged(whole, learnt(whole)) >= 3) < 0.03


def test_a_component_without_a_calibration_borrows_that_of_components_of_its_size() -> None:
    tails = np.arange(40, dtype=np.float32).reshape(8, 5)
    tails[[2, 6, 7]] = np.nan
    sizes = np.array([4, 4, 4, 4, 9, 9, 9, 1])
    told = borrowed(tails, sizes)
    np.testing.assert_array_equal(told[2], np.median(tails[[0, 1, 3]], axis=0))
    assert np.isnan(told[[6, 7]]).all(), "two are too few, and so is none"
    np.testing.assert_array_equal(told[[0, 1, 3, 4, 5]], tails[[0, 1, 3, 4, 5]])
    assert np.isnan(tails[2]).all()
