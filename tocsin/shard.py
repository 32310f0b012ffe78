"""One component type, wired: its sources, detectors and rules, and what it remembers between two ticks.

Everything remembered here can be rebuilt from the store and the history, so a restart is no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alerting.judge import JudgeState, Rules
from tocsin.config import ComponentType
from tocsin.intake import Intake, Source
from tocsin.model import Frame, Incident, Metric, Phase, SeriesIndex, Window
from tocsin.ports import Detector, Stage
from tocsin.scoring import Models
from tocsin.speak import Services, Speaker, View
from tocsin.timegrid import Calendar

CATCH_UP = 6 * 3600
"""How far back an outage is judged after the fact; older buckets only go to the history."""
PART_CELLS = 4_000_000
"""Values judged at once while catching up."""
DISCOVER_EVERY = 60.0
"""Seconds between two looks for new series."""

MENTIONED = 3600
"""Seconds for which a service still mentions an incident that is over."""

STREAM = "all sources"
"""The watermark's name: the sources of a component type advance together."""


@dataclass(kw_only=True)
class Shard:
    """One component type and its memory; used by one thread at a time."""

    kind: ComponentType
    intake: Intake
    detectors: tuple[Detector, ...]
    stages: tuple[Stage, ...]
    rules: Rules
    calendar: Calendar
    metrics: Mapping[str, Metric]

    models: Models = field(default_factory=lambda: Models(baselines={}, fusions={}))
    model_version: int | None = None
    watermark: int | None = None
    states: Mapping[str, JudgeState] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    recent: Frame | None = None
    index: SeriesIndex = field(default_factory=lambda: SeriesIndex([]))
    services: Services | None = None
    view: View | None = None
    standings: Mapping[str, int] = field(default_factory=dict)
    refreshed: float = 0.0
    discovered_at: float = -np.inf
    last_training: float = -np.inf
    fault: str = ""

    @classmethod
    def of(cls, kind: ComponentType, stages: tuple[Stage, ...]) -> Shard:
        """Build a component type's parts from its configuration."""
        around = kind.surroundings()
        sources = [
            Source(
                name=entry.plugin.name if len(kind.collect) == 1 else f"{entry.plugin.name} {place + 1}",
                collector=entry.plugin.build(entry.settings, around),
            )
            for place, entry in enumerate(kind.collect)
        ]
        return cls(
            kind=kind,
            intake=Intake(sources, around.metrics),
            detectors=tuple(entry.plugin.build(entry.settings, around) for entry in kind.detect),
            stages=stages,
            rules=kind.alert.rules(),
            calendar=around.calendar,
            metrics=around.metrics,
        )

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def span(self) -> int:
        return self.kind.every

    @property
    def lookback(self) -> int:
        """Seconds before a window that its judgement needs."""
        return max((detector.lookback for detector in self.detectors), default=0)

    @property
    def overlap(self) -> int:
        """Seconds before a window that are read again, so that late data reach the history."""
        return max(self.kind.delay, self.span)

    def due(self, now: float) -> bool:
        """Whether a bucket is over that was not judged yet."""
        return self.watermark is None or Window.ending(now - self.kind.delay, self.span).end > self.watermark

    def pending(self, now: float) -> tuple[Window, int]:
        """What is to be judged now, and how many buckets before it are too old to be judged any more."""
        newest = Window.ending(now - self.kind.delay, self.span)
        if self.watermark is None:
            return newest, 0
        start = -(-self.watermark // self.span) * self.span
        oldest = newest.end - max(1, CATCH_UP // self.span) * self.span
        return Window(max(start, oldest), newest.end, self.span), max(0, oldest - start) // self.span

    def parts(self, window: Window) -> list[Window]:
        """The window in pieces that fit in memory, oldest first."""
        most = max(1, PART_CELLS // max(1, len(self.index))) * self.span
        return [Window(start, min(start + most, window.end), self.span) for start in range(window.start, window.end, most)]

    @property
    def patience(self) -> int:
        """Seconds without a judgement after which a component counts as blind."""
        return max(self.rules.close_of * self.span, 300)

    @property
    def speaker(self) -> Speaker:
        return Speaker(kind=self.kind, calendar=self.calendar, metrics=self.metrics, patience=self.patience)

    @property
    def open(self) -> list[Incident]:
        """The incidents that are open."""
        return [incident for incident in self.incidents.values() if incident.phase is Phase.OPEN]

    @property
    def why_blind(self) -> str:
        """Why sources do not answer, in words."""
        return "; ".join(f"{state.name}: {state.reason}" for state in self.intake.states.values() if not state.up)

    def told_of(self, at: int) -> dict[str, list[Incident]]:
        """The incidents worth telling at that time, by component: open, or recovered within the hour."""
        told: dict[str, list[Incident]] = {}
        for incident in self.incidents.values():
            if incident.recovered is None or at - incident.recovered <= MENTIONED:
                told.setdefault(incident.component, []).append(incident)
        return told

    def services_of(self, index: SeriesIndex) -> Services:
        """Which service shows which components of the index."""
        if self.services is None or self.services.index is not index:
            self.services = Services(self.kind, index, dict.fromkeys(detector.signature for detector in self.detectors))
        return self.services

    def with_past(self, frame: Frame, window: Window) -> Frame:
        """The frame with what is remembered before it, as far back as the detectors look."""
        wanted = window.reaching_back(self.lookback)
        if self.recent is None or wanted.start >= frame.window.start:
            return frame.within(Window(max(wanted.start, frame.window.start), window.end, self.span))
        values = np.full((len(frame.index), len(wanted)), np.nan)
        known = np.zeros(values.shape, bool)
        _copy(self.recent, values, known, frame.index, wanted)
        _copy(frame, values, known, frame.index, wanted)
        return Frame(index=frame.index, window=wanted, values=values, known=known)


def _copy(origin: Frame, values: NDArray[np.float64], known: NDArray[np.bool_], index: SeriesIndex, window: Window) -> None:
    start, end = max(origin.window.start, window.start), min(origin.window.end, window.end)
    if start >= end:
        return
    common = Window(start, end, window.span)
    there, here = common.columns_in(origin.window), common.columns_in(window)
    if index == origin.index:
        values[:, here], known[:, here] = origin.values[:, there], origin.known[:, there]
        return
    rows = index.rows_in(origin.index)
    mine = np.flatnonzero(rows >= 0)
    values[mine, here], known[mine, here] = origin.values[rows[mine], there], origin.known[rows[mine], there]
