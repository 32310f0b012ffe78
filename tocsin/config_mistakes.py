"""What pydantic found wrong, as sentences a person can act on, at the places where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tocsin import registry
from tocsin.config_parts import KEY, PLUGIN_KEYS, Collect, Detect, Sink, Supervision
from tocsin.errors import did_you_mean
from tocsin.settings import Settings
from tocsin.yaml_positions import Document, Place, Problem, quoted

GROUP_OF: Mapping[type[Settings], tuple[str, str]] = {
    Collect: ("collectors", "from"),
    Detect: ("detectors", "use"),
    Sink: ("sinks", "use"),
    Supervision: ("supervisions", "use"),
}
"""Entries that hold the keys of a plugin: its group, and the key that names it."""

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "dict": "keys with values",
    "model": "keys with values",
    "mapping": "keys with values",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "path": "a path",
}
_NOT_KEYS = {"str", "int", "float", "bool", "list", "dict", "tuple", "nullable"}
"""Pydantic's names for the alternatives of a union."""

_BOUNDS = {"greater_than": ("gt", "more than"), "greater_than_equal": ("ge", "at least")}
_BOUNDS |= {"less_than": ("lt", "less than"), "less_than_equal": ("le", "at most")}


def problems(error: ValidationError, model: type[BaseModel], document: Document) -> list[tuple[Place, Problem]]:
    """One problem per mistake, and its place; what several alternatives of one value have to say becomes one sentence."""
    told: dict[tuple[Place, str], list[str]] = {}
    keys: set[Place] = set()
    for found in error.errors(include_url=False):
        kind, where = found["type"], found["loc"]
        place = _written(where, document.data)
        if kind == "extra_forbidden" or where[-1:] == (KEY,):
            keys.add(place)
        if kind == "extra_forbidden":
            sentence, came = f"no such key{did_you_mean(str(where[-1]), _valid_keys(model, where, document.data))}", ""
        elif kind == "missing":
            sentence, came = "is required", ""
        else:
            sentence, came = _sentence(kind, found.get("ctx") or {}, found["msg"], found["input"])
        sentences = told.setdefault((place, came), [])
        if sentence not in sentences:
            sentences.append(sentence)
    return [(place, document.problem(place, _joined(said, came), at_key=place in keys)) for (place, came), said in told.items()]


def _joined(said: list[str], came: str) -> str:
    return f"expected {' or '.join(said)}, got {came}" if came else "; ".join(said)


def _sentence(kind: str, context: Mapping[str, Any], message: str, came: Any) -> tuple[str, str]:
    """(what is wrong, ""), or (what was expected, what came instead)."""
    if kind == "value_error":
        return str(context.get("error", message)), ""
    if kind in ("literal_error", "enum"):
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        if isinstance(came, str):
            return f"{quoted(came)} is not known{did_you_mean(came, known)}", ""
        return f"one of {', '.join(known)}", _got(came)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {context[name]:g}", _got(came)
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        length = f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
        return f"{length} {'characters' if kind.startswith('string') else 'items'}", _got(came)
    expected = _EXPECTED.get(kind.partition("_")[0])
    if expected == "text" and isinstance(came, int | float):
        expected = "text (put it in quotes)"
    if expected is not None:
        return expected, _got(came)
    return f"{message[:1].lower()}{message[1:]}", ""


def _got(came: Any) -> str:
    if came is None:
        return "nothing"
    if isinstance(came, bool):
        return "true" if came else "false"
    if isinstance(came, str):
        return f"text {quoted(came)}"
    if isinstance(came, dict):
        return "keys with values"
    if isinstance(came, list | tuple):
        return "a list" if came else "an empty list"
    return quoted(str(came)).strip('"')


def _written(where: tuple[str | int, ...], data: Any) -> Place:
    """Pydantic's location without its names for wrappers and alternatives; it may end in keys that were not written."""
    place: list[str | int] = []
    absent = False
    for step in where:
        if not absent and _has(data, step):
            place.append(step)
            data = data[step]
        elif absent and isinstance(step, int):
            place.append(step)
        elif (absent or isinstance(data, dict)) and step not in _NOT_KEYS and re.fullmatch(r"[a-z]\w*", str(step)):
            place.append(step)
            absent = True
    return tuple(place)


def _has(data: Any, step: str | int) -> bool:
    return step in data if isinstance(data, dict) else isinstance(step, int) and isinstance(data, list) and step < len(data)


def _valid_keys(model: type[BaseModel], where: tuple[str | int, ...], data: Any) -> set[str]:
    """Every key that could stand where an unknown one was found."""
    shapes: list[type[BaseModel]] = [model]
    siblings: set[str] = set()
    entry = data
    for step in where[:-1]:
        if step == PLUGIN_KEYS:
            siblings = {key for shape in shapes for key in keys_of(shape)}
            shapes = [plugin for shape in shapes if (plugin := _plugin_settings(shape, entry)) is not None]
            continue
        fields = [_field(shape, step) for shape in shapes] if isinstance(step, str) else []
        if any(field is not None for field in fields):
            shapes, siblings = [inner for field in fields if field is not None for inner in _shapes_in(field.annotation)], set()
        if _has(entry, step):
            entry = entry[step]
    return siblings | {key for shape in shapes for key in keys_of(shape)}


def keys_of(shape: type[BaseModel]) -> set[str]:
    """The keys that a person may write for a shape itself; `fields` is filled in from the metrics."""
    own = {field.alias or name for name, field in shape.model_fields.items()}
    return own - {PLUGIN_KEYS, "fields"}


def _plugin_settings(shape: type[BaseModel], entry: Any) -> type[BaseModel] | None:
    for kind, (group, key) in GROUP_OF.items():
        if shape is kind:
            name = entry if isinstance(entry, str) else entry[key]
            return registry.find(group, name).settings
    return None


def _field(shape: type[BaseModel], key: str) -> FieldInfo | None:
    for name, field in shape.model_fields.items():
        if key == (field.alias or name):
            return field
    return None


def _shapes_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The shapes an annotation is made of: `tuple[Collect, ...]` → Collect."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _shapes_in(part)
