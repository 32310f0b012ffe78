"""What a user writes about Splunk."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from collectors.logs import Logs
from collectors.manners import MannersSettings
from collectors.splunk.spl import LEVEL_FIELDS, Scope, Value, checked_name, function, index_named, literal, plain_search
from tocsin.errors import did_you_mean
from tocsin.model import Aggregate
from tocsin.settings import Duration, SecretRef, Settings
from tocsin.tls import Tls

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")
_OWNER = re.compile(r"[A-Za-z0-9._@-]{1,100}")
MOST_GLOBS = 100


def _several(value: object) -> object:
    return (value,) if isinstance(value, (str, int, float, bool)) else tuple(value) if isinstance(value, list) else value


Several: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Values: TypeAlias = Annotated[tuple[Value, ...], BeforeValidator(_several, json_schema_input_type=Value | list[Value])]


class Auth(Settings):
    """An authentication token (Settings → Tokens), or else a user and a password."""

    token: SecretRef | None = Field(None, description="A bearer token of Splunk.")
    username: str | None = Field(None, min_length=1, max_length=200)
    password: SecretRef | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if (self.token is None) == (self.username is None):
            raise ValueError("give a token, or a username and a password")
        return self

    @property
    def account(self) -> str:
        """What tells one account from another, without a secret."""
        return self.token.reference if self.token else self.username or ""


class Limits(MannersSettings):
    """How much Splunk may be asked."""

    concurrency: Annotated[int, Field(strict=True, ge=1, le=8)] = Field(
        1, description="Searches at the same time with this account, of all entries together; a role's quota is 3 by default."
    )
    per_second: Annotated[float, Field(gt=0, le=100)] = Field(2.0, description="Searches started per second, at most.")
    max_rows: Annotated[int, Field(strict=True, ge=1000, le=50_000)] = Field(
        45_000, description="Rows of one search; Splunk itself cuts at 50,000, so longer windows are read in slices."
    )
    page_rows: Annotated[int, Field(strict=True, ge=100, le=50_000)] = Field(10_000, description="Rows of one page of an answer.")
    max_bytes: Annotated[int, Field(strict=True, ge=1_000_000)] = Field(32_000_000, description="Bytes of one page.")


class SplunkSettings(Settings):
    """Splunk Enterprise or Cloud, by its REST interface.

    `kind` says where the numbers are: `metrics` (a metrics index, by `mstats`), `tstats` (index-time fields, the cheapest
    way to count events), `events` (fields that are found at search time), `saved` (a saved search by its name, which must
    give one row per component and bucket, with `_time`). `filter` are fields and the values they may have, `*` for any
    letters. A component is what stands in the field `component`; of several fields the values are joined by `/`. `include` and
    `exclude` are patterns of its name. `by` is a field that a host has several of (`mount`): metrics then are called
    `disk.used[/var]`; `{disk.used: FIELD}` splits only these. `search` is for the administrator: more words and comparisons
    of the search language, without a second command. `fields` says under which name Splunk has a metric: a field, `*` for
    every event, or for a count a comparison such as `status>=500`.
    """

    host: str
    port: int = Field(8089, ge=1, le=65535)
    scheme: Literal["https", "http"] = "https"
    tls: Tls = Tls()
    auth: Auth
    owner: str | None = Field(None, description="Whose saved searches; with app.")
    app: str | None = None
    kind: Literal["metrics", "events", "tstats", "saved"] = "metrics"
    index: Several = ()
    sourcetype: Several = ()
    filter: dict[str, Values] = Field(default_factory=dict)
    search: str = ""
    saved: str | None = Field(None, min_length=1, max_length=100)
    component: Several = ("host",)
    by: str | dict[str, str] | None = None
    include: Several = ()
    exclude: Several = ()
    fields: dict[str, str] = Field(default_factory=dict)
    seen: Annotated[Duration, Field(ge=60)] | None = Field(
        None, description="A series without a value for so long is not discovered any more; 1d, of kind: events and logs 4h."
    )
    logs: Logs = None
    level: Several = LEVEL_FIELDS
    lines: int = Field(200, ge=1, le=10_000, description="Log entries whose text is read, for each bucket.")
    limits: Limits = Field({}, validate_default=True)

    @field_validator("host")
    @classmethod
    def _a_host(cls, host: str) -> str:
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{host[:60]!r} is no host name: write it without https:// and port")
        return host

    @field_validator("owner", "app")
    @classmethod
    def _a_namespace(cls, value: str | None) -> str | None:
        if value is not None and _OWNER.fullmatch(value) is None:
            raise ValueError(f"{value[:60]!r} is no name of a user or app")
        return value

    @field_validator("index")
    @classmethod
    def _indexes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(index_named(entry) for entry in value)

    @field_validator("component", "level")
    @classmethod
    def _some_fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not 1 <= len(value) <= 10:
            raise ValueError("expected 1 to 10 fields")
        return tuple(checked_name(field) for field in value)

    @field_validator("by")
    @classmethod
    def _splitting(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for field in value.values() if isinstance(value, dict) else [value] if value is not None else []:
            checked_name(field)
        return value

    @field_validator("sourcetype", "include", "exclude")
    @classmethod
    def _texts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > MOST_GLOBS:
            raise ValueError(f"at most {MOST_GLOBS}")
        for text in value:
            literal(text)
        return value

    @field_validator("filter")
    @classmethod
    def _filters(cls, value: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        for field, values in value.items():
            checked_name(field)
            if not 1 <= len(values) <= MOST_GLOBS:
                raise ValueError(f"{field}: 1 to {MOST_GLOBS} values")
            for entry in values:
                literal(entry)
        return value

    @field_validator("search")
    @classmethod
    def _plain(cls, value: str) -> str:
        return plain_search(value) if value else value

    @field_validator("saved")
    @classmethod
    def _a_saved_search(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("the name of a saved search holds a control character")
        return value

    @model_validator(mode="after")
    def _the_parts_fit(self) -> Self:
        if (self.kind == "saved") != (self.saved is not None):
            raise ValueError("saved: NAME and kind: saved go together")
        if self.kind == "saved" and (self.index or self.sourcetype or self.filter or self.search or self.logs is not None):
            raise ValueError("a saved search says itself what it reads: leave out index, sourcetype, filter, search and logs")
        if self.kind != "saved" and not self.index:
            raise ValueError("index is required: a search over all indexes costs everybody")
        if self.search and self.kind != "events" and self.logs is None:
            raise ValueError("search needs kind: events")
        if self.kind != "metrics" and not self.fields and self.logs is None:
            raise ValueError(f"kind: {self.kind} needs metrics with names")
        if self.logs is not None and (self.fields or self.by):
            raise ValueError("logs: true counts lines only: write another collect entry for the metrics")
        if isinstance(self.by, dict) and (stranger := next((name for name in self.by if name not in self.fields), None)):
            raise ValueError(f"by: {stranger!r} is none of the metrics{did_you_mean(stranger, self.fields)}")
        twice = {field for field in self.fields.values() if list(self.fields.values()).count(field) > 1}
        if twice and self.kind == "saved":
            raise ValueError(f"fields: {min(twice)!r} is given to two metrics")
        if self.kind == "saved":
            for field in self.fields.values():
                checked_name(field)
        else:
            for field in self.fields.values():
                if field == "*" and self.kind == "metrics":
                    raise ValueError('fields: "*" counts events: with kind: metrics, name a metric')
                function(Aggregate.COUNT, field, self.kind)
        if self.limits.page_rows > self.limits.max_rows:
            raise ValueError("limits.page_rows is more than limits.max_rows")
        return self

    def counting_entries(self, name: str) -> Self:
        """The same source, with its events counted as the metric `name`."""
        return self.model_copy(update={"kind": "events", "fields": {name: "*"}, "logs": None})

    def scope(self) -> Scope:
        """Which data are meant."""
        return Scope(
            kind=self.kind,
            index=self.index,
            sourcetype=self.sourcetype,
            filter=self.filter,
            component=self.component,
            include=self.include,
            search=self.search,
        )

    @property
    def lately(self) -> int:
        """Seconds in which a series must have had a value; events have to be read for that, so of them it is less."""
        return self.seen or (4 * 3600 if self.kind == "events" else 86_400)

    def split_by(self, metric: str) -> str:
        """The field that splits a metric; empty when none does."""
        return self.by.get(metric, "") if isinstance(self.by, dict) else self.by or ""

    @property
    def place(self) -> str:
        """How an error names this Splunk."""
        host = f"[{self.host.strip('[]')}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"
