"""The bar of an alert budget, and what a type must prove to climb the ladder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.budget import Allowance, Within, move
from alerting.ladder import Figures, at_least, below, broken, missing
from alerting.stages import Rung
from tests.unit.test_grouping import incident
from tocsin.model import Phase, utc
from tocsin.records import Bar

FIVE = Allowance(name="web", alerts=5, every=7 * 86_400, floor=4.0, most=4.0)


@pytest.mark.parametrize(
    ("peaks", "used", "value", "reason"),
    [
        ([], 0, 4.0, "0 alerts per 7d are within the budget of 5"),
        ([5.0] * 20, 3, 4.0, "5 alerts per 7d are within the budget of 5"),
        ([4.5] * 20 + [6.0] * 10, 3, 4.6, "at 4.6 the last 28d had 2.5 alerts per 7d"),
        ([9.0] * 100, 3, 8.0, "at 8.0 the last 28d had 25 alerts per 7d"),
        ([], 5, 8.0, "5 of 5 alerts of the last 7d were used"),
    ],
)
def test_the_bar_stands_where_the_budget_would_have_been_kept(peaks: list[float], used: int, value: float, reason: str) -> None:
    bar = move(FIVE, peaks, used, 1000.0)
    assert (bar.value, bar.reason, bar.used) == (value, reason, used)


@settings(max_examples=50)
@given(peaks=st.lists(st.floats(4, 20), max_size=200), used=st.integers(0, 8))
def test_the_bar_never_leaves_its_bounds_and_never_lets_more_through_than_allowed(peaks: list[float], used: int) -> None:
    bar = move(FIVE, peaks, used, 0.0)
    assert FIVE.floor <= bar.value <= FIVE.top
    assert sum(peak >= bar.value for peak in peaks) <= 20 or bar.value == FIVE.top


def within(used: int, bar: Bar | None = None, shown: frozenset[str] = frozenset()) -> Within:
    return Within(allowance=FIVE, bar=lambda: bar, used=lambda _now: used, shown=lambda: shown)


def test_the_most_surprising_ones_get_what_is_left_of_the_budget() -> None:
    several = [incident("a", peak=5.0), incident("b", peak=6.0), incident("c", peak=7.0), incident("d", peak=9.0)]
    told = {one.component: one.held_by for one in within(3)(several, utc(0))}
    assert told["b"] == told["c"] == told["d"] == ()
    assert told["a"] == (("budget", "all 5 alerts of 7d are used, shown from surprise 8.0"),)


def test_what_is_below_the_bar_waits_and_what_was_shown_stays() -> None:
    bar = Bar(value=6.0, at=0, reason="x")
    low = incident("a", peak=5.0)
    assert within(0, bar)([low], utc(0))[0].held_by == (("budget", "below the bar of 6.0 that 5 alerts per 7d leave"),)
    assert within(9, bar, frozenset({"id-a"}))([low], utc(0))[0].held_by == ()
    over = replace(low, phase=Phase.RECOVERED, recovered=10)
    assert within(9, bar)([over], utc(0))[0].held_by == ()


GOOD = Figures(days=40, window=14, components=50, alerts=20, useful=12, noise=5, known=1, static=90, model=3)


@pytest.mark.parametrize(
    ("rung", "change", "lacks"),
    [
        (Rung.NOTIFY, {}, ""),
        (Rung.LEARN, {"days": 0, "model": None, "alerts": 1000}, ""),
        (Rung.SHOW, {"days": 3}, "judged for 3.0 days, 7 are needed"),
        (Rung.SHOW, {"model": None}, "nothing was learnt yet"),
        (Rung.STATUS, {"days": 13.9}, "judged for 13.9 days, 14 are needed"),
        (
            Rung.STATUS,
            {"alerts": 80},
            "67 alerts in 14 days on 50 components that nobody called useful: 0.67 per component and week, 0.25",
        ),
        (
            Rung.STATUS,
            {"static": 6},
            "7 alerts that nobody called useful, the static template had 6 alerts on the same days: not better",
        ),
        (Rung.STATUS, {"static": None}, ""),
        (
            Rung.STATUS,
            {"placebo": 0.3},
            "0.3 alarms per component and week on the past shuffled, where nothing happened, 0.25 are",
        ),
        (Rung.STATUS, {"placebo": 0.1}, ""),
        (Rung.NOTIFY, {"useful": 3, "noise": 2}, "people judged 5 alerts, 10 are needed"),
        (Rung.NOTIFY, {"useful": 4, "noise": 12}, "25% of 16 judged alerts were useful, 50% are needed"),
        (Rung.NOTIFY, {"days": 20}, "judged for 20.0 days, 28 are needed"),
    ],
)
def test_each_step_needs_its_proof(rung: Rung, change: dict[str, Any], lacks: str) -> None:
    told = missing(rung, replace(GOOD, **change), 0.25)
    assert (told == []) if not lacks else (len(told) == 1 and told[0].startswith(lacks))


@pytest.mark.parametrize(
    ("alerts", "components", "sent_down"),
    [(3, 1, False), (4, 1, True), (26, 50, False), (35, 50, False), (45, 50, True), (500, 50, True), (500, 0, False)],
)
def test_a_promise_is_broken_only_when_chance_does_not_explain_it(alerts: int, components: int, sent_down: bool) -> None:
    figures = Figures(days=40, window=14, components=components, alerts=alerts)
    assert bool(broken(Rung.STATUS, figures, 0.25)) is sent_down
    assert not broken(Rung.SHOW, figures, 0.25)


def test_who_breaks_a_promise_goes_out_of_sight_and_not_out_of_learning() -> None:
    assert [below(rung) for rung in (Rung.NOTIFY, Rung.STATUS, Rung.SHOW, Rung.LEARN)] == [
        Rung.SHOW,
        Rung.SHOW,
        Rung.SHOW,
        Rung.LEARN,
    ]


def test_the_bound_of_a_count_is_near_the_exact_one() -> None:
    # Exact 99 % lower bounds of a Poisson mean: half the 1 % quantile of chi squared with 2k degrees of freedom.
    for count, exact in ((1, 0.0101), (5, 1.279), (20, 11.08), (100, 78.22)):
        assert at_least(count) == pytest.approx(exact, rel=0.02, abs=0.02)
    assert at_least(0) == 0.0
