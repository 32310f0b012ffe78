"""Several detectors about the same series, and what detectors of whole components add."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.fuse import TOGETHER, Fusion
from tocsin.model import Floats, Scores, SeriesIndex, SeriesKey, Window

T0 = 1_760_000_400
FIVE, ONE_MINUTE = 300, 60
LONELY = SeriesIndex([SeriesKey("web", "cpu")])
FOUR = SeriesIndex(SeriesKey("web", f"m{place}") for place in range(4))
NAMES = ("seasonal", "novelty", "change", "level")


def said(index: SeriesIndex, surprise: Floats, span: int = FIVE) -> Scores:
    window = Window(T0, T0 + surprise.shape[1] * span, span)
    unknown = np.full(surprise.shape, np.nan)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def alone(span: int = FIVE, **surprises: float) -> float:
    """The surprise of a component of one series of which its detectors say this."""
    fusion = Fusion(names=NAMES)
    of_each = [said(LONELY, np.array([[surprises.get(name, 0.0)]]), span) for name in NAMES]
    return float(fusion.fuse(of_each, fusion.fit(of_each)).surprise[0, 0])


def test_detectors_that_agree_are_believed_and_one_alone_is_a_part() -> None:
    assert alone(seasonal=5, novelty=5, change=5, level=5) == pytest.approx(5 * TOGETHER)
    assert alone(level=5) == pytest.approx(5 * 2 / 5.5 * TOGETHER)
    assert alone(novelty=5) == pytest.approx(5 * 2 / 5.5 * TOGETHER)
    assert alone(seasonal=5) == pytest.approx(5 * 0.5 / 5.5 * TOGETHER)
    assert alone(novelty=300) == pytest.approx(8 * 2 / 5.5 * TOGETHER), "what is slow counts for 8 at most"


def test_a_change_counts_for_more_from_one_minute_to_the_next_than_from_one_hour_to_the_next() -> None:
    assert alone(ONE_MINUTE, change=8) == pytest.approx(8 * 2 / 6 * TOGETHER)
    assert alone(180, change=8) == pytest.approx(8 * 1.5 / 5.75 * TOGETHER)
    assert alone(FIVE, change=8) == alone(3600, change=8) == pytest.approx(8 / 5.5 * TOGETHER)


def test_a_detector_that_does_not_judge_does_not_count() -> None:
    assert alone(seasonal=4, novelty=4, change=4, level=np.nan) == pytest.approx(4 * TOGETHER)
    assert np.isnan(alone(seasonal=np.nan, novelty=np.nan, change=np.nan, level=np.nan))


def normal(index: SeriesIndex, seed: int) -> Scores:
    return said(index, np.random.default_rng(seed).exponential(1 / np.log(10), (len(index), 3000)))


def test_with_siblings_change_counts_twice_and_the_slow_detectors_are_heard_where_they_agree() -> None:
    fusion = Fusion(names=NAMES)
    learnt = fusion.fit([normal(FOUR, place) for place in range(4)])

    def fused(*loud: str) -> float:
        of_each = [said(FOUR, np.full((4, 1), 6.0 if one in loud else 0.3)) for one in NAMES]
        return float(fusion.fuse(of_each, learnt).surprise[0, 0])

    assert fused("change") > fused("seasonal")
    assert fused("novelty", "level") > fused("novelty")
    assert fused("novelty", "level") > fused("level")


def test_a_detector_of_the_whole_component_is_one_more_member_without_a_share() -> None:
    fusion = Fusion(names=("seasonal",))
    whole = said(FOUR.by_component, np.random.default_rng(9).exponential(1 / np.log(10), (1, 3000)))
    learnt = fusion.fit([normal(FOUR, 1)], [whole])
    quiet = said(FOUR, np.array([[0.5], [0.0], [0.0], [0.0]]))
    calm, strange = (fusion.fuse([quiet], learnt, [said(FOUR.by_component, np.array([[far]]))]) for far in (0.0, 9.0))
    assert strange.surprise[0, 0] > calm.surprise[0, 0] + 1
    for one in (calm, strange):
        np.testing.assert_allclose(one.share[:, 0], [1, 0, 0, 0])


def test_where_a_detector_of_components_rehearsed_a_sample_so_does_the_fusion() -> None:
    fusion = Fusion(names=("seasonal",))
    rehearsal = normal(FOUR, 1)
    sampled = np.full((1, 3000), np.nan)
    sampled[0, ::10] = 0.4
    of_sample = fusion.fit([rehearsal], [said(FOUR.by_component, sampled)])
    nobody = fusion.fit([rehearsal], [said(FOUR.by_component, np.full((1, 3000), np.nan))])
    assert np.isfinite(of_sample.arrays["groups"][:, 0]).all()
    assert np.isfinite(nobody.arrays["groups"][:, 0]).all()
