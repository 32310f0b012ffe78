"""Which incident of the past looked most like this one: by the metrics that took part, and how much each did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.model import Anomaly, Incident, Phase, utc
from tocsin.records import Verdict
from tocsin.settings import spell_duration

ALIKE = 0.5
"""Less of the two has in common than this is no likeness."""


def most_alike(incident: Incident, others: Iterable[Incident]) -> tuple[Incident, float] | None:
    """The earlier incident with the most in common, of the same component rather than of another; None when there is none.

    What two incidents have in common is the part of their surprise that the same metrics caused in the same direction, 0 to 1.
    """
    mine = _shape(incident)
    best: tuple[bool, float, int, Incident] | None = None
    for other in others:
        if other.id == incident.id or other.since >= incident.since or other.phase is Phase.WITHDRAWN:
            continue
        if (other.component_type, other.signature) != (incident.component_type, incident.signature):
            continue
        theirs = _shape(other)
        common = sum(min(share, theirs.get(key, 0.0)) for key, share in mine.items())
        rank = (other.component == incident.component, common, other.since, other)
        if common >= ALIKE and (best is None or rank[:3] > best[:3]):
            best = rank
    return None if best is None else (best[3], best[1])


def _shape(incident: Incident) -> dict[tuple[str, str], float]:
    """How much of the surprise each metric caused, and on which side; sums to 1."""
    parts: dict[tuple[str, str], float] = {}
    for anomaly in incident.anomalies:
        key = anomaly.metric, side(anomaly)
        parts[key] = parts.get(key, 0.0) + max(anomaly.share, 1e-6)
    whole = sum(parts.values())
    return {key: part / whole for key, part in parts.items()}


def side(anomaly: Anomaly) -> str:
    """On which side of what was expected it was: high, low or gone."""
    if math.isnan(anomaly.value):
        return "gone"
    if math.isfinite(anomaly.expected):
        return "high" if anomaly.value > anomaly.expected else "low"
    return "high" if not anomaly.value < anomaly.lower else "low"


def document(incident: Incident, past: Iterable[Incident], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What was said of an incident, and of the one most like it, as data."""
    found = most_alike(incident, past)
    return {
        "said": [_said(one) for one in verdicts if one.incident == incident.id],
        "most_alike": None
        if found is None
        else {
            "id": found[0].id,
            "component": found[0].component,
            "since": utc(found[0].since).isoformat().replace("+00:00", "Z"),
            "lasted": max(0, (found[0].recovered or found[0].last_bad) - found[0].since),
            "in_common": round(found[1], 3),
            "said": [_said(one) for one in verdicts if one.incident == found[0].id],
        },
    }


def sentences(facts: Mapping[str, Any], at: Callable[[int], str]) -> list[str]:
    """The same for people; `at` spells a time as they do."""
    told = [f"{one['author'] or one['source']} called it {one['verdict']}{_about(one)}" for one in facts["said"]]
    like = facts["most_alike"]
    if like is not None:
        since = at(int(datetime.fromisoformat(like["since"]).timestamp()))
        begin = f"Most like it of the incidents before: {like['id'][:8]} on {like['component']}, {since}"
        told.append(f"{begin}, for {spell_duration(like['lasted'])}, {like['in_common']:.0%} in common")
        told += [f"  {one['author'] or one['source']} called that one {one['verdict']}{_about(one)}" for one in like["said"]]
    else:
        told.append("None of the incidents before is like it")
    return told


def _said(one: Verdict) -> dict[str, Any]:
    return {"verdict": one.verdict, "author": one.author, "source": one.source, "kind": one.kind, "text": one.text}


def _about(one: Mapping[str, Any]) -> str:
    return f" ({one['kind']})" + (f": {one['text']}" if one["text"] else "")
