"""Storms fold: what has one cause is shown once, on the probable root, with the members named.

Three questions, in this order. Is something above it in trouble too (a parent, a dependency)? Then that is the root. Did
several that depend on the same thing go wrong within minutes, though nothing is known of that thing? Did so many of one host
group, or of one component type, that chance is no explanation? Then one of them stands for all.

What was shown before its storm was recognised stays shown, as long as the storm shows no more than three: taking it back
would look like a recovery. Nothing is remembered here; the same incidents fold in the same way, before and after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerting.desired import worse
from alerting.maintenance import MAINTENANCE
from alerting.stages import ACKNOWLEDGED, hold
from alerting.topology import DEPENDENCY, PARENT, Above, Topology
from tocsin.model import Incident, Phase, Severity
from tocsin.timegrid import DAY

GROUP = "group"
FOLDING = frozenset({GROUP, PARENT, DEPENDENCY})
KNOWN = FOLDING | {MAINTENANCE, ACKNOWLEDGED}
"""What may hold an incident that others fold onto: somebody knows of it, or it is shown elsewhere."""
USUAL = 1 / (7 * DAY)
"""Incidents per component and second that are taken for chance: one a week, which is many."""
UNLIKELY = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Storm:
    """When incidents are one: opened `within` so many seconds, `behind` the same thing or `beside` one another.

    A storm shows at most `show` incidents; members stay folded for `grace` seconds after their root recovered.
    """

    within: int = 300
    behind: int = 3
    beside: int = 10
    show: int = 3
    grace: int = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """Where an incident is shown instead: on the incident `root`. `behind` names what they have in common."""

    root: str
    stage: str
    behind: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Situated:
    """An incident and where its component stands."""

    incident: Incident
    host: str
    above: Sequence[Above] = ()
    groups: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.host, self.incident.component)))


def situate(incident: Incident, host: str, topology: Topology) -> Situated:
    """Look up where an incident's component stands."""
    above = topology.above(incident.component_type, incident.component, host)
    return Situated(incident=incident, host=host, above=above, groups=topology.groups(host))


def fold(
    known: Sequence[Situated],
    storm: Storm,
    now: float,
    *,
    shown: frozenset[str] = frozenset(),
    sizes: Mapping[str, int] | None = None,
) -> Mapping[str, Fold]:
    """Which incidents (by id) are shown on another one; pure.

    `known` are the open incidents of all component types and those that recovered lately. `shown` (ids) were seen by people
    until now. `sizes` says how many hosts a group has, and how many components a type (`type NAME`).
    """
    ranked = sorted(known, key=lambda one: (one.incident.since, one.incident.component, one.incident.id))
    roots = [one for one in ranked if _can_lead(one.incident, storm, now)]
    left = [one for one in ranked if one.incident.phase is Phase.OPEN and _free(one.incident)]
    folds: dict[str, Fold] = {}
    _onto_roots(left, roots, storm, folds)
    _onto_former(left, roots, folds)
    left = [one for one in left if one.incident.id not in folds]
    led = {fold.root for fold in folds.values()}

    def bundle(links: Callable[[Situated], Iterable[tuple[str, str]]], at_least: Callable[[str], int]) -> None:
        rest = [one for one in left if one.incident.id not in folds and one.incident.id not in led]
        for behind, stage, members in _bundles(rest, links, at_least, storm.within):
            leader = min(members, key=lambda one: _rank(one.incident, shown))
            led.add(leader.incident.id)
            for member in members:
                if member is not leader:
                    why = f"one of several {_spell(behind)}, shown on {leader.incident.component}"
                    folds[member.incident.id] = Fold(root=leader.incident.id, stage=stage, behind=behind, reason=why)

    bundle(lambda one: ((above.name, GROUP) for above in one.above), lambda _name: storm.behind)
    counts = sizes or {}
    bundle(lambda one: ((f"group {name}", GROUP) for name in one.groups), lambda name: _enough(counts.get(name, 0), storm))
    bundle(lambda one: ((f"type {one.incident.component_type}", GROUP),), lambda name: _enough(counts.get(name, 0), storm))
    folds = {identity: replace(one, root=_end_of(one.root, folds)) for identity, one in folds.items()}
    return _without_retractions(folds, {one.incident.id: one.incident for one in ranked}, storm, shown)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The stage: folds what is not held back for another reason, and writes the members onto the root.

    `known` gives the incidents of all component types as they were last seen, this one's included.
    """

    storm: Storm
    host_of: Callable[[Incident], str]
    topology: Callable[[], Topology]
    known: Callable[[], Iterable[Incident]] = tuple
    shown: Callable[[], frozenset[str]] = frozenset
    sizes: Callable[[], Mapping[str, int]] = dict

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        if not incidents:
            return incidents
        before = {one.id: one for one in self.known()}
        # Who stood for others goes on doing so: what was folded onto it is remembered with it.
        everything = before | {
            one.id: replace(one, folded=before[one.id].folded, behind=before[one.id].behind) if one.id in before else one
            for one in incidents
        }
        if sum(one.phase is Phase.OPEN for one in everything.values()) < 2 and not any(
            _recent(one, self.storm, now.timestamp()) for one in everything.values()
        ):
            return incidents
        topology = self.topology()
        situated = [situate(one, self.host_of(one), topology) for one in everything.values()]
        groups = {f"group {name}": count for name, count in topology.group_sizes.items()}
        folds = fold(situated, self.storm, now.timestamp(), shown=self.shown(), sizes={**groups, **self.sizes()})
        members: dict[str, list[str]] = {}
        behind: dict[str, str] = {}
        for identity, one in folds.items():
            members.setdefault(one.root, []).append(everything[identity].component)
            behind.setdefault(one.root, one.behind)
        return [_told(one, folds.get(one.id), members.get(one.id, ()), behind.get(one.id, "")) for one in incidents]


def _told(incident: Incident, fold: Fold | None, members: Iterable[str], behind: str) -> Incident:
    if fold is not None:
        return hold(incident, fold.stage, fold.reason)
    names = tuple(sorted(set(members) - {incident.component}))
    return replace(incident, folded=names, behind=behind) if names else incident


def _free(incident: Incident) -> bool:
    return all(stage in FOLDING for stage, _ in incident.held_by)


def _recent(incident: Incident, storm: Storm, now: float) -> bool:
    return incident.phase is Phase.RECOVERED and incident.recovered is not None and now - incident.recovered < storm.grace


def _can_lead(incident: Incident, storm: Storm, now: float) -> bool:
    """A root must be in trouble, or only just out of it, and known to people: what nobody sees cannot stand for others."""
    return all(stage in KNOWN for stage, _ in incident.held_by) and (
        incident.phase is Phase.OPEN or _recent(incident, storm, now)
    )


def _onto_roots(left: Sequence[Situated], roots: Sequence[Situated], storm: Storm, folds: dict[str, Fold]) -> None:
    """Each incident onto the topmost trouble above it."""
    at: dict[str, list[Situated]] = {}
    for one in roots:
        for name in one.names:
            at.setdefault(name, []).append(one)
    if not at:
        return
    for member in left:
        for above in reversed(member.above):
            candidates = (root.incident for root in at.get(above.name, ()) if _explains(root.incident, member.incident, storm))
            # Where parents stand in a circle, the first one found stays: all of them folded would be nobody shown.
            found = next((root for root in candidates if _end_of(root.id, folds) != member.incident.id), None)
            if found is not None:
                what = "parent" if above.stage == PARENT else "dependency"
                why = f"{what} {above.name} is in trouble ({found.id[:8]})"
                folds[member.incident.id] = Fold(root=found.id, stage=above.stage, behind=above.name, reason=why)
                break


def _end_of(identity: str, folds: Mapping[str, Fold]) -> str:
    """The incident on which this one is shown in the end."""
    while identity in folds:
        identity = folds[identity].root
    return identity


def _explains(root: Incident, member: Incident, storm: Storm) -> bool:
    """Whether a trouble above explains one below: it is as bad, began no later than a little after, and was not over then."""
    if root.id == member.id or root.component == member.component or worse(member.severity, root.severity):
        return False
    return root.since <= member.since + storm.within and (root.recovered is None or member.since <= root.recovered)


def _onto_former(left: Sequence[Situated], roots: Sequence[Situated], folds: dict[str, Fold]) -> None:
    """Those who are left when the one that stood for them recovered stay folded for a while: they are about to follow."""
    for root in (one.incident for one in roots if one.incident.phase is Phase.RECOVERED and one.incident.folded):
        names = frozenset(root.folded)
        for member in (one.incident for one in left if one.incident.component in names and one.incident.id not in folds):
            if member.since <= (root.recovered or 0):
                why = f"one of several {_spell(root.behind)}, shown on {root.component}"
                folds[member.id] = Fold(root=root.id, stage=GROUP, behind=root.behind, reason=why)


def _bundles(
    left: Sequence[Situated],
    links: Callable[[Situated], Iterable[tuple[str, str]]],
    at_least: Callable[[str], int],
    within: int,
) -> Iterable[tuple[str, str, Sequence[Situated]]]:
    """Incidents with something in common that began within the same minutes: the largest bundle first, each incident once."""
    sharing: dict[str, list[Situated]] = {}
    stages: dict[str, str] = {}
    for one in left:
        for name, stage in links(one):
            sharing.setdefault(name, []).append(one)
            stages[name] = stage
    bundles = [
        (name, cluster)
        for name, members in sharing.items()
        if len(members) >= at_least(name)
        for cluster in _clusters(members, within, at_least(name))
        if _components(cluster) >= at_least(name)
    ]
    taken: set[str] = set()
    nearness = {name: min(_steps(one, name) for one in members) for name, members in sharing.items()}
    for name, cluster in sorted(bundles, key=lambda one: (-len(one[1]), nearness[one[0]], one[0], one[1][0].incident.since)):
        rest = [one for one in cluster if one.incident.id not in taken]
        if _components(rest) >= at_least(name):
            taken.update(one.incident.id for one in rest)
            yield name, stages[name], rest


def _clusters(members: Sequence[Situated], within: int, enough: int) -> Iterable[list[Situated]]:
    """Incidents that began within `within` seconds; once they are `enough`, the storm goes on while it does not pause, for
    at most six times as long."""
    cluster: list[Situated] = []
    for one in members:
        if cluster:
            whole, pause = (one.incident.since - other.incident.since for other in (cluster[0], cluster[-1]))
            if pause > within or whole > (6 if len(cluster) >= enough else 1) * within:
                yield cluster
                cluster = []
        cluster.append(one)
    if cluster:
        yield cluster


def _components(members: Sequence[Situated]) -> int:
    return len({(one.incident.component_type, one.incident.component) for one in members})


def _steps(one: Situated, name: str) -> int:
    return next((above.steps for above in one.above if above.name == name), 0)


def _enough(size: int, storm: Storm) -> int:
    """How many incidents among so many components are no chance, at one a week each; never fewer than `beside`."""
    expected, count = size * USUAL * storm.within, storm.beside
    while _at_least(count, expected) > UNLIKELY:
        count += 1
    return count


def _at_least(count: int, expected: float) -> float:
    """Probability of `count` or more where `expected` are (Poisson)."""
    term, below = math.exp(-min(expected, 700.0)), 0.0
    for number in range(count):
        below += term
        term *= expected / (number + 1)
    return 1.0 - below


def _rank(incident: Incident, shown: frozenset[str]) -> tuple[bool, bool, int, int, float, str, str]:
    """Who stands for a bundle: whoever did, or is shown already, else the worst, the earliest, the most surprising."""
    bad = -sum(worse(incident.severity, other) for other in Severity)
    seen = incident.id in shown
    return not seen, not (seen and incident.folded), bad, incident.since, -incident.peak, incident.component, incident.id


def _spell(behind: str) -> str:
    return f"of {behind}" if behind.startswith(("group ", "type ")) else f"behind {behind}"


def _without_retractions(
    folds: Mapping[str, Fold], incidents: Mapping[str, Incident], storm: Storm, shown: frozenset[str]
) -> Mapping[str, Fold]:
    """Leave visible what was visible, up to `show` per root with the root itself."""
    room = dict.fromkeys((fold.root for fold in folds.values()), storm.show - 1)
    kept = {}
    for identity in sorted(folds, key=lambda one: _rank(incidents[one], shown)):
        fold = folds[identity]
        if identity in shown and room[fold.root] > 0:
            room[fold.root] -= 1
        else:
            kept[identity] = fold
    return kept
