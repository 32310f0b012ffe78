"""What detectors promise that judge a series by others: by its component's (pca), or by its siblings (peers).

Everything a detector promises holds for them too (`test_detector_contract`), except that a series may be judged as if it were
alone: it is judged as if its company were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.pca import Pca
from detectors.peers import Peers
from tocsin.model import Direction, Frame, Ints, Metric, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Detector
from tocsin.scoring import walk
from tocsin.store import baselines
from tocsin.timegrid import DAY

SPAN = 1800
T0 = 1_767_567_600
NAMES = ("surprise", "expected", "lower", "upper")
COMPONENTS, METRICS = 12, 5

DETECTORS: Mapping[str, Callable[..., Detector]] = {
    "pca": lambda span=SPAN, metrics=None: Pca(span=span, metrics=metrics or {}),
    "peers": lambda span=SPAN, metrics=None: Peers(span=span, metrics=metrics or {}),
}


@pytest.fixture(params=DETECTORS)
def make(request: pytest.FixtureRequest) -> Callable[..., Detector]:
    return DETECTORS[request.param]


@pytest.fixture
def detector(make: Callable[..., Detector]) -> Detector:
    return make()


def park(days: int = 24, span: int = SPAN, components: int = COMPONENTS, seed: int = 5) -> Frame:
    """Nodes of one cluster, of quite different sizes: all have the same load, each metric follows it in its own way."""
    rng = np.random.default_rng(seed)
    index = SeriesIndex(SeriesKey(f"node{place:02}", f"m{row}") for place in range(components) for row in range(METRICS))
    window = Window(T0, T0 + days * DAY // span * span, span)
    load = 50 + 20 * np.sin(2 * np.pi * (window.starts - T0) / DAY) + 8 * rng.standard_normal(len(window))
    own = 4 * rng.standard_normal((components, len(window)))
    size = 10.0 ** (np.arange(components) % 5 - 2)
    follows = np.tile([1.0, -0.5, 2.0, 0.3, 1.0], components)[:, None]
    values = follows * np.repeat(load + own, METRICS, axis=0) + 2 * rng.standard_normal((len(index), len(window))) + 100
    values *= np.repeat(size, METRICS)[:, None]
    known = np.ones(values.shape, bool)
    known[:, -30:-26] = False
    values[~known] = np.nan
    values[3, -20:-10] = np.nan
    for array in (values, known):
        array.flags.writeable = False
    return Frame(index=index, window=window, values=values, known=known)


def first_days(frame: Frame, days: int) -> Frame:
    return frame.within(Window(frame.window.start, frame.window.start + days * DAY, frame.window.span))


def last_days(frame: Frame, days: int) -> Frame:
    return frame.within(Window(frame.window.end - days * DAY, frame.window.end, frame.window.span))


def close(one: Scores, other: Scores, rows: Ints | None = None) -> None:
    for name in NAMES:
        expected = getattr(other, name) if rows is None else getattr(other, name)[rows]
        np.testing.assert_allclose(getattr(one, name), expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_what_was_given_is_left_as_it_was_and_asking_twice_gives_the_same(detector: Detector) -> None:
    frame = park()  # its arrays cannot be written to
    one, two = detector.fit(first_days(frame, 21)), detector.fit(first_days(frame, 21))
    for name, array in one.baseline.arrays.items():
        np.testing.assert_array_equal(array, two.baseline.arrays[name])
    close(one.rehearsal, two.rehearsal)
    close(detector.score(last_days(frame, 3), one.baseline), detector.score(last_days(frame, 3), two.baseline))


def test_company_is_judged_as_if_there_were_no_other(detector: Detector) -> None:
    frame = park()
    history, ahead = first_days(frame, 21), last_days(frame, 3)
    whole = detector.score(ahead, detector.fit(history).baseline)
    together = frame.index.component_of == 7 if detector.name == "pca" else np.arange(len(frame.index)) % METRICS == 2
    rows = np.flatnonzero(together)
    index = SeriesIndex(frame.index[row] for row in rows)
    alone = detector.score(ahead.take(rows, index), detector.fit(history.take(rows, index)).baseline)
    close(alone, whole, rows)
    assert np.isfinite(alone.surprise).any(axis=1).all()


def test_a_series_nothing_was_learnt_of_is_neither_judged_nor_asked(detector: Detector) -> None:
    frame = park()
    baseline = detector.fit(first_days(frame, 21)).baseline
    ahead = last_days(frame, 3)
    new = [SeriesKey("aaa", "m0"), SeriesKey("node03", "other"), SeriesKey("zzz", "m0"), SeriesKey("zzz", "m1")]
    index = SeriesIndex([*frame.index.keys, *new])
    known = index.rows_in(frame.index)
    grown = ahead.take(np.maximum(known, 0), index)
    grown.values[known < 0] = 1e9
    told = detector.score(grown, baseline)
    whole = detector.score(ahead, baseline)
    for name in NAMES:
        assert np.isnan(getattr(told, name)[known < 0]).all()
        np.testing.assert_allclose(getattr(told, name)[known >= 0], getattr(whole, name), rtol=1e-6)


def test_scores_are_surprises_from_zero_up_inside_their_bands_or_nothing(detector: Detector) -> None:
    frame = park()
    fitted = detector.fit(first_days(frame, 21))
    ahead = last_days(frame, 3)
    scores = detector.score(ahead, fitted.baseline)
    for some in (scores, fitted.rehearsal):
        judged = ~np.isnan(some.surprise)
        assert judged.any()
        assert (some.surprise[judged] >= 0).all() and np.isfinite(some.surprise[judged]).all()
        assert some.surprise.shape == (len(some.index), len(some.window))
    judged = ~np.isnan(scores.surprise)
    assert np.isnan(scores.surprise[np.isnan(ahead.values)]).all()
    outside = (ahead.values > scores.upper) | (ahead.values < scores.lower)
    np.testing.assert_array_equal(outside[judged], (scores.surprise > 3.0)[judged])


def test_bucket_by_bucket_is_the_same_as_all_at_once(detector: Detector) -> None:
    frame = park()
    baseline = detector.fit(first_days(frame, 21)).baseline
    window = last_days(frame, 1).window
    whole = detector.score(frame.within(window), baseline)
    for column in range(len(window)):
        one = Window(window.start + column * SPAN, window.start + (column + 1) * SPAN, SPAN)
        seen = detector.score(frame.within(one.reaching_back(detector.lookback)), baseline, one)
        for name in NAMES:
            np.testing.assert_allclose(getattr(seen, name)[:, 0], getattr(whole, name)[:, column], rtol=1e-9, atol=1e-9)


def test_what_is_learnt_is_plain_numbers_one_row_a_series_and_survives_a_restart(detector: Detector, tmp_path: Path) -> None:
    frame = park()
    baseline = detector.fit(first_days(frame, 21)).baseline
    for name, array in baseline.arrays.items():
        assert type(array) is np.ndarray and array.dtype.kind in "biuf" and len(array) == len(frame.index), name
    saved = baselines.save({"d": baseline}, tmp_path)
    loaded = baselines.load(saved.path, saved.sha256)["d"]
    close(detector.score(last_days(frame, 3), loaded), detector.score(last_days(frame, 3), baseline))


@pytest.mark.parametrize("buckets", [0, 1, 20, 47])
def test_too_little_history_judges_nothing(detector: Detector, buckets: int) -> None:
    frame = park()
    fitted = detector.fit(frame.within(Window(T0, T0 + buckets * SPAN, SPAN)))
    assert np.isnan(detector.score(last_days(frame, 1), fitted.baseline).surprise).all()


def test_too_little_company_judges_nothing(detector: Detector) -> None:
    frame = park()
    few = frame.index.component_of < 2 if detector.name == "peers" else np.arange(len(frame.index)) % METRICS < 2
    rows = np.flatnonzero(few)
    index = SeriesIndex(frame.index[row] for row in rows)
    small = frame.take(rows, index)
    scores = detector.score(last_days(small, 1), detector.fit(first_days(small, 21)).baseline)
    assert np.isnan(scores.surprise).all()


def test_no_series_at_all_is_no_trouble(detector: Detector) -> None:
    frame = park().take(np.zeros(0, np.int64), SeriesIndex([]))
    nothing = detector.fit(frame).baseline
    assert detector.score(last_days(frame, 1), nothing).surprise.shape == (0, 48)
    assert np.isnan(detector.score(last_days(park(), 1), nothing).surprise).all()


@pytest.mark.parametrize("span", [300, 420, 3600])
def test_a_history_may_begin_anywhere(make: Callable[..., Detector], span: int) -> None:
    frame = park(days=10, span=span, components=4)
    cut = (T0 + 8 * DAY - T0) // span * span + T0
    detector = make(span)
    baseline = detector.fit(frame.within(Window(T0, cut, span))).baseline
    scores = detector.score(frame.within(Window(cut, frame.window.end, span)), baseline)
    assert np.mean(scores.surprise[~np.isnan(scores.surprise)] > 3) < 0.005
    assert not np.isnan(scores.surprise).all(axis=1).any()


def test_siblings_that_all_do_nothing_most_of_the_time_are_no_trouble(detector: Detector) -> None:
    frame = park()
    rng = np.random.default_rng(1)
    values = rng.poisson(0.5, frame.values.shape).astype(float)
    quiet = replace(frame, values=values, known=np.ones(values.shape, bool))
    scores = detector.score(last_days(quiet, 3), detector.fit(first_days(quiet, 21)).baseline)
    judged = scores.surprise[~np.isnan(scores.surprise)]
    assert np.isfinite(judged).all()
    assert np.mean(judged > 3) < 0.005


def test_normal_days_are_not_more_surprising_than_promised(detector: Detector) -> None:
    frame = park(days=35)
    found = walk(frame, [detector], train=28 * DAY, every=2 * DAY, start=T0 + 14 * DAY)
    surprise = np.concatenate([evaluation.scores[detector.name].surprise for _, evaluation in found], axis=1)
    surprise = surprise[~np.isnan(surprise)]
    assert 0.03 < np.mean(surprise >= 1) < 0.15
    assert np.mean(surprise >= 2) < 0.02
    assert np.mean(surprise >= 3) < 0.004


def test_what_leaves_its_company_is_surprising_and_what_all_do_is_not(detector: Detector) -> None:
    frame = park()
    baseline = detector.fit(first_days(frame, 21)).baseline
    ahead = first_days(last_days(frame, 3), 1)
    metric = np.arange(len(frame.index)) % METRICS
    size = 10.0 ** (frame.index.component_of % 5 - 2)
    one = ahead.values + np.where((frame.index.component_of == 4) & (metric == 3), 25.0 * size, 0.0)[:, None]
    told = detector.score(replace(ahead, values=one), baseline)
    row = 4 * METRICS + 3
    assert np.median(told.surprise[row]) > 4
    # What leaves its component takes the others' place there too: they lie in the same directions.
    others = np.flatnonzero(frame.index.component_of != 4 if detector.name == "pca" else np.arange(len(frame.index)) != row)
    assert np.mean(told.surprise[others] > 4) < 0.01
    follows = np.tile([1.0, -0.5, 2.0, 0.3, 1.0], COMPONENTS)
    all_do = ahead.values + (30 * follows * size)[:, None]
    assert np.mean(detector.score(replace(ahead, values=all_do), baseline).surprise > 3) < 0.01


def test_only_the_side_that_matters_and_what_is_large_enough_is_surprising(make: Callable[..., Detector]) -> None:
    frame = park()
    metrics = {
        "m0": Metric(name="m0", direction=Direction.HIGH),
        "m2": Metric(name="m2", min_deviation=1e6),
        "m3": Metric(name="m3", direction=Direction.LOW),
    }
    detector = make(SPAN, metrics)
    baseline = detector.fit(first_days(frame, 21)).baseline
    ahead = first_days(last_days(frame, 3), 1)
    size = 10.0 ** (frame.index.component_of % 5 - 2)
    for row, sign, surprising in ((20, -1, False), (20, 1, True), (22, 1, False), (23, 1, False), (23, -1, True)):
        values = ahead.values.copy()
        values[row] += sign * 60 * size[row]
        told = detector.score(replace(ahead, values=values), baseline)
        assert (np.median(told.surprise[row]) > 3) == surprising
