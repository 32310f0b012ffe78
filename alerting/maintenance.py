"""Planned work: while it lasts, what goes wrong is recorded and not shown. Calendars and downtimes tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from alerting.stages import hold
from tocsin.model import Downtime, Incident, Severity
from tocsin.recurrence import Recurring, Span
from tocsin.timegrid import Calendar

MAINTENANCE, QUIET = "maintenance", "quiet hours"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Work on some components (patterns): at times that come back, or once."""

    name: str
    components: tuple[str, ...] = ()
    recurring: Recurring | None = None
    once: Span | None = None

    def concerns(self, component: str) -> bool:
        """Whether this component is worked on."""
        return not self.components or any(fnmatchcase(component, pattern) for pattern in self.components)

    def at_instant(self, component: str, instant: float) -> Span | None:
        """The work this component is under at that moment."""
        if not self.concerns(component):
            return None
        if self.once is not None:
            return self.once if self.once.start <= instant < self.once.end else None
        return None if self.recurring is None else self.recurring.at_instant(instant)

    def spans(self, start: float, end: float) -> Sequence[Span]:
        """The times that overlap `[start, end)`."""
        if self.once is not None:
            return [self.once] if self.once.start < end and self.once.end > start else []
        return [] if self.recurring is None else self.recurring.spans(start, end)


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """Holds back incidents of components that are being worked on, or whose parent is.

    `downtimes` gives those of a host, and of a service on it, as far as they count at that time; `place_of` and `above` tell
    where a component stands.
    """

    planned: Sequence[Planned]
    calendar: Calendar
    downtimes: Callable[[str, str, float], Sequence[Downtime]] = lambda _host, _service, _at: ()
    place_of: Callable[[Incident], tuple[str, str]] = lambda incident: (incident.component, "")
    above: Callable[[Incident], Sequence[str]] = lambda _incident: ()

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        return [hold(one, MAINTENANCE, why) if (why := self.why(one, now.timestamp())) else one for one in incidents]

    def why(self, incident: Incident, instant: float) -> str:
        """The work this incident falls into, in words that do not change while it lasts; empty when there is none."""
        for work in self.planned:
            span = work.at_instant(incident.component, instant)
            if span is not None:
                return f"{work.name} until {self._when(span.end)}"
        host, service = self.place_of(incident)
        for name in (host, *self.above(incident)):
            for downtime in self.downtimes(name, service if name == host else "", instant):
                if downtime.start <= instant < downtime.end:
                    about = f" ({downtime.comment})" if downtime.comment else ""
                    whose = f"downtime of {name}" if name != host or not downtime.service else f"downtime of {service}"
                    return f"{whose} until {self._when(downtime.end)}, by {downtime.author or 'somebody'}{about}"
        return ""

    def _when(self, instant: int) -> str:
        return f"{self.calendar.local(instant):%Y-%m-%d %H:%M}"


@dataclass(frozen=True, kw_only=True)
class QuietHours:
    """Holds back what is not worse than `up_to` while people sleep. What was shown before stays shown."""

    hours: Sequence[Recurring]
    up_to: Severity = Severity.WARNING
    shown: Callable[[], frozenset[str]] = frozenset

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        instant = now.timestamp()
        span = max((one for hours in self.hours if (one := hours.at_instant(instant))), key=lambda one: one.end, default=None)
        if span is None:
            return incidents
        zone, shown = self.hours[0].timezone, self.shown()
        why = f"up to {self.up_to.name} until {Calendar(zone).local(span.end):%H:%M}"
        return [
            one if one.id in shown or one.held_by or one.severity > self.up_to else hold(one, QUIET, why) for one in incidents
        ]
