"""What is remembered between ticks is what laying everything out anew would give, and a tick that failed leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.late import merged
from tocsin.memory import Memory
from tocsin.model import Frame, SeriesIndex, SeriesKey, Window
from tocsin.scoring import Evaluation
from tocsin.sight import Sight

SPAN = 60
KEYS = [SeriesKey(component, metric) for component in "abc" for metric in "xy"]


def read(rng: np.random.Generator, index: SeriesIndex, window: Window) -> Frame:
    """Values that are now and then lost, late, other than before or not known."""
    values = np.round(rng.normal(size=(len(index), len(window))))
    known = rng.random(values.shape) < 0.9
    return Frame(
        index=index, window=window, values=np.where(known & (rng.random(values.shape) < 0.8), values, np.nan), known=known
    )


def same(one: Frame, other: Frame) -> None:
    assert one.index == other.index and one.window == other.window
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.known, other.known)


def copied(frame: Frame | None) -> Frame | None:
    if frame is None:
        return None
    return Frame(index=frame.index, window=frame.window, values=frame.values.copy(), known=frame.known.copy())


class Fault(Exception):
    pass


def fail(memory: Memory, fresh: Frame, window: Window, seen: list[int | None]) -> None:
    with memory.taking_in(fresh, window, 4 * SPAN) as (_, late):
        seen.append(late.since(0))
        raise Fault


@given(
    seed=st.integers(0, 2**32 - 1),
    back=st.integers(0, 40),
    ticks=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([4, 6, 6, 6]), st.booleans(), st.integers(0, 30)),
        max_size=20,
    ),
)
def test_ticks_remember_what_laying_everything_out_anew_would_give(
    seed: int, back: int, ticks: list[tuple[int, int, int, bool, int]]
) -> None:
    rng, memory, end = np.random.default_rng(seed), Memory(), 1000 * SPAN
    for buckets, again, series, fails, gap in ticks:
        start = end + (gap if gap > 25 else 0) * SPAN
        window = Window(start - back * SPAN, start + buckets * SPAN, SPAN)
        fresh = read(rng, SeriesIndex(KEYS[:series]), Window(start - min(again, back) * SPAN, window.end, SPAN))
        before = copied(memory.frame)
        wanted, late = merged(before, fresh, window, start)
        if fails:
            with pytest.raises(Fault), memory.taking_in(fresh, window, start):
                raise Fault
        with memory.taking_in(fresh, window, start) as (frame, told):
            same(frame, wanted)
            np.testing.assert_array_equal(told.values, late.values)
            np.testing.assert_array_equal(told.changed, late.changed)
        end = window.end


def test_what_a_tick_could_not_judge_is_late_again_when_it_is_done_again() -> None:
    index, window = SeriesIndex(KEYS[:1]), Window(0, 5 * SPAN, SPAN)
    memory = Memory(Frame.of(index, window, np.array([[1.0, 2.0, np.nan, 4.0, np.nan]])))
    fresh = Frame.of(index, window, np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    for _ in range(2):
        seen: list[int | None] = []
        with pytest.raises(Fault):
            fail(memory, fresh, window, seen)
        assert seen == [2 * SPAN]
    with memory.taking_in(fresh, window, 4 * SPAN) as (frame, late):
        assert late.values.tolist() == [0, 0, 1, 0, 0] and frame.values.tolist() == [[1, 2, 3, 4, 5]]


@given(seed=st.integers(0, 2**32 - 1), buckets=st.integers(0, 8), seen=st.integers(0, 10))
def test_the_last_time_something_was_seen_is_the_end_of_the_last_bucket_that_held_it(seed: int, buckets: int, seen: int) -> None:
    rng, index, window = np.random.default_rng(seed), SeriesIndex(KEYS), Window(5 * SPAN, (5 + buckets) * SPAN, SPAN)
    frame = read(rng, index, window)
    before = Sight.nothing(index)
    before = Sight(index=index, data=before.data + seen * SPAN, answer=before.answer, judged=before.judged, until=0)
    after = before.after(frame, Evaluation(scores={}, fused={}))
    for row in range(len(index)):
        held = [column for column in range(buckets) if np.isfinite(frame.values[row, column])]
        told = [column for column in range(buckets) if frame.known[row, column]]
        assert after.data[row] == max([seen * SPAN, *((6 + column) * SPAN for column in held)])
        assert after.answer[row] == max([0, *((6 + column) * SPAN for column in told)])
    assert not after.judged.any()
