"""The shapes of what stands between an incident and its being shown: planned work, quiet hours, storms, the alert budget."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from tocsin.config_values import Line, NotEmpty, Surprise, between
from tocsin.recurrence import FIRST, Recurring, Span, instant_of, parse_rule
from tocsin.settings import Duration, Settings


def _time_of_day(value: object) -> time:
    if isinstance(value, time):
        return value
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a time of the local clock, such as "22:30"')
    return time(int(match[1]), int(match[2]))


def _moment(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError('expected a local time, such as "2026-03-28 22:00"')
    return found


def _rule(value: str) -> str:
    parse_rule(value)
    return value


TimeOfDay = Annotated[
    time,
    BeforeValidator(_time_of_day),
    PlainSerializer(lambda value: f"{value:%H:%M}"),
    WithJsonSchema({"type": "string", "pattern": r"^([01]?\d|2[0-3]):[0-5]\d$", "examples": ["22:30"]}),
]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(lambda value: f"{value:%Y-%m-%d %H:%M}"),
    WithJsonSchema({"type": "string", "examples": ["2026-03-28 22:00"]}),
]
Rule = Annotated[str, AfterValidator(_rule)]


class _Recurs(Settings):
    rule: Rule = Field("FREQ=DAILY", description="Which days: an RRULE such as FREQ=WEEKLY;BYDAY=SA,SU; every day by default.")
    at: TimeOfDay | None = Field(None, description="When it begins, on the local clock.")
    until: TimeOfDay | None = Field(None, description="When it ends; on the next day when that is not later than at.")
    lasts: Annotated[Duration, between("1m", "31d")] | None = Field(None, description="Or how long it lasts.")
    first: date = Field(FIRST, description="The day the rule begins on; it matters for INTERVAL and COUNT.")

    def recurring(self, timezone: str, name: str = "") -> Recurring:
        """The same as a value that tells when."""
        assert self.at is not None
        return Recurring(
            timezone=timezone, at=self.at, until=self.until, lasts=self.lasts, rule=self.rule, first=self.first, name=name
        )


class PlannedWork(_Recurs):
    """Work on components, on days that come back (`at`) or once (`from`, `to`); incidents of that time are held back."""

    name: Line
    components: tuple[Line, ...] = Field((), description="Which ones, with * and ?; all of the component type by default.")
    begin: Moment | None = Field(None, alias="from", description="Once: from this local time.")
    end: Moment | None = Field(None, alias="to", description="Once: to this local time.")

    @model_validator(mode="after")
    def _one_way(self) -> PlannedWork:
        once, again = self.begin is not None or self.end is not None, self.at is not None
        if once is again:
            raise ValueError("expected either at (with until or lasts), or from and to")
        if once and (self.begin is None or self.end is None or self.begin >= self.end):
            raise ValueError("expected from and to, the earlier one first")
        if again and (self.until is None) is (self.lasts is None):
            raise ValueError("expected either until or lasts beside at")
        return self

    def once(self, timezone: str) -> Span | None:
        """The one time it takes place, None when it comes back."""
        if self.begin is None or self.end is None:
            return None
        zone = ZoneInfo(timezone)
        return Span(start=instant_of(self.begin, zone), end=instant_of(self.end, zone, last=True), name=self.name)


class Quiet(_Recurs):
    """Hours in which nobody is bothered with little: what opens then and is not worse than `up_to` waits until they end."""

    up_to: Literal["WARNING", "CRITICAL"] = "WARNING"

    @model_validator(mode="after")
    def _whole(self) -> Quiet:
        if self.at is None or (self.until is None) is (self.lasts is None):
            raise ValueError("expected at, and either until or lasts")
        return self


class Group(Settings):
    """When incidents of several components are one storm, shown on the probable root."""

    within: Annotated[Duration, between("0s", "1h")] = Field("5m", validate_default=True, description="They began so close.")
    behind: Annotated[int, Field(strict=True, ge=2, le=1000)] = Field(3, description="So many that depend on the same thing.")
    beside: Annotated[int, Field(strict=True, ge=2, le=1000)] = Field(10, description="So many of one host group or type.")
    show: Annotated[int, Field(strict=True, ge=1, le=10)] = Field(3, description="Incidents a storm shows at most.")
    grace: Annotated[Duration, between("0s", "1h")] = Field(
        "10m", validate_default=True, description="How long members wait after their root recovered."
    )


class Budget(Settings):
    """At most so many alerts in a time; a bar rises with what was used, and falls again. What is above it all is shown."""

    alerts: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    every: Annotated[Duration, between("1h", "30d")] = Field("7d", validate_default=True)
    team: Line | None = Field(None, description="Component types that name the same team share one budget.")
    most: Surprise = Field(4.0, description="How far above open.surprise the bar may rise.")


class Flapping(Settings):
    """What comes back `times` within a time is one state; it ends when it was calm for a while."""

    times: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    within: Annotated[Duration, between("0s", "7d")] = Field("2h", validate_default=True)
    calm: Annotated[Duration, between("0s", "1d")] = Field("30m", validate_default=True)


def _patterns(value: object) -> object:
    return {"*": value} if isinstance(value, list | tuple) else value


DependsOn = Annotated[
    dict[Line, Annotated[tuple[Line, ...], NotEmpty]],
    BeforeValidator(_patterns, json_schema_input_type=list[str] | dict[str, list[str]]),
]
"""Hosts or components that components (patterns) depend on; a plain list holds for all of the type."""
