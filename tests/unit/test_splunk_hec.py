"""Results → events of the HTTP Event Collector: acknowledged, told apart, and each with what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from alerting.sinks.hec import PLUGIN, Hec, HecSettings
from tests.splunk_fake import FakeCollector
from tests.splunk_served import Answer
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Outcome, Perf, Sent, ServiceKey, Severity
from tocsin.ports import Closable, ProbingSink

AT = 1_763_779_210


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FakeCollector:
    monkeypatch.setenv("HEC_TOKEN", "hec-token")
    return FakeCollector()


@pytest.fixture
def sink(far: FakeCollector) -> Iterator[Hec]:
    with far.running() as port:
        made = built(port)
        yield made
        made.close()


def built(port: int, **written: Any) -> Hec:
    given = {"url": f"http://127.0.0.1:{port}", "token": "env:HEC_TOKEN", "batch": 10} | written
    return Hec(HecSettings.model_validate(given), sleep=lambda seconds: None)


def result(host: str = "web-1", code: Severity = Severity.CRITICAL, text: str = "CRITICAL: latency 840 ms") -> CheckResult:
    perf = (Perf(label="surprise", value=7.5),)
    return CheckResult(service=ServiceKey(host, "Anomaly-web"), code=code, text=text, perf=perf, at=AT)


def sent(outcomes: Any) -> list[Sent]:
    return [outcome.sent for outcome in outcomes]


def posts(far: FakeCollector) -> int:
    return sum(asked.path.endswith("/event") for asked in far.asked)


def test_a_result_is_an_event_and_yes_means_indexed(sink: Hec, far: FakeCollector) -> None:
    assert sink.send([result()]) == [Outcome(sent=Sent.YES)]
    (event,) = far.events
    assert (event["time"], event["host"], event["source"], event["sourcetype"]) == (AT, "web-1", "tocsin", "tocsin:result")
    assert event["event"]["service"] == "Anomaly-web"
    assert event["event"]["state"] == "CRITICAL"
    assert event["event"]["perf"] == [{"label": "surprise", "value": 7.5, "unit": ""}]
    assert isinstance(sink, ProbingSink)
    assert isinstance(sink, Closable)
    with pytest.raises(TransientError):
        sink.read_back([])


def test_what_is_not_acknowledged_is_not_known_and_asked_for_again_before_it_is_repeated(sink: Hec, far: FakeCollector) -> None:
    far.at_once = False
    (outcome,) = sink.send([result()])
    assert (outcome.sent, "not yet acknowledged" in outcome.why) == (Sent.UNKNOWN, True)
    far.index()
    assert sent(sink.send([result()])) == [Sent.YES]
    assert posts(far) == 1
    assert len(far.events) == 1


def test_the_same_result_sent_twice_has_the_same_id(sink: Hec, far: FakeCollector) -> None:
    far.at_once = False
    for _ in range(3):
        sink.send([result()])
    far.at_once = True
    assert sent(sink.send([result()])) == [Sent.YES]
    sink.send([result(code=Severity.OK)])
    assert len({event["fields"]["tocsin_id"] for event in far.events}) == 2
    assert len(far.events) > 2


def test_many_results_go_in_batches(sink: Hec, far: FakeCollector) -> None:
    assert sent(sink.send([result(f"web-{place}") for place in range(25)])) == [Sent.YES] * 25
    assert posts(far) == 3
    assert sink.send([]) == []


def test_an_event_that_is_refused_does_not_hold_up_its_neighbours(sink: Hec, far: FakeCollector) -> None:
    def dislikes(asked: Any, honest: Answer) -> Answer:
        lines = asked.body.split(b"\n")
        bad = [place for place, line in enumerate(lines) if b"web-3" in line]
        if bad:
            far._queue.clear()
            return far._code(400, 6, "Invalid data format", **{"invalid-event-number": bad[0]})
        return honest

    far.fault("/event", dislikes)
    outcomes = sink.send([result(f"web-{place}") for place in range(5)])
    assert sent(outcomes) == [Sent.YES, Sent.YES, Sent.YES, Sent.NO, Sent.YES]
    assert "finds the event malformed" in outcomes[3].why


@pytest.mark.parametrize(
    ("status", "code", "kind", "sentence"),
    [
        (403, 4, Sent.NO, "the token is not known there"),
        (403, 1, Sent.NO, "the token is disabled"),
        (401, 3, Sent.NO, "not accepted"),
        (503, 9, Sent.NO, "it is busy: its queues are full"),
        (500, 8, Sent.NO, "internal error"),
        (400, 10, Sent.NO, "wants a channel"),
    ],
)
def test_every_refusal_of_the_collector_is_understood(
    sink: Hec, far: FakeCollector, status: int, code: int, kind: Sent, sentence: str
) -> None:
    far.fault("/event", far._code(status, code, "x"))
    outcomes = sink.send([result(f"web-{place}") for place in range(15)])
    assert sent(outcomes) == [kind] * 15
    assert sentence in outcomes[0].why
    assert posts(far) == 1, "a collector that refuses is not asked again in the same pass"
    assert "hec-token" not in outcomes[0].why
    far.faults.clear()
    assert sent(sink.send([result()])) == [Sent.YES]


@pytest.mark.parametrize("answer", [Answer(502, b"<html>"), Answer(200, b"<html>login</html>"), Answer(200, b'{"text":1', cut=3)])
def test_what_stands_before_the_collector_is_not_believed(sink: Hec, far: FakeCollector, answer: Answer) -> None:
    far.fault("/event", answer)
    outcomes = sink.send([result()])
    assert sent(outcomes)[0] is not Sent.YES
    assert outcomes[0].why


def test_a_token_without_acknowledgement_is_said(sink: Hec, far: FakeCollector) -> None:
    far.acknowledges = False
    (outcome,) = sink.send([result()])
    assert outcome.sent is Sent.UNKNOWN
    assert "acknowledge: false" in outcome.why


def test_without_acknowledgement_yes_means_taken(far: FakeCollector) -> None:
    far.acknowledges = False
    with far.running() as port:
        sink = built(port, acknowledge=False, index="tocsin")
        assert sent(sink.send([result()])) == [Sent.YES]
        assert far.events[0]["index"] == "tocsin"
        other = built(port, acknowledge=False, index="secret")
        (outcome,) = other.send([result()])
        assert (outcome.sent, "may not write to this index" in outcome.why) == (Sent.NO, True)
        sink.close()
        other.close()


def test_a_collector_that_is_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEC_TOKEN", "x")
    sink = built(1)
    assert sent(sink.send([result(), result("web-2")])) == [Sent.UNKNOWN] * 2
    monkeypatch.delenv("HEC_TOKEN")
    assert "HEC_TOKEN is not set" in sink.send([result()])[0].why
    sink.close()


def test_it_tells_how_the_collector_is(sink: Hec, far: FakeCollector) -> None:
    assert "healthy" in sink.probe(0.0).version
    assert not far.events
    far.healthy = False
    with pytest.raises(TransientError, match="queues are full"):
        sink.probe(0.0)


def test_hostile_text_stays_text(sink: Hec, far: FakeCollector) -> None:
    text = 'x"}\n{"event": "forged"}\x00\u2028 `rm`'
    assert sent(sink.send([result(text=text)])) == [Sent.YES]
    assert len(far.events) == 1
    assert far.events[0]["event"]["text"] == text
    assert PLUGIN.name == "hec"


def test_a_batch_that_breaks_off_does_not_unsay_the_one_before(sink: Hec, far: FakeCollector) -> None:
    far.fault("/event", Answer(200, b'{"text": "Success"', cut=3), when=lambda asked: b"web-15" in asked.body)
    outcomes = sink.send([result(f"web-{place}") for place in range(25)])
    assert sent(outcomes[:10]) == [Sent.YES] * 10
    assert sent(outcomes[10:20]) == [Sent.UNKNOWN] * 10
    assert sent(outcomes[20:]) == [Sent.NO] * 5


def test_a_value_that_is_none_does_not_spoil_its_event(sink: Hec, far: FakeCollector) -> None:
    perf = (Perf(label="a", value=float("nan")), Perf(label="b", value=1.0))
    odd = CheckResult(service=ServiceKey("web-1", "s"), code=Severity.OK, text="OK", perf=perf, at=AT)
    assert sent(sink.send([odd])) == [Sent.YES]
    assert [one["label"] for one in far.events[0]["event"]["perf"]] == ["b"]
