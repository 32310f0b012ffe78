"""What Centreon's checks say of buckets, how its metrics are called, and when a poller is blind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerting.words import LANGUAGES
from collectors.centreon.checks import combine, settle
from collectors.centreon.feeding import DEAD, Feed, lost
from collectors.centreon.naming import Names, globs, instance_of
from collectors.centreon.reading import stands_for
from collectors.centreon.settings import CentreonSettings
from collectors.centreon.supervision import SupervisionSettings
from tests.naive import checks_in_buckets
from tocsin.centreon.people import Planned, in_effect, is_ours
from tocsin.centreon.storage import Poller, StoredMetric, like, threshold, walks
from tocsin.model import Aggregate, SeriesKey, Window
from tocsin.thresholds import parse_range

DATABASE = {"host": "central", "user": "tocsin", "password": "env:X"}
START = 1_772_323_200


def metric(ident: int, **known: object) -> StoredMetric:
    own = {
        "host": f"srv-{ident}",
        "service": "Cpu",
        "name": "cpu",
        "host_id": ident,
        "service_id": ident,
        "poller": 1,
        "interval": 300,
    }
    return StoredMetric(id=ident, **{**own, **known})  # type: ignore[arg-type]


# --- checks and buckets ---------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.integers(-50, 50).map(float), st.sampled_from([math.nan, 3.4028234e38, -3.4028234e38, 3e38]))
CHECKS = st.lists(st.tuples(st.integers(-700, 3000), VALUES), max_size=25)


@settings(max_examples=150, deadline=None)
@given(
    series=st.lists(CHECKS, min_size=1, max_size=4),
    span=st.sampled_from([60, 300, 900]),
    stands=st.integers(0, 800),
    aggregate=st.sampled_from(list(Aggregate)),
)
def test_buckets_agree_with_their_definition(
    series: Sequence[Sequence[tuple[int, float]]], span: int, stands: int, aggregate: Aggregate
) -> None:
    window = Window(START, START + 1800, span)
    flat = [(row, START + when, value) for row, checks in enumerate(series) for when, value in checks]
    places, times, values = (
        (np.array(column) for column in zip(*flat, strict=True)) if flat else (np.zeros(0, int),) * 2 + (np.zeros(0),)
    )
    got = settle(
        places.astype(np.int64),
        times.astype(np.int64),
        values.astype(float),
        rows=len(series),
        window=window,
        aggregate=aggregate,
        stands=np.full(len(series), stands),
    )
    wanted = [
        checks_in_buckets([(START + when, value) for when, value in checks], window, aggregate, stands) for checks in series
    ]
    np.testing.assert_allclose(got, np.array(wanted), rtol=1e-12)


def one_series(checks: Sequence[tuple[int, float]], span: int, stands: int, length: int = 1800) -> list[float]:
    times, values = (np.array(column, float) for column in zip(*checks, strict=True))
    window = Window(START, START + length, span)
    found = settle(
        np.zeros(len(times), np.int64),
        (START + times).astype(np.int64),
        values,
        rows=1,
        window=window,
        aggregate=Aggregate.MEAN,
        stands=np.array([stands]),
    )
    return [float(value) for value in found[0]]


def test_a_check_every_five_minutes_is_no_silence_in_buckets_of_one() -> None:
    found = one_series([(10, 1.0), (310, 2.0)], span=60, stands=450, length=600)
    assert found == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]


def test_silence_begins_when_the_next_check_is_half_an_interval_late() -> None:
    found = one_series([(0, 1.0)], span=60, stands=450, length=600)
    assert found[:8] == [1.0] * 8
    assert np.isnan(found[8:]).all()


def test_a_check_a_second_late_leaves_no_hole() -> None:
    assert one_series([(299, 1.0), (601, 2.0), (899, 3.0)], span=300, stands=450, length=900) == [1.0, 1.0, 2.5]


def test_a_plugin_that_gave_no_value_ends_what_stood() -> None:
    assert one_series([(0, 1.0), (300, 3.4e38)], span=60, stands=450, length=600)[:5] == [1.0] * 5
    assert np.isnan(one_series([(0, 1.0), (300, 3.4e38)], span=60, stands=450, length=600)[5:]).all()


def test_a_counter_never_stands_still() -> None:
    assert stands_for(metric(1), Aggregate.LAST, counter=True, valid_for="auto") == 0
    assert stands_for(metric(1), Aggregate.SUM, counter=False, valid_for="auto") == 0
    assert stands_for(metric(1), Aggregate.MAX, counter=False, valid_for="auto") == 450
    assert stands_for(metric(1), Aggregate.MAX, counter=False, valid_for=60) == 60


@pytest.mark.parametrize(
    ("aggregate", "wanted"),
    [
        (Aggregate.MEAN, [2.0, 5.0]),
        (Aggregate.MAX, [3.0, 5.0]),
        (Aggregate.MIN, [1.0, 5.0]),
        (Aggregate.SUM, [4.0, 5.0]),
        (Aggregate.LAST, [1.0, 5.0]),
    ],
)
def test_several_series_of_one_name_are_combined(aggregate: Aggregate, wanted: list[float]) -> None:
    parts = np.array([[1.0, np.nan], [7.0, 7.0], [3.0, 5.0]])
    found = combine(parts, np.array([1, 0, 1]), 3, aggregate)
    np.testing.assert_array_equal(found[1], wanted)
    np.testing.assert_array_equal(found[0], [7.0, 7.0])
    assert np.isnan(found[2]).all()


# --- names ------------------------------------------------------------------------------------------------------------------


def names(**given: object) -> Names:
    return Names(CentreonSettings.model_validate({"database": DATABASE, **given}))


@pytest.mark.parametrize(
    ("component", "wanted"),
    [
        ("host", SeriesKey("srv-1", "Disk-/ /var#storage.space.usage.bytes")),
        ("host/service", SeriesKey("srv-1/Disk-/", "/var#storage.space.usage.bytes")),
        ("host/instance", SeriesKey("srv-1//var", "storage.space.usage.bytes")),
    ],
)
def test_a_component_is_a_host_a_service_or_an_instance(component: str, wanted: SeriesKey) -> None:
    assert names(component=component).key("srv-1", "Disk-/", "/var#storage.space.usage.bytes") == wanted


def test_named_metrics_are_called_by_their_names_and_others_are_left_out() -> None:
    some = names(fields={"cpu": "cpu.utilization.percentage", "disk": "*#storage.space.usage.bytes", "load": "Load load1"})
    assert some.key("a", "Cpu", "cpu.utilization.percentage") == SeriesKey("a", "cpu")
    assert some.key("a", "Disk", "/#storage.space.usage.bytes") == SeriesKey("a", "disk")
    assert some.key("a", "Load", "load1") == SeriesKey("a", "load")
    assert some.key("a", "Other", "load1") is None
    assert some.key("a", "Cpu", "CPU.utilization.percentage") is None


def test_an_instance_is_named_by_the_metric_alone() -> None:
    some = names(component="host/instance", fields={"traffic.in": "interface.traffic.in.bitspersecond"})
    assert some.key("sw-1", "Traffic", "eth0#interface.traffic.in.bitspersecond") == SeriesKey("sw-1/eth0", "traffic.in")


def test_who_is_picked_is_a_matter_of_globs_in_which_case_counts() -> None:
    some = names(hosts={"include": ["srv-*"], "exclude": ["srv-test-?"]}, services="Cpu", perfdata=["cpu*"])
    assert some.key("srv-1", "Cpu", "cpu") is not None
    for host, service, label in [
        ("srv-test-1", "Cpu", "cpu"),
        ("SRV-1", "Cpu", "cpu"),
        ("srv-1", "cpu", "cpu"),
        ("srv-1", "Cpu", "mem"),
    ]:
        assert some.key(host, service, label) is None


def test_what_cannot_be_a_name_is_left_out() -> None:
    for host in ("a\nb", "", "x" * 300, " ", "a\u202eb"):
        assert names(component="host").key(host, "Cpu", "cpu") is None


def test_only_stars_and_question_marks_are_special() -> None:
    assert globs(["cpu[0]"])("cpu[0]")
    assert not globs(["cpu.x"])("cpuxx")
    assert like("100%_*?|") == "100|%|_%_||"


def test_an_instance_stands_before_the_last_hash() -> None:
    assert instance_of("eth0#interface.traffic") == ("eth0", "interface.traffic")
    assert instance_of("azure~/a#b#c.d") == ("azure~/a#b", "c.d")
    assert instance_of("load1") == ("", "load1")


@pytest.mark.parametrize("wrong", [{}, {"database": DATABASE, "api": {"url": "https://c", "token": "env:X"}}])
def test_there_is_one_door(wrong: dict[str, object]) -> None:
    for shape in (CentreonSettings, SupervisionSettings):
        with pytest.raises(ValidationError, match="database or api"):
            shape.model_validate(wrong)


def test_only_the_database_knows_what_each_check_said() -> None:
    with pytest.raises(ValidationError, match="only the database"):
        CentreonSettings.model_validate({"api": {"url": "https://c", "token": "env:X"}, "states": True})


@pytest.mark.parametrize("wrong", [{"socket": "/run/s"}, {"host": ""}, {"tls": "on"}, {"password": "secret1"}])
def test_a_way_into_the_database_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        CentreonSettings.model_validate({"database": {**DATABASE, **wrong}})
    assert "secret1" not in str(caught.value.errors(include_input=False))


# --- pollers ----------------------------------------------------------------------------------------------------------------

WINDOW = Window(START, START + 3600, 300)


def test_an_engine_that_is_stopped_makes_the_time_since_unknown() -> None:
    blind, why = lost(Poller(id=1, name="Paris", running=False, last_alive=START + 1000), WINDOW, START + 3600)
    assert blind.tolist() == [False] * 3 + [True] * 9
    assert "poller Paris is stopped" in why


def test_an_engine_that_is_heard_of_is_believed() -> None:
    alive = Poller(id=1, name="Paris", running=True, last_alive=START + 3590)
    assert not lost(alive, WINDOW, START + 3600)[0].any()
    assert lost(alive, WINDOW, START + 3590 + DEAD + 1)[1].startswith("the engine of poller Paris has lost contact")
    assert not lost(None, WINDOW, START)[0].any()


def test_when_nothing_of_a_poller_arrives_its_hosts_are_not_silent() -> None:
    feed = Feed.of([metric(ident) for ident in range(1, 21)])
    times = np.concatenate([START + np.arange(-600, 1200, 300) + offset for offset in range(20)])
    quiet = feed.quiet(1, times, WINDOW)
    assert quiet.tolist() == [False] * 5 + [True] * 7


def test_a_few_services_are_too_few_to_say_so() -> None:
    feed = Feed.of([metric(ident) for ident in range(1, 6)])
    assert not feed.quiet(1, np.zeros(0, np.int64), WINDOW).any()
    one_host = Feed.of([metric(ident, host_id=1, service_id=1) for ident in range(1, 50)])
    assert one_host.scouts == {}


@pytest.mark.parametrize(
    ("asked", "there", "walk"), [(20_000, 20_000, True), (500, 20_000, False), (2_000, 20_000, True), (1, 9, True)]
)
def test_many_metrics_of_a_day_are_walked_and_few_are_looked_up(asked: int, there: int, walk: bool) -> None:
    assert walks(asked, there) is walk


# --- what people did ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (100, 200)),
        ({"started": True, "really_started": 105}, (105, 200)),
        ({"started": True, "really_started": 105, "really_ended": 150}, (105, 150)),
        ({"started": True, "cancelled": True, "deleted": 140}, (100, 140)),
        ({"cancelled": True}, None),
        ({"fixed": False}, None),
        ({"fixed": False, "started": True, "really_started": 190}, (190, 240)),
        ({"end": 100}, None),
    ],
)
def test_a_downtime_counts_for_as_long_as_it_was_in_effect(given: dict[str, object], wanted: tuple[int, int] | None) -> None:
    own = {"start": 100, "end": 200, "duration": 50, "fixed": True, "started": False, "cancelled": False}
    assert in_effect(Planned(**{**own, **given})) == wanted  # type: ignore[arg-type]


def test_our_own_words_are_no_closing_by_hand() -> None:
    for words in LANGUAGES.values():
        for text in (words.within, words.within_one, words.recovered, words.would_be, words.held, words.withdrawn, words.static):
            filled = text.format_map(
                dict.fromkeys(("some", "when", "lasted", "code", "stage", "why", "metric", "value", "limit"), "7")
            )
            assert is_ours(f"checkout latency 840 ms, {filled}"), filled
    for text in ("closed by jdoe", "OK", "fixed, disk cleaned", "réglé", ""):
        assert not is_ours(text)


# --- thresholds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "inside", "written"),
    [
        (None, None, False, ""),
        (0.0, 80.0, False, "80"),
        (None, 80.0, False, "80"),
        (10.0, 3.4028234e38, False, "10:"),
        (10.0, None, False, "10:"),
        (-3.4028234e38, 10.0, False, "~:10"),
        (10.0, 20.0, False, "10:20"),
        (10.0, 20.0, True, "@10:20"),
        (0.0, 0.0, False, "0"),
        (float(np.float32(0.1)), float(np.float32(0.3)), False, "0.1:0.3"),
        (-3.4028234e38, 3.4028234e38, False, ""),
        (-20.0, -10.0, False, "-20:-10"),
        (None, -10.0, False, "~:-10"),
        (0.0, 10.0, True, "@10"),
    ],
)
def test_stored_thresholds_are_written_as_plugins_do(low: float | None, high: float | None, inside: bool, written: str) -> None:
    assert threshold(low, high, inside=inside) == written
    if written:
        parse_range(written)
