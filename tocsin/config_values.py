"""The values a configuration is made of: each check says in one sentence what is wrong with what a person wrote."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError, ValidationInfo, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from tocsin.errors import did_you_mean
from tocsin.settings import Duration, Secret, Settings, parse_duration, spell_duration
from tocsin.thresholds import parse_range
from tocsin.timegrid import DAY, Calendar

_ILLEGAL = frozenset("`~!$%^&*\"|'<>?,()=;")
"""What the engine forbids in names (its `illegal_object_name_chars`), and the separator of its commands."""

_TEMPLATE_FIELDS = ("component", "component_type", "signature")


def mistakes(*told: tuple[tuple[str | int, ...], str]) -> ValidationError:
    """(place, sentence) of mistakes below the value that is being validated; what raises it keeps the places."""
    return ValidationError.from_exception_data(
        "",
        [
            InitErrorDetails(type=PydanticCustomError("value_error", "{sentence}", {"sentence": sentence}), loc=place, input=None)
            for place, sentence in told
        ],
    )


# --- times ----------------------------------------------------------------------------------------------------------


def between(shortest: str, longest: str) -> AfterValidator:
    """Bounds of a duration, both included."""
    low, high = parse_duration(shortest), parse_duration(longest)

    def bounded(seconds: int) -> int:
        if not low <= seconds <= high:
            raise ValueError(f"{spell_duration(seconds)} is out of range; expected {shortest} to {longest}")
        return seconds

    return AfterValidator(bounded)


def _divides_a_day(seconds: int) -> int:
    if DAY % seconds:
        raise ValueError(f"{spell_duration(seconds)} does not divide a day; use one that does, such as 10s, 1m, 5m, 15m or 1h")
    return seconds


@lru_cache(maxsize=256)
def calendar(timezone: str, country: str = "", business: tuple[str, ...] = ()) -> Calendar:
    """One calendar for all component types that say the same: what it worked out of a day is kept in it."""
    return Calendar(timezone, country, business)


def _timezone(value: str) -> str:
    try:
        calendar(value)
    except ValueError as error:
        nearest = did_you_mean(value, available_timezones()) or "; use a name such as Europe/Paris"
        raise ValueError(f'no time zone "{value[:60]}"{nearest}') from error
    return value


def _country(value: str) -> str:
    if value and not re.fullmatch(r"[A-Z]{2,3}(-.{1,40})?", value):
        raise ValueError(f"{value[:40]!r} is no country; use an ISO code such as FR, or FR-57 with a subdivision")
    calendar("UTC", value)
    return value


def _business_day(value: str) -> str:
    calendar("UTC", "", (value,))
    return value


# --- text -----------------------------------------------------------------------------------------------------------


def _line(value: str) -> str:
    if not value.strip() or len(value) > 200 or not value.isprintable():
        raise ValueError("expected one line of text, 1 to 200 characters")
    return value


def _type_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("expected 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first")
    return value


def _engine_name(value: str) -> str:
    if illegal := sorted(_ILLEGAL.intersection(value)):
        raise ValueError(f"the monitoring engine allows no {' '.join(illegal)} in names")
    return _line(value)


def _template(value: str) -> str:
    try:
        parts = list(Formatter().parse(value))
    except ValueError as error:
        raise ValueError(f"braces do not match: {error}") from error
    for static, name, spec, conversion in parts:
        if static:
            _engine_name(f"-{static}-")
        if name is not None and (name not in _TEMPLATE_FIELDS or spec or conversion):
            raise ValueError(f'"{{{name[:40]}}}" cannot be filled in{did_you_mean(name, _TEMPLATE_FIELDS)}')
    return _line(value)


def _number_as_text(value: object) -> object:
    return f"{value:.15g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _range(value: str) -> str:
    parse_range(value)
    return value


# --- paths, secrets, addresses ------------------------------------------------------------------------------------


def folder_of(info: ValidationInfo) -> Path | None:
    """The folder of the file that is being read; None when values are made in Python."""
    folder = (info.context or {}).get("folder")
    return folder if isinstance(folder, Path) else None


def anchored(value: Any, folder: Path | None) -> Any:
    """Relative paths and references to relative files, wherever they are in `value`, seen from `folder`."""
    if folder is None:
        return value
    if isinstance(value, Path):
        return Path(os.path.normpath(folder / value))
    if isinstance(value, Secret) and value.reference.startswith("file:"):
        return Secret(f"file:{os.path.normpath(folder / value.reference.removeprefix('file:'))}")
    if isinstance(value, Settings):
        return value.model_copy(update={name: anchored(held, folder) for name, held in value})
    return tuple(anchored(held, folder) for held in value) if isinstance(value, tuple) else value


def anchored_url(url: str, folder: Path | None) -> str:
    """A database URL whose relative SQLite file is seen from `folder`."""
    relative = re.fullmatch(r"(sqlite:///)([^/:?][^?]*)(\?.*)?", url)
    return f"{relative[1]}{anchored(Path(relative[2]), folder)}{relative[3] or ''}" if relative else url


def _path(value: Path, info: ValidationInfo) -> Path:
    return Path(anchored(value, folder_of(info)))


def _database(value: object, info: ValidationInfo) -> Secret | str | None:
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a database URL, or a reference to one: env:NAME or file:/path")  # noqa: TRY004
    if value.startswith(("env:", "file:")):
        reference: Secret = anchored(Secret(value), folder_of(info))
        return reference
    try:
        parts = urlsplit(value)
        told = parts.password is not None or "password=" in parts.query
    except ValueError as error:
        raise ValueError(f"is no database URL: {error}") from error
    if told:
        raise ValueError("a password is never written here: put the whole URL elsewhere and refer to it, env:NAME or file:/path")
    if parts.scheme not in ("sqlite", "postgresql+pg8000"):
        raise ValueError(
            "expected a URL that begins with sqlite:/// or postgresql+pg8000://, or a reference: env:NAME or file:/path"
        )
    return anchored_url(value, folder_of(info))


def host_and_port(listen: str) -> tuple[str, int]:
    """`127.0.0.1:9464`, `[::1]:9464`, `localhost:9464` → host and port. Raises ValueError for anything else."""
    written, _, port = listen.rpartition(":")
    host = written[1:-1] if written.startswith("[") and written.endswith("]") else written
    known = re.fullmatch(r"[A-Za-z0-9.-]+", host) if host == written else re.fullmatch(r"[0-9A-Fa-f:.]+", host)
    if not known or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise ValueError(f"{listen[:60]!r} is no address to listen on; expected host:port, such as 127.0.0.1:9464 or [::1]:9464")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _not_empty(value: object) -> object:
    # Not `min_length`: pydantic would count only the entries without a mistake.
    if value in ([], ()):
        raise ValueError("is empty; name at least one")
    return value


NotEmpty = BeforeValidator(_not_empty)
Every = Annotated[Duration, between("10s", "1d"), AfterValidator(_divides_a_day)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Country = Annotated[str, AfterValidator(_country)]
BusinessDay = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | int), AfterValidator(_business_day)]
Line = Annotated[str, AfterValidator(_line)]
TypeName = Annotated[str, AfterValidator(_type_name)]
EngineName = Annotated[str, AfterValidator(_engine_name)]
Template = Annotated[str, AfterValidator(_template)]
Limit = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | float), AfterValidator(_range)]
Surprise = Annotated[float, Field(strict=True, gt=0, le=100)]
Buckets = Annotated[int, Field(strict=True, ge=1, le=1000)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(_path)]
Database = Annotated[
    Secret | str | None,
    PlainValidator(_database),
    WithJsonSchema({"type": ["string", "null"], "examples": ["env:TOCSIN_DATABASE_URL", "postgresql+pg8000://tocsin@db/tocsin"]}),
]
