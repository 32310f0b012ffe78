"""The state of a running Tocsin: what was judged, what is wrong, what must be shown, which baselines are in force.

One tick is one transaction. What was committed survives a crash and a power cut; what was not never happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Update, case, delete, func, insert, or_, select, update
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tocsin import failpoints
from tocsin.errors import ConfigError, PermanentError
from tocsin.model import Desired, Incident, Phase, ServiceKey, Transition, Window
from tocsin.store import arrays, database, repair, rows
from tocsin.store.accounts import Accounts
from tocsin.store.bulk import insert_rows, update_rows
from tocsin.store.rows import ModelVersion
from tocsin.store.tables import desired, incident, judge_state, model, run, transition, watermark
from tocsin.store.tick import Tick

__all__ = ["ModelVersion", "State", "Tick"]

_WORST_FIRST = {2: 0, 1: 1, 3: 2, 0: 3}
_AT_ONCE = 500
"""Services named in one query; SQLite takes no more than a few thousand parameters everywhere."""
_DELIVERYS = ("last_sent_at", "last_check_time", "last_seen_code", "last_seen_at", "attempts", "error")


class State:
    """The state database. Safe to use from several threads and processes; `open` makes one."""

    def __init__(self, url: URL) -> None:
        self.name = database.shown(url)
        self.path = Path(str(url.database)) if url.drivername.startswith("sqlite") else None
        self.problems: list[str] = []
        self.accounts = Accounts(self)
        self._read, self._write = database.connect(url)

    @classmethod
    def open(cls, where: str | Path, *, owner: bool = False) -> State:
        """Open or make the database at a path or an SQLAlchemy URL, with its tables brought up to date.

        `owner` says that the caller holds the state directory's lock. Only then is an SQLite file checked: a damaged or
        lost one is replaced by the last good copy, and `problems` says so in sentences that somebody must see. Runs that
        were cut off by a crash can be claimed again. Raises ConfigError when it cannot be opened.
        """
        state = cls(database.url_of(where))
        try:
            state._prepare(owner)
        except BaseException:
            state.close()
            raise
        return state

    def _prepare(self, owner: bool) -> None:
        if self.path is not None:
            if owner:
                self.problems += repair.make_sound(self.path)
            database.make_file(self.path)
        try:
            database.migrate(self._write, self.name)
            if owner:
                with self._write.begin() as connection:
                    connection.execute(delete(run).where(run.c.finished_at.is_(None)))
        except (DBAPIError, OSError) as error:
            reason = database.one_line(error.orig if isinstance(error, DBAPIError) else error)
            raise ConfigError(f"state database {self.name} cannot be used: {reason}") from error

    def close(self) -> None:
        self._read.dispose()

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment."""
        with database.translated(self.name), self._read.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed on leaving, or not at all when it raises; one at a time."""
        with database.translated(self.name), self._write.begin() as connection:
            yield connection

    # --- ticks ---------------------------------------------------------------------------------------------------

    @contextmanager
    def tick(self, component_type: str) -> Iterator[Tick]:
        """Everything one tick writes, committed as one transaction on leaving, or not at all when it raises.

        Nothing is locked while the tick works: what it puts is collected and written at the end.
        """
        tick = Tick(component_type, self)
        yield tick
        with self.writing() as connection:
            tick.write(connection)
            failpoints.reached("before_tick_commit")
        failpoints.reached("after_tick_commit")

    def watermarks(self, component_type: str | None = None) -> Mapping[tuple[str, str], int]:
        """(component type, source) → everything before this time (epoch seconds) was judged."""
        query = select(watermark)
        if component_type is not None:
            query = query.where(watermark.c.component_type == component_type)
        with self.reading() as connection:
            return {(row.component_type, row.source): row.pos for row in connection.execute(query)}

    def judge_state(self, component_type: str) -> Mapping[str, NDArray[Any]] | None:
        """What the judge kept at the last tick, None before the first. PermanentError when it is damaged."""
        query = select(judge_state.c.data).where(judge_state.c.component_type == component_type)
        with self.reading() as connection:
            data = connection.execute(query).scalar()
        if data is None:
            return None
        try:
            return arrays.unsqueeze(data)
        except PermanentError as error:
            raise PermanentError(f"state database {self.name}: judge state of {component_type} is damaged") from error

    # --- incidents -----------------------------------------------------------------------------------------------

    def incidents(
        self,
        *,
        open_only: bool = False,
        component_type: str | None = None,
        component: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> Sequence[Incident]:
        """Incidents that meet every condition given, newest first; `since` leaves out those that ended before it."""
        query = select(incident).order_by(incident.c.since.desc(), incident.c.id).limit(limit)
        if open_only:
            query = query.where(incident.c.phase == Phase.OPEN.value)
        if component_type is not None:
            query = query.where(incident.c.component_type == component_type)
        if component is not None:
            query = query.where(incident.c.component == component)
        if since is not None:
            query = query.where(or_(incident.c.recovered.is_(None), incident.c.recovered >= since))
        with self.reading() as connection:
            return [rows.incident_of(row) for row in connection.execute(query)]

    def incident(self, beginning: str) -> tuple[Incident, Sequence[Transition]]:
        """The incident whose id begins so, and its steps in order. ConfigError when there is none, or more than one."""
        query = select(incident).where(incident.c.id.startswith(beginning, autoescape=True)).order_by(incident.c.id).limit(6)
        with self.reading() as connection:
            found = connection.execute(query).all()
            if not found:
                raise ConfigError(f"no incident {beginning!r}: `tocsin incidents` lists them")
            if len(found) > 1 and found[0].id != beginning:
                some = ", ".join(row.id for row in found[:5]) + (", …" if len(found) > 5 else "")
                raise ConfigError(f"{beginning!r} is the beginning of several incidents: {some}")
            steps = select(transition).where(transition.c.incident == found[0].id).order_by(transition.c.at, transition.c.seq)
            return rows.incident_of(found[0]), [rows.transition_of(row) for row in connection.execute(steps)]

    def forget_incidents(self, before: float) -> int:
        """Remove incidents that recovered before this time, with their transitions; how many."""
        with self.writing() as connection:
            return connection.execute(delete(incident).where(incident.c.recovered < before)).rowcount

    # --- desired state (port DesiredStore) -----------------------------------------------------------------------

    def due(self, now: float, limit: int) -> Sequence[Desired]:
        """See port DesiredStore. "Worst" is CRITICAL, then WARNING, UNKNOWN, OK, of `code` and `must_show`."""
        unseen = or_(
            desired.c.last_seen_at.is_(None),
            desired.c.last_seen_at < desired.c.changed_at,
            desired.c.last_seen_code != desired.c.code,
        )
        worst = case(_WORST_FIRST, value=func.coalesce(desired.c.must_show, desired.c.code), else_=3)
        query = (
            select(desired)
            .where(desired.c.next_due_at <= now, desired.c.valid_until > now)
            .order_by(case((unseen, 0), else_=1), worst, desired.c.next_due_at, desired.c.host, desired.c.service)
            .limit(limit)
        )
        with self.reading() as connection:
            return [rows.desired_of(row) for row in connection.execute(query)]

    def all_desired(self, component_type: str | None = None) -> Sequence[Desired]:
        """Every row, or those a component type put there."""
        query = select(desired).order_by(desired.c.host, desired.c.service)
        if component_type is not None:
            query = query.where(desired.c.component_type == component_type)
        with self.reading() as connection:
            return [rows.desired_of(row) for row in connection.execute(query)]

    def desired_rows(self, services: Sequence[ServiceKey]) -> Sequence[Desired]:
        """The rows of these services; those that have none yet are left out."""
        found = []
        with self.reading() as connection:
            for place in range(0, len(services), _AT_ONCE):
                wanted = set(services[place : place + _AT_ONCE])
                # By host first: SQLite reads the whole table to find pairs.
                query = select(desired).where(
                    desired.c.host.in_(sorted({service.host for service in wanted})),
                    desired.c.service.in_(sorted({service.service for service in wanted})),
                )
                found += [
                    rows.desired_of(row) for row in connection.execute(query) if ServiceKey(row.host, row.service) in wanted
                ]
        return found

    def record(self, before: Sequence[Desired], after: Sequence[Desired]) -> None:
        """See port DesiredStore. Rows that are gone meanwhile stay gone."""
        if not after:
            return
        learnt = [
            {
                "host": old.service.host,
                "service": old.service.service,
                "version": old.version,
                "next_due_at": new.next_due_at,
                "must_show": None if new.must_show is None else int(new.must_show),
                "last_seen_code": None if new.last_seen_code is None else int(new.last_seen_code),
                **{name: getattr(new, name) for name in _DELIVERYS if name != "last_seen_code"},
            }
            for old, new in zip(before, after, strict=True)
        ]

        def statement(new: Mapping[str, ColumnElement[Any]]) -> Update:
            same = desired.c.version == new["version"]
            shared = {name: case((same, new[name]), else_=desired.c[name]) for name in ("next_due_at", "must_show")}
            place = desired.c.host == new["host"], desired.c.service == new["service"]
            return update(desired).where(*place).values({name: new[name] for name in _DELIVERYS} | shared)

        with self.writing() as connection:
            update_rows(connection, desired, learnt, statement)
            failpoints.reached("before_record")
        failpoints.reached("after_record")

    def desired_component_types(self) -> Sequence[str]:
        """The component types that have put rows there."""
        with self.reading() as connection:
            return list(
                connection.execute(select(desired.c.component_type).distinct().order_by(desired.c.component_type)).scalars()
            )

    def forget_desired(self, services: Iterable[ServiceKey]) -> int:
        """Take services out of the desired state: their component type or component is gone. How many there were."""
        statement = delete(desired).where(desired.c.host == bound("b_host"), desired.c.service == bound("b_service"))
        with self.writing() as connection:
            return sum(
                connection.execute(statement, {"b_host": service.host, "b_service": service.service}).rowcount
                for service in services
            )

    # --- model versions ------------------------------------------------------------------------------------------

    def add_model(
        self,
        component_type: str,
        *,
        path: str,
        sha256: str,
        trained_on: Window,
        created_at: float,
        facts: Mapping[str, Any],
        unpin: bool = False,
    ) -> ModelVersion:
        """Keep a new version; its number is one more than any before. It is put in force unless an older one is pinned.

        A rollback pins the version it went back to, so that the next scheduled training does not silently undo what a
        person decided. `unpin` (a training that a person asked for) ends that.
        """
        with self.writing() as connection:
            mine = model.c.component_type == component_type
            version = (connection.execute(select(func.max(model.c.version)).where(mine)).scalar() or 0) + 1
            if unpin:
                connection.execute(update(model).where(mine).values(pinned=False))
            active = connection.execute(select(model.c.version).where(mine, model.c.pinned)).first() is None
            if active:
                connection.execute(update(model).where(mine).values(active=False))
            connection.execute(
                insert(model).values(
                    component_type=component_type,
                    version=version,
                    path=path,
                    sha256=sha256,
                    trained_from=trained_on.start,
                    trained_to=trained_on.end,
                    span=trained_on.span,
                    created_at=int(created_at),
                    facts=json.dumps(facts),
                    active=active,
                    pinned=False,
                )
            )
            failpoints.reached("before_model_activate")
        return self._model(component_type, version)

    def models(self, component_type: str | None = None) -> Sequence[ModelVersion]:
        """Every version kept, newest first within its component type."""
        query = select(model).order_by(model.c.component_type, model.c.version.desc())
        if component_type is not None:
            query = query.where(model.c.component_type == component_type)
        with self.reading() as connection:
            return [rows.model_of(row) for row in connection.execute(query)]

    def active_model(self, component_type: str) -> ModelVersion | None:
        """The version in force."""
        query = select(model).where(model.c.component_type == component_type, model.c.active)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else rows.model_of(row)

    def activate_model(self, component_type: str, version: int, *, pinned: bool = True) -> ModelVersion:
        """Put this version in force and keep it there (`pinned`). ConfigError when there is no such version."""
        with self.writing() as connection:
            mine = model.c.component_type == component_type
            known = list(connection.execute(select(model.c.version).where(mine).order_by(model.c.version)).scalars())
            if version not in known:
                kept = ", ".join(map(str, known)) or "none yet"
                raise ConfigError(f"component type {component_type}: no model version {version} (kept: {kept})")
            connection.execute(update(model).where(mine).values(active=False, pinned=False))
            connection.execute(update(model).where(mine, model.c.version == version).values(active=True, pinned=pinned))
            failpoints.reached("before_model_activate")
        return self._model(component_type, version)

    def prune_models(self, component_type: str, keep: int) -> Sequence[str]:
        """Forget all but the newest `keep` versions and the one in force; the paths of files nobody refers to any more."""
        with self.writing() as connection:
            mine = model.c.component_type == component_type
            query = select(model.c.version, model.c.path, model.c.active).where(mine).order_by(model.c.version.desc())
            gone = [row for row in connection.execute(query).all()[max(keep, 0) :] if not row.active]
            if not gone:
                return []
            connection.execute(delete(model).where(mine, model.c.version.in_([row.version for row in gone])))
            left = set(connection.execute(select(model.c.path)).scalars())
            return sorted({row.path for row in gone} - left)

    def _model(self, component_type: str, version: int) -> ModelVersion:
        query = select(model).where(model.c.component_type == component_type, model.c.version == version)
        with self.reading() as connection:
            return rows.model_of(connection.execute(query).one())

    # --- scheduled jobs ------------------------------------------------------------------------------------------

    def claim_run(self, job: str, period: str, now: float) -> bool:
        """True for whoever may do the job of this period: once, however often and from wherever it is asked."""
        with self.writing() as connection:
            claim = {"job": job, "period": period, "claimed_at": int(now)}
            return insert_rows(connection, run, [claim], lambda statement: statement.on_conflict_do_nothing()) == 1

    def finish_run(self, job: str, period: str, now: float, outcome: str = "done") -> None:
        """The job of this period is over; `outcome` is for people."""
        statement = update(run).where(run.c.job == job, run.c.period == period).values(finished_at=int(now), outcome=outcome)
        with self.writing() as connection:
            connection.execute(statement)

    def forget_runs(self, before: float) -> int:
        """Remove runs that finished before this time; how many."""
        with self.writing() as connection:
            return connection.execute(delete(run).where(run.c.finished_at < before)).rowcount

    # --- copies --------------------------------------------------------------------------------------------------

    def backup(self, now: float, keep: int = 24) -> Path | None:
        """A checked copy beside the database, and only the newest `keep` of them. None on PostgreSQL, whose keeper does that."""
        if self.path is None:
            return None
        with database.translated(self.name):
            return repair.copy(self.path, now, keep)
