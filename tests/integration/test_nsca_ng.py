"""Results go through a real nsca-ng server into a real engine."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alerting.sinks.nsca_ng import PLUGIN
from tests.integration.debian import program
from tests.integration.nagios import Nagios
from tocsin.model import CheckResult, Perf, Sent, ServiceKey, Severity
from tocsin.ports import Sink

pytestmark = pytest.mark.integration

WEB, DB, FOREIGN = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db"), ServiceKey("web-1", "Disk")


def critical(service: ServiceKey, text: str = "CRITICAL: latency 840 ms, expected 60..180") -> CheckResult:
    perf = (Perf(label="latency", value=840.0, unit="ms"),)
    return CheckResult(service=service, code=Severity.CRITICAL, text=text, perf=perf, at=int(time.time()))


@pytest.fixture
def far_side(nagios: Callable[..., Nagios]) -> Iterator[tuple[Nagios, Sink]]:
    """An engine behind an nsca-ng server that lets us write services named Anomaly-… and nothing else."""
    server = program("nsca-ng", ["nsca-ng-server"], "usr/sbin/nsca-ng")
    client = program("send_nsca", ["nsca-ng-client"], "usr/sbin/send_nsca")
    engine = nagios(services=[(one.host, one.service) for one in (WEB, DB, FOREIGN)])
    engine.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = engine.folder
    (folder / "nsca-ng.cfg").write_text(
        f'command_file = "{engine.command_file}"\nlisten = "127.0.0.1:{port}"\ntemp_directory = "{folder}"\n'
        + ('user = "nobody"\n' if os.getuid() == 0 else "")
        + 'authorize "tocsin" {\n  password = "open sesame"\n  services = "Anomaly-.*@.*"\n}\n'
    )
    config = folder / "send_nsca.cfg"
    config.write_text('identity = "tocsin"\npassword = "open sesame"\nserver = "127.0.0.1"\n')
    if os.getuid() == 0:
        os.chown(engine.command_file, pwd.getpwnam("nobody").pw_uid, -1)
    process = subprocess.Popen(
        [server, "-F", "-S", "-c", folder / "nsca-ng.cfg"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 10
        while process.poll() is None and not _listens(port):
            assert time.monotonic() < deadline, "the nsca-ng server does not listen"
            time.sleep(0.05)
        settings = PLUGIN.settings.model_validate({"config": config, "program": str(client), "port": port, "timeout": "5s"})
        yield engine, PLUGIN.build(settings, None)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_results_arrive_with_their_time_text_and_graph(far_side: tuple[Nagios, Sink]) -> None:
    engine, sink = far_side
    sent = [critical(WEB), critical(DB, "CRITICAL: forged\n[1] PROCESS_SERVICE_CHECK_RESULT;web-1;Anomaly-web;0;all good\\nx")]
    assert [outcome.sent for outcome in sink.send(sent)] == [Sent.YES, Sent.YES]
    engine.wait(lambda: all(engine.shown()[key].code is Severity.CRITICAL for key in (WEB, DB)), "show what was sent")
    shown = engine.shown()
    assert (shown[WEB].text, shown[WEB].last_check) == (sent[0].text, sent[0].at)


def test_a_service_the_server_does_not_let_us_write_holds_up_nobody(far_side: tuple[Nagios, Sink]) -> None:
    engine, sink = far_side
    batch = [critical(FOREIGN), critical(WEB), critical(DB)]
    assert Sent.YES not in {outcome.sent for outcome in sink.send(batch)}
    outcomes = sink.send(batch)
    assert [outcome.sent for outcome in outcomes] == [Sent.UNKNOWN, Sent.YES, Sent.YES]
    assert "authoriz" in outcomes[0].why.lower()
    engine.wait(lambda: all(engine.shown()[key].code is Severity.CRITICAL for key in (WEB, DB)), "show the others")
    assert engine.shown()[FOREIGN].code is None


def test_a_wrong_password_and_a_server_that_is_down_are_told(far_side: tuple[Nagios, Sink], tmp_path: Path) -> None:
    _, sink = far_side
    settings = sink._settings.model_copy(update={"config": tmp_path / "send_nsca.cfg"})  # type: ignore[attr-defined]
    settings.config.write_text('identity = "tocsin"\npassword = "wrong"\nserver = "127.0.0.1"\n')
    (refused,) = PLUGIN.build(settings, None).send([critical(WEB)])
    assert (refused.sent, bool(refused.why)) == (Sent.UNKNOWN, True)
    assert "wrong" not in refused.why
    (down,) = PLUGIN.build(settings.model_copy(update={"port": 1}), None).send([critical(WEB)])
    assert "127.0.0.1" in down.why
