"""Which incident of the past a new one is like."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.contracts.accounts import VERDICT
from tests.unit.test_grouping import incident
from tocsin.likeness import document, most_alike, sentences
from tocsin.model import Anomaly, Incident, Phase


def anomaly(metric: str, share: float, value: float = 9.0) -> Anomaly:
    return Anomaly(metric=metric, unit="", value=value, expected=5.0, lower=4.0, upper=6.0, surprise=7.0, share=share, at=0)


def one(name: str, since: int, *anomalies: Anomaly, component: str = "web-1") -> Incident:
    return incident(component, id=name, since=since, anomalies=anomalies)


NOW = one("now", 1000, anomaly("latency", 0.7), anomaly("errors", 0.3))


def test_the_one_with_the_same_metrics_on_the_same_side_is_like_it() -> None:
    same = one("same", 100, anomaly("latency", 0.6), anomaly("errors", 0.4))
    found = most_alike(NOW, [NOW, same, one("other", 200, anomaly("disk", 1.0)), one("low", 300, anomaly("latency", 1.0, 1.0))])
    assert found is not None
    assert found[0] is same
    assert round(found[1], 2) == 0.9


def test_the_components_own_past_goes_before_that_of_its_siblings() -> None:
    own = one("own", 100, anomaly("latency", 1.0))
    sibling = one("sibling", 900, *NOW.anomalies, component="web-2")
    assert most_alike(NOW, [own, sibling]) == (own, 0.7)
    assert most_alike(NOW, [sibling]) == (sibling, 1.0)


def test_what_came_later_never_happened_or_is_of_another_kind_is_not_compared() -> None:
    past = one("past", 100, *NOW.anomalies)
    others = [
        replace(past, since=2000),
        replace(past, phase=Phase.WITHDRAWN),
        replace(past, component_type="db"),
        replace(past, signature="silence"),
        replace(past, anomalies=()),
    ]
    assert most_alike(NOW, others) is None
    gone = one("gone", 100, anomaly("latency", 1.0, math.nan))
    assert most_alike(NOW, [gone]) is None


def test_what_was_said_of_the_one_like_it_is_told() -> None:
    own = one("own45678901", 100, *NOW.anomalies)
    said = replace(VERDICT, incident=own.id, verdict="noise", kind="feedback", text="nightly backup")
    facts = document(NOW, [own], [said, replace(VERDICT, incident=NOW.id)])
    assert sentences(facts, lambda at: f"second {at}") == [
        "anna called it useful (acknowledgement): on it",
        "Most like it of the incidents before: own45678 on web-1, second 100, for 1d 3h, 100% in common",
        "  anna called that one noise (feedback): nightly backup",
    ]
    assert sentences(document(NOW, [], []), str) == ["None of the incidents before is like it"]
