"""Placebos: what stays, what is torn apart, and that their false alarms are those of real normal days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alerting.judge import Rules
from detectors.seasonal import Seasonal
from detectors.silence import Silence
from tocsin.model import Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.placebo import BLOCK, NEAR, false_alarms, shuffled
from tocsin.timegrid import DAY, Calendar

SPAN = 900
T0 = 1_767_567_600  # Monday 2026-01-05 in Paris
PARIS = Calendar("Europe/Paris")
DETECTORS = (Seasonal(calendar=PARIS, span=SPAN), Silence(span=SPAN, calendar=PARIS))


def frame(days: int = 21, components: int = 3, start: int = T0, seed: int = 0) -> Frame:
    index = SeriesIndex(SeriesKey(f"c{place}", f"m{row}") for place in range(components) for row in range(2))
    window = Window(start, start + days * DAY, SPAN)
    noise = np.random.default_rng(seed).standard_normal((len(index), len(window)))
    return Frame.of(index, window, 100 + 30 * np.sin(2 * np.pi * (window.starts - T0) / DAY) + noise)


def origins(whole: Frame) -> Floats:
    """Where each bucket of a placebo comes from: its values are the times they came from."""
    times = np.broadcast_to(whole.window.starts.astype(float), whole.values.shape)
    return shuffled(replace(whole, values=times), PARIS, seed=3).values


@pytest.mark.parametrize("start", [T0, T0 + 5 * 3600, 1_774_000_000 // SPAN * SPAN])  # the last: the clocks go forward
def test_every_hour_comes_from_the_same_hour_of_a_day_of_the_same_kind_nearby(start: int) -> None:
    whole = frame(start=start)
    told = origins(whole).astype(np.int64)
    here = np.broadcast_to(whole.window.starts, told.shape)
    moved = told != here
    assert moved.mean() > 0.9
    np.testing.assert_array_equal(PARIS.local_seconds(told) % DAY, PARIS.local_seconds(here) % DAY)
    np.testing.assert_array_equal(PARIS.kinds(told), PARIS.kinds(here))
    assert np.abs(PARIS.days(told) - PARIS.days(here)).max() <= NEAR


def test_a_component_s_series_stay_together_and_its_neighbours_go_their_own_way() -> None:
    told = origins(frame())
    np.testing.assert_array_equal(told[0], told[1])
    assert (told[0] != told[2]).mean() > 0.5


def test_what_lasted_is_torn_apart_and_what_was_known_of_is_left_out() -> None:
    whole = frame()
    values = whole.values.copy()
    sick = np.zeros((3, len(whole.window)), bool)
    sick[:, 1000:1048] = True  # twelve hours
    values[sick[whole.index.component_of]] = 999.0
    told = shuffled(replace(whole, values=values), PARIS, seed=3).values == 999.0
    longest = max(len(run) for row in told for run in "".join("x" if bad else " " for bad in row).split())
    assert longest <= 2 * BLOCK // SPAN
    spared = shuffled(replace(whole, values=values), PARIS, seed=3, spared=sick).values == 999.0
    assert not spared.any()


def test_the_same_seed_gives_the_same_placebo_and_nothing_that_was_given_changes() -> None:
    whole = frame()
    before = whole.values.copy()
    one, two, other = (shuffled(whole, PARIS, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, two.values)
    assert (one.values != other.values).any()
    np.testing.assert_array_equal(whole.values, before)
    assert (one.index, one.window) == (whole.index, whole.window)


def test_not_known_stays_not_known() -> None:
    whole = frame()
    known = np.ones(whole.values.shape, bool)
    known[:, ::7] = False
    told = shuffled(replace(whole, values=np.where(known, whole.values, np.nan), known=known), PARIS, seed=1)
    np.testing.assert_array_equal(np.isnan(told.values), ~told.known)


@pytest.mark.parametrize("days", [0, 1, 2])
def test_a_past_too_short_to_shuffle_is_its_own_placebo_and_has_no_rate(days: int) -> None:
    whole = frame(days=days)
    told = false_alarms(whole, DETECTORS, Rules(), PARIS, seed=1, surprises=[4.0])
    assert told.alarms == {4.0: 0}
    assert told.component_days == 0


def test_fewer_false_alarms_the_more_it_takes() -> None:
    whole = frame(components=60)
    rng = np.random.default_rng(5)
    noisy = whole.values + np.exp(rng.standard_normal(whole.values.shape) * 1.2)
    told = false_alarms(replace(whole, values=noisy), DETECTORS, Rules(), PARIS, seed=1, surprises=[1.5, 2.0, 3.0, 5.0])
    counts = list(told.alarms.values())
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert told.component_days == pytest.approx(50 * 3, rel=0.05)


def test_incidents_that_are_known_of_are_no_false_alarms() -> None:
    whole = frame(components=20)
    values, sick = whole.values.copy(), np.zeros((20, len(whole.window)), bool)
    for component in range(20):
        sick[component, -150 - component : -100 - component] = True
    values[sick[whole.index.component_of]] += 60.0
    told = false_alarms(replace(whole, values=values), DETECTORS, Rules(), PARIS, seed=1, surprises=[4.0], spared=sick)
    assert told.alarms[4.0] <= 1
