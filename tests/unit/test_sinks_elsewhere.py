"""gorgone, webhooks, Alertmanager and chat, each against a receiver on a real socket or a real folder."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerting.sinks import alertmanager, gorgone, notify, webhook
from tests.naive import naive_engine
from tests.receivers import Receiver, receiver
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Perf, Sent, ServiceKey, Severity
from tocsin.ports import Closable, Plugin, Sink

WEB, DB, PARIS = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db"), ServiceKey("par-7", "Anomaly-web")
HOSTILE = 'x"}]\n[1] PROCESS_SERVICE_CHECK_RESULT;db-1;Anomaly-db;0;all good {{ 7*7 }} \\u0000 | \x1b[2J'


def result(service: ServiceKey = WEB, code: Severity = Severity.CRITICAL, text: str = "CRITICAL: latency 840 ms") -> CheckResult:
    return CheckResult(
        service=service, code=code, text=text, perf=(Perf(label="latency", value=840.0, unit="ms"),), at=1_763_779_210
    )


OPEN: list[Closable] = []


@pytest.fixture(autouse=True)
def close() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def build(plugin: Plugin, **settings: Any) -> Sink:
    sink: Sink = plugin.build(plugin.settings.model_validate(settings), None)
    if isinstance(sink, Closable):
        OPEN.append(sink)
    return sink


def sent(sink: Sink, *results: CheckResult) -> list[Sent]:
    return [outcome.sent for outcome in sink.send(results)]


def why(sink: Sink, *results: CheckResult) -> str:
    return sink.send(results)[0].why


@pytest.fixture
def far() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


# --- gorgone's spool ----------------------------------------------------------------------------------------------------


def test_a_batch_is_one_whole_file_with_each_hosts_poller(tmp_path: Path) -> None:
    sink = build(gorgone.SPOOL, folder=tmp_path, poller=1, pollers={"par-*": 4})
    assert sent(sink, result(), result(PARIS, text=HOSTILE)) == [Sent.YES, Sent.YES]
    (file,) = tmp_path.iterdir()
    assert (file.name[0], file.suffix) == ("t", ".cmd")
    first, second = file.read_bytes().splitlines(keepends=True)
    assert first.startswith(b"EXTERNALCMD:1:[1763779210] PROCESS_SERVICE_CHECK_RESULT;web-1;Anomaly-web;2;CRITICAL")
    assert second.startswith(b"EXTERNALCMD:4:")
    ((_, host, service, code, _, _),) = naive_engine(second.removeprefix(b"EXTERNALCMD:4:"))
    assert (host, service, code) == ("par-7", "Anomaly-web", "2")


def test_what_gorgone_does_not_take_is_taken_back_before_it_is_untrue(tmp_path: Path) -> None:
    sink = build(gorgone.SPOOL, folder=tmp_path, patience="60s")
    assert sent(sink, result()) == [Sent.YES]
    (file,) = tmp_path.iterdir()
    os.utime(file, (1, 1))
    assert "is it running" in why(sink, result())
    assert list(tmp_path.iterdir()) == []
    assert sent(sink, result()) == [Sent.YES]


def test_files_of_others_in_the_spool_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "external-cmd-1.cmd").write_text("x")
    os.utime(tmp_path / "external-cmd-1.cmd", (1, 1))
    assert sent(build(gorgone.SPOOL, folder=tmp_path), result()) == [Sent.YES]
    assert (tmp_path / "external-cmd-1.cmd").exists()


def test_a_spool_that_is_not_there_is_told_and_never_made(tmp_path: Path) -> None:
    sink = build(gorgone.SPOOL, folder=tmp_path / "none")
    (outcome,) = sink.send([result()])
    assert (outcome.sent, "writable for us" in outcome.why) == (Sent.NO, True)
    assert not (tmp_path / "none").exists()


# --- gorgone's HTTP server -----------------------------------------------------------------------------------------------


def test_each_poller_gets_its_commands_in_one_request(far: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GORGONE", "secret")
    far.answer = lambda _: (200, {"token": "1a2b"})
    sink = build(gorgone.HTTP, url=far.url, pollers={"par-*": 4}, user="tocsin", password="env:GORGONE")
    assert sent(sink, result(), result(PARIS), result(DB, text=HOSTILE)) == [Sent.YES] * 3
    assert [one.path for one in far.requests] == [f"/api/nodes/{poller}/centreon/engine/command" for poller in (1, 4)]
    assert [len(one.json()["commands"]) for one in far.requests] == [2, 1]
    for line in far.requests[0].json()["commands"]:
        assert len(naive_engine(line.encode() + b"\n")) == 1
    assert far.requests[0].headers["authorization"] == "Basic dG9jc2luOnNlY3JldA=="


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, {"error": "method_unknown"}), Sent.NO),
        ((403, {"error": "http_error_403"}), Sent.NO),
        ((500, {"message": "down"}), Sent.UNKNOWN),
        ((200, []), Sent.NO),
    ],
)
def test_an_answer_without_a_token_is_no_yes(far: Receiver, answer: tuple[int, Any], outcome: Sent) -> None:
    far.answer = lambda _: answer
    assert sent(build(gorgone.HTTP, url=far.url), result()) == [outcome]


def test_after_one_refusal_the_rest_of_the_pass_is_not_tried(far: Receiver) -> None:
    far.answer = lambda _: (503, {})
    assert set(sent(build(gorgone.HTTP, url=far.url, batch=1), result(), result(DB), result(PARIS))) == {Sent.UNKNOWN}
    assert len(far.requests) == 1


# --- webhook --------------------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed_so_that_the_receiver_can_check_it(far: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k1")
    assert sent(build(webhook.PLUGIN, url=far.url, signature="env:KEY"), result(text=HOSTILE)) == [Sent.YES]
    (request,) = far.requests
    stamp, mac = (part.partition("=")[2] for part in request.headers["x-tocsin-signature"].split(","))
    assert mac == hmac.new(b"k1", stamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert (request.json()["text"], request.json()["state"]) == (HOSTILE, "CRITICAL")


def test_the_same_result_sent_again_has_the_same_id_and_another_one_another(far: Receiver) -> None:
    sink = build(webhook.PLUGIN, url=far.url)
    sink.send([result(), result(), result(DB), result(code=Severity.OK)])
    ids = [one.json()["id"] for one in far.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_template_writes_the_body_and_a_hostile_text_stays_a_text(far: Receiver) -> None:
    template = '{"title": {{ (host ~ " " ~ state) | tojson }}, "text": {{ text | tojson }}}'
    assert sent(build(webhook.PLUGIN, url=far.url, template=template), result(text=HOSTILE)) == [Sent.YES]
    assert far.requests[0].json() == {"title": "web-1 CRITICAL", "text": HOSTILE}


@pytest.mark.parametrize("template", ["{{ hosts }}", "{% if %}", "{{ text.__class__.__mro__ }}", "{{ 1 / 0 }}"])
def test_a_template_that_cannot_be_filled_in_is_refused_before_the_start(template: str) -> None:
    with pytest.raises(ValueError, match="cannot be filled in"):
        webhook.PLUGIN.settings.model_validate({"url": "https://hooks.example", "template": template})


def test_a_webhook_that_is_down_is_asked_once_a_pass(far: Receiver) -> None:
    far.answer = lambda _: (502, {})
    assert sent(build(webhook.PLUGIN, url=far.url), result(), result(DB)) == [Sent.UNKNOWN, Sent.NO]
    assert len(far.requests) == 1


def test_one_result_the_receiver_refuses_holds_up_nobody(far: Receiver) -> None:
    far.answer = lambda request: (400 if b"db-1" in request.body else 200, {})
    assert sent(build(webhook.PLUGIN, url=far.url), result(), result(DB), result(PARIS)) == [Sent.YES, Sent.NO, Sent.YES]


def test_no_secret_is_in_what_is_told(far: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "/T0/B0/topsecret")
    monkeypatch.setenv("AUTH", "Bearer alsosecret")
    far.answer = lambda request: (400, {"message": f"no such hook {request.path} {request.headers['authorization']}"})
    said = why(build(webhook.PLUGIN, url=far.url, url_secret="env:HOOK", headers={"authorization": "env:AUTH"}), result())
    assert far.requests[0].path == "/T0/B0/topsecret"
    assert "no such hook" in said
    assert "secret" not in said


# --- Alertmanager ---------------------------------------------------------------------------------------------------------


class Alerts:
    """What an Alertmanager keeps: alerts by their labels, those over are not listed."""

    def __init__(self, far: Receiver) -> None:
        self.firing: dict[str, Any] = {}
        far.answer = self.answer

    def answer(self, request: Any) -> tuple[int, Any]:
        if request.method == "GET":
            return 200, list(self.firing.values())
        for alert in request.json():
            name = json.dumps(alert["labels"], sort_keys=True)
            assert alert["startsAt"] <= alert["endsAt"]
            if alert["endsAt"] > "2025-11-22T03:00:00.000Z":
                self.firing[name] = alert
            else:
                self.firing.pop(name, None)
        return 200, {}


def test_an_alert_fires_changes_severity_and_is_resolved(far: Receiver) -> None:
    alerts = Alerts(far)
    plugin = alertmanager.PLUGIN
    sink = alertmanager.Alertmanager(
        plugin.settings.model_validate({"url": far.url, "labels": {"team": "web"}}), lambda: 1_763_780_400.0
    )
    OPEN.append(sink)
    for code, shown in ((Severity.WARNING, ["warning"]), (Severity.CRITICAL, ["critical"]), (Severity.OK, [])):
        assert sent(sink, result(code=code)) == [Sent.YES]
        assert [one["labels"]["severity"] for one in alerts.firing.values()] == shown
        assert {one.service: one.code for one in sink.read_back([WEB, DB])} == {WEB: code, DB: Severity.OK}


def test_an_answer_that_makes_no_sense_is_not_believed(far: Receiver) -> None:
    sink = build(alertmanager.PLUGIN, url=far.url)
    far.answer = lambda _: (200, {"labels": 3})
    assert [one.code for one in sink.read_back([WEB])] == [Severity.OK]
    far.answer = lambda _: (401, {})
    with pytest.raises(TransientError):
        sink.read_back([WEB])


# --- chat and mail --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # in apprise, on Python 3.11
def test_a_message_reaches_every_target(far: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", far.url.replace("http://", "json://user:topsecret@") + "/hook")
    sink = build(notify.PLUGIN, targets=["env:CHAT"])
    assert sent(sink, result(), result(DB, Severity.OK, "OK: recovered")) == [Sent.YES, Sent.YES]
    assert [one.json()["title"] for one in far.requests] == ["CRITICAL web-1 / Anomaly-web", "OK db-1 / Anomaly-db"]
    far.answer = lambda _: (500, {})
    outcomes = sink.send([result(), result(DB)])
    assert [one.sent for one in outcomes] == [Sent.UNKNOWN, Sent.NO]
    assert "topsecret" not in str(outcomes)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # in apprise, on Python 3.11
def test_an_address_nobody_understands_is_told_by_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", "nothing://topsecret")
    said = why(build(notify.PLUGIN, targets=["env:CHAT"]), result())
    assert "env:CHAT" in said
    assert "topsecret" not in said
