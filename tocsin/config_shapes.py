"""The shapes of `tocsin.yaml` and of a component file: the name, default and bounds of everything a person may write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from alerting.judge import Rules
from tocsin.config_parts import KEY, Collect, Detect, MetricSettings, Sink, Supervision
from tocsin.config_stages import Budget, DependsOn, Flapping, Group, PlannedWork, Quiet
from tocsin.config_values import (
    Buckets,
    BusinessDay,
    Country,
    Database,
    EngineName,
    Every,
    Folder,
    Limit,
    Line,
    NotEmpty,
    Surprise,
    Template,
    Timezone,
    TypeName,
    between,
    calendar,
    host_and_port,
    is_loopback,
    mistakes,
)
from tocsin.errors import ConfigError, did_you_mean
from tocsin.model import Metrics, ServiceKey
from tocsin.ports import Surroundings
from tocsin.settings import Duration, Settings, spell_duration
from tocsin.timegrid import DAY

_RULES = Rules()


# --- a component file -----------------------------------------------------------------------------------------------


class CalendarSettings(Settings):
    """Days that are not like others."""

    holidays: Country = Field("", description="Public holidays of a country: FR, or FR-57 with a subdivision.")
    business: tuple[BusinessDay, ...] = Field(
        (), description="month-end, month-start, a day of the month (15) or a date (2026-12-24)."
    )


class StaticLimits(Settings):
    """What the static template says today, in the notation of the monitoring plugins."""

    warning: Limit | None = Field(None, description='Values that are fine: 80 (0 to 80), "10:" (10 or more), "~:10", "10:20".')
    critical: Limit | None = None

    @model_validator(mode="after")
    def _something(self) -> StaticLimits:
        if self.warning is None and self.critical is None:
            raise ValueError("expected warning, critical or both")
        return self


class _Judged(Settings):
    surprise: Surprise
    buckets: Buckets
    of: Buckets

    @model_validator(mode="after")
    def _possible(self) -> _Judged:
        if self.buckets > self.of:
            raise mistakes((("buckets",), f"{self.buckets} is more than of: {self.of}"))
        return self


class Open(_Judged):
    """An incident opens when `buckets` of the last `of` are at least this surprising."""

    surprise: Surprise = _RULES.open_surprise
    buckets: Buckets = _RULES.open_buckets
    of: Buckets = _RULES.open_of


class Close(_Judged):
    """It closes when `buckets` of the last `of` are less surprising than this."""

    surprise: Surprise = _RULES.close_surprise
    buckets: Buckets = _RULES.close_buckets
    of: Buckets = _RULES.close_of


class Critical(Settings):
    """From this surprise on it is CRITICAL, below WARNING."""

    surprise: Surprise = _RULES.critical_surprise


class To(Settings):
    """The Centreon service that shows it; {component}, {component_type} and {signature} are filled in."""

    host: Template = "{component}"
    service: Template = "Anomaly-{component_type}"

    def key(self, component: str, component_type: str, signature: str) -> ServiceKey:
        """The service of one component."""
        facts = {"component": component, "component_type": component_type, "signature": signature}
        return ServiceKey(self.host.format(**facts), self.service.format(**facts))


class Alert(Settings):
    """When a person is told, where, and in which language."""

    open: Open = Field({}, validate_default=True)
    close: Close = Field({}, validate_default=True)
    critical: Critical = Field({}, validate_default=True)
    reopen: Annotated[Duration, between("0s", "7d")] = Field(
        spell_duration(_RULES.reopen), validate_default=True, description="So soon after it, the same incident goes on."
    )
    flapping: Flapping = Field({}, validate_default=True)
    ladder: Literal["learn", "show", "status", "notify"] = Field(
        "show", description="How far this type has climbed; tocsin promote leads further."
    )
    promise: Annotated[float, Field(strict=True, gt=0, le=1000)] = Field(
        0.25, description="Alerts per component and week that nobody calls useful, at most; more sends it down the ladder."
    )
    maintenance: tuple[PlannedWork, ...] = Field((), description="Planned work, in local time.")
    quiet: tuple[Quiet, ...] = Field((), description="Hours in which only what is bad enough is shown.")
    group: Group = Field({}, validate_default=True)
    budget: Budget | None = Field(None, description="How many alerts people are willing to see.")
    hand_back: Literal["none", "static"] = Field(
        "none", description="static: while a component cannot be judged, its static thresholds are shown instead."
    )
    to: To = Field({}, validate_default=True)
    language: Literal["en", "fr"] = "en"

    @field_validator("close")
    @classmethod
    def _closes_lower(cls, close: Close, info: ValidationInfo) -> Close:
        opens = info.data["open"].surprise if "open" in info.data else close.surprise
        if close.surprise <= opens:
            return close
        if "surprise" in close.model_fields_set:
            raise mistakes(
                (("surprise",), f"{close.surprise:g} is above open.surprise: {opens:g}; it would close what just opened")
            )
        return close.model_copy(update={"surprise": opens})

    @field_validator("critical")
    @classmethod
    def _critical_is_worse(cls, critical: Critical, info: ValidationInfo) -> Critical:
        opens = info.data["open"].surprise if "open" in info.data else critical.surprise
        if critical.surprise >= opens:
            return critical
        if "surprise" in critical.model_fields_set:
            raise mistakes(
                (("surprise",), f"{critical.surprise:g} is below open.surprise: {opens:g}; nothing would be a warning")
            )
        return critical.model_copy(update={"surprise": opens})

    def rules(self) -> Rules:
        """The same, as the judge takes it."""
        return Rules(
            open_surprise=self.open.surprise,
            open_buckets=self.open.buckets,
            open_of=self.open.of,
            close_surprise=self.close.surprise,
            close_buckets=self.close.buckets,
            close_of=self.close.of,
            critical_surprise=self.critical.surprise,
            reopen=self.reopen,
            flap_times=self.flapping.times,
            flap_within=self.flapping.within,
            flap_calm=self.flapping.calm,
        )


class ComponentFile(Settings):
    """One component type: where its numbers come from, how they are judged, and who sees the result."""

    name: TypeName = Field(alias="component_type", description="A short name; it is part of service names and folders.")
    timezone: Timezone = Field("UTC", description="Where the people are who cause the load; else that of tocsin.yaml.")
    calendar: CalendarSettings = Field({}, validate_default=True)
    collect: Annotated[tuple[Collect, ...], NotEmpty]
    every: Every = Field(None, validate_default=True, description="Length of a bucket; here or in the collect entries.")
    delay: Annotated[Duration, between("0s", "1d")] = Field("1m", validate_default=True, description="How late data may come.")
    delay_max: Annotated[Duration, between("0s", "1d")] = Field(
        "10m", validate_default=True, description="The most that is waited for sources that prove to be later than delay."
    )
    replay: Annotated[Duration, between("0s", "6h")] = Field(
        "15m", validate_default=True, description="What comes this late is judged again; later values are only counted."
    )
    detect: Annotated[tuple[Detect, ...], NotEmpty] = Field(
        ("seasonal", "novelty", "change", "level", "silence"), validate_default=True
    )
    static: dict[Line, StaticLimits] = Field(
        default_factory=dict, description="Today's static thresholds, for the backtest to compare with."
    )
    depends_on: DependsOn = Field(
        default_factory=dict, description="Hosts or components that explain trouble here; by pattern, or one list for all."
    )
    alert: Alert = Field({}, validate_default=True)

    @field_validator("collect")
    @classmethod
    def _sources_agree(cls, collect: tuple[Collect, ...]) -> tuple[Collect, ...]:
        wrong: list[tuple[tuple[str | int, ...], str]] = []
        spans = [entry.every for entry in collect if entry.every is not None]
        described: dict[str, MetricSettings] = {}
        for place, entry in enumerate(collect):
            if entry.every is not None and entry.every != spans[0]:
                wrong.append(
                    ((place, "every"), "differs from the other sources; all of a component type share one length of bucket")
                )
            for name, metric in entry.metrics.items():
                if described.setdefault(name, metric).metric(name) != metric.metric(name):
                    wrong.append(((place, "metrics", name), "is described differently in another collect entry"))
        if wrong:
            raise mistakes(*wrong)
        return collect

    @field_validator("every", mode="before")
    @classmethod
    def _span(cls, every: object, info: ValidationInfo) -> object:
        collect: tuple[Collect, ...] | None = info.data.get("collect")
        if every is not None:
            return every
        if collect is None:  # a mistake that was told already
            return 60
        for entry in collect:
            if entry.every is not None:
                return entry.every
        raise ValueError("is required, here or in a collect entry: the length of a bucket, such as 1m or 5m")

    @field_validator("every")
    @classmethod
    def _one_span(cls, every: int, info: ValidationInfo) -> int:
        if any(entry.every not in (None, every) for entry in info.data.get("collect") or ()):
            raise ValueError("differs from the collect entries; all of a component type share one length of bucket")
        return every

    @field_validator("detect")
    @classmethod
    def _each_detector_once(cls, detect: tuple[Detect, ...]) -> tuple[Detect, ...]:
        names = [entry.plugin.name for entry in detect]
        if twice := [((place, "use"), f'"{name}" is used already') for place, name in enumerate(names) if name in names[:place]]:
            raise mistakes(*twice)
        return detect

    @field_validator("static")
    @classmethod
    def _of_known_metrics(cls, static: dict[str, StaticLimits], info: ValidationInfo) -> dict[str, StaticLimits]:
        collect: tuple[Collect, ...] = info.data.get("collect") or ()
        # A source without named metrics brings whatever it has: nothing to compare with.
        known = {name for entry in collect for name in entry.metrics} if all(entry.metrics for entry in collect) else set()
        wrong = [
            ((name, KEY), f"no such metric in collect{did_you_mean(name, known)}")
            for name in static
            if known and name not in known
        ]
        if wrong:
            raise mistakes(*wrong)
        return static


MONTH_END = 40 * DAY
"""Two last working days of a month, or first ones, are never further apart, wherever the holidays lie."""


class ComponentType(ComponentFile):
    """A component type as it was loaded from `path`."""

    path: Path

    @property
    def metrics(self) -> Metrics:
        """The metrics that were named; another one that a source brings is `Metric(name=...)`."""
        return Metrics({name: metric.metric(name) for entry in self.collect for name, metric in entry.metrics.items()})

    def learns_from(self, history: int) -> int:
        """Seconds of the past that are learnt from: `history`, and so many at least that the last month-end is among them where
        business days are named."""
        return max(history, MONTH_END) if self.calendar.business else history

    def surroundings(self) -> Surroundings:
        """What its plugins are told."""
        return Surroundings(
            component_type=self.name,
            calendar=calendar(self.timezone, self.calendar.holidays, self.calendar.business),
            span=self.every,
            metrics=self.metrics,
            folder=self.path.parent,
        )


# --- tocsin.yaml ----------------------------------------------------------------------------------------------------


class Deliver(Settings):
    """How results reach Centreon."""

    sink: Sink = Field("command-file", validate_default=True)
    also: tuple[Sink, ...] = Field((), description="Other sinks, told of every change: webhook, notify, alertmanager, ecs, hec.")
    host: EngineName = Field("tocsin", description="The host that carries Tocsin's own services, tocsin-heartbeat and others.")
    reassert: Annotated[Duration, between("30s", "1h")] = Field(
        "5m", validate_default=True, description="Every service is sent again after this long."
    )
    read_back: Annotated[Duration, between("10s", "1h")] = Field(
        "1m", validate_default=True, description="How often it is read what Centreon shows."
    )
    rate: Annotated[int, Field(strict=True, ge=1, le=5000)] = Field(500, description="Results per second, at most.")


class Train(Settings):
    """When what is normal is learnt again."""

    every: Annotated[Duration, between("10m", "30d")] = Field(
        "1d", validate_default=True, description="What is new is learnt within six hours."
    )
    history: Annotated[Duration, between("1d", "52w")] = Field("4w", validate_default=True, description="How far back it looks.")
    keep: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(14, description="Versions kept, for a rollback.")
    workers: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(1, description="Processes.")


class Http(Settings):
    """Where /metrics, /-/healthy and /-/ready answer."""

    allow_remote: bool = Field(False, description="Let other machines reach it; put something in front that asks who they are.")
    listen: str | None = Field("127.0.0.1:9464", description="host:port, or null for nothing.")

    @field_validator("listen")
    @classmethod
    def _local(cls, listen: str | None, info: ValidationInfo) -> str | None:
        if listen is not None and not is_loopback(host_and_port(listen)[0]) and not info.data.get("allow_remote", True):
            raise ValueError(f"{listen} can be reached from other machines; listen on 127.0.0.1, or set http.allow_remote: true")
        return listen

    def address(self) -> tuple[str, int]:
        """Host and port of `listen`, which must not be None."""
        assert self.listen is not None
        return host_and_port(self.listen)


class MainFile(Settings):
    """`tocsin.yaml`: what all component types share."""

    state: Folder = Field(Path("var"), validate_default=True, description="Folder of everything that must survive a restart.")
    database: Database = Field(None, description="URL, or a reference to one; else SQLite in the state folder.")
    components: Annotated[tuple[Line, ...], NotEmpty] = Field(
        ("components/*.yaml",), description="Component files; * and ** are filled in."
    )
    timezone: Timezone = Field("UTC", description="For component types that name none.")
    deliver: Deliver = Field({}, validate_default=True)
    supervision: Supervision | None = Field(
        None, description="The supervising system that knows parents, groups, downtimes and acknowledgements; never written to."
    )
    train: Train = Field({}, validate_default=True)
    http: Http = Field({}, validate_default=True)


class Config(MainFile):
    """Everything a person wrote, read and checked."""

    path: Path
    types: tuple[ComponentType, ...]

    def database_url(self) -> str:
        """The URL to open, its secret revealed. Raises `ConfigError` when the reference leads nowhere."""
        if self.database is None:
            return f"sqlite:///{self.state / 'tocsin.db'}"
        if isinstance(self.database, str):
            return self.database
        try:
            return self.database.reveal()
        except ValueError as error:
            raise ConfigError(f"{self.path}: database: {error}") from error
