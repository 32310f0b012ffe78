"""Learning and scoring of a frame by several detectors, fused per component. Pure: no clock, no files.

`learn` and `evaluate` are what the daemon does; `walk` does the same over a past, bucket after bucket refitting on what
was past then, so that no score ever uses what came later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from detectors.fuse import Fusion
from tocsin.model import Baseline, Frame, Fused, Scores, Window
from tocsin.ports import Detector


@dataclass(frozen=True, kw_only=True)
class Models:
    """What was learnt of some series: a baseline per detector, and the calibration of the fusion per signature."""

    baselines: Mapping[str, Baseline]
    fusions: Mapping[str, Baseline]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What every detector says of a window, and what that means for each component, per signature."""

    scores: Mapping[str, Scores]
    fused: Mapping[str, Fused]


def signatures(detectors: Sequence[Detector]) -> dict[str, list[Detector]]:
    """The detectors of each signature, in the order they were given."""
    groups: dict[str, list[Detector]] = {}
    for detector in detectors:
        groups.setdefault(detector.signature, []).append(detector)
    return groups


def learn(history: Frame, detectors: Sequence[Detector]) -> Models:
    """Fit every detector on the history, and the fusions on how they would have judged it."""
    fitted = {detector.name: detector.fit(history) for detector in detectors}
    fusions = {
        signature: Fusion().fit([fitted[detector.name].rehearsal for detector in group])
        for signature, group in signatures(detectors).items()
    }
    return Models(baselines={name: one.baseline for name, one in fitted.items()}, fusions=fusions)


def evaluate(frame: Frame, window: Window, detectors: Sequence[Detector], models: Models) -> Evaluation:
    """Judge `window`; `frame` may reach back before it, as far as the detectors look. A detector without a baseline is
    left out, and so is a signature none of whose detectors has one."""
    scores = {}
    for detector in detectors:
        if detector.name in models.baselines:
            back = window.reaching_back(detector.lookback).start
            seen = frame.within(Window(max(frame.window.start, back), window.end, window.span))
            scores[detector.name] = detector.score(seen, models.baselines[detector.name], window)
    fused = {}
    for signature, group in signatures(detectors).items():
        parts = [scores[detector.name] for detector in group if detector.name in scores]
        if parts and signature in models.fusions:
            fused[signature] = Fusion().fuse(parts, models.fusions[signature])
    return Evaluation(scores=scores, fused=fused)


def relearn(
    frame: Frame, detectors: Sequence[Detector], *, train: int, every: int, start: int | None = None
) -> Iterator[tuple[Window, Models]]:
    """What would have been learnt in a past: models refitted each `every` seconds on the `train` seconds before, and the
    window each set of them judges. The first refit is at `start` (default: the frame's own), the others at multiples of
    `every`. Windows tile the time from there to the frame's end."""
    span = frame.window.span
    first = frame.window.start if start is None else start
    while first < frame.window.end:
        due = (first // every + 1) * every
        after = min(frame.window.end, max(first + span, -(-(due - frame.window.start) // span) * span + frame.window.start))
        past = Window(max(frame.window.start, first - train // span * span), first, span)
        models = learn(frame.within(past), detectors) if len(past) else Models(baselines={}, fusions={})
        yield Window(first, after, span), models
        first = after


def walk(
    frame: Frame, detectors: Sequence[Detector], *, train: int, every: int, start: int | None = None
) -> Iterator[tuple[Window, Evaluation]]:
    """Replay a past: `relearn`, and judge each window with what was learnt before it."""
    for window, models in relearn(frame, detectors, train=train, every=every, start=start):
        yield window, evaluate(frame, window, detectors, models)
