"""The published contract of the Web API, held against every request that is made and every answer that is given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML

PATH = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "centreon-contract.yaml"


@lru_cache
def contract() -> Contract | None:
    """None where the description is not at hand."""
    return Contract(YAML(typ="safe").load(PATH)) if PATH.is_file() else None


class Contract:
    """An OpenAPI 3.0 description, as far as it is needed here."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._validators: dict[int, jsonschema.Draft202012Validator] = {}
        self._paths = [
            (re.compile(re.sub(r"\\\{[a-z_]+\\\}", r"[^/]+", re.escape(path))), item) for path, item in document["paths"].items()
        ]

    def request(self, method: str, path: str, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> list[str]:
        """What is wrong with a request; nothing is said about a path the contract does not describe."""
        found = self._operation(method, path)
        if found is None:
            return []
        item, operation = found
        faults = []
        parameters = [self._resolve(one) for one in [*item.get("parameters", []), *operation.get("parameters", [])]]
        known = {one["name"]: one for one in parameters if one["in"] == "query"}
        faults += [f"query: no parameter {name!r}" for name in query if name not in known]
        faults += [f"query: {name} is missing" for name, one in known.items() if one.get("required") and name not in query]
        for name, text in query.items():
            if name in known:
                value: Any = int(text) if known[name]["schema"].get("type") == "integer" and text.lstrip("-").isdigit() else text
                faults += self._faults(f"query: {name}", known[name]["schema"], value)
        if operation.get("security", self._document.get("security")) and "x-auth-token" not in headers:
            faults.append("header: X-AUTH-TOKEN is missing")
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            try:
                faults += self._faults("body", schema, json.loads(body))
            except ValueError:
                faults.append("body: no JSON")
        return faults

    def answer(self, method: str, path: str, status: int, body: bytes, kind: str) -> list[str]:
        """What is wrong with an answer."""
        found = self._operation(method, path)
        if found is None:
            return []
        responses = found[1]["responses"]
        if str(status) not in responses and status not in (401, 404):  # which any path may answer
            return [f"status {status} is none of {', '.join(responses)}"]
        described = responses.get(str(status), {"$ref": "#/components/responses/Error"})
        content = self._resolve(described).get("content")
        if content is None:
            return [f"{status}: a body where none is described"] if body else []
        wanted = next(iter(content))
        if not body and status >= 400:
            return []  # 401 for a lacking right has no body, whatever is described
        if kind.partition(";")[0] != wanted:
            return [f"{status}: {kind} and not {wanted}"]
        value: Any = json.loads(body) if wanted == "application/json" else body.decode()
        return self._faults(f"{status}", content[wanted]["schema"], value)

    def _operation(self, method: str, path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        for pattern, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                return item, item[method.lower()]
        return None

    def _resolve(self, node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            target: Any = self._document
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            node = target
        return node

    def _schema(self, node: Any) -> Any:
        """OpenAPI's schema → JSON Schema: references filled in, `nullable` as a type."""
        node = self._resolve(node)
        if isinstance(node, list):
            return [self._schema(one) for one in node]
        if not isinstance(node, dict):
            return node
        plain = {key: self._schema(value) for key, value in node.items() if key not in ("nullable", "example")}
        return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain

    def _faults(self, place: str, schema: Any, value: Any) -> list[str]:
        if id(schema) not in self._validators:
            self._validators[id(schema)] = jsonschema.Draft202012Validator(self._schema(schema))
        validator = self._validators[id(schema)]
        return [
            f"{place}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(value)
        ]
