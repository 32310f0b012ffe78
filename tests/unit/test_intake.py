"""What several sources say becomes one frame, and a source that is down is said so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collectors.manners import Manners, MannersSettings
from tests.fakes import ListCollector
from tests.naive import naive_rates
from tocsin.errors import TransientError
from tocsin.intake import Intake, Source, to_rate
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
    assert not one.returned()
    source.error = TransientError("down")
    one.collect(index, WINDOW)
    one.collect(index, WINDOW)
    assert one.states["source 0"].failures == 2 and not one.returned()
    source.error = None
    one.collect(index, WINDOW)
    assert one.returned() and not one.returned()


def test_what_is_not_known_of_a_far_past_says_nothing_of_today() -> None:
    source = Polite({CPU: {600: 1.0}})
    one = intake(source)
    index = one.discover()
    one.collect(index, WINDOW)
    source.partly = True
    one.collect(index, Window(0, 600, 300), past=True)
    assert one.states["source 0"].kind == "ok" and one.states["source 0"].read_to == 1500
