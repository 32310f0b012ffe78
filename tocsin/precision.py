"""How often alerts were worth it, as people said: per component type, detector and model version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tocsin.model import Incident
from tocsin.proof import counts, latest
from tocsin.records import Verdict


def precision(incidents: Iterable[Incident], verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """A row per component type, detector and model version that anything was said of.

    Precision is useful / (useful + noise); None where nobody said either. `alerts` counts all that people could have seen,
    for component types only: of the others it is the number of those something was said of.
    """
    said = latest(verdicts)
    alerts: dict[str, int] = {}
    for one in incidents:
        if counts(one):
            alerts[one.component_type] = alerts.get(one.component_type, 0) + 1
    tallies: dict[tuple[str, str], dict[str, int]] = {}
    for verdict in said.values():
        names = [("component type", verdict.component_type)]
        names += [("detector", f"{verdict.component_type} {name}") for name in verdict.detectors]
        if verdict.model_version is not None:
            names.append(("model version", f"{verdict.component_type} {verdict.model_version}"))
        for place in names:
            tally = tallies.setdefault(place, {"useful": 0, "noise": 0, "known": 0})
            tally[verdict.verdict] = tally.get(verdict.verdict, 0) + 1
    rows = []
    for (by, name), tally in sorted(tallies.items()):
        judged = tally["useful"] + tally["noise"]
        said_of = sum(tally.values())
        rows.append(
            {
                "by": by,
                "name": name,
                "alerts": max(alerts.get(name, 0), said_of) if by == "component type" else said_of,
                **tally,
                "precision": tally["useful"] / judged if judged else None,
            }
        )
    return rows
