"""What several sources say becomes one frame, and a source that is down is said so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.manners import Manners, MannersSettings
from tests.fakes import ListCollector
from tests.naive import naive_rates
from tocsin.errors import TransientError
from tocsin.intake import Intake, Source, SourceState, to_rate
from tocsin.model import Frame, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Probe

WINDOW = Window(600, 1500, 300)
CPU, MEM, BYTES = SeriesKey("db1", "cpu"), SeriesKey("db1", "mem"), SeriesKey("db1", "bytes")


def intake(*collectors: ListCollector, metrics: Sequence[Metric] = ()) -> Intake:
    sources = [Source(name=f"source {place}", collector=collector) for place, collector in enumerate(collectors)]
    return Intake(sources, {metric.name: metric for metric in metrics})


def test_two_sources_fill_one_frame() -> None:
    both = intake(ListCollector({CPU: {600: 1.0, 900: 2.0}}), ListCollector({MEM: {1200: 7.0}}))
    frame = both.collect(both.discover(), WINDOW)
    assert list(frame.index) == [CPU, MEM]
    np.testing.assert_array_equal(frame.values, [[1.0, 2.0, np.nan], [np.nan, np.nan, 7.0]])
    assert frame.known.all()


def test_a_source_that_fails_is_not_known_and_leaves_the_others_alone() -> None:
    broken = ListCollector({MEM: {600: 7.0}})
    both = intake(ListCollector({CPU: {600: 1.0}}), broken)
    index = both.discover()
    broken.error = TransientError("refused")
    frame = both.collect(index, WINDOW)
    assert frame.known[index.rows[CPU]].all() and not frame.known[index.rows[MEM]].any()
    assert both.states["source 1"].reason == "refused" and both.states["source 0"].up
    broken.error = None
    assert both.collect(index, WINDOW).known.all() and both.states["source 1"].up


def test_a_source_that_cannot_be_discovered_keeps_the_series_it_had() -> None:
    source = ListCollector({CPU: {600: 1.0}})
    one = intake(source)
    assert list(one.discover()) == [CPU]
    source.error = TransientError("down")
    assert list(one.discover()) == [CPU]


def test_a_series_offered_twice_belongs_to_the_source_named_first() -> None:
    both = intake(ListCollector({CPU: {600: 1.0}}), ListCollector({CPU: {600: 2.0}}))
    assert both.collect(both.discover(), WINDOW).values[0, 0] == 1.0


def test_a_series_that_vanished_from_its_source_is_no_data_not_unknown() -> None:
    one = intake(ListCollector({CPU: {600: 1.0}}))
    one.discover()
    frame = one.collect(SeriesIndex([CPU, MEM]), WINDOW)
    assert frame.known.all() and np.isnan(frame.values[1]).all()


def test_infinite_values_are_no_values() -> None:
    one = intake(ListCollector({CPU: {600: float("inf"), 900: 1.0}}))
    assert np.isnan(one.collect(one.discover(), WINDOW).values[0, 0])


def test_a_counter_becomes_a_rate_and_a_reset_is_no_spike() -> None:
    counter = Metric(name="bytes", counter=True)
    one = intake(ListCollector({BYTES: {300: 1_000.0, 600: 1_300.0, 900: 30.0}}), metrics=[counter])
    frame = one.collect(one.discover(), WINDOW)
    assert frame.window == WINDOW
    np.testing.assert_allclose(frame.values[0], [1.0, 0.1, np.nan])


@given(st.lists(st.one_of(st.none(), st.integers(0, 1000)), min_size=2, max_size=30))
def test_rates_agree_with_the_plain_definition(samples: list[int | None]) -> None:
    window = Window(0, 60 * len(samples), 60)
    values = np.array([[np.nan if sample is None else float(sample) for sample in samples]] * 2)
    frame = Frame.of(SeriesIndex([SeriesKey("a", "counter"), SeriesKey("a", "gauge")]), window, values)
    rates = to_rate(frame, np.array([True, False]))
    np.testing.assert_allclose(rates.values[0], naive_rates(values[0], 60))
    np.testing.assert_array_equal(rates.values[1], values[1, 1:])
    assert rates.values[0][np.isfinite(rates.values[0])].min(initial=0.0) >= 0.0


class Polite(ListCollector):
    """A collector with a gate, that leaves something out."""

    def __init__(self, samples: dict[SeriesKey, dict[int, float]]) -> None:
        super().__init__(samples)
        self.manners = Manners(MannersSettings())
        self.partly = False
        self.closed = False

    @property
    def notes(self) -> list[str]:
        return ["3 series are cut"]

    def lag(self) -> float | None:
        return 42.0

    def probe(self, now: float) -> Probe:
        return Probe(version="1")

    def close(self) -> None:
        self.closed = True

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        frame = super().collect(index, window)
        if self.partly:
            frame.known[:, -1] = False
        return frame


def test_a_source_that_answers_in_part_is_degraded_and_says_why() -> None:
    source = Polite({CPU: {600: 1.0, 900: 2.0, 1200: 3.0}})
    one = intake(source)
    index = one.discover()
    one.collect(index, WINDOW)
    assert one.states["source 0"].kind == "ok" and one.states["source 0"].read_to == 1500
    source.partly = True
    one.collect(index, WINDOW)
    state = one.states["source 0"]
    assert (state.kind, state.up, state.reason) == ("degraded", True, "33% of what was asked is not known")
    source.partly = False
    source.manners.partial("1 of 5 shards failed")
    one.collect(index, WINDOW)
    assert one.states["source 0"].reason == "1 of 5 shards failed"
    assert one.notes() == ["3 series are cut"] and one.lag() == 42.0
    one.close()
    assert source.closed


def test_a_source_that_came_back_is_told_once() -> None:
    source = ListCollector({CPU: {600: 1.0}})
    one = intake(source)
    index = one.discover()
    one.collect(index, Window(300, 600, 300))
    assert one.missed() is None
    source.error = TransientError("down")
    one.collect(index, WINDOW)
    one.collect(index, WINDOW)
    assert one.states["source 0"].failures == 2 and one.missed() is None
    assert one.why() == "source 0: down"
    source.error = None
    one.collect(index, WINDOW)
    assert one.missed() == 600 and one.missed() is None
    assert one.why() == ""


def test_what_is_not_known_of_a_far_past_says_nothing_of_today() -> None:
    source = Polite({CPU: {600: 1.0}})
    one = intake(source)
    index = one.discover()
    one.collect(index, WINDOW)
    source.partly = True
    one.collect(index, Window(0, 600, 300), past=True)
    assert one.states["source 0"].kind == "ok" and one.states["source 0"].read_to == 1500


@pytest.mark.parametrize("error", [ValueError("zip() argument 2 is shorter"), KeyError("ends"), MemoryError()])
def test_a_fault_in_one_collector_makes_it_down_and_stops_nobody(error: Exception) -> None:
    broken = ListCollector({MEM: {600: 7.0}})
    both = intake(broken, ListCollector({CPU: {600: 1.0}}))
    index = both.discover()
    broken.error = error
    frame = both.collect(index, WINDOW)
    assert frame.known[index.rows[CPU]].all() and not frame.known[index.rows[MEM]].any()
    assert not both.states["source 0"].up and both.states["source 1"].up
    assert both.states["source 0"].reason == f"{type(error).__name__}: {error}"
    assert both.discover() == index
    broken.error = None
    assert both.collect(index, WINDOW).known.all() and both.states["source 0"].up


class Clumsy(Polite):
    """A collector with a fault in everything it says of itself, and an answer of another size."""

    def check(self) -> Sequence[str]:
        raise ZeroDivisionError("division by zero")

    def lag(self) -> float | None:
        raise ZeroDivisionError("division by zero")

    def example(self, key: SeriesKey) -> str:
        raise ZeroDivisionError("division by zero")

    def close(self) -> None:
        raise ZeroDivisionError("division by zero")

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        return super().collect(index, Window(window.start, window.start + window.span, window.span))


def test_a_fault_in_what_a_collector_says_of_itself_stops_nobody() -> None:
    both = intake(Clumsy({MEM: {600: 7.0}}), Polite({CPU: {600: 1.0}}))
    index = both.discover()
    assert both.check() == ["ZeroDivisionError: division by zero"]
    assert both.lag() == 42.0 and both.example(MEM) == ""
    assert both.collect(index, WINDOW).known.any(axis=1).tolist() == [True, False]
    assert "asked for (1, 3) values" in both.states["source 0"].reason
    both.close()


def test_a_question_about_the_past_that_fails_does_not_make_the_source_down_today() -> None:
    source = ListCollector({CPU: {600: 1.0}})
    one = intake(source)
    index = one.discover()
    one.collect(index, WINDOW)
    source.error = TransientError("that month is on tape")
    assert not one.collect(index, WINDOW, past=True).known.any()
    assert one.states["source 0"].kind == "ok" and one.why(past=True) == "that month is on tape"
    source.error = None
    one.collect(index, WINDOW, past=True)
    assert one.why(past=True) == "" and one.missed() is None


def test_a_source_without_series_is_well_again_once_it_can_be_discovered() -> None:
    source = ListCollector({})
    source.error = TransientError("refused")
    one = intake(source)
    one.discover()
    assert not one.states["source 0"].up
    source.error = None
    one.discover(past=True)
    assert not one.states["source 0"].up, "the tick will see by itself"
    one.discover()
    assert one.states["source 0"] == SourceState(name="source 0")


def test_after_a_restart_nobody_can_tell_what_is_gone_until_every_source_was_discovered() -> None:
    down = ListCollector({MEM: {600: 7.0}})
    down.error = TransientError("refused")
    both = intake(ListCollector({CPU: {600: 1.0}}), down)
    gone = SeriesKey("db0", "cpu")
    both.restore([CPU, MEM, gone], {"source 1": 300})
    index = both.discover()
    assert list(index) == [gone, CPU, MEM] and not both.complete
    assert both.collect(index, WINDOW).known.all(axis=1).tolist() == [False, True, False]
    assert both.why() == "source 1: refused"
    down.error = None
    index = both.discover()
    assert list(index) == [CPU, MEM] and both.complete
    assert both.collect(index, WINDOW).known.all()
    assert both.missed() == 300


def test_a_source_that_loses_all_its_series_at_once_keeps_them_for_a_day_and_it_is_told() -> None:
    source = ListCollector({CPU: {600: 1.0}, MEM: {600: 1.0}})
    one = intake(source, ListCollector({BYTES: {600: 1.0}}))
    index = one.discover(now=0.0)
    samples, source.samples = source.samples, {}
    assert one.discover(now=3600.0) == index
    frame = one.collect(index, WINDOW)
    assert frame.known.all() and np.isnan(frame.values[index.rows[CPU]]).all()
    assert one.notes() == [
        "source 0 has none of its 2 series any more since 1970-01-01 01:00 UTC; they are kept for a day",
    ]
    source.samples = {CPU: samples[CPU]}
    assert list(one.discover(now=7200.0)) == [BYTES, CPU] and not one.notes()
    source.samples = {}
    one.discover(now=10_000.0)
    assert list(one.discover(now=10_000.0 + 86_400)) == [BYTES] and not one.notes()


def test_series_that_are_all_gone_after_a_restart_are_kept_for_a_day_too() -> None:
    one = intake(ListCollector({}), ListCollector({BYTES: {600: 1.0}}))
    one.restore([CPU, BYTES], {})
    assert list(one.discover(now=0.0)) == [BYTES, CPU]
    assert "none of its 1 series" in one.notes()[0]
    assert list(one.discover(now=86_400.0)) == [BYTES]
