"""What somebody asked not to see for a while, and what somebody is already working on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerting.desired import worse
from alerting.stages import ACKNOWLEDGED, hold
from tocsin.model import Incident
from tocsin.records import Acknowledged, Silence

SILENCE = "silence"


@dataclass(frozen=True)
class Silenced:
    """Holds back what a silence in force means. `silences` is asked at every call: one that ended holds nothing."""

    silences: Callable[[], Sequence[Silence]]

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        at = now.timestamp()
        asked = sorted((one for one in self.silences() if one.start <= at < one.end), key=lambda one: (-one.end, one.id))
        return [hold(one, SILENCE, why) if (why := _why(one, asked)) else one for one in incidents]


def _why(incident: Incident, silences: Sequence[Silence]) -> str:
    one = next((silence for silence in silences if silence.matcher.matches(incident)), None)
    return "" if one is None else f"{one.id[:8]} by {one.author}: {one.comment}"


@dataclass(frozen=True)
class Respected:
    """An acknowledged incident keeps the severity it was acknowledged at, until it is worse than that.

    Nothing of it is hidden: a service that changed its state would lose the acknowledgement in Centreon.
    """

    acknowledged: Callable[[], Mapping[str, Acknowledged]]

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        taken = self.acknowledged()
        return [_respect(one, taken.get(one.id), now.timestamp()) for one in incidents]


def _respect(incident: Incident, by: Acknowledged | None, at: float) -> Incident:
    if by is None or at < by.at or (by.until is not None and at >= by.until) or worse(incident.severity, by.severity):
        return incident
    about = f": {by.text}" if by.text else ""
    return hold(replace(incident, severity=by.severity), ACKNOWLEDGED, f"at {by.severity.name} by {by.author}{about}")
