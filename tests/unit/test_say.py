"""What a person on call reads beside a service."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from alerting.line import perfdata
from alerting.say import Reading, Static, Watched, number, perf, result
from alerting.words import LANGUAGES
from tocsin.model import Anomaly, Incident, Phase, ServiceKey, Severity
from tocsin.timegrid import Calendar

PARIS = Calendar("Europe/Paris")
WEB = ServiceKey("web-1", "Anomaly-web")
TUE_1030 = 1_763_458_200  # Tuesday 18 November 2025, 10:30 in Paris
OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN
SEVEN = Watched(metrics=7, judged=7, last_data=TUE_1030 + 60)
LATENCY = Anomaly(
    metric="latency.p95", unit="ms", value=840.0, expected=110.0, lower=60.0, upper=180.0, surprise=7.2, share=0.7, at=TUE_1030
)
ERRORS = replace(LATENCY, metric="errors", unit="", value=31.25, lower=-math.inf, upper=4.0, surprise=5.0, share=0.3)


def incident(**changes: Any) -> Incident:
    plain = Incident(
        id="a",
        component_type="web",
        component="web-1",
        signature="anomaly",
        phase=Phase.OPEN,
        severity=CRITICAL,
        since=TUE_1030 - 540,
        opened=TUE_1030,
        last_bad=TUE_1030,
        surprise=5.0,
        peak=7.2,
        version=1,
        anomalies=(LATENCY, replace(LATENCY, metric="cpu"), ERRORS),
    )
    return replace(plain, **changes)


def said(
    *incidents: Incident, watched: Watched = SEVEN, now: int = TUE_1030 + 60, language: str = "en"
) -> tuple[Severity, list[str]]:
    told = result(WEB, incidents, watched, now, calendar=PARIS, language=language)
    return told.code, told.text.split("\n")


def test_one_incident_says_what_how_far_since_when_and_how_surprising() -> None:
    code, lines = said(incident())
    assert code is CRITICAL
    assert lines == [
        "latency.p95 840 ms, expected 60..180 (Tue 10:30), since 10:21, 3 of 7 metrics",
        "cpu 840 ms, expected 60..180 (Tue 10:30)",
        "errors 31.25, expected at most 4 (Tue 10:30)",
        "surprise 7.2",
    ]


def test_in_french() -> None:
    assert said(incident(), language="fr")[1][0] == (
        "latency.p95 840 ms, attendu 60..180 (mar. 10:30), depuis 10:21, 3 métrique(s) sur 7"
    )
    assert said(language="fr")[1] == ["7 métriques dans leurs bandes apprises, dernières données 10:31"]


def test_a_band_that_was_learnt_from_siblings_is_told_with_how_much_of_it() -> None:
    young = replace(LATENCY, own=0.3)
    assert said(incident(anomalies=(young,)))[1][0].startswith(
        "latency.p95 840 ms, expected 60..180, 70% of it learnt from siblings (Tue 10:30), since"
    )
    assert "60..180, appris à 70 % de ses semblables (mar. 10:30)" in said(incident(anomalies=(young,)), language="fr")[1][0]
    grown = replace(LATENCY, own=0.96)
    assert said(incident(anomalies=(grown,))) == said(incident(anomalies=(LATENCY,)))


def test_ok_says_how_many_bands_are_still_partly_learnt_from_siblings() -> None:
    young = replace(SEVEN, borrowed=4)
    assert said(watched=young)[1] == [
        "7 metrics within their learned bands, 4 of them partly learnt from siblings, last data 10:31"
    ]
    one = Watched(metrics=1, judged=1, borrowed=1)
    assert said(watched=one)[1] == ["its metric within the learned band, partly learnt from siblings"]
    assert said(watched=one, language="fr")[1] == ["sa métrique dans la bande apprise, en partie apprise de ses semblables"]


def test_ok_says_what_is_watched() -> None:
    assert said() == (OK, ["7 metrics within their learned bands, last data 10:31"])
    some = said(watched=replace(SEVEN, judged=5))
    assert some == (OK, ["5 metrics within their learned bands, 5 of 7 metrics judged, last data 10:31"])


def test_a_component_of_one_metric_is_spoken_of_as_such() -> None:
    one = Watched(metrics=1, judged=1)
    assert said(watched=one) == (OK, ["its metric within the learned band"])
    assert said(incident(anomalies=(LATENCY,)), watched=one)[1][0].endswith("since 10:21")


def test_a_component_that_is_still_learning_is_unknown_and_says_so() -> None:
    told = said(watched=Watched(metrics=7, judged=0, last_data=TUE_1030))
    assert told == (UNKNOWN, ["still learning, none of 7 metrics can be judged yet, last data 10:30"])


def test_no_data_is_unknown_and_never_ok() -> None:
    blind = Watched(metrics=7, judged=0, last_data=TUE_1030, blind_since=TUE_1030, why="files: cannot read\nweb.csv")
    assert said(watched=blind, now=TUE_1030 + 1500) == (
        UNKNOWN,
        ["no data for 25m, last data 10:30 (files: cannot read web.csv)"],
    )


def test_no_data_does_not_hide_an_open_incident() -> None:
    code, lines = said(incident(), watched=replace(SEVEN, blind_since=TUE_1030))
    assert code is CRITICAL
    assert lines[0].endswith("3 of 7 metrics, no data for 1m, last data 10:31")


def test_a_recovery_is_mentioned_for_a_while() -> None:
    over = incident(phase=Phase.RECOVERED, recovered=TUE_1030 + 300)
    code, lines = said(over, now=TUE_1030 + 400)
    assert code is OK
    latency = "latency.p95 840 ms, expected 60..180 (Tue 10:30)"
    assert lines == [f"recovered 10:35 after 14m ({latency}), 7 metrics within their learned bands, last data 10:31"]


def test_several_incidents_fold_into_the_worst_with_all_texts() -> None:
    watched = replace(SEVEN, components=3)
    code, lines = said(
        incident(id="b", component="web-2", severity=WARNING, peak=9.0),
        incident(),
        incident(id="c", component="web-3", peak=6.1),
        watched=watched,
    )
    assert code is CRITICAL
    assert lines[0].startswith("3 incidents: web-1 latency.p95 840 ms")
    assert lines[1].startswith("web-3 latency.p95")
    assert lines[2].startswith("web-2 latency.p95")


def test_a_flood_of_incidents_is_cut_and_says_so() -> None:
    lines = said(*[incident(id=str(number)) for number in range(30)])[1]
    assert lines[0].startswith("30 incidents: ")
    assert lines[-1] == "and 25 more"
    assert len(lines) == 6


def test_what_is_held_back_gives_its_text_but_not_its_code() -> None:
    code, lines = said(incident(held_by=(("ladder", "show"),)))
    assert code is OK
    assert lines[0].startswith("would be CRITICAL: latency.p95 840 ms")
    code, lines = said(incident(held_by=(("maintenance", "until 12:00"),)))
    assert code is OK
    assert lines[0].endswith("3 of 7 metrics, held back by maintenance (until 12:00)")


def test_acknowledged_keeps_its_code_and_says_by_whom() -> None:
    code, lines = said(incident(held_by=(("acknowledged", "at CRITICAL by anna: on it"),)))
    assert code is CRITICAL
    assert lines[0].endswith("3 of 7 metrics, acknowledged at CRITICAL by anna: on it")


def test_what_comes_and_goes_is_said_to() -> None:
    assert ", comes and goes since 10:25, since 10:21, " in said(incident(flapping_since=TUE_1030 - 300))[1][0]


def test_the_root_of_a_storm_names_its_members() -> None:
    members = tuple(f"web-{number:03}" for number in range(2, 501))
    line = said(incident(folded=members, behind="sw-1"))[1][0]
    assert line.endswith("; 499 more behind sw-1: web-002, web-003, web-004, web-005, web-006, web-007, web-008, web-009, …")
    assert "; 1 more in group linux: web-002" in said(incident(folded=members[:1], behind="group linux"))[1][0]
    assert "; 1 de plus du type web : web-002" in said(incident(folded=members[:1], behind="type web"), language="fr")[1][0]


LINES = replace(
    LATENCY, metric="log.new", unit="", value=42.0, lower=-math.inf, upper=3.0, surprise=6.0, share=0.2, example="timeout"
)


@pytest.mark.parametrize(
    ("metric", "example", "text"),
    [
        ("log.new", "timeout", "42 new “timeout” lines"),
        ("log.new", "", "42 new lines"),
        ("log.template.ab12cd34", "connect to <*> timed out", "42 lines “connect to ‹*› timed out”"),
        ("log.template.ab12cd34", "", "42 lines ab12cd34"),
        ("log.level.error", "no space;left|on device", "42 lines at level error “no space,left¦on device”"),
        ("log.level.error", "", "42 lines at level error"),
        ("log.lines", "anything", "42 log lines"),
        ("log.new", "x" * 500, f"42 new “{'x' * 59}…” lines"),
    ],
)
def test_log_lines_are_spoken_of_as_lines(metric: str, example: str, text: str) -> None:
    lines = replace(LINES, metric=metric, example=example)
    assert said(incident(anomalies=(LATENCY, lines)))[1][0].endswith(f"2 of 7 metrics; also: {text}")
    assert said(incident(anomalies=(lines,)))[1][0].startswith(f"{text}, expected at most 3 (Tue 10:30), since")


def test_withdrawn_is_said_to_be_no_trouble() -> None:
    gone = incident(phase=Phase.WITHDRAWN, recovered=TUE_1030 + 300)
    assert said(gone, now=TUE_1030 + 400)[1][0].startswith("withdrawn 10:35: late data show that nothing was wrong, 7 metrics")


def test_a_blind_service_is_handed_back_to_its_static_thresholds() -> None:
    static = Static(code=CRITICAL, metric="cpu", unit="%", value=97.0, limit="0:95")
    blind = Watched(metrics=7, judged=0, last_data=TUE_1030, static=static)
    code, lines = said(watched=blind)
    assert code is CRITICAL
    assert lines[0].startswith("static thresholds: cpu 97 %, allowed 0:95, shown by the static template: still learning, none of")
    assert said(watched=replace(blind, static=Static(code=OK)))[0] is OK
    assert said(incident(), watched=blind)[1][0].startswith("latency.p95 840 ms")


def test_a_silent_metric_is_said_to_be_silent() -> None:
    silent = replace(LATENCY, value=math.nan, lower=math.nan, upper=math.nan)
    assert said(incident(anomalies=(silent,)))[1][0].startswith("no data from latency.p95 (Tue 10:30), since 10:21")


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (60.0, 180.0, ", expected 60..180 "),
        (-math.inf, 180.0, ", expected at most 180 "),
        (60.0, math.inf, ", expected at least 60 "),
        (math.nan, math.nan, ", expected about 110 "),
    ],
)
def test_the_band_in_words(lower: float, upper: float, expected: str) -> None:
    assert expected in said(incident(anomalies=(replace(LATENCY, lower=lower, upper=upper),)))[1][0]


def test_what_began_yesterday_says_the_day_and_last_year_the_date() -> None:
    assert ", since Mon 10:21, " in said(incident(since=TUE_1030 - 540 - 86_400))[1][0]
    assert ", since 2024-11-18 10:21, " in said(incident(since=TUE_1030 - 540 - 365 * 86_400))[1][0]


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_hostile_names_stay_in_their_place(language: str) -> None:
    bad = replace(LATENCY, metric="x\n[1] FORGED;a|b", unit="\n;")
    lines = said(incident(component="c\n;", anomalies=(bad,)), watched=replace(SEVEN, components=2), language=language)[1]
    assert len(lines) == 2
    assert not set(";|\n") & set("".join(lines))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (840.0, "840"),
        (0.0, "0"),
        (12.3456, "12.35"),
        (1234567.0, "1235000"),
        (-0.05, "-0.05"),
        (3.1e-7, "3.1e-07"),
        (math.nan, "?"),
    ],
)
def test_numbers_as_a_person_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_the_graph_shows_value_band_and_surprise_under_centreons_names() -> None:
    reading = Reading(metric="latency.p95", unit="ms", value=84.5, expected=110.0, lower=60.0, upper=math.inf)
    assert perfdata(perf([reading], surprise=0.4, instance="web-1")) == (
        "'web-1#anomaly.surprise.count'=0.4 'web-1#latency.p95.milliseconds'=84.5ms "
        "'web-1#latency.p95.lower.milliseconds'=60ms 'web-1#latency.p95.expected.milliseconds'=110ms"
    )
