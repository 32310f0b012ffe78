"""The value types that configuration is written in. Knows nobody, so that every plugin can use it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetPydanticSchema, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")


class Settings(BaseModel):
    """Base of everything a user writes: unknown keys are refused, values never change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_duration(text: object) -> int:
    """`90s`, `5m`, `4w`, `1h30m` → seconds. Raises ValueError with an example for anything else."""
    if isinstance(text, str):
        parts = _DURATION.findall(text)
        if parts and _DURATION.sub("", text).strip() == "":
            return sum(int(number) * _UNITS[unit] for number, unit in parts)
    raise ValueError(f"{text!r} is no duration: write a number and a unit, such as 90s, 5m, 12h, 7d or 4w")


def spell_duration(seconds: float) -> str:
    """Seconds → the two largest units a person would say: `1h 30m`, `2d`, `45s`."""
    left, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


Duration = Annotated[
    int,
    BeforeValidator(lambda value: value if isinstance(value, int) and not isinstance(value, bool) else parse_duration(value)),
    PlainSerializer(lambda seconds: f"{seconds}s"),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+\s*[smhdw])+$", "examples": ["90s", "5m", "4w"]}),
]
"""Whole seconds, written `90s`, `5m`, `4w`."""


class Secret:
    """A reference to a secret (`env:NAME` or `file:/path`); the value is read when asked for and never shown."""

    def __init__(self, reference: str) -> None:
        kind, _, name = reference.partition(":")
        if kind not in ("env", "file") or not name:
            raise ValueError("a secret is never written here: give a reference, env:NAME or file:/path")
        self.reference, self._kind, self._name = reference, kind, name

    def reveal(self) -> str:
        """The secret itself. Raises ValueError when it is not there."""
        if self._kind == "env":
            if self._name not in os.environ:
                raise ValueError(f"environment variable {self._name} is not set")
            return os.environ[self._name]
        try:
            return Path(self._name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"{self._name}: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)


def _secret_schema(_source: Any, _handler: Any) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        lambda value: value if isinstance(value, Secret) else Secret(str(value)),
        serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.reference),
    )


SecretRef = Annotated[
    Secret,
    GetPydanticSchema(_secret_schema),
    WithJsonSchema(
        {"type": "string", "pattern": "^(env|file):.+", "examples": ["env:TOCSIN_PASSWORD", "file:/run/secrets/password"]}
    ),
]
"""A `Secret` in a settings class."""
