"""How the sources of a component type do, for our own service, the metrics, `tocsin status` and the log: the same facts."""

from __future__ import annotations

from typing import Any

from alerting.selfwatch import SourceHealth
from tocsin.ports import Mannered
from tocsin.settings import spell_duration
from tocsin.shard import Shard

LATE_FOR = 3600.0
"""Seconds for which it is told that values came too late."""


class Wellbeing:
    """Remembers since when each source is not well; `now` is always given."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], tuple[str, float]] = {}

    def look(self, shard: Shard, now: float) -> list[SourceHealth]:
        """How each source does now, and since when."""
        found = []
        for state in shard.intake.states.values():
            key = shard.name, state.name
            if key not in self._since or self._since[key][0] != state.kind:
                self._since[key] = state.kind, now
            since = self._since[key][1]
            found.append(
                SourceHealth(
                    name=state.name,
                    component_type=shard.name,
                    failing_since=since if state.kind == "down" else None,
                    degraded_since=since if state.kind == "degraded" else None,
                    error=state.reason,
                    late=now - state.read_to if state.read_to else None,
                )
            )
        return found

    def facts(self, shard: Shard, now: float) -> dict[str, Any]:
        """The same and more as data, for `tocsin status`."""
        sources = []
        for source in shard.intake.sources:
            state = shard.intake.states[source.name]
            usage = source.collector.manners.usage if isinstance(source.collector, Mannered) else None
            sources.append(
                {
                    "name": state.name,
                    "kind": state.kind,
                    "reason": state.reason,
                    "since": self._since.get((shard.name, state.name), ("", now))[1],
                    "read_to": state.read_to or None,
                    "requests": usage.requests if usage else None,
                    "bytes": usage.bytes if usage else None,
                }
            )
        delay = shard.delay
        return {"sources": sources, "delay": delay.seconds, "delay_reason": delay.reason, "notes": notes(shard, now)}


def notes(shard: Shard, now: float) -> list[str]:
    """What a person should see to: series that are cut, data that come later than anybody waits."""
    told = [f"{shard.name}: {note}" for note in shard.intake.notes()]
    lag = shard.intake.lag()
    if lag is not None and lag > max(shard.kind.delay, shard.kind.delay_max):
        told.append(
            f"{shard.name}: its data come {spell_duration(lag)} late; delay_max waits {spell_duration(shard.kind.delay_max)}"
        )
    seen = shard.late_since.get("too late")
    if seen is not None and now - seen < LATE_FOR:
        ago = spell_duration(now - seen)
        told.append(f"{shard.name}: values came too late to be judged again, last {ago} ago: raise delay, delay_max or replay")
    return told
