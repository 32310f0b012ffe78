"""One tick's arithmetic: score → fuse → judge. No clock, no globals.

Live, replay and demo call the same functions with another clock and another source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerting.judge import Judged, JudgeState, Rules, judge
from tocsin.model import Frame, Incident, Metric, Transition, Window
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


def assess(
    frame: Frame,
    window: Window,
    detectors: Sequence[Detector],
    models: Models,
    states: Mapping[str, JudgeState],
    rules: Rules,
    component_type: str,
    metrics: Mapping[str, Metric],
) -> Assessment:
    """Score, fuse and judge `window`; `frame` may reach back before it. Pure.

    Each signature is judged by itself and keeps its own incidents.
    """
    evaluation = evaluate(frame, window, detectors, models)
    inner = frame.within(window)
    judged = {}
    for signature, fused in evaluation.fused.items():
        series = [(inner, evaluation.scores[detector.name]) for detector in detectors if detector.signature == signature]
        judged[signature] = judge(fused, series, states.get(signature, JudgeState()), rules, component_type, signature, metrics)
    return Assessment(evaluation=evaluation, judged=judged)
