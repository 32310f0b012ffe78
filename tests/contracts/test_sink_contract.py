"""What every sink promises."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from alerting.sinks.command_file import PLUGIN as COMMAND_FILE
from alerting.sinks.recording import PLUGIN as RECORDING
from tests.fakes import FakeEngine
from tests.naive import naive_engine
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Outcome, Perf, Sent, ServiceKey, Severity, Shown
from tocsin.ports import Sink

WEB, DB, NOBODY = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db"), ServiceKey("nobody", "Anomaly-web")


def critical(service: ServiceKey = WEB, at: int = 1_763_779_210, text: str = "CRITICAL: latency 840 ms") -> CheckResult:
    return CheckResult(service=service, code=Severity.CRITICAL, text=text, perf=(Perf(label="a", value=1.0),), at=at)


class FarSide(Protocol):
    """A sink and what stands behind it."""

    sink: Sink

    def work(self) -> None:
        """Let the receiver take what was sent and show it."""
        ...


@dataclass
class Memory:
    sink: Sink

    def work(self) -> None: ...


class Fake:
    def __init__(self) -> None:
        self._engine = FakeEngine([WEB, DB])
        self.sink: Sink = self._engine

    def work(self) -> None:
        self._engine.work()


@dataclass
class Pipe:
    """The reading side of an engine's command file, and its status file."""

    sink: Sink
    pipe: int
    status: Path

    def __post_init__(self) -> None:
        self.shown: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.work()

    def work(self) -> None:
        while True:
            try:
                stream = os.read(self.pipe, 65536)
            except BlockingIOError:
                break
            if not stream:
                break
            for line in stream.splitlines(keepends=True):
                stamp = line.split(b"]")[0][1:].decode()
                ((_, host, service, code, text, _),) = naive_engine(line)
                if (host, service) in {(WEB.host, WEB.service), (DB.host, DB.service)}:
                    self.shown[host, service] = (code, text, stamp)
        blocks = [
            f"info {{\n\tcreated={int(time.time())}\n\tversion=4.4.6\n\t}}\n",
            "hoststatus {\n\thost_name=web-1\n\tcurrent_state=1\n\t}\n",
        ]
        for key in (WEB, DB):
            code, text, stamp = self.shown.get((key.host, key.service), ("0", "", "0"))
            checked = int(stamp != "0")
            blocks.append(
                f"servicestatus {{\n\thost_name={key.host}\n\tservice_description={key.service}\n\tmodified_attributes=0\n"
                f"\thas_been_checked={checked}\n\tcurrent_state={code}\n\tplugin_output={text}\n\tlast_check={stamp}\n\t}}\n\n"
            )
        self.status.write_text("".join(blocks), encoding="utf-8")


@contextmanager
def command_file(folder: Path) -> Iterator[Pipe]:
    fifo, status = folder / "engine.cmd", folder / "status.dat"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        settings = COMMAND_FILE.settings.model_validate({"command_file": fifo, "status_file": status, "max_status_age": "60s"})
        yield Pipe(COMMAND_FILE.build(settings, None), pipe, status)
    finally:
        os.close(pipe)


@pytest.fixture(params=["recording", "recording to a file", "command-file", "fake"])
def far_side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FarSide]:
    if request.param == "command-file":
        with command_file(tmp_path) as pipe:
            yield pipe
    elif request.param == "fake":
        yield Fake()
    else:
        file = {"file": tmp_path / "sent.jsonl"} if "file" in request.param else {}
        yield Memory(RECORDING.build(RECORDING.settings.model_validate(file), None))


def codes(shown: Sequence[Shown]) -> dict[ServiceKey, Severity | None]:
    return {one.service: one.code for one in shown}


def test_there_is_one_outcome_per_result_in_order(far_side: FarSide) -> None:
    assert far_side.sink.send([]) == [] or tuple(far_side.sink.send([])) == ()
    outcomes = far_side.sink.send([critical(), critical(DB), critical(WEB, 1_763_779_212)])
    assert [outcome.sent for outcome in outcomes] == [Sent.YES] * 3


def test_what_was_sent_is_shown(far_side: FarSide) -> None:
    assert codes(far_side.sink.read_back([WEB, DB])) == {WEB: None, DB: None}
    far_side.sink.send([critical()])
    far_side.work()
    shown = {one.service: one for one in far_side.sink.read_back([DB, WEB])}
    assert codes(list(shown.values())) == {WEB: Severity.CRITICAL, DB: None}
    assert (shown[WEB].text, shown[WEB].last_check) == ("CRITICAL: latency 840 ms", 1_763_779_210)


def test_only_what_was_asked_for_is_told(far_side: FarSide) -> None:
    far_side.sink.send([critical(), critical(DB)])
    far_side.work()
    assert codes(far_side.sink.read_back([DB])) == {DB: Severity.CRITICAL}
    assert list(far_side.sink.read_back([])) == []


def test_sending_again_changes_nothing(far_side: FarSide) -> None:
    for _ in range(3):
        far_side.sink.send([critical()])
        far_side.work()
    assert codes(far_side.sink.read_back([WEB])) == {WEB: Severity.CRITICAL}


def test_a_hostile_text_is_one_result(far_side: FarSide) -> None:
    forged = "x\n[1] PROCESS_SERVICE_CHECK_RESULT;db-1;Anomaly-db;0;all good"
    far_side.sink.send([critical(text=forged)])
    far_side.work()
    assert codes(far_side.sink.read_back([WEB, DB])) == {WEB: Severity.CRITICAL, DB: None}


# --- the command file alone ---------------------------------------------------------------------------------------------


def build(path: Path, status: Path | None = None) -> Sink:
    sink: Sink = COMMAND_FILE.build(COMMAND_FILE.settings.model_validate({"command_file": path, "status_file": status}), None)
    return sink


def only(outcomes: Sequence[Outcome]) -> Outcome:
    (outcome,) = set(outcomes)
    return outcome


def test_a_command_file_that_is_not_there_is_never_made(tmp_path: Path) -> None:
    outcome = only(build(tmp_path / "engine.cmd").send([critical(), critical(DB)]))
    assert (outcome.sent, "not there" in outcome.why) == (Sent.NO, True)
    assert list(tmp_path.iterdir()) == []


def test_a_regular_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "engine.cmd").write_text("")
    outcome = only(build(tmp_path / "engine.cmd").send([critical()]))
    assert (outcome.sent, "is no pipe" in outcome.why) == (Sent.NO, True)
    assert (tmp_path / "engine.cmd").read_text() == ""


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other")
    (tmp_path / "engine.cmd").symlink_to(tmp_path / "other")
    assert "symbolic link" in only(build(tmp_path / "engine.cmd").send([critical()])).why


def test_a_pipe_nobody_reads_is_down(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "engine.cmd")
    outcome = only(build(tmp_path / "engine.cmd").send([critical()]))
    assert (outcome.sent, outcome.why.endswith("the engine is down")) == (Sent.NO, True)


def test_a_full_pipe_refuses_the_rest_without_waiting(tmp_path: Path) -> None:
    with command_file(tmp_path) as pipe:
        many = [critical(ServiceKey("web-1", f"s{number}"), text="x" * 200) for number in range(1000)]
        begin = time.monotonic()
        outcomes = pipe.sink.send(many)
        assert time.monotonic() - begin < 0.5
        taken = sum(outcome.sent is Sent.YES for outcome in outcomes)
        assert 100 < taken < 1000
        assert {outcome.sent for outcome in outcomes[taken:]} == {Sent.NO}
        assert "does not keep up" in outcomes[-1].why


def test_a_name_that_cannot_be_stops_only_itself(tmp_path: Path) -> None:
    with command_file(tmp_path) as pipe:
        outcomes = pipe.sink.send([critical(), critical(ServiceKey("a;b", "s")), critical(DB)])
        assert [outcome.sent for outcome in outcomes] == [Sent.YES, Sent.NO, Sent.YES]


def test_a_service_the_engine_does_not_have_is_left_out(tmp_path: Path) -> None:
    with command_file(tmp_path) as pipe:
        pipe.sink.send([critical(NOBODY)])
        pipe.work()
        assert codes(pipe.sink.read_back([NOBODY, WEB])) == {WEB: None}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("info {\n\tcreated=1000\n\t}\n", "is the engine running"),
        ("", "does not say when it was written"),
        ("\x00\xff garbage {{{\n}\n=\n", "does not say when it was written"),
    ],
)
def test_a_status_file_that_cannot_be_believed_is_not(tmp_path: Path, content: str | None, why: str) -> None:
    status = tmp_path / "status.dat"
    if content is not None:
        status.write_text(content, encoding="utf-8")
    with pytest.raises(TransientError, match=why):
        build(tmp_path / "engine.cmd", status).read_back([WEB])


def test_blocks_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    status = tmp_path / "status.dat"
    bad = "servicestatus {\n\thost_name=web-1\n\tservice_description=Anomaly-web\n\tcurrent_state=9\n\tlast_check=x\n\t}\n"
    status.write_text(
        f"info {{\n\tcreated={int(time.time())}\n\t}}\n{bad}servicestatus {{\n\thost_name=unfinished\n", encoding="utf-8"
    )
    assert list(build(tmp_path / "engine.cmd", status).read_back([WEB])) == []


def test_without_a_status_file_nothing_can_be_read_back(tmp_path: Path) -> None:
    sink = build(tmp_path / "engine.cmd")
    assert not sink.reads_back
    with pytest.raises(TransientError, match="no status_file"):
        sink.read_back([WEB])


def test_a_record_is_one_json_object_per_result(tmp_path: Path) -> None:
    file = tmp_path / "sent.jsonl"
    sink = RECORDING.build(RECORDING.settings.model_validate({"file": file}), None)
    sink.send([critical(), critical(DB)])
    assert file.read_text().splitlines()[0] == (
        '{"at": 1763779210, "host": "web-1", "service": "Anomaly-web", "code": 2, "text": "CRITICAL: latency 840 ms", '
        '"perf": [{"label": "a", "value": 1.0, "unit": ""}]}'
    )
    assert only(RECORDING.build(RECORDING.settings.model_validate({"file": tmp_path}), None).send([critical()])).sent is Sent.NO
