"""How many alerts people are willing to see: a bar on the surprise that rises with what was used, and falls again.

What is above the highest place of the bar is always shown: a budget never hides a disaster. What was shown stays shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerting.stages import hold
from tocsin.model import Incident
from tocsin.records import Bar
from tocsin.settings import spell_duration

BUDGET = "budget"
LOOKS_BACK = 4
"""Periods from which it is reckoned how many alerts a place of the bar lets through."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """At most `alerts` in `every` seconds. The bar stands between `floor` and `floor + most`."""

    name: str
    alerts: int
    every: int
    floor: float
    most: float

    @property
    def top(self) -> float:
        """From this surprise on everything is shown."""
        return self.floor + self.most


def move(allowance: Allowance, peaks: Sequence[float], used: int, now: float) -> Bar:
    """Where the bar must stand; `peaks` are the surprises of the incidents of the last four periods, `used` what was shown.

    Used up, it stands at its top. Else it is as low as the budget would have allowed in those periods.
    """
    period = spell_duration(allowance.every)
    if used >= allowance.alerts:
        why = f"{used} of {allowance.alerts} alerts of the last {period} were used"
        return Bar(value=allowance.top, at=int(now), reason=why, used=used)
    allowed = allowance.alerts * LOOKS_BACK
    ranked = sorted((peak for peak in peaks if math.isfinite(peak)), reverse=True)
    if len(ranked) <= allowed:
        why = f"{len(ranked) / LOOKS_BACK:.3g} alerts per {period} are within the budget of {allowance.alerts}"
        return Bar(value=allowance.floor, at=int(now), reason=why, used=used)
    # Just above the first one that would be too many, in steps that a person can read.
    value = min(allowance.top, max(allowance.floor, math.floor(ranked[allowed] * 10 + 1) / 10))
    through = sum(peak >= value for peak in ranked) / LOOKS_BACK
    why = f"at {value:.1f} the last {spell_duration(allowance.every * LOOKS_BACK)} had {through:.3g} alerts per {period}"
    return Bar(value=value, at=int(now), reason=why, used=used)


@dataclass(frozen=True, kw_only=True)
class Within:
    """The stage: holds back what is below the bar, or more than is left of the budget, the least surprising first."""

    allowance: Allowance
    bar: Callable[[], Bar | None]
    used: Callable[[float], int]
    shown: Callable[[], frozenset[str]] = frozenset

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]:
        """As `Stage` promises."""
        seen = self.shown()
        waiting = [one for one in incidents if one.id not in seen and not one.held_by and one.recovered is None]
        if not waiting:
            return incidents
        bar = self.bar()
        value = self.allowance.floor if bar is None else bar.value
        left = max(0, self.allowance.alerts - self.used(now.timestamp()))
        period = spell_duration(self.allowance.every)
        held: dict[str, str] = {}
        for one in sorted(waiting, key=lambda incident: (-incident.peak, incident.since, incident.id)):
            if one.peak >= self.allowance.top:
                continue
            if one.peak < value and left > 0:
                held[one.id] = f"below the bar of {value:.1f} that {self.allowance.alerts} alerts per {period} leave"
            elif left <= 0:
                spent = f"all {self.allowance.alerts} alerts of {period} are used"
                held[one.id] = f"{spent}, shown from surprise {self.allowance.top:.1f}"
            else:
                left -= 1
        return [hold(one, BUDGET, held[one.id]) if one.id in held else one for one in incidents]
