"""The search grammar of Centreon's listings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

FIELDS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "id": lambda item: item.get("id"),
    "name": lambda item: item.get("name"),
    "h.name": lambda item: (item.get("parent") or item).get("name"),
    "s.description": lambda item: item.get("name") if item.get("type") == "service" else None,
    "parent_name": lambda item: (item.get("parent") or {}).get("name"),
    "status_code": lambda item: item["status"]["code"],
    "information": lambda item: item.get("information"),
    "host.name": lambda item: (item.get("host") or {}).get("name"),
    "service.description": lambda item: item.get("description"),
    "host.id": lambda item: item.get("host_id"),
    "type": lambda item: item.get("type"),
}


def matches(item: Mapping[str, Any], wanted: Any) -> bool:
    if isinstance(wanted, list):
        return all(matches(item, one) for one in wanted)
    for name, condition in wanted.items():
        if name == "$and":
            fine = all(matches(item, one) for one in condition)
        elif name == "$or":
            fine = any(matches(item, one) for one in condition)
        elif name not in FIELDS:
            fine = True  # silently ignored, as the real one does
        else:
            fine = _holds(FIELDS[name](item), condition if isinstance(condition, dict) else {"$eq": condition})
        if not fine:
            return False
    return True


def _like(value: Any, wanted: Any) -> bool:
    pattern = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in str(wanted))
    return re.fullmatch(pattern, "" if value is None else str(value), re.IGNORECASE) is not None


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: value == wanted,
    "$neq": lambda value, wanted: value != wanted,
    "$lt": lambda value, wanted: value is not None and value < wanted,
    "$le": lambda value, wanted: value is not None and value <= wanted,
    "$gt": lambda value, wanted: value is not None and value > wanted,
    "$ge": lambda value, wanted: value is not None and value >= wanted,
    "$lk": _like,
    "$nk": lambda value, wanted: not _like(value, wanted),
    "$in": lambda value, wanted: value in wanted,
    "$ni": lambda value, wanted: value not in wanted,
    "$rg": lambda value, wanted: re.search(str(wanted), "" if value is None else str(value)) is not None,
}


def _holds(value: Any, condition: Mapping[str, Any]) -> bool:
    return all(OPERATORS[operator](value, wanted) for operator, wanted in condition.items())
