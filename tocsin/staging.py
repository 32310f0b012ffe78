"""The stages of each component type, made of configuration, of what people decided and of what the supervising system knows.

A stage looks at the `World` each time it is asked; whoever keeps the world fresh (the daemon, a scenario) changes its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alerting.budget import Allowance, Within
from alerting.grouping import Grouping, Storm
from alerting.maintenance import Maintenance, Planned, QuietHours
from alerting.silences import Respected, Silenced
from alerting.stages import Ladder, Rung, visible
from alerting.topology import Topology
from tocsin.config_shapes import Alert
from tocsin.model import Downtime, HostFacts, Incident, Phase, ServiceKey, Severity
from tocsin.ports import Stage
from tocsin.records import Acknowledged, Bar, Promotion, Silence
from tocsin.timegrid import Calendar

BROKEN = "the false-alarm promise is broken"
"""How the reason of a demotion begins that nobody asked for."""


@dataclass(kw_only=True)
class World:
    """What the stages look at. Parts are replaced, never changed in place: other threads may be looking.

    `incidents` holds what was last known of every component type; `counts` how many components each has. `spent` tells how
    many alerts of some component types people have seen since a time.
    """

    hosts: Callable[[], Mapping[str, HostFacts]] = dict
    downtimes: Callable[[str, str, float], Sequence[Downtime]] = lambda _host, _service, _at: ()
    spent: Callable[[Sequence[str], float], int] = lambda _types, _since: 0
    silences: Sequence[Silence] = ()
    acknowledged: Mapping[str, Acknowledged] = field(default_factory=dict)
    promotions: Mapping[tuple[str, str], Promotion] = field(default_factory=dict)
    bars: Mapping[str, Bar] = field(default_factory=dict)
    incidents: dict[str, Sequence[Incident]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    depends_on: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = field(default_factory=dict)
    _topology: tuple[Mapping[str, HostFacts], Topology] | None = None

    def topology(self) -> Topology:
        """What stands above what."""
        hosts = self.hosts()
        if self._topology is None or self._topology[0] is not hosts:
            self._topology = (hosts, Topology(hosts=hosts, depends_on=self.depends_on))
        return self._topology[1]

    def known(self) -> Iterable[Incident]:
        """The incidents of all component types, as they were last seen."""
        return [one for several in list(self.incidents.values()) for one in several]

    def shown(self) -> frozenset[str]:
        """The open incidents that people see."""
        return frozenset(one.id for one in self.known() if one.phase is Phase.OPEN and visible(one.held_by))

    def sizes(self) -> Mapping[str, int]:
        """How many components each type has, as `grouping.fold` wants it."""
        return {f"type {name}": count for name, count in self.counts.items()}

    def rung(self, component_type: str, written: str, component: str = "") -> Rung:
        """How far a component type or component was let: by the last word, in the YAML or by `tocsin promote`."""
        for name in dict.fromkeys((component, "")):
            one = self.promotions.get((component_type, name))
            if one is not None and one.written == written:
                return Rung(one.rung)
        return Rung(written)


@dataclass(frozen=True)
class Climbed:
    """The ladder as it stands now, for a component type and for components that were let by themselves."""

    world: World
    component_type: str
    written: str

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        promotions = [one for (kind, _), one in self.world.promotions.items() if kind == self.component_type]
        valid = [one for one in promotions if one.written == self.written]
        apart = {one.component: Rung(one.rung) for one in valid if one.component}
        reasons = {one.component: one.reason for one in valid if one.reason.startswith(BROKEN)}
        return Ladder(self.world.rung(self.component_type, self.written), apart, reasons)(incidents, now)


def stages_of(
    component_type: str,
    alert: Alert,
    calendar: Calendar,
    world: World,
    service_of: Callable[[Incident], ServiceKey],
    *,
    team: Sequence[str] = (),
) -> tuple[Stage, ...]:
    """Every stage a component type has, in their order. `team` names the component types that share its budget."""

    def place_of(incident: Incident) -> tuple[str, str]:
        key = service_of(incident)
        return key.host, key.service

    def above(incident: Incident) -> Sequence[str]:
        return [one.name for one in world.topology().above(incident.component_type, incident.component, place_of(incident)[0])]

    group = alert.group
    storm = Storm(within=group.within, behind=group.behind, beside=group.beside, show=group.show, grace=group.grace)
    stages: list[Stage] = [
        Climbed(world, component_type, alert.ladder),
        Maintenance(
            planned=planned(alert, calendar.timezone),
            calendar=calendar,
            downtimes=world.downtimes,
            place_of=place_of,
            above=above,
        ),
        Silenced(lambda: world.silences),
        Respected(lambda: world.acknowledged),
        Grouping(
            storm=storm,
            host_of=lambda incident: service_of(incident).host,
            topology=world.topology,
            known=world.known,
            shown=world.shown,
            sizes=world.sizes,
        ),
    ]
    for quiet in alert.quiet:
        hours = quiet.recurring(calendar.timezone, "quiet hours")
        stages.append(QuietHours(hours=(hours,), up_to=Severity[quiet.up_to], shown=world.shown))
    if (allowance := allowance_of(component_type, alert)) is not None:
        types = team or (component_type,)
        stages.append(
            Within(
                allowance=allowance,
                bar=lambda: world.bars.get(allowance.name),
                used=lambda now: world.spent(types, now - allowance.every),
                shown=world.shown,
            )
        )
    return tuple(stages)


def planned(alert: Alert, timezone: str) -> Sequence[Planned]:
    """The planned work of a component type."""
    return [
        Planned(
            name=work.name,
            components=work.components,
            recurring=None if work.at is None else work.recurring(timezone, work.name),
            once=work.once(timezone),
        )
        for work in alert.maintenance
    ]


def allowance_of(component_type: str, alert: Alert) -> Allowance | None:
    """The alert budget that a component type belongs to, None where there is none."""
    if alert.budget is None:
        return None
    name = f"team {alert.budget.team}" if alert.budget.team else component_type
    return Allowance(
        name=name,
        alerts=alert.budget.alerts,
        every=alert.budget.every,
        floor=alert.open.surprise,
        most=alert.budget.most,
    )
