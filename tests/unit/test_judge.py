"""When an incident opens, changes, closes, and that it does not matter how the buckets arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.judge import Judged, JudgeState, Rules, incident_id, judge, withdraw
from alerting.retired import retire
from tests.naive import naive_judge, naive_onset
from tocsin.model import (
    Floats,
    Frame,
    Fused,
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
from tocsin.verdict import CALM, onset

NAN = float("nan")
SPAN = 60
RULES = Rules()


def fused(rows: Mapping[str, Sequence[float]], start: int = 0, span: int = SPAN) -> Fused:
    """One metric per component."""
    index = SeriesIndex(SeriesKey(component, "latency") for component in rows)
    surprise = np.array([rows[component] for component in index.components], np.float64)
    window = Window(start, start + surprise.shape[1] * span, span)
    return Fused(index=index, window=window, surprise=surprise, share=np.where(np.isnan(surprise), 0.0, 1.0))


def run(values: Sequence[float], rules: Rules = RULES, state: JudgeState | None = None, start: int = 0) -> Judged:
    return judge(fused({"web-1": values}, start), (), state or JudgeState(), rules, "web", "anomaly")


def steps(judged: Judged) -> list[tuple[int, str, Severity]]:
    return [(step.at // SPAN, step.kind, step.severity) for step in judged.transitions]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 5, 0, 0, 5, 0], []),
        ([0, 5, 5], [(3, "opened", Severity.WARNING)]),
        ([0, 5, 0, 5], [(4, "opened", Severity.WARNING)]),
        ([0, 5, NAN, 5], [(4, "opened", Severity.WARNING)]),
        ([0, 5, NAN, NAN, 5], []),
        ([0, 7, 5], [(3, "opened", Severity.CRITICAL)]),
        ([5, 5, 7, 5], [(2, "opened", Severity.WARNING), (3, "worse", Severity.CRITICAL)]),
        ([7, 7, 5, 5, 5], [(2, "opened", Severity.CRITICAL), (5, "better", Severity.WARNING)]),
        ([7, 7, 5, NAN, NAN, 5, 5], [(2, "opened", Severity.CRITICAL), (7, "better", Severity.WARNING)]),
        ([5, 5, 0, 0, 0], [(2, "opened", Severity.WARNING), (5, "recovered", Severity.OK)]),
        ([5, 5, 0, 0, 3, 0, 3, 3], [(2, "opened", Severity.WARNING), (6, "recovered", Severity.OK)]),
        ([5, 5, 3, 3, 3, 3], [(2, "opened", Severity.WARNING)]),
        ([5, 5, NAN, NAN, NAN, NAN, NAN], [(2, "opened", Severity.WARNING)]),
        ([0, 0, 5, 5, 0, 0], [(4, "opened", Severity.WARNING)]),
    ],
)
def test_steps_of_an_incident(values: list[float], expected: list[tuple[int, str, Severity]]) -> None:
    assert steps(run(values)) == expected


def test_an_incident_knows_when_it_began_and_how_bad_it_was() -> None:
    judged = run([0, 6.5, 0, 5, 4.5, 3.2])
    (incident,) = judged.incidents
    assert (incident.since, incident.opened, incident.last_bad) == (SPAN, 4 * SPAN, 4 * SPAN)
    assert (incident.peak, incident.surprise, incident.phase) == (6.5, 3.2, Phase.OPEN)
    assert incident.id == incident_id("web", "web-1", "anomaly", SPAN)
    assert judged.transitions[0].reason == "2 of the last 3 buckets at surprise 4 or more, highest 6.5"


def test_alert_tells_when_the_incident_was_open() -> None:
    assert run([0, 5, 5, 0, 0, 0, 0]).alert.tolist() == [[False, False, True, True, True, False, False]]


def test_bad_again_soon_after_recovery_goes_on_as_the_same_incident() -> None:
    judged = run([5, 5, 0, 0, 0, 0, 0, 5, 5])
    assert [step.kind for step in judged.transitions] == ["opened", "recovered", "reopened"]
    assert [(incident.version, incident.recovered) for incident in judged.incidents] == [(3, None)]


def test_bad_again_long_after_recovery_is_a_new_incident() -> None:
    judged = run([5, 5, 0, 0, 0] + [0] * 125 + [5, 5])
    assert [step.kind for step in judged.transitions] == ["opened", "recovered", "opened"]
    assert len({incident.id for incident in judged.incidents}) == 2


def test_bad_buckets_before_a_recovery_do_not_open_it_again() -> None:
    rules = Rules(open_buckets=3, open_of=6, close_buckets=1, close_of=1)
    assert [step.kind for step in run([5, 5, 5, 0, 5], rules).transitions] == ["opened", "recovered"]


def test_a_bucket_judged_before_is_not_judged_again() -> None:
    first = run([0, 5, 5])
    again = run([0, 5, 5], state=first.state)
    assert again.transitions == ()
    assert again.state is first.state
    assert again.incidents == first.incidents


def test_a_component_that_is_not_asked_about_keeps_its_incident() -> None:
    first = run([0, 5, 5])
    other = judge(fused({"web-2": [0, 0, 0, 0]}, 3 * SPAN), (), first.state, RULES, "web", "anomaly")
    assert other.incidents == first.incidents
    back = run([0, 0, 0], state=other.state, start=7 * SPAN)
    assert steps(back) == [(10, "recovered", Severity.OK)]


def test_a_component_that_is_not_watched_any_more_has_its_incident_closed() -> None:
    gone = retire(run([0, 5, 5]).state, ["web-1", "web-9"], 400, "web-1 is not configured any more")
    assert [(i.phase, i.recovered) for i in gone.incidents] == [(Phase.RECOVERED, 400)]
    assert [(t.kind, t.reason) for t in gone.transitions] == [("retired", "web-1 is not configured any more")]
    assert gone.state.live == {}


def test_missed_ticks_are_buckets_that_were_not_judged() -> None:
    missed = run([5], state=run([0, 0, 5]).state, start=5 * SPAN)
    assert missed.transitions == ()
    near = run([5], state=run([0, 0, 5]).state, start=4 * SPAN)
    assert [step.kind for step in near.transitions] == ["opened"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"open_buckets": 4},
        {"close_buckets": 0},
        {"close_surprise": 5.0},
        {"critical_surprise": 3.0},
        {"better_buckets": 0},
        {"open_of": 2000},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Rules(**wrong)  # type: ignore[arg-type]


# --- anomalies ----------------------------------------------------------------------------------------------------------


def detailed(
    surprise: Floats, start: int = 0, components: tuple[str, ...] = ("web-1",)
) -> tuple[Fused, list[tuple[Frame, Scores]]]:
    """`surprise` (n_series, n_buckets), the series spread over the components; values are ten times the surprise."""
    per = len(surprise) // len(components)
    index = SeriesIndex(SeriesKey(component, f"m{number}") for component in components for number in range(per))
    window = Window(start, start + surprise.shape[1] * SPAN, SPAN)
    by_component = np.nan_to_num(surprise, nan=0.0).reshape(len(components), per, -1)
    known = ~np.isnan(surprise).reshape(len(components), per, -1).all(axis=1)
    total = by_component.sum(axis=1)
    share = np.divide(by_component, total[:, None], out=np.zeros_like(by_component), where=total[:, None] > 0)
    frame = Frame.of(index, window, surprise * 10)
    scores = Scores(
        index=index, window=window, surprise=surprise, expected=surprise * 0 + 1, lower=surprise * 0, upper=surprise * 0 + 2
    )
    return (
        Fused(
            index=index,
            window=window,
            surprise=np.where(known, by_component.max(axis=1), np.nan),
            share=share.reshape(surprise.shape),
        ),
        [(frame, scores)],
    )


def test_the_metrics_of_an_incident_come_worst_first_in_their_worst_bucket() -> None:
    whole, series = detailed(np.array([[0.0, 4.5, 5.0, 6.0], [0.1, 0.1, 0.2, 0.1], [0.0, 0.0, 4.1, 3.5]]))
    judged = judge(whole, series, JudgeState(), RULES, "web", "anomaly", {"m0": Metric(name="m0", unit="ms")})
    worst, other = judged.incidents[0].anomalies
    assert (worst.metric, worst.unit, worst.value, worst.surprise, worst.at) == ("m0", "ms", 60.0, 6.0, 3 * SPAN)
    assert (other.metric, other.unit, other.value, other.expected, other.upper) == ("m2", "", 41.0, 1.0, 2.0)


def test_an_anomaly_of_log_lines_keeps_one_of_them_as_long_as_the_incident_is_kept() -> None:
    whole, series = detailed(np.array([[0.0, 4.5, 5.0, 6.0]]))
    examples = {key: f"cannot connect to <ip> ({key.metric})" for key in whole.index}
    judged = judge(whole, series, JudgeState(), RULES, "web", "anomaly", {}, examples.__getitem__)
    kept = JudgeState.from_arrays(judged.state.to_arrays("a."), "a.")
    for incident in (judged.incidents[0], next(iter(kept.live.values())).incident):
        assert incident.anomalies[0].example == "cannot connect to <ip> (m0)"


def test_what_comes_and_goes_is_one_state_that_ends_after_a_calm_while() -> None:
    rules = Rules(open_buckets=1, open_of=1, close_buckets=1, close_of=1, flap_calm=6 * SPAN)
    judged = run([5.0, 1.0] * 6 + [1.0] * 10, rules)
    kinds = [step.kind for step in judged.transitions]
    assert kinds == ["opened", "recovered", "reopened", "recovered", "reopened", "recovered", "flapping", "recovered"]
    (incident,) = judged.incidents
    assert incident.flapping_since == 7 * SPAN
    assert incident.recovered == (11 + 6) * SPAN


def test_a_withdrawn_incident_is_told_and_not_gone_on_with() -> None:
    judged = run([1.0, 5.0, 5.0], RULES)
    gone = withdraw(judged.state, "web-1", 4 * SPAN, "late data")
    assert [(one.phase, one.recovered) for one in gone.incidents] == [(Phase.WITHDRAWN, 4 * SPAN)]
    assert [(step.kind, step.reason) for step in gone.transitions] == [("withdrawn", "late data")]
    assert gone.state.live == {}
    assert withdraw(gone.state, "web-1", 5 * SPAN, "again").transitions == ()


# --- what must always hold --------------------------------------------------------------------------------------------

surprises = st.sampled_from([NAN, 0.0, 1.0, 2.9, 3.0, 3.9, 4.0, 5.0, 5.9, 6.0, 9.0])
some_rules = st.builds(
    lambda k, n, ck, cn, better, times, reopen, within, calm: Rules(
        open_buckets=min(k, n),
        open_of=n,
        close_buckets=min(ck, cn),
        close_of=cn,
        better_buckets=better,
        reopen=reopen * SPAN,
        flap_times=times,
        flap_within=within * SPAN,
        flap_calm=calm * SPAN,
    ),
    *[st.integers(1, 5) for _ in range(6)],
    st.integers(0, 6),
    st.integers(0, 30),
    st.integers(0, 8),
)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(surprises, min_size=1, max_size=60), rules=some_rules)
def test_judge_agrees_with_the_plain_definition(values: list[float], rules: Rules) -> None:
    judged = run(values, rules)
    alert, expected = naive_judge(values, rules)
    assert judged.alert[0].tolist() == alert
    assert [(step.at // SPAN, step.kind, int(step.severity)) for step in judged.transitions] == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rules=some_rules)
def test_many_buckets_at_once_are_judged_like_one_by_one(data: st.DataObject, rules: Rules) -> None:
    buckets = data.draw(st.integers(1, 40))
    surprise = np.array(data.draw(st.lists(st.lists(surprises, min_size=buckets, max_size=buckets), min_size=6, max_size=6)))
    components = ("web-1", "web-2", "web-3")
    whole, series = detailed(surprise, components=components)
    at_once = judge(whole, series, JudgeState(), rules, "web", "anomaly")
    cuts = sorted({0, buckets, *data.draw(st.lists(st.integers(0, buckets), max_size=8))})
    state, alert = JudgeState(), []
    transitions: list[Transition] = []
    incidents: dict[str, Incident] = {}
    for begin, end in pairwise(cuts):
        part, part_series = detailed(surprise[:, begin:end], begin * SPAN, components)
        judged = judge(part, part_series, JudgeState.from_arrays(state.to_arrays("a."), "a."), rules, "web", "anomaly")
        state = judged.state
        transitions += judged.transitions
        incidents |= {incident.id: incident for incident in judged.incidents}
        alert.append(judged.alert)
    assert repr(tuple(transitions)) == repr(at_once.transitions)
    assert repr(sorted(incidents.items())) == repr(sorted((incident.id, incident) for incident in at_once.incidents))
    assert np.array_equal(np.hstack(alert), at_once.alert)
    assert repr(state.live) == repr(at_once.state.live)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(surprises | st.just(1.4), min_size=1, max_size=40), recent=st.integers(0, 45), calm=st.integers(0, 12))
def test_onset_tells_only_what_is_higher_than_the_recent_past_and_the_trouble_it_belongs_to(
    values: list[float], recent: int, calm: int
) -> None:
    told = onset(np.array([values, values]), recent, calm)
    assert np.array_equal(told[1], np.array(naive_onset(values, recent, CALM, calm)), equal_nan=True)


def test_a_surprise_is_news_once_until_it_was_calm_for_ten_minutes() -> None:
    a_trouble = [0.2, 5.1, 5.1, 1.6, 1.4, 5.1, 7.3]
    told = onset(np.array(a_trouble + [0.1] * 8 + a_trouble + [0.1] * 9 + a_trouble), 0, 10)
    assert np.flatnonzero(told >= CALM).tolist() == [1, 6, 32, 37]


def test_a_surprise_that_comes_again_as_it_was_is_no_news_however_long_the_past() -> None:
    told = onset(np.tile([0.1, 0.1, 5.1, 4.3, 5.1, 11.9, 11.9], 9_000), 0, 1)
    assert (told.reshape(-1, 7) == [0.1, 0.1, 5.1, 0, 0, 11.9, 0]).all()
