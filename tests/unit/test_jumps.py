"""How rare a jump is, of a series that stands alone and of one among siblings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.jumps import alone, learnt, surprise_of
from tests.naive import naive_jump, naive_tail
from tocsin.model import Floats, Ints, SeriesIndex, SeriesKey
from tocsin.timegrid import DAY

SPAN = 300
A_DAY = DAY // SPAN
BLOCK = 600


def slots_of(count: int, span: int = SPAN, first: int = 0) -> Ints:
    """The local half-hours of so many buckets from midnight on, or from so many buckets after it."""
    return (np.arange(first, first + count) * span + span // 2) % DAY // 1800


def jumps(count: int = 14 * A_DAY, rows: int = 1) -> Floats:
    return np.abs(np.random.default_rng(count).standard_normal((rows, count)))


def said(far: Floats, asked: list[float], *, slot: int = 20, span: int = SPAN, single: bool = True) -> Floats:
    """Surprises of these distances in a half-hour after those of a past that began at midnight."""
    own = learnt(far.astype(np.float32), slots_of(far.shape[1], span), np.full(len(far), single), span)
    return surprise_of(np.tile(asked, (len(far), 1)), np.full(len(asked), slot), own)


def test_a_series_stands_alone_where_its_component_has_no_other() -> None:
    index = SeriesIndex(SeriesKey(*key) for key in [("db", "cpu"), ("web", "cpu"), ("web", "free"), ("zoo", "cpu")])
    assert alone(index).tolist() == [True, False, False, True]
    assert not len(alone(SeriesIndex([])))


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([39, 60, 300, 520, 530, 700, 1300, 2500]),
    st.sampled_from([60, 300, 1800, 3600]),
    st.sampled_from([0.0, 0.1, 0.45]),
)
@settings(max_examples=30)
def test_a_jump_is_as_surprising_as_it_is_defined(seed: int, count: int, span: int, lost: float) -> None:
    rng = np.random.default_rng(seed)
    far = jumps(count, 4) * (1.2 + np.sin(np.arange(count) * span * 2 * np.pi / DAY))
    far[0, rng.integers(0, count, 1 + count // 90)] *= 40
    far[1] = np.where(rng.random(count) < rng.choice([0.002, 0.03, 0.2]), far[1], 0.0)
    far[2, : count // 3] = 0.0
    far[rng.random(far.shape) < lost] = np.nan
    asked, slot = [0.0, 0.2, 1.0, 2.5, 4.0, 9.0, 30.0], int(rng.integers(48))
    past, slots = far.astype(np.float32), slots_of(count, span).tolist()
    wanted = [[naive_jump(row, slots, span, value, slot) for value in asked] for row in past.tolist()]
    np.testing.assert_allclose(said(far, asked, slot=slot, span=span), wanted, rtol=1e-4, atol=1e-4)
    pooled = [[min(naive_tail(row, 40, value), 300.0) for value in asked] for row in past.tolist()]
    np.testing.assert_allclose(said(far, asked, slot=slot, span=span, single=False), pooled, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 1000), st.sampled_from([30, 290, 560, 2000]))
@settings(max_examples=20)
def test_what_is_unknown_in_front_changes_nothing(before: int, count: int) -> None:
    far = jumps(count, 3).astype(np.float32)
    far[1, ::3] = np.nan
    far[2] = 0.0
    padded = np.concatenate([np.full((3, before), np.nan, np.float32), far], axis=1)
    single = np.array([True, True, False])
    plain = learnt(far, slots_of(count), single, SPAN)
    for name, array in learnt(padded, slots_of(before + count, first=-before), single, SPAN).items():
        np.testing.assert_allclose(array, plain[name], rtol=1e-6, err_msg=name)


def test_a_row_is_learnt_as_if_there_were_no_others() -> None:
    far = jumps(5000, 4).astype(np.float32)
    single = np.array([True, False, True, False])
    whole = learnt(far, slots_of(5000), single, SPAN)
    for row in range(4):
        for name, array in learnt(far[row : row + 1], slots_of(5000), single[row : row + 1], SPAN).items():
            np.testing.assert_allclose(array[0], whole[name][row], rtol=1e-6, err_msg=name)


def test_trouble_in_less_than_half_of_the_blocks_makes_the_next_one_hardly_less_surprising() -> None:
    calm = jumps()
    troubled = calm.copy()
    for block in (1, 4):
        troubled[0, -BLOCK * block - 100 : -BLOCK * block - 60] = 30
    asked = [8.0]
    assert said(calm, asked)[0, 0] > 6
    assert said(troubled, asked)[0, 0] > 0.8 * said(calm, asked)[0, 0]
    assert said(troubled, asked, single=False)[0, 0] < 0.5 * said(calm, asked, single=False)[0, 0]


def test_what_happens_in_most_blocks_is_normal() -> None:
    usual = jumps()
    usual[0, 100::BLOCK] = 30
    assert said(usual, [30.0])[0, 0] < 4
    assert said(jumps(), [30.0])[0, 0] > 20


@pytest.mark.parametrize(("count", "blocks"), [(524, False), (525, True)])
def test_four_blocks_tell_of_the_tail_and_with_fewer_the_body_does_beyond_three(count: int, blocks: bool) -> None:
    """The first block may be half a one."""
    far = jumps(count)
    far[0, 200:215] = 30
    own = learnt(far.astype(np.float32), slots_of(count), np.ones(1, bool), SPAN)
    assert (own["outright"][0] == own["tails"][0, 4]) == blocks
    assert own["outright"][0] > 1.2 * learnt(far.astype(np.float32), slots_of(count), np.zeros(1, bool), SPAN)["outright"][0]


def test_a_small_jump_in_a_quiet_night_is_as_rare_as_a_large_one_at_noon() -> None:
    far = jumps()
    night = slots_of(far.shape[1]) < 12
    far[:, night] /= 9
    noon, quiet = said(far, [6.0], slot=24)[0, 0], said(far, [6.0], slot=5)[0, 0]
    assert quiet > 2 * noon
    among_siblings = [said(far, [6.0], slot=slot, single=False)[0, 0] for slot in (5, 24)]
    assert among_siblings[0] == among_siblings[1]


def test_less_than_a_day_tells_no_half_hours_apart() -> None:
    slots, single = slots_of(A_DAY), np.ones(1, bool)
    far = jumps(A_DAY).astype(np.float32)
    far[:, slots < 12] /= 9
    assert learnt(far, slots, single, SPAN)["noise"].min() < 0.5
    assert (learnt(far[:, 1:], slots[1:], single, SPAN)["noise"] == 1).all()
    assert (learnt(far, slots_of(A_DAY, 3600), single, 3600)["noise"] == 1).all()


def test_a_series_that_moves_in_part_of_its_time_only_does_not_call_each_of_its_moves_a_jump() -> None:
    far = np.zeros((1, 14 * A_DAY))
    for start in range(300, far.shape[1] - 200, 3 * BLOCK):
        far[0, start : start + 200] = jumps(200)[0] + 1
    assert said(far, [2.0])[0, 0] < 3
