"""What a user writes about an Elasticsearch or OpenSearch source."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from collectors.logs.settings import Logs
from collectors.manners import MannersSettings
from tocsin.elastic import Server
from tocsin.settings import Duration, Settings

Value: TypeAlias = str | bool | int | float
FieldName: TypeAlias = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\s*,]+$")]
_INDEX = re.compile(r"-?(?:[A-Za-z0-9_*-]+:)?(?![_+])[^\s\\/?\"<>|,#:A-Z]{1,200}")

DOCUMENTS = "*"
"""`field: "*"`: what is counted are documents, whatever is in them."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names: TypeAlias = Annotated[tuple[FieldName, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]


class Range(Settings):
    """A field between two values."""

    gte: float | str | None = None
    gt: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("expected gte, gt, lt or lte")
        return self


class Exists(Settings):
    """A field that documents have, or do not have."""

    exists: bool


class Not(Settings):
    """A field that is none of these values."""

    none_of: Value | tuple[Value, ...] = Field(alias="not")


Condition: TypeAlias = Value | tuple[Value, ...] | Range | Exists | Not
Filter: TypeAlias = dict[FieldName, Condition]


class ElasticLimits(MannersSettings):
    """How much a cluster may be asked. `page` is rows per request: it shrinks by itself when the cluster finds it too much."""

    max_bytes: Annotated[int, Field(strict=True, ge=1_000_000)] = Field(32_000_000, description="Bytes of one page, unpacked.")
    page: Annotated[int, Field(strict=True, ge=100, le=50_000)] = Field(5000, description="Rows of one page of an answer.")
    max_lines: Annotated[int, Field(strict=True, ge=100, le=200_000)] = Field(
        10_000, description="Log lines of one window whose text is read; beyond, a fair sample."
    )


class ElasticSettings(Server):
    """Elasticsearch 8 and 9, OpenSearch 1 to 3: data streams, indices, patterns, and those of remote clusters (`name:metrics-*`).

    A component is what stands in `component`; of several fields the values are joined by `/`. `by` is a field that a host has
    several of (`system.filesystem.mount_point`): metrics then are called `disk.used[/var]`; `{disk.used: FIELD}` splits only
    these. `filter` and `where` (the latter for one metric) are conditions: a value, a list of values, `{gte: 500, lt: 600}`,
    `{exists: true}` or `{not: value}`. `query` is a query in the server's own language, for what they cannot say. `include` and
    `exclude` are patterns of component names. A metric with `field: "*"` counts documents. With `logs: true` lines are counted
    per component and `level`, and the text of `message` is learnt from.
    """

    index: Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] = Field(
        min_length=1, max_length=50
    )
    component: Names = Field(("host.name",), min_length=1, max_length=4)
    timestamp: FieldName = "@timestamp"
    filter: Filter = Field(default_factory=dict)
    where: dict[str, Filter] = Field(default_factory=dict)
    query: dict[str, Any] | None = None
    by: FieldName | dict[str, FieldName] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fields: dict[str, str] = Field(default_factory=dict)
    logs: Logs = None
    message: FieldName = "message"
    level: FieldName = "log.level"
    lookback: Annotated[Duration, Field(ge=600)] = Field(86400, description="How far back a component counts as being there.")
    limits: ElasticLimits = Field({}, validate_default=True)

    @field_validator("index")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _INDEX.fullmatch(name):
                raise ValueError(
                    f"{name[:80]!r} is no index, data stream or pattern, such as metrics-system.*-* or remote:logs-*"
                )
        return names

    @model_validator(mode="after")
    def _the_parts_fit(self) -> Self:
        # Without named metrics it is not known yet which there are.
        if self.fields:
            for key, names in (("where", self.where), ("by", self.by if isinstance(self.by, dict) else {})):
                if stray := [name for name in names if name not in self.fields]:
                    raise ValueError(f"{key}: {stray[0]!r} is none of the metrics: {', '.join(sorted(self.fields))[:200]}")
            if wrong := [name for name, field in self.fields.items() if field != DOCUMENTS and re.search(r"[\s*,]", field)]:
                raise ValueError(
                    f"metrics: {wrong[0]}: {self.fields[wrong[0]]!r} is no field; only '*' alone stands for documents"
                )
        elif self.where or isinstance(self.by, dict):
            raise ValueError("where and by name metrics: name them under metrics")
        return self

    @property
    def pattern(self) -> str:
        """The index part of every path."""
        return ",".join(self.index)
