"""Counts of log lines: which are too many, which are too few, what was never seen, and what is the noise of a busy day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.logs import Logs, strangeness
from tests.naive import naive_chernoff
from tocsin.model import Direction, Floats, Frame, Metric, SeriesIndex, SeriesKey, Window
from tocsin.scoring import walk
from tocsin.store import baselines
from tocsin.timegrid import DAY, Calendar

SPAN = 300
A_DAY = DAY // SPAN
DAYS, LEARNT = 28, 14
T0 = 1_767_571_200  # a Monday
DETECTOR = Logs(span=SPAN, calendar=Calendar())
HOUR = np.arange(DAYS * A_DAY) % A_DAY * 24 / A_DAY
BUSY = 1 + 0.8 * np.sin(2 * np.pi * HOUR / 24)
ROWS = 10
SHAPE = ROWS, DAYS * A_DAY


def lines(counts: Floats, metric: str = "log.lines") -> Frame:
    index = SeriesIndex(SeriesKey(f"c{row:03}", metric) for row in range(len(counts)))
    return Frame.of(index, Window(T0, T0 + counts.shape[1] * SPAN, SPAN), np.asarray(counts, np.float64))


def judged(frame: Frame, detector: Logs = DETECTOR, learnt: int = LEARNT) -> Floats:
    """Surprises of the days after those learnt from."""
    cut = frame.window.start + learnt * DAY
    baseline = detector.fit(frame.within(Window(frame.window.start, cut, SPAN))).baseline
    window = Window(cut, frame.window.end, SPAN)
    return detector.score(frame.within(window.reaching_back(detector.lookback)), baseline, window).surprise


def with_days_to_come(past: Floats, now: Floats) -> Frame:
    return lines(np.concatenate([past[:, : LEARNT * A_DAY], now], axis=1))


WORLDS = {
    "rare": lambda rng: rng.poisson(0.05 * BUSY, SHAPE),
    "some": lambda rng: rng.poisson(3 * BUSY, SHAPE),
    "many": lambda rng: rng.poisson(300 * BUSY, SHAPE),
    "over-dispersed": lambda rng: rng.poisson(3 * BUSY * rng.gamma(1, 1, SHAPE)),
    "many, over-dispersed": lambda rng: rng.poisson(300 * BUSY * rng.gamma(5, 1 / 5, SHAPE)),
    "in clumps": lambda rng: rng.poisson(0.02 * BUSY, SHAPE) * rng.poisson(6, SHAPE),
    "mostly zero": lambda rng: np.where(rng.random(SHAPE) < 0.7, 0, rng.poisson(20 * BUSY, SHAPE)),
}


@pytest.mark.parametrize("world", WORLDS)
def test_busy_days_are_not_more_surprising_than_promised(world: str) -> None:
    frame = lines(WORLDS[world](np.random.default_rng(7)).astype(float))
    told = walk(frame, [DETECTOR], train=LEARNT * DAY, every=7 * DAY, start=T0 + LEARNT * DAY)
    surprise = np.concatenate([evaluation.scores["logs"].surprise for _, evaluation in told], axis=1)
    assert not np.isnan(surprise).any()
    assert np.mean(surprise >= 1) < 0.15
    assert np.mean(surprise >= 2) < 0.015
    assert np.mean(surprise >= 3) < 0.002
    if world in ("some", "many", "over-dispersed", "many, over-dispersed"):
        assert np.mean(surprise >= 2) > 0.004


def test_ten_times_as_many_errors_are_surprising_at_once_and_as_many_at_their_hour_are_not() -> None:
    rng = np.random.default_rng(1)
    at_night = np.where((HOUR >= 3) & (HOUR < 4), 200.0, 2.0)
    past = rng.poisson(np.broadcast_to(at_night, SHAPE)).astype(float)
    frame = lines(past, "log.level.error")
    assert np.mean(judged(frame) > 3) < 0.003
    by_day = past.copy()
    by_day[:, LEARNT * A_DAY + A_DAY // 2] = 200
    assert (judged(replace(frame, values=by_day))[:, A_DAY // 2] > 6).all()


def test_a_line_that_never_was_seen_is_as_rare_as_its_absence_was_long_and_a_thousand_are_rarer() -> None:
    def of(count: float, learnt: int) -> float:
        now = np.zeros((1, A_DAY))
        now[0, 50] = count
        return float(judged(lines(np.concatenate([np.zeros((1, learnt * A_DAY)), now], axis=1), "log.new"), learnt=learnt)[0, 50])

    assert of(0, 14) == 0
    assert of(1, 14) == pytest.approx(np.log10(14 * A_DAY + 1), abs=0.1)
    assert of(1, 3) == pytest.approx(np.log10(3 * A_DAY + 1), abs=0.1)
    assert of(1, 14) < of(10, 14) < of(100, 14) < of(1000, 14)
    assert of(1000, 14) > 8


def test_a_template_that_disappears_is_missed_within_the_hour_it_usually_speaks_in() -> None:
    rng = np.random.default_rng(2)
    past = rng.poisson(np.broadcast_to(1.5 * np.ones(DAYS * A_DAY), SHAPE)).astype(float)
    gone = past.copy()
    gone[:, LEARNT * A_DAY + 100 :] = 0
    told = judged(lines(gone, "log.template.0a1b2c3d"))
    assert (told[:, 100 + 12] > 4).all()
    assert np.median(np.argmax(told[:, 100:] > 4, axis=1)) < 12


def test_fewer_errors_are_no_trouble_unless_the_yaml_says_so() -> None:
    rng = np.random.default_rng(2)
    values = rng.poisson(20.0, SHAPE).astype(float)
    values[:, LEARNT * A_DAY + 100 :] = 0
    for metric, detector, missed in (
        ("log.level.error", DETECTOR, False),
        ("log.level.info", DETECTOR, True),
        ("log.level.error", replace(DETECTOR, metrics={"log.level.error": Metric(name="log.level.error")}), True),
        (
            "log.lines",
            replace(DETECTOR, metrics={"log.lines": Metric(name="log.lines", direction=Direction.HIGH)}),
            False,
        ),
    ):
        assert (judged(lines(values, metric), detector)[:, 120:] > 3).all() == missed


def test_no_line_is_no_missing_value_and_not_asked_is() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.3, SHAPE).astype(float)
    frame = lines(np.where(counts > 0, counts, np.nan))
    np.testing.assert_array_equal(judged(frame), judged(lines(counts)))
    known = np.ones(SHAPE, bool)
    known[:, LEARNT * A_DAY + 10 : LEARNT * A_DAY + 20] = False
    told = judged(replace(frame, values=np.where(known, frame.values, np.nan), known=known))
    assert np.isnan(told[:, 10:20]).all()
    assert not np.isnan(told[:, 20:]).any()


def test_only_what_is_called_a_log_is_judged_by_default() -> None:
    counts = np.random.default_rng(3).poisson(2.0, SHAPE).astype(float)
    assert np.isnan(judged(lines(counts, "requests"))).all()
    assert not np.isnan(judged(lines(counts, "requests"), replace(DETECTOR, patterns=("req*",)))).any()


def test_outside_the_band_is_more_surprising_than_one_in_a_thousand() -> None:
    rng = np.random.default_rng(4)
    for mean in (0.2, 4.0, 500.0):
        past = rng.poisson(mean * BUSY, SHAPE)
        now = rng.poisson(mean * rng.choice([0, 0.3, 1, 1, 3, 10], (ROWS, 2 * A_DAY)))
        frame = with_days_to_come(past.astype(float), now.astype(float))
        cut = T0 + LEARNT * DAY
        baseline = DETECTOR.fit(frame.within(Window(T0, cut, SPAN))).baseline
        window = Window(cut, frame.window.end, SPAN)
        scores = DETECTOR.score(frame.within(window.reaching_back(DETECTOR.lookback)), baseline, window)
        outside = (now > scores.upper) | (now < scores.lower)
        assert np.mean(outside == (scores.surprise > 3)) > 0.999
        assert outside.any()
        assert ((scores.lower <= scores.expected) & (scores.expected <= scores.upper)).all()


def test_live_is_the_same_as_after_the_fact_and_alone_the_same_as_together() -> None:
    rng = np.random.default_rng(5)
    frame = lines(rng.poisson(rng.choice([0.01, 1, 50], (ROWS, 1)) * BUSY, SHAPE).astype(float))
    whole = judged(frame)
    history = frame.within(Window(T0, T0 + LEARNT * DAY, SPAN))
    baseline = DETECTOR.fit(history).baseline
    for bucket in range(0, 2 * A_DAY, 7):
        one = Window(history.window.end + bucket * SPAN, history.window.end + (bucket + 1) * SPAN, SPAN)
        live = DETECTOR.score(frame.within(one.reaching_back(DETECTOR.lookback)), baseline, one).surprise
        np.testing.assert_allclose(live[:, 0], whole[:, bucket], atol=1e-6)
    rows = np.array([3, 7])
    alone = frame.take(rows, SeriesIndex(frame.index[row] for row in rows))
    np.testing.assert_allclose(judged(alone), whole[rows], atol=1e-6)


def test_a_series_that_was_not_learnt_is_not_judged() -> None:
    frame = lines(np.random.default_rng(5).poisson(2.0, SHAPE).astype(float))
    index = SeriesIndex([*frame.index.keys[:6], SeriesKey("a new one", "log.lines")])
    rows = index.rows_in(frame.index)
    grown = frame.take(np.maximum(rows, 0), index)
    baseline = DETECTOR.fit(frame.within(Window(T0, T0 + LEARNT * DAY, SPAN))).baseline
    told = DETECTOR.score(grown, baseline).surprise
    assert np.isnan(told[rows < 0]).all() and not np.isnan(told[rows >= 0]).any()


@pytest.mark.parametrize("buckets", [0, 1, 95, A_DAY])
def test_one_day_is_too_little(buckets: int) -> None:
    frame = lines(np.random.default_rng(5).poisson(2.0, SHAPE).astype(float))
    baseline = DETECTOR.fit(frame.within(Window(T0, T0 + buckets * SPAN, SPAN))).baseline
    assert np.isnan(DETECTOR.score(frame, baseline).surprise).all()


def test_an_incident_in_the_history_does_not_hide_the_next_one() -> None:
    rng = np.random.default_rng(6)
    counts = rng.poisson(2 * BUSY, SHAPE).astype(float)
    counts[:, 5 * A_DAY : 5 * A_DAY + 12] = 500
    counts[:, LEARNT * A_DAY + 60] = 500
    assert (judged(lines(counts))[:, 60] > 6).all()


def test_what_is_learnt_survives_a_restart(tmp_path: Path) -> None:
    frame = lines(np.random.default_rng(5).poisson(2.0, SHAPE).astype(float))
    baseline = DETECTOR.fit(frame.within(Window(T0, T0 + LEARNT * DAY, SPAN))).baseline
    for name, array in baseline.arrays.items():
        assert array.dtype.kind in "biuf" and len(array) == ROWS, name
    saved = baselines.save({"logs": baseline}, tmp_path)
    loaded = baselines.load(saved.path, saved.sha256)["logs"]
    ahead = frame.within(Window(frame.window.end - DAY, frame.window.end, SPAN))
    np.testing.assert_array_equal(DETECTOR.score(ahead, loaded).surprise, DETECTOR.score(ahead, baseline).surprise)


def test_strangeness_is_the_chernoff_bound_of_a_negative_binomial() -> None:
    rng = np.random.default_rng(8)
    for _ in range(60):
        rate, clump, alike = 10 ** rng.uniform(-2, 3), 1 + rng.exponential(), rng.exponential(0.1) + 1e-3
        count = float(rng.poisson(rate * rng.choice([0, 0.5, 2, 10])))
        fast = strangeness(*(np.array([[one]]) for one in (count, rate, clump, alike)))[0, 0]
        assert fast == pytest.approx(naive_chernoff(count, rate, clump, alike), abs=1e-4, rel=1e-3)
