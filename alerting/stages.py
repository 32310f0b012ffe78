"""What stands between an incident and its being shown: stages, each saying why it holds one back.

A stage only adds to `Incident.held_by`; it neither drops an incident nor makes one. An incident that several stages
hold is shown when the last of them lets go, and every change is a transition, so that "why was I not told?" has an answer.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from tocsin.model import Incident, Transition
from tocsin.ports import Stage

HeldBy = tuple[tuple[str, str], ...]

LADDER = "ladder"
ACKNOWLEDGED = "acknowledged"
"""The one stage that hides nothing: it keeps the severity somebody has taken on."""


class Rung(Enum):
    """How far a component type has come: what of its incidents may be seen.

    learn: nothing is sent, incidents are recorded. show: the service stays OK, its text says what it would have been.
    status: the service takes the incident's state. notify: the same; the engine may notify.
    """

    LEARN = "learn"
    SHOW = "show"
    STATUS = "status"
    NOTIFY = "notify"

    @property
    def sends(self) -> bool:
        """Whether services are written to at all."""
        return self is not Rung.LEARN


@dataclass(frozen=True)
class Ladder:
    """Holds back everything until the component type, or a component by itself, has climbed to `status`.

    `reasons` tells, by component ("" for the type), why it does not stand higher, where that is worth telling.
    """

    rung: Rung
    of_component: Mapping[str, Rung] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        if not self.of_component and self.rung in (Rung.STATUS, Rung.NOTIFY):
            return incidents
        return [self._held(incident) for incident in incidents]

    def _held(self, incident: Incident) -> Incident:
        alone = incident.component in self.of_component
        rung = self.of_component[incident.component] if alone else self.rung
        why = self.reasons.get(incident.component if alone else "", "")
        return (
            incident
            if rung in (Rung.STATUS, Rung.NOTIFY)
            else hold(incident, LADDER, f"{rung.value}: {why}" if why else rung.value)
        )


def visible(held_by: HeldBy) -> bool:
    """Whether what is held so is still seen by people."""
    return all(stage == ACKNOWLEDGED for stage, _ in held_by)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Incidents with their `held_by`, and a transition for each that was held or released now."""

    incidents: tuple[Incident, ...]
    transitions: tuple[Transition, ...]


def hold(incident: Incident, stage: str, reason: str) -> Incident:
    """The incident, held back by `stage`."""
    return replace(incident, held_by=(*incident.held_by, (stage, reason)))


def run(
    stages: Sequence[Stage],
    incidents: Sequence[Incident],
    now: datetime,
    before: Mapping[str, HeldBy] | None = None,
    leading: Container[str] = (),
) -> Staged:
    """Ask every stage anew. `before` is what held each incident (by id) the last time, `leading` who stood for others then.

    A stage that fails, or loses an incident, is passed over and leaves its mark in a transition: a broken silence must not
    hide a problem.
    """
    staged: Sequence[Incident] = [replace(incident, held_by=(), folded=(), behind="") for incident in incidents]
    at = int(now.timestamp())
    transitions: list[Transition] = []
    for stage in stages:
        why = ""
        try:
            after = list(stage(staged, now))
            if [incident.id for incident in after] != [incident.id for incident in staged]:
                why = "changed the list of incidents"
        except Exception as error:  # noqa: BLE001  (other people's code; the incidents go on without it)
            after, why = [], f"{type(error).__name__}: {error}"
        if why:
            name = getattr(stage, "__name__", type(stage).__name__)
            transitions += [
                Transition(incident=one.id, at=at, kind="stage-failed", reason=f"{name} {why}", severity=one.severity)
                for one in staged
            ]
        else:
            staged = after
    held = before or {}
    for incident in staged:
        was = held.get(incident.id, ())
        if incident.held_by != was:
            kind = "held" if incident.held_by else "released"
            reason = ", ".join(f"{stage}: {why}" for stage, why in incident.held_by or was)
            transitions.append(Transition(incident=incident.id, at=at, kind=kind, reason=reason, severity=incident.severity))
        if incident.folded and incident.id not in leading:
            reason = f"{len(incident.folded)} more behind {incident.behind} are shown here"
            transitions.append(Transition(incident=incident.id, at=at, kind="leads", reason=reason, severity=incident.severity))
    return Staged(incidents=tuple(staged), transitions=tuple(transitions))
