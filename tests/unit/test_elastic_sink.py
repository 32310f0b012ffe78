"""Results become ECS documents, each once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from alerting.sinks.ecs import PLUGIN, Ecs, document, identity
from tests.elastic_fake import Answer, Asked, FakeElastic, forbidden, raw, status
from tests.elastic_servers import call, small_server
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Perf, Sent, ServiceKey, Severity
from tocsin.ports import ProbingSink

STREAM = "logs-tocsin.anomaly-default"
AT = 1_763_779_210


def result(number: int = 1, **changes: Any) -> CheckResult:
    perf = (Perf(label="latency", value=840.0, unit="ms"),)
    one = CheckResult(
        service=ServiceKey(f"web-{number}", "Anomaly-web"), code=Severity.CRITICAL, text="CRITICAL: slow", perf=perf, at=AT
    )
    return replace(one, **changes)


@pytest.fixture
def fake() -> Iterator[FakeElastic]:
    with small_server() as server, FakeElastic(server.url) as running:
        yield running


@pytest.fixture
def sink(fake: FakeElastic) -> Iterator[Ecs]:
    made = PLUGIN.build(PLUGIN.settings.model_validate({"hosts": fake.url, "timeout": 10}), None)
    yield made
    made.close()


def written(fake: FakeElastic) -> list[dict[str, Any]]:
    call(fake.behind, "POST", f"/{STREAM}/_refresh")
    found = call(fake.behind, "POST", f"/{STREAM}/_search", {"size": 1000, "sort": [{"host.name.keyword": "asc"}]})
    return [hit["_source"] for hit in found["hits"]["hits"]]


def test_a_result_is_a_document_in_the_common_schema(fake: FakeElastic, sink: Ecs) -> None:
    assert [outcome.sent for outcome in sink.send([result(), result(2, code=Severity.OK, text="OK")])] == [Sent.YES] * 2
    critical, fine = written(fake)
    assert critical["@timestamp"] == "2025-11-22T02:40:10Z"
    assert (critical["message"], critical["host"], critical["event"]["kind"]) == ("CRITICAL: slow", {"name": "web-1"}, "alert")
    assert critical["data_stream"] == {"type": "logs", "dataset": "tocsin.anomaly", "namespace": "default"}
    assert critical["service"] == {"name": "Anomaly-web", "state": "CRITICAL"}
    assert critical["tocsin"] == {"code": 2, "perf": [{"label": "latency", "value": 840.0, "unit": "ms"}]}
    assert (fine["event"]["kind"], fine["event"]["severity"]) == ("event", 0)


def test_only_what_changed_is_written(fake: FakeElastic, sink: Ecs) -> None:
    sink.send([result()])
    before = len(fake.asked)
    assert [outcome.sent for outcome in sink.send([result(at=AT + 300)])] == [Sent.YES]
    assert len(fake.asked) == before
    sink.send([result(at=AT + 600, code=Severity.OK, text="OK")])
    assert len(written(fake)) == 2


def test_the_same_result_from_another_process_is_there_already(fake: FakeElastic, sink: Ecs) -> None:
    sink.send([result()])
    other = PLUGIN.build(PLUGIN.settings.model_validate({"hosts": fake.url}), None)
    assert [outcome.sent for outcome in other.send([result(), result(2)])] == [Sent.YES] * 2
    other.close()
    assert len(written(fake)) == 2


def test_each_document_has_its_own_outcome(fake: FakeElastic, sink: Ecs) -> None:
    items = [
        {"create": {"status": 201}},
        {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}},
        {"create": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "failed to parse field [host]"}}},
        {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "rejected"}}},
        "what",
    ]
    fake.always = raw(json.dumps({"errors": True, "items": items}).encode())
    outcomes = sink.send([result(number) for number in range(5)])
    assert [outcome.sent for outcome in outcomes] == [Sent.YES, Sent.YES, Sent.NO, Sent.NO, Sent.NO]
    assert outcomes[2].why == "400: failed to parse field [host]"
    fake.always = None
    assert [outcome.sent for outcome in sink.send([result(number) for number in range(5)])] == [Sent.YES] * 5
    assert len(written(fake)) == 3  # the first two were said to be there


@pytest.mark.parametrize(
    ("fault", "sent", "why"),
    [
        (status(403, forbidden()), Sent.NO, "not allowed (403)"),
        (status(503), Sent.UNKNOWN, "answered 503"),
        (raw(b"{}", wait=2.4), Sent.UNKNOWN, "no whole answer within 2 s"),
        (raw(b'{"items": []}'), Sent.UNKNOWN, "does not say what became of each document"),
        (raw(b"{", cut=1), Sent.UNKNOWN, "http"),
    ],
)
def test_no_answer_is_no_yes(fault: Any, sent: Sent, why: str, fake: FakeElastic) -> None:
    sink = PLUGIN.build(PLUGIN.settings.model_validate({"hosts": fake.url, "timeout": 2}), None)
    sink.probe(0)
    fake.always = fault
    outcomes = sink.send([result(1), result(2)])
    assert [outcome.sent for outcome in outcomes] == [sent, sent]
    assert why in outcomes[0].why
    fake.always = None
    assert [outcome.sent for outcome in sink.send([result(1), result(2)])] == [Sent.YES] * 2
    sink.close()


def test_many_results_are_few_requests_and_none_is_lost_when_one_fails(fake: FakeElastic, sink: Ecs) -> None:
    sink.probe(0)
    many = [result(number) for number in range(1200)]

    def second_fails(asked: Asked) -> Answer | None:
        return Answer(status=503) if sum(one.path.endswith("_bulk") for one in fake.asked) == 2 else None

    fake.always = second_fails
    outcomes = [outcome.sent for outcome in sink.send(many)]
    assert outcomes == [Sent.YES] * 500 + [Sent.UNKNOWN] * 500 + [Sent.NO] * 200
    fake.always = None
    assert {outcome.sent for outcome in sink.send(many)} == {Sent.YES}
    assert call(fake.behind, "POST", f"/{STREAM}/_refresh") and call(fake.behind, "GET", f"/{STREAM}/_count")["count"] == 1200


def test_hostile_text_stays_in_its_field(fake: FakeElastic, sink: Ecs) -> None:
    text = 'x"}}\n{"delete": {"_index": "*", "_id": "1"}}\n\ud800' + "y" * 20_000
    assert [outcome.sent for outcome in sink.send([result(text=text, perf=(Perf(label="a", value=float("nan")),))])] == [Sent.YES]
    (one,) = written(fake)
    assert one["message"].startswith('x"}}\n{"delete"')
    assert len(one["message"]) == 8000
    assert one["tocsin"]["perf"] == [{"label": "a", "unit": ""}]


def test_the_identity_is_what_is_said_of_whom_and_when() -> None:
    assert identity(result()) == identity(result(perf=()))
    others = [result(2), result(at=AT + 1), result(code=Severity.WARNING), result(text="CRITICAL: slower")]
    assert len({identity(one) for one in [result(), *others]}) == 5
    assert document(result(), "logs-a.b-prod")["data_stream"] == {"type": "logs", "dataset": "a.b", "namespace": "prod"}


def test_what_it_is_and_promises_can_be_asked(fake: FakeElastic, sink: Ecs) -> None:
    assert isinstance(sink, ProbingSink)
    told = sink.probe(0)
    assert told.version == f"elasticsearch 9.3.0 at {fake.url}"
    assert STREAM in told.rights[0]
    with pytest.raises(TransientError):
        sink.read_back([])
    assert sink.reads_back is False


@pytest.mark.parametrize("name", ["metrics-a-b", "logs-a", "logs-A-b", "logs-a-b/_search", "logs-*-b", ""])
def test_only_a_data_stream_of_logs_can_be_written_to(name: str) -> None:
    with pytest.raises(ValueError, match="data_stream"):
        PLUGIN.settings.model_validate({"hosts": "http://es", "data_stream": name})
