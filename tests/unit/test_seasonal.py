"""What is normal at this hour of this kind of day, in local time."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.seasonal import Seasonal
from tocsin.model import Direction, Floats, Frame, Ints, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.scoring import walk
from tocsin.timegrid import DAY, Calendar, DayKind

HOUR = 3600
SPAN = 900
PARIS = Calendar("Europe/Paris", "FR")
RPS = SeriesIndex([SeriesKey("web1", "rps")])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def days_before(end: int, days: int, span: int = SPAN) -> Window:
    return Window(end - days * DAY, end, span)


def local_hours(window: Window) -> Floats:
    return np.asarray(PARIS.local_seconds(window.starts) % DAY / HOUR, np.float64)


def noise(window: Window, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).standard_normal(len(window))


def one(window: Window, values: Floats) -> Frame:
    return Frame.of(RPS, window, np.asarray(values, np.float64)[None, :])


def seasonal(**metric: object) -> Seasonal:
    known = {"rps": Metric(name="rps", **metric)} if metric else {}  # type: ignore[arg-type]
    return Seasonal(calendar=PARIS, span=SPAN, metrics=known)


def office(window: Window, seed: int = 1) -> Floats:
    """Busy around one o'clock on working days, quiet at night, at weekends and on public holidays."""
    hours, kinds = local_hours(window), PARIS.kinds(window.starts)
    busy = np.exp(-(((hours - 13) / 4) ** 2)) * (kinds == DayKind.WORKING)
    return np.asarray(50 + 100 * busy + 3 * noise(window, seed), np.float64)


def judged(detector: Seasonal, window: Window, values: Floats, since: int) -> tuple[Window, Scores]:
    """Learn what was before `since`, judge the rest."""
    frame = one(window, values)
    baseline = detector.fit(frame.within(Window(window.start, since, window.span))).baseline
    ahead = Window(since, window.end, window.span)
    return ahead, detector.score(frame.within(ahead.reaching_back(detector.lookback)), baseline, ahead)


def between(window: Window, start: int, end: int) -> Ints:
    return np.flatnonzero((window.starts >= start) & (window.starts < end))


# --- what hour it is, and what day ----------------------------------------------------------------------------------------


def backup(window: Window) -> Floats:
    """A load of 60 around three o'clock at night."""
    return np.asarray(60 * np.exp(-(((local_hours(window) - 3) / 1.25) ** 2)), np.float64)


def test_a_nightly_backup_is_normal_at_its_hour_and_surprising_at_another() -> None:
    night = at("2026-02-10T00:00+01:00")
    window = days_before(night + DAY, 22)
    values = 20 + backup(window) + 2 * noise(window)
    values[between(window, night + 14 * HOUR, night + 15 * HOUR)] += 60
    ahead, scores = judged(seasonal(), window, values, night)
    surprise = scores.surprise[0]
    assert surprise[between(ahead, night + HOUR, night + 5 * HOUR)].max() < 3
    assert surprise[between(ahead, night + 14 * HOUR, night + 15 * HOUR)].min() > 4
    assert scores.expected[0, between(ahead, night + 3 * HOUR, night + 3 * HOUR + SPAN)] == pytest.approx(80, abs=12)


def test_a_backup_that_does_not_run_is_surprising() -> None:
    night = at("2026-02-10T00:00+01:00")
    window = days_before(night + DAY, 22)
    values = 20 + backup(window) * (window.starts < night) + 2 * noise(window)
    ahead, scores = judged(seasonal(), window, values, night)
    assert scores.surprise[0, between(ahead, night + 2 * HOUR + HOUR // 2, night + 3 * HOUR + HOUR // 2)].min() > 3


@pytest.mark.parametrize("holiday", ["2026-05-01", "2026-05-14"])
def test_a_public_holiday_that_is_like_a_sunday_is_not_an_incident(holiday: str) -> None:
    morning = at(f"{holiday}T00:00+02:00")
    window = days_before(morning + DAY, 29)
    ahead, scores = judged(seasonal(), window, office(window), morning)
    assert (scores.surprise[0] > 3).sum() <= 1
    blind = Seasonal(calendar=Calendar("Europe/Paris"), span=SPAN)
    _, unaware = judged(blind, window, office(window), morning)
    office_hours = between(ahead, morning + 10 * HOUR, morning + 16 * HOUR)
    assert np.median(unaware.surprise[0, office_hours]) > np.median(scores.surprise[0, office_hours]) + 1, "the calendar is why"


def test_a_working_day_without_work_is_an_incident() -> None:
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 29)
    values = office(window)
    values[window.starts >= morning] = 50 + 3 * noise(window)[window.starts >= morning]
    ahead, scores = judged(seasonal(), window, values, morning)
    assert np.median(scores.surprise[0, between(ahead, morning + 11 * HOUR, morning + 15 * HOUR)]) > 3


@pytest.mark.parametrize(
    ("first", "hours"), [("2026-03-29T00:00+01:00", 23), ("2026-10-25T00:00+02:00", 25)], ids=["23 hours", "25 hours"]
)
def test_a_day_of_23_or_25_hours_and_the_week_after_it_are_ordinary(first: str, hours: int) -> None:
    sunday = at(first)
    window = Window(sunday - 28 * DAY, sunday + 6 * DAY + hours * HOUR, SPAN)
    values = 60 + 40 * np.sin(2 * np.pi * local_hours(window) / 24) + 3 * noise(window)
    ahead, scores = judged(seasonal(), window, values, sunday)
    assert (scores.surprise[0] > 3).sum() <= 2
    usual = 60 + 40 * np.sin(2 * np.pi * local_hours(ahead) / 24)
    assert np.abs(scores.expected[0] - usual).max() < 10, "the season follows the local clock"
    in_utc = Seasonal(calendar=Calendar("UTC"), span=SPAN)
    _, astray = judged(in_utc, window, values, sunday)
    assert np.abs(astray.expected[0] - usual).max() > np.abs(scores.expected[0] - usual).max()


@pytest.mark.parametrize("change", ["2026-03-29T00:00+01:00", "2026-10-25T00:00+02:00"])
def test_what_is_learnt_over_a_change_of_clocks_holds_after_it(change: str) -> None:
    sunday = at(change)
    end = sunday + 10 * DAY + (-HOUR if "03" in change[5:7] else HOUR)
    window = Window(sunday - 18 * DAY, end + 2 * DAY, SPAN)
    values = 60 + 40 * np.sin(2 * np.pi * local_hours(window) / 24) + 3 * noise(window)
    _, scores = judged(seasonal(), window, values, end)
    assert (scores.surprise[0] > 3).sum() <= 1


# --- what an incident leaves behind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, 200])
def test_an_incident_of_ninety_minutes_in_the_history_does_not_widen_the_band_much(size: float) -> None:
    """Ninety minutes are just under half a hundredth of the two weeks that calibrate; longer incidents do widen it."""
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 22)
    clean = 60 + 20 * np.sin(2 * np.pi * local_hours(window) / 24) + 3 * noise(window)
    dirty = clean.copy()
    dirty[between(window, morning - 4 * DAY + 10 * HOUR, morning - 4 * DAY + 11 * HOUR + HOUR // 2)] += size
    widths = []
    for values in (clean, dirty):
        _, scores = judged(seasonal(), window, values, morning)
        widths.append(scores.upper[0] - scores.lower[0])
    ratio = widths[1] / widths[0]
    assert np.median(ratio) < 1.6
    assert ratio.max() < 2.0


def surprises(window: Window, values: Floats, since: int, train: int = 28) -> tuple[Ints, Floats]:
    """Replayed from `since`, learning once a day: the start of each bucket and its surprise."""
    found = list(walk(one(window, values), [seasonal()], train=train * DAY, every=DAY, start=since))
    starts = np.concatenate([part.starts for part, _ in found])
    return starts, np.concatenate([evaluation.scores["seasonal"].surprise[0] for _, evaluation in found])


def test_a_level_that_stays_higher_is_adopted_within_a_week_or_so() -> None:
    moved = at("2026-02-10T00:00+01:00")
    window = Window(moved - 21 * DAY, moved + 12 * DAY, SPAN)
    values = 60 + 5 * np.sin(2 * np.pi * local_hours(window) / 24) + 3 * noise(window) + 40 * (window.starts >= moved)
    starts, surprise = surprises(window, values, moved)
    assert np.median(surprise[starts < moved + DAY]) > 3, "on the first day it is an incident"
    late = surprise[starts >= moved + 9 * DAY]
    assert (late > 3).mean() < 0.01


def test_an_incident_of_three_hours_does_not_become_normal() -> None:
    noon = at("2026-02-10T12:00+01:00")
    window = Window(noon - 21 * DAY, noon + 3 * DAY, SPAN)
    values = 60 + 5 * np.sin(2 * np.pi * local_hours(window) / 24) + 3 * noise(window)
    incident = (window.starts >= noon) & (window.starts < noon + 3 * HOUR)
    values[incident] += 60
    starts, surprise = surprises(window, values, noon - HOUR)
    during = (starts >= noon) & (starts < noon + 3 * HOUR)
    assert surprise[during].min() > 3, "it is as surprising in its last hour as in its first"
    after = starts >= noon + 5 * HOUR
    assert (surprise[after] > 3).mean() < 0.01
    values[(window.starts >= noon + DAY) & (window.starts < noon + DAY + HOUR)] += 60
    starts, surprise = surprises(window, values, noon - HOUR)
    again = (starts >= noon + DAY) & (starts < noon + DAY + HOUR)
    assert surprise[again].min() > 3, "the same next day is an incident again"


# --- what the configuration says ----------------------------------------------------------------------------------------------


def spikes(detector: Seasonal, spike: float, level: float = 50.0, deviation: float = 2.0) -> tuple[float, Scores]:
    """The surprise of one bucket that differs by `spike`."""
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 22)
    values = level + deviation * noise(window)
    place = between(window, morning + 12 * HOUR, morning + 12 * HOUR + SPAN)
    values[place] = level + spike
    ahead, scores = judged(detector, window, values, morning)
    return float(scores.surprise[0, between(ahead, morning + 12 * HOUR, morning + 12 * HOUR + SPAN)][0]), scores


@pytest.mark.parametrize(
    ("direction", "high", "low"), [(Direction.BOTH, True, True), (Direction.HIGH, True, False), (Direction.LOW, False, True)]
)
def test_only_the_side_that_matters_is_surprising(direction: Direction, high: bool, low: bool) -> None:
    detector = seasonal(direction=direction)
    assert (spikes(detector, 40)[0] > 3) is high
    surprise, scores = spikes(detector, -40)
    assert (surprise > 3) is low
    assert np.isfinite(scores.upper).all() == (direction is not Direction.LOW)
    assert np.isfinite(scores.lower).all() == (direction is not Direction.HIGH)


def test_the_band_does_not_leave_what_is_possible() -> None:
    _, scores = spikes(seasonal(lower=0.0, upper=100.0), 0, level=98.0, deviation=1.0)
    assert scores.upper.max() <= 100
    assert scores.expected.max() <= 100
    _, scores = spikes(seasonal(lower=0.0, upper=100.0), 0, level=1.0, deviation=1.0)
    assert scores.lower.min() >= 0


def test_a_deviation_that_matters_to_nobody_is_never_surprising() -> None:
    assert spikes(seasonal(), 30)[0] > 3
    surprise, scores = spikes(seasonal(min_deviation=45), 30)
    assert surprise == 0
    assert (scores.upper - scores.expected).min() >= 45 - 10
    assert spikes(seasonal(min_deviation=45), 80)[0] > 3


# --- what scores mean -----------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-6, 1.0, 1e9]),
    direction=st.sampled_from(Direction),
    least=st.sampled_from([0.0, 4.0]),
    bounded=st.booleans(),
    heavy=st.booleans(),
)
@settings(max_examples=30)
def test_a_value_outside_the_band_is_rarer_than_one_in_a_thousand_and_one_inside_is_not(
    seed: int, size: float, direction: Direction, least: float, bounded: bool, heavy: bool
) -> None:
    rng = np.random.default_rng(seed)
    window = days_before(at("2026-02-10T00:00+01:00"), 12)
    rows = SeriesIndex(SeriesKey(f"web{row}", "rps") for row in range(8))
    shape = len(rows), len(window)
    drawn = rng.standard_t(2, shape) if heavy else rng.standard_normal(shape)
    values = size * (30 + 10 * np.sin(2 * np.pi * local_hours(window) / 24) + 2 * drawn)
    bounds = (0.0, 60 * size) if bounded else (-np.inf, np.inf)
    if bounded:
        values = np.clip(values, *bounds)
    values[rng.random(shape) < 0.05] = np.nan
    metric = Metric(name="rps", direction=direction, min_deviation=least * size, lower=bounds[0], upper=bounds[1])
    detector = Seasonal(calendar=PARIS, span=SPAN, metrics={"rps": metric})
    frame = Frame.of(rows, window, values)
    scores = detector.score(frame, detector.fit(frame.within(Window(window.start, window.end - DAY, SPAN))).baseline)
    assert not np.isnan(scores.expected).all()
    there = ~np.isnan(scores.surprise)
    near = 1e-6 * size
    slack = np.where(np.isfinite(scores.upper), near, 0), np.where(np.isfinite(scores.lower), near, 0)
    assert (scores.expected[there] <= scores.upper[there] + slack[0][there]).all()
    assert (scores.expected[there] >= scores.lower[there] - slack[1][there]).all()
    outside = (values > scores.upper + near) | (values < scores.lower - near)
    inside = (values < scores.upper - near) & (values > scores.lower + near)
    assert (scores.surprise[outside] > 3).all()
    assert (scores.surprise[inside & there] <= 3).all()


def test_a_series_that_never_changes_is_never_surprising_and_its_first_change_is_as_rare_as_its_past_allows() -> None:
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 22)
    values = np.full(len(window), 7.0)
    ahead, scores = judged(seasonal(), window, values, morning)
    assert (scores.surprise == 0).all()
    assert (scores.expected == 7.0).all()
    changed = between(window, morning + 12 * HOUR, morning + 13 * HOUR)
    values[changed] = 8.0
    ahead, scores = judged(seasonal(), window, values, morning)
    first = scores.surprise[0, between(ahead, morning + 12 * HOUR, morning + 12 * HOUR + SPAN)][0]
    assert first == pytest.approx(np.log10(14 * DAY / SPAN + 1), abs=0.01), "two weeks of buckets without a change"
    assert scores.surprise[0, between(ahead, morning, morning + 12 * HOUR)].max() == 0


# --- gaps -----------------------------------------------------------------------------------------------------------------------


def test_a_gap_in_the_data_is_not_judged_and_does_not_make_what_follows_surprising() -> None:
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 22)
    values = 60 + 20 * np.sin(2 * np.pi * local_hours(window) / 24) + 2 * noise(window)
    gap = between(window, morning + 10 * HOUR, morning + 15 * HOUR)
    values[gap] = np.nan
    ahead, scores = judged(seasonal(), window, values, morning)
    hidden = np.isnan(scores.surprise[0])
    assert (hidden == np.isnan(values[window.starts >= morning])).all()
    assert np.nanmax(scores.surprise[0, between(ahead, morning + 15 * HOUR, morning + DAY)]) < 3
    assert not np.isnan(scores.expected).any(), "what is expected is known even where nothing came"


def test_a_history_with_holes_is_learnt_from_what_is_there() -> None:
    morning = at("2026-02-10T00:00+01:00")
    window = days_before(morning + DAY, 22)
    usual = 60 + 20 * np.sin(2 * np.pi * local_hours(window) / 24)
    values = usual + 2 * noise(window)
    rng = np.random.default_rng(3)
    values[(rng.random(len(window)) < 0.4) & (window.starts < morning)] = np.nan
    values[between(window, morning - 9 * DAY, morning - 6 * DAY)] = np.nan
    ahead, scores = judged(seasonal(), window, values, morning)
    assert (scores.surprise[0] > 3).sum() <= 1
    assert np.abs(scores.expected[0] - usual[-len(ahead) :]).max() < 8


@pytest.mark.parametrize("minutes", [1, 20, 119, 130, 1439])
@pytest.mark.parametrize("off", [0, 7, 29])
def test_less_than_a_day_of_history_is_too_little_and_no_error(minutes: int, off: int) -> None:
    start = at("2026-03-02 00:00") + off * 60
    history = one(window := Window(start, start + minutes * 60, 60), np.ones(minutes))
    detector = Seasonal(calendar=Calendar("Europe/Paris"), span=60, metrics={})
    assert np.isnan(detector.score(history, detector.fit(history).baseline, window).surprise).all()
