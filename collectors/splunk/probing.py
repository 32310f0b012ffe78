"""What a person is told who asks how a Splunk does: version, rights, quota, lateness, a few values, and what a tick costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from collectors.splunk.session import Session
from tocsin.errors import PermanentError, TransientError
from tocsin.http import clean
from tocsin.model import Probe, SeriesIndex, Window
from tocsin.samples import samples
from tocsin.settings import spell_duration

if TYPE_CHECKING:
    from collectors.splunk.collector import Splunk

BUCKETS = 5
"""Buckets of the tick that is measured."""
LOOKING = 10.0
"""Seconds at most for what is asked once, beside the searches."""
OLD = 600
"""Seconds after which the newest data are worth a word."""
TOO_MUCH = ("delete_by_keyword", "edit_user", "admin_all_objects", "schedule_search")
"""What a reader should not be allowed to do."""
NEEDED = "search"


Reader: TypeAlias = Callable[[Window], tuple[str, ...]]
"""Reads a window as a tick does, and gives something of it to show."""


def probe(splunk: Splunk, span: int, now: float, reader: Reader | None = None) -> Probe:
    """Connects and looks. `reader` stands for a tick, when it is not one of `splunk` alone.

    Raises `TransientError` or `PermanentError` when nothing can be seen at all.
    """
    warnings = [*splunk.session.warnings]
    seconds = min(LOOKING, float(splunk.settings.limits.timeout))
    version = version_of(splunk.session, seconds)
    rights, troubles = rights_of(splunk.session, splunk.settings.limits.concurrency, seconds)
    warnings += troubles
    ends, keys = splunk.reach(), splunk.discover()
    warnings += splunk.wrong_names(keys)
    shown: tuple[str, ...] = ()
    cost = ""
    if ends is not None and keys:
        index, window = SeriesIndex(keys), Window.ending(ends[1] + span, span, BUCKETS)
        shown, cost = _tick(splunk, len(index), window, reader or (lambda window: samples(splunk.collect(index, window))))
        warnings += [] if shown else ["no value in the latest buckets"]
    newest = None if ends is None else max(0.0, now - ends[1])
    if newest is not None and newest > OLD:
        warnings.append(f"the newest data are {spell_duration(newest)} old")
    if splunk.manners.state.kind != "ok":
        warnings.append(splunk.manners.state.reason)
    lag = splunk.lag()
    return Probe(
        version=version,
        rights=tuple(rights),
        lag=newest if lag is None else lag,
        samples=shown,
        cost=cost,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def version_of(session: Session, seconds: float) -> str:
    """`Splunk 9.4.1 (cloud)`."""
    facts = session.facts(seconds)
    where = facts.get("instance_type")
    return f"Splunk {clean(str(facts.get('version')), longest=20)}" + (f" ({clean(str(where), longest=20)})" if where else "")


def rights_of(session: Session, concurrency: int, seconds: float) -> tuple[list[str], list[str]]:
    """What the account may do, and what should be different."""
    try:
        found = session.ask("GET", ("authentication", "current-context"), "its rights", seconds).found
        content = found["entry"][0]["content"]
        capabilities, roles = set(map(str, content.get("capabilities") or [])), [str(role) for role in content.get("roles") or []]
    except (TransientError, PermanentError, TypeError, LookupError, AttributeError) as error:
        return [f"rights: cannot be read ({clean(str(error))})"], []
    told = [f"account: {clean(str(content.get('username')), longest=60)}, roles: {clean(', '.join(roles), longest=120)}"]
    told.append(f"search: {'yes' if NEEDED in capabilities else 'no'}")
    warnings = [] if NEEDED in capabilities else [f"the role has not the capability {NEEDED}: no search can be run"]
    if much := [name for name in TOO_MUCH if name in capabilities]:
        warnings.append(f"the account may do more than read ({', '.join(much)}): give it a role of its own")
    quotas = [quota for role in roles[:10] if (quota := _quota(session, role, seconds)) is not None]
    if not quotas:
        return [*told, "searches at the same time: the role's quota cannot be read"], warnings
    told.append(f"searches at the same time: {max(quotas)}, of which Tocsin uses {concurrency}")
    if max(quotas) <= concurrency:
        warnings.append(
            f"limits.concurrency: {concurrency} leaves nothing of the role's {max(quotas)} searches: raise srchJobsQuota"
        )
    return told, warnings


def _quota(session: Session, role: str, seconds: float) -> int | None:
    try:
        found: Any = session.ask("GET", ("authorization", "roles", role), "its quota", seconds).found
        content = found["entry"][0]["content"]
        return max(int(content.get("srchJobsQuota") or 0), int(content.get("imported_srchJobsQuota") or 0)) or None
    except (TransientError, PermanentError, TypeError, ValueError, LookupError, AttributeError):
        return None


def _tick(splunk: Splunk, series: int, window: Window, reader: Reader) -> tuple[tuple[str, ...], str]:
    """Some values, and what reading them took."""
    before, rows, started = splunk.session.http.usage.requests, splunk.manners.usage, time.perf_counter()
    shown = reader(window)
    usage, seconds = splunk.manners.usage, time.perf_counter() - started
    cost = (
        f"{series} series, {len(window)} buckets: {splunk.session.http.usage.requests - before} requests, "
        f"{usage.rows - rows.rows} rows, {usage.bytes - rows.bytes} bytes, {seconds:.1f} s"
    )
    return shown, cost
