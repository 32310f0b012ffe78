"""Replaying a past: windows tile time, nothing of the future is used, and shards make the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.seasonal import Seasonal
from detectors.silence import Silence
from tests.fakes import LevelDetector
from tocsin.learning import join
from tocsin.model import Floats, Frame, SeriesIndex, SeriesKey, Window
from tocsin.scoring import Evaluation, Models, evaluate, learn, relearn, signatures, walk
from tocsin.timegrid import DAY, Calendar

SPAN = 600
T0 = 1_760_000_000 // DAY * DAY


def frame(components: int, metrics: int, buckets: int, *, seed: int = 0, start: int = T0, span: int = SPAN) -> Frame:
    """Noise about 100 with a few holes."""
    index = SeriesIndex(SeriesKey(f"web{place}", f"m{metric}") for place in range(components) for metric in range(metrics))
    random = np.random.default_rng(seed)
    values = 100 + random.standard_normal((len(index), buckets))
    values[random.random(values.shape) < 0.02] = np.nan
    return Frame.of(index, Window(start, start + buckets * span, span), values)


def shard(whole: Frame, components: set[str]) -> Frame:
    rows = np.array([row for row, key in enumerate(whole.index) if key.component in components], np.int64)
    return whole.take(rows, SeriesIndex(whole.index[row] for row in rows))


def real_detectors(span: int = SPAN) -> tuple[Seasonal, Silence]:
    return Seasonal(calendar=Calendar("Europe/Paris"), span=span), Silence(span=span)


def same(one: Evaluation, other: Evaluation) -> None:
    assert one.scores.keys() == other.scores.keys()
    assert one.fused.keys() == other.fused.keys()
    for name, said in one.scores.items():
        for part in ("surprise", "expected", "lower", "upper"):
            np.testing.assert_array_equal(getattr(said, part), getattr(other.scores[name], part), name)
    for name, fused in one.fused.items():
        np.testing.assert_array_equal(fused.surprise, other.fused[name].surprise, name)
        np.testing.assert_array_equal(fused.share, other.fused[name].share, name)


spans = st.sampled_from([60, 600, 1800, 3600, 7200])


@given(spans, st.integers(0, 200), st.integers(0, 10**6), st.integers(1, 90_000), st.integers(1, 10**6), st.data())
def test_windows_tile_time_and_each_is_judged_by_what_was_learnt_before_it(
    span: int, buckets: int, offset: int, every: int, train: int, data: st.DataObject
) -> None:
    every = max(every, span // 10)
    whole = frame(1, 1, buckets, start=T0 + offset, span=span)
    begin = whole.window.start + span * data.draw(st.integers(0, buckets))
    detector = LevelDetector(span)
    told = list(relearn(whole, [detector], train=train, every=every, start=data.draw(st.sampled_from([None, begin]))))
    if told and told[0][0].start != begin:
        begin = whole.window.start
    edges = [begin, *(window.end for window, _ in told)]
    assert [window.start for window, _ in told] == edges[:-1]
    assert edges[-1] == whole.window.end or not told
    for window, models in told:
        assert len(window) > 0
        for baseline in models.baselines.values():
            assert whole.window.start <= baseline.trained_on.start < baseline.trained_on.end == window.start
            assert baseline.trained_on.end - baseline.trained_on.start <= train
        if window.start > whole.window.start and train >= span:
            assert models.baselines and models.fusions
    for window, _ in told[1:]:
        # The first bucket that starts when a refit is due, or after it.
        assert window.start % every < span or every < span


def test_learning_happens_at_the_same_times_of_day_wherever_the_past_begins() -> None:
    told = [window.start for window, _ in walk(frame(1, 1, 300, start=T0 + 4200), [], train=DAY, every=6 * 3600)]
    assert told[0] == T0 + 4200
    assert told[1:] == [T0 + 6 * 3600 * count for count in range(1, 1 + len(told[1:]))]


def test_nothing_is_learnt_from_before_the_trailing_history() -> None:
    detector = LevelDetector(SPAN)
    list(walk(frame(1, 1, 500), [detector], train=DAY, every=6 * 3600))
    assert {window.end - window.start for window in detector.learnt[4:]} == {DAY}


def test_without_a_past_nothing_is_judged() -> None:
    window, evaluation = next(iter(walk(frame(1, 2, 50), [LevelDetector(SPAN)], train=DAY, every=3600)))
    assert window.start == T0
    assert evaluation == Evaluation(scores={}, fused={})


@settings(max_examples=40)
@given(st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_what_comes_later_changes_nothing_that_was_said(cut: int, seed: int) -> None:
    whole = frame(1, 3, 150)
    changed = whole.values.copy()
    random = np.random.default_rng(seed)
    changed[:, cut:] = np.where(random.random((3, 150 - cut)) < 0.3, np.nan, random.normal(0, 1e6, (3, 150 - cut)))
    said = list(walk(whole, [LevelDetector(SPAN)], train=DAY, every=3 * 3600))
    again = list(walk(replace(whole, values=changed), [LevelDetector(SPAN)], train=DAY, every=3 * 3600))
    assert [window for window, _ in said] == [window for window, _ in again]
    for (window, one), (_, other) in zip(said, again, strict=True):
        columns = window.columns_in(whole.window)
        before = max(0, min(columns.stop, cut) - columns.start)
        same(_first(one, before), _first(other, before))


def _first(evaluation: Evaluation, buckets: int) -> Evaluation:
    def cut(values: Floats) -> Floats:
        return values[:, :buckets]

    scores, fused = dict(evaluation.scores), dict(evaluation.fused)
    for name, said in evaluation.scores.items():
        window = replace(said.window, end=said.window.start + buckets * said.window.span)
        parts = {part: cut(getattr(said, part)) for part in ("surprise", "expected", "lower", "upper")}
        scores[name] = replace(said, window=window, **parts)
    for name, one in evaluation.fused.items():
        window = replace(one.window, end=one.window.start + buckets * one.window.span)
        fused[name] = replace(one, window=window, surprise=cut(one.surprise), share=cut(one.share))
    return Evaluation(scores=scores, fused=fused)


@pytest.mark.parametrize("cut", [400, 577, 700])
def test_the_real_detectors_use_nothing_of_the_future_either(cut: int) -> None:
    whole = frame(1, 2, 720)
    changed = whole.values.copy()
    changed[:, cut:] = -1e9
    changed[1, cut + 7 :] = np.nan
    said = walk(whole, real_detectors(), train=7 * DAY, every=12 * 3600)
    again = walk(replace(whole, values=changed), real_detectors(), train=7 * DAY, every=12 * 3600)
    judged = 0
    for (window, one), (_, other) in zip(said, again, strict=True):
        before = max(0, cut - window.columns_in(whole.window).start)
        same(_first(one, min(len(window), before)), _first(other, min(len(window), before)))
        judged += sum(int(np.isfinite(fused.surprise).sum()) for fused in one.fused.values())
    assert judged > 200


@pytest.mark.parametrize("part", [{"web0"}, {"web1", "web3"}, {"web0", "web1", "web2"}])
def test_two_shards_joined_are_the_whole(part: set[str]) -> None:
    whole = frame(4, 3, 800, seed=5)
    split = whole.window.end - 40 * SPAN
    history, window = whole.within(replace(whole.window, end=split)), replace(whole.window, start=split)
    rest = set(whole.index.components) - part
    models = [learn(shard(history, names), real_detectors()) for names in (part, rest)]
    joined = Models(
        baselines=join([one.baselines for one in models]),
        fusions=join([one.fusions for one in models]),
    )
    at_once = learn(history, real_detectors())
    for kind in ("baselines", "fusions"):
        for name, baseline in getattr(at_once, kind).items():
            other = getattr(joined, kind)[name]
            assert other.index == baseline.index
            assert other.trained_on == baseline.trained_on
            for key, array in baseline.arrays.items():
                np.testing.assert_array_equal(other.arrays[key], array, f"{name}.{key}")
    said = evaluate(whole, window, real_detectors(), at_once)
    same(said, evaluate(whole, window, real_detectors(), joined))
    assert np.isfinite(said.fused["anomaly"].surprise).all()
    for names, own in zip((part, rest), models, strict=True):
        rows = np.array([row for row, key in enumerate(whole.index) if key.component in names])
        components = [place for place, name in enumerate(whole.index.components) if name in names]
        alone = evaluate(shard(whole, names), window, real_detectors(), own)
        for name, scores in alone.scores.items():
            np.testing.assert_array_equal(scores.surprise, said.scores[name].surprise[rows])
        for name, fused in alone.fused.items():
            np.testing.assert_array_equal(fused.surprise, said.fused[name].surprise[components])


def test_bucket_by_bucket_says_what_the_whole_window_says() -> None:
    whole = frame(2, 2, 700, seed=6)
    whole.values[1, 660:] = np.nan
    whole.values[3, 680:] += 40
    split = whole.window.end - 60 * SPAN
    models = learn(whole.within(replace(whole.window, end=split)), real_detectors())
    at_once = evaluate(whole, replace(whole.window, start=split), real_detectors(), models)
    for bucket in range(60):
        window = Window(split + bucket * SPAN, split + (bucket + 1) * SPAN, SPAN)
        alone = evaluate(whole, window, real_detectors(), models)
        for name, scores in alone.scores.items():
            np.testing.assert_allclose(scores.surprise[:, 0], at_once.scores[name].surprise[:, bucket], rtol=1e-9)
        for name, fused in alone.fused.items():
            np.testing.assert_allclose(fused.surprise[:, 0], at_once.fused[name].surprise[:, bucket], rtol=1e-9)


def test_a_detector_sees_the_window_and_its_own_lookback_and_no_more() -> None:
    near, far = LevelDetector(SPAN, "near"), LevelDetector(SPAN, "far")
    far.lookback = 10 * SPAN - 1
    whole = frame(1, 2, 200)
    models = learn(whole, [near, far])
    window = Window(T0 + 100 * SPAN, T0 + 110 * SPAN, SPAN)
    result = evaluate(whole, window, [near, far], models)
    assert near.shown == [Window(window.start - 2 * SPAN, window.end, SPAN)]
    assert far.shown == [Window(window.start - 10 * SPAN, window.end, SPAN)]
    assert result.scores["near"].window == result.scores["far"].window == window
    assert result.fused["anomaly"].window == window


def test_where_the_frame_does_not_reach_back_so_far_what_is_there_is_used() -> None:
    detector = LevelDetector(SPAN)
    whole = frame(1, 2, 20)
    window = replace(whole.window, start=T0 + SPAN)
    evaluate(whole, window, [detector], learn(whole, [detector]))
    assert detector.shown == [whole.window]


def test_detectors_of_one_signature_are_fused_and_the_others_kept_apart() -> None:
    one, two, other = LevelDetector(SPAN, "one"), LevelDetector(SPAN, "two"), LevelDetector(SPAN, "other", "silence")
    assert signatures([one, other, two]) == {"anomaly": [one, two], "silence": [other]}
    whole = frame(2, 2, 100)
    models = learn(whole, [one, other, two])
    assert set(models.baselines) == {"one", "two", "other"}
    assert set(models.fusions) == {"anomaly", "silence"}
    result = evaluate(whole, whole.window, [one, other, two], models)
    assert set(result.fused) == {"anomaly", "silence"}


def test_a_detector_that_learnt_nothing_yet_is_left_out() -> None:
    old, new, silent = LevelDetector(SPAN, "old"), LevelDetector(SPAN, "new"), LevelDetector(SPAN, "stops", "silence")
    whole = frame(1, 2, 100)
    result = evaluate(whole, whole.window, [old, new, silent], learn(whole, [old]))
    assert set(result.scores) == {"old"}
    assert set(result.fused) == {"anomaly"}
