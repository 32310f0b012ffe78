"""What a component type must have proved before it may climb, and what makes it come down: figures in, sentences out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alerting.stages import Rung

RUNGS: Sequence[Rung] = (Rung.LEARN, Rung.SHOW, Rung.STATUS, Rung.NOTIFY)
DAYS = {Rung.LEARN: 0, Rung.SHOW: 7, Rung.STATUS: 14, Rung.NOTIFY: 28}
"""Days that a type must have been judged before it may stand there."""
JUDGED, PRECISE = 10, 0.5
"""For `notify`: alerts that people judged, and the share of them that was useful."""
LOOKS_BACK = 14
"""Days from which the false-alarm rate is measured."""
_CERTAIN = 2.326
"""Standard deviations of a one-sided 99 %: it is asked every hour."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of a component type (or one component): `alerts` of the last `window` days and who called them what.

    `static` counts the alerts of the static template on the same days, None where there is nothing to compare with. `placebo`
    is the rate of alarms, per component and week, on a past in which nothing can have happened; None where it was not measured.
    """

    days: float
    window: float
    components: int
    alerts: int
    useful: int = 0
    known: int = 0
    noise: int = 0
    static: int | None = None
    model: int | None = None
    placebo: float | None = None

    @property
    def false(self) -> int:
        """Alerts that nobody called useful, or known before."""
        return max(0, self.alerts - self.useful - self.known)

    @property
    def exposure(self) -> float:
        """Component-weeks."""
        return self.components * self.window / 7

    @property
    def rate(self) -> float:
        """False alerts per component and week."""
        return self.false / self.exposure if self.exposure else math.inf if self.false else 0.0

    @property
    def precision(self) -> float | None:
        """The useful share of what people judged."""
        judged = self.useful + self.noise
        return self.useful / judged if judged else None

    @property
    def words(self) -> str:
        """The false alerts, and on what they were counted."""
        counted = f"{self.false} alerts in {self.window:.0f} days on {self.components} components"
        return f"{counted} that nobody called useful: {self.rate:.2g} per component and week"

    def document(self) -> dict[str, Any]:
        """For people and for the account."""
        rate = self.rate if math.isfinite(self.rate) else None
        return {**asdict(self), "false": self.false, "rate": rate, "precision": self.precision}


def missing(to: Rung, figures: Figures, promise: float) -> Sequence[str]:
    """What is not proved yet for that rung, a sentence with figures each; nothing when it may be climbed."""
    told = []
    if to is not Rung.LEARN and figures.model is None:
        told.append("nothing was learnt yet: no model is in force")
    if figures.days < DAYS[to]:
        told.append(f"judged for {figures.days:.1f} days, {DAYS[to]} are needed")
    if to in (Rung.STATUS, Rung.NOTIFY):
        if figures.rate > promise:
            told.append(f"{figures.words}, {promise:g} are promised")
        if figures.placebo is not None and figures.placebo > promise:
            alarms = f"{figures.placebo:.2g} alarms per component and week on the past shuffled, where nothing happened"
            told.append(f"{alarms}, {promise:g} are promised")
        if figures.static is not None and figures.false > figures.static:
            had = f"the static template had {figures.static} alerts on the same days"
            told.append(f"{figures.false} alerts that nobody called useful, {had}: not better than it")
    if to is Rung.NOTIFY:
        judged = figures.useful + figures.noise
        if judged < JUDGED:
            told.append(f"people judged {judged} alerts, {JUDGED} are needed: tocsin feedback, or acknowledge them")
        elif figures.precision is not None and figures.precision < PRECISE:
            told.append(f"{figures.precision:.0%} of {judged} judged alerts were useful, {PRECISE:.0%} are needed")
    return told


def broken(rung: Rung, figures: Figures, promise: float) -> str:
    """Why a type must come down: more false alerts than chance explains when the promise holds. Empty while it is kept."""
    if rung not in (Rung.STATUS, Rung.NOTIFY) or not figures.exposure:
        return ""
    surely = at_least(figures.false) / figures.exposure
    if surely <= promise:
        return ""
    return f"{figures.words}, surely more than the {promise:g} that are promised"


def below(rung: Rung) -> Rung:
    """Where a type goes that broke its promise: out of everybody's sight, not out of the learning."""
    return Rung.SHOW if rung in (Rung.STATUS, Rung.NOTIFY) else rung


def at_least(count: int) -> float:
    """What is expected at least, with 99 % certainty, where `count` were seen (Wilson and Hilferty's Poisson bound)."""
    if count == 0:
        return 0.0
    return count * max(0.0, 1 - 1 / (9 * count) - _CERTAIN / (3 * math.sqrt(count))) ** 3
