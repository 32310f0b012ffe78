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

A step holds until the next one of its component. `surprise: unknown` is data that never came. `centreon: down`, `up` or
`killed` (it forgets everything and stays down) happen to the receiver. The clock is simulated: hours take a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field, ValidationError, model_validator

from alerting import say
from alerting.deliver import Deliver
from alerting.desired import Pace, want
from alerting.judge import JudgeState, judge
from alerting.memory import InMemory
from alerting.sinks.recording import Recording
from alerting.stages import Ladder, Rung, run
from tocsin.config_mistakes import problems
from tocsin.config_shapes import Alert
from tocsin.errors import ConfigError, TransientError
from tocsin.model import (
    CheckResult,
    Desired,
    Frame,
    Fused,
    Incident,
    Outcome,
    Scores,
    Sent,
    SeriesIndex,
    SeriesKey,
    ServiceKey,
    Shown,
    Window,
    utc,
)
from tocsin.settings import Duration, Settings, spell_duration
from tocsin.timegrid import Calendar
from tocsin.yaml_positions import Document, read

METRIC, SIGNATURE = "latency", "anomaly"
STEP = 5
"""Seconds of the simulated clock between two passes of the delivery."""
MOST = 7 * 86_400

Code = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]


class Step(Settings):
    """From `at` on a component is this surprising, or something happens to the receiver."""

    at: Duration
    component: str = ""
    surprise: Annotated[float, Field(ge=0)] | Literal["unknown"] | None = None
    value: float = math.nan
    centreon: Literal["up", "down", "killed"] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Step:
        if (self.centreon is None) is not bool(self.component and self.surprise is not None):
            raise ValueError("expected either component and surprise, or centreon")
        return self


class Want(Settings):
    """What a component's service must show at some moment `between` two times, or `throughout` them."""

    between: tuple[Duration, Duration] | None = None
    throughout: tuple[Duration, Duration] | None = None
    component: str
    shows: Code
    saying: str = ""

    @model_validator(mode="after")
    def _one_time(self) -> Want:
        if (self.between is None) is (self.throughout is None):
            raise ValueError("expected either between or throughout")
        if self.first > self.last:
            raise ValueError(f"ends at {spell_duration(self.last)}, before it begins")
        return self

    @property
    def first(self) -> int:
        return (self.between or self.throughout or (0, 0))[0]

    @property
    def last(self) -> int:
        return (self.between or self.throughout or (0, 0))[1]


class Scenario(Settings):
    """A whole story."""

    name: str = Field(alias="scenario")
    start: str = "2026-01-05 08:00"
    timezone: str = "UTC"
    every: Annotated[Duration, Field(gt=0)] = 60
    component_type: str = "web"
    alert: Alert = Field({"ladder": "status"}, validate_default=True)
    steps: tuple[Step, ...] = Field(min_length=1)
    want: tuple[Want, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_time(self) -> Scenario:
        self.calendar, self.begin  # noqa: B018  (both refuse what they cannot read)
        if max(one.last for one in self.want) > MOST or max(step.at for step in self.steps) > MOST:
            raise ValueError(f"a scenario lasts at most {spell_duration(MOST)}")
        return self

    @property
    def calendar(self) -> Calendar:
        return Calendar(self.timezone)

    @property
    def begin(self) -> int:
        """The start as a multiple of a bucket."""
        try:
            local = datetime.fromisoformat(self.start).replace(tzinfo=ZoneInfo(self.timezone))
        except ValueError as error:
            raise ValueError(f"start: {self.start!r} is no local time: write 2026-01-05 08:00") from error
        return int(local.timestamp()) // self.every * self.every


@dataclass(frozen=True, kw_only=True)
class Played:
    """How it went: what every service showed at every moment, and where that is not what was wanted, a sentence each."""

    scenario: Scenario
    shown: Mapping[str, list[tuple[int, Shown]]]
    failures: tuple[str, ...]


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
    components = {step.component for step in scenario.steps if step.component}
    strangers = [
        str(document.problem(("want", number, "component"), f"no step speaks of {one.component!r}"))
        for number, one in enumerate(scenario.want)
        if one.component not in components
    ]
    if strangers:
        raise ConfigError(*strangers)
    shown = _lived(scenario, sorted(components))
    return Played(scenario=scenario, shown=shown, failures=tuple(_failures(scenario, shown, document)))


class _Centreon:
    """A receiver that can be down, and can be killed."""

    reads_back = True

    def __init__(self) -> None:
        self._shown, self._up = Recording(), True

    def happen(self, what: Literal["up", "down", "killed"]) -> None:
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


@dataclass(kw_only=True)
class _Park:
    """Everything that lives through a scenario."""

    scenario: Scenario
    components: list[str]
    state: JudgeState = field(default_factory=JudgeState)
    incidents: dict[str, Incident] = field(default_factory=dict)
    rows: InMemory = field(default_factory=InMemory)

    def tick(self, window: Window, surprise: list[float], value: list[float]) -> None:
        """Judge one bucket and say what every service must show."""
        kind, alert = self.scenario.component_type, self.scenario.alert
        index = SeriesIndex(SeriesKey(component, METRIC) for component in self.components)
        column, values = np.array(surprise)[:, None], np.array(value)[:, None]
        nothing = np.full(column.shape, np.nan)
        fused = Fused(index=index, window=window, surprise=column, share=np.where(np.isnan(column), 0.0, 1.0))
        scores = Scores(index=index, window=window, surprise=column, expected=nothing, lower=nothing, upper=nothing)
        frame = Frame.of(index, window, values)
        judged = judge(fused, [(frame, scores)], self.state, alert.rules(), kind, SIGNATURE)
        self.state = judged.state
        rung = Rung(alert.ladder)
        staged = run([Ladder(rung)], judged.incidents, utc(window.end))
        self.incidents |= {incident.id: incident for incident in staged.incidents}
        if rung.sends:
            moved = {step.incident for step in judged.transitions}
            self.rows.put(self._wanted(window, surprise, moved))

    def _wanted(self, window: Window, surprise: list[float], moved: set[str]) -> Iterator[Desired]:
        behind: dict[ServiceKey, list[int]] = {}
        for place, component in enumerate(self.components):
            behind.setdefault(self.key(component), []).append(place)
        for key, places in behind.items():
            names = {self.components[place] for place in places}
            told = [incident for incident in self.incidents.values() if incident.component in names]
            blind = all(math.isnan(surprise[place]) for place in places)
            watched = say.Watched(
                metrics=len(places),
                judged=sum(not math.isnan(surprise[place]) for place in places),
                components=len(places),
                last_data=None if blind else window.end,
                blind_since=window.start if blind else None,
            )
            alert = self.scenario.alert
            result = say.result(key, told, watched, window.end, calendar=self.scenario.calendar, language=alert.language)
            changed = any(incident.id in moved for incident in told)
            yield want(self.rows.get(key), result, window.end, 10 * window.span + 900, changed=changed)

    def key(self, component: str) -> ServiceKey:
        return self.scenario.alert.to.key(component, self.scenario.component_type, SIGNATURE)


def _lived(scenario: Scenario, components: list[str]) -> dict[str, list[tuple[int, Shown]]]:
    park, centreon = _Park(scenario=scenario, components=components), _Centreon()
    deliver = Deliver(park.rows, centreon, Pace())
    surprise, value = [math.nan] * len(components), [math.nan] * len(components)
    steps, begin = sorted(scenario.steps, key=lambda step: step.at), scenario.begin
    shown: dict[str, list[tuple[int, Shown]]] = {component: [] for component in components}
    end = max(one.last for one in scenario.want)
    for elapsed in range(0, end + STEP, STEP):
        # A bucket that is over is judged before anything new happens.
        if elapsed and elapsed % scenario.every < STEP:
            over = begin + elapsed // scenario.every * scenario.every
            park.tick(Window(over - scenario.every, over, scenario.every), surprise, value)
        while steps and steps[0].at <= elapsed:
            step = steps.pop(0)
            if step.centreon is not None:
                centreon.happen(step.centreon)
            else:
                place = components.index(step.component)
                surprise[place] = math.nan if step.surprise in (None, "unknown") else float(step.surprise or 0.0)
                value[place] = step.value
        deliver.step(begin + elapsed)
        for component in components:
            shown[component].append((elapsed, centreon.shows(park.key(component))))
    return shown


def _failures(scenario: Scenario, shown: Mapping[str, list[tuple[int, Shown]]], document: Document) -> Iterator[str]:
    for number, one in enumerate(scenario.want):
        seen = [(elapsed, there) for elapsed, there in shown[one.component] if one.first <= elapsed <= one.last]
        fits = [_fits(there, one) for _, there in seen]
        if (one.throughout is not None and all(fits)) or (one.between is not None and any(fits)):
            continue
        elapsed, there = seen[fits.index(False)] if one.throughout is not None else seen[-1]
        what = "nothing" if there.code is None else f"{there.code.name} {there.text!r}"
        wanted = one.shows + (f" saying {one.saying!r}" if one.saying else "")
        sentence = f"{one.component} did not show {wanted}: at {spell_duration(elapsed)} it showed {what}"
        yield str(document.problem(("want", number), sentence))


def _fits(there: Shown, one: Want) -> bool:
    return there.code is not None and there.code.name == one.shows and one.saying in there.text
