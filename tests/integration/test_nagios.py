"""A real engine shows what it must, and is put right after it lost everything."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from alerting.deliver import Deliver
from alerting.desired import UNDELIVERABLE, Pace, want
from alerting.memory import InMemory
from alerting.sinks.command_file import CommandFile
from tests.integration.nagios import Nagios
from tocsin.model import CheckResult, Perf, Sent, ServiceKey, Severity

pytestmark = pytest.mark.integration

WEB, DB = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db")
OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN
PACE = Pace(reassert=8, read_back=2, settle=2, retry_absent=30)


class Sender:
    """The delivery loop on the real clock."""

    def __init__(self, engine: Nagios) -> None:
        self.engine, self.store = engine, InMemory()
        self.sink = CommandFile(engine.command_file, engine.status_file, max_status_age=10)
        self.deliver = Deliver(self.store, self.sink, PACE)

    def want(self, service: ServiceKey, code: Severity, text: str = "text", perf: tuple[Perf, ...] = ()) -> None:
        result = CheckResult(service=service, code=code, text=text, perf=perf)
        self.store.put([want(self.store.get(service), result, time.time(), 3600)])

    def until(self, there: Callable[[], object], what: str, seconds: float = 25.0) -> None:
        end = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < end, what
            self.deliver.step(time.time())
            time.sleep(0.2)

    def until_shown(self, *codes: tuple[ServiceKey, Severity]) -> None:
        def there() -> bool:
            shown = self.engine.shown()
            return all(service in shown and shown[service].code is code for service, code in codes)

        self.until(there, f"{codes} was not shown: {self.engine.shown()}")


@pytest.fixture
def engine(nagios: Callable[..., Nagios]) -> Nagios:
    one = nagios(services=[tuple_of(WEB), tuple_of(DB)])
    one.start()
    return one


def tuple_of(service: ServiceKey) -> tuple[str, str]:
    return service.host, service.service


def test_an_incident_is_shown_when_it_opens_gets_worse_and_clears(engine: Nagios) -> None:
    sender = Sender(engine)
    sender.want(WEB, OK)
    sender.want(DB, OK)
    sender.until_shown((WEB, OK), (DB, OK))
    sender.want(
        WEB,
        WARNING,
        "latency.p95 210 ms, expected 60..180\ncpu 97 %",
        (Perf(label="latency.p95.milliseconds", value=210, unit="ms"),),
    )
    sender.until_shown((WEB, WARNING), (DB, OK))
    shown = engine.shown()[WEB]
    assert shown.text == "WARNING: latency.p95 210 ms, expected 60..180"
    assert "performance_data='latency.p95.milliseconds'=210ms\n" in engine.status_file.read_text()
    assert "long_plugin_output=cpu 97 %" in engine.status_file.read_text()
    sender.want(WEB, CRITICAL, "latency.p95 840 ms, expected 60..180")
    sender.until_shown((WEB, CRITICAL))
    sender.want(WEB, OK, "7 metrics within their learned bands")
    sender.until_shown((WEB, OK), (DB, OK))
    assert engine.shown()[WEB].text == "OK: 7 metrics within their learned bands"


def test_an_engine_that_was_killed_and_forgot_everything_is_put_right(engine: Nagios) -> None:
    sender = Sender(engine)
    sender.want(WEB, CRITICAL, "latency")
    sender.want(DB, OK)
    sender.until_shown((WEB, CRITICAL), (DB, OK))
    engine.kill()
    sender.until(lambda: sender.deliver.step(time.time()).refused, "a dead engine accepted a result")
    engine.start()
    assert engine.shown()[WEB].code is None
    sender.until_shown((WEB, CRITICAL), (DB, OK))


def test_a_trouble_that_was_over_before_the_engine_came_back_is_still_shown(engine: Nagios) -> None:
    sender = Sender(engine)
    sender.want(WEB, OK)
    sender.until_shown((WEB, OK))
    engine.kill()
    sender.want(WEB, CRITICAL, "latency")
    sender.deliver.step(time.time())
    sender.want(WEB, OK, "over")
    engine.start()
    sender.until_shown((WEB, CRITICAL))
    sender.until_shown((WEB, OK))


def test_a_service_the_engine_does_not_have_is_told_and_hurts_nobody_else(engine: Nagios) -> None:
    sender = Sender(engine)
    stranger = ServiceKey("web-1", "Anomaly-stranger")
    sender.want(WEB, CRITICAL)
    sender.want(stranger, CRITICAL)
    sender.until_shown((WEB, CRITICAL))

    def told() -> bool:
        row = sender.store.get(stranger)
        return row is not None and row.error == UNDELIVERABLE

    sender.until(told, "the unknown service was not noticed")


def test_when_nothing_comes_any_more_the_engine_says_so(nagios: Callable[..., Nagios]) -> None:
    # Long enough for the first result to be there before the engine's own first check for freshness.
    engine = nagios(services=[tuple_of(WEB)], freshness=8)
    engine.start()
    sender = Sender(engine)
    sender.want(WEB, OK)
    sender.until_shown((WEB, OK))
    engine.wait(lambda: engine.shown()[WEB].code is UNKNOWN, "notice the silence")
    assert engine.shown()[WEB].text == "UNKNOWN: no result from Tocsin"


def test_the_engine_reads_hostile_texts_as_texts(engine: Nagios) -> None:
    sink = CommandFile(engine.command_file, engine.status_file)
    assert (
        sink.send([CheckResult(service=DB, code=CRITICAL, text="CRITICAL: here to stay", at=int(time.time()))])[0].sent
        is Sent.YES
    )
    draw = random.Random(2)
    forged = f"[{int(time.time())}] PROCESS_SERVICE_CHECK_RESULT;db-1;Anomaly-db;0;all good"
    pieces = ["\n", "\r", ";", "|", "\\", "\\n", forged, "é" * 300, "\u037e", "x" * 500, "\ud800", "\x00"]
    texts = ["".join(draw.choices(pieces, k=draw.randrange(40))) for _ in range(150)] + ["x" * 8111 + forged]
    results = [CheckResult(service=WEB, code=WARNING, text=text, at=int(time.time())) for text in texts]
    while results:
        outcomes = sink.send(results)
        results = [result for result, outcome in zip(results, outcomes, strict=True) if outcome.sent is Sent.NO]
        time.sleep(0.05)
    sink.send([CheckResult(service=WEB, code=CRITICAL, text="CRITICAL: the last one", at=int(time.time()))])
    engine.wait(lambda: engine.shown()[WEB].text == "CRITICAL: the last one", "read them all")
    assert engine.shown()[DB].text == "CRITICAL: here to stay"
    log = (engine.folder / "nagios.log").read_text(errors="replace")
    assert log.count("PASSIVE SERVICE CHECK: web-1;Anomaly-web;") == len(texts) + 1
    assert log.count("PASSIVE SERVICE CHECK: db-1;Anomaly-db;") == 1
    assert log.count("EXTERNAL COMMAND: ") == len(texts) + 2
