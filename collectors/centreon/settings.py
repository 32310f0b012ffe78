"""What a user writes about Centreon as a source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from collectors.manners import MannersSettings
from tocsin.centreon.api import ApiSettings
from tocsin.centreon.database import DatabaseSettings
from tocsin.settings import Duration, Settings

Glob = Annotated[str, Field(min_length=1, max_length=255)]


class Pick(Settings):
    """Names, `*` and `?` stand for anything; all of them when nothing is included."""

    include: tuple[Glob, ...] = Field((), max_length=100)
    exclude: tuple[Glob, ...] = Field((), max_length=100)


def _pick(value: object) -> object:
    if isinstance(value, str):
        return {"include": (value,)}
    return {"include": tuple(value)} if isinstance(value, list | tuple) else value


Picked = Annotated[Pick, BeforeValidator(_pick, json_schema_input_type=Glob | list[Glob] | Pick)]

Names = Annotated[tuple[Glob, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class CentreonSettings(Settings):
    """Metrics of Centreon's own checks, through its database or through its Web API.

    A `component` is a host, a service of a host (`host/service`) or what a plugin calls an instance (`host/instance`, for
    `eth0#interface.traffic.in.bitspersecond`). `hosts`, `services` and `perfdata` pick by name, the groups and categories by
    what Centreon knows; a severity is taken up to this level. With `states` each service has a metric `check.state`, what
    its checks said: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. The value of a check stands for `valid_for` unless
    the next check comes before: `auto` is one and a half times the time between its checks.
    """

    database: DatabaseSettings | None = None
    api: ApiSettings | None = None
    component: Literal["host", "host/service", "host/instance"] = "host"
    hosts: Picked = Field({}, validate_default=True)
    services: Picked = Field({}, validate_default=True)
    perfdata: Picked = Field({}, validate_default=True)
    host_groups: Names = ()
    service_groups: Names = ()
    host_categories: Names = ()
    service_categories: Names = ()
    host_severity: Annotated[int, Field(strict=True, ge=0)] | None = None
    service_severity: Annotated[int, Field(strict=True, ge=0)] | None = None
    valid_for: Literal["auto"] | Duration = "auto"
    states: bool = False
    discover_every: Annotated[Duration, Field(ge=0, le=86400)] = 600
    fields: dict[str, str] = Field(default_factory=dict)
    limits: MannersSettings = Field({}, validate_default=True)

    @model_validator(mode="after")
    def _one_door(self) -> Self:
        if (self.database is None) == (self.api is None):
            raise ValueError("expected database or api: one of the two doors into Centreon")
        if self.states and self.database is None:
            raise ValueError("states: only the database knows what each check said")
        return self
