"""What people decided and said, how far each type was let, and the journal of it all."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, insert, select, update

from tocsin import chain
from tocsin.chain import Link
from tocsin.errors import ConfigError, PermanentError
from tocsin.model import Phase, Severity
from tocsin.records import Acknowledged, Bar, Matcher, Promotion, Silence, Verdict
from tocsin.store.bulk import insert_rows, replace_rows
from tocsin.store.tables import bar, incident, journal, keepable, promotion, silence, snapshot, transition, verdict

_AT_ONCE = 500


def sources_of(component_type: str) -> str:
    """The name of the snapshot that says how a component type's sources do."""
    return f"sources of {component_type}"


class Engines(Protocol):
    """What gives transactions: `tocsin.store.state.State`."""

    def reading(self) -> Any: ...

    def writing(self) -> Any: ...


class Accounts:
    """The accounts of one state database. Every writing call is one transaction, its line in the journal included."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    # --- silences ------------------------------------------------------------------------------------------------

    def silences(self, *, at: float | None = None) -> Sequence[Silence]:
        """Every silence, or those in force at a time; the one that ends last first."""
        query = select(silence).order_by(silence.c.end.desc(), silence.c.id)
        if at is not None:
            query = query.where(silence.c.start <= at, silence.c.end > at)
        with self._engines.reading() as connection:
            return [_silence_of(row) for row in connection.execute(query)]

    def add_silence(self, one: Silence) -> None:
        """Keep a new silence."""
        with self._engines.writing() as connection:
            connection.execute(insert(silence).values(_silence_row(one)))
            facts = {"silence": one.id, "matches": one.matcher.words, "until": one.end, "comment": one.comment}
            _append(connection, [_act(one.created_at, "silence-added", one.author, facts)])

    def expire_silence(self, beginning: str, at: float, by: str) -> Silence:
        """End a silence now. ConfigError when none, or more than one, begins so, or when it is over already."""
        query = select(silence).where(silence.c.id.startswith(beginning, autoescape=True)).order_by(silence.c.id).limit(5)
        with self._engines.writing() as connection:
            found = [_silence_of(row) for row in connection.execute(query)]
            if not found:
                raise ConfigError(f"no silence {beginning!r}: `tocsin silence list` shows them")
            if len(found) > 1:
                raise ConfigError(f"{beginning!r} is the beginning of several silences: {', '.join(one.id for one in found)}")
            one = found[0]
            if one.end <= at:
                raise ConfigError(f"silence {one.id} is over already")
            connection.execute(update(silence).where(silence.c.id == one.id).values(end=int(at), expired_by=by))
            _append(connection, [_act(at, "silence-expired", by, {"silence": one.id, "matches": one.matcher.words})])
        return one

    # --- verdicts ------------------------------------------------------------------------------------------------

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        """Keep what was said of incidents; what was kept before under the same id is replaced. How many were new or changed."""
        rows = {one.id: _verdict_row(one) for one in verdicts}
        if not rows:
            return 0
        with self._engines.writing() as connection:
            known = {one.id: one for one in self._verdicts(connection, list(rows))}
            fresh = [row for identity, row in rows.items() if identity not in known or _verdict_row(known[identity]) != row]
            if fresh:
                replace_rows(connection, verdict, fresh)
                _append(connection, [_act(row["at"], "verdict", row["author"], row) for row in fresh])
            return len(fresh)

    def verdicts(self, *, incident_id: str | None = None, since: float | None = None) -> Sequence[Verdict]:
        """What was said, oldest first."""
        query = select(verdict).order_by(verdict.c.at, verdict.c.id)
        if incident_id is not None:
            query = query.where(verdict.c.incident == incident_id)
        if since is not None:
            query = query.where(verdict.c.at >= since)
        with self._engines.reading() as connection:
            return [_verdict_of(row) for row in connection.execute(query)]

    @staticmethod
    def _verdicts(connection: Connection, ids: Sequence[str]) -> Iterator[Verdict]:
        for place in range(0, len(ids), _AT_ONCE):
            query = select(verdict).where(verdict.c.id.in_(ids[place : place + _AT_ONCE]))
            yield from (_verdict_of(row) for row in connection.execute(query))

    def acknowledged(self) -> Mapping[str, Acknowledged]:
        """Who took on which open incident; the latest word of each."""
        query = (
            select(verdict)
            .join(incident, incident.c.id == verdict.c.incident)
            .where(incident.c.phase == Phase.OPEN.value, verdict.c.kind == "acknowledgement")
            .order_by(verdict.c.at, verdict.c.id)
        )
        with self._engines.reading() as connection:
            found = [_verdict_of(row) for row in connection.execute(query)]
        return {
            one.incident: Acknowledged(
                incident=one.incident, at=one.at, severity=one.severity, author=one.author, text=one.text, until=one.until
            )
            for one in found
        }

    # --- the ladder and the budget -------------------------------------------------------------------------------

    def promotions(self, component_type: str | None = None) -> Sequence[Promotion]:
        """How far component types and components were let."""
        query = select(promotion).order_by(promotion.c.component_type, promotion.c.component)
        if component_type is not None:
            query = query.where(promotion.c.component_type == component_type)
        with self._engines.reading() as connection:
            return [_promotion_of(row) for row in connection.execute(query)]

    def promote(self, one: Promotion) -> None:
        """Let a component type or component stand on a rung; the former word is replaced."""
        row = {
            "component_type": one.component_type,
            "component": one.component,
            "rung": one.rung,
            "written": one.written,
            "at": int(one.at),
            "by": one.by,
            "reason": one.reason,
            "forced": one.forced,
            "figures": json.dumps(dict(one.figures), default=str),
        }
        with self._engines.writing() as connection:
            replace_rows(connection, promotion, [row])
            _append(connection, [_act(one.at, "rung", one.by, {**row, "figures": dict(one.figures)})])

    def bars(self) -> Mapping[str, Bar]:
        """Where the bar of each budget stands."""
        with self._engines.reading() as connection:
            return {
                row.budget: Bar(value=row.value, at=row.at, reason=row.reason, used=row.used)
                for row in connection.execute(select(bar))
            }

    def set_bar(self, budget: str, one: Bar) -> None:
        """Move a budget's bar."""
        row = {"budget": budget, "value": one.value, "at": int(one.at), "reason": one.reason, "used": one.used}
        with self._engines.writing() as connection:
            replace_rows(connection, bar, [row])
            _append(connection, [_act(one.at, "budget-bar", "tocsin", row)])

    def opened(self, component_types: Sequence[str], since: float) -> Sequence[tuple[float, tuple[tuple[str, str], ...]]]:
        """Of each incident that opened since then: how surprising it was at its worst, and what held it back in the end."""
        query = select(incident.c.peak, incident.c.held_by).where(
            incident.c.component_type.in_(list(component_types)),
            incident.c.opened >= since,
            incident.c.phase != Phase.WITHDRAWN.value,
        )
        with self._engines.reading() as connection:
            rows = connection.execute(query).all()
        return [(row.peak, tuple((stage, why) for stage, why in json.loads(row.held_by))) for row in rows]

    # --- what was read elsewhere ---------------------------------------------------------------------------------

    def snapshot(self, name: str) -> tuple[float, Any] | None:
        """When something was read for the last time, and what. PermanentError when it is damaged."""
        with self._engines.reading() as connection:
            row = connection.execute(select(snapshot).where(snapshot.c.name == name)).first()
        if row is None:
            return None
        try:
            return row.read_at, json.loads(zlib.decompress(row.data))
        except (zlib.error, ValueError) as error:
            raise PermanentError(f"what was kept of {name} is damaged") from error

    def set_snapshot(self, name: str, read_at: float, data: Any) -> None:
        """Keep what was read, in the place of what was before."""
        row = {"name": name, "read_at": float(read_at), "data": zlib.compress(json.dumps(data).encode(), 1)}
        with self._engines.writing() as connection:
            replace_rows(connection, snapshot, [row])

    # --- the journal ---------------------------------------------------------------------------------------------

    def journal(self, after: int = 0, limit: int | None = None) -> Sequence[Link]:
        """The lines after that one, in order."""
        query = select(journal).where(journal.c.seq > after).order_by(journal.c.seq).limit(limit)
        with self._engines.reading() as connection:
            return [Link(seq=row.seq, line=row.line, digest=row.digest) for row in connection.execute(query)]

    def journal_head(self) -> Link | None:
        """The last line: its digest stands for all of them."""
        query = select(journal).order_by(journal.c.seq.desc()).limit(1)
        with self._engines.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Link(seq=row.seq, line=row.line, digest=row.digest)


def write_steps(connection: Connection, steps: Sequence[Mapping[str, Any]], incidents: Mapping[str, Mapping[str, Any]]) -> None:
    """Insert transitions that are not there yet, and a line of the journal for each of them."""
    known: set[tuple[str, int, str]] = set()
    ids = sorted({step["incident"] for step in steps})
    for place in range(0, len(ids), _AT_ONCE):
        found = select(transition.c.incident, transition.c.at, transition.c.kind).where(
            transition.c.incident.in_(ids[place : place + _AT_ONCE])
        )
        known |= {(row.incident, row.at, row.kind) for row in connection.execute(found)}
    fresh = [step for step in steps if (step["incident"], step["at"], step["kind"]) not in known]
    if not fresh:
        return
    insert_rows(connection, transition, fresh, lambda statement: statement.on_conflict_do_nothing())
    absent = [one for one in {step["incident"] for step in fresh} if one not in incidents]
    described = {**incidents, **_described(connection, absent)}
    _append(connection, [_step(step, described.get(step["incident"], {})) for step in fresh])


def _described(connection: Connection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    rows: dict[str, Mapping[str, Any]] = {}
    for place in range(0, len(ids), _AT_ONCE):
        query = select(incident).where(incident.c.id.in_(ids[place : place + _AT_ONCE]))
        rows |= {row.id: row._asdict() for row in connection.execute(query)}
    return rows


def _step(step: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    facts = {name: one.get(name) for name in ("component_type", "component", "signature", "since", "peak", "phase")}
    worst = json.loads(one.get("anomalies") or "[]")[:1]
    return chain.spell(
        {
            "what": "incident",
            **step,
            **facts,
            "severity": Severity(step["severity"]).name,
            "worst": [None if value != value else value for value in worst[0]] if worst else None,  # noqa: PLR0124  (NaN)
        }
    )


def _act(at: float, what: str, by: str, facts: Mapping[str, Any]) -> str:
    return chain.spell({**facts, "what": what, "at": int(at), "by": by})


def _append(connection: Connection, lines: Sequence[str]) -> None:
    row = connection.execute(select(journal).order_by(journal.c.seq.desc()).limit(1)).first()
    last = None if row is None else Link(seq=row.seq, line=row.line, digest=row.digest)
    # As the database keeps it: a digest of what was replaced on the way in would never fit again.
    kept = [keepable(line) for line in lines]
    links = [{"seq": one.seq, "line": one.line, "digest": one.digest} for one in chain.extend(last, kept)]
    insert_rows(connection, journal, links, lambda statement: statement.on_conflict_do_nothing())


# --- rows -----------------------------------------------------------------------------------------------------------


def _silence_row(one: Silence) -> dict[str, Any]:
    matcher = one.matcher
    spelled = {"component_type": matcher.component_type, "component": matcher.component, "metric": matcher.metric}
    severity = None if matcher.severity is None else int(matcher.severity)
    return {
        "id": one.id,
        "matcher": json.dumps({**spelled, "severity": severity}),
        "start": int(one.start),
        "end": int(one.end),
        "author": one.author,
        "comment": one.comment,
        "created_at": int(one.created_at),
        "expired_by": one.expired_by,
    }


def _silence_of(row: Any) -> Silence:
    spelled = json.loads(row.matcher)
    severity = None if spelled["severity"] is None else Severity(spelled["severity"])
    return Silence(
        id=row.id,
        matcher=Matcher(**{**spelled, "severity": severity}),
        start=row.start,
        end=row.end,
        author=row.author,
        comment=row.comment,
        created_at=row.created_at,
        expired_by=row.expired_by,
    )


def _verdict_row(one: Verdict) -> dict[str, Any]:
    return {
        "id": one.id,
        "incident": one.incident,
        "component_type": one.component_type,
        "component": one.component,
        "verdict": one.verdict,
        "source": one.source,
        "kind": one.kind,
        "at": int(one.at),
        "author": one.author,
        "text": one.text,
        "until": None if one.until is None else int(one.until),
        "severity": int(one.severity),
        "detectors": json.dumps(list(one.detectors)),
        "model_version": one.model_version,
    }


def _verdict_of(row: Any) -> Verdict:
    facts = row._asdict()
    return Verdict(**{**facts, "severity": Severity(row.severity), "detectors": tuple(json.loads(row.detectors))})


def _promotion_of(row: Any) -> Promotion:
    return Promotion(**{**row._asdict(), "forced": bool(row.forced), "figures": json.loads(row.figures)})
