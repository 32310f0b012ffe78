"""Incidents of what nobody watches any more: they end without being well again, and say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from alerting.judge import Judged, JudgeState
from tocsin.model import Phase, Severity, Transition


def retire(state: JudgeState, components: Iterable[str], at: int, reason: str) -> Judged:
    """Close the incidents of components that are not watched any more, at `at`, and forget them."""
    gone = [state.live[name] for name in sorted(set(components)) if name in state.live]
    incidents, transitions = [], []
    for live in gone:
        if live.incident.phase is Phase.OPEN:
            closed = replace(live.incident, phase=Phase.RECOVERED, recovered=at, version=live.incident.version + 1)
            incidents.append(closed)
            transitions.append(Transition(incident=closed.id, at=at, kind="retired", reason=reason, severity=Severity.OK))
    names = {live.incident.component for live in gone}
    after = replace(state, live={name: live for name, live in state.live.items() if name not in names})
    return Judged(state=after, incidents=tuple(incidents), transitions=tuple(transitions), alert=np.zeros((0, 0), np.bool_))
