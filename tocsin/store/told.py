"""What each sink beside Centreon was told, of what the services must show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, and_, case, delete, func, insert, or_, select
from sqlalchemy import bindparam as bound

from tocsin.model import Telling
from tocsin.store import rows
from tocsin.store.state import State
from tocsin.store.tables import desired, told

_WORST_FIRST = {2: 0, 1: 1, 3: 2, 0: 3}


class Told:
    """A `TellingStore` of one sink, by the name it has in the configuration."""

    def __init__(self, state: State, sink: str) -> None:
        self._state, self._sink = state, sink

    def untold(self, now: float, limit: int, again_before: float | None) -> Sequence[Telling]:
        """As `TellingStore` promises. A row that nobody says anew any more is not told either."""
        ours = and_(told.c.sink == self._sink, told.c.host == desired.c.host, told.c.service == desired.c.service)
        news = or_(and_(told.c.version.is_(None), desired.c.code != 0), told.c.version != desired.c.version, told.c.error != "")
        if again_before is not None:
            news = or_(news, and_(desired.c.code != 0, told.c.told_at < again_before))
        query = (
            select(desired, told.c.attempts.label("told_attempts"), told.c.told_at)
            .outerjoin(told, ours)
            .where(news, desired.c.valid_until > now, func.coalesce(told.c.next_due_at, 0.0) <= now)
            .order_by(case(_WORST_FIRST, value=desired.c.code), desired.c.changed_at, desired.c.host, desired.c.service)
            .limit(limit)
        )
        with self._state.reading() as connection:
            return [
                Telling(row=rows.desired_of(row), attempts=row.told_attempts or 0, told_at=row.told_at)
                for row in connection.execute(query)
            ]

    def record(self, tellings: Sequence[Telling]) -> None:
        """As `TellingStore` promises. Services that are gone meanwhile stay gone."""
        if not tellings:
            return
        learnt = [
            {
                "b_sink": self._sink,
                "b_host": one.row.service.host,
                "b_service": one.row.service.service,
                "version": one.row.version,
                "told_at": one.told_at,
                "attempts": one.attempts,
                "next_due_at": one.next_due_at,
                "error": one.error,
            }
            for one in tellings
        ]
        mine = (told.c.sink == bound("b_sink"), told.c.host == bound("b_host"), told.c.service == bound("b_service"))
        values: list[BindParameter[Any]] = [
            bound(name) for name in ("b_sink", "b_host", "b_service", "version", "told_at", "attempts", "next_due_at", "error")
        ]
        there = select(*values).where(
            select(desired.c.host).where(desired.c.host == bound("b_host"), desired.c.service == bound("b_service")).exists()
        )
        names = ["sink", "host", "service", "version", "told_at", "attempts", "next_due_at", "error"]
        with self._state.writing() as connection:
            connection.execute(delete(told).where(*mine), learnt)
            connection.execute(insert(told).from_select(names, there), learnt)
