"""A training of one component type, from the sources' past to a version in force. Beside the ticks, never before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin import learning
from tocsin.backfill import backfill
from tocsin.config_shapes import Train
from tocsin.learning import Training
from tocsin.model import Downtime, SeriesIndex, Window, utc
from tocsin.ports import Executor
from tocsin.shard import Shard
from tocsin.store import baselines
from tocsin.store.history import History
from tocsin.store.state import State
from tocsin.telemetry import Metrics

ProgressReport = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains the component types of one installation. `planned` tells the work that was planned in a window."""

    folder: Path
    state: State
    history: History
    executor: Executor
    settings: Train
    metrics: Metrics
    planned: Callable[[Shard, SeriesIndex, Window], Sequence[Downtime]]

    def due(self, shard: Shard, now: float) -> bool:
        """Whether a component type should learn now."""
        versions = self.state.models(shard.name)
        newest = max((version.created_at for version in versions), default=None)
        active = self.state.active_model(shard.name) if shard.model_version is None else None
        if active is not None and not baselines.readable(self.folder / active.path, active.sha256):
            newest = None  # an older program's, or damaged: there is nothing to judge by
        return learning.due(newest, shard.last_training, self.settings.every, now, unlearnt=shard.unlearnt)

    def train(
        self,
        shard: Shard,
        now: float,
        *,
        progress: ProgressReport = lambda _done, _total: None,
        stopped: Callable[[], bool] = lambda: False,
        by_hand: bool = False,
    ) -> Training:
        """Learn a component type from its trailing history, store the version and put it in force.

        `by_hand` ends a pin that a rollback left. An interrupted training stores nothing; what it read is kept.
        """
        shard.last_training = now
        index = shard.intake.discover(past=True, now=now)
        reach = shard.intake.reach(past=True)
        if not len(index) or reach is None:
            return _nothing(shard, "its sources have no series yet")
        end = Window.ending(now - shard.delay.seconds, shard.span).end
        history = shard.kind.learns_from(self.settings.history)
        start = max(end - history // shard.span * shard.span, reach[0] // shard.span * shard.span)
        if start >= end or reach[1] < start:
            return _nothing(shard, "its sources have no past yet")
        window = Window(start, end, shard.span)

        def reading(done: int, total: int) -> None:
            self.metrics.backfilled.labels(shard.name).set(done / total)
            progress(50 * done // total, 100)  # half of the bar is reading, half is fitting

        read = backfill(shard.intake, self.history, shard.name, index, window, progress=reading, stopped=stopped)
        if stopped():
            return Training(kind="stopped", sentence=interrupted(shard.name), verdict=1)
        learnt = learning.fit_all(
            self.history,
            shard.name,
            index,
            window,
            shard.detectors,
            self.executor,
            progress=lambda done, total: progress(50 + 50 * done // total, 100),
            downtimes=self.planned(shard, index, window),
            shown_at=shard.shown_at,
        )
        if not learnt:
            return _nothing(shard, read.why or "no series has values in the history")
        saved = baselines.save(learnt, self.folder / "models" / shard.name)
        version = self.state.add_model(
            shard.name,
            path=str(saved.path.relative_to(self.folder)),
            sha256=saved.sha256,
            trained_on=window,
            created_at=now,
            facts={"series": len(index), "components": len(index.components)},
            unpin=by_hand,
        )
        baselines.remove(self.state.prune_models(shard.name, self.settings.keep), self.folder)
        learnt_from = f"{utc(window.start):%Y-%m-%d %H:%M} to {utc(window.end):%Y-%m-%d %H:%M} UTC"
        if not version.active:
            return Training(
                kind="stored",
                sentence=f"{shard.name}: version {version.version} learnt from {learnt_from}; another one is pinned",
            )
        lacks = f"; the rest was not read: {read.why}" if read.why else ""
        sentence = f"{shard.name}: version {version.version} learnt {len(index)} series from {learnt_from}{lacks}"
        return Training(kind="learnt", sentence=sentence)


def interrupted(component_type: str) -> str:
    """What a person is told whose training was stopped."""
    return f"{component_type}: stopped before anything was learnt; what was read is kept"


def _nothing(shard: Shard, otherwise: str) -> Training:
    """Nothing could be learnt: because sources do not answer, or else for that reason."""
    said = shard.intake.why(past=True)
    why = f"its sources do not answer: {said}" if said else otherwise
    verdict = 2 if shard.intake.refuses_past() else 1
    return Training(kind="waiting", sentence=f"{shard.name}: nothing learnt: {why}", verdict=verdict)
