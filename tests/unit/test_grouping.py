"""Storms: what folds, onto whom, and what never does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.grouping import Grouping, Storm, fold, situate
from alerting.stages import run
from alerting.topology import Topology
from tocsin.model import HostFacts, Incident, Phase, Severity, utc

NOW = 100_000
STORM = Storm()


def incident(component: str, **changes: Any) -> Incident:
    one = Incident(
        id=f"id-{component}",
        component_type="web",
        component=component,
        signature="anomaly",
        phase=Phase.OPEN,
        severity=Severity.CRITICAL,
        since=NOW - 600,
        opened=NOW - 540,
        last_bad=NOW - 60,
        surprise=7.0,
        peak=7.0,
        version=1,
    )
    return replace(one, **changes)


def hosts(*facts: HostFacts) -> Topology:
    return Topology(hosts={one.host: one for one in facts})


def behind(parent: str, *names: str) -> list[HostFacts]:
    return [HostFacts(host=name, parents=(parent,)) for name in names]


def folded(incidents: Sequence[Incident], topology: Topology, **more: Any) -> dict[str, str]:
    """component → the component it is shown on."""
    known = {one.id: one.component for one in incidents}
    found = fold([situate(one, one.component, topology) for one in incidents], STORM, NOW, **more)
    return {known[identity]: known[one.root] for identity, one in found.items()}


MANY = [f"web-{number:03}" for number in range(500)]


def test_five_hundred_behind_one_switch_are_one() -> None:
    topology = hosts(*behind("sw-1", *MANY), HostFacts(host="sw-1", parents=("core",)))
    found = folded([incident(name) for name in MANY], topology)
    assert len(found) == 499
    assert set(found.values()) == {"web-000"}


def test_the_switch_itself_is_the_root_when_it_is_in_trouble() -> None:
    topology = hosts(*behind("sw-1", *MANY), HostFacts(host="sw-1", parents=("core",)))
    found = folded([incident("sw-1", since=NOW - 500), *(incident(name) for name in MANY)], topology)
    assert set(found.values()) == {"sw-1"}
    assert len(found) == 500


def test_the_topmost_trouble_is_the_root() -> None:
    topology = hosts(*behind("sw-1", "web-1"), *behind("core", "sw-1"))
    assert folded([incident("core"), incident("sw-1"), incident("web-1")], topology) == {"sw-1": "core", "web-1": "core"}


@pytest.mark.parametrize(
    ("parent", "child", "folds"),
    [
        ({}, {}, True),
        ({"severity": Severity.WARNING}, {}, False),
        ({"severity": Severity.WARNING}, {"severity": Severity.WARNING}, True),
        ({"since": NOW - 200}, {}, False),
        ({"since": NOW - 400}, {}, True),
        ({"since": NOW - 80_000}, {}, True),
        ({"phase": Phase.RECOVERED, "recovered": NOW - 200}, {}, True),
        ({"phase": Phase.RECOVERED, "recovered": NOW - 700}, {}, False),
        ({"phase": Phase.RECOVERED, "recovered": NOW - 200}, {"since": NOW - 100}, False),
        ({"phase": Phase.WITHDRAWN, "recovered": NOW - 200}, {}, False),
        ({"held_by": (("maintenance", "x"),)}, {}, True),
        ({"held_by": (("acknowledged", "x"),)}, {}, True),
        ({"held_by": (("ladder", "show"),)}, {}, False),
        ({"held_by": (("silence", "x"),)}, {}, False),
        ({}, {"held_by": (("maintenance", "x"),)}, False),
        ({}, {"phase": Phase.RECOVERED, "recovered": NOW - 10}, False),
    ],
)
def test_when_a_trouble_above_explains_one_below(parent: dict[str, Any], child: dict[str, Any], folds: bool) -> None:
    topology = hosts(*behind("sw-1", "web-1"))
    found = folded([incident("sw-1", **parent), incident("web-1", **child)], topology)
    assert found == ({"web-1": "sw-1"} if folds else {})


def test_a_few_that_go_wrong_by_chance_stay_apart() -> None:
    topology = hosts(*(HostFacts(host=name, groups=("linux",)) for name in MANY))
    assert folded([incident(name) for name in MANY[:9]], topology, sizes={"group linux": 500}) == {}
    assert len(folded([incident(name) for name in MANY[:30]], topology, sizes={"group linux": 500})) == 29
    # Among ten thousand, ten in five minutes are an ordinary day.
    assert folded([incident(name) for name in MANY[:12]], topology, sizes={"group linux": 10_000, "type web": 10_000}) == {}


def test_what_began_hours_apart_is_no_storm() -> None:
    topology = hosts(*behind("sw-1", "a", "b", "c", "d"))
    assert folded([incident(name, since=NOW - 7200 * place) for place, name in enumerate("abcd")], topology) == {}


def test_a_type_without_any_topology_folds_when_all_of_it_breaks() -> None:
    found = folded([incident(name) for name in MANY], Topology(), sizes={"type web": 500})
    assert len(found) == 499


def test_what_was_shown_before_stays_shown_up_to_three() -> None:
    topology = hosts(*behind("sw-1", *MANY))
    incidents = [incident(name) for name in MANY]
    shown = frozenset({"id-web-007", "id-web-008"})
    found = folded(incidents, topology, shown=shown)
    assert len(found) == 498
    assert set(found.values()) == {"web-007"}
    many = frozenset(f"id-{name}" for name in MANY[:50])
    assert len(folded(incidents, topology, shown=many)) == 497


def test_parents_in_a_circle_end() -> None:
    topology = hosts(
        HostFacts(host="a", parents=("b",)), HostFacts(host="b", parents=("c",)), HostFacts(host="c", parents=("a",))
    )
    assert {one.name for one in topology.above("web", "a", "a")} == {"b", "c"}
    found = folded([incident("a"), incident("b"), incident("c")], topology)
    assert len(found) < 3, "somebody must be left to be shown"


def test_a_dependency_is_told_as_such() -> None:
    topology = Topology(depends_on={"web": [("web-*", ("db-1",))]})
    found = fold([situate(one, one.component, topology) for one in (incident("web-1"), incident("db-1"))], STORM, NOW)
    assert [(one.stage, one.reason) for one in found.values()] == [("dependency", "dependency db-1 is in trouble (id-db-1)")]


def stage(topology: Topology, known: Sequence[Incident] = ()) -> Grouping:
    return Grouping(
        storm=STORM,
        host_of=lambda one: one.component,
        topology=lambda: topology,
        known=lambda: known,
        shown=lambda: frozenset(one.id for one in known if not one.held_by),
    )


def test_who_stands_for_others_says_so_once_and_goes_on_after_its_recovery() -> None:
    topology = hosts(*behind("sw-1", "a", "b", "c"))
    first = run([stage(topology)], [incident(name) for name in "abc"], utc(NOW))
    assert first.incidents[0].folded == ("b", "c")
    assert [step.kind for step in first.transitions] == ["leads", "held", "held"]
    before = {one.id: one.held_by for one in first.incidents}
    gone = replace(first.incidents[0], phase=Phase.RECOVERED, recovered=NOW + 60, folded=())
    second = run([stage(topology, first.incidents)], [gone, *first.incidents[1:]], utc(NOW + 60), before, {"id-a"})
    assert second.transitions == ()
    late = run([stage(topology, second.incidents)], second.incidents[1:], utc(NOW + 700), before)
    assert [one.held_by for one in late.incidents] == [(), ()]
    assert [step.kind for step in late.transitions] == ["released", "released"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_somebody_is_always_shown_and_nobody_folds_onto_the_hidden(data: st.DataObject) -> None:
    names = [f"h{number}" for number in range(data.draw(st.integers(2, 14)))]
    facts = [
        HostFacts(
            host=name,
            parents=tuple(data.draw(st.lists(st.sampled_from(names), max_size=2))),
            groups=tuple(data.draw(st.lists(st.sampled_from(["g", "k"]), max_size=1))),
        )
        for name in names
    ]
    incidents = [
        incident(
            name,
            since=NOW - data.draw(st.sampled_from([60, 200, 600, 4000])),
            severity=data.draw(st.sampled_from([Severity.WARNING, Severity.CRITICAL])),
        )
        for name in names
    ]
    shown = frozenset(one.id for one in incidents if data.draw(st.booleans()))
    known = [situate(one, one.component, hosts(*facts)) for one in incidents]
    found = fold(known, Storm(behind=2, beside=3), NOW, shown=shown, sizes={"type web": len(names)})
    assert len(found) < len(incidents)
    for identity, one in found.items():
        root, steps = one.root, 0
        while root in found:
            root, steps = found[root].root, steps + 1
            assert steps < 20, f"{identity} is shown on nothing"
    assert fold(list(reversed(known)), Storm(behind=2, beside=3), NOW, shown=shown, sizes={"type web": len(names)}) == found
