"""Learning and scoring of a frame by several detectors, fused per component. Pure: no clock, no files.

`learn` and `evaluate` are what the daemon does; `walk` says what they would have said of a past, each of its windows judged
by what was learnt of the time before it, so that no score ever uses what came later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TypeGuard, cast

import numpy as np

from detectors.fuse import Fusion
from detectors.walking import refitted
from tocsin.model import Baseline, Fitted, Frame, Fused, Scores, SeriesIndex, Window
from tocsin.ports import ComponentDetector, Detector, Stretch, WalkingDetector

CELLS = 1 << 18
"""Buckets of series that are fused at once in a walk."""


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
    return [cast(Detector, detector) for detector in detectors if not _of_components(detector)]


def of_components(detectors: Sequence[AnyDetector]) -> list[ComponentDetector]:
    """Those that judge whole components by what others say of their series."""
    return [detector for detector in detectors if _of_components(detector)]


def _of_components(detector: AnyDetector) -> TypeGuard[ComponentDetector]:
    # As `isinstance` would say; of a protocol with properties it takes longer than a small detector does.
    return hasattr(detector, "listens_to")


def learn(history: Frame, detectors: Sequence[AnyDetector]) -> Models:
    """Fit every detector on the history, those of components and the fusions on how the others would have judged it.

    A signature that no detector of series has is not fused.
    """
    return _learn({detector.name: detector.fit(history) for detector in of_series(detectors)}, detectors)


def _learn(of_each: Mapping[str, Fitted], detectors: Sequence[AnyDetector]) -> Models:
    series, fitted = of_series(detectors), dict(of_each)
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
    for detector in of_series(detectors):
        if detector.name in models.baselines:
            back = window.reaching_back(detector.lookback).start
            seen = frame.within(Window(max(frame.window.start, back), window.end, window.span))
            scores[detector.name] = detector.score(seen, models.baselines[detector.name], window)
    return _fused(scores, detectors, models)


def _fused(scores: Mapping[str, Scores], detectors: Sequence[AnyDetector], models: Models) -> Evaluation:
    wholes: dict[str, Scores] = {}
    for whole in of_components(detectors):
        heard = [scores[one.name] for one in of_series(detectors) if one.signature == whole.listens_to and one.name in scores]
        if heard and whole.name in models.baselines:
            wholes[whole.name] = whole.score(heard, models.baselines[whole.name])
    fused = {}
    for signature, group in signatures(detectors).items():
        own = [detector.name for detector in of_series(group) if detector.name in scores]
        if own and signature in models.fusions:
            beside = [wholes[detector.name] for detector in of_components(group) if detector.name in wholes]
            fused[signature] = Fusion(names=own).fuse([scores[name] for name in own], models.fusions[signature], beside)
    return Evaluation(scores=scores, fused=fused)


# --- a past -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Leg:
    """A part of a walk, one window or several in a row. `models_at` gives what had been learnt when an instant of it was
    judged; it may take as long as learning does."""

    window: Window
    evaluation: Evaluation
    models_at: Callable[[int], Models]


def walk(
    frame: Frame, detectors: Sequence[AnyDetector], *, train: int, every: int, start: int | None = None
) -> Iterator[tuple[Window, Evaluation]]:
    """Replay a past: `legs`, for those who do not ask what was learnt."""
    for leg in legs(frame, detectors, train=train, every=every, start=start):
        yield leg.window, leg.evaluation


def legs(frame: Frame, detectors: Sequence[AnyDetector], *, train: int, every: int, start: int | None = None) -> Iterator[Leg]:
    """Judge a past in windows of `every` seconds from `start` (default: the frame's own) to the frame's end, each by what
    `learn` makes of the `train` seconds before it. The legs tile that time; one before which there is nothing is not judged.

    Where nothing has to be calibrated between the detectors and the verdict, many windows are fused at once.
    """
    windows = _windows(frame.window, frame.window.start if start is None else start, every)
    series, alike = of_series(detectors), _uncalibrated(frame.index, frame.window, detectors)
    walks = [_walked(detector, frame, windows, train) for detector in series]
    most = max(1, CELLS // max(1, len(frame.index) * max(map(len, windows), default=1))) if alike is not None else 1
    waiting: list[tuple[Window, list[Stretch]]] = []
    for window, *stretches in zip(windows, *walks, strict=True):
        if window.start == frame.window.start or train < window.span:
            yield Leg(
                window=window, evaluation=Evaluation(scores={}, fused={}), models_at=lambda _: Models(baselines={}, fusions={})
            )
            continue
        waiting.append((window, stretches))
        if len(waiting) >= most or window.end == frame.window.end:
            yield _leg(waiting, detectors, alike)
            waiting = []


def _windows(whole: Window, first: int, every: int) -> list[Window]:
    """From `first` on, each ending with the first bucket that is over when `every` seconds more have passed."""
    span, buckets = whole.span, max(0, -(-(whole.end - first) // whole.span))
    count = np.arange(buckets * span // max(1, every) + 1, dtype=np.int64)
    edges = np.unique(np.r_[np.minimum(-(-count * every // span), buckets), buckets]).tolist()
    return [Window(first + begin * span, first + end * span, span) for begin, end in pairwise(edges)]


def _walked(detector: Detector, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
    if isinstance(detector, WalkingDetector):
        return detector.walk(frame, windows, train)
    return refitted(detector, frame, windows, train)


def _uncalibrated(index: SeriesIndex, window: Window, detectors: Sequence[AnyDetector]) -> Models | None:
    """The fusions that are the same whatever was learnt: those of components of one series each; None if there are others."""
    if len(index.components) < len(index) or of_components(detectors):
        return None
    nothing = np.empty((len(index), 0))
    unsaid = Scores(
        index=index, window=replace(window, end=window.start), surprise=nothing, expected=nothing, lower=nothing, upper=nothing
    )
    groups = {signature: [detector.name for detector in group] for signature, group in signatures(detectors).items()}
    fusions = {signature: Fusion(names=names).fit([unsaid] * len(names)) for signature, names in groups.items()}
    return Models(baselines={}, fusions=fusions)


def _leg(waiting: Sequence[tuple[Window, list[Stretch]]], detectors: Sequence[AnyDetector], alike: Models | None) -> Leg:
    """What was said of these windows, all of them at once; those that are calibrated come one by one."""
    names = [detector.name for detector in of_series(detectors)]
    begins = [window.start for window, _ in waiting]

    @cache
    def learnt_before(place: int) -> Models:
        fitted = {name: one.fitted() for name, one in zip(names, waiting[place][1], strict=True)}
        if alike is None:
            return _learn(fitted, detectors)
        return Models(baselines={name: one.baseline for name, one in fitted.items()}, fusions=alike.fusions)

    scores = {name: _joined([stretches[place].scores for _, stretches in waiting]) for place, name in enumerate(names)}
    return Leg(
        window=replace(waiting[0][0], end=waiting[-1][0].end),
        evaluation=_fused(scores, detectors, learnt_before(0) if alike is None else alike),
        models_at=lambda instant: learnt_before(bisect_right(begins, instant) - 1),
    )


def _joined(parts: Sequence[Scores]) -> Scores:
    """What was said of windows that follow one another."""
    if len(parts) == 1:
        return parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("surprise", "expected", "lower", "upper")
    }
    return Scores(index=parts[0].index, window=replace(parts[0].window, end=parts[-1].window.end), **arrays)
