"""Rows of an answer land in the cells of their series and bucket, whatever their order, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.grid import Cells
from tocsin.model import SeriesIndex, SeriesKey, Window

WINDOW = Window(600, 1200, 60)
INDEX = SeriesIndex([SeriesKey("web1", "cpu"), SeriesKey("web1", "mem"), SeriesKey("web2", "cpu")])


def times(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_rows_in_any_order_fill_their_cells_and_the_rest_is_no_data() -> None:
    cells = Cells(INDEX, WINDOW)
    cells.add(["web2", "web1"], "cpu", times(1140, 600), np.array([2.0, 1.0]))
    cells.add(["web1"], ["mem"], times(660), np.array([3.0]))
    frame = cells.frame()
    assert frame.values[0, 0] == 1.0 and frame.values[1, 1] == 3.0 and frame.values[2, 9] == 2.0
    assert np.count_nonzero(np.isfinite(frame.values)) == 3
    assert frame.known.all()


def test_what_nobody_asked_for_is_left_out_and_counted() -> None:
    cells = Cells(INDEX, WINDOW)
    cells.add(["web3", "web1", "web1"], ["cpu", "disk", "cpu"], times(600, 600, 600), np.array([1.0, 2.0, 3.0]))
    cells.add(["web1", "web1", "web1"], "cpu", times(540, 1200, 601), np.array([1.0, 2.0, 3.0]))
    assert cells.strangers == 2
    assert cells.outside == 3
    assert np.count_nonzero(np.isfinite(cells.frame().values)) == 1


def test_a_duplicate_that_comes_later_wins_and_a_null_changes_nothing() -> None:
    cells = Cells(INDEX, WINDOW)
    cells.add(["web1"] * 3, "cpu", times(600, 600, 600), np.array([1.0, 2.0, np.nan]))
    assert cells.frame().values[0, 0] == 2.0


def test_a_value_of_which_only_a_part_is_known_is_none() -> None:
    cells = Cells(INDEX, WINDOW)
    cells.add(["web1", "web2"], "cpu", times(600, 600), np.array([1.0, 2.0]))
    cells.unknown(rows=np.array([0]), columns=np.array([0, 1]))
    frame = cells.frame()
    assert np.isnan(frame.values[0, 0]) and not frame.known[0, :2].any()
    assert frame.values[2, 0] == 2.0 and frame.known[2].all()
    cells.unknown(columns=slice(8, 10))
    assert not cells.frame().known[:, 8:].any()
    cells.unknown()
    assert not cells.frame().known.any()


def test_counts_that_a_source_leaves_out_are_zero() -> None:
    cells = Cells(INDEX, WINDOW)
    cells.add(["web1"], "cpu", times(600), np.array([5.0]))
    cells.zero(np.array([0]))
    values = cells.frame().values
    assert values[0].tolist() == [5.0] + [0.0] * 9
    assert np.isnan(values[1:]).all()


def test_rows_of_different_lengths_are_a_mistake_of_the_collector() -> None:
    with pytest.raises(ValueError, match="do not make rows"):
        Cells(INDEX, WINDOW).add(["web1", "web2"], "cpu", times(600), np.array([5.0]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["web1", "web2", "web9"]),
            st.sampled_from(["cpu", "mem", "disk"]),
            st.sampled_from([540, 600, 601, 660, 1140, 1200]),
            st.one_of(st.floats(-5, 5), st.just(float("nan"))),
        )
    )
)
def test_the_cells_are_those_of_the_plain_definition(rows: list[tuple[str, str, int, float]]) -> None:
    plain = {(key, start): float("nan") for key in INDEX for start in WINDOW.starts.tolist()}
    for component, metric, at, value in rows:
        if (SeriesKey(component, metric), at) in plain and not np.isnan(value):
            plain[SeriesKey(component, metric), at] = value
    cells = Cells(INDEX, WINDOW)
    cells.add(
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], float),
    )
    expected = [[plain[key, start] for start in WINDOW.starts.tolist()] for key in INDEX]
    np.testing.assert_array_equal(cells.frame().values, expected)
