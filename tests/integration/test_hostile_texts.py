"""A million texts that would like to be commands, through every transport's builder; a sample through a real Nagios."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from alerting.line import result_fields, result_line
from tests.centreon_engine import MOST
from tests.integration.nagios import Nagios
from tests.naive import naive_engine
from tocsin.model import CheckResult, Perf, ServiceKey, Severity

pytestmark = pytest.mark.integration

WEB, DB = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db")
PIECES = [
    *"\n\r\t\x00\x0b\x0c\x1b\x7f\x85;|\\`'\"<>&$[]=, ",
    *("\u2028", "\u2029", "\u037e", "\u1fef", "\u202e", "\ufeff", "\ud800", "\U0001f4a5", "é", "漢" * 40),
    *("\\n", "\\r\\n", "\\\\n", "%0a", "&#10;", "$USER1$", "$(reboot)", "x" * 300, "x" * 4100, "0", "nan", "1,5"),
    "[1] PROCESS_SERVICE_CHECK_RESULT;db-1;Anomaly-db;0;all good",
    "\n[1] PROCESS_SERVICE_CHECK_RESULT;db-1;Anomaly-db;0;all good\n",
    "EXTERNALCMD:1:[1] SHUTDOWN_PROGRAM",
    "\\n[1] RESTART_PROGRAM;1",
    "'a'=1;2;3;4;5",
]


def results(seed: int, count: int) -> Iterator[CheckResult]:
    draw = random.Random(seed)
    for _ in range(count):
        text = "".join(draw.choices(PIECES, k=draw.randint(0, 8)))
        perf = (
            Perf(
                label="".join(draw.choices(PIECES, k=2)),
                value=draw.choice((1.5, float("nan"), -1e300)),
                unit=draw.choice(("ms", ";")),
            ),
        )
        yield CheckResult(service=WEB, code=Severity(draw.randrange(4)), text=text, perf=perf, at=1_763_779_210)


@pytest.mark.parametrize("seed", range(20))
def test_each_is_read_as_one_result_for_our_service_whatever_carries_it(seed: int) -> None:
    """Command file, nsca-ng and gorgone carry the line; the Web API carries its parts as JSON, and PHP makes the line of them."""
    for result in results(seed, 50_000):
        line = result_line(result)
        assert len(line) <= 4000 < MOST
        assert line.count(b"\n") == 1
        ((_, host, service, code, _, _),) = naive_engine(line)
        assert (host, service, code) == (WEB.host, WEB.service, str(int(result.code))), result
        text, perf = result_fields(result)
        said = json.loads(json.dumps({"output": text.replace("\\n", " / "), "performance_data": perf}))
        assert "\\" not in said["output"]
        made = f"[1] PROCESS_SERVICE_CHECK_RESULT;{host};{service};{code};{said['output']}|{said['performance_data']}\n".encode()
        ((_, host, service, code, _, _),) = naive_engine(made)
        assert (host, service, code) == (WEB.host, WEB.service, str(int(result.code))), result


def test_a_real_engine_reads_them_so_too(nagios: Callable[..., Nagios]) -> None:
    engine = nagios(services=[(WEB.host, WEB.service), (DB.host, DB.service)])
    engine.start()
    pipe = os.open(engine.command_file, os.O_WRONLY)
    try:
        for place, result in enumerate(results(99, 2000)):
            os.write(pipe, result_line(result))
            if place % 200 == 199:
                time.sleep(0.2)
        last = CheckResult(service=WEB, code=Severity.WARNING, text="WARNING: the last one", at=int(time.time()))
        os.write(pipe, result_line(last))
    finally:
        os.close(pipe)
    engine.wait(lambda: engine.shown()[WEB].text == last.text, "show the last one")
    assert engine.shown()[DB].code is None
    log = (engine.folder / "nagios.log").read_text(errors="replace")
    assert log.count("PASSIVE SERVICE CHECK: web-1;Anomaly-web") == 2001
    assert "could not be found" not in log
    assert "Unrecognized" not in log
