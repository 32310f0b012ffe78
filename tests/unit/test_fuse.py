"""One surprise per component: what many series together mean, and what one alone may do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.fuse import CAP, LEAST, Fusion, _largest, _parts
from detectors.silence import Silence
from tests.naive import naive_fused_mean
from tocsin.model import Baseline, Floats, Frame, Scores, SeriesIndex, SeriesKey, Window
from tocsin.scoring import evaluate, learn

SPAN = 300
BUCKETS = 4032
T0 = 1_760_000_100


def index_of(sizes: dict[str, int]) -> SeriesIndex:
    return SeriesIndex(SeriesKey(name, f"m{metric:02d}") for name, size in sizes.items() for metric in range(size))


def scores(index: SeriesIndex, surprise: Floats, start: int = T0) -> Scores:
    window = Window(start, start + surprise.shape[1] * SPAN, SPAN)
    unknown = np.full(surprise.shape, np.nan)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def normal(index: SeriesIndex, seed: int, buckets: int = BUCKETS, together: float = 0.5) -> Scores:
    """Honest surprises of normal series; those of a component share `together` of their variance."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((len(index.components), buckets))[index.component_of]
    z = math.sqrt(together) * shared + math.sqrt(1 - together) * random.standard_normal((len(index), buckets))
    return scores(index, -np.log10(np.maximum(two_sided(z), 1e-300)))


def two_sided(z: Floats) -> Floats:
    """P(|Z| > |z|)."""
    grid = np.linspace(0.0, 9.0, 20_001)
    return 10 ** np.interp(np.abs(z), grid, [math.log10(math.erfc(one / math.sqrt(2))) for one in grid])


TEN = index_of({"web1": 10})


@pytest.fixture(scope="module")
def web1() -> Baseline:
    """Ten series of one component on two normal weeks."""
    return Fusion().fit([normal(TEN, seed=1)])


def fused(web1: Baseline, *columns: list[float]) -> Floats:
    """What buckets with these surprises of the ten series mean."""
    return Fusion().fuse([scores(TEN, np.array(columns, np.float64).T)], web1).surprise[0]


def test_a_component_of_one_series_keeps_its_surprise() -> None:
    one = index_of({"web1": 1})
    learnt = Fusion().fit([normal(one, seed=2)])
    said = np.array([[0.0, 1.5, np.nan, 7.0, 300.0]])
    result = Fusion().fuse([scores(one, said)], learnt)
    np.testing.assert_array_equal(result.surprise, said)
    np.testing.assert_array_equal(result.share, [[1, 1, 0, 1, 1]])


surprises = st.one_of(st.just(math.nan), st.sampled_from([0.0, 1.0, 12.0, 300.0]), st.floats(1e-6, 40))


@given(st.lists(st.lists(surprises, min_size=10, max_size=10), min_size=1, max_size=6))
def test_shares_sum_to_one_where_a_component_is_judged_and_are_zero_elsewhere(web1: Baseline, columns: list[list[float]]) -> None:
    result = Fusion().fuse([scores(TEN, np.array(columns).T)], web1)
    judged = ~np.isnan(result.surprise[0])
    np.testing.assert_array_equal(judged, [not all(map(math.isnan, column)) for column in columns])
    np.testing.assert_allclose(result.share.sum(axis=0), judged, atol=1e-9)
    assert (result.share >= 0).all()
    assert (result.share[:, ~judged] == 0).all()
    assert (result.share[np.isnan(np.array(columns).T)] == 0).all()


@given(st.lists(surprises, min_size=1, max_size=40))
def test_the_mean_of_the_largest_is_as_it_is_defined(column: list[float]) -> None:
    members = np.array(column)[:, None, None]
    mean, edge = _largest(members)
    parts = _parts(members, edge)
    assert mean[0, 0] == pytest.approx(naive_fused_mean(column), nan_ok=True)
    assert parts.sum() == pytest.approx(0.0 if math.isnan(mean[0, 0]) else 1.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_what_is_fused_piece_by_piece_is_what_is_fused_at_once(seed: int, series: int) -> None:
    rng, index = np.random.default_rng(seed), SeriesIndex([SeriesKey("web1", f"m{number:02d}") for number in range(series)])
    said = [scores(index, np.where(rng.random((series, 50)) < 0.1, np.nan, rng.exponential(1.0, (series, 50)))) for _ in "ab"]
    learnt = Fusion().fit(said)
    whole = Fusion().fuse(said, learnt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detectors.fuse.CELLS", 7 * series)
        np.testing.assert_array_equal(Fusion().fit(said).arrays["groups"], learnt.arrays["groups"])
        pieces = Fusion().fuse(said, learnt)
    np.testing.assert_array_equal(pieces.surprise, whole.surprise)
    np.testing.assert_array_equal(pieces.share, whole.share)


def test_a_broken_series_is_capped(web1: Baseline) -> None:
    at_cap, beyond, absurd = fused(web1, [CAP] + [0.3] * 9, [100.0] + [0.3] * 9, [300.0] + [0.3] * 9)
    assert at_cap == beyond == absurd
    nothing, twice = fused(web1, [0.3] * 10, [CAP, CAP] + [0.3] * 8)
    assert nothing < at_cap < twice


def test_a_broken_series_does_not_own_its_component_for_ever(web1: Baseline) -> None:
    columns = np.array([[300.0] + [0.3] * 9, [300.0] + [6.0] * 9]).T
    result = Fusion().fuse([scores(TEN, columns)], web1)
    alone, beside = result.share[0]
    assert alone > 0.9
    assert beside == pytest.approx(0.5)
    assert result.surprise[0, 1] > result.surprise[0, 0]


def test_the_surprise_of_a_component_grows_no_faster_than_that_of_its_series(web1: Baseline) -> None:
    steps = np.linspace(3.0, CAP, 10)
    said = fused(web1, *([step] + [0.3] * 9 for step in steps))
    growth = np.diff(said)
    assert (growth > 0).all()
    assert (growth < np.diff(steps)[0]).all()
    assert said[-1] < CAP / 2


def test_many_a_little_wrong_are_more_surprising_than_one(web1: Baseline) -> None:
    usual, one, two, many = fused(web1, [0.3] * 10, [5.0] + [0.3] * 9, [5.0] * 2 + [0.3] * 8, [5.0] * 10)
    assert usual < one < two < many
    assert many > 3 > one


def test_more_surprise_of_any_series_is_never_less_of_the_component(web1: Baseline) -> None:
    random = np.random.default_rng(3)
    before = random.exponential(1.0, (10, 200))
    after = before + np.where(random.random((10, 200)) < 0.2, 2.0, 0.0)
    assert (fused(web1, *after.T) >= fused(web1, *before.T)).all()


def test_a_series_that_is_not_judged_adds_nothing(web1: Baseline) -> None:
    with_gaps, with_zeros = fused(web1, [5.0, 2.0] + [math.nan] * 8, [5.0, 2.0] + [0.0] * 8)
    assert with_gaps == with_zeros
    assert np.isnan(fused(web1, [math.nan] * 10)).all()


def test_all_series_silent_at_once_is_very_surprising_though_rare_gaps_were_always_shared() -> None:
    index = index_of({"web1": 6, "web2": 6})
    there = np.ones((12, BUCKETS), np.bool_)
    for hole in range(100, BUCKETS, 400):
        there[:6, hole] = False
    detector = Silence(span=SPAN)
    history = Frame.of(index, Window(T0, T0 + BUCKETS * SPAN, SPAN), np.where(there, 1.0, np.nan))
    models = learn(history, [detector])
    later = np.ones((12, 40))
    later[:6, 10:] = np.nan
    window = Window(history.window.end, history.window.end + 40 * SPAN, SPAN)
    said = evaluate(Frame.of(index, window, later), window, [detector], models).fused["silence"]
    assert (said.surprise[0, :10] < 1).all()
    assert 3 < said.surprise[0, 10] < said.surprise[0, 13]
    assert (said.surprise[0, 30:] > 5).all()
    assert (said.surprise[1] < 1).all()
    np.testing.assert_allclose(said.share[:6, -1], 1 / 6)


def test_a_component_that_was_not_learnt_is_not_judged(web1: Baseline) -> None:
    both = index_of({"web1": 10, "web2": 10})
    result = Fusion().fuse([scores(both, np.full((20, 4), 9.0))], web1)
    assert (result.surprise[0] > 4).all()
    assert np.isnan(result.surprise[1]).all()
    assert (result.share[10:] == 0).all()


def test_a_component_with_hardly_any_past_is_not_judged() -> None:
    for buckets, judged in ((LEAST - 1, False), (LEAST, True)):
        learnt = Fusion().fit([normal(TEN, seed=4, buckets=buckets)])
        assert np.isfinite(fused(learnt, [5.0] * 10)).all() == judged


def test_two_detectors_of_one_signature_are_fused_over_the_time_both_rehearsed() -> None:
    long, short = normal(TEN, seed=5), normal(TEN, seed=6, buckets=2000)
    learnt = Fusion().fit([long, short])
    assert learnt.trained_on == short.window
    quiet, loud = np.full((10, 3), 0.3), np.full((10, 3), 9.0)
    result = Fusion().fuse([scores(TEN, quiet), scores(TEN, loud)], learnt)
    assert (result.surprise > 4).all()
    np.testing.assert_allclose(result.share.sum(axis=0), 1.0)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 8), min_size=2, max_size=5), st.data())
def test_the_order_of_rows_and_shards_have_no_effect(seed: int, sizes: list[int], data: st.DataObject) -> None:
    index = index_of({f"web{place}": size for place, size in enumerate(sizes)})
    random = np.random.default_rng(seed)
    past, now = normal(index, seed, buckets=300), random.exponential(1.5, (len(index), 20))
    now[random.random(now.shape) < 0.2] = np.nan
    whole = Fusion().fuse([scores(index, now)], Fusion().fit([past]))
    chosen = data.draw(st.sets(st.sampled_from(index.components), min_size=1))
    for names in (chosen, set(index.components) - chosen):
        rows = np.array([row for row, key in enumerate(index) if key.component in names], np.int64)
        shard = SeriesIndex(index[row] for row in rows)
        learnt = Fusion().fit([scores(shard, past.surprise[rows])])
        part = Fusion().fuse([scores(shard, now[rows])], learnt)
        components = [place for place, name in enumerate(index.components) if name in names]
        np.testing.assert_array_equal(part.surprise, whole.surprise[components])
        np.testing.assert_array_equal(part.share, whole.share[rows])


@pytest.mark.parametrize("together", [0.0, 0.5, 0.9])
def test_a_fused_surprise_means_what_it_says(together: float) -> None:
    index = index_of({f"web{place}": size for place, size in enumerate([3, 6, 12, 30] * 5)})
    learnt = Fusion().fit([normal(index, seed=11, together=together)])
    later = Fusion().fuse([normal(index, seed=12, together=together)], learnt).surprise
    # Never more than promised; less, because days to come are taken to be wilder than those that were learnt from.
    assert 0.2e-2 < np.mean(later >= 2) < 1.2e-2
    assert 0.03e-3 < np.mean(later >= 3) < 1.2e-3
