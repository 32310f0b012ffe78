"""Going through a past is the same as learning anew before each window."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.halfhours import HalfHours, between_centres
from detectors.medians import middle
from detectors.seasonal import Seasonal
from detectors.walking import refitted
from tests.naive import naive_between_centres
from tocsin.model import Frame, Scores, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

WEDNESDAY = 1_760_486_400
"""Midnight UTC, ten days before the clocks change in Europe and on a half-hour of most of the world."""


NAMES = ("surprise", "expected", "lower", "upper")


def lived(span: int, days: int, off: int, rows: int, seed: int) -> Frame:
    """Series of all sorts: noisy, with holes, with days without a value, born late, constant, in whole numbers."""
    rng = np.random.default_rng(seed)
    start = WEDNESDAY + off * span
    window = Window(start, start + days * DAY + 5 * span, span)
    week = np.where(window.starts // DAY % 7 > 1, 20.0, 5.0)
    values = 50 + week * np.sin(2 * np.pi * window.starts / DAY) + 3 * rng.standard_normal((rows, len(window)))
    values[0, rng.random(len(window)) < 0.05] = np.nan
    values[-1, : len(window) // 3] = np.nan
    if rows > 3:
        values[1, len(window) // 2 : len(window) // 2 + 8 * DAY // span] = np.nan
        values[2] = 7.0
        values[3] = np.round(values[3] / 10)
    return Frame.of(SeriesIndex(SeriesKey(f"web{row}", "rps") for row in range(rows)), window, values)


def days_from(start: int, end: int, span: int) -> list[Window]:
    return [Window(first, min(first + DAY, end), span) for first in range(start, end, DAY)]


def assert_same(found: Scores, wanted: Scores) -> None:
    """To rounding: distances from the centre are in single precision."""
    assert found.window == wanted.window
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("span", "days", "off", "rows", "zone", "later", "train"),
    [
        (300, 12, 0, 5, "Europe/Paris", 0, 28),
        (300, 34, 1, 1, "UTC", 0, 28),
        (3600, 40, 0, 5, "Europe/Paris", 0, 28),
        (900, 33, 1, 5, "Asia/Kathmandu", 3 * DAY + 900, 28),
        (1800, 31, 3, 20, "Australia/Lord_Howe", 0, 28),
        (900, 25, 0, 2, "Europe/Paris", 0, 21),
        (900, 25, 0, 2, "Europe/Paris", 7 * 900, 23),
        (60, 5, 7, 2, "Europe/Paris", 0, 28),
    ],
)
def test_a_walk_says_what_learning_anew_each_day_says(
    span: int, days: int, off: int, rows: int, zone: str, later: int, train: int
) -> None:
    frame = lived(span, days, off, rows, seed=days)
    detector = Seasonal(calendar=Calendar(zone, "FR"), span=span)
    windows = days_from(frame.window.start + later, frame.window.end, span)
    found, wanted = (
        list(way) for way in (detector.walk(frame, windows, train * DAY), refitted(detector, frame, windows, train * DAY))
    )
    judged = 0
    for one, other in zip(found, wanted, strict=True):
        assert_same(one.scores, other.scores)
        judged += int(np.count_nonzero(~np.isnan(one.scores.surprise)))
    assert judged > 0
    for one, other in zip(found[1::7], wanted[1::7], strict=True):
        mine, plain = one.fitted(), other.fitted()
        assert_same(mine.rehearsal, plain.rehearsal)
        for name, array in plain.baseline.arrays.items():
            np.testing.assert_allclose(mine.baseline.arrays[name], array, rtol=1e-6, err_msg=name)
        assert mine.baseline.trained_on == plain.baseline.trained_on


def test_where_the_clocks_change_and_holidays_come_close_days_learnt_for_together_are_judged_as_if_alone() -> None:
    frame = lived(3600, 70, 0, 1, seed=4)
    detector = Seasonal(calendar=Calendar("Europe/Paris", "FR"), span=3600)
    windows = days_from(frame.window.start, frame.window.end, 3600)
    found, wanted = (list(way) for way in (detector.walk(frame, windows, 28 * DAY), refitted(detector, frame, windows, 28 * DAY)))
    for one, other in zip(found, wanted, strict=True):
        assert_same(one.scores, other.scores)


def test_a_first_day_is_not_judged_and_a_past_that_nothing_came_before_is_not_rehearsed() -> None:
    frame = lived(900, 4, 0, 1, seed=1)
    detector = Seasonal(calendar=Calendar("UTC"), span=900)
    first, *_ = detector.walk(frame, days_from(frame.window.start, frame.window.end, 900), 28 * DAY)
    assert np.isnan(first.scores.surprise).all()
    early = detector.fit(lived(900, 4, 0, 5, seed=1)).rehearsal
    assert np.isnan(early.surprise[2, : DAY // 900]).all()
    assert not np.isnan(early.surprise[2, DAY // 900 + 2 :]).any()


@pytest.mark.parametrize("count", range(1, 9))
def test_the_middle_of_a_few_is_their_median(count: int) -> None:
    rng = np.random.default_rng(count)
    parts = rng.integers(0, 5, (count, 300)).astype(float)
    np.testing.assert_array_equal(middle(list(parts)), np.median(parts, axis=0))
    parts[rng.random(parts.shape) < 0.3] = np.nan
    some = ~np.isnan(parts).all(axis=0)
    np.testing.assert_array_equal(middle(list(parts))[some], np.nanmedian(parts[:, some], axis=0))
    assert np.isnan(middle(list(parts))[~some]).all()


@pytest.mark.parametrize(("span", "off"), [(60, 0), (60, 540), (300, 300), (600, 0), (600, 200), (900, 900), (3600, 0)])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_between_the_centres_of_half_hours_it_is_linear(span: int, off: int, count: int) -> None:
    table = np.random.default_rng(span).random((2, count))
    starts = WEDNESDAY + off + np.arange(max(1, count * 1800 // span)) * span
    found = between_centres(table, starts, span, WEDNESDAY)
    wanted = [[naive_between_centres(list(row), int(start), span, WEDNESDAY) for start in starts] for row in table]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_half_hour_that_is_not_over_is_not_learnt() -> None:
    calendar = Calendar("UTC")
    halves = HalfHours.of(Window(WEDNESDAY, WEDNESDAY + 2 * DAY + 1200, 60), calendar, 28)
    assert (halves.start, halves.days) == (WEDNESDAY, 2)
    part = halves.part(Window(WEDNESDAY + 1200, WEDNESDAY + DAY + 1200, 60), 1)
    alone = HalfHours.of(Window(WEDNESDAY, WEDNESDAY + DAY + 1200, 60), calendar, 28)
    assert (part.start, part.days) == (alone.start, alone.days)
    np.testing.assert_array_equal(part.places, alone.places)


def test_what_is_remembered_of_a_baseline_does_not_change_what_is_said() -> None:
    """One tick after the other, over the half-hour and with another set of series: as if each were the first."""
    detector = Seasonal(calendar=Calendar("Europe/Paris"), span=900)
    few = lived(900, 9, 0, 5, seed=3)
    learnt = detector.fit(few).baseline
    rows = np.arange(2000) % 5
    index = SeriesIndex(SeriesKey(f"web{row:05}", "rps") for row in range(2000))
    many = learnt.take(rows, index)
    end = few.window.end
    for tick in range(6):
        window = Window(end - (6 - tick) * 900, end - (5 - tick) * 900, 900)
        seen = few.within(window.reaching_back(detector.lookback))
        wanted = detector.score(seen, learnt, window)
        found = detector.score(seen.take(rows, index), many, window)
        assert_same(found, Scores(**{name: getattr(wanted, name)[rows] for name in NAMES}, index=index, window=window))
    part = SeriesIndex(index[5:2005])
    found = detector.score(seen.take(rows[5:], part), many, window)
    assert_same(found, Scores(**{name: getattr(wanted, name)[rows[5:]] for name in NAMES}, index=part, window=window))
