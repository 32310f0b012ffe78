"""The last working day of the month is like the last one of the month before, and nothing else is excused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from detectors.businessdays import Aware, aware
from detectors.change import Change
from detectors.level import Level
from detectors.novelty import Novelty
from detectors.seasonal import Seasonal
from tocsin.model import Bools, Floats, Frame, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Detector, Surroundings
from tocsin.timegrid import DAY, Calendar

SPAN = 600
HOUR = 3600
MONTH_END = Calendar("Europe/Paris", "FR", ("month-end",))
METRICS = {"cpu": Metric(name="cpu", unit="%", lower=0.0, upper=100.0)}
PLAIN: tuple[Detector, ...] = (
    Seasonal(calendar=MONTH_END, span=SPAN, metrics=METRICS),
    Novelty(calendar=MONTH_END, span=SPAN, metrics=METRICS),
    Change(span=SPAN, metrics=METRICS),
    Level(calendar=MONTH_END, span=SPAN, metrics=METRICS),
)
LIVE = int(datetime.fromisoformat("2026-06-30T00:00+02:00").timestamp())
WINDOW = Window(LIVE - 35 * DAY, LIVE + DAY, SPAN)
HISTORY, TODAY = Window(WINDOW.start, LIVE, SPAN), Window(LIVE, WINDOW.end, SPAN)


def around(calendar: Calendar) -> Surroundings:
    return Surroundings(component_type="web", calendar=calendar, span=SPAN, metrics=METRICS, folder=Path())


def at(day: str, first: float, last: float) -> Bools:
    begin = int(datetime.fromisoformat(f"{day}T00:00+02:00").timestamp())
    return (WINDOW.starts >= begin + first * HOUR) & (WINDOW.starts < begin + last * HOUR)


def office(rows: int = 3, *, batches: bool = True) -> Frame:
    """Busy by day; in the evening of the last working day of the month as busy as at noon, and once more."""
    rng = np.random.default_rng(2)
    hour = MONTH_END.local_seconds(WINDOW.starts) % DAY / HOUR
    values = np.tile(10 + 30 * np.exp(-(((hour - 13.5) / 4.5) ** 4)), (rows, 1))
    for day in ("2026-05-29", "2026-06-30") if batches else ():
        values[:, at(day, 18, 22)] += 40
    values += rng.standard_normal(values.shape)
    return Frame.of(SeriesIndex(SeriesKey(f"web{row}", "cpu") for row in range(rows)), WINDOW, values)


def judged(whole: Frame, detector: Detector) -> Scores:
    learnt = detector.fit(whole.within(HISTORY)).baseline
    seen = whole.within(TODAY.reaching_back(detector.lookback))
    return detector.score(seen, learnt, TODAY)


def told(surprise: Floats, first: float, last: float) -> Floats:
    """The second largest surprise of each row between these hours of today."""
    return np.asarray(np.sort(surprise[:, at("2026-06-30", first, last)[WINDOW.starts >= LIVE]], axis=1)[:, -2])


@pytest.mark.parametrize("plain", PLAIN, ids=lambda one: str(one.name))
def test_the_evening_of_a_month_end_is_like_that_of_the_month_before(plain: Detector) -> None:
    whole = office()
    assert (told(judged(whole, plain).surprise, 17.5, 22.5) > 4).all()
    knowing = judged(whole, aware(plain, around(MONTH_END)))
    assert (told(knowing.surprise, 17.5, 22.5) < 3).all()


@pytest.mark.parametrize("plain", PLAIN, ids=lambda one: str(one.name))
def test_trouble_on_such_a_day_is_as_surprising_as_on_any_other_outside_of_what_it_brings(plain: Detector) -> None:
    whole = office()
    whole.values[0, at("2026-06-30", 10, 13)] += 40
    whole.values[1, at("2026-06-30", 19, 21)] += 45
    surprise = judged(whole, aware(plain, around(MONTH_END))).surprise
    assert told(surprise, 10, 13)[0] > 4
    assert told(surprise, 18.9, 21)[1] > 4
    assert told(surprise, 10, 13)[2] < 3


def test_a_month_end_without_its_batch_is_an_ordinary_day() -> None:
    whole = office()
    whole.values[:, at("2026-06-30", 18, 22)] -= 40
    for plain in PLAIN:
        assert (told(judged(whole, aware(plain, around(MONTH_END))).surprise, 17.5, 22.5) < 3).all(), plain.name


def test_the_band_of_the_evening_is_that_of_the_evening() -> None:
    scores = judged(office(), aware(PLAIN[0], around(MONTH_END)))
    evening, noon = (at("2026-06-30", *hours)[WINDOW.starts >= LIVE] for hours in ((19, 21), (12, 14)))
    np.testing.assert_allclose(scores.expected[:, evening], 52, atol=4)
    assert (scores.upper[:, evening] > 55).all()
    assert (scores.lower[:, evening] < 20).all(), "no batch is no trouble"
    assert (scores.upper <= 100).all()
    plain = judged(office(), PLAIN[0])
    np.testing.assert_allclose(scores.upper[:, noon], plain.upper[:, noon], rtol=0.1)


def test_where_no_such_day_was_seen_or_is_judged_everything_stays_as_it_is() -> None:
    whole = office()
    for plain in PLAIN:
        knowing = aware(plain, around(MONTH_END))
        short = whole.within(Window(LIVE - 28 * DAY, LIVE, SPAN))
        seen = whole.within(TODAY.reaching_back(plain.lookback))
        same = plain.score(seen, plain.fit(short).baseline, TODAY)
        np.testing.assert_array_equal(knowing.score(seen, knowing.fit(short).baseline, TODAY).surprise, same.surprise)
        former = plain.fit(whole.within(HISTORY)).baseline
        np.testing.assert_array_equal(
            knowing.score(seen, former, TODAY).surprise, plain.score(seen, former, TODAY).surprise, "learnt before it was named"
        )
    assert aware(PLAIN[0], around(Calendar("Europe/Paris", "FR"))) is PLAIN[0]


def test_a_series_that_is_new_today_or_was_not_there_at_the_last_month_end_is_judged_as_on_any_other_day() -> None:
    whole = office()
    whole.values[0, WINDOW.starts < LIVE - 20 * DAY] = np.nan
    knowing = aware(PLAIN[0], around(MONTH_END))
    learnt = knowing.fit(whole.within(HISTORY)).baseline
    more = SeriesIndex([*whole.index, SeriesKey("web9", "cpu")])
    seen = whole.within(TODAY.reaching_back(knowing.lookback))
    grown = Frame.of(more, seen.window, np.vstack([seen.values, seen.values[:1]]))
    surprise = knowing.score(grown, learnt, TODAY).surprise
    assert told(surprise[:1], 18, 22) > 4
    assert np.isnan(surprise[3]).all()
    assert told(surprise[1:2], 18, 22) < 3


def test_of_three_such_days_the_one_with_an_incident_teaches_nothing() -> None:
    calendar = Calendar("Europe/Paris", "", ("2026-06-10", "2026-06-17", "2026-06-24", "2026-06-30"))
    whole = office(batches=False)
    whole.values[:, at("2026-06-17", 15, 16)] += 40
    whole.values[:, at("2026-06-30", 15, 16)] += 40
    assert (told(judged(whole, Aware(inner=PLAIN[0], calendar=calendar)).surprise, 15, 16) > 4).all()


def test_a_day_of_the_month_that_falls_on_a_sunday_is_a_sunday() -> None:
    calendar = Calendar("Europe/Paris", "", ("15", "2026-06-28"))
    whole = office(batches=False)
    knowing = Aware(inner=PLAIN[0], calendar=calendar)
    whole.values[:, at("2026-06-15", 3, 5)] += 40
    whole.values[:, at("2026-06-28", 3, 5)] += 40
    learnt = knowing.fit(whole.within(Window(WINDOW.start, LIVE - 2 * DAY, SPAN))).baseline
    sunday = Window(LIVE - 2 * DAY, LIVE - DAY, SPAN)
    surprise = knowing.score(whole.within(sunday.reaching_back(HOUR)), learnt, sunday).surprise
    assert (surprise.max(axis=1) > 4).all()
