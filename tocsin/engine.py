"""One tick's arithmetic: score → fuse → judge. No clock, no globals.

Live, replay and demo call the same functions with another clock and another source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from alerting.judge import Judged, JudgeState, Rules, judge
from tocsin.model import Frame, Fused, Incident, Metric, SeriesKey, Transition, Window
from tocsin.ports import Detector
from tocsin.scoring import Evaluation, Models, evaluate


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What a window made of a component type."""

    evaluation: Evaluation
    judged: Mapping[str, Judged]

    @property
    def states(self) -> dict[str, JudgeState]:
        """What the next window's judgement starts from, per signature."""
        return {signature: judged.state for signature, judged in self.judged.items()}

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Incidents that are open at the end of the window or changed in it, as they stand at its end."""
        return tuple(incident for judged in self.judged.values() for incident in judged.incidents)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """Every step taken, in the order of time."""
        steps = [step for judged in self.judged.values() for step in judged.transitions]
        return tuple(sorted(steps, key=lambda step: (step.at, step.incident)))


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How one component type is judged. Pure: frames and states in, judgements out.

    Each signature is judged by itself and keeps its own incidents. `example` gives a log line behind a series, for people.
    """

    detectors: Sequence[Detector]
    models: Models
    rules: Rules
    component_type: str
    metrics: Mapping[str, Metric]
    example: Callable[[SeriesKey], str] | None = None

    def assess(self, frame: Frame, window: Window, states: Mapping[str, JudgeState]) -> Assessment:
        """Score, fuse and judge `window`; `frame` may reach back before it. Of no bucket nothing is said."""
        if not len(window):
            return Assessment(evaluation=Evaluation(scores={}, fused={}), judged={})
        evaluation = evaluate(frame, window, self.detectors, self.models)
        return Assessment(evaluation=evaluation, judged=self._judged(frame.within(window), window, evaluation, states))

    def pieces(self, frame: Frame, edges: Sequence[int], states: Mapping[str, JudgeState]) -> Iterator[Mapping[str, Judged]]:
        """Score the time from the first to the last edge once, and judge it from edge to edge."""
        if len(edges) < 2:
            return
        whole = Window(edges[0], edges[-1], frame.window.span)
        evaluation = evaluate(frame, whole, self.detectors, self.models)
        inner = frame.within(whole)
        for start, end in pairwise(edges):
            judged = self._judged(inner, Window(start, end, whole.span), evaluation, states)
            states = {**states, **{signature: one.state for signature, one in judged.items()}}
            yield judged

    def _judged(
        self, inner: Frame, window: Window, evaluation: Evaluation, states: Mapping[str, JudgeState]
    ) -> dict[str, Judged]:
        judged = {}
        for signature, fused in evaluation.fused.items():
            mine = [detector.name for detector in self.detectors if detector.signature == signature]
            # A detector named since the last training has no baseline yet; one of whole components says nothing of series.
            series = [(inner, evaluation.scores[name]) for name in mine if name in evaluation.scores]
            state = states.get(signature, JudgeState())
            judged[signature] = judge(
                _within(fused, window), series, state, self.rules, self.component_type, signature, self.metrics, self.example
            )
        return judged


def _within(fused: Fused, window: Window) -> Fused:
    columns = window.columns_in(fused.window)
    return replace(fused, window=window, surprise=fused.surprise[:, columns], share=fused.share[:, columns])
