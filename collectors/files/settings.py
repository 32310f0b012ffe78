"""What a user writes about a folder of files."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tocsin.settings import Settings

LABEL = "label"
"""A column of this name holds the answers of an evaluation: it is never read."""


class ColumnOf(Settings):
    """The component is what stands in this column."""

    column: str = Field(min_length=1)


class FilesSettings(Settings):
    """CSV, gzip CSV and Parquet files in folders that may grow.

    `path` is a file, a folder (everything below it that ends in .csv, .tsv, .csv.gz, .tsv.gz or .parquet) or a pattern
    with `*`, `?`, `[…]` and `**`, relative to the file it is written in; `{component}` in it stands for the component's
    name. `component` is a text with `{stem}`, `{folder}` or `{component}`, or `{column: NAME}`; without it the column
    `component` is used where there is one, then `{component}` of the path, then the file's stem. `fields` says under which
    name the file has a metric; when it is given, only these metrics are read.
    """

    path: str | tuple[str, ...] = Field(min_length=1)
    layout: Literal["auto", "wide", "long"] = "auto"
    timestamp: str | None = None
    component: str | ColumnOf | None = None
    metric: str = "metric"
    value: str = "value"
    fields: dict[str, str] = Field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    decimal: Literal["auto", ".", ","] = "auto"
    missing: tuple[str, ...] = ()
    follow_links: bool = False
    max_files: int = Field(default=10_000, gt=0)
    max_series: int = Field(default=200_000, gt=0)

    @field_validator("component")
    @classmethod
    def _template_can_be_filled(cls, value: str | ColumnOf | None) -> str | ColumnOf | None:
        if isinstance(value, str):
            try:
                value.format(stem="", folder="", component="")
            except (LookupError, ValueError, AttributeError):
                raise ValueError(f"{value!r} is no component: write a name, {{stem}}, {{folder}} or {{component}}") from None
        return value

    @model_validator(mode="after")
    def _the_parts_fit(self) -> Self:
        column = self.component.column if isinstance(self.component, ColumnOf) else None
        for role, name in (("timestamp", self.timestamp), ("component", column), ("metric", self.metric), ("value", self.value)):
            if name is not None and name.casefold() == LABEL:
                raise ValueError(f"{role}: the column {name!r} is never read, it holds the answers of an evaluation")
        twice = {name for name in self.fields.values() if list(self.fields.values()).count(name) > 1}
        if twice:
            raise ValueError(f"fields: {min(twice)!r} is given to two metrics")
        paths = self.paths
        if (
            self.component is not None
            and "{component}" in str(self.component)
            and not all("{component}" in path for path in paths)
        ):
            raise ValueError("component: {component} must also stand in path")
        for path in paths:
            if path.count("{component}") > 1:
                raise ValueError(f"path: {{component}} stands twice in {path!r}")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The patterns, one or many."""
        return (self.path,) if isinstance(self.path, str) else self.path
