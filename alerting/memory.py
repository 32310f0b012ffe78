"""The desired state in memory: for scenarios, dry runs and tests. It keeps the store's promises but survives nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from alerting.desired import was_seen, worse
from tocsin.model import Desired, ServiceKey, Severity


class InMemory:
    """A `DesiredStore`; `put` and `get` are the tick's side of it."""

    def __init__(self) -> None:
        self._rows: dict[ServiceKey, Desired] = {}

    def get(self, service: ServiceKey) -> Desired | None:
        """The row of a service."""
        return self._rows.get(service)

    def put(self, rows: Iterable[Desired]) -> None:
        """What a tick wants; a row replaces that of the same service."""
        self._rows.update((row.service, row) for row in rows)

    def due(self, now: float, limit: int) -> Sequence[Desired]:
        """As `DesiredStore` promises."""
        rows = [row for row in self._rows.values() if row.next_due_at <= now < row.valid_until]
        rows.sort(key=lambda row: (was_seen(row), -_rank(row), row.next_due_at, row.service))
        return rows[:limit]

    def all_desired(self) -> Sequence[Desired]:
        """As `DesiredStore` promises."""
        return list(self._rows.values())

    def record(self, before: Sequence[Desired], after: Sequence[Desired]) -> None:
        """As `DesiredStore` promises."""
        for old, new in zip(before, after, strict=True):
            row = self._rows.get(old.service)
            if row is None:
                continue
            row = replace(
                row,
                last_sent_at=new.last_sent_at,
                last_check_time=new.last_check_time,
                last_seen_code=new.last_seen_code,
                last_seen_at=new.last_seen_at,
                attempts=new.attempts,
                error=new.error,
            )
            if row.version == old.version:
                row = replace(row, next_due_at=new.next_due_at, must_show=new.must_show)
            self._rows[row.service] = row


def _rank(row: Desired) -> int:
    code = row.code if row.must_show is None else row.must_show
    return sum(worse(code, other) for other in Severity)
