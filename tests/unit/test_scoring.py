"""Replaying a past: legs tile time, nothing of the future is used, and shards make the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.seasonal import Seasonal
from detectors.silence import Silence
from tests.fakes import LevelDetector
from tocsin.learning import join
from tocsin.model import Frame, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.registry import find
from tocsin.scoring import AnyDetector, Evaluation, Models, evaluate, learn, legs, signatures, walk
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
    whole = frame(1, 2, buckets, start=T0 + offset, span=span)
    begin = whole.window.start + span * data.draw(st.integers(0, buckets))
    detector = LevelDetector(span)
    told = list(legs(whole, [detector], train=train, every=every, start=data.draw(st.sampled_from([None, begin]))))
    if told and told[0].window.start != begin:
        begin = whole.window.start
    edges = [begin, *(leg.window.end for leg in told)]
    assert [leg.window.start for leg in told] == edges[:-1]
    assert edges[-1] == whole.window.end or not told
    for leg in told:
        assert len(leg.window) > 0
        # The first bucket that starts when `every` seconds more have passed since the first one, or after it.
        assert (leg.window.start - begin) % every < span or every < span
        assert (leg.window.start > whole.window.start and train >= span) == bool(leg.evaluation.fused)
        for baseline in leg.models_at(leg.window.start).baselines.values():
            assert whole.window.start <= baseline.trained_on.start < baseline.trained_on.end == leg.window.start
            assert baseline.trained_on.end - baseline.trained_on.start <= train


def test_learning_begins_anew_a_day_after_the_first_bucket_and_each_day_after() -> None:
    told = [leg.window.start for leg in legs(frame(1, 2, 300, start=T0 + 4200), [], train=DAY, every=6 * 3600)]
    assert told == [T0 + 4200 + 6 * 3600 * count for count in range(len(told))]
    assert len(told) == 9


def test_nothing_is_learnt_from_before_the_trailing_history() -> None:
    detector = LevelDetector(SPAN)
    list(walk(frame(1, 1, 500), [detector], train=DAY, every=6 * 3600))
    assert {window.end - window.start for window in detector.learnt[4:]} == {DAY}


def test_without_a_past_nothing_is_judged() -> None:
    first = next(legs(frame(1, 2, 50), [LevelDetector(SPAN)], train=DAY, every=3600))
    assert first.window.start == T0
    assert first.evaluation == Evaluation(scores={}, fused={})
    assert first.models_at(T0) == Models(baselines={}, fusions={})


@pytest.mark.parametrize(("components", "metrics", "span"), [(1, 1, 300), (3, 1, 600), (2, 3, 600)])
def test_a_walk_says_what_learning_and_judging_window_by_window_says(components: int, metrics: int, span: int) -> None:
    whole = frame(components, metrics, 9 * DAY // span + 31, seed=8, span=span)
    whole.values[:, 6 * DAY // span :][:, :5] += 30
    whole.values[-1, 7 * DAY // span :][:40] = np.nan
    detectors = default_detectors(span)
    judged = 0
    for leg in legs(whole, detectors, train=5 * DAY, every=DAY):
        for begin in range(leg.window.start, leg.window.end, DAY):
            window = Window(begin, min(begin + DAY, leg.window.end), span)
            past = Window(max(T0, begin - 5 * DAY), begin, span)
            models = learn(whole.within(past), detectors) if len(past) else Models(baselines={}, fusions={})
            plain = evaluate(whole, window, detectors, models)
            alike(_part(leg.evaluation, window), plain)
            judged += sum(int(np.isfinite(fused.surprise).sum()) for fused in plain.fused.values())
            again = leg.models_at(window.end - span)
            assert again.baselines.keys() == models.baselines.keys()
            for name, baseline in models.baselines.items():
                assert again.baselines[name].trained_on.end == baseline.trained_on.end == begin
                for key, array in baseline.arrays.items():
                    np.testing.assert_allclose(again.baselines[name].arrays[key], array, rtol=1e-5, atol=1e-9)
    assert judged > 5 * components * DAY // span


def default_detectors(span: int) -> list[AnyDetector]:
    around = Surroundings(component_type="web", calendar=Calendar("Europe/Paris"), span=span, metrics={}, folder=Path())
    found = (find("detectors", name) for name in ("seasonal", "novelty", "change", "level", "silence"))
    return [plugin.build(plugin.settings(), around) for plugin in found]


def alike(one: Evaluation, other: Evaluation) -> None:
    """The same, to rounding."""
    assert one.scores.keys() == other.scores.keys()
    assert one.fused.keys() == other.fused.keys()
    for name, said in other.scores.items():
        for part in ("surprise", "expected", "lower", "upper"):
            np.testing.assert_allclose(getattr(one.scores[name], part), getattr(said, part), 1e-6, 1e-9, err_msg=f"{name} {part}")
    for name, fused in other.fused.items():
        np.testing.assert_allclose(one.fused[name].surprise, fused.surprise, 1e-6, 1e-9, err_msg=name)
        np.testing.assert_allclose(one.fused[name].share, fused.share, 1e-6, 1e-9, err_msg=name)


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
    """The first buckets of what was said."""
    windows = {said.window for said in evaluation.scores.values()}
    return _part(evaluation, *(replace(one, end=one.start + buckets * SPAN) for one in windows)) if windows else evaluation


def _part(evaluation: Evaluation, window: Window) -> Evaluation:
    """What was said of these buckets."""
    scores, fused = dict(evaluation.scores), dict(evaluation.fused)
    for name, said in evaluation.scores.items():
        columns = window.columns_in(said.window)
        parts = {part: getattr(said, part)[:, columns] for part in ("surprise", "expected", "lower", "upper")}
        scores[name] = replace(said, window=window, **parts)
    for name, one in evaluation.fused.items():
        columns = window.columns_in(one.window)
        fused[name] = replace(one, window=window, surprise=one.surprise[:, columns], share=one.share[:, columns])
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
