"""What one tick reads, and what it writes in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray
from sqlalchemy import Connection, Insert, case

from tocsin.model import Desired, Incident, ServiceKey, Transition
from tocsin.store import arrays, rows
from tocsin.store.accounts import write_steps
from tocsin.store.bulk import insert_rows, replace_rows
from tocsin.store.tables import desired, incident, judge_state, watermark


class Committed(Protocol):
    """What a tick may read: `tocsin.store.state.State`."""

    def watermarks(self, component_type: str | None = None) -> Mapping[tuple[str, str], int]: ...

    def judge_state(self, component_type: str) -> Mapping[str, NDArray[Any]] | None: ...


class Tick:
    """What one tick reads and writes. Reads see what was committed before it; writes are made when it is left."""

    def __init__(self, component_type: str, committed: Committed) -> None:
        self.component_type = component_type
        self._committed = committed
        self._watermarks: dict[str, int] = {}
        self._judge_state: bytes | None = None
        self._incidents: dict[str, dict[str, Any]] = {}
        self._transitions: dict[tuple[str, int, str], dict[str, Any]] = {}
        self._desired: dict[ServiceKey, dict[str, Any]] = {}

    def watermark(self, source: str) -> int | None:
        """Everything of this source before this time (epoch seconds) was judged; None before the first tick."""
        return self._committed.watermarks(self.component_type).get((self.component_type, source))

    def set_watermark(self, source: str, pos: int) -> None:
        self._watermarks[source] = int(pos)

    def judge_state(self) -> Mapping[str, NDArray[Any]] | None:
        """See `State.judge_state`."""
        return self._committed.judge_state(self.component_type)

    def set_judge_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The arrays are taken as they are now. ValueError for an array of objects."""
        self._judge_state = arrays.squeeze(state)

    def put_incidents(self, incidents: Iterable[Incident]) -> None:
        """New incidents and new versions of known ones; the last one put wins."""
        self._incidents |= {one.id: rows.incident_row(one) for one in incidents}

    def put_transitions(self, transitions: Iterable[Transition]) -> None:
        """Steps in the life of incidents that were put before. The same step put again changes nothing."""
        for one in transitions:
            self._transitions.setdefault((one.incident, one.at, one.kind), rows.transition_row(one))

    def want(self, desired_rows: Iterable[Desired]) -> None:
        """What services must show. Delivery's own columns are left alone.

        `must_show` and `next_due_at` are written with a new `version` only: while the version is the stored one they
        belong to delivery, which may have changed them since the tick read them.
        """
        self._desired |= {row.service: rows.desired_row(row, self.component_type) for row in desired_rows}

    def write(self, connection: Connection) -> None:
        """Called once, by the state, inside the tick's transaction."""
        mine = {"component_type": self.component_type}
        if self._watermarks:
            positions = [{**mine, "source": source, "pos": pos} for source, pos in self._watermarks.items()]
            replace_rows(connection, watermark, positions)
        if self._judge_state is not None:
            replace_rows(connection, judge_state, [{**mine, "data": self._judge_state}])
        if self._incidents:
            replace_rows(connection, incident, list(self._incidents.values()))
        if self._transitions:
            write_steps(connection, list(self._transitions.values()), self._incidents)
        if self._desired:
            insert_rows(connection, desired, list(self._desired.values()), _upsert_desired)


def _upsert_desired(statement: Any) -> Insert:
    new, same = statement.excluded, desired.c.version == statement.excluded.version
    always = ("component_type", "code", "text", "perf", "changed_at", "version", "valid_until")
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=["host", "service"],
        set_={name: new[name] for name in always}
        | {name: case((same, desired.c[name]), else_=new[name]) for name in ("must_show", "next_due_at")},
    )
    return upsert
