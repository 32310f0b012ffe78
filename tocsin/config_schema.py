"""The JSON Schema of both kinds of file, for editors: `# yaml-language-server: $schema=schema.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from tocsin import registry
from tocsin.config_mistakes import GROUP_OF
from tocsin.config_parts import PLUGIN_KEYS
from tocsin.config_shapes import ComponentFile, MainFile
from tocsin.ports import Plugin


def json_schema() -> dict[str, Any]:
    """One schema for `tocsin.yaml` and component files, with the keys of every plugin that is installed and works."""
    _, schema = models_json_schema([(MainFile, "validation"), (ComponentFile, "validation")], ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    for shape, (group, key) in GROUP_OF.items():
        entry = definitions[shape.__name__]
        own = {name: value for name, value in entry["properties"].items() if name not in (key, PLUGIN_KEYS)}
        variants = []
        for plugin in _working(group):
            settings = plugin.settings.model_json_schema(ref_template=f"#/$defs/{group}.{plugin.name}.{{model}}")
            definitions |= {f"{group}.{plugin.name}.{name}": value for name, value in settings.pop("$defs", {}).items()}
            variants.append((plugin, settings))
        definitions[shape.__name__] = _entry(key, own, variants) | {"description": entry["description"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Tocsin",
        "if": {"required": ["component_type"]},
        "then": {"$ref": "#/$defs/ComponentFile"},
        "else": {"$ref": "#/$defs/MainFile"},
        "$defs": dict(sorted(definitions.items())),
    }


def _entry(key: str, own: dict[str, Any], variants: list[tuple[Plugin, dict[str, Any]]]) -> dict[str, Any]:
    """A flat entry: the plugin's name decides which keys may stand beside it. The bare name is an entry without keys."""
    names = [plugin.name for plugin, _ in variants]
    return {
        "type": ["object", "string"],
        "if": {"type": "string"},
        "then": {"enum": names},
        "else": {
            "required": [key],
            "properties": {key: {"enum": names}},
            "allOf": [
                {
                    "if": {"properties": {key: {"const": plugin.name}}},
                    "then": {
                        "description": plugin.summary,
                        "properties": {
                            key: {"const": plugin.name, "description": plugin.summary},
                            **own,
                            **{name: value for name, value in settings.get("properties", {}).items() if name != "fields"},
                        },
                        "required": [key, *settings.get("required", [])],
                        "additionalProperties": False,
                    },
                }
                for plugin, settings in variants
            ],
        },
    }


def _working(group: str) -> Iterator[Plugin]:
    for name in registry.names(group):
        try:
            yield registry.find(group, name)
        except ValueError:  # told by whoever uses it
            continue
