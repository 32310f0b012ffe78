"""The past again: the same judge, beside the static template, held against what people wrote down."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from alerting.judge import Rules
from tocsin.backtest import Comparison, Past, compare, our_episodes, relive
from tocsin.evaluation import Label
from tocsin.findings import document, report_data, sides, stories
from tocsin.model import (
    Baseline,
    Fitted,
    Frame,
    Incident,
    Metric,
    Phase,
    Scores,
    SeriesIndex,
    SeriesKey,
    Severity,
    Transition,
    Window,
)
from tocsin.report import render
from tocsin.thresholds import Template, Thresholds, parse_range
from tocsin.timegrid import Calendar

HOUR, DAY, SPAN = 3600, 86_400, 300
CALENDAR = Calendar("Europe/Paris")
METRICS = {"cpu": Metric(name="cpu", unit="%")}
TEMPLATE = Template(thresholds={"cpu": Thresholds(parse_range("80"), parse_range("90"))})
START = 1_777_240_800  # Monday 2026-04-27, midnight in Paris
TROUBLE = START + 8 * DAY + 10 * HOUR


class Level:
    """A detector for this test: normal is within three of the median of what it learnt from."""

    name, signature, lookback = "level", "anomaly", 0

    def fit(self, history: Frame) -> Fitted:
        there = [row[np.isfinite(row)] for row in history.values]
        middle = np.array([np.median(row) if len(row) else np.nan for row in there])
        baseline = Baseline(detector=self.name, index=history.index, trained_on=history.window, arrays={"middle": middle})
        return Fitted(baseline=baseline, rehearsal=self.score(history, baseline))

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        rows = frame.index.rows_in(baseline.index)
        seen = frame if window is None else frame.within(window)
        middle = np.where(rows >= 0, baseline.arrays["middle"][rows], np.nan)[:, None] + np.zeros_like(seen.values)
        surprise = np.abs(seen.values - middle) * 3 / 3.5
        return Scores(
            index=seen.index, window=seen.window, surprise=surprise, expected=middle, lower=middle - 3.5, upper=middle + 3.5
        )


def lives() -> Frame:
    """Ten days of three components: a calm one, a busy one above its threshold every evening, and one that is in trouble once."""
    index = SeriesIndex([SeriesKey(component, "cpu") for component in ("busy", "calm", "troubled")])
    window = Window(START, START + 10 * DAY, SPAN)
    values = np.random.default_rng(1).normal(0, 0.5, (3, len(window))) + np.array([[78.0], [30.0], [40.0]])
    hour = (window.starts - START) % DAY / HOUR
    values[0, (hour >= 20) & (hour < 21)] += 2.9
    values[2, (TROUBLE - START) // SPAN : (TROUBLE - START) // SPAN + 18] += 25
    return Frame.of(index, window, values)


def past(frame: Frame | None = None, **more: object) -> Past:
    facts = {
        "component_type": "web",
        "calendar": CALENDAR,
        "metrics": METRICS,
        "template": TEMPLATE,
        "train": 7 * DAY,
        "every": DAY,
    }
    return relive(lives() if frame is None else frame, [Level()], Rules(), **(facts | more))  # type: ignore[arg-type]


LABELS = [Label(component="troubled", start=TROUBLE, end=TROUBLE + 90 * 60, kind="runaway", text="a job ran wild")]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare([past(start=START + 7 * DAY)], LABELS)


def test_the_past_is_judged_by_what_was_known_then(comparison: Comparison) -> None:
    ours, static = comparison.ours, comparison.static
    assert (ours.found, ours.missed, len(ours.false)) == (1, 0, 0)
    assert ours.median_delay == 2 * SPAN  # two buckets are needed, and the second is over ten minutes after it began
    assert (static.found, static.missed) == (0, 1)
    assert [episode.component for episode in static.false] == ["busy"] * 3
    assert static.per_component_day(static.alerts) == pytest.approx(1 / 3)


def test_an_alert_says_what_the_service_showed(comparison: Comparison) -> None:
    [episode] = comparison.ours.episodes
    assert episode.text.startswith("CRITICAL: cpu 6")
    assert "expected" in episode.text
    assert comparison.static.episodes[0].text == "WARNING: cpu"


def test_nothing_is_learnt_from_the_future() -> None:
    whole, cut = past(), lives()
    earlier = past(cut.within(Window(cut.window.start, TROUBLE + 2 * HOUR, SPAN)))
    assert [e.told for e in earlier.ours] == [e.told for e in whole.ours if e.start < TROUBLE + 2 * HOUR]


def test_only_what_could_be_judged_counts() -> None:
    assert START < past().judged.start <= START + 7 * DAY
    assert past(start=START + 8 * DAY + 1).judged == Window(START + 8 * DAY + SPAN, START + 10 * DAY, SPAN)
    nothing = lives()
    nothing = Frame.of(nothing.index, nothing.window, np.full_like(nothing.values, np.nan))
    assert len(past(nothing).judged) == 0
    assert compare([past(nothing)]).ours.per_component_day(0) == 0


def test_progress_ends_at_the_end() -> None:
    seen: list[tuple[int, int]] = []
    past(start=START + 2 * DAY, progress=lambda done, whole: seen.append((done, whole)))
    assert seen == sorted(seen)
    assert seen[-1] == (8 * 288, 8 * 288)


def test_a_change_that_was_wanted_excuses_one_alert() -> None:
    change = [replace(LABELS[0], end=START + 10 * DAY)]
    got = compare([past(start=START + 7 * DAY)], [], change)
    assert (len(got.ours.excused), len(got.ours.false)) == (1, 0)


def test_labels_of_other_component_types_are_left_to_them() -> None:
    got = compare([past(start=START + 7 * DAY)], [*LABELS, replace(LABELS[0], component="elsewhere")])
    assert len(got.ours.matches) == 1


def test_the_document_is_json_and_says_the_same(comparison: Comparison) -> None:
    told = json.loads(json.dumps(document(comparison), allow_nan=False))
    assert told["tocsin"].pop("alerts_per_component_and_day") == pytest.approx(1 / 9, rel=1e-4)
    assert told["tocsin"] == {
        "alerts": 1,
        "found": 1,
        "missed": 0,
        "false_alarms": 0,
        "excused": 0,
        "median_delay_seconds": 600,
    }
    assert told["incidents"][0]["tocsin"] == {"found": True, "delay_seconds": 600}
    assert told["incidents"][0]["static"] == {"found": False, "delay_seconds": None}
    assert {"component": "busy", "component_type": "web", "static": 3, "tocsin": 0} in told["components"]
    assert [alert["false"] for alert in told["alerts"]["tocsin"]] == [False]
    plain = document(compare([past()]))
    assert plain["labelled"] is False
    assert set(plain["tocsin"]) == {"alerts", "alerts_per_component_and_day"}


def test_the_report_tells_each_incident_with_its_curve(comparison: Comparison) -> None:
    [story] = list(stories(comparison))
    assert (story.title, story.text, story.component_type) == ("Runaway", "A job ran wild.", "web")
    [band] = story.bands
    assert band.limits == (("warning", 80.0), ("critical", 90.0))
    assert band.starts[0] <= TROUBLE - 4 * HOUR
    assert np.isfinite(band.upper).all()
    assert [lane.name for lane in band.lanes] == ["happened", "static", "Tocsin"]
    html = render(report_data(comparison, title="Web", lead="Ten days.", made_at=START, protocol=["Learned from seven days."]))
    HTMLParser().feed(html)
    assert "Runaway on troubled" in html
    assert [side.tally for side in sides(comparison)] == [comparison.static, comparison.ours]


def test_without_labels_the_report_tells_what_tocsin_would_have_said() -> None:
    plain = compare([past(start=START + 7 * DAY)])
    [story] = list(stories(plain))
    assert (story.component, story.matches) == ("troubled", ())
    assert story.said.startswith("CRITICAL: cpu")
    assert "would have said" in render(report_data(plain, title="Web", lead="", made_at=START))


def incident(identity: str, *, opened: int, recovered: int | None, severity: Severity = Severity.WARNING) -> Incident:
    return Incident(
        id=identity,
        component_type="web",
        component="busy",
        signature=identity,
        phase=Phase.OPEN if recovered is None else Phase.RECOVERED,
        severity=severity,
        since=opened - SPAN,
        opened=opened,
        last_bad=opened,
        recovered=recovered,
        surprise=5,
        peak=5,
        version=1,
    )


def step(identity: str, at: int, kind: str, severity: Severity = Severity.WARNING) -> Transition:
    return Transition(incident=identity, at=at, kind=kind, reason="", severity=severity)


def test_our_incidents_are_counted_by_the_rules_of_the_template() -> None:
    frame = Frame.unknown(SeriesIndex([SeriesKey("busy", "cpu")]), Window(0, DAY, SPAN))
    incidents = [incident("anomaly", opened=HOUR, recovered=3 * HOUR), incident("silence", opened=2 * HOUR, recovered=None)]
    steps = [
        step("silence", 2 * HOUR, "opened"),
        step("anomaly", HOUR, "opened"),
        step("anomaly", HOUR + 300, "worse", Severity.CRITICAL),
        step("anomaly", HOUR + 600, "better"),
        step("anomaly", HOUR + 900, "worse", Severity.CRITICAL),  # as bad as it was: nobody is told again
        step("anomaly", 3 * HOUR, "recovered", Severity.OK),
    ]
    [episode] = our_episodes(incidents, steps, frame, CALENDAR, reopen=1800)
    assert (episode.start, episode.end, episode.told) == (HOUR, DAY, (HOUR, HOUR + 300, 2 * HOUR))
    assert episode.text.startswith("CRITICAL: ")
