"""What a user writes about logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from tocsin.settings import Duration, Settings


class LogSettings(Settings):
    """How log lines become counts. Everything has a default: `logs: true` is enough.

    `templates` are followed per component, `max_templates` are told apart per component type; what is beyond is counted as
    `log.template.other`. A template is new for `fresh` after its first line in a component. After `forget` without a line a
    template gives its place to another. A new line of which at least `similar` of the words are those of a template that
    fell silent is that template, rewritten.
    """

    templates: int = Field(default=40, ge=0, le=1000)
    max_templates: int = Field(default=2000, ge=1, le=20_000)
    max_components: int = Field(default=20_000, ge=1)
    fresh: Duration = Field(default=1800, ge=0)
    settle: Duration = Field(default=86400, ge=0)
    forget: Duration = Field(default=14 * 86400, ge=60)
    similar: float = Field(default=0.75, gt=0.5, le=1.0)
    max_line: int = Field(default=4096, ge=200, le=65_536)


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return LogSettings() if value else None
    return value


Logs = Annotated[LogSettings | None, BeforeValidator(_switch)]
"""A settings field that is written `logs: true` or `logs: {templates: 100}`; None when there are to be no logs."""
