"""The configuration: YAML read, held against its shapes, every mistake told at once with `file:line:column`.

    config/components/web.yaml:14:10: detect[0].use: no detector "seasnal" (did you mean "seasonal"?)

A value comes from the command line, else from the environment (`ENVIRONMENT`), else from the YAML, else it is the default.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tocsin.config_mistakes import problems
from tocsin.config_parts import Collect, Detect
from tocsin.config_schema import json_schema
from tocsin.config_shapes import Alert, ComponentFile, ComponentType, Config, MainFile
from tocsin.config_values import anchored_url
from tocsin.errors import ConfigError
from tocsin.model import ServiceKey
from tocsin.settings import Settings, spell_duration
from tocsin.yaml_positions import Document, Place, Problem, quoted, read

__all__ = ["ENVIRONMENT", "Alert", "Collect", "ComponentType", "Config", "Detect", "describe", "json_schema", "load"]

ENVIRONMENT: Mapping[str, Place] = {
    "TOCSIN_STATE": ("state",),
    "TOCSIN_DATABASE": ("database",),
    "TOCSIN_HTTP_LISTEN": ("http", "listen"),
}
"""Environment variables and what they stand in for. Paths in them begin at the working directory; `off` listens nowhere."""

MAX_FILES, MAX_TOLD = 5_000, 50

S = TypeVar("S", bound=Settings)


def load(path: Path, *, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Config:
    """Read `tocsin.yaml` and the component files it names. Raises `ConfigError` with every mistake, never another error.

    `environment` is that of the process when it is not given; `flags` has the same names and goes before it.
    """
    main = read(path)
    if main.data is None:
        raise ConfigError(*map(str, main.problems))
    if isinstance(main.data, dict) and "component_type" in main.data:
        raise ConfigError(
            str(main.problem(("component_type",), "this is a component file; name the tocsin.yaml that lists it", at_key=True))
        )
    origins = _overlay(main, {**(os.environ if environment is None else environment), **(flags or {})})
    shared, found = _checked(MainFile, main, origins)
    written = main.data if isinstance(main.data, dict) else {}
    documents = _component_documents(main, written.get("components"), shared, found)
    types: list[ComponentType] = []
    for document in documents:
        if isinstance(document.data, dict) and "timezone" not in document.data and shared is not None:
            document.data["timezone"] = shared.timezone
        kind, wrong = _checked(ComponentFile, document, {})
        found += wrong
        if kind is not None:
            types.append(ComponentType.model_construct(**dict(kind), path=document.path))
    found += [*_taken_names(documents), *_shared_services(types, documents)]
    if found or shared is None:
        told = [str(problem) for problem in sorted(set(found))]
        raise ConfigError(*told[:MAX_TOLD], *([f"{path}: {len(told) - MAX_TOLD} more mistakes"] if len(told) > MAX_TOLD else []))
    return Config.model_construct(**dict(shared), path=path, types=tuple(types))


def _checked(shape: type[S], document: Document, origins: Mapping[Place, str]) -> tuple[S | None, list[Problem]]:
    """What a document says, or None; and its mistakes."""
    found = list(document.problems)
    if document.data is None:
        return None, found
    try:
        return shape.model_validate(document.data, context={"folder": document.path.parent.resolve()}), found
    except ValidationError as error:
        for place, problem in problems(error, shape, document):
            told_by = origins.get(place)
            found.append(replace(problem, file=told_by, line=0, column=0, path="") if told_by else problem)
        return None, found


def _overlay(main: Document, variables: Mapping[str, str]) -> dict[Place, str]:
    """Put what the environment says into the document; returns which variable stands behind which place."""
    origins: dict[Place, str] = {}
    for name, place in ENVIRONMENT.items():
        holder = main.data if name in variables else None
        for step in place[:-1]:
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            value: Any = variables[name]
            if place == ("state",):
                value = str(Path.cwd() / value)
            elif place == ("database",):
                value = anchored_url(value, Path.cwd())
            holder[place[-1]] = None if (place == ("http", "listen") and value == "off") else value
            origins[place] = name
    return origins


def _component_documents(main: Document, written: Any, shared: MainFile | None, found: list[Problem]) -> list[Document]:
    """The component files, each once, in the order of the patterns and then of their names."""
    if shared is not None:
        patterns: Sequence[str] = shared.components
    elif isinstance(written, list) and all(isinstance(pattern, str) and len(pattern) <= 200 for pattern in written):
        patterns = written
    else:
        patterns = MainFile.model_fields["components"].default if written is None else ()
    paths: dict[Path, None] = {}
    for place, pattern in enumerate(patterns):
        found_here = glob.iglob(pattern, root_dir=main.path.parent, recursive=True)  # noqa: PTH207  (a pattern may be absolute)
        matches = sorted(islice(found_here, MAX_FILES + 1))
        if not matches:
            found.append(main.problem(("components", place), f"no file matches {quoted(pattern)}"))
        paths |= dict.fromkeys(main.path.parent / match for match in matches)
    if len(paths) > MAX_FILES:
        found.append(main.problem(("components",), f"{len(paths):,} files match; at most {MAX_FILES:,} are read"))
    return [read(path) for path in list(paths)[:MAX_FILES]]


def _taken_names(documents: Sequence[Document]) -> list[Problem]:
    first: dict[str, Document] = {}
    taken = []
    for document in documents:
        name = document.data.get("component_type") if isinstance(document.data, dict) else None
        if isinstance(name, str) and first.setdefault(name, document) is not document:
            line = first[name].values["component_type",][0]
            sentence = f"{quoted(name)} is taken by {first[name].path}:{line}; each component type has one file"
            taken.append(document.problem(("component_type",), sentence))
    return taken


def _shared_services(types: Sequence[ComponentType], documents: Sequence[Document]) -> list[Problem]:
    """Two types that write to one service would overwrite each other: a recovery of one hides the trouble of the other."""
    written = {document.path: document for document in documents}
    first: dict[ServiceKey, ComponentType] = {}
    shared = []
    for kind in types:
        key = kind.alert.to.key("", kind.name, "")
        # With {component} in it the names are those of other components, unless a component is of both types.
        fixed = "{component}" not in kind.alert.to.host + kind.alert.to.service
        if fixed and first.setdefault(key, kind) is not kind:
            sentence = (
                f"{key.host}/{key.service} is the service of {first[key].path} too; use {{component}} or {{component_type}}"
            )
            shared.append(written[kind.path].problem(("alert", "to"), sentence))
    return shared


def describe(config: Config) -> dict[str, Any]:
    """What `tocsin check-config` shows: the values in force, and one row per component type. Fit for JSON; no secrets."""
    return {
        "path": str(config.path),
        "state": str(config.state),
        "database": "SQLite in the state folder" if config.database is None else str(config.database),
        "sink": config.deliver.sink.plugin.name,
        "http": config.http.listen or "off",
        "train": f"every {spell_duration(config.train.every)} on {spell_duration(config.train.history)}",
        "types": [
            {
                "type": kind.name,
                "file": str(kind.path),
                "sources": [entry.plugin.name for entry in kind.collect],
                "metrics": len(kind.metrics) or "all",
                "every": spell_duration(kind.every),
                "delay": spell_duration(kind.delay),
                "detectors": [entry.plugin.name for entry in kind.detect],
                "time_zone": kind.timezone,
                "holidays": kind.calendar.holidays or "none",
                "static": len(kind.static),
                "ladder": kind.alert.ladder,
                "service": f"{kind.alert.to.host}/{kind.alert.to.service}",
            }
            for kind in config.types
        ],
    }
