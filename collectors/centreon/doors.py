"""What both ways into Centreon can do, and the one through its database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from collectors.centreon.settings import CentreonSettings
from collectors.manners import Manners
from tocsin.centreon.database import Database
from tocsin.centreon.storage import (
    IDS,
    Poller,
    Samples,
    StoredMetric,
    days,
    first_time,
    inventory,
    last_time,
    pollers,
    samples,
    stored,
    walks,
)
from tocsin.centreon.tags import Marks, marks
from tocsin.errors import PermanentError

T = TypeVar("T")

MOST_SAMPLES = 1_000_000
"""Expected samples of one statement: some 25 MB of text, a second of the server's time."""
STATE = "check.state"
"""What the state of a service is called among its metrics."""
SCOUTS = 2_000
"""Metrics that stand for all when it is looked for how far the samples reach back."""


class Door(Protocol):
    """A way into Centreon. All may raise `TransientError` and `PermanentError`."""

    @property
    def place(self) -> str: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def metrics(self, wanted: Callable[[StoredMetric], bool]) -> list[StoredMetric]:
        """The metrics that are wanted and fit the settings' groups and severities, lowest id first, at most `max_series`."""
        ...

    def portions(self, metrics: Sequence[StoredMetric], seconds: int) -> Iterator[slice]:
        """How to ask for so many seconds of these metrics: parts that fit in one question each."""
        ...

    def samples(self, metrics: Sequence[StoredMetric], start: int, end: int) -> Samples:
        """What these metrics, one portion, were in [start, end)."""
        ...

    def pollers(self) -> Mapping[int, Poller]:
        """How the engines do."""
        ...

    def reach(self, metrics: Sequence[StoredMetric]) -> tuple[int, int] | None:
        """First and last sample of these."""
        ...

    def version(self) -> str:
        """What answers there."""
        ...

    def rights(self) -> tuple[Sequence[str], Sequence[str]]:
        """What the account may do, and what a person should know about it."""
        ...

    def clock(self) -> float | None:
        """What time it is there, epoch seconds; None where nobody tells."""
        ...

    def usage(self) -> tuple[int, int, int]:
        """Questions, rows and bytes so far."""
        ...

    def close(self) -> None: ...


class DatabaseDoor:
    """Everything in a few statements."""

    def __init__(self, settings: CentreonSettings, manners: Manners) -> None:
        assert settings.database is not None
        self._settings, self._manners = settings, manners
        self._database = Database(settings.database)
        self.place, self.warnings = self._database.place, settings.database.warnings
        self._first: int | None = None
        self._stored = 0

    def metrics(self, wanted: Callable[[StoredMetric], bool]) -> list[StoredMetric]:
        own = self._settings
        allowed = self._ask(lambda: marks(self._database, own_marks(own))) if own_marks(own).any else None
        most = own.limits.max_series

        def read() -> list[StoredMetric]:
            # A little more than what may be kept is read before what is wanted is known; what follows is cut by number of rows.
            found = inventory(self._database, own.hosts.include, own.limits.max_rows)
            every = with_states(found) if own.states else found
            return [one for one in every if wanted(one) and (allowed is None or allowed.fits(one.host_id, one.service_id))]

        several = sorted(self._ask(read), key=lambda one: one.id)
        self._stored = self._ask(lambda: stored(self._database))
        if len(several) > most:
            self._manners.partial(f"{self.place}: {len(several)} metrics fit, only the first {most} are read (limits.max_series)")
        return several[:most]

    def portions(self, metrics: Sequence[StoredMetric], seconds: int) -> Iterator[slice]:
        start, expected = 0, 0.0
        for place, metric in enumerate(metrics):
            more = seconds / metric.interval + 1
            if place > start and (place - start >= IDS or expected + more > MOST_SAMPLES):
                yield slice(start, place)
                start, expected = place, 0.0
            expected += more
        if start < len(metrics):
            yield slice(start, len(metrics))

    def samples(self, metrics: Sequence[StoredMetric], start: int, end: int) -> Samples:
        values = self._read([metric.id for metric in metrics if metric.id > 0], start, end, states=False)
        if metrics[0].id > 0:
            return values
        states = self._read([-metric.id for metric in metrics if metric.id < 0], start, end, states=True)
        return Samples(
            np.concatenate([-states.ids, values.ids]),
            np.concatenate([states.times, values.times]),
            np.concatenate([states.values, values.values]),
        )

    def _read(self, ids: Sequence[int], start: int, end: int, *, states: bool) -> Samples:
        walk = walks(len(ids), self._stored)
        found = self._ask(lambda: samples(self._database, ids, start, end, walk=walk, states=states))
        self._manners.got(size=16 * len(found.ids), rows=len(found.ids))
        return found

    def pollers(self) -> Mapping[int, Poller]:
        return self._ask(lambda: pollers(self._database))

    def reach(self, metrics: Sequence[StoredMetric]) -> tuple[int, int] | None:
        ids = sorted({abs(metric.id) for metric in metrics})
        # The oldest metrics have the lowest ids: they tell how far back it goes, together with some of all ages.
        scouts = ids if len(ids) <= SCOUTS else sorted({*ids[: SCOUTS // 2], *ids[:: -(-len(ids) // (SCOUTS // 2))]})
        parts = self._ask(lambda: days(self._database))
        last = self._walk(last_time, scouts, list(reversed(parts)))
        if last is None:
            return None
        known = self._first
        first = self._walk(first_time, scouts, [part for part in parts if known is None or part[1] > known])
        self._first = first
        return (last if first is None else first), last

    def _walk(
        self,
        edge: Callable[[Database, Sequence[int], int, int], int | None],
        ids: Sequence[int],
        parts: Sequence[tuple[int, int]],
    ) -> int | None:
        """The first answer on the way through the days; a day without rows of these metrics costs next to nothing."""
        if not ids:
            return None

        def look() -> int | None:
            answers = (edge(self._database, ids, start, end) for start, end in parts)
            return next((time for time in answers if time is not None), None)

        return self._ask(look)

    def version(self) -> str:
        ((own,),) = self._ask(lambda: list(self._database.rows("version", "SELECT VERSION()")))
        return f"{own} ({self.place})"

    def rights(self) -> tuple[Sequence[str], Sequence[str]]:
        """`SHOW GRANTS`, shortened; more than reading is a warning."""
        grants = [
            str(row[0]).partition(" IDENTIFIED ")[0]
            for row in self._ask(lambda: list(self._database.rows("rights", "SHOW GRANTS")))
        ]
        much = [grant for grant in grants if not grant.startswith(("GRANT SELECT ON ", "GRANT USAGE ON ", "GRANT SELECT ("))]
        return grants, [f"the account may do more than read ({grant}); SELECT is enough" for grant in much]

    def clock(self) -> float | None:
        ((there,),) = self._ask(lambda: list(self._database.rows("clock", "SELECT UNIX_TIMESTAMP()")))
        return float(there)

    def usage(self) -> tuple[int, int, int]:
        return self._database.statements, self._database.rows_read, self._database.bytes_read

    def close(self) -> None:
        self._database.close()

    def _ask(self, work: Callable[[], T]) -> T:
        try:
            return self._manners.call(lambda _: work())
        except PermanentError:
            self._database.close()  # whoever mends the password or the rights is believed at the next question
            raise


def with_states(metrics: Iterable[StoredMetric]) -> Iterator[StoredMetric]:
    """The state of each service beside its metrics, written down with the first of them; its id is that one's, negative."""
    seen: set[tuple[int, int]] = set()
    for one in metrics:
        if (one.host_id, one.service_id) not in seen:
            seen.add((one.host_id, one.service_id))
            yield replace(one, id=-one.id, name=STATE, unit="", counter=False, warning="", critical="")
        yield one


def own_marks(settings: CentreonSettings) -> Marks:
    """What the settings ask of groups, categories and severities."""
    return Marks(
        host_groups=settings.host_groups,
        service_groups=settings.service_groups,
        host_categories=settings.host_categories,
        service_categories=settings.service_categories,
        host_severity=settings.host_severity,
        service_severity=settings.service_severity,
    )
