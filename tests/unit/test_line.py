"""Whatever is in a text, the engine reads one command, and it is ours."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerting.line import MOST_BYTES, MOST_PERF_BYTES, check_name, clean, perfdata, result_line
from tests.naive import naive_engine
from tocsin.model import CheckResult, Perf, ServiceKey, Severity

WEB = ServiceKey("srv-web-01", "Anomaly-web")


def line(text: str, perf: tuple[Perf, ...] = (), service: ServiceKey = WEB) -> bytes:
    return result_line(CheckResult(service=service, code=Severity.CRITICAL, text=text, perf=perf, at=1_763_779_210))


def must_be_one_result_of_ours(sent: bytes, service: ServiceKey = WEB) -> tuple[str, str]:
    """The text and perfdata the engine made of it."""
    assert len(sent) <= MOST_BYTES
    (command,) = naive_engine(sent)
    assert command[:4] == ("PROCESS_SERVICE_CHECK_RESULT", service.host, service.service, "2")
    return command[4], command[5]


def test_a_result_reads_as_it_was_meant() -> None:
    sent = line("CRITICAL: latency.p95 840 ms, expected 60..180", (Perf(label="latency.p95.milliseconds", value=840, unit="ms"),))
    assert sent == (
        b"[1763779210] PROCESS_SERVICE_CHECK_RESULT;srv-web-01;Anomaly-web;2;"
        b"CRITICAL: latency.p95 840 ms, expected 60..180|'latency.p95.milliseconds'=840ms\n"
    )


def test_our_own_line_breaks_become_the_engines() -> None:
    text, _ = must_be_one_result_of_ours(line("CRITICAL: first\nsecond\n\nthird"))
    assert text == "CRITICAL: first\nsecond\nthird"


@pytest.mark.parametrize(
    "hostile",
    [
        "x\n[1] PROCESS_SERVICE_CHECK_RESULT;other;service;0;all good",
        "x\r[1] DISABLE_NOTIFICATIONS",
        "x\\n[1] DISABLE_NOTIFICATIONS\\r\\t\\\\",
        "x" * 8111 + "[1] PROCESS_SERVICE_CHECK_RESULT;other;service;0;all good",
        "é" * 4060 + "[1] DISABLE_NOTIFICATIONS",
        "\u037e\u1fef|;`$&<>\"'",
        "\u202e\u2066\u2028\u2029\u0085\x00\x1b[31m",
        "\ud800 lone surrogate \udfff",
        "a|b=1|c=2",
        "",
        "\n\n\n",
    ],
)
def test_a_hostile_text_is_only_a_text(hostile: str) -> None:
    text, perf = must_be_one_result_of_ours(line(hostile, (Perf(label="a", value=1.0),)))
    assert not set("|;`$&<>\"'\\\r\t\x00\x1b\u202e") & set(text)
    assert perf == "'a'=1"


hostile_texts = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["\n", "\r\n", ";", "|", "\\", "\\n", "\\\\n", "\u037e", "é", "\U0001f525", "\ud800", "\x00", "x" * 700, "é" * 900]
        ),
        st.just("\n[1763779210] PROCESS_SERVICE_CHECK_RESULT;other;service;0;all good\n"),
    ),
    max_size=25,
).map("".join)


@settings(max_examples=300)
@given(text=hostile_texts, labels=st.lists(st.text(max_size=40), max_size=4), values=st.floats())
@example(text="\\" * 4000, labels=[], values=0.0)
def test_no_line_can_hold_a_second_command(text: str, labels: list[str], values: float) -> None:
    perf = tuple(Perf(label=label, value=values, unit=label[:2]) for label in labels)
    must_be_one_result_of_ours(line(text, perf))


def test_thousands_of_hostile_texts_are_only_texts() -> None:
    draw = random.Random(1)
    pieces = [
        "\n",
        "\r",
        ";",
        "|",
        "\\",
        "\\n",
        "[1] ",
        "PROCESS_SERVICE_CHECK_RESULT;o;s;0;ok",
        "é",
        "\u037e",
        "x" * 50,
        "\U0001f525" * 40,
    ]
    for _ in range(4000):
        text = "".join(draw.choices(pieces, k=draw.randrange(200)))
        must_be_one_result_of_ours(line(text, (Perf(label=draw.choice(pieces), value=draw.uniform(-1e9, 1e9)),)))


def test_the_longest_names_still_leave_room_for_a_text() -> None:
    longest = ServiceKey("h" * 255, "é" * 127)
    perf = tuple(Perf(label=f"metric number {number}", value=number / 3, unit="ms") for number in range(100))
    text, kept = must_be_one_result_of_ours(line("é" * 5000, perf, longest), longest)
    assert len(text) > 200
    assert len(kept.encode()) <= MOST_PERF_BYTES
    assert kept.endswith("ms")


@settings(max_examples=100)
@given(text=hostile_texts)
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    "name", ["", "a;b", "a\nb", "a|b", "a\\b", " a", "a ", "x" * 256, "a\u2028b", "a\x00", "a'b", "a=b", "\ud800"]
)
def test_a_name_the_engine_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a host or service"):
        check_name(name)


@pytest.mark.parametrize(
    ("perf", "expected"),
    [
        ([Perf(label="a", value=1.5, unit="ms"), Perf(label="a", value=2)], "'a'=1.5ms"),
        ([Perf(label="a", value=math.nan), Perf(label="b", value=math.inf), Perf(label="c", value=0)], "'c'=0"),
        ([Perf(label="it's a=b,c;d|e", value=1)], "'it s a:b.c.d¦e'=1"),
        ([Perf(label="free", value=12_345_678_901.0, unit="B")], "'free'=12345678901B"),
        ([Perf(label="x", value=1, unit="furlongs")], "'x'=1"),
        ([Perf(label="", value=1), Perf(label=" ", value=1)], ""),
    ],
)
def test_perfdata(perf: list[Perf], expected: str) -> None:
    assert perfdata(perf) == expected
