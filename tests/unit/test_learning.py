"""When to learn, on which part of the past, in which pieces; and going back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ListCollector
from tocsin.backfill import FIRST_PIECE, GIVE_UP, QUICK, SLOW, backfill, days_of, next_length
from tocsin.errors import TransientError
from tocsin.intake import Intake, Source
from tocsin.learning import COMPANY, NEW_EVERY, RETRY, chunks, due, join, trim, without
from tocsin.model import Baseline, Downtime, Frame, Probe, SeriesIndex, SeriesKey, ServiceKey, Window
from tocsin.store.history import History
from tocsin.timegrid import DAY

HOUR = 3600


@pytest.mark.parametrize("unlearnt", [False, True])
@pytest.mark.parametrize(
    ("newest", "last_try", "expected"),
    [
        (None, -1e9, True),  # nothing was ever learnt
        (None, 1000 - RETRY + 1, False),  # but it was tried a moment ago
        (1000 - DAY, -1e9, True),
        (1000 - NEW_EVERY + 1, -1e9, False),
        (1000 - 2 * DAY, 999, False),
    ],
)
def test_a_training_is_due_when_the_last_is_old_and_the_last_try_is_not_fresh(
    newest: float | None, last_try: float, expected: bool, unlearnt: bool
) -> None:
    assert due(newest, last_try, DAY, 1000, unlearnt=unlearnt) is expected


@pytest.mark.parametrize("every", [HOUR, DAY, 7 * DAY])
@given(st.integers(0, 8 * DAY))
def test_what_is_new_waits_six_hours_at_most_to_be_learnt_and_no_longer_than_the_rest(every: int, age: int) -> None:
    assert due(0.0, -1e9, every, age, unlearnt=True) is (age >= min(every, 6 * HOUR))
    assert due(0.0, -1e9, every, age, unlearnt=False) is (age >= every)


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


def test_a_backfill_whose_source_falls_silent_leaves_the_rest_for_the_next_one(tmp_path: Path) -> None:
    key = SeriesKey("a", "x")
    source = Counting({key: dict.fromkeys(range(0, 30 * DAY, HOUR), 1.0)})
    intake = Intake([Source(name="s", collector=source)], {})
    index = intake.discover()
    window = Window(0, 30 * DAY, HOUR)
    with History(tmp_path) as history:

        def fill() -> tuple[int, str]:
            read = backfill(intake, history, "web", index, window, progress=lambda *_: None, stopped=lambda: False)
            return read.done, read.why

        source.error = TransientError("no route to host")
        assert fill() == ((GIVE_UP - 1) * DAY, "no route to host")
        assert len(source.asked) == GIVE_UP
        source.error = None
        assert fill() == (30 * DAY, "")
        assert history.read("web", window).known.all()


def test_a_slow_server_is_asked_for_less_and_a_tick_goes_first(tmp_path: Path) -> None:
    key = SeriesKey("a", "x")
    clock = [0.0]
    waiting = threading.Event()

    class Server(Counting):
        def lag(self) -> float | None:
            return None

        def probe(self, now: float) -> Probe:
            return Probe(version="1")

        def close(self) -> None:
            """Nothing to give back."""

        def collect(self, index: SeriesIndex, window: Window) -> Frame:
            clock[0] += len(window) * 2.0  # two seconds for each hour
            if not waiting.is_set():
                waiting.set()
                tick.start()
                while not intake._turns["s"]._ticks_waiting:
                    time.sleep(0.001)
            return super().collect(index, window)

    source = Server({key: dict.fromkeys(range(0, 2 * DAY, HOUR), 1.0)})
    intake = Intake([Source(name="s", collector=source)], {})
    index = intake.discover()
    live = Window(2 * DAY, 2 * DAY + HOUR, HOUR)
    tick = threading.Thread(target=intake.collect, args=(index, live))
    with History(tmp_path) as history:
        window = Window(0, 2 * DAY, HOUR)
        backfill(intake, history, "web", index, window, progress=lambda *_: None, stopped=lambda: False, clock=lambda: clock[0])
        tick.join()
        assert history.read("web", window).known.all()
    assert source.asked[1] == (live.start, live.end, 1), "the tick waited for one piece only"
    assert all(end - start <= 4 * HOUR for start, end, _ in source.asked)


@given(st.integers(FIRST_PIECE // 2, DAY), st.floats(0, 100))
def test_pieces_of_the_past_grow_while_they_are_quick_and_shrink_when_slow(length: int, took: float) -> None:
    after = next_length(length, took)
    assert FIRST_PIECE // 2 <= after <= DAY
    assert (after > length) == (took < QUICK and length < DAY)
    assert (after < length) == (took > SLOW and length > FIRST_PIECE // 2)


@given(st.integers(0, 3 * DAY), st.integers(1, 400), st.sampled_from([60, 300, 3600, 7200]))
def test_days_tile_a_window(start: int, buckets: int, span: int) -> None:
    window = Window(start // span * span, (start // span + buckets) * span, span)
    days = list(days_of(window))
    assert [day.start for day in days] == [window.start, *(day.end for day in days[:-1])]
    assert days[-1].end == window.end


# --- planned work -------------------------------------------------------------------------------------------------------


def test_what_was_measured_during_planned_work_is_not_learnt_from() -> None:
    keys = [SeriesKey("db1", "cpu"), SeriesKey("db1", "disk used"), SeriesKey("db2", "cpu"), SeriesKey("db3/disk", "used")]
    index, window = SeriesIndex(keys), Window(0, 600, 60)
    frame = Frame.of(index, window, np.ones((4, 10)))
    downtimes = [
        Downtime(id="1", host="db1", start=60, end=121),
        Downtime(id="2", host="db1", service="disk", start=300, end=360),
        Downtime(id="3", host="db3", service="disk", start=0, end=60),
        Downtime(id="4", host="db2", service="Anomaly", start=540, end=9999),
        Downtime(id="5", host="db2", service="other", start=0, end=600),
    ]
    left = without(frame, downtimes, lambda component: ServiceKey(component, "Anomaly"))
    gone = {key: np.flatnonzero(~left.known[row]).tolist() for row, key in enumerate(index)}
    assert gone == {keys[0]: [1, 2], keys[1]: [1, 2, 5], keys[2]: [9], keys[3]: [0]}
    assert np.isnan(left.values[~left.known]).all() and (left.values[left.known] == 1).all()
    assert without(frame, [], lambda component: ServiceKey(component, "")) is frame
