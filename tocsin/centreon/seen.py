"""The same through the Web API: where hosts stand, planned work, what people did. What it does not tell is left empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tocsin.centreon.api import Api
from tocsin.centreon.people import Planned, in_effect, is_ours
from tocsin.centreon.resources import Resource, moment, resources
from tocsin.model import Downtime, HostFacts, Remark

MOST_TAGS = 200
MOST_TIMELINES = 50
"""Services whose timeline is read each time: those of `closings` that changed since, the latest first."""


def hosts(api: Api) -> Mapping[str, HostFacts]:
    """Every host by name. Groups and categories cost a request each; parents are not told."""
    found = list(resources(api, types=("host",)))
    groups = _tagged(api, "/monitoring/hostgroups", "hostgroup_names")
    categories = _tagged(api, "/monitoring/hosts/categories", "host_category_names")
    return {
        one.host: HostFacts(
            host=one.host,
            groups=tuple(sorted(groups.get(one.host, ()))),
            categories=tuple(sorted(categories.get(one.host, ()))),
            severity=one.severity,
            poller=one.poller,
        )
        for one in found
    }


def _tagged(api: Api, path: str, parameter: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in api.pages(path, "groups and categories", limit=MOST_TAGS):
        name = item.get("name")
        if isinstance(name, str):
            for one in resources(api, types=("host",), filters={parameter: [name]}):
                found.setdefault(one.host, []).append(name)
    return found


def downtimes(api: Api, start: float, end: float) -> list[Downtime]:
    """Those in effect within [start, end)."""
    names = _names(api)
    found = []
    for item in api.pages("/monitoring/downtimes", "downtimes", sort_by="id"):
        first, last = moment(item.get("start_time")), moment(item.get("end_time"))
        if first is None or last is None:
            continue
        planned = Planned(
            start=int(first),
            end=int(last),
            duration=item["duration"] if isinstance(item.get("duration"), int) else 0,
            fixed=bool(item.get("is_fixed")),
            started=bool(item.get("is_started")),
            cancelled=bool(item.get("is_cancelled")),
            really_started=_whole(item.get("actual_start_time")),
            really_ended=_whole(item.get("actual_end_time")),
            deleted=_whole(item.get("deletion_time")),
        )
        span, where = in_effect(planned), names(item)
        if span is not None and where is not None and span[0] < end and span[1] > start:
            found.append(
                Downtime(
                    id=str(item.get("id", "")),
                    host=where[0],
                    service=where[1],
                    start=span[0],
                    end=span[1],
                    author=str(item.get("author_name") or ""),
                    comment=str(item.get("comment") or ""),
                )
            )
    return found


def remarks(api: Api, since: float, closings: Sequence[str]) -> list[Remark]:
    """Acknowledgements of all; comments and closings by hand of services that match `closings` and changed since."""
    names = _names(api)
    found = []
    for item in api.pages("/monitoring/acknowledgements", "acknowledgements", sort_by="id"):
        at, until, where = moment(item.get("entry_time")), moment(item.get("deletion_time")), names(item)
        if at is not None and where is not None and max(at, until or 0) >= since:
            found.append(
                Remark(
                    id=str(item.get("id", "")),
                    kind="acknowledgement",
                    host=where[0],
                    service=where[1],
                    at=int(at),
                    until=None if until is None else int(until),
                    author=str(item.get("author_name") or ""),
                    text=str(item.get("comment") or ""),
                )
            )
    for one in _touched(api, since, closings):
        found += _said(api, one, since)
    return sorted(found, key=lambda one: (one.at, one.kind, one.id))


def _touched(api: Api, since: float, closings: Sequence[str]) -> list[Resource]:
    patterns = [pattern.replace("%", r"\%").replace("*", "%").replace("?", "_") for pattern in closings]
    if not patterns:
        return []
    search = {"$or": [{"name": {"$lk": pattern}} for pattern in patterns]}
    changed = [one for one in resources(api, search=search) if one.changed_at is not None and one.changed_at >= since]
    return sorted(changed, key=lambda one: -(one.changed_at or 0))[:MOST_TIMELINES]


def _said(api: Api, one: Resource, since: float) -> Iterator[Remark]:
    path = f"/monitoring/hosts/{one.host_id}/services/{one.service_id}/timeline"
    for item in api.pages(path, "timeline", limit=200):
        at, kind, content = moment(item.get("date")), item.get("type"), str(item.get("content") or "")
        status = item.get("status")
        closed = kind == "event" and isinstance(status, dict) and status.get("code") == 0 and not is_ours(content)
        if at is None or at < since or not (closed or kind == "comment"):
            continue
        contact = item.get("contact")
        yield Remark(
            id=str(item.get("id", "")),
            kind="close" if closed else "comment",
            host=one.host,
            service=one.service,
            at=int(at),
            author=str(contact.get("name") or "") if isinstance(contact, dict) else "",
            text=content,
        )


def _whole(text: object) -> int | None:
    found = moment(text)
    return None if found is None or found <= 0 else int(found)


def _names(api: Api) -> Callable[[Mapping[str, Any]], tuple[str, str] | None]:
    """Ids of an item → names of host and service; listed once, at the first item that needs it."""
    known: dict[tuple[int, int | None], tuple[str, str]] = {}

    def names(item: Mapping[str, Any]) -> tuple[str, str] | None:
        if not known:
            known.update(
                {(one.host_id, one.service_id): (one.host, one.service) for one in resources(api, types=("host", "service"))}
            )
        return known.get((item.get("host_id") or 0, item.get("service_id") or None))

    return names
