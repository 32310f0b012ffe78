"""When to learn, on which part of the past, in which pieces; and going back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ListCollector
from tocsin.intake import Intake, Source
from tocsin.learning import COMPANY, RETRY, backfill, chunks, due, join, trim
from tocsin.model import Baseline, Frame, SeriesIndex, SeriesKey, Window
from tocsin.store.history import History
from tocsin.timegrid import DAY

HOUR = 3600


@pytest.mark.parametrize(
    ("newest", "last_try", "expected"),
    [
        (None, -1e9, True),  # nothing was ever learnt
        (None, 1000 - RETRY + 1, False),  # but it was tried a moment ago
        (1000 - 6 * HOUR, -1e9, True),
        (1000 - 6 * HOUR + 1, -1e9, False),
        (1000 - 7 * HOUR, 999, False),
    ],
)
def test_a_training_is_due_when_the_last_is_old_and_the_last_try_is_not_fresh(
    newest: float | None, last_try: float, expected: bool
) -> None:
    assert due(newest, last_try, 6 * HOUR, 1000) is expected


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 10**7))
def test_chunks_are_cut_between_components_and_lose_nothing(sizes: list[int], buckets: int) -> None:
    keys = [SeriesKey(f"c{place:02d}", f"m{metric}") for place, size in enumerate(sizes) for metric in range(size)]
    index = SeriesIndex(keys)
    parts = list(chunks(index, buckets))
    assert [key for part in parts for key in part] == list(index)
    components = [component for part in parts for component in part.components]
    assert len(components) == len(set(components))
    assert all(len(part.components) >= COMPANY for part in parts) or len(parts) == 1


def _baseline(*components: str) -> Baseline:
    index = SeriesIndex([SeriesKey(name, metric) for name in components for metric in ("a", "b")])
    values = np.array([hash((key.component, key.metric)) % 1000 for key in index], float)
    return Baseline(detector="d", index=index, trained_on=Window(0, 600, 60), arrays={"x": values, "y": np.c_[values, values]})


def test_baselines_of_chunks_become_one_in_the_order_of_the_rows() -> None:
    whole = _baseline("a", "b", "c")
    joined = join([{"d": _baseline("c")}, {"d": _baseline("a", "b")}, {}])["d"]
    assert joined.index == whole.index
    np.testing.assert_array_equal(joined.arrays["y"], whole.arrays["y"])


def test_a_past_that_nobody_has_is_cut_off() -> None:
    values = np.full((2, 10), np.nan)
    values[1, 4:] = 1.0
    frame = Frame.of(SeriesIndex([SeriesKey("a", "x"), SeriesKey("a", "y")]), Window(0, 600, 60), values)
    assert trim(frame).window == Window(240, 600, 60)
    nothing = Frame.unknown(frame.index, frame.window)
    assert len(trim(nothing).window) == 1


class Counting(ListCollector):
    """Remembers which windows it was asked for."""

    def __init__(self, samples: dict[SeriesKey, dict[int, float]]) -> None:
        super().__init__(samples)
        self.asked: list[tuple[int, int, int]] = []

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        self.asked.append((window.start, window.end, len(index)))
        return super().collect(index, window)


def test_a_backfill_that_was_interrupted_goes_on_where_it_stopped(tmp_path: Path) -> None:
    old, new = SeriesKey("a", "x"), SeriesKey("b", "x")
    source = Counting({old: dict.fromkeys(range(0, 3 * DAY, HOUR), 1.0)})
    intake = Intake([Source(name="s", collector=source)], {})
    window = Window(0, 3 * DAY, HOUR)
    done: list[int] = []
    with History(tmp_path) as history:

        def fill(stop_after: int) -> None:
            index = intake.discover()
            begun = len(source.asked)
            backfill(
                intake,
                history,
                "web",
                index,
                window,
                progress=lambda place, _total: done.append(place),
                stopped=lambda: len(source.asked) - begun >= stop_after,
            )

        fill(1)
        assert source.asked == [(0, DAY, 1)]
        fill(99)
        assert source.asked[1:] == [(DAY, 2 * DAY, 1), (2 * DAY, 3 * DAY, 1)]
        assert np.isfinite(history.read("web", window).values).all()
        source.samples[new] = dict.fromkeys(range(0, 3 * DAY, HOUR), 2.0)
        fill(99)  # a new component brings its own past, and only that is read
        assert [count for _, _, count in source.asked[3:]] == [1, 1, 1]
        assert np.isfinite(history.read("web", window).values).all()
