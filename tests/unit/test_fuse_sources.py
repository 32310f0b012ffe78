"""One surprise per component whose series come from several sources: metrics, counts of log lines, waits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.fuse import CAP, Fusion
from detectors.groups import batches, worth
from tests.unit.test_fuse import normal, scores
from tocsin.model import Baseline, Floats, SeriesIndex, SeriesKey

METRICS, COUNTS = 20, 15


def component(name: str, metrics: int, counts: int = 0, waits: int = 0) -> list[SeriesKey]:
    """Some of its metrics sort before the logs, some between them and the waits, some after both."""
    names = [f"{'apz'[one % 3]}{one:02d}" for one in range(metrics)] + [f"log.template.{one:02d}" for one in range(counts)]
    return [SeriesKey(name, metric) for metric in names + ["request.wait"] * waits]


SHOP = SeriesIndex(component("shop", METRICS, COUNTS, 1))
LOGS = np.flatnonzero(SHOP.kinds == 1)


@pytest.fixture(scope="module")
def shop() -> Baseline:
    """Twenty metrics, which move together, fifteen counts of log lines, which hardly do, and the waits of one component on two
    normal weeks."""
    metrics, others = normal(SHOP, seed=1, together=0.5), normal(SHOP, seed=2, together=0.1)
    return Fusion().fit([scores(SHOP, np.where(SHOP.kinds[:, None] == 0, metrics.surprise, others.surprise))])


def said_of(baseline: Baseline, column: Floats) -> tuple[float, Floats]:
    fused = Fusion().fuse([scores(SHOP, column[:, None])], baseline)
    return float(fused.surprise[0, 0]), fused.share[:, 0]


def usual() -> Floats:
    """What is said of the series in a bucket that is like most."""
    return np.linspace(0.05, 1.0, len(SHOP))


def test_one_log_template_far_off_among_thirty_six_series_opens_an_incident(shop: Baseline) -> None:
    calm, _ = said_of(shop, usual())
    column = usual()
    column[LOGS[4]] = 10.0
    far, share = said_of(shop, column)
    assert calm < 1
    assert far > 4, "the surprise from which on an incident opens"
    assert share.argmax() == LOGS[4]
    assert share.sum() == pytest.approx(1)


def test_a_broken_series_does_not_own_a_component_of_several_sources(shop: Baseline) -> None:
    broken, beside = usual(), usual()
    broken[LOGS[0]] = beside[LOGS[0]] = 300.0
    beside[SHOP.kinds == 0] += 5.0
    assert said_of(shop, np.where(np.arange(len(SHOP)) == LOGS[0], CAP, usual()))[0] == said_of(shop, broken)[0]
    surprise, share = said_of(shop, beside)
    assert surprise > said_of(shop, broken)[0] + 0.5, "what else is wrong is still heard"
    assert share[LOGS[0]] < 0.7


def test_sources_that_are_all_a_little_surprised_are_more_than_one_of_them(shop: Baseline) -> None:
    def more(*kinds: int) -> float:
        return said_of(shop, usual() + 1.5 * np.isin(SHOP.kinds, kinds))[0]

    assert more() < more(0) < more(0, 1) < more(0, 1, 2)


def test_a_source_that_could_not_be_asked_is_left_out(shop: Baseline) -> None:
    column = usual()
    column[SHOP.kinds == 0] += 5.0
    whole, _ = said_of(shop, column)
    column[SHOP.kinds == 1] = np.nan
    without, share = said_of(shop, column)
    assert without > 3
    assert without == pytest.approx(whole, abs=1.0)
    assert (share[LOGS] == 0).all()
    assert share.sum() == pytest.approx(1)
    nothing, share = said_of(shop, np.full(len(SHOP), np.nan))
    assert math.isnan(nothing)
    assert not share.any()


@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 12)), min_size=3, max_size=3))
def test_several_groups_come_to_no_less_than_the_largest_and_no_more_than_their_sum(said: list[float]) -> None:
    (come_to,), parts = worth(np.array(said)[:, None, None])
    judged = [one for one in said if not math.isnan(one)]
    if not judged:
        assert math.isnan(come_to[0])
        assert not parts.any()
        return
    assert max(judged) - 1e-9 <= come_to[0] <= sum(judged) + 1e-9
    assert come_to[0] == pytest.approx(sum(one**3 for one in judged) ** (1 / 3), abs=1e-9)


sizes = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 1)).filter(any)


@settings(max_examples=30)
@given(st.lists(sizes, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_component_means_the_same_whatever_stands_beside_it(park: list[tuple[int, int, int]], seed: int) -> None:
    index = SeriesIndex(key for place, size in enumerate(park) for key in component(f"web{place}", *size))
    random = np.random.default_rng(seed)
    past, now = normal(index, seed, buckets=300), random.exponential(1.5, (len(index), 20))
    now[random.random(now.shape) < 0.3] = np.nan
    learnt = Fusion().fit([past])
    whole, tick = Fusion().fuse([scores(index, now)], learnt), Fusion().fuse([scores(index, now[:, :1])], learnt)
    np.testing.assert_array_equal(tick.surprise, whole.surprise[:, :1])
    np.testing.assert_array_equal(tick.share, whole.share[:, :1])
    judged = ~np.isnan(whole.surprise)
    np.testing.assert_allclose(np.add.reduceat(whole.share, index.component_starts), judged, atol=1e-9)
    assert (whole.share[np.isnan(now)] == 0).all()
    for place, name in enumerate(index.components):
        rows = np.flatnonzero(index.component_of == place)
        alone = SeriesIndex(key for key in index if key.component == name)
        part = Fusion().fuse([scores(alone, now[rows])], Fusion().fit([scores(alone, past.surprise[rows])]))
        np.testing.assert_array_equal(part.surprise[0], whole.surprise[place])
        np.testing.assert_array_equal(part.share, whole.share[rows])


@given(st.lists(sizes, min_size=1, max_size=6))
def test_every_series_is_in_one_group_and_each_group_is_of_one_component_and_kind(park: list[tuple[int, int, int]]) -> None:
    index = SeriesIndex(key for place, size in enumerate(park) for key in component(f"web{place}", *size))
    seen: list[int] = []
    for batch in batches(index):
        assert (index.component_of[batch.rows] == batch.components[:, None]).all()
        assert (index.kinds[batch.rows] == batch.kind).all()
        for which in batch.components:
            kinds = set(index.kinds[index.component_of == which].tolist())
            assert batch.single == (len(kinds) == 1)
            assert batch.first == (batch.kind == min(kinds))
        seen += batch.rows.ravel().tolist()
    assert sorted(seen) == list(range(len(index)))


def test_a_component_of_one_source_is_what_it_was_before_there_were_others() -> None:
    """The mean of the largest, calibrated once: the same numbers for the same surprises, whatever the kind of the series."""
    random = np.random.default_rng(5)
    past, now = random.exponential(0.4, (8, 500)), random.exponential(0.8, (8, 30))
    said = []
    for metrics, counts in ((8, 0), (0, 8)):
        index = SeriesIndex(component("web", metrics, counts))
        learnt = Fusion().fit([scores(index, past)])
        assert np.isnan(learnt.arrays["together"]).all()
        said.append(Fusion().fuse([scores(index, now)], learnt))
    np.testing.assert_array_equal(said[0].surprise, said[1].surprise)
    np.testing.assert_array_equal(said[0].share, said[1].share)


@pytest.mark.parametrize("together", [0.0, 0.5, 0.9])
def test_a_surprise_of_several_sources_means_what_it_says(together: float) -> None:
    index = SeriesIndex(
        key for place, size in enumerate([(6, 4, 1), (3, 12, 0), (20, 15, 1)] * 6) for key in component(f"web{place}", *size)
    )
    learnt = Fusion().fit([normal(index, seed=11, together=together)])
    later = Fusion().fuse([normal(index, seed=12, together=together)], learnt).surprise
    assert 0.2e-2 < np.mean(later >= 2) < 1.2e-2
    assert 0.03e-3 < np.mean(later >= 3) < 1.2e-3
