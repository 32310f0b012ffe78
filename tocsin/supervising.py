"""What the supervising system said last: hosts, downtimes, what people did. Read on a timer, never waited for.

One that does not answer must neither hide nor invent: its downtimes count for a while (`trust`) and then no more. Where hosts
stand changes slowly and counts for a week; what was acknowledged stays so, for that hides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import structlog

from tocsin.errors import PermanentError, TransientError
from tocsin.model import Downtime, HostFacts, Remark
from tocsin.ports import Supervision
from tocsin.settings import spell_duration
from tocsin.timegrid import DAY

log = structlog.get_logger()

HOSTS_EVERY = 600.0
HOSTS_TRUST = 7 * DAY
AHEAD = DAY
"""Downtimes are read so far ahead, so that a supervising system that falls silent is missed less."""
REMARKS_BACK = 7 * DAY
"""What people did is read so far back the first time, and from a little before the last reading on then."""
OVERLAP = 600.0


class Shelf(Protocol):
    """Where what was read survives a restart: `tocsin.store.accounts.Accounts`."""

    def snapshot(self, name: str) -> tuple[float, Any] | None: ...

    def set_snapshot(self, name: str, read_at: float, data: Any) -> None: ...


class Overseen:
    """The last answers of a supervising system, or nothing when there is none. One thread refreshes, any may ask."""

    def __init__(self, supervision: Supervision | None, shelf: Shelf, *, name: str = "", trust: float = 900.0) -> None:
        self._supervision, self._shelf, self.name, self._trust = supervision, shelf, name, trust
        self._hosts: Mapping[str, HostFacts] = {}
        self._hosts_at = self._read_at = -float("inf")
        self._downtimes: Mapping[str, Sequence[Downtime]] = {}
        self.remarks: Sequence[Remark] = ()
        """What the last reading told of what people did; an act may come again, with an end it did not have before."""
        self.failing_since: float | None = None
        self.error = ""
        if supervision is not None:
            self._recall()

    def refresh(self, now: float) -> bool:
        """Read anew what is old; whether it answered. Never raises: the fault is told by `error`."""
        if self._supervision is None:
            return False
        try:
            if now - self._hosts_at >= HOSTS_EVERY:
                self._hosts, self._hosts_at = dict(self._supervision.hosts()), now
                self._shelf.set_snapshot("hosts", now, [asdict(one) for one in self._hosts.values()])
            downtimes = self._supervision.downtimes(now - 3600, now + AHEAD)
            self.remarks = self._supervision.remarks(max(now - REMARKS_BACK, self._read_at - OVERLAP))
        except (TransientError, PermanentError) as error:
            self.error = str(error)
            if self.failing_since is None:
                self.failing_since = now
                log.warning("supervision.failing", error=self.error)
            return False
        self._downtimes, self._read_at = _by_host(downtimes), now
        self.error, self.failing_since = "", None
        self._shelf.set_snapshot("downtimes", now, [asdict(one) for one in downtimes])
        return True

    def trusted(self, now: float) -> bool:
        """Whether its downtimes still count."""
        return now - self._read_at <= self._trust

    def hosts(self, now: float) -> Mapping[str, HostFacts]:
        """Where every host stands."""
        return self._hosts if now - self._hosts_at <= HOSTS_TRUST else {}

    def downtimes(self, host: str, service: str, at: float) -> Sequence[Downtime]:
        """The downtimes of a host, and of that service on it; none when they do not count any more."""
        if not self.trusted(at):
            return ()
        return [one for one in self._downtimes.get(host, ()) if not one.service or one.service == service]

    def all_downtimes(self) -> Sequence[Downtime]:
        """Every downtime that was read last."""
        return [one for several in self._downtimes.values() for one in several]

    def trouble(self, now: float) -> str:
        """What a person should know of the supervising system itself; empty when it answers."""
        if self.failing_since is None:
            return ""
        lasted = now - self.failing_since
        since = f"has not answered for {spell_duration(lasted)}" if lasted >= 1 else "does not answer"
        until = "" if self.trusted(now) else "; its downtimes no longer count"
        return f"{self.name} {since}: {self.error}{until}"

    def close(self) -> None:
        """Give back its connections, where it has any."""
        close = getattr(self._supervision, "close", None)
        if close is not None:
            close()

    def _recall(self) -> None:
        try:
            hosts, downtimes = self._shelf.snapshot("hosts"), self._shelf.snapshot("downtimes")
            if hosts is not None:
                self._hosts_at = hosts[0]
                self._hosts = {one["host"]: HostFacts(**{key: _whole(value) for key, value in one.items()}) for one in hosts[1]}
            if downtimes is not None:
                self._read_at = downtimes[0]
                self._downtimes = _by_host([Downtime(**one) for one in downtimes[1]])
        except (TransientError, PermanentError, TypeError, KeyError) as error:
            log.error("supervision.snapshot_lost", error=str(error))


def _by_host(downtimes: Sequence[Downtime]) -> Mapping[str, Sequence[Downtime]]:
    found: dict[str, list[Downtime]] = {}
    for one in downtimes:
        found.setdefault(one.host, []).append(one)
    return found


def _whole(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
