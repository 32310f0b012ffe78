"""Incidents as JSON, for what the judge remembers between two ticks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from tocsin.model import Anomaly, Incident, Phase, Severity

_INCIDENT, _ANOMALY = ([part.name for part in fields(kind)] for kind in (Incident, Anomaly))
_of_incident, _of_anomaly = attrgetter(*_INCIDENT), attrgetter(*_ANOMALY)


@lru_cache(maxsize=16)
def listed(components: tuple[str, ...]) -> str:
    """As JSON; the same thousands of them in every tick."""
    return json.dumps(components)


def spell(incident: Incident) -> dict[str, Any]:
    """An incident as what JSON can hold."""
    parts = dict(zip(_INCIDENT, _of_incident(incident), strict=True))
    anomalies = [dict(zip(_ANOMALY, _of_anomaly(anomaly), strict=True)) for anomaly in incident.anomalies]
    return {**parts, "anomalies": anomalies, "phase": incident.phase.value, "severity": int(incident.severity)}


def read(spelled: Mapping[str, Any]) -> Incident:
    """What `spell` made this of."""
    anomalies = tuple(Anomaly(**anomaly) for anomaly in spelled["anomalies"])
    held_by = tuple((stage, reason) for stage, reason in spelled["held_by"])
    parts = {**spelled, "phase": Phase(spelled["phase"]), "severity": Severity(spelled["severity"])}
    return Incident(**{**parts, "anomalies": anomalies, "held_by": held_by, "folded": tuple(spelled.get("folded", ()))})
