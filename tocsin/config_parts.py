"""Entries that name a plugin: `from:` and `use:`, with the plugin's own keys beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, model_validator

from tocsin import registry
from tocsin.config_values import Every, Line, Number, anchored, between, folder_of, mistakes
from tocsin.model import Aggregate, Direction, Metric
from tocsin.ports import Plugin
from tocsin.settings import Duration, Settings

PLUGIN_KEYS = "(plugin)"
"""Where an entry's keys that belong to its plugin are kept while it is validated; never written in YAML."""

KEY = "[key]"
"""The last step of a place that means the key and not its value (as pydantic has it)."""


def _named(group: str) -> PlainValidator:
    def lookup(name: object) -> Plugin:
        if not isinstance(name, str):
            raise ValueError(f"expected the name of one of the {group}")  # noqa: TRY004  (pydantic collects ValueErrors)
        return registry.find(group, name)

    return PlainValidator(lookup)


def _settings(value: dict[str, Any], info: ValidationInfo) -> Any:
    plugin: Plugin | None = info.data.get("plugin")
    if plugin is None:  # a mistake that was told already
        return Settings()
    metrics: Mapping[str, MetricSettings] = info.data.get("metrics") or {}
    if "fields" in value:
        raise mistakes((("fields",), "no such key; name the metrics as metrics: {NAME: {field: NAME IN THE SOURCE}}"))
    if "fields" in plugin.settings.model_fields and metrics:
        value = {**value, "fields": {name: metric.field or name for name, metric in metrics.items()}}
    elif renamed := [name for name, metric in metrics.items() if metric.field]:
        raise mistakes(*[(("metrics", name, "field"), f"{plugin.name} knows its metrics by our names only") for name in renamed])
    return anchored(plugin.settings.model_validate(value, context=info.context), folder_of(info))


PluginSettings = Annotated[Settings, PlainValidator(_settings)]


def _apart(entry: object, own: tuple[str, ...]) -> object:
    """A flat entry with the plugin's keys put apart; the bare name of a plugin is an entry without keys."""
    if isinstance(entry, str):
        entry = {own[0]: entry}
    if not isinstance(entry, dict):
        return entry
    mine = {key: value for key, value in entry.items() if key in own}
    return mine | {PLUGIN_KEYS: {key: value for key, value in entry.items() if key not in own}}


class MetricSettings(Settings):
    """What is known of a metric before any value was seen."""

    field: Line | None = Field(None, description="The metric's name in the source, when it is another one.")
    unit: str = Field("", max_length=20, description="Shown beside values: ms, %, B, 1/s.")
    direction: Direction = Field(Direction.BOTH, description="On which side a value can be in trouble.")
    aggregate: Aggregate | None = Field(
        None, description="How the samples of a bucket become one value; mean, or last for a counter."
    )
    counter: bool = Field(False, description="It only grows until it is reset; its rate per second is judged.")
    lower: Number | None = Field(None, description="No value can be below.")
    upper: Number | None = Field(None, description="No value can be above.")
    min_deviation: Annotated[Number, Field(ge=0)] = Field(0.0, description="A smaller deviation, in the unit, matters to nobody.")

    @model_validator(mode="after")
    def _consistent(self) -> MetricSettings:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise mistakes((("upper",), f"{self.upper:g} is not above lower: {self.lower:g}"))
        if self.counter and self.aggregate not in (None, Aggregate.LAST):
            raise mistakes((("aggregate",), "a counter is read as its last value; leave aggregate out"))
        return self

    def metric(self, name: str) -> Metric:
        """The metric as every other part sees it."""
        return Metric(
            name=name,
            unit=self.unit,
            direction=self.direction,
            aggregate=self.aggregate or (Aggregate.LAST if self.counter else Aggregate.MEAN),
            counter=self.counter,
            lower=-math.inf if self.lower is None else self.lower,
            upper=math.inf if self.upper is None else self.upper,
            min_deviation=self.min_deviation,
        )


def _metrics(value: object) -> object:
    if value == "all":
        return {}
    if not value:
        raise ValueError("name at least one metric, or write all")
    if isinstance(value, list):
        if wrong := [
            ((place,), "expected the name of a metric") for place, name in enumerate(value) if not isinstance(name, str)
        ]:
            raise mistakes(*wrong)
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if known is None else known for name, known in value.items()}
    raise ValueError("expected metrics, such as {cpu: {unit: '%'}} or [cpu, mem], or the word all")


MetricsAsWritten: TypeAlias = Literal["all"] | list[str] | dict[str, MetricSettings | None]


class Collect(Settings):
    """A source: `from`, `every`, `metrics`, and the keys of the collector. No metrics stands for all that the source has."""

    plugin: Annotated[Plugin, _named("collectors")] = Field(alias="from")
    every: Every | None = None
    metrics: Annotated[dict[Line, MetricSettings], BeforeValidator(_metrics, json_schema_input_type=MetricsAsWritten)] = Field(
        "all", validate_default=True
    )
    settings: PluginSettings = Field(alias="(plugin)")

    _flat = model_validator(mode="before")(staticmethod(lambda entry: _apart(entry, ("from", "every", "metrics"))))


class Detect(Settings):
    """A detector: `use`, and its own keys."""

    plugin: Annotated[Plugin, _named("detectors")] = Field(alias="use")
    settings: PluginSettings = Field(alias="(plugin)")

    _flat = model_validator(mode="before")(staticmethod(lambda entry: _apart(entry, ("use",))))


class Sink(Settings):
    """A transport: `use`, and its own keys."""

    plugin: Annotated[Plugin, _named("sinks")] = Field(alias="use")
    settings: PluginSettings = Field(alias="(plugin)")

    _flat = model_validator(mode="before")(staticmethod(lambda entry: _apart(entry, ("use",))))


class Supervision(Settings):
    """The supervising system: `use`, how often it is read, and its own keys."""

    plugin: Annotated[Plugin, _named("supervisions")] = Field(alias="use")
    every: Annotated[Duration, between("10s", "1h")] = Field("1m", validate_default=True, description="How often it is read.")
    trust: Annotated[Duration, between("1m", "1d")] = Field(
        "15m", validate_default=True, description="How long downtimes count when it does not answer."
    )
    settings: PluginSettings = Field(alias="(plugin)")

    _flat = model_validator(mode="before")(staticmethod(lambda entry: _apart(entry, ("use", "every", "trust"))))
