"""What a user writes about log files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from collectors.logs import LogSettings
from tocsin.settings import Settings


class LogFilesSettings(Settings):
    """Log files that grow and rotate, plain or gzip: lines that begin with a time, or CSV with a column of text.

    `path` is a pattern with `*`, `?`, `[…]` and `**`, relative to the file it is written in; name rotated files too
    (`web1.log*`). `component` is a text with `{stem}` (`web1` of `web1.log.2.gz`), `{folder}` or `{component}` (what that stood
    for in the path); in CSV the column `component_column` wins. `text`, `timestamp`, `level` and `request` (the request or
    trace a line belongs to) are columns of CSV.
    """

    path: str | tuple[str, ...] = Field(min_length=1)
    layout: Literal["lines", "csv"] = "lines"
    component: str = "{stem}"
    component_column: str | None = None
    timestamp: str = "timestamp"
    text: str = "message"
    level: str | None = None
    request: str | None = None
    logs: LogSettings = Field(default_factory=LogSettings)
    max_lines: int = Field(default=50_000, ge=1)
    max_files: int = Field(default=1000, ge=1)
    follow_links: bool = False

    @field_validator("component")
    @classmethod
    def _can_be_filled(cls, value: str) -> str:
        try:
            value.format(stem="", folder="", component="")
        except (LookupError, ValueError, AttributeError):
            raise ValueError(f"{value!r} is no component: write a name, {{stem}}, {{folder}} or {{component}}") from None
        return value

    @property
    def paths(self) -> tuple[str, ...]:
        """The patterns, one or many."""
        return (self.path,) if isinstance(self.path, str) else self.path
