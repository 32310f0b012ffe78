"""Silences, acknowledgements, planned work and quiet hours: what each holds back, and nothing else."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerting.maintenance import Maintenance, Planned, QuietHours
from alerting.silences import Respected, Silenced
from tests.unit.test_grouping import incident
from tocsin.model import Anomaly, Downtime, Severity, utc
from tocsin.records import Acknowledged, Matcher, Silence
from tocsin.recurrence import Recurring, Span
from tocsin.timegrid import Calendar

NOW = utc(1_770_000_000)
AT = int(NOW.timestamp())


def anomaly(metric: str) -> Anomaly:
    return Anomaly(metric=metric, unit="", value=1.0, expected=0.0, lower=0.0, upper=0.5, surprise=7.0, share=1.0, at=0)


def silence(**changes: Any) -> Silence:
    matcher = Matcher(**{key: changes.pop(key) for key in list(changes) if key in Matcher.__dataclass_fields__})
    parts = {"id": "abcdef123456", "start": AT - 10, "end": AT + 10, "author": "anna", "comment": "why", "created_at": AT - 10}
    return Silence(matcher=matcher, **{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({"component": "web-*"}, True),
        ({"component": "WEB-*"}, False),
        ({"component": "db-*"}, False),
        ({"component_type": "web"}, True),
        ({"component_type": "web", "component": "web-2"}, False),
        ({"metric": "lat*"}, True),
        ({"metric": "latency"}, False),
        ({"severity": Severity.WARNING}, False),
        ({"severity": Severity.CRITICAL}, True),
        ({"component": "*", "end": AT}, False),
        ({"component": "*", "start": AT + 1}, False),
        ({"component": "*", "start": AT}, True),
    ],
)
def test_a_silence_means_what_fits_every_pattern(changes: dict[str, Any], held: bool) -> None:
    one = incident("web-1", anomalies=(anomaly("latency"), anomaly("lateness")))
    (told,) = Silenced(lambda: [silence(**changes)])([one], NOW)
    assert told.held_by == ((("silence", "abcdef12 by anna: why"),) if held else ())


def test_an_incident_without_metrics_is_not_silenced_by_metric() -> None:
    assert Silenced(lambda: [silence(metric="*")])([incident("web-1")], NOW)[0].held_by == ()


@pytest.mark.parametrize(
    ("severity", "then", "until", "at", "held"),
    [
        (Severity.WARNING, Severity.WARNING, None, AT - 5, True),
        (Severity.WARNING, Severity.CRITICAL, None, AT - 5, True),
        (Severity.CRITICAL, Severity.WARNING, None, AT - 5, False),
        (Severity.WARNING, Severity.WARNING, AT, AT - 5, False),
        (Severity.WARNING, Severity.WARNING, AT + 1, AT - 5, True),
        (Severity.WARNING, Severity.WARNING, None, AT + 5, False),
    ],
)
def test_an_acknowledgement_holds_until_it_is_worse(
    severity: Severity, then: Severity, until: int | None, at: int, held: bool
) -> None:
    taken = Acknowledged(incident="id-web-1", at=at, severity=then, author="anna", text="on it", until=until)
    (told,) = Respected(lambda: {"id-web-1": taken})([incident("web-1", severity=severity)], NOW)
    assert told.held_by == ((("acknowledged", f"at {then.name} by anna: on it"),) if held else ())
    assert told.severity is (then if held else severity)


def maintenance(*planned: Planned, downtimes: list[Downtime] = [], above: tuple[str, ...] = ()) -> Maintenance:  # noqa: B006
    return Maintenance(
        planned=planned,
        calendar=Calendar("Europe/Paris"),
        downtimes=lambda host, service, _at: [one for one in downtimes if one.host == host and one.service in ("", service)],
        place_of=lambda one: (one.component, "Anomaly-web"),
        above=lambda _one: above,
    )


def test_planned_work_holds_back_the_components_it_concerns() -> None:
    work = Planned(name="move", components=("web-*",), once=Span(start=AT - 60, end=AT + 60))
    told = maintenance(work)([incident("web-1"), incident("db-1")], NOW)
    assert [bool(one.held_by) for one in told] == [True, False]
    assert told[0].held_by[0][1].startswith("move until 2026-02-02")
    assert not maintenance(work)([incident("web-1")], utc(AT + 60))[0].held_by
    assert work.spans(AT - 100, AT) == [work.once]
    assert work.spans(AT + 60, AT + 100) == []


def test_a_downtime_of_a_host_a_service_or_a_parent_holds_back() -> None:
    def held(host: str, service: str = "", above: tuple[str, ...] = ()) -> str:
        one = Downtime(id="1", host=host, service=service, start=AT - 60, end=AT + 60, author="paul", comment="disk")
        told = maintenance(downtimes=[one], above=above)([incident("web-1")], NOW)[0].held_by
        return told[0][1].partition(" until")[0] if told else ""

    assert held("web-1") == "downtime of web-1"
    assert held("web-1", "Anomaly-web") == "downtime of Anomaly-web"
    assert held("web-1", "CPU") == ""
    assert held("sw-1") == ""
    assert held("sw-1", above=("sw-1",)) == "downtime of sw-1"
    assert held("sw-1", "Anomaly-web", above=("sw-1",)) == ""


def test_quiet_hours_hold_what_is_little_and_new() -> None:
    night = QuietHours(
        hours=(Recurring(timezone="Europe/Paris", at=time(22), until=time(6)),), shown=lambda: frozenset({"id-seen"})
    )
    at = utc(datetime(2026, 2, 2, 23, tzinfo=ZoneInfo("Europe/Paris")).timestamp())
    several = [
        incident("seen", severity=Severity.WARNING),
        incident("new", severity=Severity.WARNING),
        incident("bad"),
        incident("held", severity=Severity.WARNING, held_by=(("silence", "x"),)),
    ]
    told = {one.component: one.held_by for one in night(several, at)}
    assert told["seen"] == told["bad"] == ()
    assert told["new"] == (("quiet hours", "up to WARNING until 06:00"),)
    assert told["held"] == (("silence", "x"),)
    assert night(several, utc(at.timestamp() + 8 * 3600)) == several
