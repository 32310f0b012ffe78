"""Rows are sorted, windows tile time, frames have the shape they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import Frame, Metric, Metrics, SeriesIndex, SeriesKey, Window, part, whole

KEYS = st.lists(st.builds(SeriesKey, st.text(max_size=3), st.text(max_size=3)), max_size=20, unique=True)


@given(KEYS, st.randoms())
def test_the_order_of_the_keys_has_no_effect(keys: list[SeriesKey], random: object) -> None:
    shuffled = keys.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert SeriesIndex(keys) == SeriesIndex(shuffled)
    assert SeriesIndex(keys).digest == SeriesIndex(shuffled).digest


@given(KEYS)
def test_the_rows_of_a_component_are_neighbours(keys: list[SeriesKey]) -> None:
    index = SeriesIndex(keys)
    names = [key.component for key in index]
    assert list(dict.fromkeys(names)) == list(index.components)
    assert [names[start] for start in index.component_starts] == list(index.components)
    assert [index.components[place] for place in index.component_of] == names


def test_a_series_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        SeriesIndex([SeriesKey("a", "x"), SeriesKey("a", "x")])


@given(KEYS, KEYS)
def test_rows_are_found_in_another_index(mine: list[SeriesKey], others: list[SeriesKey]) -> None:
    one, other = SeriesIndex(mine), SeriesIndex(others)
    assert [other[row] if row >= 0 else None for row in one.rows_in(other)] == [key if key in others else None for key in one]


@given(st.floats(0, 4e9), st.integers(1, 100_000), st.integers(1, 50), st.integers(0, 200_000))
def test_windows_tile_time(now: float, span: int, buckets: int, later: int) -> None:
    window = Window.ending(now, span, buckets)
    assert window.end <= now < window.end + span
    assert len(window) == buckets == len(window.starts)
    following = Window.ending(now + later, span, buckets)
    assert (following.end - window.end) % span == 0


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(0, 49), st.integers(0, 50))
def test_a_window_is_found_in_one_around_it(start: int, length: int, first: int, count: int) -> None:
    outer = Window(start * 60, (start + length) * 60, 60)
    first, count = min(first, length), min(count, length - min(first, length))
    inner = Window((start + first) * 60, (start + first + count) * 60, 60)
    assert outer.starts[inner.columns_in(outer)].tolist() == inner.starts.tolist()


@pytest.mark.parametrize("wrong", [(0, 100, 60), (60, 0, 60), (0, 60, 0), (0, 60, -60)])
def test_a_window_is_whole_buckets(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no window"):
        Window(*wrong)


def test_a_bucket_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie in"):
        Window(30, 90, 60).columns_in(Window(0, 120, 60))


def test_a_frame_has_the_shape_it_says() -> None:
    index, window = SeriesIndex([SeriesKey("a", "x")]), Window(0, 120, 60)
    with pytest.raises(ValueError, match="a frame of"):
        Frame.of(index, window, np.zeros((2, 2)))
    assert not Frame.unknown(index, window).known.any()


def test_what_is_said_of_a_metric_holds_for_its_parts() -> None:
    said = Metrics({"disk.used": Metric(name="disk.used", unit="%"), "load[1]": Metric(name="load[1]", unit="x")})
    assert said["disk.used[/var]"] == Metric(name="disk.used[/var]", unit="%")
    assert said["load[1]"].unit == "x"
    assert "disk.used[/a[b]]" in said
    assert "disk.free[/var]" not in said
    assert said.get("cpu") is None
    assert list(said) == ["disk.used", "load[1]"]
    assert part("disk.used", "/var") == "disk.used[/var]"
    assert part("cpu", "") == whole("cpu", said) == "cpu"
