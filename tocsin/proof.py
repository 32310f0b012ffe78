"""What a component type has proved so far, measured on what is stored: its alerts, what people said, and the template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import structlog

from alerting.ladder import LOOKS_BACK, Figures
from alerting.stages import ACKNOWLEDGED, LADDER
from tocsin.config import ComponentType
from tocsin.errors import PermanentError, TransientError
from tocsin.handback import template_of
from tocsin.learning import trim
from tocsin.model import Incident, Phase, SeriesIndex, Window
from tocsin.placebo import MOST, false_alarms
from tocsin.records import Verdict
from tocsin.store.history import History
from tocsin.store.state import State
from tocsin.thresholds import template_alerts
from tocsin.timegrid import DAY

log = structlog.get_logger()

_COUNTS = frozenset({LADDER, ACKNOWLEDGED})
"""What may hold an incident that counts as an alert all the same: it would have been one on a higher rung."""


def measure(
    state: State, kind: ComponentType, now: float, *, component: str = "", history: History | None = None, after: float = 0.0
) -> Figures:
    """The figures of a component type, or of one component; `after` leaves out what was before that time.

    With a `history` the static template is counted on the same days.
    """
    watched = state.accounts.snapshot(f"watched {kind.name}")
    days = 0.0 if watched is None else max(0.0, now - watched[0]) / DAY
    window = max(0.0, min(days, float(LOOKS_BACK), (now - after) / DAY))
    since = now - window * DAY
    known = state.incidents(component_type=kind.name, component=component or None, since=since)
    alerts = [one for one in known if one.opened >= since and counts(one)]
    said = latest(state.accounts.verdicts(since=since))
    words = [said[one.id].verdict for one in alerts if one.id in said]
    model = state.active_model(kind.name)
    return Figures(
        days=days,
        window=window,
        components=1 if component else int(model.facts.get("components", 0)) if model else 0,
        alerts=len(alerts),
        useful=words.count("useful"),
        known=words.count("known"),
        noise=words.count("noise"),
        static=None if history is None else _static(history, kind, since, now, component),
        model=None if model is None else model.version,
    )


def placebo_rate(history: History, kind: ComponentType, now: float, back: int) -> float | None:
    """Alarms per component and week on the past `back` seconds shuffled by hours, where nothing can have happened.

    Learns and judges up to fifty components, which takes as long as training those. None where there is no past to shuffle.
    """
    window = Window.ending(now, kind.every, back // kind.every)
    try:
        known = history.index(kind.name, window)
        components = sorted(np.random.default_rng(0).permutation(known.components)[:MOST].tolist())
        some = frozenset(components)
        frame = history.read(kind.name, window, SeriesIndex(key for key in known if key.component in some))
    except (OSError, TransientError, PermanentError) as error:
        log.warning("proof.history_unreadable", component_type=kind.name, error=str(error))
        return None
    around = kind.surroundings()
    detectors = [entry.plugin.build(entry.settings, around) for entry in kind.detect]
    opens = kind.alert.open.surprise
    told = false_alarms(trim(frame), detectors, kind.alert.rules(), around.calendar, seed=0, surprises=(opens,))
    return told.alarms[opens] / told.component_days * 7 if told.component_days else None


def counts(incident: Incident) -> bool:
    """Whether people would have seen it, were the type high enough on the ladder."""
    return incident.phase is not Phase.WITHDRAWN and all(stage in _COUNTS for stage, _ in incident.held_by)


def latest(verdicts: Iterable[Verdict]) -> Mapping[str, Verdict]:
    """The word that counts of each incident: a person's own before what was read off their acts, then the newest."""
    return {one.incident: one for one in sorted(verdicts, key=lambda one: (one.kind == "feedback", one.at))}


def _static(history: History, kind: ComponentType, since: float, now: float, component: str) -> int | None:
    """Alerts of the static template on those days, day by day; None without a template, or when the days cannot be read."""
    template = template_of(kind.static)
    if not template.thresholds:
        return None
    first, last = int(since // DAY) * DAY, int(now // kind.every) * kind.every
    found, measured = 0, False
    try:
        for start in range(first, last, DAY):
            window = Window(start, min(start + DAY, last), kind.every)
            frame = history.read(kind.name, window)
            measured = measured or bool(frame.known.any())
            alerts = template_alerts(frame, template)
            found += len(alerts.get(component, ())) if component else sum(map(len, alerts.values()))
    except (OSError, TransientError, PermanentError) as error:
        log.warning("proof.history_unreadable", component_type=kind.name, error=str(error))
        return None
    return found if measured else None
