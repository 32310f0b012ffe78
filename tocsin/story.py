"""The shapes of a story: what happens to components, to the supervising system and by people, and what must be shown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from tocsin.config_shapes import Alert, StaticLimits
from tocsin.config_stages import DependsOn
from tocsin.config_values import Line
from tocsin.settings import Duration, Settings, spell_duration
from tocsin.timegrid import Calendar

MOST = 15 * 86_400
MOST_COMPONENTS = 2_000

Code = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]


def names_of(text: str) -> Sequence[str]:
    """`web-1` → itself; `web-001..web-500` → five hundred names."""
    match = re.fullmatch(r"(.*?)(\d+)\.\.\1(\d+)", text)
    if match is None:
        return (text,)
    prefix, first, last = match[1], int(match[2]), int(match[3])
    if not first <= last < first + MOST_COMPONENTS:
        raise ValueError(f"{text!r} names {last - first + 1} components; expected 1 to {MOST_COMPONENTS}")
    return tuple(f"{prefix}{number:0{len(match[2])}}" for number in range(first, last + 1))


class Host(Settings):
    """Where a host stands."""

    parents: tuple[Line, ...] = ()
    groups: tuple[Line, ...] = ()


class Work(Settings):
    """A downtime in the supervising system, from and to in time since the start; on a host or one service of it."""

    host: Line
    service: str = ""
    begin: Duration = Field(alias="from")
    end: Duration = Field(alias="to")
    by: Line = "anna"
    comment: str = ""


class Quieten(Settings):
    """A silence, from now on."""

    component: str = ""
    component_type: str = ""
    metric: str = ""
    severity: Literal["WARNING", "CRITICAL"] | None = None
    lasts: Duration = Field(alias="for")
    by: Line = "anna"
    comment: Line = "as asked"


_ACTS = ("centreon", "supervision", "downtime", "acknowledge", "silence", "expire", "promote", "restart")


class Step(Settings):
    """From `at` on components are this surprising; or something happens; or somebody does something."""

    at: Duration
    component: str = ""
    surprise: Annotated[float, Field(ge=0)] | Literal["unknown", "learning"] | None = None
    value: float = math.nan
    example: str = ""
    centreon: Literal["up", "down", "killed"] | None = None
    supervision: Literal["up", "down"] | None = None
    downtime: Work | None = None
    acknowledge: str | None = None
    silence: Quieten | None = None
    expire: Literal["silences", "acknowledgements", "downtimes"] | None = None
    promote: Literal["learn", "show", "status", "notify"] | None = None
    restart: Literal[True] | None = None
    by: Line = "anna"
    comment: str = ""

    @model_validator(mode="after")
    def _one_thing(self) -> Step:
        acts = sum(getattr(self, name) is not None for name in _ACTS)
        told = bool(self.component) and self.surprise is not None
        if acts + told != 1 or (self.surprise is not None and not self.component):
            raise ValueError(f"expected either component and surprise, or one of {', '.join(_ACTS)}")
        self.names  # noqa: B018  (refuses a range that is none)
        return self

    @property
    def names(self) -> Sequence[str]:
        """The components it speaks of."""
        return names_of(self.component) if self.component and self.surprise is not None else ()


class Want(Settings):
    """What a component's service must show at some moment `between` two times, or `throughout` them.

    With `at_most` instead of a component: how many services may show WARNING or CRITICAL, and `at_least`.
    """

    between: tuple[Duration, Duration] | None = None
    throughout: tuple[Duration, Duration] | None = None
    component: str = ""
    shows: Code | None = None
    saying: str = ""
    never_saying: str = ""
    at_least: Annotated[int, Field(ge=0)] | None = None
    at_most: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Want:
        if (self.between is None) is (self.throughout is None):
            raise ValueError("expected either between or throughout")
        if self.first > self.last:
            raise ValueError(f"ends at {spell_duration(self.last)}, before it begins")
        if bool(self.component and self.shows) is (self.at_most is not None or self.at_least is not None):
            raise ValueError("expected either component and shows, or at_most and at_least")
        return self

    @property
    def first(self) -> int:
        return (self.between or self.throughout or (0, 0))[0]

    @property
    def last(self) -> int:
        return (self.between or self.throughout or (0, 0))[1]


def _hosts(value: object) -> object:
    """Ranges of hosts, each with the same facts."""
    if not isinstance(value, dict):
        return value
    return {name: facts for written, facts in value.items() if isinstance(written, str) for name in names_of(written)}


class Scenario(Settings):
    """A whole story."""

    name: str = Field(alias="scenario")
    start: str = "2026-01-05 08:00"
    timezone: str = "UTC"
    every: Annotated[Duration, Field(gt=0)] = 60
    component_type: str = "web"
    metric: str = "latency"
    alert: Alert = Field({"ladder": "status"}, validate_default=True)
    static: dict[str, StaticLimits] = Field(default_factory=dict)
    depends_on: DependsOn = Field(default_factory=dict)
    hosts: Annotated[dict[str, Host], BeforeValidator(_hosts)] = Field(default_factory=dict)
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

    @property
    def components(self) -> Sequence[str]:
        """Every component a step speaks of, sorted."""
        return sorted({name for step in self.steps for name in step.names})
