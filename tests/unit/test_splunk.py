"""Splunk → frames, over real sockets: what is read, how it is asked, and what an answer is worth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.splunk import Splunk, SplunkSettings
from tests.splunk_fake import Fake
from tests.splunk_served import Answer
from tests.splunk_spl import Samples
from tocsin.errors import ConfigError, PermanentError
from tocsin.model import Aggregate, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Noting, RemoteCollector, Surroundings
from tocsin.timegrid import Calendar

NOON = 1_790_812_800
WINDOW = Window(NOON, NOON + 300, 60)


@pytest.fixture
def fake() -> Fake:
    made = Fake()
    made.now, made.states = NOON + 600, ["DONE"]
    for minute in range(5):
        for place, host in enumerate(("web1", "web2", "db1")):
            for second in (0, 30):
                made.samples.point(
                    NOON + 60 * minute + second, "cpu.util", 10.0 * place + minute + second / 30, host=host, env="prod"
                )
            made.samples.point(NOON + 60 * minute, "net.bytes", 1000 * minute, host=host, env="prod")
        made.samples.event(NOON + 60 * minute + 5, "GET /a", host="web1", sourcetype="access", status="500", ms=str(100 + minute))
        made.samples.event(NOON + 60 * minute + 6, "GET /b", host="web1", sourcetype="access", status="200", ms="50")
    made.samples.event(NOON + 70, "GET /c", host="web2", sourcetype="access", status="404", ms="5")
    return made


@pytest.fixture
def port(fake: Fake) -> Iterator[int]:
    with fake.running() as port:
        yield port


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", "good-token")
    monkeypatch.setenv("SPLUNK_PASSWORD", "good-password")


@pytest.fixture
def made(port: int) -> Iterator[Any]:
    """Makes collectors, and closes them in the end."""
    opened: list[Splunk] = []

    def make(metrics: dict[str, Metric] | None = None, *, span: int = 60, clock: Any = time.time, **written: Any) -> Splunk:
        around = Surroundings(
            component_type="web", calendar=Calendar("Europe/Paris"), span=span, metrics=metrics or {}, folder=Path()
        )
        given = {"host": "127.0.0.1", "port": port, "scheme": "http", "auth": {"token": "env:SPLUNK_TOKEN"}} | written
        given["limits"] = {"per_second": 100} | given.get("limits", {})
        collector = Splunk(SplunkSettings.model_validate(given), around, clock=clock)
        opened.append(collector)
        return collector

    yield make
    for collector in opened:
        collector.close()


CPU = {"index": "em_metrics", "fields": {"cpu": "cpu.util"}}


def index_of(*pairs: str) -> SeriesIndex:
    return SeriesIndex(SeriesKey(*pair.split("|" if "|" in pair else "/")) for pair in pairs)


def test_metrics_are_averaged_there_for_all_components_in_one_search(made: Any, fake: Fake) -> None:
    collector = made(fields={"cpu": "cpu.util", "net": "net.bytes"}, index="em_metrics")
    frame = collector.collect(index_of("web1/cpu", "web1/net", "web2/cpu"), WINDOW)
    np.testing.assert_allclose(frame.values[0], np.arange(5) + 0.5)
    np.testing.assert_allclose(frame.values[1], 1000.0 * np.arange(5))
    np.testing.assert_allclose(frame.values[2], 10.5 + np.arange(5))
    assert frame.known.all()
    assert len(fake.jobs) == 1
    assert fake.left() == []
    assert isinstance(collector, RemoteCollector)


def test_the_window_is_half_open(made: Any, fake: Fake) -> None:
    made(**CPU).collect(index_of("web1/cpu"), Window(NOON + 60, NOON + 120, 60))
    asked = next(asked for asked in fake.asked if "search" in asked.form)
    assert (asked.form["earliest_time"], asked.form["latest_time"]) == (str(NOON + 60), str(NOON + 120))


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [("mean", 1.5), ("sum", 3.0), ("min", 1.0), ("max", 2.0), ("last", 2.0), ("count", 2.0), ("p95", 2.0), ("p50", 1.0)],
)
def test_every_aggregate_is_computed_there(made: Any, aggregate: str, value: float) -> None:
    collector = made({"cpu": Metric(name="cpu", aggregate=Aggregate(aggregate))}, **CPU)
    frame = collector.collect(index_of("web1/cpu"), Window(NOON + 60, NOON + 120, 60))
    assert frame.values.tolist() == [[value]]


def test_a_counter_is_read_as_it_stands_at_the_end_of_the_bucket(made: Any, fake: Fake) -> None:
    collector = made({"cpu": Metric(name="cpu", counter=True)}, **CPU)
    assert collector.collect(index_of("web1/cpu"), Window(NOON, NOON + 60, 60)).values.tolist() == [[1.0]]
    assert 'latest("cpu.util")' in next(iter(fake.jobs.values())).search


def test_events_are_counted_and_averaged_by_fields_found_at_search_time(made: Any) -> None:
    metrics = {
        "requests": Metric(name="requests", aggregate=Aggregate.COUNT),
        "errors": Metric(name="errors", aggregate=Aggregate.COUNT),
        "ms": Metric(name="ms"),
    }
    collector = made(
        metrics,
        kind="events",
        index="web",
        sourcetype="access",
        filter={"status": ["200", "500", 404]},
        search='"GET" NOT /zzz',
        fields={"requests": "*", "errors": "status>=500", "ms": "ms"},
    )
    index = index_of("web1/errors", "web1/ms", "web1/requests", "web2/errors", "web2/ms", "web2/requests")
    frame = collector.collect(index, WINDOW)
    assert frame.values[0].tolist() == [1, 1, 1, 1, 1]
    np.testing.assert_allclose(frame.values[1], 75 + np.arange(5) / 2)
    assert frame.values[2].tolist() == [2, 2, 2, 2, 2]
    assert frame.values[3].tolist() == [0, 0, 0, 0, 0], "what was counted and not seen is zero"
    np.testing.assert_array_equal(frame.values[4], [np.nan, 5, np.nan, np.nan, np.nan])
    assert frame.values[5].tolist() == [0, 1, 0, 0, 0]
    assert frame.known.all()


def test_events_are_counted_from_the_index_alone(made: Any, fake: Fake) -> None:
    collector = made({"n": Metric(name="n", aggregate=Aggregate.COUNT)}, kind="tstats", index="web", fields={"n": "*"})
    frame = collector.collect(index_of("web1/n", "web2/n"), WINDOW)
    assert frame.values.tolist() == [[2, 2, 2, 2, 2], [0, 1, 0, 0, 0]]
    assert next(iter(fake.jobs.values())).search.startswith("| tstats ")


def test_an_index_in_which_nothing_at_all_can_be_seen_is_no_count_of_zero(made: Any, fake: Fake) -> None:
    collector = made({"n": Metric(name="n", aggregate=Aggregate.COUNT)}, kind="tstats", index="web", fields={"n": "*"})
    later = Window(NOON + 1200, NOON + 1260, 60)
    frame = collector.collect(index_of("web1/n"), later)
    assert np.isnan(frame.values).all()
    assert frame.known.all()
    fake.samples.event(NOON + 1210, host="web9", sourcetype="other")
    filtered = made(
        {"n": Metric(name="n", aggregate=Aggregate.COUNT)}, kind="events", index="web", sourcetype="access", fields={"n": "*"}
    )
    assert filtered.collect(index_of("web1/n"), later).values.tolist() == [[0.0]]


def test_a_saved_search_is_run_over_our_window(made: Any, fake: Fake) -> None:
    fake.saved["cpu by host"] = '| mstats avg("cpu.util") AS load WHERE index=em_metrics BY host span=60s'
    collector = made(kind="saved", saved="cpu by host", fields={"cpu": "load"})
    frame = collector.collect(index_of("web1/cpu"), WINDOW)
    np.testing.assert_allclose(frame.values[0], np.arange(5) + 0.5)
    assert frame.known.all()
    assert fake.left() == []
    assert collector.reach() == (NOON, NOON + 240)
    assert set(collector.discover()) == set(index_of("db1/cpu", "web1/cpu", "web2/cpu"))


def test_a_saved_search_on_another_grid_is_not_known(made: Any, fake: Fake) -> None:
    fake.saved["odd"] = '| mstats avg("cpu.util") AS load WHERE index=em_metrics BY host span=30s'
    collector = made(kind="saved", saved="odd", fields={"cpu": "load"})
    frame = collector.collect(index_of("web1/cpu"), WINDOW)
    assert not frame.known.any()
    assert np.isnan(frame.values).all()
    assert "whole buckets" in collector.manners.state.reason


def test_series_are_discovered_by_what_was_seen_lately(made: Any) -> None:
    collector = made(fields={"cpu": "cpu.util", "gone": "cpu.gone"}, index="em_metrics")
    assert collector.discover() == tuple(index_of("db1/cpu", "web1/cpu", "web2/cpu"))
    assert [problem for problem in collector.check() if "metrics.gone" in problem]


def test_without_named_metrics_all_of_an_index_are_read(made: Any) -> None:
    collector = made(index="em_metrics", include=["web*"])
    assert collector.discover() == tuple(index_of("web1/cpu.util", "web1/net.bytes", "web2/cpu.util", "web2/net.bytes"))
    frame = collector.collect(index_of("web1/cpu.util", "web2/net.bytes"), WINDOW)
    np.testing.assert_allclose(frame.values, [np.arange(5) + 0.5, 1000 * np.arange(5)])


def test_components_are_chosen_by_name(made: Any, fake: Fake) -> None:
    collector = made(**CPU, include=["web?", "db*"], exclude=["web2"])
    assert collector.discover() == tuple(index_of("db1/cpu", "web1/cpu"))
    assert '(host="web*" OR host="db*")' in next(iter(fake.jobs.values())).search


def test_several_fields_make_a_component_together(made: Any, fake: Fake) -> None:
    for name, value in (("eth0", 1.0), ("eth1", 2.0)):
        fake.samples.point(NOON, "if.octets", value, host="sw1", interface=name)
    collector = made(fields={"octets": "if.octets"}, index="em_metrics", component=["host", "interface"])
    index = SeriesIndex(collector.discover())
    assert [key.component for key in index] == ["sw1/eth0", "sw1/eth1"]
    assert collector.collect(index, Window(NOON, NOON + 60, 60)).values.tolist() == [[1.0], [2.0]]


def test_a_field_of_which_a_host_has_several_splits_a_metric(made: Any, fake: Fake) -> None:
    for mount, value in (("/", 40.0), ("/var", 90.0)):
        fake.samples.point(NOON, "df.used", value, host="web1", mount=mount)
    collector = made(fields={"disk.used": "df.used", "cpu": "cpu.util"}, index="em_metrics", by={"disk.used": "mount"})
    index = SeriesIndex(collector.discover())
    assert [key.metric for key in index if key.component == "web1"] == ["cpu", "disk.used[/]", "disk.used[/var]"]
    frame = collector.collect(index, Window(NOON, NOON + 60, 60))
    assert frame.values[[index.rows[SeriesKey("web1", f"disk.used[{mount}]")] for mount in ("/", "/var")]].tolist() == [
        [40.0],
        [90.0],
    ]


def test_the_reach_is_where_the_data_begin_and_end(made: Any) -> None:
    assert made(**CPU).reach() == (NOON, NOON + 240)
    counted = {"n": Metric(name="n", aggregate=Aggregate.COUNT)}
    assert made(counted, kind="tstats", index="web", fields={"n": "*"}).reach() == (NOON + 5, NOON + 246)
    assert made(index="nothing", fields={"cpu": "cpu.util"}).reach() is None


def test_the_lag_is_read_from_when_events_were_indexed(made: Any, fake: Fake) -> None:
    for second in range(300):
        fake.samples.event(NOON + second, host=f"h{second % 60}", index="late", indexed=NOON + second // 60 * 60 + 60 + 17)
    counted = {"n": Metric(name="n", aggregate=Aggregate.COUNT)}
    collector = made(counted, kind="tstats", index="late", fields={"n": "*"}, clock=lambda: NOON + 400.0)
    assert collector.lag() is None
    collector.collect(SeriesIndex(collector.discover()), WINDOW)
    assert collector.lag() == pytest.approx(17, rel=0.12)


def test_what_was_loaded_long_after_it_happened_tells_nothing_about_lateness(made: Any, fake: Fake) -> None:
    for second in range(300):
        fake.samples.event(NOON + second, host=f"h{second % 60}", index="old", indexed=NOON + 30 * 86_400)
    counted = {"n": Metric(name="n", aggregate=Aggregate.COUNT)}
    collector = made(counted, kind="tstats", index="old", fields={"n": "*"}, clock=lambda: NOON + 31 * 86_400.0)
    collector.collect(SeriesIndex(collector.discover()), WINDOW)
    assert collector.lag() is None


def test_long_windows_are_read_in_slices_and_long_answers_in_pages(made: Any, fake: Fake) -> None:
    for minute in range(100):
        for place in range(50):
            fake.samples.point(NOON + 60 * minute, "cpu.util", float(minute), index="big", host=f"h{place:02}")
    limits = {"max_rows": 1000, "page_rows": 300, "per_second": 100}
    collector = made(index="big", fields={"cpu": "cpu.util"}, limits=limits)
    index = SeriesIndex(SeriesKey(f"h{place:02}", "cpu") for place in range(50))
    frame = collector.collect(index, Window(NOON, NOON + 6000, 60))
    np.testing.assert_array_equal(frame.values, np.tile(np.arange(100.0), (50, 1)))
    assert frame.known.all()
    assert len(fake.jobs) == 6
    assert max(len(job.rows) for job in fake.jobs.values()) <= 1000


def test_the_same_numbers_come_from_a_splunk_of_the_old_addresses(made: Any, fake: Fake) -> None:
    fake.version = "8.2.6"
    frame = made(**CPU).collect(index_of("web1/cpu"), WINDOW)
    np.testing.assert_allclose(frame.values[0], np.arange(5) + 0.5)
    assert all("/v2/" not in asked.path for asked in fake.asked)
    assert {asked.method for asked in fake.asked if asked.path.endswith("/results")} == {"GET"}


def test_a_password_serves_where_there_is_no_token(made: Any, fake: Fake) -> None:
    collector = made(**CPU, auth={"username": "tocsin", "password": "env:SPLUNK_PASSWORD"}, owner="nobody", app="search")
    assert collector.collect(index_of("web1/cpu"), WINDOW).known.all()
    assert all(asked.path.startswith("/servicesNS/nobody/search/") for asked in fake.asked[1:])


def test_connections_are_kept(made: Any, fake: Fake) -> None:
    collector = made(**CPU)
    for _ in range(5):
        collector.collect(index_of("web1/cpu"), WINDOW)
    assert collector.session.http.usage.requests > 20
    assert len({asked.client for asked in fake.asked}) <= 2


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"index": "a|b"}, "no name of an index"),
        ({"index": "web", "filter": {"a=b": "x"}}, "no name of a field"),
        ({"index": "web", "filter": {"a": "`m`"}}, "macro"),
        ({"index": "web", "kind": "events", "search": "x | delete", "fields": {"n": "*"}}, "second command"),
        ({"index": "web", "kind": "events", "search": "[search x]", "fields": {"n": "*"}}, "inside a search"),
        ({"index": "web", "kind": "events", "search": "earliest=-1d x", "fields": {"n": "*"}}, "times are ours"),
        ({"index": "web", "kind": "tstats"}, "metrics with names"),
        ({"fields": {"n": "*"}}, "index is required"),
        ({"kind": "saved", "index": "web", "saved": "x"}, "says itself what it reads"),
        ({"index": "web", "auth": {}}, "give a token"),
        ({"index": "web", "auth": {"token": "env:A", "username": "b"}}, "go together"),
        ({"index": "web", "host": "https://splunk"}, "no host name"),
        ({"index": "web", "fields": {"n": "a`b"}}, "no name of a field"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SplunkSettings.model_validate({"host": "splunk", "auth": {"token": "env:A"}} | written)


def test_what_splunk_cannot_compute_is_a_mistake_with_its_place(made: Any) -> None:
    with pytest.raises(ConfigError, match="metrics.n: "):
        made({"n": Metric(name="n")}, index="web", kind="events", fields={"n": "status>=500"})


def test_a_secret_that_is_not_there_is_named_and_not_shown(made: Any) -> None:
    with pytest.raises(PermanentError, match="environment variable NOWHERE is not set"):
        made(**CPU, auth={"token": "env:NOWHERE"}).collect(index_of("web1/cpu"), WINDOW)


def test_a_person_who_asks_is_told_version_rights_quota_values_and_cost(made: Any, fake: Fake) -> None:
    probe = made(**CPU).probe(float(NOON + 300))
    assert probe.version == "Splunk 9.4.1 (enterprise)"
    assert probe.rights == (
        "account: tocsin, roles: tocsin",
        "search: yes",
        "searches at the same time: 3, of which Tocsin uses 1",
    )
    assert probe.lag == 60.0
    assert probe.samples == tuple(
        f"{name} cpu = {value} at 2026-10-01 00:04 UTC" for name, value in (("db1", 24.5), ("web1", 4.5), ("web2", 14.5))
    )
    assert probe.cost.startswith("3 series, 5 buckets: 4 requests, 15 rows, ")
    assert probe.warnings == ()
    assert fake.left() == []


def test_a_person_is_warned_of_what_will_go_wrong(made: Any, fake: Fake) -> None:
    fake.quota, fake.capabilities = 1, ["search", "admin_all_objects"]
    probe = made(**CPU).probe(float(NOON + 5000))
    assert any("leaves nothing of the role's 1 searches" in warning for warning in probe.warnings)
    assert any("may do more than read (admin_all_objects)" in warning for warning in probe.warnings)
    assert any("newest data are 1h 19m old" in warning for warning in probe.warnings)
    fake.fault("authorization|current-context", Answer(403, b"{}", kind="application/json"))
    blind = made(index="nothing", fields={"cpu": "cpu.util"}).probe(float(NOON))
    assert "rights: cannot be read" in blind.rights[0]
    assert any("wrong name, or not visible to this role" in warning for warning in blind.warnings)
    assert (blind.lag, blind.samples, blind.cost) == (None, (), "")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"fields": {"cpu": "cpu.utl"}}, "metrics.cpu: no component has a value of 'cpu.utl'; are component and filter right?"),
        ({"fields": {"cpu": "cpu.util", "net": "net.byts"}}, "metrics.net: no component has a value of 'net.byts'"),
        ({"fields": {"cpu": "cpu.util"}, "component": "hst"}, "component: no value has a field 'hst'"),
        ({"component": "hst"}, "component: no value has a field 'hst'"),
    ],
)
def test_a_person_is_told_which_name_is_wrong(written: dict[str, Any], sentence: str, made: Any) -> None:
    collector = made(index="em_metrics", **written)
    told = f"{collector.session.place}: index em_metrics: {sentence}"
    assert list(collector.probe(float(NOON + 300)).warnings) == [told]
    assert told in collector.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_frame_agrees_with_the_definition_read_slowly(data: st.DataObject, made: Any, fake: Fake) -> None:
    span = data.draw(st.sampled_from([60, 300]))
    hosts = st.sampled_from(["a", "b", "c d", "é", "x/y"])
    numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
    points = data.draw(st.lists(st.tuples(hosts, st.integers(0, 1799), numbers), max_size=60))
    kind, aggregate = data.draw(st.sampled_from(["metrics", "events"])), data.draw(st.sampled_from(Aggregate))
    fake.samples = Samples()
    for host, second, value in points:
        fake.samples.point(NOON + second, "x", value, index="i", host=host)
        fake.samples.event(NOON + second, index="i", host=host, x=str(value))
    fake.samples.event(NOON - 1, index="i", host="a", x="1")
    limits = {"max_rows": 1000, "page_rows": data.draw(st.sampled_from([100, 1000]))}
    collector = made(
        {"m": Metric(name="m", aggregate=aggregate)}, span=span, kind=kind, index="i", fields={"m": "x"}, limits=limits
    )
    index, window = index_of("a|m", "b|m", "c d|m", "é|m", "x/y|m"), Window(NOON, NOON + 1800, span)
    frame = collector.collect(index, window)
    for row, key in enumerate(index):
        for column, start in enumerate(window.starts):
            mine = [(at, value) for host, at, value in points if host == key.component and start <= NOON + at < start + span]
            wanted = slowly(aggregate, mine)
            if wanted is None:
                wanted = 0.0 if aggregate is Aggregate.COUNT and kind == "events" and points else np.nan
            if aggregate is Aggregate.LAST and mine:
                newest = max(at for at, _ in mine)
                assert frame.values[row, column] in [value for at, value in mine if at == newest]
            elif not (np.isnan(wanted) and aggregate is Aggregate.COUNT):
                np.testing.assert_allclose(frame.values[row, column], wanted, rtol=1e-9, atol=1e-6)
    assert frame.known.all()


def slowly(aggregate: Aggregate, samples: list[tuple[int, float]]) -> float | None:
    """The definition; a percentile is the smallest value with at least so many of the samples at or below it."""
    values = sorted(value for _, value in samples)
    if not values:
        return None
    if aggregate.value.startswith("p"):
        return values[-(-int(aggregate.value[1:]) * len(values) // 100) - 1]
    return {
        Aggregate.MEAN: sum(values) / len(values),
        Aggregate.SUM: sum(values),
        Aggregate.MIN: values[0],
        Aggregate.MAX: values[-1],
        Aggregate.COUNT: float(len(values)),
        Aggregate.LAST: 0.0,
    }[aggregate]


def test_what_is_cut_is_said(made: Any) -> None:
    collector = made(**CPU, limits={"max_series": 2})
    assert collector.discover() == tuple(index_of("db1/cpu", "web1/cpu"))
    assert len(collector.notes) == 1
    assert "1 series are left out: raise limits.max_series, or choose with include" in collector.notes[0]
    assert any("1 series are left out" in problem for problem in collector.check())
    assert isinstance(collector, Noting)


def test_more_components_than_one_search_gives_are_told_what_to_do(made: Any, fake: Fake) -> None:
    for place in range(1100):
        fake.samples.point(NOON, "x", 1.0, host=f"h{place}")
    collector = made(index="em_metrics", fields={"x": "x"}, limits={"max_rows": 1000, "page_rows": 1000})
    with pytest.raises(PermanentError, match="1100 rows, more than the 1000 .* choose with filter, include or metrics"):
        collector.discover()
