"""How the fake Centreon answers: a status, a body, and what kind of body it is."""

from __future__ import annotations

import json
from typing import TypeAlias

Said: TypeAlias = tuple[int, bytes, str]


def as_json(value: object, status: int = 200) -> Said:
    return status, json.dumps(value).encode(), "application/json"


def error(code: int, message: str) -> Said:
    return as_json({"code": code, "message": message}, code)
