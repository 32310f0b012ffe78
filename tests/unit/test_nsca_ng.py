"""The client of nsca-ng is a program; what it says, and when it says nothing, decides what became of a batch."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from alerting.sinks.nsca_ng import PLUGIN
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Sent, ServiceKey, Severity
from tocsin.ports import Sink


def results(*services: str) -> list[CheckResult]:
    return [
        CheckResult(service=ServiceKey("web-1", one), code=Severity.OK, text="OK: fine", at=1_763_779_210) for one in services
    ]


def client(folder: Path, script: str, **settings: object) -> Sink:
    program = folder / "send_nsca"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    sink: Sink = PLUGIN.build(PLUGIN.settings.model_validate({"program": str(program), "config": folder / "c", **settings}), None)
    return sink


def test_a_batch_is_one_connection_with_one_command_a_line(tmp_path: Path) -> None:
    sink = client(tmp_path, f'echo "$@" >>{tmp_path}/arguments; cat >>{tmp_path}/sent', server="monitor.example", port=5668)
    assert {one.sent for one in sink.send(results("a", "b"))} == {Sent.YES}
    assert (tmp_path / "arguments").read_text() == f"-C -c {tmp_path}/c -o 5 -H monitor.example -p 5668\n"
    assert (tmp_path / "sent").read_bytes().splitlines() == [
        b"[1763779210] PROCESS_SERVICE_CHECK_RESULT;web-1;a;0;OK: fine",
        b"[1763779210] PROCESS_SERVICE_CHECK_RESULT;web-1;b;0;OK: fine",
    ]


def test_after_a_refused_batch_each_is_sent_alone_until_all_of_it_was(tmp_path: Path) -> None:
    script = (
        f'lines=$(cat); echo "$lines" | wc -l >>{tmp_path}/sizes; case $lines in *";bad;"*) echo "bad: no" >&2; exit 1;; esac'
    )
    sink = client(tmp_path, script)
    assert {one.sent for one in sink.send(results("a", "bad", "c"))} == {Sent.UNKNOWN}
    assert [one.sent for one in sink.send(results("a", "bad", "c"))] == [Sent.YES, Sent.UNKNOWN, Sent.YES]
    assert {one.sent for one in sink.send(results("a", "c"))} == {Sent.YES}
    assert (tmp_path / "sizes").read_text().split() == ["3", "1", "1", "1", "2"]


def test_a_server_that_does_not_answer_is_waited_for_only_so_long(tmp_path: Path) -> None:
    sink = client(tmp_path, "exec sleep 30", timeout="1s")
    begin = time.monotonic()
    (outcome,) = sink.send(results("a"))
    assert (outcome.sent, "no answer within 1 s" in outcome.why) == (Sent.UNKNOWN, True)
    assert time.monotonic() - begin < 10


def test_a_client_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    sink: Sink = PLUGIN.build(PLUGIN.settings.model_validate({"program": str(tmp_path / "none")}), None)
    (outcome,) = sink.send(results("a"))
    assert (outcome.sent, "apt install nsca-ng-client" in outcome.why) == (Sent.NO, True)


def test_a_name_no_engine_could_have_holds_up_nobody(tmp_path: Path) -> None:
    sink = client(tmp_path, "cat >/dev/null")
    assert [one.sent for one in sink.send(results("a", "b;c", "d"))] == [Sent.YES, Sent.NO, Sent.YES]


def test_what_is_shown_cannot_be_read_back(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        client(tmp_path, "exit 0").read_back([ServiceKey("a", "b")])


def test_a_server_name_that_could_be_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match="server"):
        PLUGIN.settings.model_validate({"server": "-c/etc/passwd"})
