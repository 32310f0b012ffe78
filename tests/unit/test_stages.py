"""What holds an incident back, and that it is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from alerting.stages import Ladder, Rung, hold, run
from tocsin.model import Incident, Phase, Severity, utc

NOW = utc(2_000_000)


def incident(name: str = "a") -> Incident:
    return Incident(
        id=name,
        component_type="web",
        component="web-1",
        signature="anomaly",
        phase=Phase.OPEN,
        severity=Severity.CRITICAL,
        since=0,
        opened=60,
        last_bad=60,
        surprise=7.0,
        peak=7.0,
        version=1,
    )


def night(incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
    return [hold(one, "night", "nobody looks") for one in incidents]


def broken(incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
    raise RuntimeError("no calendar")


def loses(incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
    return incidents[1:]


@pytest.mark.parametrize(
    ("rung", "held"), [("learn", (("ladder", "learn"),)), ("show", (("ladder", "show"),)), ("status", ()), ("notify", ())]
)
def test_the_ladder_holds_back_until_status(rung: str, held: tuple[tuple[str, str], ...]) -> None:
    assert run([Ladder(Rung(rung))], [incident()], NOW).incidents[0].held_by == held


def test_only_learning_writes_to_no_service() -> None:
    assert [rung.name for rung in Rung if not rung.sends] == ["LEARN"]


def test_several_stages_each_leave_their_reason() -> None:
    staged = run([Ladder(Rung.SHOW), night], [incident()], NOW)
    assert staged.incidents[0].held_by == (("ladder", "show"), ("night", "nobody looks"))
    assert [(step.kind, step.reason) for step in staged.transitions] == [("held", "ladder: show, night: nobody looks")]


def test_held_and_released_are_told_once() -> None:
    held = run([night], [incident()], NOW)
    before = {one.id: one.held_by for one in held.incidents}
    assert run([night], held.incidents, NOW, before).transitions == ()
    released = run([], held.incidents, NOW, before)
    assert released.incidents[0].held_by == ()
    assert [(step.kind, step.reason) for step in released.transitions] == [("released", "night: nobody looks")]


@pytest.mark.parametrize(("stage", "why"), [(broken, "RuntimeError: no calendar"), (loses, "changed the list of incidents")])
def test_a_broken_stage_hides_no_incident(stage: object, why: str) -> None:
    staged = run([stage, night], [incident("a"), incident("b")], NOW)  # type: ignore[list-item]
    assert [one.held_by for one in staged.incidents] == [(("night", "nobody looks"),)] * 2
    assert [step.reason for step in staged.transitions if step.kind == "stage-failed"] == [f"{stage.__name__} {why}"] * 2  # type: ignore[attr-defined]
