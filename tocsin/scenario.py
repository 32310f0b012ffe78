"""A story of surprises and what must be shown, told in YAML and played through judge, stages, sentences and delivery.

    scenario: A slow web server is told, and forgotten when it is well again
    every: 1m
    alert: {open: {surprise: 4, buckets: 2, of: 3}, ladder: status}
    steps:
      - {at: 0m, component: web-1, surprise: 0.5}
      - {at: 10m, component: web-1, surprise: 7, value: 840}
      - {at: 20m, component: web-1, surprise: 0.5}
    want:
      - {throughout: [5m, 11m], component: web-1, shows: OK}
      - {between: [12m, 13m], component: web-1, shows: CRITICAL, saying: latency 840}
      - {throughout: [25m, 40m], component: web-1, shows: OK}

A step holds until the next one of its component. `surprise: unknown` is data that never came, `learning` a value that nobody
can judge yet. What people and the supervising system do are steps too; docs/scenarios.md has them all. The clock is
simulated: hours take a second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from alerting import say
from alerting.deliver import Deliver
from alerting.desired import Pace, want
from alerting.judge import JudgeState, judge
from alerting.memory import InMemory
from alerting.sinks.recording import Recording
from alerting.stages import run, visible
from tocsin.config_mistakes import problems
from tocsin.errors import ConfigError, TransientError
from tocsin.handback import template_of, verdict
from tocsin.model import (
    Anomaly,
    CheckResult,
    Desired,
    Downtime,
    Frame,
    Fused,
    HostFacts,
    Incident,
    Outcome,
    Phase,
    Remark,
    Scores,
    Sent,
    SeriesIndex,
    SeriesKey,
    ServiceKey,
    Severity,
    Shown,
    Window,
    utc,
)
from tocsin.records import Acknowledged, Matcher, Promotion, Silence
from tocsin.settings import spell_duration
from tocsin.staging import World, stages_of
from tocsin.story import Quieten, Scenario, Step, Want
from tocsin.supervising import Overseen
from tocsin.yaml_positions import Document, read

SIGNATURE = "anomaly"
STEP = 5
"""Seconds of the simulated clock between two passes of the delivery."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """How it went: what every service showed at every moment, and where that is not what was wanted, a sentence each."""

    scenario: Scenario
    shown: Mapping[str, list[tuple[int, Shown]]]
    failures: tuple[str, ...]
    steps: int = 0


def play(path: Path) -> Played:
    """Play a scenario file. Raises `ConfigError` with every mistake in it, at its place."""
    document = read(path)
    if document.data is None:
        raise ConfigError(*map(str, document.problems))
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        found = [*document.problems, *(problem for _, problem in problems(error, Scenario, document))]
        raise ConfigError(*map(str, sorted(found))) from error
    if document.problems:
        raise ConfigError(*map(str, document.problems))
    strangers = [
        str(document.problem(("want", number, "component"), f"no step speaks of {one.component!r}"))
        for number, one in enumerate(scenario.want)
        if one.component and one.component not in scenario.components
    ]
    if strangers:
        raise ConfigError(*strangers)
    shown, steps = _lived(scenario)
    return Played(scenario=scenario, shown=shown, failures=tuple(_failures(scenario, shown, document)), steps=steps)


class _Centreon:
    """A receiver that can be down, and can be killed."""

    reads_back = True

    def __init__(self) -> None:
        self._shown, self._up = Recording(), True

    def happen(self, what: str) -> None:
        self._up = what == "up"
        if what == "killed":
            self._shown = Recording()

    def shows(self, service: ServiceKey) -> Shown:
        return self._shown.read_back([service])[0]

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        return self._shown.send(results) if self._up else [Outcome(sent=Sent.NO, why="down")] * len(results)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        if not self._up:
            raise TransientError("down")
        return self._shown.read_back(services)


@dataclass
class _Overseer:
    """A supervising system that knows its hosts and downtimes, and may not answer."""

    facts: Mapping[str, HostFacts]
    up: bool = True
    work: list[Downtime] = field(default_factory=list)

    def hosts(self) -> Mapping[str, HostFacts]:
        return self.facts

    def downtimes(self, start: float, end: float) -> Sequence[Downtime]:
        if not self.up:
            raise TransientError("does not answer")
        return [one for one in self.work if one.start < end and one.end > start]

    def remarks(self, since: float) -> Sequence[Remark]:
        return ()


class _Shelf:
    """What was read, kept as text as the store keeps it."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, str]] = {}

    def snapshot(self, name: str) -> tuple[float, Any] | None:
        found = self._kept.get(name)
        return None if found is None else (found[0], json.loads(found[1]))

    def set_snapshot(self, name: str, read_at: float, data: Any) -> None:
        self._kept[name] = (read_at, json.dumps(data))


class _Park:
    """Everything that lives through a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.components, self.calendar = scenario, list(scenario.components), scenario.calendar
        self.centreon, self.rows = _Centreon(), InMemory()
        self.deliver = Deliver(self.rows, self.centreon, Pace())
        self.state = JudgeState()
        self.incidents: dict[str, Incident] = {}
        self.surprise = [math.nan] * len(self.components)
        self.value = [math.nan] * len(self.components)
        self.example = [""] * len(self.components)
        self.silences: list[Silence] = []
        self.acknowledged: dict[str, Acknowledged] = {}
        self.promotions: dict[tuple[str, str], Promotion] = {}
        facts = {name: HostFacts(host=name, parents=one.parents, groups=one.groups) for name, one in scenario.hosts.items()}
        self.overseer, self.shelf = _Overseer(facts), _Shelf()
        self.steps = 0
        self.start()

    def start(self) -> None:
        """What a process does when it starts: make everything anew from what was kept."""
        scenario = self.scenario
        self.state = JudgeState.from_arrays(self.state.to_arrays())
        self.overseen = Overseen(self.overseer, self.shelf, name="centreon")
        self.deliver = Deliver(self.rows, self.centreon, Pace())
        self.world = World(
            hosts=lambda: self.overseer.facts,
            downtimes=self.overseen.downtimes,
            spent=self._spent,
            counts={scenario.component_type: len(self.components)},
            depends_on={scenario.component_type: list(scenario.depends_on.items())},
        )
        self.world.incidents[scenario.component_type] = list(self.incidents.values())
        self._look()
        self.stages = stages_of(
            scenario.component_type, scenario.alert, self.calendar, self.world, lambda one: self.key(one.component)
        )

    def happen(self, step: Step, now: int) -> None:
        """One step of the story."""
        for name in step.names:
            place = self.components.index(name)
            self.surprise[place] = step.surprise if isinstance(step.surprise, float) else math.nan
            self.value[place] = math.nan if step.surprise == "unknown" else step.value
            self.example[place] = step.example
        if step.centreon is not None:
            self.centreon.happen(step.centreon)
        elif step.supervision is not None:
            self.overseer.up = step.supervision == "up"
        elif step.downtime is not None:
            begin, work = self.scenario.begin, step.downtime
            times = {"start": begin + work.begin, "end": begin + work.end}
            one = Downtime(id="1", host=work.host, service=work.service, author=work.by, comment=work.comment, **times)
            self.overseer.work.append(one)
        elif step.acknowledge is not None:
            for incident in self.incidents.values():
                if incident.component == step.acknowledge and incident.phase is Phase.OPEN:
                    self.acknowledged[incident.id] = Acknowledged(
                        incident=incident.id, at=now, severity=incident.severity, author=step.by, text=step.comment
                    )
        elif step.silence is not None:
            self.silences.append(_silence(step.silence, now, len(self.silences)))
        elif step.expire == "silences":
            self.silences = [replace(one, end=min(one.end, now)) for one in self.silences]
        elif step.expire == "acknowledgements":
            self.acknowledged = {}
        elif step.expire == "downtimes":
            self.overseer.work = [replace(one, end=min(one.end, now)) for one in self.overseer.work]
        elif step.promote is not None:
            kind, written = self.scenario.component_type, self.scenario.alert.ladder
            why = step.comment or "as the story goes"
            one_step = Promotion(component_type=kind, rung=step.promote, written=written, at=now, by=step.by, reason=why)
            self.promotions[kind, ""] = one_step
        elif step.restart:
            self.start()

    def tick(self, window: Window) -> None:
        """Judge one bucket and say what every service must show."""
        kind, alert, now = self.scenario.component_type, self.scenario.alert, window.end
        self.overseen.refresh(now)
        self._look()
        index = SeriesIndex(SeriesKey(component, self.scenario.metric) for component in self.components)
        column, values = np.array(self.surprise)[:, None], np.array(self.value)[:, None]
        nothing = np.full(column.shape, np.nan)
        fused = Fused(index=index, window=window, surprise=column, share=np.where(np.isnan(column), 0.0, 1.0))
        scores = Scores(index=index, window=window, surprise=column, expected=nothing, lower=nothing, upper=nothing)
        frame = Frame.of(index, window, values)
        judged = judge(fused, [(frame, scores)], self.state, alert.rules(), kind, SIGNATURE)
        self.state = judged.state
        told = [replace(one, anomalies=tuple(self._with_line(one, it) for it in one.anomalies)) for one in judged.incidents]
        before = {one.id: one.held_by for one in self.incidents.values()}
        staged = run(self.stages, told, utc(now), before, {one.id for one in self.incidents.values() if one.folded})
        self.incidents |= {incident.id: incident for incident in staged.incidents}
        self.world.incidents[kind] = list(self.incidents.values())
        self.steps += len(judged.transitions) + len(staged.transitions)
        if self.world.rung(kind, alert.ladder).sends:
            moved = {step.incident for step in (*judged.transitions, *staged.transitions)}
            self.rows.put(self._wanted(window, index, values, moved))

    def key(self, component: str) -> ServiceKey:
        return self.scenario.alert.to.key(component, self.scenario.component_type, SIGNATURE)

    def _look(self) -> None:
        self.world.silences, self.world.acknowledged = tuple(self.silences), dict(self.acknowledged)
        self.world.promotions = dict(self.promotions)

    def _spent(self, _types: Sequence[str], since: float) -> int:
        return sum(one.opened >= since and visible(one.held_by) for one in self.incidents.values())

    def _with_line(self, incident: Incident, anomaly: Anomaly) -> Anomaly:
        return replace(anomaly, example=self.example[self.components.index(incident.component)])

    def _wanted(self, window: Window, index: SeriesIndex, values: Any, moved: set[str]) -> Iterator[Desired]:
        alert, template = self.scenario.alert, template_of(self.scenario.static)
        behind: dict[ServiceKey, list[int]] = {}
        for place, component in enumerate(self.components):
            behind.setdefault(self.key(component), []).append(place)
        of_component: dict[str, list[Incident]] = {}
        for incident in self.incidents.values():
            of_component.setdefault(incident.component, []).append(incident)
        for key, places in behind.items():
            told = [incident for place in places for incident in of_component.get(self.components[place], ())]
            judged = sum(not math.isnan(self.surprise[place]) for place in places)
            blind = not judged and all(math.isnan(self.value[place]) for place in places)
            watched = say.Watched(
                metrics=len(places),
                judged=judged,
                components=len(places),
                last_data=None if blind else window.end,
                blind_since=window.start if blind else None,
                static=verdict(index, places, values, template, {}) if alert.hand_back == "static" and not judged else None,
            )
            result = say.result(key, told, watched, window.end, calendar=self.calendar, language=alert.language)
            changed = any(incident.id in moved for incident in told)
            yield want(self.rows.get(key), result, window.end, 10 * window.span + 900, changed=changed)


def _silence(one: Quieten, now: int, number: int) -> Silence:
    severity = None if one.severity is None else Severity[one.severity]
    matcher = Matcher(component_type=one.component_type, component=one.component, metric=one.metric, severity=severity)
    identity = f"{number:08}"
    return Silence(
        id=identity, matcher=matcher, start=now, end=now + one.lasts, author=one.by, comment=one.comment, created_at=now
    )


def _lived(scenario: Scenario) -> tuple[dict[str, list[tuple[int, Shown]]], int]:
    park, begin = _Park(scenario), scenario.begin
    steps = sorted(scenario.steps, key=lambda step: step.at)
    shown: dict[str, list[tuple[int, Shown]]] = {component: [] for component in park.components}
    keys = {component: park.key(component) for component in park.components}
    end = max(one.last for one in scenario.want)
    # A long story is looked at less often than a short one.
    pace = STEP if end <= 86_400 else 12 * STEP
    for elapsed in range(0, end + pace, pace):
        # A bucket that is over is judged before anything new happens.
        if elapsed and elapsed % scenario.every < pace:
            over = begin + elapsed // scenario.every * scenario.every
            park.tick(Window(over - scenario.every, over, scenario.every))
        happened = not elapsed
        while steps and steps[0].at <= elapsed:
            happened = True
            park.happen(steps.pop(0), begin + elapsed)
        if not park.deliver.step(begin + elapsed).accepted and not happened:
            continue  # nothing new can be shown
        for component, key in keys.items():
            now = park.centreon.shows(key)
            # Only changes are kept: a story of days with hundreds of components fits in memory.
            if not shown[component] or shown[component][-1][1] != now:
                shown[component].append((elapsed, now))
    return shown, park.steps


def _failures(scenario: Scenario, shown: Mapping[str, list[tuple[int, Shown]]], document: Document) -> Iterator[str]:
    for number, one in enumerate(scenario.want):
        failure = _count_failure(one, shown) if one.shows is None else _failure(one, shown[one.component])
        if failure:
            yield str(document.problem(("want", number), failure))


def _failure(one: Want, history: Sequence[tuple[int, Shown]]) -> str:
    seen = _within(history, one.first, one.last)
    fits = [_fits(there, one) for _, there in seen]
    if (one.throughout is not None and all(fits)) or (one.between is not None and any(fits)):
        return ""
    elapsed, there = seen[fits.index(False)] if one.throughout is not None else (one.last, seen[-1][1])
    what = "nothing" if there.code is None else f"{there.code.name} {there.text!r}"
    wanted = f"{one.shows}" + (f" saying {one.saying!r}" if one.saying else "")
    wanted += f" never saying {one.never_saying!r}" if one.never_saying else ""
    return f"{one.component} did not show {wanted}: at {spell_duration(elapsed)} it showed {what}"


def _count_failure(one: Want, shown: Mapping[str, list[tuple[int, Shown]]]) -> str:
    """How many services showed trouble at each moment at which one of them changed."""
    moments = sorted({one.first, one.last, *(at for several in shown.values() for at, _ in several if one.first < at < one.last)})
    counts = {
        at: sum(_at(several, at).code in (Severity.WARNING, Severity.CRITICAL) for several in shown.values()) for at in moments
    }
    low, high = one.at_least or 0, math.inf if one.at_most is None else one.at_most
    wrong = [at for at, count in counts.items() if not low <= count <= high]
    if not wrong or (one.between is not None and len(wrong) < len(counts)):
        return ""
    wanted = f"{low} to {high}" if one.at_most is not None else f"{low} or more"
    return f"{counts[wrong[0]]} services showed WARNING or CRITICAL at {spell_duration(wrong[0])}, {wanted} are wanted"


def _within(history: Sequence[tuple[int, Shown]], first: int, last: int) -> list[tuple[int, Shown]]:
    return [(first, _at(history, first)), *((at, there) for at, there in history if first < at <= last)]


def _at(history: Sequence[tuple[int, Shown]], instant: int) -> Shown:
    return next((there for at, there in reversed(history) if at <= instant), history[0][1])


def _fits(there: Shown, one: Want) -> bool:
    if there.code is None or there.code.name != one.shows or one.saying not in there.text:
        return False
    return not one.never_saying or one.never_saying not in there.text
