"""What is asked of Elasticsearch and OpenSearch, and what becomes of the answers, over a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.elastic import PLUGIN, ElasticCollector, ElasticSettings
from tests.elastic_fake import FakeElastic, forbidden, status
from tests.elastic_servers import KEYWORD, NUMBER, call, fill, small_server
from tests.naive import naive_aggregate
from tocsin.elastic import Auth, Elastic, Server
from tocsin.elastic.client import Reply, flavour_of
from tocsin.errors import PermanentError, TransientError
from tocsin.intake import Intake, Source
from tocsin.model import Aggregate, Frame, Metric, Metrics, SeriesIndex, SeriesKey, Window
from tocsin.ports import RemoteCollector, Surroundings
from tocsin.timegrid import Calendar

SPAN, START = 60, 1_795_200_000
WINDOW = Window(START, START + 10 * SPAN, SPAN)
NOW = WINDOW.end + 5
LONG = {"type": "long"}
FIELDS = {
    "cpu": NUMBER,
    "took": NUMBER,
    "sent": LONG,
    "code": LONG,
    "site": KEYWORD,
    "dataset": KEYWORD,
    "fs": {"properties": {"mount": KEYWORD, "used": NUMBER}},
}
METRICS = Metrics(
    {
        "cpu": Metric(name="cpu"),
        "cpu.max": Metric(name="cpu.max", aggregate=Aggregate.MAX),
        "cpu.last": Metric(name="cpu.last", aggregate=Aggregate.LAST),
        "sent": Metric(name="sent", counter=True, aggregate=Aggregate.LAST),
        "took.p95": Metric(name="took.p95", aggregate=Aggregate.P95),
        "took.sum": Metric(name="took.sum", aggregate=Aggregate.SUM),
        "took.min": Metric(name="took.min", aggregate=Aggregate.MIN),
        "requests": Metric(name="requests", aggregate=Aggregate.COUNT),
        "took.n": Metric(name="took.n", aggregate=Aggregate.COUNT),
        "errors": Metric(name="errors", aggregate=Aggregate.COUNT),
        "errors.took": Metric(name="errors.took", aggregate=Aggregate.MAX),
        "disk.used": Metric(name="disk.used", unit="%"),
    }
)


def park() -> list[dict[str, Any]]:
    """As shippers write it: one document per data set. `web2` is silent for three minutes; `db1` has no requests."""
    found: list[dict[str, Any]] = []
    for bucket, start in enumerate(WINDOW.starts.tolist()):
        for place, host in enumerate(("web1", "web2", "db1")):
            if host == "web2" and 3 <= bucket < 6:
                continue
            base = {"host": {"name": host}, "site": "paris" if place else "lyon"}
            for second in (0, 30):
                at = {"@timestamp": (start + second) * 1000, "event": {"ingested": (start + second + 95) * 1000}}
                cpu = place + bucket / 10 + second / 100
                found.append({**base, **at, "dataset": "cpu", "cpu": cpu, "sent": 1000 * bucket + second})
                for mount in ("/", "/var"):
                    found.append({**base, **at, "dataset": "fs", "fs": {"mount": mount, "used": bucket + len(mount)}})
            for number in range(0 if host == "db1" else 5):
                at = {"@timestamp": (start + number) * 1000}
                code = 500 if host == "web1" and bucket == 4 and number < 2 else 200
                found.append({**base, **at, "dataset": "access", "took": 10.0 * number, "code": code})
    return found


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    with small_server() as server:
        fill(server.url, "metrics-a", park(), FIELDS)
        yield server.url


@pytest.fixture(params=["elasticsearch", "opensearch"])
def fake(behind: str, request: pytest.FixtureRequest) -> Iterator[FakeElastic]:
    with FakeElastic(behind, flavour=request.param) as running:
        yield running


Make = Callable[..., ElasticCollector]


@pytest.fixture
def make(fake: FakeElastic, tmp_path: Path) -> Iterator[Make]:
    made: list[ElasticCollector] = []

    def one(fields: dict[str, str], *, now: float = NOW, **written: Any) -> ElasticCollector:
        limits = {"retries": 0, "per_second": 1000, "page": 100} | written.pop("limits", {})
        settings = ElasticSettings.model_validate(
            {"hosts": fake.url, "index": "metrics-*", "fields": fields, "limits": limits, **written}
        )
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        made.append(ElasticCollector(settings, around, clock=lambda: now))
        return made[-1]

    yield one
    for collector in made:
        collector.close()


def row(frame: Frame, component: str, metric: str) -> list[float]:
    return frame.values[frame.index.rows[SeriesKey(component, metric)]].round(6).tolist()


def everything(collector: ElasticCollector) -> Frame:
    return collector.collect(SeriesIndex(collector.discover()), WINDOW)


# --- values -----------------------------------------------------------------------------------------------------------


def test_each_aggregate_is_made_at_the_source_and_in_one_request(make: Make, fake: FakeElastic) -> None:
    named = {"cpu": "cpu", "cpu.max": "cpu", "cpu.last": "cpu", "sent": "sent"}
    named |= {"took.p95": "took", "took.sum": "took", "took.min": "took", "took.n": "took", "requests": "*"}
    collector = make(named, limits={"page": 5000})
    index = SeriesIndex(collector.discover())
    before = len(fake.searches)
    frame = collector.collect(index, WINDOW)
    assert len(fake.searches) - before == 1
    tenths = np.arange(10) / 10
    np.testing.assert_allclose(row(frame, "web1", "cpu"), tenths + 0.15)
    np.testing.assert_allclose(row(frame, "web1", "cpu.max"), tenths + 0.3)
    np.testing.assert_allclose(row(frame, "web1", "cpu.last"), tenths + 0.3)
    assert row(frame, "web1", "sent") == [1000 * bucket + 30 for bucket in range(10)]
    assert row(frame, "web1", "took.sum") == [100.0] * 10
    assert row(frame, "web1", "took.min") == [0.0] * 10
    assert row(frame, "web1", "took.n") == [5.0] * 10
    assert row(frame, "web1", "requests") == [11.0] * 10
    assert 30 < row(frame, "web1", "took.p95")[0] <= 40
    assert SeriesKey("db1", "took.sum") not in index.rows
    assert isinstance(collector, RemoteCollector)


def test_a_silent_component_has_no_data_but_zero_things_to_count(make: Make) -> None:
    frame = everything(make({"cpu": "cpu", "requests": "*"}))
    assert np.isnan(row(frame, "web2", "cpu")[3:6]).all()
    assert row(frame, "web2", "requests") == [11.0] * 3 + [0.0] * 3 + [11.0] * 4
    assert frame.known.all()


def test_a_document_of_another_data_set_is_no_value(make: Make) -> None:
    named = {"took.sum": "took", "took.min": "took", "took.p95": "took", "cpu.last": "took", "cpu": "cpu"}
    collector = make(named, filter={"host.name": "db1"})
    collector.discover()
    frame = collector.collect(SeriesIndex(SeriesKey("db1", name) for name in named), WINDOW)
    assert not np.isnan(row(frame, "db1", "cpu")).any()
    for name in named.keys() - {"cpu"}:
        assert np.isnan(row(frame, "db1", name)).all()


def test_nothing_is_counted_before_the_component_was_there(make: Make) -> None:
    collector = make({"requests": "*"}, filter={"host.name": "web2"})
    index = SeriesIndex(collector.discover())
    frame = collector.collect(index, Window(START - 5 * SPAN, START + 5 * SPAN, SPAN))
    assert np.isnan(frame.values[0, :5]).all()
    assert frame.values[0, 5:].tolist() == [11.0] * 3 + [0.0] * 2
    never = collector.collect(SeriesIndex([SeriesKey("nobody", "requests")]), WINDOW)
    assert np.isnan(never.values).all()


def test_conditions_of_one_metric_go_into_the_same_request(make: Make, fake: FakeElastic) -> None:
    where = {"errors": {"code": {"gte": 500}}, "errors.took": {"code": {"gte": 500, "lt": 600}}}
    collector = make({"requests": "*", "errors": "*", "errors.took": "took"}, where=where, filter={"dataset": "access"})
    before = len(fake.searches)
    frame = everything(collector)
    assert row(frame, "web1", "requests") == [5.0] * 10
    assert row(frame, "web1", "errors") == [0.0] * 4 + [2.0] + [0.0] * 5
    assert row(frame, "web1", "errors.took")[4] == 10
    assert row(frame, "web2", "errors")[2:6] == [0.0] * 4
    assert len(fake.searches) - before <= 6


def test_what_a_host_has_several_of_are_metrics_of_the_host(make: Make, fake: FakeElastic) -> None:
    collector = make({"cpu": "cpu", "disk.used": "fs.used"}, by={"disk.used": "fs.mount"}, limits={"page": 5000})
    index = SeriesIndex(collector.discover())
    names = {key.metric for key in index if key.component == "web1"}
    assert names == {"cpu", "disk.used[/]", "disk.used[/var]"}
    before = len(fake.searches)
    frame = collector.collect(index, WINDOW)
    assert len(fake.searches) - before == 2
    assert row(frame, "web1", "disk.used[/var]") == [bucket + 4.0 for bucket in range(10)]
    assert METRICS["disk.used[/var]"].unit == "%"


def test_a_component_may_be_made_of_several_fields(make: Make) -> None:
    collector = make({"disk.used": "fs.used"}, component=["host.name", "fs.mount"])
    found = {key.component for key in collector.discover()}
    assert "web1//var" in found
    assert row(everything(collector), "db1//", "disk.used")[0] == 1.0


def test_all_numbers_are_metrics_when_none_is_named(make: Make) -> None:
    collector = make({})
    found = {key.metric for key in collector.discover() if key.component == "web1"}
    assert found == {"cpu", "code", "fs.used", "sent", "took"}
    assert row(everything(collector), "db1", "cpu")[0] == 2.15


# --- which documents and components -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({"filter": {"site": "lyon"}}, {"web1"}),
        ({"filter": {"site": ["lyon", "paris"], "dataset": "cpu"}}, {"web1", "web2", "db1"}),
        ({"filter": {"site": {"not": "lyon"}}}, {"web2", "db1"}),
        ({"filter": {"cpu": {"gte": 2.5}}}, {"db1"}),
        ({"filter": {"sent": {"exists": True}, "host.name": {"not": ["web1", "web2"]}}}, {"db1"}),
        ({"filter": {"sent": {"exists": False}}}, set()),
        ({"query": {"prefix": {"host.name": "web"}}}, {"web1", "web2"}),
        ({"include": ["web*"]}, {"web1", "web2"}),
        ({"include": ["web*", "db?"], "exclude": ["*1"]}, {"web2"}),
        ({"include": ["web[2-9]"]}, {"web2"}),
    ],
)
def test_conditions_choose_documents_and_patterns_choose_components(written: Any, found: set[str], make: Make) -> None:
    assert {key.component for key in make({"cpu": "cpu"}, **written).discover()} == found


def test_new_components_come_and_gone_ones_go(tmp_path: Path) -> None:
    with small_server() as server:
        documents = [{"@timestamp": (START + 60 * n) * 1000, "host": {"name": "old"}, "cpu": 1.0} for n in range(3)]
        fill(server.url, "metrics-a", documents, FIELDS)
        clock = [float(NOW)]
        written = {"hosts": server.url, "index": "metrics-a", "fields": {"cpu": "cpu"}, "lookback": "2h"}
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        collector = ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: clock[0])
        assert [key.component for key in collector.discover()] == ["old"]
        fill(server.url, "metrics-a", [{"@timestamp": (START + 3600) * 1000, "host": {"name": "new"}, "cpu": 1.0}])
        clock[0] = START + 3700
        assert [key.component for key in collector.discover()] == ["new", "old"]
        fill(server.url, "metrics-a", [{"@timestamp": (START + 9000) * 1000, "host": {"name": "new"}, "cpu": 1.0}])
        clock[0] = START + 9100
        assert [key.component for key in collector.discover()] == ["new"]
        collector.close()


def test_what_the_cap_of_series_leaves_out_is_said(make: Make) -> None:
    collector = make({"cpu": "cpu"}, limits={"max_series": 2})
    assert [key.component for key in collector.discover()] == ["db1", "web1"]
    assert collector.notes == ("there are 3 series, only the first 2 are read (limits.max_series)",)
    least = make({"cpu": "cpu", "sent": "sent", "took.p95": "took"}, limits={"max_series": 2})
    assert len(least.discover()) == 2
    assert least.notes == ("there are at least 4 series, only the first 2 are read (limits.max_series)",)


def test_a_document_of_the_future_hides_nothing(tmp_path: Path) -> None:
    with small_server() as server:
        times = (START, START + 60, START + 10**8)
        fill(server.url, "metrics-a", [{"@timestamp": t * 1000, "host": {"name": "a"}, "cpu": 1.0} for t in times], FIELDS)
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        written = {"hosts": server.url, "index": "metrics-a", "fields": {"cpu": "cpu"}}
        collector = ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: NOW)
        assert collector.reach() == (START, START + 60)
        assert len(collector.discover()) == 1
        collector.close()


# --- how late, how far, how dear --------------------------------------------------------------------------------------


def test_lateness_is_read_where_sources_write_it_down(make: Make) -> None:
    collector = make({"cpu": "cpu"}, filter={"dataset": "cpu"})
    assert collector.lag() is None
    collector.discover()
    # Received 95 s after they were made, in buckets that end 30 or 60 s after that.
    lag = collector.lag()
    assert lag is not None
    assert 60 <= lag <= 75


def test_lateness_is_seen_in_buckets_that_grew(tmp_path: Path) -> None:
    with small_server() as server:
        early = [
            {"@timestamp": s * 1000, "host": {"name": f"h{n}"}, "cpu": 1.0} for s in WINDOW.starts.tolist() for n in range(20)
        ]
        fill(server.url, "metrics-a", early, FIELDS)
        clock = [float(WINDOW.end)]
        written = {"hosts": server.url, "index": "metrics-a", "fields": {"cpu": "cpu"}}
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        collector = ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: clock[0])
        index = SeriesIndex([SeriesKey("h1", "cpu")])
        collector.collect(index, WINDOW)
        late = [{"@timestamp": (WINDOW.end - 60) * 1000, "host": {"name": f"h{n}"}, "cpu": 1.0} for n in range(10)]
        fill(server.url, "metrics-a", late)
        clock[0] += 200
        collector.collect(index, WINDOW)
        lag = collector.lag()
        assert lag is not None
        assert 200 <= lag <= 225
        collector.close()


def test_the_number_of_requests_grows_with_pages_only(make: Make, fake: FakeElastic) -> None:
    asked = {}
    for page in (100, 1000):
        collector = make({"cpu": "cpu", "sent": "sent", "took.p95": "took"}, limits={"page": page})
        index = SeriesIndex(collector.discover())
        for part in (index, SeriesIndex(list(index)[:2])):
            before = len(fake.searches)
            collector.collect(part, Window(START - 300, WINDOW.end, SPAN))
            asked[page, len(part)] = len(fake.searches) - before
    assert set(asked.values()) == {1}


def test_a_person_who_asks_sees_version_rights_values_and_cost(make: Make, fake: FakeElastic) -> None:
    told = make({"cpu": "cpu"}).probe(NOW)
    assert told.version == {"elasticsearch": "Elasticsearch 9.3.0", "opensearch": "OpenSearch 3.8.0"}[fake.flavour]
    assert told.rights == ("read: yes", "view_index_metadata: yes")
    assert told.samples[0] == "db1 cpu = 3.05 at 2026-11-20 18:49 UTC"
    assert told.cost.startswith("1 request, ")
    assert "for 3 series and 5 buckets" in told.cost
    assert told.warnings == ()


@pytest.mark.parametrize(
    ("fields", "written", "sentences"),
    [
        ({"cpu": "cpu", "sent": "snet"}, {}, ["metrics.sent: no component has a value of 'snet': the index has no such field"]),
        ({"cpu": "nothing"}, {}, ["metrics.cpu: no component has a value of 'nothing': the index has no such field"]),
        (
            {"cpu": "cpu"},
            {"component": "host.nme"},
            ["component: no document names one in 'host.nme': the index has no such field"],
        ),
        ({"cpu": "cpu"}, {"filter": {"site": "rome"}}, ["no document matches: are index, filter and query right?"]),
        (
            {"cpu": "cpu"},
            {"timestamp": "@tiemstamp"},
            ["timestamp: the index has no field '@tiemstamp'"],
        ),
        (
            {"cpu": "cpu", "took": "took"},
            {"filter": {"dataset": "cpu"}},
            ["metrics.took: no component has a value of 'took'"],
        ),
    ],
)
def test_a_person_is_told_which_name_is_wrong(
    fields: dict[str, str], written: dict[str, Any], sentences: list[str], make: Make, fake: FakeElastic
) -> None:
    told = make(fields, **written).probe(NOW).warnings
    assert list(told) == [f"{fake.url}: index metrics-*: {sentence}" for sentence in sentences]


def test_missing_rights_are_told_one_by_one(make: Make, fake: FakeElastic) -> None:
    collector = make({"cpu": "cpu"}, flavour=fake.flavour)

    def partly(asked: Any) -> Any:
        return status(403, forbidden())(asked) if asked.path == "/" or "_field_caps" in asked.path else None

    fake.always = partly
    told = collector.probe(NOW)
    assert "needs the cluster privilege `monitor`" in told.version
    assert told.rights[0] == "read: yes"
    assert told.rights[1].startswith("view_index_metadata: no (")


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"index": "a/_delete"}, "is no index"),
        ({"index": "_all"}, "is no index"),
        ({"index": "Metrics"}, "is no index"),
        ({"index": ["a", "b c"]}, "is no index"),
        ({"hosts": "es1:9200"}, "expected an address"),
        ({"hosts": "https://me:secret@es1"}, "an address holds no user and no password"),
        ({"hosts": "https://es1:port"}, "port"),
        ({"auth": {"api_key": "abc"}}, "a secret is never written here"),
        ({"auth": {"user": "me"}}, "user and password belong together"),
        ({"auth": {"bearer": "env:A", "api_key": "env:B"}}, "expected one of api_key"),
        ({"filter": {"a*": 1}}, "pattern"),
        ({"filter": {"a": {}}}, "filter"),
        ({"by": {"disk": "mount"}}, "by: 'disk' is none of the metrics: cpu"),
        ({"where": {"cpus": {"a": 1}}}, "where: 'cpus' is none of the metrics: cpu"),
        ({"fields": {"cpu": "a b"}}, "is no field"),
        ({"flavour": "solr"}, "elasticsearch"),
        ({"lookback": "5m"}, "600"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_a_mistake_in_the_settings_is_refused(written: dict[str, Any], sentence: str) -> None:
    fine = {"hosts": "https://es1", "index": "metrics-*", "fields": {"cpu": "cpu"}}
    ElasticSettings.model_validate(fine)
    with pytest.raises(ValueError, match=sentence):
        ElasticSettings.model_validate(fine | written)


@pytest.mark.parametrize(
    "index", ["metrics-system.cpu-default", "lyon:metrics-*", "*:logs-*-*", ["logs-*", "-logs-old"], ".ds-a"]
)
def test_patterns_data_streams_and_remote_clusters_can_be_named(index: Any) -> None:
    settings = ElasticSettings.model_validate({"hosts": ["https://es1", "http://es2:80/prefix"], "index": index})
    assert settings.addresses == ("https://es1:9200", "http://es2:80/prefix")


def test_what_is_unsafe_or_missing_is_told_before_anything_connects(make: Make) -> None:
    written = {"hosts": "http://es.example.org:9200", "auth": {"user": "tocsin", "password": "env:NOT_SET_ANYWHERE"}}
    assert make({}, **written).check() == [
        "hosts: http://es.example.org:9200 sends the credentials in the clear; use https",
        "auth: environment variable NOT_SET_ANYWHERE is not set",
    ]
    told = make({}, hosts="https://es", tls={"verify": False}).check()
    assert len(told) == 1
    assert "tls.verify is false" in told[0]
    assert "there is no file" in make({}, hosts="https://es", tls={"ca": "/not/there.pem"}).check()[0]


def test_a_key_may_be_written_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "id:secret")
    assert Auth.model_validate({"api_key": "env:KEY"}).header() == "ApiKey aWQ6c2VjcmV0"
    monkeypatch.setenv("KEY", "aWQ6c2VjcmV0")
    assert Auth.model_validate({"api_key": "env:KEY"}).header() == "ApiKey aWQ6c2VjcmV0"
    assert Auth.model_validate({"bearer": "env:KEY"}).header() == "Bearer aWQ6c2VjcmV0"
    assert Auth.model_validate({"user": "é", "password": "env:KEY"}).header().startswith("Basic ")


# --- which product ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "flavour"),
    [
        (Reply(status=200, headers={}, body={"version": {"number": "3.8.0", "distribution": "opensearch"}}), "opensearch"),
        (
            Reply(status=200, headers={"x-elastic-product": "Elasticsearch"}, body={"version": {"number": "9.3.0"}}),
            "elasticsearch",
        ),
        (Reply(status=200, headers={}, body={"version": {"number": "7.10.2"}}), "elasticsearch"),
        (Reply(status=405, headers={"X-elastic-product": "Elasticsearch"}, body={"error": "x"}), "elasticsearch"),
        (Reply(status=403, headers={}, body=forbidden()), "elasticsearch"),
        (Reply(status=403, headers={}, body={"error": {"reason": "no permissions for [cluster:monitor/main]"}}), "opensearch"),
        (Reply(status=401, headers={}, body={"error": {"reason": "no permissions"}}), None),
        (Reply(status=502, headers={}, body="<html>"), None),
    ],
)
def test_the_product_is_told_by_what_it_says(reply: Reply, flavour: str | None) -> None:
    assert flavour_of(reply) == flavour


def test_opensearch_without_its_package_says_what_to_install(behind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tocsin.elastic.opensearch", None)
    with FakeElastic(behind, flavour="opensearch") as fake:
        client = Elastic(Server(hosts=fake.url), agent="web")
        with pytest.raises(PermanentError, match=r"pip install 'tocsin\[opensearch\]'"):
            client.ask("GET", "/")
        client.close()


@pytest.mark.parametrize(("major", "works"), [(7, False), (8, True), (9, True)])
def test_both_majors_are_spoken_to_and_older_ones_say_why_not(major: int, works: bool, behind: str) -> None:
    with FakeElastic(behind, major=major) as fake:
        client = Elastic(Server(hosts=fake.url), agent="web")
        if works:
            assert client.ask("GET", "/").body["version"]["number"] == f"{major}.3.0"
        else:
            with pytest.raises(PermanentError, match="Accept version must be either version 7 or 6"):
                client.ask("GET", "/")
        client.close()


def test_one_of_two_hosts_may_be_down(behind: str) -> None:
    with FakeElastic(behind) as fake:
        client = Elastic(Server(hosts=("http://127.0.0.1:9", fake.url), flavour="elasticsearch"), agent="web")
        answered, refused = 0, []
        for _ in range(4):
            try:
                answered += client.ask("GET", "/").status == 200
            except TransientError as error:
                refused.append(str(error))
        assert answered >= 3
        assert all("one of 2 hosts" in sentence for sentence in refused)
        client.close()


def test_the_client_libraries_wait_until_somebody_connects() -> None:
    code = (
        "import sys, collectors.elastic, alerting.sinks.ecs;"
        "print([n for n in ('elasticsearch', 'opensearchpy', 'urllib3') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"
    assert PLUGIN.name == "elasticsearch"


def test_connecting_brings_no_data_frames(behind: str) -> None:
    code = (
        "import sys; from tocsin.elastic import Elastic, Server;"
        f"[Elastic(Server(hosts={behind!r}, flavour=f), agent='a').ask('GET', '/', accept=(406,))"
        " for f in ('opensearch', 'elasticsearch')];"
        "print([n for n in ('pandas', 'sklearn', 'scipy') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"


def test_documents_that_came_twice_are_counted_twice_but_no_value_changes(make: Make, behind: str) -> None:
    collector = make({"cpu": "cpu"}, index="metrics-twice")
    double = [one for one in park() if one["dataset"] == "cpu"]
    fill(behind, "metrics-twice", [*double, *reversed(double)], FIELDS)
    frame = everything(collector)
    np.testing.assert_allclose(row(frame, "web1", "cpu"), np.arange(10) / 10 + 0.15)
    call(behind, "DELETE", "/metrics-twice")


SAMPLES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c/d", "é"]), st.integers(0, 599), st.integers(-1000, 1000)),
    max_size=60,
    unique_by=lambda s: s[:2],
)


@given(SAMPLES, st.sampled_from([100, 5000]), st.integers(1, 3))
@hypothesis.settings(max_examples=12)
def test_values_are_those_of_the_definition(samples: list[tuple[str, int, int]], page: int, minutes: int) -> None:
    kinds = {kind.value: kind for kind in Aggregate if kind.percent is None}
    window = Window(START, START + 600 // (60 * minutes) * 60 * minutes, 60 * minutes)
    with small_server() as server:
        documents = [{"@timestamp": (START + at) * 1000, "host": {"name": who}, "cpu": value / 8} for who, at, value in samples]
        fill(server.url, "metrics-a", documents, FIELDS)
        written = {"hosts": server.url, "flavour": "opensearch", "index": "metrics-a", "fields": dict.fromkeys(kinds, "cpu")}
        metrics = {name: Metric(name=name, aggregate=kind) for name, kind in kinds.items()}
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=window.span, metrics=metrics, folder=Path())
        limits = {"page": page, "per_second": 1000}
        collector = ElasticCollector(ElasticSettings.model_validate({**written, "limits": limits}), around, clock=lambda: NOW)
        index = SeriesIndex(SeriesKey(who, kind) for who in {who for who, _, _ in samples} for kind in kinds)
        values = collector.collect(index, window).values
        for place, key in enumerate(index):
            mine = [(START + at, value / 8) for who, at, value in samples if who == key.component]
            wanted = naive_aggregate(mine, window.start, window.span, len(window), key.metric)
            np.testing.assert_allclose(values[place], wanted)
        collector.close()


def test_a_source_that_fails_for_a_while_loses_nothing_and_a_reset_is_no_fall(tmp_path: Path) -> None:
    with small_server() as server, FakeElastic(server.url) as fake:
        values = [100, 160, 220, 10, 70, 130]  # reset before the fourth bucket
        documents = [
            {"@timestamp": (START + bucket * SPAN + 59) * 1000, "host": {"name": "a"}, "sent": value, "cpu": 1.0}
            for bucket, value in enumerate(values)
        ]
        fill(server.url, "metrics-a", documents, FIELDS)
        limits = {"retries": 0, "per_second": 1000}
        written = {"hosts": fake.url, "index": "metrics-a", "fields": {"sent": "sent", "cpu": "cpu"}, "limits": limits}
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        collector = ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: NOW)
        intake = Intake([Source(name="elasticsearch", collector=collector)], METRICS)
        index = intake.discover()
        window = Window(START, START + 6 * SPAN, SPAN)
        fake.always = status(503, {"error": "unavailable"})
        frame = intake.collect(index, window)
        assert not frame.known.any()
        assert intake.states["elasticsearch"].reason == f"{fake.url}: answered 503: unavailable"
        fake.always = None
        frame = intake.collect(index, window)
        assert row(frame, "a", "sent")[1:] == [1.0, 1.0, round(10 / 60, 6), 1.0, 1.0]
        assert frame.known.all()
        assert intake.states["elasticsearch"].up
        collector.close()
