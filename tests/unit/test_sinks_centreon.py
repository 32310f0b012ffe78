"""Results through the Web API into a fake Centreon over a real socket, which has the real one's quirks, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerting.deliver import Deliver
from alerting.desired import Pace, want
from alerting.memory import InMemory
from alerting.sinks.centreon import V1, V2, CentreonApi, _WebApi
from tests.centreon_fake import Fake, centreon
from tocsin.errors import PermanentError, TransientError
from tocsin.model import CheckResult, Outcome, Perf, Sent, ServiceKey, Severity

WEB, DB, NOBODY = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db"), ServiceKey("web-1", "Anomaly-nobody")
Build = Callable[..., _WebApi]


@pytest.fixture
def far() -> Iterator[Fake]:
    with centreon() as fake:
        web, db = fake.host("web-1"), fake.host("db-1")
        fake.service(web, "Anomaly-web")
        fake.service(db, "Anomaly-db")
        yield fake


@pytest.fixture
def build(far: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    monkeypatch.setenv("TOKEN", far.API_TOKEN)
    monkeypatch.setenv("PASSWORD", far.PASSWORD)
    made: list[_WebApi] = []

    def make(plugin: Any = V2, *, by_password: bool = False, **more: Any) -> _WebApi:
        way = {"user": far.USER, "password": "env:PASSWORD"} if by_password else {"token": "env:TOKEN"}
        made.append(plugin.build(plugin.settings.model_validate({"api": {"url": far.url, "timeout": "5s", **way}, **more}), None))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=[V2, V1], ids=["v2", "v1"])
def sink(request: pytest.FixtureRequest, build: Build) -> _WebApi:
    return build(request.param)


def result(service: ServiceKey = WEB, code: Severity = Severity.CRITICAL, text: str = "CRITICAL: latency 840 ms") -> CheckResult:
    return CheckResult(
        service=service, code=code, text=text, perf=(Perf(label="latency", value=840.0, unit="ms"),), at=int(time.time())
    )


def sent(outcomes: Sequence[Outcome]) -> list[Sent]:
    return [outcome.sent for outcome in outcomes]


def test_what_is_sent_is_shown_and_read_back_with_our_time(far: Fake, sink: _WebApi) -> None:
    assert {one.service: one.code for one in sink.read_back([WEB, DB, NOBODY])} == {WEB: None, DB: None}
    assert sent(sink.send([result(), result(DB, Severity.OK, "OK: fine")])) == [Sent.YES, Sent.YES]
    assert {one.code for one in sink.read_back([WEB, DB])} == {None}
    far.work()
    shown = {one.service: one for one in sink.read_back([WEB, DB])}
    assert (shown[WEB].code, shown[WEB].text) == (Severity.CRITICAL, "CRITICAL: latency 840 ms")
    assert shown[DB].code is Severity.OK
    assert abs(shown[WEB].last_check - time.time()) <= 2
    assert (far.request_faults, far.answer_faults) == ([], [])


def test_a_clock_that_goes_wrong_there_does_not_make_us_doubt_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with centreon(now=lambda: time.time() - 5000) as fake:
        fake.service(fake.host("web-1"), "Anomaly-web")
        monkeypatch.setenv("TOKEN", fake.API_TOKEN)
        sink = CentreonApi(V2.settings.model_validate({"api": {"url": fake.url, "token": "env:TOKEN"}}))
        sink.send([result()])
        fake.work()
        (shown,) = sink.read_back([WEB])
        assert abs(shown.last_check - time.time()) <= 2
        sink.close()


def test_a_service_that_is_not_there_is_a_no_and_holds_up_nobody(far: Fake, sink: _WebApi) -> None:
    outcomes = sink.send([result(), result(NOBODY), result(DB)])
    assert sent(outcomes) == [Sent.YES, Sent.NO, Sent.YES]
    assert outcomes[1].why
    far.work()
    assert {one.code for one in sink.read_back([WEB, DB])} == {Severity.CRITICAL}


def test_a_service_that_was_deleted_meanwhile_ends_no_batch(far: Fake, build: Build) -> None:
    host = far.host("many")
    keys = [ServiceKey("many", f"Anomaly-{number}") for number in range(40)]
    for key in keys:
        far.service(host, key.service)
    sink = build(batch=40)
    assert set(sent(sink.send([result(key) for key in keys]))) == {Sent.YES}
    gone = far.named("many", "Anomaly-17")
    assert gone is not None
    del far.services[gone.id]
    outcomes = sink.send([result(key, Severity.WARNING) for key in keys])
    assert [place for place, outcome in enumerate(outcomes) if outcome.sent is not Sent.YES] == [17]
    far.work()
    assert {one.code for one in sink.read_back(keys) if one.service != keys[17]} == {Severity.WARNING}
    far.service(host, "Anomaly-17")
    sink._absent.clear()  # type: ignore[attr-defined]  # a minute later
    assert sent(sink.send([result(keys[17])])) == [Sent.YES]


def test_the_requests_for_a_batch_do_not_grow_with_its_services(far: Fake, sink: _WebApi) -> None:
    host = far.host("many")
    keys = [ServiceKey("many", f"Anomaly-{number}") for number in range(80)]
    for key in keys:
        far.service(host, key.service)
    sink.send([result(key) for key in keys])
    before = len(far.asked)
    assert set(sent(sink.send([result(key) for key in keys]))) == {Sent.YES}
    assert len(far.asked) - before == 1


def test_a_session_that_ended_is_renewed_once(far: Fake, build: Build) -> None:
    sink = build(by_password=True)
    assert sent(sink.send([result()])) == [Sent.YES]
    far.expire_tokens()
    assert sent(sink.send([result()])) == [Sent.YES]


def test_an_expired_password_is_told_as_such(far: Fake, build: Build) -> None:
    far.password_expired = True
    (outcome,) = build(by_password=True).send([result()])
    assert (outcome.sent, "expired" in outcome.why) == (Sent.NO, True)
    assert far.PASSWORD not in outcome.why


@pytest.mark.parametrize("plugin", [V2, V1])
def test_a_server_that_is_down_is_asked_once_a_pass(far: Fake, build: Build, plugin: Any) -> None:
    sink = build(plugin, batch=1)
    sink.send([result(), result(DB)])
    far.fail("/", status=503, times=50)
    before = len(far.asked) + 50 - sum(fault.times for fault in far.faults)
    outcomes = sink.send([result(), result(DB)])
    assert Sent.YES not in sent(outcomes)
    assert 50 - sum(fault.times for fault in far.faults) - before + len(far.asked) <= 2
    with pytest.raises(TransientError):
        sink.read_back([WEB])


def test_without_the_right_to_submit_nothing_is_tried_one_by_one(far: Fake, build: Build) -> None:
    sink = build(by_password=True)
    sink.read_back([WEB, DB])
    far.admin, far.may_submit = False, False
    before = len(far.asked)
    outcomes = sink.send([result(), result(DB)])
    assert (set(sent(outcomes)), "right" in outcomes[0].why) == ({Sent.NO}, True)
    assert len(far.asked) - before <= 4


def test_check_sink_tells_version_rights_and_what_is_listed(far: Fake, sink: _WebApi) -> None:
    sink.send([result()])
    far.work()
    told = sink.probe(time.time())
    assert "24.10.1" in told.version
    assert any("CRITICAL: latency" in sample for sample in told.samples)
    far.expire_tokens()
    with pytest.raises(PermanentError):
        sink.probe(time.time())


HOSTILE = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\n\r\\n;|[]0123456789PROCESS_")), max_size=300)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=HOSTILE, code=st.sampled_from(Severity))
def test_whatever_is_in_a_text_the_engine_reads_one_result_for_our_service(
    far: Fake, build: Build, text: str, code: Severity
) -> None:
    for plugin in (V2, V1):
        sink = build(plugin)
        assert sent(sink.send([result(text=text, code=code)])) == [Sent.YES]
        far.work()
        assert {one.service: one.code for one in sink.read_back([WEB, DB])}[WEB] is code
        assert {one.service: one.code for one in sink.read_back([DB])} == {DB: None}
    assert far.request_faults == []


def test_a_platform_that_drops_what_it_took_is_found_out_and_put_right(far: Fake, sink: _WebApi) -> None:
    store, now = InMemory(), time.time()
    deliver = Deliver(store, sink, Pace(settle=5, read_back=10))
    store.put([want(None, result(text="latency 840 ms"), now, 3600)])
    far.drops = True
    deliver.step(now)
    far.work()
    far.drops = False
    for second in range(1, 30):
        deliver.step(now + second)
        far.work()
    (shown,) = sink.read_back([WEB])
    assert shown.code is Severity.CRITICAL
