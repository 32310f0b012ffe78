"""Passive results for Centreon, through the Web API. No text is cleaned here: whoever writes it must (no line break, no pipe)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.centreon.api import Api
from tocsin.http import Unanswered, clean


@dataclass(frozen=True, kw_only=True, slots=True)
class ById:
    """A result for v2: a host, or a service of it. v2 has no time: Centreon's clock at the call is taken."""

    host_id: int
    service_id: int | None
    code: int
    output: str
    perfdata: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ByName:
    """A result for v1, with its own time in epoch seconds; `service` empty for the host itself."""

    host: str
    service: str
    code: int
    output: str
    perfdata: str = ""
    at: int


def submit(api: Api, results: Sequence[ById]) -> None:
    """v2, many at once. Returning means that they lie in a folder of the central server, no more.

    `Refused` with status 404: one of them is unknown; those before it were taken, those after it were not, and which one it
    is, is not told. Sending again is harmless, so split and send again. 401 or 403: no right for one of them, none was taken.
    """
    api.ask("POST", "/monitoring/resources/submit", "submit results", body={"resources": [_by_id(one) for one in results]})


def _by_id(one: ById) -> dict[str, Any]:
    # Both texts always, although the schema lets them be left out: the server reads them without looking.
    said = {"status": one.code, "output": one.output, "performance_data": one.perfdata}
    if one.service_id is None:
        return {"type": "host", "id": one.host_id, "parent": None, **said}
    return {"type": "service", "id": one.service_id, "parent": {"id": one.host_id}, **said}


def submit_v1(api: Api, results: Sequence[ByName]) -> list[tuple[int, str]]:
    """v1, many at once: for each result, in order, a code (202 taken, 400 or 404 not) and Centreon's words."""
    if not results:
        return []
    body = {
        "results": [
            {
                "updatetime": str(one.at),
                "host": one.host,
                "service": one.service,
                "status": str(one.code),
                "output": one.output,
                "perfdata": one.perfdata,
            }
            for one in results
        ]
    }
    answer = api.ask_v1("submit results", {"action": "submit", "object": "centreon_submit_results"}, body)
    found = answer.json()
    items = found.get("results") if isinstance(found, dict) else None
    if not isinstance(items, list) or len(items) != len(results):
        came = len(items) if isinstance(items, list) else "no"
        raise Unanswered(f"{answer.place}: {len(results)} results were sent and {came} answers came", status=answer.status)
    return [
        (int(item.get("code", 0)), clean(str(item.get("message", "")))) if isinstance(item, dict) else (0, "") for item in items
    ]
