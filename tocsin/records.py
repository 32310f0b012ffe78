"""What people decide and say about incidents, and what a component type is allowed to show: written down, kept, accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tocsin.model import Incident, Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class Matcher:
    """Which incidents are meant: patterns with `*` and `?`; an empty one is any. `severity` means that one and lesser ones."""

    component_type: str = ""
    component: str = ""
    metric: str = ""
    severity: Severity | None = None

    def matches(self, incident: Incident) -> bool:
        """Whether an incident is meant. By metric it is only when every metric that takes part is: another one is news."""
        if not (_fits(incident.component_type, self.component_type) and _fits(incident.component, self.component)):
            return False
        if self.severity is not None and incident.severity > self.severity:
            return False
        if not self.metric:
            return True
        return bool(incident.anomalies) and all(_fits(anomaly.metric, self.metric) for anomaly in incident.anomalies)

    @property
    def words(self) -> str:
        """`type web, component web-*, up to WARNING`; "everything" for a matcher without any pattern."""
        named = (("type", self.component_type), ("component", self.component), ("metric", self.metric))
        parts = [f"{name} {pattern}" for name, pattern in named if pattern]
        if self.severity is not None:
            parts.append(f"up to {self.severity.name}")
        return ", ".join(parts) or "everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """Somebody's decision not to see some incidents for a while, `[start, end)`. `expired_by` ended it early."""

    id: str
    matcher: Matcher
    start: int
    end: int
    author: str
    comment: str
    created_at: int
    expired_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """Somebody took an incident on while it was this severe."""

    incident: str
    at: int
    severity: Severity
    author: str
    text: str = ""
    until: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What somebody said or did about an incident, and where that is known from.

    `verdict` is useful, noise or known; `source` is `cli` or the supervising system's name, `kind` what was done there:
    feedback, acknowledgement, downtime, comment, close. `detectors` and `model_version` tell who found the incident.
    """

    id: str
    incident: str
    component_type: str
    component: str
    verdict: str
    source: str
    kind: str
    at: int
    author: str = ""
    text: str = ""
    until: int | None = None
    severity: Severity = Severity.OK
    detectors: tuple[str, ...] = ()
    model_version: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """How far a component type (`component` empty) or one component was let, by whom and on what proof.

    `written` is what the YAML said then: when a person writes something else there, that is the later word.
    """

    component_type: str
    component: str = ""
    rung: str
    written: str
    at: int
    by: str
    reason: str
    forced: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """The surprise an incident must have reached to be shown within a budget, and why it stands there."""

    value: float
    at: int
    reason: str
    used: int = 0


def _fits(text: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(text, pattern)
