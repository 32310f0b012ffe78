"""Nouns ↔ rows of the state database. What is small, nested and never searched is JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Row

from tocsin.model import Anomaly, Desired, Incident, Perf, Phase, ServiceKey, Severity, Transition, Window

_ANOMALY = tuple(field.name for field in fields(Anomaly))
_of_anomaly = attrgetter(*_ANOMALY)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One baseline file: what it was learnt from, and whether it is in force. Only `active` and `pinned` ever change."""

    component_type: str
    version: int
    path: str
    sha256: str
    trained_on: Window
    created_at: int
    facts: Mapping[str, Any]
    active: bool
    pinned: bool


def incident_row(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "component_type": incident.component_type,
        "component": incident.component,
        "signature": incident.signature,
        "phase": incident.phase.value,
        "severity": int(incident.severity),
        "since": int(incident.since),
        "opened": int(incident.opened),
        "last_bad": int(incident.last_bad),
        "recovered": None if incident.recovered is None else int(incident.recovered),
        "surprise": float(incident.surprise),
        "peak": float(incident.peak),
        "version": int(incident.version),
        "anomalies": _encode([_of_anomaly(anomaly) for anomaly in incident.anomalies]),
        "held_by": _encode(incident.held_by),
        "flapping_since": None if incident.flapping_since is None else int(incident.flapping_since),
        "folded": _encode(incident.folded) if incident.folded else "[]",
        "behind": incident.behind,
    }


def incident_of(row: Row[Any]) -> Incident:
    return Incident(
        id=row.id,
        component_type=row.component_type,
        component=row.component,
        signature=row.signature,
        phase=Phase(row.phase),
        severity=Severity(row.severity),
        since=row.since,
        opened=row.opened,
        last_bad=row.last_bad,
        recovered=row.recovered,
        surprise=row.surprise,
        peak=row.peak,
        version=row.version,
        anomalies=tuple(
            # An older program knew fewer facts of an anomaly: the newest ones are then missing at the end.
            Anomaly(**dict(zip(_ANOMALY, values, strict=False)))
            for values in json.loads(row.anomalies)
        ),
        held_by=tuple((stage, reason) for stage, reason in json.loads(row.held_by)),
        flapping_since=row.flapping_since,
        folded=tuple(json.loads(row.folded)) if row.folded != "[]" else (),
        behind=row.behind,
    )


def transition_row(transition: Transition) -> dict[str, Any]:
    return {
        "incident": transition.incident,
        "at": int(transition.at),
        "kind": transition.kind,
        "reason": transition.reason,
        "severity": int(transition.severity),
    }


def transition_of(row: Row[Any]) -> Transition:
    return Transition(incident=row.incident, at=row.at, kind=row.kind, reason=row.reason, severity=Severity(row.severity))


def desired_row(row: Desired, component_type: str) -> dict[str, Any]:
    """What a tick may say of a service: everything but delivery's own columns."""
    return {
        "host": row.service.host,
        "service": row.service.service,
        "component_type": component_type,
        "code": int(row.code),
        "text": row.text,
        "perf": _encode([(perf.label, perf.value, perf.unit) for perf in row.perf]) if row.perf else "[]",
        "changed_at": int(row.changed_at),
        "version": int(row.version),
        "valid_until": int(row.valid_until),
        "must_show": None if row.must_show is None else int(row.must_show),
        "next_due_at": float(row.next_due_at),
    }


def desired_of(row: Row[Any]) -> Desired:
    return Desired(
        service=ServiceKey(row.host, row.service),
        code=Severity(row.code),
        text=row.text,
        perf=tuple(Perf(label=label, value=value, unit=unit) for label, value, unit in json.loads(row.perf)),
        changed_at=row.changed_at,
        version=row.version,
        must_show=_severity(row.must_show),
        valid_until=row.valid_until,
        next_due_at=row.next_due_at,
        last_sent_at=row.last_sent_at,
        last_check_time=row.last_check_time,
        last_seen_code=_severity(row.last_seen_code),
        last_seen_at=row.last_seen_at,
        attempts=row.attempts,
        error=row.error,
    )


def model_of(row: Row[Any]) -> ModelVersion:
    return ModelVersion(
        component_type=row.component_type,
        version=row.version,
        path=row.path,
        sha256=row.sha256,
        trained_on=Window(row.trained_from, row.trained_to, row.span),
        created_at=row.created_at,
        facts=json.loads(row.facts),
        active=bool(row.active),
        pinned=bool(row.pinned),
    )


def _severity(code: int | None) -> Severity | None:
    return None if code is None else Severity(code)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return value.item()


_encode = json.JSONEncoder(default=_plain).encode
