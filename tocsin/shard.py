"""One component type, wired: its sources, detectors and rules, and what it remembers between two ticks.

Everything remembered here can be rebuilt from the store and the history, so a restart is no event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from alerting.judge import JudgeState, Rules
from tocsin.config import ComponentType
from tocsin.engine import Judge
from tocsin.intake import Intake, Source
from tocsin.late import Again, Checkpoint, Delay, Late, Past, delay_of, judge_again
from tocsin.memory import Memory
from tocsin.model import Frame, Incident, Metric, Phase, SeriesIndex, ServiceKey, Window
from tocsin.ports import Detector, RemoteCollector, Stage
from tocsin.scoring import Models, evaluate, of_series
from tocsin.sight import Sight, Standing
from tocsin.speak import Services, Speaker, View
from tocsin.timegrid import Calendar

CATCH_UP = 6 * 3600
"""How far back an outage is judged after the fact; older buckets only go to the history."""
PART_CELLS = 4_000_000
"""Values judged at once while catching up."""
DISCOVER_EVERY, ASK_EVERY = 60.0, 300.0
"""Seconds between two looks for new series: in files, and on a server."""

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
    memory: Memory = field(default_factory=Memory)
    past: Past = field(default_factory=Past)
    restarted: bool = False
    looked_back: float = -np.inf
    late_since: dict[str, float] = field(default_factory=dict)
    index: SeriesIndex = field(default_factory=lambda: SeriesIndex([]))
    services: Services | None = None
    view: View | None = None
    standings: Mapping[str, int] = field(default_factory=dict)
    refreshed: float = 0.0
    discovered_at: float = -np.inf
    last_training: float = -np.inf
    fault: str = ""

    @classmethod
    def of(cls, kind: ComponentType, stages: tuple[Stage, ...], memory: Path | None = None) -> Shard:
        """Build a component type's parts from its configuration. In `memory` its sources may keep what they remember."""
        around = kind.surroundings()
        sources = []
        for place, entry in enumerate(kind.collect):
            name = entry.plugin.name if len(kind.collect) == 1 else f"{entry.plugin.name} {place + 1}"
            mine = replace(around, memory=None if memory is None else memory / name.replace(" ", "-"))
            sources.append(Source(name=name, collector=entry.plugin.build(entry.settings, mine)))
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
        return max((detector.lookback for detector in of_series(self.detectors)), default=0)

    @property
    def discover_every(self) -> float:
        """Seconds between two looks for new series; soon again while there are none, or a source never answered."""
        remote = any(isinstance(source.collector, RemoteCollector) for source in self.intake.sources)
        return ASK_EVERY if remote and len(self.index) and self.intake.complete else DISCOVER_EVERY

    @property
    def delay(self) -> Delay:
        """How long after its end a bucket is judged."""
        return delay_of(self.kind.delay, self.intake.lag(), self.kind.delay_max)

    def reading(self, window: Window) -> Window:
        """The window with the last buckets before it, which are read once more."""
        return window.reaching_back(max(self.delay.seconds, self.span))

    def looking_back(self, *, returned: bool) -> Window | None:
        """What is to be read once more now: every half `replay`, after a restart and when a source came back, what can be
        judged again and some before it."""
        if not self.kind.replay or self.watermark is None:
            return None
        due = returned or self.restarted or self.watermark - self.looked_back >= self.kind.replay / 2
        return Window(self.watermark, self.watermark, self.span).reaching_back(2 * self.kind.replay) if due else None

    def due(self, now: float) -> bool:
        """Whether a bucket is over that was not judged yet."""
        return self.watermark is None or Window.ending(now - self.delay.seconds, self.span).end > self.watermark

    def pending(self, now: float) -> tuple[Window, int]:
        """What is to be judged now, and how many buckets before it are too old to be judged any more."""
        newest = Window.ending(now - self.delay.seconds, self.span)
        if self.watermark is None:
            return newest, 0
        start = -(-self.watermark // self.span) * self.span
        oldest = newest.end - max(1, CATCH_UP // self.span) * self.span
        first = max(start, oldest)
        return Window(first, max(first, newest.end), self.span), max(0, oldest - start) // self.span

    def parts(self, window: Window) -> list[Window]:
        """The window in pieces that fit in memory, oldest first."""
        most = max(1, PART_CELLS // max(1, len(self.index))) * self.span
        return [Window(start, min(start + most, window.end), self.span) for start in range(window.start, window.end, most)]

    def shown_at(self, component: str) -> ServiceKey:
        """The service that shows a component."""
        return self.kind.alert.to.key(component, self.name, "")

    @property
    def unlearnt(self) -> bool:
        """Whether there is anything that the baselines in use do not know: a series, a component that cannot be judged yet for
        want of a past, a detector."""
        if self.model_version is None:
            return False
        known = [self.models.baselines.get(detector.name) for detector in of_series(self.detectors)]
        # All of them were learnt from the same series: one tells which.
        new = any(one is None for one in known) or any(one and (self.index.rows_in(one.index) < 0).any() for one in known[:1])
        return new or Standing.LEARNING in self.standings.values()

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
        return self.intake.why()

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

    def sight_before(self, memory: Frame, window: Window) -> Sight:
        """What was seen when the window began, from what is remembered: after a restart nobody is "still learning" who was
        judged before it."""
        before = Window(window.start, window.start, self.span).reaching_back(self.patience)
        before = Window(max(before.start, memory.window.start), before.end, self.span)
        nothing = Sight.nothing(memory.index)
        if not len(before):
            return nothing
        return nothing.after(memory.within(before), evaluate(memory, before, self.detectors, self.models))

    # --- judging, and judging again ----------------------------------------------------------------------------------

    @property
    def judge(self) -> Judge:
        """What judges now."""
        return Judge(
            detectors=self.detectors,
            models=self.models,
            rules=self.rules,
            component_type=self.name,
            metrics=self.metrics,
            example=self.intake.example,
        )

    def judged_by(self) -> str:
        """The baselines, detectors and rules in force, in short; the same after a restart."""
        parts = [(entry.plugin.name, entry.settings.model_dump_json()) for entry in self.kind.detect]
        return hashlib.sha256(repr((self.model_version, parts, self.rules)).encode()).hexdigest()[:16]

    @property
    def recent(self) -> Frame | None:
        """What is known of the last buckets, as far back as anything is judged from."""
        return self.memory.frame

    def taking_in(self, fresh: Frame, window: Window) -> AbstractContextManager[tuple[Frame, Late]]:
        """What is known now, as far back as anything is judged from, and what of that came late; forgotten again when the block
        raises, because then it was not judged."""
        back = max(self.lookback + 2 * self.kind.replay, window.start - fresh.window.start)
        return self.memory.taking_in(fresh, window.reaching_back(back), self.watermark or window.start)

    def judged_again(self, frame: Frame, late: Late) -> Again:
        """Where judging goes on from: where it stood, or, where data came late, where it would stand with them.

        After a restart everything that can be is judged again: what came while nobody looked is in the history already.
        """
        nothing = Again(states=self.states)
        if self.watermark is None or self.past.by != self.judged_by() or not self.past.checkpoints:
            return nothing
        since = int(self.past.start) if self.restarted else late.since(int(self.past.start))
        if since is None or since >= self.watermark or frame.window.start > since:
            return nothing
        count = late.count(since, self.watermark)
        why = f"{count} {'value' if count == 1 else 'values'} came late" if count else "it is known now what was not known"
        told = {name: one for name, one in self.incidents.items() if one.phase is not Phase.WITHDRAWN}
        return judge_again(self.judge, frame, self.past.before(since), self.watermark, told, why)

    def remembered(self, again: Again, end: int, states: Mapping[str, JudgeState]) -> Past:
        """What can be judged again once the window that ends at `end` was judged."""
        if not self.kind.replay:
            return Past()
        by = self.judged_by()
        before = self.past if self.past.by == by else Past(by=by)
        here = [Checkpoint(at=self.watermark, states=again.states)] if self.watermark and not before.checkpoints else []
        return before.grown([*again.checkpoints, *here, Checkpoint(at=end, states=states)], end - self.kind.replay * 3 // 2)
