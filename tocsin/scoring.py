"""Learning and scoring of a frame by several detectors, fused per component. Pure: no clock, no files.

`learn` and `evaluate` are what the daemon does; `walk` does the same over a past, bucket after bucket refitting on what
was past then, so that no score ever uses what came later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from detectors.fuse import Fusion
from tocsin.model import Baseline, Frame, Fused, Scores, Window
from tocsin.ports import ComponentDetector, Detector


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


AnyDetector = Detector | ComponentDetector


def signatures(detectors: Sequence[AnyDetector]) -> dict[str, list[AnyDetector]]:
    """The detectors of each signature, in the order they were given."""
    groups: dict[str, list[AnyDetector]] = {}
    for detector in detectors:
        groups.setdefault(detector.signature, []).append(detector)
    return groups


def of_series(detectors: Sequence[AnyDetector]) -> list[Detector]:
    """Those that judge series."""
    return [detector for detector in detectors if not isinstance(detector, ComponentDetector)]


def of_components(detectors: Sequence[AnyDetector]) -> list[ComponentDetector]:
    """Those that judge whole components by what others say of their series."""
    return [detector for detector in detectors if isinstance(detector, ComponentDetector)]


def learn(history: Frame, detectors: Sequence[AnyDetector]) -> Models:
    """Fit every detector on the history, those of components and the fusions on how the others would have judged it.

    A signature that no detector of series has is not fused.
    """
    series = of_series(detectors)
    fitted = {detector.name: detector.fit(history) for detector in series}
    rehearsals = {name: one.rehearsal for name, one in fitted.items()}
    for detector in of_components(detectors):
        heard = [rehearsals[one.name] for one in series if one.signature == detector.listens_to]
        if heard:
            fitted[detector.name] = detector.fit(heard)
    fusions = {}
    for signature, group in signatures(detectors).items():
        own = [detector.name for detector in of_series(group)]
        wholes = [fitted[detector.name].rehearsal for detector in of_components(group) if detector.name in fitted]
        if own:
            fusions[signature] = Fusion(names=own).fit([rehearsals[name] for name in own], wholes)
    return Models(baselines={name: one.baseline for name, one in fitted.items()}, fusions=fusions)


def evaluate(frame: Frame, window: Window, detectors: Sequence[AnyDetector], models: Models) -> Evaluation:
    """Judge `window`; `frame` may reach back before it, as far as the detectors look. A detector without a baseline is
    left out, and so is a signature none of whose detectors has one."""
    scores: dict[str, Scores] = {}
    series = of_series(detectors)
    for detector in series:
        if detector.name in models.baselines:
            back = window.reaching_back(detector.lookback).start
            seen = frame.within(Window(max(frame.window.start, back), window.end, window.span))
            scores[detector.name] = detector.score(seen, models.baselines[detector.name], window)
    wholes: dict[str, Scores] = {}
    for whole in of_components(detectors):
        heard = [scores[one.name] for one in series if one.signature == whole.listens_to and one.name in scores]
        if heard and whole.name in models.baselines:
            wholes[whole.name] = whole.score(heard, models.baselines[whole.name])
    fused = {}
    for signature, group in signatures(detectors).items():
        own = [detector.name for detector in of_series(group) if detector.name in scores]
        if own and signature in models.fusions:
            beside = [wholes[detector.name] for detector in of_components(group) if detector.name in wholes]
            fused[signature] = Fusion(names=own).fuse([scores[name] for name in own], models.fusions[signature], beside)
    return Evaluation(scores=scores, fused=fused)


def relearn(
    frame: Frame, detectors: Sequence[AnyDetector], *, train: int, every: int, start: int | None = None
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
    frame: Frame, detectors: Sequence[AnyDetector], *, train: int, every: int, start: int | None = None
) -> Iterator[tuple[Window, Evaluation]]:
    """Replay a past: `relearn`, and judge each window with what was learnt before it."""
    for window, models in relearn(frame, detectors, train=train, every=every, start=start):
        yield window, evaluate(frame, window, detectors, models)
