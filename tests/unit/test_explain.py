"""What a person reads who asks about an incident: seen and expected, since when, how it was before, and the same as data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contracts.state import an_incident
from tocsin.config import Config, load
from tocsin.explain import document, gather, in_words, story
from tocsin.model import Anomaly, Frame, Incident, Phase, SeriesIndex, SeriesKey, Severity, Transition, Window
from tocsin.store.history import History
from tocsin.store.state import State
from tocsin.timegrid import DAY

TEN = 1_776_153_600  # Tuesday 14 April 2026, 10:00 in Paris
LATENCY = Anomaly(
    metric="latency", unit="ms", value=840.0, expected=110.0, lower=60.0, upper=180.0, surprise=7.2, share=0.64, at=TEN
)
INCIDENT = replace(
    an_incident("new12345", component="web-01"),
    since=TEN,
    opened=TEN + 600,
    last_bad=TEN + 1200,
    recovered=TEN + 3600,
    phase=Phase.RECOVERED,
    severity=Severity.WARNING,
    anomalies=(LATENCY, replace(LATENCY, metric="errors", unit="", value=math.nan, expected=math.nan, share=0.0, own=0.3)),
)
STEP = Transition(incident=INCIDENT.id, at=TEN + 600, kind="opened", reason="2 of 3 buckets", severity=Severity.WARNING)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "web.yaml").write_text(
        "component_type: web\ntimezone: Europe/Paris\nevery: 10m\ncollect: [{from: files, path: '*.csv'}]\n"
    )
    (tmp_path / "tocsin.yaml").write_text("components: [web.yaml]\nstate: .\ndeliver: {sink: {use: recording}}\n")
    window = Window(TEN - 20 * DAY, TEN + 3600, 600)
    values = np.full((1, len(window)), 100.0)
    values[0, window.starts >= TEN] = 840.0
    values[0, window.starts == TEN - 3 * DAY] = 900.0
    with History(tmp_path / "history") as history:
        history.append("web", Frame.of(SeriesIndex([SeriesKey("web-01", "latency")]), window, values))
    return load(tmp_path / "tocsin.yaml")


@pytest.fixture
def state(config: Config) -> Iterator[State]:
    with State.open(config.state / "tocsin.db", owner=True) as state:
        with state.tick("web") as tick:
            tick.put_incidents([INCIDENT])
            tick.put_transitions([STEP])
        yield state


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "840 ms, expected 110, normal 60..180, surprise 7.2 (64% of the component's)"),
        ({"lower": -math.inf}, "840 ms, expected 110, normal at most 180, surprise 7.2 (64% of the component's)"),
        ({"upper": math.inf, "value": 12.0}, "12 ms, expected 110, normal at least 60, surprise 7.2 (64% of the component's)"),
        ({"value": math.nan, "expected": math.nan, "lower": math.nan, "upper": math.nan, "share": 0.0}, "no data, surprise 7.2"),
        (
            {"own": 0.3, "share": 0.0},
            "840 ms, expected 110, normal 60..180, learnt to 30% from itself and to 70% from its siblings, surprise 7.2",
        ),
    ],
)
def test_a_metric_is_told_with_what_was_expected_what_is_normal_and_who_taught_it(changes: dict[str, Any], words: str) -> None:
    assert in_words(replace(LATENCY, **changes)) == words


def test_the_story_tells_what_was_seen_since_when_how_it_was_before_and_each_step(config: Config, state: State) -> None:
    told = story(config, *state.incident("new1"), gather(config, state, INCIDENT)).split("\n")
    assert told[1] == "web-01 (web): WARNING, anomaly, recovered"
    assert told[2].startswith("Since Tue 2026-04-14 10:00, opened Tue 2026-04-14 10:10, last bad Tue 2026-04-14 10:20")
    assert told[2].endswith("recovered Tue 2026-04-14 11:00 after 1h")
    begin = told.index("What was seen, and what would have been normal:")
    assert told[begin + 1].startswith("  latency  840 ms, expected 110, normal 60..180")
    assert (
        told[begin + 2].strip()
        == "at this hour of the weeks before 100, 100, none, none; last as high Sat 2026-04-11 10:00 (900)"
    )
    assert told[begin + 3].startswith("  errors   no data, normal 60..180, learnt to 30% from itself")
    assert "Nearest moment before: Sat 2026-04-11 10:00, 92% like Tue 2026-04-14 10:00: latency 900" in told
    assert "None of the incidents before is like it" in told
    assert told[-2:] == ["What Tocsin did, and why:", "  Tue 2026-04-14 10:10  opened     WARNING  2 of 3 buckets"]


def test_the_document_has_the_same_facts_as_numbers(config: Config, state: State) -> None:
    told = json.loads(json.dumps(document(INCIDENT, [STEP], gather(config, state, INCIDENT)), allow_nan=False))
    latency, errors = told["anomalies"]
    assert (latency["value"], latency["expected"], latency["lower"], latency["upper"], latency["share"]) == (
        840,
        110,
        60,
        180,
        0.64,
    )
    assert latency["at"] == told["since"] == "2026-04-14T08:00:00Z"
    assert (latency["own"], errors["own"], errors["value"]) == (1.0, 0.3, None)
    assert told["before"] == {
        "metrics": [
            {
                "metric": "latency",
                "side": "high",
                "same_hour": [100.0, 100.0, None, None],
                "again": {"at": "2026-04-11T08:00:00Z", "value": 900.0},
                "most": 900.0,
                "most_at": "2026-04-11T08:00:00Z",
                "days": 20,
            }
        ],
        "moment": {
            "at": "2026-04-11T08:00:00Z",
            "of": "2026-04-14T08:00:00Z",
            "alike": 0.919,
            "values": {"latency": 900.0},
        },
    }
    assert (told["said"], told["most_alike"]) == ([], None)
    assert "before" not in document(INCIDENT, ())


def test_an_incident_of_a_type_that_is_configured_no_more_is_explained_by_what_was_kept_of_it(
    config: Config, state: State
) -> None:
    gone: Incident = replace(INCIDENT, component_type="mail")
    told = story(config, gone, [], gather(config, state, gone))
    assert "Since Tue 2026-04-14 08:00 UTC" in told
    assert "weeks before" not in told


def test_an_incident_like_nothing_before_says_so(config: Config, state: State) -> None:
    new = replace(INCIDENT, anomalies=(replace(LATENCY, value=5000.0),), since=TEN - 3 * DAY - 1200)
    told = story(config, new, [], gather(config, state, new))
    assert "never as high in the 17 days before: at most 100 (" in told
    assert "Nothing in the 17 days before was like it" in told
