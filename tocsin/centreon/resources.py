"""What the Web API says of hosts, services and their metrics. Keys that were renamed are read under both names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from tocsin.centreon.api import Api
from tocsin.http import Unanswered
from tocsin.model import Floats, Ints

_UNITS = {"y": 31_556_926, "M": 2_629_744, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A host (`service` empty) or a service as it is shown now.

    `age` is how many seconds ago it was last checked, rounded down to what is told (minutes for "2h 3m"); None when it never was.
    """

    kind: str
    host_id: int
    service_id: int | None
    host: str
    service: str
    code: int
    text: str
    age: int | None
    hard: bool
    acknowledged: bool
    active: bool
    passive: bool
    poller: str
    severity: int | None
    changed_at: float | None


def resources(
    api: Api,
    *,
    types: Sequence[str] = ("service",),
    search: Mapping[str, Any] | None = None,
    filters: Mapping[str, Sequence[str | int]] | None = None,
    limit: int | None = None,
) -> Iterator[Resource]:
    """Hosts and services, each once. A field of `search` that Centreon does not know is ignored there without a word."""
    seen: set[tuple[int, int | None]] = set()
    listing = api.pages(
        "/monitoring/resources",
        "list of resources",
        search=search,
        sort_by="id",
        filters={"types": types, **(filters or {})},
        limit=limit,
    )
    for item in listing:
        found = resource(item)
        if found is not None and (found.host_id, found.service_id) not in seen:
            seen.add((found.host_id, found.service_id))
            yield found


def resource(item: dict[str, Any]) -> Resource | None:
    """An item of the listing; None for one that is neither host nor service, or cannot be understood."""
    kind, parent, status = item.get("type"), item.get("parent"), item.get("status")
    name, own = item.get("name"), item.get("id")
    if kind not in ("host", "service") or not isinstance(name, str) or not isinstance(own, int) or not isinstance(status, dict):
        return None
    above = parent if kind == "service" else item
    if not isinstance(above, dict) or not isinstance(above.get("id"), int):
        return None
    host_id, host = above["id"], str(above.get("name") or "")
    severity = item.get("severity")
    return Resource(
        kind=kind,
        host_id=host_id,
        service_id=own if kind == "service" else None,
        host=host,
        service=name if kind == "service" else "",
        code=status["code"] if isinstance(status.get("code"), int) else 4,
        text=str(item.get("information") or ""),
        age=duration(item.get("last_check")),
        hard=str(item.get("tries") or "").endswith("(H)"),
        acknowledged=bool(_either(item, "is_acknowledged", "acknowledged")),
        active=bool(_either(item, "has_active_checks_enabled", "active_checks")),
        passive=bool(_either(item, "has_passive_checks_enabled", "passive_checks")),
        poller=str(item.get("monitoring_server_name") or ""),
        severity=severity.get("level") if isinstance(severity, dict) and isinstance(severity.get("level"), int) else None,
        changed_at=moment(item.get("last_status_change")),
    )


def _either(item: Mapping[str, Any], now: str, before: str) -> Any:
    return item[now] if now in item else item.get(before)


def duration(text: object) -> int | None:
    """`1m 5s` → 65, `2h 3m` → 7380; None for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"\s*(?:[0-9]{1,9}[yMwdhms]\s*)+", text, re.ASCII):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([yMwdhms])", text))


def moment(text: object) -> float | None:
    """`2026-03-01T10:00:00+01:00` → epoch seconds; None for anything else, a time without offset among it."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.timestamp() if found is not None and found.tzinfo is not None else None


def metrics(api: Api, host_id: int, service_id: int) -> list[dict[str, Any]]:
    """The metrics of a service with their thresholds: `name`, `unit`, `warning_high_threshold` and so on (24.04 and later)."""
    found = api.get(f"/monitoring/hosts/{host_id}/services/{service_id}/metrics", "metrics of a service")
    if not isinstance(found, list):
        raise Unanswered(f"{api.place}: metrics of a service: the answer is no list")
    return [item for item in found if isinstance(item, dict) and isinstance(item.get("name"), str)]


Series = Mapping[str, tuple[Ints, Floats]]
"""Times (epoch seconds) and values of each metric."""


def performance(api: Api, host_id: int, service_id: int, start: str, end: str) -> Series:
    """Averages from the round-robin files, at most some 550 of them whatever the range, at the times at which each begins.

    Hidden metrics are left out.
    """
    path = f"/monitoring/hosts/{host_id}/services/{service_id}/metrics/performance"
    found = api.get(path, "performance of a service", {"start": start, "end": end})
    times, listed = (found.get("times"), found.get("metrics")) if isinstance(found, dict) else (None, None)
    if not isinstance(times, list) or not isinstance(listed, list):
        raise Unanswered(f"{api.place}: performance of a service: the answer holds no times and metrics")
    stamps = [moment(text) for text in times]
    if None in stamps:
        raise Unanswered(f"{api.place}: performance of a service: {times[stamps.index(None)]!r:.40} is no time with an offset")
    when = np.array(stamps, np.float64).astype(np.int64)
    # Each time is the end of what was averaged.
    when -= int(when[1] - when[0]) if len(when) > 1 else 0
    result: dict[str, tuple[Ints, Floats]] = {}
    for metric in listed:
        name, data = (metric.get("metric"), metric.get("data")) if isinstance(metric, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(data, list) or len(data) != len(when):
            raise Unanswered(f"{api.place}: performance of a service: a metric has not one value for each time")
        result[name] = when, np.array([value if _number(value) else np.nan for value in data], np.float64)
    return result


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def download(api: Api, host_id: int, service_id: int, start: str, end: str) -> Series | None:
    """The rows of the database in [start, end), by time; None when the answer is empty, which means that it is not known.

    A 0 may be none: where one metric of a service has no row at a time at which another one has, Centreon writes 0.000000.
    """
    path = f"/monitoring/hosts/{host_id}/services/{service_id}/metrics/performance/download"
    # The published description calls the second one `end`; what is read is `end_date`.
    answer = api.ask("GET", path, "raw values of a service", params={"start_date": start, "end_date": end})
    return raw_values(answer.body, answer.place)


def raw_values(body: bytes, place: str) -> Series | None:
    """`time;humantime;cpu` and rows of it, in any order → values by time. `humantime` is the server's local time and not read."""
    if not body.strip():
        return None  # an error after the answer had begun looks like this
    rows = list(csv.reader(io.StringIO(body.decode("utf-8", "replace")), delimiter=";"))
    head = [name.strip() for name in rows[0]]
    if len(head) < 2 or head[0] != "time":
        raise Unanswered(f"{place}: the answer does not begin with time;humantime")
    table = [row for row in rows[1:] if row]
    if any(len(row) != len(head) or not row[0].strip().isdigit() for row in table):
        raise Unanswered(f"{place}: a row does not have {len(head)} columns, or no time: the answer was cut")
    when = np.array([int(row[0]) for row in table], np.int64)
    order = np.argsort(when, kind="stable")
    columns = [column for column in range(1, len(head)) if head[column] != "humantime"]
    return {head[column]: (when[order], np.array([_value(row[column]) for row in table])[order]) for column in columns}


def _value(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
