"""How far from normal becomes how surprising."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.naive import naive_tail
from tocsin.calibration import HIGHEST, LIMIT, Tails, median, quantiles
from tocsin.model import Floats

LEAST = 5
SIZES = st.one_of(st.just(0.0), st.sampled_from([0.25, 1.0, 2.0]), st.floats(2**-10, 100, width=32), st.just(np.nan))
PASTS = arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 130)), elements=SIZES)


def drawn(seed: int, rows: int = 6, count: int = 700) -> Floats:
    """Deviations of quite different natures: light, heavy, rare, whole numbers, none, and one row of another size."""
    rng = np.random.default_rng(seed)
    past = np.abs(rng.standard_normal((rows, count)))
    past[1] = np.abs(rng.standard_t(2, count))
    past[2] = np.where(rng.random(count) < 0.02, past[2], 0.0)
    past[3] = np.floor(3 * past[3])
    past[4] = 0.0
    past[5] *= 1e4
    return np.asarray(past, np.float64)


@given(PASTS, st.lists(st.floats(2**-10, 1000, width=32), min_size=1, max_size=8))
@settings(max_examples=150)
def test_surprise_is_what_the_definition_says(past: Floats, asked: list[float]) -> None:
    tails = Tails.fit(past, LEAST)
    row = np.concatenate([asked, np.nan_to_num(past[0])[:20]])
    found = tails.surprise(np.tile(row, (len(past), 1)))
    wanted = [[min(naive_tail(line.astype(np.float32).tolist(), LEAST, value), HIGHEST) for value in row] for line in past]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_many_past_deviations_agree_with_the_definition_too(seed: int) -> None:
    past = drawn(seed)
    row = np.array([0, 0.3, 1, 2, 3, 5, 10, 1e4, 5e4])
    wanted = [[min(naive_tail(line.astype(np.float32).tolist(), LEAST, value), HIGHEST) for value in row] for line in past]
    np.testing.assert_allclose(Tails.fit(past, LEAST).surprise(np.tile(row, (len(past), 1))), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("every", [1, 5, 7, 11, 12, 13, 288])
@pytest.mark.parametrize("count", [513, 4032, 4044])
def test_a_long_past_with_a_rhythm_is_ranked_like_any_other(count: int, every: int) -> None:
    """Long rows are not sorted whole: a few pieces of them tell, whatever comes every so many buckets."""
    rng = np.random.default_rng(every)
    past = drawn(every, count=count)
    past[:, ::every] *= 5.0
    past[rng.random(past.shape) < np.linspace(0.0, 0.9, len(past))[:, None]] = np.nan
    row = np.concatenate([np.linspace(0, 20, 40), [1e4, 5e4]])
    wanted = [[min(naive_tail(line.astype(np.float32).tolist(), LEAST, value), HIGHEST) for value in row] for line in past]
    np.testing.assert_allclose(Tails.fit(past, LEAST).surprise(np.tile(row, (len(past), 1))), wanted, rtol=1e-5, atol=1e-6)


@given(PASTS)
def test_what_is_further_away_is_never_less_surprising(past: Floats) -> None:
    rising = np.tile(np.sort(np.concatenate([np.linspace(0, 200, 300), np.nan_to_num(past).ravel()])), (len(past), 1))
    surprise = Tails.fit(past, 1).surprise(rising)
    judged = surprise[~np.isnan(surprise).any(axis=1)]
    assert (np.diff(judged, axis=1) >= -1e-9).all()
    assert (judged >= 0).all()
    assert (judged[:, 0] == 0).all()
    assert (judged <= HIGHEST).all()


@pytest.mark.parametrize(("probability", "factor"), [(0.5, 1.4), (0.1, 1.2), (0.05, 1.25), (0.01, 2.0), (0.001, 40.0)])
def test_gaussian_deviations_are_about_as_rare_as_promised(probability: float, factor: float) -> None:
    """The tail is heavier than theirs on purpose: the further out, the more cautious."""
    rng = np.random.default_rng(1)
    tails = Tails.fit(np.abs(rng.standard_normal((50, 4000))), LEAST)
    surprise = tails.surprise(np.abs(rng.standard_normal((50, 4000))))
    realised = (surprise >= -np.log10(probability)).mean()
    assert probability / factor < realised < 1.25 * probability


def test_what_is_not_known_stays_unknown() -> None:
    past = drawn(1)
    past[0, 50:] = np.nan
    past[1] = np.nan
    tails = Tails.fit(past, 51)
    surprise = tails.surprise(np.array([[1.0, np.nan]] * len(past)))
    assert np.isnan(surprise[:2]).all(), "too little past"
    assert np.isnan(surprise[:, 1]).all()
    assert not np.isnan(surprise[2:, 0]).any()
    assert np.isnan(tails.limit()[:2]).all()
    assert not np.isnan(tails.limit()[2:]).any()


def test_holes_in_the_past_are_as_if_they_were_not_there() -> None:
    past = drawn(2)
    holes = np.insert(past, [0, 3, 3, 100, 699], np.nan, axis=1)
    np.testing.assert_array_equal(Tails.fit(holes, 1).to_array(), Tails.fit(past, 1).to_array())


def test_no_past_at_all_judges_nothing() -> None:
    tails = Tails.fit(np.empty((3, 0)), 1)
    assert np.isnan(tails.surprise(np.ones((3, 2)))).all()
    assert Tails.fit(np.empty((0, 9)), 1).surprise(np.empty((0, 4))).shape == (0, 4)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_limit_is_where_surprise_is_three(seed: int) -> None:
    tails = Tails.fit(drawn(seed), LEAST)
    limit = tails.limit()
    reached = np.isfinite(limit)
    assert reached.tolist() == [True, True, True, True, False, True], "700 buckets without any do not allow one in a thousand"
    at_limit = tails.surprise(np.where(reached, limit, 0.0)[:, None])[:, 0]
    np.testing.assert_allclose(at_limit[reached], LIMIT)
    around = np.where(reached, limit, 1.0)[:, None] * np.array([0.99, 1.01])
    below, above = tails.surprise(around).T
    assert (below[reached] < LIMIT).all()
    assert (above[reached] > LIMIT).all()


@pytest.mark.parametrize(("count", "finite"), [(998, False), (1000, True)])
def test_the_first_deviation_ever_is_as_rare_as_the_past_is_long(count: int, finite: bool) -> None:
    tails = Tails.fit(np.zeros((1, count)), LEAST)
    assert tails.surprise(np.array([[0.0, 0.001, 1e6]])).tolist()[0] == pytest.approx(
        [0, np.log10(count + 1), np.log10(count + 1)]
    )
    assert bool(np.isfinite(tails.limit()[0])) is finite


def test_a_few_enormous_deviations_do_not_make_the_tail_much_flatter() -> None:
    clean = np.abs(np.random.default_rng(4).standard_normal((20, 1400)))
    dirty = clean.copy()
    dirty[:, 100:106] = 1000.0
    ratio = Tails.fit(dirty, LEAST).limit() / Tails.fit(clean, LEAST).limit()
    assert ratio.max() < 1.8


def test_wider_tails_judge_everything_as_if_it_were_nearer() -> None:
    tails = Tails.fit(drawn(3), LEAST)
    deviations = np.tile(np.linspace(0, 20, 50), (6, 1))
    np.testing.assert_allclose(tails.widened(1.5).surprise(1.5 * deviations), tails.surprise(deviations), rtol=1e-9, atol=1e-9)
    reached = np.isfinite(tails.limit())
    np.testing.assert_allclose(tails.widened(1.5).limit()[reached], 1.5 * tails.limit()[reached])


def test_steeper_tails_are_more_surprising_far_out_and_the_same_before() -> None:
    tails = Tails.fit(drawn(3), LEAST)
    steeper = tails.at_least_as_steep(5.0)
    assert (steeper.steepness >= 5.0).all()
    assert (steeper.steepness >= tails.steepness).all()
    near = np.stack([tails.far * part for part in (0.1, 0.5, 1.0)], axis=1)
    np.testing.assert_array_equal(steeper.surprise(near), tails.surprise(near))
    out = tails.far[:, None] + np.array([0.1, 10.0])
    assert (steeper.surprise(out) >= tails.surprise(out)).all()
    np.testing.assert_array_equal(tails.at_least_as_steep(0.0).to_array(), tails.to_array())


def test_tails_come_back_from_their_array() -> None:
    tails = Tails.fit(drawn(3), LEAST)
    array = tails.to_array()
    assert array.shape == (6, 5)
    np.testing.assert_array_equal(Tails.from_array(array).to_array(), array)
    np.testing.assert_allclose(Tails.from_array(array).limit(), tails.limit(), rtol=1e-5)


@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=1, max_dims=3, max_side=12),
        elements=st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)),
    ),
    st.floats(0, 1),
)
def test_quantiles_leave_out_what_is_not_known(values: Floats, share: float) -> None:
    flat = values.reshape(-1, values.shape[-1])
    known = [line[~np.isnan(line)] for line in flat]
    for found, wanted in ((quantiles(values, share)[0], share), (median(values), 0.5)):
        expected = [np.nanquantile(line, wanted) if len(line) else np.nan for line in known]
        np.testing.assert_allclose(found, np.reshape(expected, values.shape[:-1]), rtol=1e-9, atol=1e-6)


def test_quantiles_of_nothing_are_unknown() -> None:
    assert np.isnan(quantiles(np.empty((3, 0)), 0.5, 0.9)).all()
