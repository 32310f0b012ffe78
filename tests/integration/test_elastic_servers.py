"""The same questions to the real OpenSearch and the real Elasticsearch: values, rights, limits, logs and records."""

from __future__ import annotations

import hashlib
import json
import ssl
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerting.sinks.ecs import PLUGIN as ECS
from collectors.elastic import ElasticCollector, ElasticLogs, ElasticSettings
from tests.elastic_servers import KEYWORD, NUMBER, TEXT, call, fill
from tests.integration.opensearch import PASSWORD, Running, elasticsearch, opensearch
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, CheckResult, Metric, Metrics, Sent, SeriesIndex, ServiceKey, Severity, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SPAN, START = 60, 1_795_200_000
WINDOW = Window(START, START + 30 * SPAN, SPAN)
NOW = WINDOW.end + 5
METRICS = Metrics(
    {
        "cpu": Metric(name="cpu"),
        "sent": Metric(name="sent", counter=True, aggregate=Aggregate.LAST),
        "cpu.last": Metric(name="cpu.last", aggregate=Aggregate.LAST),
        "cpu.p95": Metric(name="cpu.p95", aggregate=Aggregate.P95),
        "errors": Metric(name="errors", aggregate=Aggregate.COUNT),
    }
)
FIELDS = {"cpu": "cpu", "sent": "sent", "cpu.last": "cpu", "cpu.p95": "cpu", "errors": "*", "disk.used": "fs.used"}
MAPPING = {
    "cpu": NUMBER,
    "sent": {"type": "long"},
    "code": {"type": "integer"},
    "message": TEXT,
    "fs": {"properties": {"mount": KEYWORD, "used": NUMBER}},
    "log": {"properties": {"level": KEYWORD}},
}
HOSTS = [f"web{number}" for number in range(5)]


@pytest.fixture(scope="module", params=[opensearch, elasticsearch], ids=lambda start: start.__name__)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with request.param() as running:
        documents: list[dict[str, Any]] = []
        for bucket, start in enumerate(WINDOW.starts.tolist()):
            for place, host in enumerate(HOSTS):
                named = {"host": {"name": host}}
                for second in (1, 31):
                    at = {"@timestamp": (start + second) * 1000, "event": {"ingested": (start + second + 40) * 1000}}
                    values = {"cpu": place + bucket / 100 + second / 1000, "sent": bucket * 100 + second}
                    documents.append({**named, **at, **values, "code": 500 if place == 1 and bucket == 7 else 200})
                    documents += [{**named, **at, "fs": {"mount": mount, "used": 40.0 + place}} for mount in ("/", "/var")]
        fill(running.url, "metrics-a", documents, MAPPING, headers=running.headers, ca=running.ca)
        lines = [
            {
                "@timestamp": (start + number) * 1000,
                "host": {"name": "web0"},
                "message": f"line {number}",
                **({"log": {"level": "ERROR"}} if number % 5 == 0 else {}),
            }
            for start in WINDOW.starts.tolist()
            for number in range(50)
        ]
        fill(running.url, "logs-a", lines, MAPPING, headers=running.headers, ca=running.ca)
        yield running


@pytest.fixture
def settings(server: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ElasticSettings]:
    monkeypatch.setenv("ELASTIC_PASSWORD", PASSWORD)

    def made(**written: Any) -> ElasticSettings:
        auth: dict[str, Any] = {"auth": {"user": "reader", "password": "env:ELASTIC_PASSWORD"}} if server.headers else {}
        auth |= {"tls": {"ca": str(server.ca)}} if server.ca else {}
        limits = {"retries": 0, "per_second": 1000, "page": 200, **written.pop("limits", {})}
        return ElasticSettings.model_validate({"hosts": server.url, "index": "metrics-*", **auth, "limits": limits, **written})

    return made


def around(folder: Path) -> Surroundings:
    return Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=folder)


@pytest.fixture
def collect(settings: Callable[..., ElasticSettings], tmp_path: Path) -> Iterator[Callable[..., ElasticCollector]]:
    made: list[ElasticCollector] = []

    def one(**written: Any) -> ElasticCollector:
        given = {"fields": FIELDS, "by": {"disk.used": "fs.mount"}, "where": {"errors": {"code": {"gte": 500}}}}
        made.append(ElasticCollector(settings(**(given | written)), around(tmp_path), clock=lambda: NOW))
        return made[-1]

    yield one
    for collector in made:
        collector.close()


def test_every_value_arrives_in_its_bucket(collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    assert len(index) == len(HOSTS) * 7
    frame = collector.collect(index, WINDOW)
    assert frame.known.all()
    buckets = np.arange(30)
    for place, host in enumerate(HOSTS):
        rows = {key.metric: frame.values[row] for row, key in enumerate(index) if key.component == host}
        np.testing.assert_allclose(rows["cpu"], place + buckets / 100 + 0.016)
        np.testing.assert_allclose(rows["cpu.last"], place + buckets / 100 + 0.031, rtol=1e-6)
        np.testing.assert_allclose(rows["cpu.p95"], place + buckets / 100 + 0.031, atol=0.005)
        np.testing.assert_allclose(rows["sent"], buckets * 100 + 31)
        np.testing.assert_allclose(rows["disk.used[/var]"], 40 + place)
        np.testing.assert_allclose(rows["errors"], np.where((place == 1) & (buckets == 7), 2, 0))
    assert collector.reach() == (START + 1, WINDOW.end - SPAN + 31)
    lag = collector.lag()
    assert lag is not None
    assert 10 <= lag <= 20


def test_pages_of_any_size_give_the_same(collect: Callable[..., ElasticCollector]) -> None:
    whole = collect(limits={"page": 10_000})
    index = SeriesIndex(whole.discover())
    before = whole.manners.usage.requests
    frame = whole.collect(index, WINDOW)
    assert whole.manners.usage.requests - before == 2  # metrics of the host, and those of its disks
    np.testing.assert_array_equal(collect(limits={"page": 100}).collect(index, WINDOW).values[:, 3:], frame.values[:, 3:])


def test_two_thousand_components_with_ten_metrics_are_as_many_requests_as_pages(
    settings: Callable[..., ElasticSettings], server: Running, tmp_path: Path
) -> None:
    names, window = [f"m{number}" for number in range(10)], Window(START, START + 3 * SPAN, SPAN)
    documents = [
        {"@timestamp": (start + number % SPAN) * 1000, "host": {"name": f"h{number:04d}"}}
        | {name: float(number + place) for place, name in enumerate(names)}
        for start in window.starts.tolist()
        for number in range(2000)
    ]
    fill(server.url, "metrics-many", documents, dict.fromkeys(names, NUMBER), headers=server.headers, ca=server.ca)
    try:
        written = settings(index="metrics-many", fields={name: name for name in names}, limits={"page": 5000})
        collector = ElasticCollector(written, around(tmp_path), clock=lambda: window.end)
        index = SeriesIndex(collector.discover())
        before = collector.manners.usage
        frame = collector.collect(index, window)
        after = collector.manners.usage
        assert (after.requests - before.requests, after.rows - before.rows) == (2, 6000)
        assert frame.known.all()
        wanted = np.add.outer(np.arange(2000.0), np.arange(10.0)).reshape(-1)
        np.testing.assert_array_equal(frame.values, np.repeat(wanted[:, None], 3, axis=1))
        collector.close()
    finally:
        call(server.url, "DELETE", "/metrics-many", headers=server.headers, ca=server.ca)


def test_a_limit_of_the_server_makes_the_pages_smaller(collect: Callable[..., ElasticCollector], server: Running) -> None:
    limit = "search.max_buckets"
    call(server.url, "PUT", "/_cluster/settings", {"persistent": {limit: 100}}, headers=server.headers, ca=server.ca)
    try:
        collector = collect(limits={"page": 5000})
        index = SeriesIndex(collector.discover())
        assert collector.collect(index, WINDOW).known.all()
        assert collector.manners.state.kind == "ok"
        assert collector._searcher.size <= 100
    finally:
        call(server.url, "PUT", "/_cluster/settings", {"persistent": {limit: None}}, headers=server.headers, ca=server.ca)


def test_all_numbers_are_metrics_when_none_is_named(collect: Callable[..., ElasticCollector]) -> None:
    found = {key.metric for key in collect(fields={}, by=None, where={}).discover()}
    assert found == {"cpu", "sent", "code", "fs.used"}


def test_full_text_and_what_is_not_there_are_told(collect: Callable[..., ElasticCollector]) -> None:
    with pytest.raises(PermanentError, match="name its keyword field"):
        collect(component="message", fields={"cpu": "cpu"}, by=None, where={}, index=["logs-*", "metrics-*"]).discover()
    with pytest.raises(TransientError, match="no index that we may read matches metrics-nothing"):
        collect(index="metrics-nothing*").discover()


def test_a_person_who_asks_sees_what_is_there(collect: Callable[..., ElasticCollector], server: Running) -> None:
    told = collect().probe(NOW)
    assert told.version.startswith(("OpenSearch 3.8", "OpenSearch 2.19", "Elasticsearch"))
    assert told.rights == ("read: yes", "view_index_metadata: yes")
    assert len(told.samples) == 5
    assert told.warnings == ()


def test_lines_are_counted_and_read(settings: Callable[..., ElasticSettings], tmp_path: Path) -> None:
    source = ElasticLogs(settings(index="logs-*", logs=True), around(tmp_path), clock=lambda: NOW)
    batch = source.read(WINDOW)
    assert {key: set(numbers.tolist()) for key, numbers in batch.counts.items()} == {("web0", "error"): {10}, ("web0", ""): {40}}
    assert len(batch.lines) == 1500
    few = ElasticLogs(settings(index="logs-*", logs=True, limits={"max_lines": 300}), around(tmp_path), clock=lambda: NOW)
    sample = few.read(WINDOW).lines
    assert len({(line.at, line.text) for line in sample}) == 300
    assert len({int(line.at - START) // SPAN for line in sample}) > 25
    assert few.read(WINDOW).lines == sample
    source.close()
    few.close()


def test_a_result_is_recorded_once(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTIC_PASSWORD", PASSWORD)
    auth: dict[str, Any] = {"auth": {"user": "writer", "password": "env:ELASTIC_PASSWORD"}} if server.headers else {}
    auth |= {"tls": {"ca": str(server.ca)}} if server.ca else {}
    written = {"hosts": server.url, "timeout": 30, "all": True, **auth}
    sink = ECS.build(ECS.settings.model_validate(written), None)
    result = CheckResult(service=ServiceKey("web-1", "Anomaly-web"), code=Severity.CRITICAL, text="CRITICAL: slow", at=START)
    for _ in range(2):
        assert [outcome.sent for outcome in sink.send([result])] == [Sent.YES]
    call(server.url, "POST", "/logs-tocsin.anomaly-default/_refresh", headers=server.headers, ca=server.ca)
    assert call(server.url, "GET", "/logs-tocsin.anomaly-default/_count", headers=server.headers, ca=server.ca)["count"] == 1
    sink.close()


def test_users_without_rights_are_told_what_they_lack(
    server: Running, settings: Callable[..., ElasticSettings], tmp_path: Path
) -> None:
    if not server.headers:
        pytest.skip("this OpenSearch knows no users")
    for user, sentence in (
        ("nobody", r"not allowed \(403\).*give this user `read` and `view_index_metadata`"),
        ("stranger", r"the credentials are refused \(401\)"),
    ):
        auth = {"user": user, "password": "env:ELASTIC_PASSWORD"}
        collector = ElasticCollector(settings(index="metrics-a", auth=auth), around(tmp_path), clock=lambda: NOW)
        with pytest.raises(PermanentError, match=sentence) as told:
            collector.discover()
        assert PASSWORD not in str(told.value)
        collector.close()
    generous = settings(auth={"user": "admin", "password": "env:ELASTIC_PASSWORD"})
    collector = ElasticCollector(generous, around(tmp_path), clock=lambda: NOW)
    assert "more than needed: all, create_doc, delete, manage, write" in collector.probe(NOW).rights[2]
    collector.close()


def test_the_recorded_bodies_are_what_the_fake_says(server: Running) -> None:
    """The fake's words for a missing user and for too many buckets are those of the real server."""
    from tests.elastic_fake import no_entry

    if not server.headers:
        pytest.skip("this OpenSearch knows no users")
    with pytest.raises(urllib.error.HTTPError) as told:
        call(server.url, "POST", "/metrics-a/_search", {}, ca=server.ca)
    with told.value as refused:
        real = json.loads(refused.read())
        assert refused.status == 401
        assert "x-elastic-product" not in {name.lower() for name in refused.headers}
    fake = json.loads(no_entry().body)
    assert real["error"]["type"] == fake["error"]["type"]
    assert real["error"]["reason"].startswith("missing authentication credentials for REST request")


def test_the_server_must_show_the_certificate_it_is_known_by(
    server: Running, settings: Callable[..., ElasticSettings], tmp_path: Path
) -> None:
    if server.ca is None:
        pytest.skip("this OpenSearch speaks no TLS")
    shown = ssl.get_server_certificate(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
    for tls, trusted in (({}, False), ({"fingerprint": fingerprint}, True), ({"fingerprint": "0" * 64}, False)):
        collector = ElasticCollector(settings(tls=tls), around(tmp_path), clock=lambda: NOW)
        if trusted:
            assert collector.reach() is not None
        else:
            with pytest.raises(PermanentError, match="certificate"):
                collector.reach()
        collector.close()
