"""What people keep in Centreon's database: where hosts stand, planned work, acknowledgements, comments, closings by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tocsin.centreon.database import Database
from tocsin.centreon.storage import like
from tocsin.centreon.tags import HOST_CATEGORY, HOST_GROUP, OF_HOST
from tocsin.model import Downtime, HostFacts, Remark

BY_A_PERSON = 1
"""`entry_type` of a comment that a person wrote; downtimes, flapping and acknowledgements make comments of their own."""
SERVICE_ALERT, OK = 0, 0
MOST_REMARKS = 10_000
_OURS = re.compile(
    r"""within\ (?:their|the)\ learned\ band | within\ its\ static | recovered\ .+\ after\b | held\ back\ by\b | would\ be\b
    | static\ thresholds: | withdrawn\ .+:\ late\ data | dans\ (?:leurs|la)\ bandes?\ apprise | dans\ ses\ seuils
    | rétabli\ .+\ après\b | retenu\ par\b | serait\b | seuils\ statiques\ : | retiré\ .+\ :\ les\ données""",
    re.VERBOSE,
)
_NEVER = 4_000_000_000
"""Times above are -1 that was written as unsigned."""


def hosts(database: Database) -> Mapping[str, HostFacts]:
    """Every host that is monitored now, by name."""
    sql = (
        "SELECT h.host_id, h.name, i.name FROM hosts h LEFT JOIN instances i ON i.instance_id = h.instance_id"
        " WHERE h.enabled = 1 AND h.name NOT LIKE '|_Module|_%%' ESCAPE '|'"
    )
    names, pollers = dict[int, str](), dict[int, str]()
    for ident, name, poller in database.rows("hosts", sql):
        names[int(ident)], pollers[int(ident)] = str(name), str(poller or "")
    parents = _several(database, "parents", "SELECT child_id, parent_id FROM hosts_hosts_parents")
    tags = (
        "SELECT r.id, t.name FROM resources r JOIN resources_tags rt ON rt.resource_id = r.resource_id"
        " JOIN tags t ON t.tag_id = rt.tag_id WHERE r.type = %s AND r.enabled = 1 AND t.type = %s"
    )
    groups = _several(database, "host groups", tags, (OF_HOST, HOST_GROUP))
    categories = _several(database, "host categories", tags, (OF_HOST, HOST_CATEGORY))
    levels = (
        "SELECT r.id, s.level FROM resources r JOIN severities s ON s.severity_id = r.severity_id"
        " WHERE r.type = %s AND r.enabled = 1"
    )
    severity = {int(ident): int(level) for ident, level in database.rows("severities", levels, (OF_HOST,))}
    return {
        name: HostFacts(
            host=name,
            parents=tuple(sorted(names[parent] for parent in parents.get(ident, ()) if parent in names)),
            groups=tuple(sorted(groups.get(ident, ()))),
            categories=tuple(sorted(categories.get(ident, ()))),
            severity=severity.get(ident),
            poller=pollers[ident],
        )
        for ident, name in names.items()
    }


def _several(database: Database, what: str, sql: str, args: Sequence[object] = ()) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for ident, value in database.rows(what, sql, args):
        found.setdefault(int(ident), []).append(value)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A downtime as Centreon keeps it; times are epoch seconds or None."""

    start: int
    end: int
    duration: int
    fixed: bool
    started: bool
    cancelled: bool
    really_started: int | None = None
    really_ended: int | None = None
    deleted: int | None = None


def in_effect(planned: Planned) -> tuple[int, int] | None:
    """From when until when it was or will be in effect; None for one that never was and is not going to be.

    A flexible one begins only when trouble does, and lasts as long as it says from there.
    """
    begin = planned.really_started or planned.start
    if planned.really_ended:
        end = planned.really_ended
    elif planned.started or planned.really_started:
        end = planned.end if planned.fixed else begin + planned.duration
        end = min(end, planned.deleted) if planned.cancelled and planned.deleted else end
    elif planned.cancelled or not planned.fixed:
        return None
    else:
        end = planned.end
    return (begin, end) if end > begin else None


def downtimes(database: Database, start: int, end: int) -> Iterator[Downtime]:
    """Those in effect within [start, end)."""
    sql = (
        "SELECT d.downtime_id, h.name, s.description, d.service_id, d.start_time, d.end_time, d.duration, d.fixed, d.started,"
        " d.cancelled, d.actual_start_time, d.actual_end_time, d.deletion_time, d.author, d.comment_data"
        " FROM downtimes d JOIN hosts h ON h.host_id = d.host_id"
        " LEFT JOIN services s ON s.host_id = d.host_id AND s.service_id = d.service_id"
        " WHERE d.start_time < %s AND GREATEST(d.end_time + COALESCE(d.duration, 0), COALESCE(d.actual_end_time, 0)) > %s"
        " ORDER BY d.downtime_id LIMIT %s"
    )
    for ident, host, service, of, *times, author, comment in database.rows("downtimes", sql, (end, start, 10 * MOST_REMARKS)):
        first, last, duration, fixed, started, cancelled, really, ended, deleted = times
        if of and not service:
            continue  # of a service that is no more
        planned = Planned(
            start=int(first),
            end=int(last),
            duration=int(duration or 0),
            fixed=bool(fixed),
            started=bool(started),
            cancelled=bool(cancelled),
            really_started=_time(really),
            really_ended=_time(ended),
            deleted=_time(deleted),
        )
        span = in_effect(planned)
        if span is not None and span[0] < end and span[1] > start:
            yield Downtime(
                id=str(ident),
                host=str(host),
                service=str(service or ""),
                start=span[0],
                end=span[1],
                author=str(author or ""),
                comment=str(comment or ""),
            )


def _time(value: Any) -> int | None:
    return int(value) if value is not None and 0 < int(value) < _NEVER else None


def remarks(database: Database, since: int, closings: Sequence[str]) -> list[Remark]:
    """What people did since then, oldest first: acknowledgements made or taken back, comments, and closings by hand.

    A closing is a service that matches one of `closings` and became OK with a text that is none of ours: Centreon does not
    write down who submitted a result.
    """
    acknowledged = (
        "SELECT a.acknowledgement_id, h.name, s.description, a.service_id, a.entry_time, a.deletion_time, a.author,"
        " a.comment_data FROM acknowledgements a JOIN hosts h ON h.host_id = a.host_id"
        " LEFT JOIN services s ON s.host_id = a.host_id AND s.service_id = a.service_id"
        " WHERE a.entry_time >= %s OR a.deletion_time >= %s ORDER BY a.entry_time DESC LIMIT %s"
    )
    commented = (
        "SELECT c.comment_id, h.name, s.description, c.service_id, c.entry_time, c.deletion_time, c.author, c.data"
        " FROM comments c JOIN hosts h ON h.host_id = c.host_id"
        " LEFT JOIN services s ON s.host_id = c.host_id AND s.service_id = c.service_id"
        " WHERE c.entry_type = %s AND c.entry_time >= %s ORDER BY c.entry_time DESC LIMIT %s"
    )
    found = [
        *_read(database, "acknowledgement", acknowledged, (since, since, MOST_REMARKS)),
        *_read(database, "comment", commented, (BY_A_PERSON, since, MOST_REMARKS)),
        *_closed(database, since, closings),
    ]
    return sorted(found, key=lambda one: (one.at, one.kind, one.id))


def _read(database: Database, kind: str, sql: str, args: Sequence[object]) -> Iterator[Remark]:
    for ident, host, service, of, at, until, author, text in database.rows(f"{kind}s", sql, args):
        if of and not service:
            continue
        yield Remark(
            id=str(ident),
            kind=kind,
            host=str(host),
            service=str(service or ""),
            at=int(at),
            until=_time(until),
            author=str(author or ""),
            text=str(text or ""),
        )


def _closed(database: Database, since: int, closings: Sequence[str]) -> Iterator[Remark]:
    if not closings:
        return
    named = " OR ".join(["service_description LIKE %s ESCAPE '|'"] * len(closings))
    sql = (
        "SELECT log_id, host_name, service_description, ctime, output FROM logs"  # noqa: S608
        " WHERE ctime >= %s AND msg_type = %s AND status = %s AND service_description IS NOT NULL"
        f" AND ({named}) ORDER BY ctime DESC LIMIT %s"
    )
    args = (since, SERVICE_ALERT, OK, *map(like, closings), MOST_REMARKS)
    for ident, host, service, at, output in database.rows("closings by hand", sql, args):
        if any(fnmatchcase(str(service), pattern) for pattern in closings) and not is_ours(str(output or "")):
            yield Remark(id=str(ident), kind="close", host=str(host), service=str(service), at=int(at), text=str(output or ""))


def is_ours(text: str) -> bool:
    """Whether Tocsin itself said so beside an OK, in any of its languages (`alerting.words`; a test holds them together)."""
    return _OURS.search(text) is not None
