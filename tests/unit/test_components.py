"""Detectors of whole components: what they hear, learn and keep, and that they say what scikit-learn and PyOD say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors import components
from detectors.components import CAP, MOST_SERIES
from detectors.forest import LEVELS, SAMPLE, STEPS, Forest, in_steps, path_length
from detectors.outliers import GRID, Outlier
from detectors.silence import Silence
from tests.naive import naive_path_length
from tocsin.learning import join
from tocsin.model import Floats, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import ComponentDetector
from tocsin.store import baselines
from tocsin.timegrid import DAY

SPAN = 600
T0 = 1_760_000_000 // DAY * DAY
METHODS = ("ecod", "copod", "hbos", "knn", "lof", "pca")
DETECTORS: dict[str, ComponentDetector] = {
    "forest": Forest(trees=32),
    **{method: Outlier(method=method) for method in METHODS},  # type: ignore[arg-type]
}


@pytest.fixture(params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> ComponentDetector:
    return DETECTORS[request.param]


def named(sizes: list[int]) -> SeriesIndex:
    return SeriesIndex(SeriesKey(f"c{place:02d}", f"m{row:03d}") for place, size in enumerate(sizes) for row in range(size))


def said(index: SeriesIndex, surprise: Floats, start: int = T0) -> Scores:
    window = Window(start, start + surprise.shape[1] * SPAN, SPAN)
    unknown = np.broadcast_to(np.nan, surprise.shape)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def calm(index: SeriesIndex, buckets: int, seed: int = 3, start: int = T0) -> Scores:
    """Surprises as they are promised: exponential, in powers of ten."""
    return said(index, np.random.default_rng(seed).exponential(1 / np.log(10), (len(index), buckets)), start)


def test_it_is_told_from_a_detector_of_series(detector: ComponentDetector) -> None:
    assert isinstance(detector, ComponentDetector)
    assert not isinstance(Silence(span=SPAN), ComponentDetector)


def test_what_is_rare_together_is_surprising_and_normal_days_keep_the_promise(detector: ComponentDetector) -> None:
    index = named([8] * 8)
    learnt = detector.fit([calm(index, 14 * 144)]).baseline
    after = calm(index, 7 * 144, seed=4, start=T0 + 14 * DAY)
    surprise = detector.score([after], learnt).surprise
    assert surprise.shape == (8, 7 * 144)
    assert 0.04 < np.mean(surprise >= 1) < 0.14
    assert np.mean(surprise >= 2) < 0.02
    assert np.mean(surprise >= 3) < 0.003
    broken = after.surprise.copy()
    broken[index.component_of == 5] += 2.5
    told = detector.score([replace(after, surprise=broken)], learnt).surprise
    assert np.median(told[5]) > 2
    np.testing.assert_array_equal(np.delete(told, 5, axis=0), np.delete(surprise, 5, axis=0))


def test_components_are_learnt_and_judged_as_if_alone_in_any_company(detector: ComponentDetector) -> None:
    index = named([3, 5, 2, 9])
    history, ahead = calm(index, 4 * 144), calm(index, 40, seed=8, start=T0 + 4 * DAY)
    whole = detector.fit([history])
    told = detector.score([ahead], whole.baseline)
    assert told.index == index.by_component
    parts = []
    for component in ("c00", "c03", "c01", "c02"):
        rows = np.array([row for row, key in enumerate(index) if key.component == component])
        own = SeriesIndex(index[row] for row in rows)
        one = detector.fit([replace(history, index=own, surprise=history.surprise[rows])])
        alone = detector.score([replace(ahead, index=own, surprise=ahead.surprise[rows])], one.baseline)
        np.testing.assert_allclose(alone.surprise[0], told.surprise[index.components.index(component)], rtol=1e-6, atol=1e-6)
        parts.append({"d": one.baseline})
    joined = detector.score([ahead], join(parts)["d"])
    np.testing.assert_allclose(joined.surprise, told.surprise, rtol=1e-6, atol=1e-6)


def test_bucket_by_bucket_is_the_same_as_all_at_once(detector: ComponentDetector) -> None:
    index = named([4, 6])
    baseline = detector.fit([calm(index, 4 * 144)]).baseline
    ahead = calm(index, 30, seed=8, start=T0 + 4 * DAY)
    whole = detector.score([ahead], baseline).surprise
    for bucket in range(30):
        one = said(index, ahead.surprise[:, bucket : bucket + 1], ahead.window.start + bucket * SPAN)
        np.testing.assert_allclose(detector.score([one], baseline).surprise[:, 0], whole[:, bucket], rtol=1e-6, atol=1e-6)


def test_two_series_are_too_few_and_so_is_an_hour(detector: ComponentDetector) -> None:
    index = named([2, 3])
    ahead = calm(index, 5, start=T0 + 4 * DAY)
    told = detector.score([ahead], detector.fit([calm(index, 4 * 144)]).baseline).surprise
    assert np.isnan(told[0]).all() and not np.isnan(told[1]).any()
    for buckets in (0, 1, 6, 199):
        fitted = detector.fit([calm(index, buckets)])
        assert np.isnan(fitted.rehearsal.surprise).all()
        assert np.isnan(detector.score([ahead], fitted.baseline).surprise).all()


def test_no_component_at_all_is_no_trouble(detector: ComponentDetector) -> None:
    nobody = calm(named([]), 300)
    assert detector.score([nobody], detector.fit([nobody]).baseline).surprise.shape == (0, 300)


def test_a_series_that_was_not_judged_counts_as_calm_and_a_component_without_any_is_not_judged(
    detector: ComponentDetector,
) -> None:
    index = named([4])
    baseline = detector.fit([calm(index, 4 * 144)]).baseline
    ahead = calm(index, 3, start=T0 + 4 * DAY)
    holes, zeros = ahead.surprise.copy(), ahead.surprise.copy()
    holes[2, 0], zeros[2, 0] = np.nan, 0.0
    holes[:, 1] = np.nan
    told = detector.score([replace(ahead, surprise=holes)], baseline).surprise
    assert np.isnan(told[0, 1])
    np.testing.assert_array_equal(told[0, [0, 2]], detector.score([replace(ahead, surprise=zeros)], baseline).surprise[0, [0, 2]])


def test_series_that_come_and_go_do_not_move_the_others(detector: ComponentDetector) -> None:
    index = named([4, 3])
    baseline = detector.fit([calm(index, 4 * 144)]).baseline
    ahead = calm(index, 10, start=T0 + 4 * DAY)
    keys = [*index.keys[1:], SeriesKey("c00", "a new one"), SeriesKey("b99", "m000"), SeriesKey("c01", "m000x")]
    moved = SeriesIndex(keys)
    rows = moved.rows_in(index)
    surprise = np.where((rows < 0)[:, None], 5.0, ahead.surprise[rows])
    without = ahead.surprise.copy()
    without[0] = np.nan
    expected = detector.score([replace(ahead, surprise=without)], baseline).surprise
    told = detector.score([replace(ahead, index=moved, surprise=surprise)], baseline).surprise
    assert moved.components == ("b99", "c00", "c01")
    assert np.isnan(told[0]).all()
    np.testing.assert_array_equal(told[1:], expected)


def test_the_most_surprised_detector_speaks_for_a_series(detector: ComponentDetector) -> None:
    index = named([4])
    one, other = calm(index, 4 * 144), calm(index, 3 * 144, seed=9, start=T0 + DAY)
    both = np.fmax(one.surprise[:, 144:], other.surprise)
    together, alone = detector.fit([one, other]), detector.fit([said(index, both, T0 + DAY)])
    assert together.rehearsal.window == other.window
    np.testing.assert_array_equal(together.rehearsal.surprise, alone.rehearsal.surprise)


def test_what_is_learnt_is_plain_numbers_a_row_per_component_and_survives_a_restart(
    detector: ComponentDetector, tmp_path: Path
) -> None:
    index = named([10] * 3)
    fitted = detector.fit([calm(index, 4 * 144)])
    again = detector.fit([calm(index, 4 * 144)])
    assert fitted.baseline.index == fitted.rehearsal.index == index.by_component
    for name, array in fitted.baseline.arrays.items():
        assert type(array) is np.ndarray and array.dtype.kind in "biuf" and len(array) == 3, name
        np.testing.assert_array_equal(array, again.baseline.arrays[name])
    assert sum(array.nbytes for array in fitted.baseline.arrays.values()) / 3 < 130_000
    saved = baselines.save({"d": fitted.baseline}, tmp_path)
    loaded = baselines.load(saved.path, saved.sha256)["d"]
    ahead = calm(index, 10, start=T0 + 4 * DAY)
    np.testing.assert_array_equal(detector.score([ahead], loaded).surprise, detector.score([ahead], fitted.baseline).surprise)


def test_of_very_many_series_the_ones_that_were_ever_surprised_are_heard() -> None:
    index = named([MOST_SERIES + 40])
    history = calm(index, 4 * 144)
    history.surprise[:40] = 0.0
    forest = Forest(trees=8)
    baseline = forest.fit([history]).baseline
    assert baseline.arrays["series"].shape == (1, MOST_SERIES)
    np.testing.assert_array_equal(baseline.arrays["series"][0], index.metric_codes[40:])
    ahead = calm(index, 3, start=T0 + 4 * DAY)
    loud = ahead.surprise.copy()
    loud[:40] = 9.0
    np.testing.assert_array_equal(
        forest.score([ahead], baseline).surprise, forest.score([replace(ahead, surprise=loud)], baseline).surprise
    )


def test_short_buckets_are_sampled_evenly() -> None:
    columns = components.sampled(Window(0, 14 * DAY, 60))
    assert len(columns) == components.SAMPLE
    assert (np.diff(columns) > 0).all() and np.diff(columns).max() < 10
    assert len(set(columns % 5)) == 5


def test_a_method_that_was_changed_in_the_yaml_waits_for_the_next_training() -> None:
    index = named([4])
    baseline = Outlier(method="ecod").fit([calm(index, 4 * 144)]).baseline
    assert np.isnan(Outlier(method="hbos").score([calm(index, 3)], baseline).surprise).all()


# --- the same as the libraries ------------------------------------------------------------------------------------------


def test_trees_give_the_path_lengths_of_scikit_learns_isolation_forest() -> None:
    from sklearn.ensemble import IsolationForest

    from detectors.forest_fit import packed, usual_depth

    rows = in_steps(calm(named([9]), 800).surprise.T)
    forest = IsolationForest(n_estimators=40, max_samples=SAMPLE, random_state=1).fit(rows.astype(np.float32))
    nodes, leaves = packed(forest.estimators_, LEVELS)
    mean = path_length(nodes[None], leaves[None], rows[None])[0]
    ours = -(2.0 ** (-mean / usual_depth(np.array([SAMPLE]))[0]))
    np.testing.assert_allclose(ours, forest.score_samples(rows.astype(np.float32)), atol=4e-3)


def test_our_trees_order_rows_as_scikit_learns_forest_does() -> None:
    from scipy.stats import spearmanr
    from sklearn.ensemble import IsolationForest

    rows = calm(named([9]), 2000).surprise.T
    quick = Forest(trees=64)
    learnt = quick.learn((rows[:1000], rows[1000:]), 5)[2]
    ours = quick.far({name: array[None] for name, array in learnt.items()}, rows[None])[0]
    theirs = [
        -IsolationForest(n_estimators=64, max_samples=SAMPLE, random_state=seed).fit(rows).score_samples(rows) for seed in (1, 2)
    ]
    between = spearmanr(*theirs)[0]
    assert spearmanr(ours, theirs[0])[0] > between - 0.03
    assert between > 0.9


def test_all_components_at_once_walk_as_one_row_walks_one_tree() -> None:
    rng = np.random.default_rng(2)
    nodes = rng.integers(0, 6, (3, 4, 8)).astype(np.uint16) << 8 | rng.integers(0, 256, (3, 4, 8)).astype(np.uint16)
    leaves = rng.integers(0, 256, (3, 4, 8)).astype(np.uint8)
    rows = rng.integers(0, 256, (3, 5, 6)).astype(np.uint8)
    fast = path_length(nodes, leaves, rows)
    for place in range(3):
        for n in range(5):
            slow = naive_path_length(nodes[place].tolist(), leaves[place].tolist(), rows[place, n].tolist())
            assert fast[place, n] == pytest.approx(slow)
    np.testing.assert_array_equal(path_length(nodes[:1], leaves[:1], rows[:1])[0], fast[0])


@pytest.mark.parametrize("method", METHODS)
def test_distances_are_those_of_pyod(method: str) -> None:
    from pyod.models import copod, ecod, hbos, knn, lof, pca

    theirs = {"ecod": ecod.ECOD, "copod": copod.COPOD, "hbos": hbos.HBOS, "knn": knn.KNN, "lof": lof.LOF, "pca": pca.PCA}[
        method
    ]()
    steps = 1 / (GRID[1] - GRID[0])
    rows = np.round(np.minimum(calm(named([6]), 240).surprise.T, CAP) * steps) / steps
    after = np.round(calm(named([6]), 40, seed=11).surprise.T * 2 * steps) / steps
    if method in ("knn", "lof"):
        rows = rows.astype(np.float16).astype(float)
    theirs.fit(rows)
    if method in ("ecod", "copod"):  # they judge all rows given together, and what was learnt from with them
        expected = np.array([theirs.decision_function(row[None])[0] for row in after])
    else:
        expected = theirs.decision_function(after)
    ours = Outlier(method=method)  # type: ignore[arg-type]
    learnt = ours.learn((rows[:120], rows[120:]), 1)[2]
    got = ours.far({name: array[None] for name, array in learnt.items()}, after[None])[0]
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-3)


def test_a_threshold_lies_between_two_steps_and_the_loudest_is_told_from_the_next() -> None:
    assert STEPS * CAP < 255
    assert in_steps(np.array([0.0, 0.049, 0.05, CAP])).tolist() == [0, 0, 1, 240]
