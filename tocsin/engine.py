"""One tick's arithmetic: score → fuse → judge → stages → what each service must show. No clock, no globals.

Live, replay and demo call the same functions with another clock and another source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from alerting.judge import Judged, JudgeState, Rules, judge
from tocsin.model import Bools, Floats, Frame, Incident, Ints, Metric, SeriesIndex, Transition, Window
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


class Standing(IntEnum):
    """Why a component without an incident shows what it shows."""

    NORMAL = 0
    LEARNING = 1
    NO_DATA = 2
    NOT_KNOWN = 3


def standings(frame: Frame, evaluation: Evaluation, patience: int) -> NDArray[np.int8]:
    """The `Standing` of each component at the end of the frame, (n_components,).

    The last `patience` buckets count: a component is NORMAL when any of them was judged, NOT_KNOWN when its sources
    could not be asked in all of them, NO_DATA when they were asked and had nothing, else it is still LEARNING.
    """
    index = frame.index
    if not len(index):
        return np.zeros(0, np.int8)
    seen = _any_of(index, np.isfinite(frame.values[:, -patience:]).any(axis=1))
    known = _any_of(index, frame.known[:, -patience:].any(axis=1))
    judged = np.zeros(len(index.components), bool)
    for fused in evaluation.fused.values():
        judged |= np.isfinite(fused.surprise[:, -patience:]).any(axis=1)
    result = np.full(len(index.components), Standing.LEARNING, np.int8)
    result[~seen] = Standing.NO_DATA
    result[judged & seen] = Standing.NORMAL
    result[~known] = Standing.NOT_KNOWN
    return result


def last_values(frame: Frame) -> tuple[Floats, Ints]:
    """The newest value of each series and the start of its bucket; NaN and 0 where there is none, (n_series,) each."""
    there = np.isfinite(frame.values)
    columns = frame.values.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)
    some = there.any(axis=1)
    values = np.where(some, frame.values[np.arange(len(frame.index)), columns], np.nan)
    return values, np.where(some, frame.window.starts[columns], 0)


def _any_of(index: SeriesIndex, rows: Bools) -> Bools:
    return np.logical_or.reduceat(rows, index.component_starts)
