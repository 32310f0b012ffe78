"""Keeps the world that stages look at: decisions from the store, downtimes from the supervising system, budgets, promises.

`look` is quick and done before each tick; `supervise` may wait for a server and is done by a timed job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from alerting import ladder
from alerting.budget import BUDGET, LOOKS_BACK, move
from alerting.selfwatch import alerting
from alerting.stages import ACKNOWLEDGED, Rung, visible
from tocsin.config import ComponentType, Config
from tocsin.model import CheckResult, Downtime, Incident, Phase, ServiceKey, Transition, Window
from tocsin.ports import Stage, Supervision
from tocsin.proof import measure
from tocsin.records import Promotion, Verdict
from tocsin.remarks import verdicts_of
from tocsin.speak import Services
from tocsin.staging import BROKEN, World, allowance_of, planned, stages_of
from tocsin.store.state import State
from tocsin.supervising import REMARKS_BACK, Overseen
from tocsin.timegrid import DAY

log = structlog.get_logger()

LOOK_EVERY = 5.0
"""Seconds after which what people decided is read again."""
PROMISES_EVERY = 3600.0
TOLD_FOR = 7 * DAY
"""How long it is told that a type was sent down the ladder."""


class Oversight:
    """One per process. Its world is read by ticks, and written by `look`, `saw` and `supervise`."""

    def __init__(self, config: Config, state: State, supervision: Supervision | None) -> None:
        self._config, self._state = config, state
        self._kinds = {kind.name: kind for kind in config.types}
        entry = config.supervision
        name, trust = (entry.plugin.name, float(entry.trust)) if entry is not None else ("", 0.0)
        self.overseen = Overseen(supervision, state.accounts, name=name, trust=trust)
        self._now = self._looked = self._promises = -float("inf")
        self._kept: set[Verdict] = set()
        self.world = World(
            hosts=lambda: self.overseen.hosts(self._now),
            downtimes=self.overseen.downtimes,
            spent=self._spent,
            depends_on={kind.name: list(kind.depends_on.items()) for kind in config.types},
        )

    def stages(self, kind: ComponentType) -> tuple[Stage, ...]:
        """The stages of a component type."""
        return stages_of(kind.name, kind.alert, kind.surroundings().calendar, self.world, self.service_of, team=self._team(kind))

    def service_of(self, incident: Incident) -> ServiceKey:
        """The service that shows an incident."""
        kind = self._kinds.get(incident.component_type)
        if kind is None:  # of a type that is no longer configured
            return ServiceKey(incident.component, "")
        return kind.alert.to.key(incident.component, kind.name, incident.signature)

    def sends(self, kind: ComponentType) -> bool:
        """Whether services of a component type are written to at all."""
        return self.world.rung(kind.name, kind.alert.ladder).sends or any(
            one.component_type == kind.name and one.written == kind.alert.ladder and Rung(one.rung).sends
            for one in self.world.promotions.values()
        )

    def spoken(self, kind: ComponentType, keys: Sequence[ServiceKey], services: Services) -> Sequence[ServiceKey]:
        """Those of the services that are written to: a component that was let by itself does not bring its siblings along."""
        written, world = kind.alert.ladder, self.world
        apart = {one.component for one in world.promotions.values() if one.component_type == kind.name and one.component}
        if not apart:
            return keys
        names = services.index.components
        return [
            key
            for key in keys
            if any(world.rung(kind.name, written, names[place]).sends for place in services.components_of[key])
        ]

    # --- what ticks do ---------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Read what people decided, if that was not done just now."""
        self._now = now
        if not 0 <= now - self._looked < LOOK_EVERY:
            self._read_decisions(now)

    def _read_decisions(self, now: float) -> None:
        accounts = self._state.accounts
        self.world.silences = accounts.silences(at=now)
        self.world.promotions = {(one.component_type, one.component): one for one in accounts.promotions()}
        self.world.bars = accounts.bars()
        self.world.acknowledged = accounts.acknowledged()
        self._looked = now

    def saw(self, component_type: str, incidents: Iterable[Incident], components: int | None = None) -> None:
        """The incidents of a component type as a tick left them."""
        self.world.incidents[component_type] = list(incidents)
        if components is not None:
            self.world.counts[component_type] = components

    # --- what the timed job does -----------------------------------------------------------------------------------

    def supervise(self, now: float) -> None:
        """Read the supervising system, keep what people did there, move the bars, and see whether promises are kept."""
        self._now = now
        if self.overseen.refresh(now):
            self._keep_remarks(now)
        self._read_decisions(now)
        self._move_bars(now)
        if now - self._promises >= PROMISES_EVERY:
            self._promises = now
            for kind in self._kinds.values():
                self._hold_to_promise(kind, now)
        self._looked = -float("inf")

    def watched(self, component_type: str, now: float) -> None:
        """A component type is judged from now on; only the first time counts."""
        if self._state.accounts.snapshot(f"watched {component_type}") is None:
            self._state.accounts.set_snapshot(f"watched {component_type}", now, {})

    def planned_work(self, kind: ComponentType, components: Sequence[str], window: Window) -> Sequence[Downtime]:
        """The planned work of the YAML as downtimes of the services that show these components: nobody shall learn from it."""
        works = [(work, work.spans(window.start, window.end)) for work in planned(kind.alert, kind.timezone)]
        found = []
        for component in components:
            key = kind.alert.to.key(component, kind.name, "")
            for work, spans in works:
                if work.concerns(component):
                    for span in spans:
                        found.append(Downtime(id=work.name, host=key.host, service=key.service, start=span.start, end=span.end))
        return found

    def result(self, host: str, now: float) -> CheckResult:
        """What Tocsin says of its alerting: how much is shown and held back, and what needs a look."""
        open_ones = [one for one in self.world.known() if one.phase is Phase.OPEN]
        held: dict[str, int] = {}
        for one in open_ones:
            if not visible(one.held_by):
                stage = next(stage for stage, _ in one.held_by if stage != ACKNOWLEDGED)
                held[stage] = held.get(stage, 0) + 1
        troubles = [trouble] if (trouble := self.overseen.trouble(now)) else []
        for promotion in self.world.promotions.values():
            if promotion.reason.startswith(BROKEN) and now - promotion.at < TOLD_FOR:
                troubles.append(f"{promotion.component_type} was sent down to {promotion.rung}: {promotion.reason}")
        for name, bar in self.world.bars.items():
            if bar.reason.endswith("were used"):
                troubles.append(f"alert budget of {name}: {bar.reason}, shown from surprise {bar.value:.1f}")
        return alerting(host, troubles, held, sum(visible(one.held_by) for one in open_ones), now)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _team(self, kind: ComponentType) -> Sequence[str]:
        mine = allowance_of(kind.name, kind.alert)
        same = [one.name for one in self._kinds.values() if mine and _budget_of(one) == mine.name]
        return same or [kind.name]

    def _spent(self, types: Sequence[str], since: float) -> int:
        return sum(visible(held_by) for _, held_by in self._state.accounts.opened(types, since))

    def _keep_remarks(self, now: float) -> None:
        downtimes = self.overseen.all_downtimes()
        if not self.overseen.remarks and not downtimes:
            return
        known = self._state.incidents(since=now - REMARKS_BACK)
        shown: dict[ServiceKey, list[Incident]] = {}
        for one in known:
            shown.setdefault(self.service_of(one), []).append(one)
        touched = {ServiceKey(one.host, one.service) for one in self.overseen.remarks}
        steps = {one.id: self._steps(one.id) for key in touched for one in shown.get(key, ())}
        found = verdicts_of(self.overseen.remarks, downtimes, shown, steps, self.overseen.name)
        fresh = set(found) - self._kept
        self._state.accounts.add_verdicts([attributed(one, self._kinds.get(one.component_type), self._state) for one in fresh])
        self._kept = set(found)

    def _steps(self, identity: str) -> Sequence[Transition]:
        return self._state.incident(identity)[1]

    def _move_bars(self, now: float) -> None:
        budgets: dict[str, tuple[ComponentType, list[str]]] = {}
        for kind in self._kinds.values():
            if (allowance := allowance_of(kind.name, kind.alert)) is not None:
                budgets.setdefault(allowance.name, (kind, []))[1].append(kind.name)
        for name, (kind, types) in budgets.items():
            allowance = allowance_of(kind.name, kind.alert)
            assert allowance is not None
            opened = self._state.accounts.opened(types, now - LOOKS_BACK * allowance.every)
            peaks = [peak for peak, held_by in opened if all(stage in (ACKNOWLEDGED, BUDGET) for stage, _ in held_by)]
            bar, before = move(allowance, peaks, self._spent(types, now - allowance.every), now), self.world.bars.get(name)
            if before is None or (before.value, before.used) != (bar.value, bar.used):
                self._state.accounts.set_bar(name, bar)
                log.info("budget.moved", budget=name, bar=bar.value, used=bar.used, reason=bar.reason)

    def _hold_to_promise(self, kind: ComponentType, now: float) -> None:
        rung = self.world.rung(kind.name, kind.alert.ladder)
        let = self.world.promotions.get((kind.name, ""))
        # What was before a person let it climb again is known to that person.
        figures = measure(self._state, kind, now, after=0.0 if let is None else float(let.at))
        why = ladder.broken(rung, figures, kind.alert.promise)
        if not why:
            return
        lower = ladder.below(rung)
        log.warning("ladder.demoted", component_type=kind.name, to=lower.value, reason=why)
        self._state.accounts.promote(
            Promotion(
                component_type=kind.name,
                rung=lower.value,
                written=kind.alert.ladder,
                at=int(now),
                by="tocsin",
                reason=f"{BROKEN}: {why}",
                figures=figures.document(),
            )
        )


def attributed(one: Verdict, kind: ComponentType | None, state: State) -> Verdict:
    """The verdict with who found the incident: the detectors of its signature, and the model version in force when it opened."""
    incident, _ = state.incident(one.incident)
    around = None if kind is None else kind.surroundings()
    parts = [] if kind is None else [entry.plugin.build(entry.settings, around) for entry in kind.detect]
    names = tuple(part.name for part in parts if part.signature == incident.signature)
    versions = [model for model in state.models(one.component_type) if model.created_at <= incident.opened]
    newest = max(versions, key=lambda model: model.version, default=None)
    return replace(one, detectors=names, model_version=None if newest is None else newest.version)


def _budget_of(kind: ComponentType) -> str:
    found = allowance_of(kind.name, kind.alert)
    return "" if found is None else found.name
