"""What Tocsin shows about itself."""

from __future__ import annotations

import pytest

from alerting.desired import UNDELIVERABLE
from alerting.selfwatch import Pulse, SourceHealth, delivery, heartbeat, sources
from tocsin.model import Desired, ServiceKey, Severity

NOW = 10_000.0
OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(
    ("last_tick", "error", "code", "text"),
    [
        (NOW - 70, "", OK, "alive, 1 component type, up for 1h 0m"),
        (NOW - 70, "disk full", WARNING, "web was last judged 1m 10s ago: disk full"),
        (NOW - 200, "", WARNING, "web was last judged 3m 20s ago"),
        (NOW - 700, "", CRITICAL, "web was last judged 11m 40s ago"),
        (None, "", CRITICAL, "web was last judged 1h ago"),
    ],
)
def test_heartbeat(last_tick: float | None, error: str, code: Severity, text: str) -> None:
    told = heartbeat("tocsin", [Pulse(component_type="web", every=60, last_tick=last_tick, error=error)], NOW, NOW - 3600)
    assert (told.service, told.code) == (ServiceKey("tocsin", "tocsin-heartbeat"), code)
    assert told.text.replace("1h 0m", "1h") == text.replace("1h 0m", "1h")


@pytest.mark.parametrize(
    ("failing_since", "code", "text"),
    [
        (None, OK, "1 source answering"),
        (NOW, WARNING, "files (web) does not answer: gone away"),
        (NOW - 60, WARNING, "files (web) has not answered for 1m: gone away"),
        (NOW - 900, CRITICAL, "files (web) has not answered for 15m: gone away"),
    ],
)
def test_sources(failing_since: float | None, code: Severity, text: str) -> None:
    health = SourceHealth(name="files", component_type="web", failing_since=failing_since, error="gone\naway", late=30.0)
    told = sources("tocsin", [health], NOW)
    assert (told.code, told.text) == (code, text)


def row(host: str, **changes: object) -> Desired:
    plain = {"code": OK, "text": "", "changed_at": 9000, "valid_until": 20_000, "next_due_at": 10_100.0}
    return Desired(service=ServiceKey(host, "s"), **{**plain, **changes})  # type: ignore[arg-type]


def test_delivery_says_what_cannot_be_delivered_and_what_waits() -> None:
    assert delivery("tocsin", [row("a"), row("b")], NOW).text == "2 services kept up to date"
    gone = delivery("tocsin", [row(f"h{number}", error=UNDELIVERABLE) for number in range(7)], NOW)
    assert gone.code is CRITICAL
    assert gone.text == "7 services unknown on the far side: h0/s, h1/s, h2/s, h3/s, h4/s and 2 more"
    stuck = delivery("tocsin", [row("a", attempts=5, error="full")], NOW, error="status.dat: old")
    assert stuck.code is WARNING
    assert stuck.text == "1 service waiting for more than 5m: full\ncannot read back: status.dat: old"


def test_what_is_not_asserted_any_more_is_no_trouble_of_delivery() -> None:
    assert delivery("tocsin", [row("a", error=UNDELIVERABLE, valid_until=9999)], NOW).code is OK


def test_a_source_that_answers_in_part_is_a_warning_and_counts_as_no_failure() -> None:
    health = SourceHealth(name="splunk", component_type="web", degraded_since=NOW - 90, error="1 of 3 searches failed")
    told = sources("tocsin", [health], NOW)
    assert told.code is Severity.WARNING
    assert told.text == "splunk (web) degraded for 1m 30s: 1 of 3 searches failed"
    assert told.perf[0].value == 0


def test_what_is_cut_or_comes_too_late_is_told() -> None:
    told = sources("tocsin", [SourceHealth(name="files", component_type="web")], NOW, notes=["web: 12 series are left out"])
    assert told.code is Severity.WARNING and told.text == "web: 12 series are left out"
