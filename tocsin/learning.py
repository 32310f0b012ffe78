"""When to refit and on what; versions, hand-over, rollback.

A training reads what the history lacks from the sources (`tocsin.backfill`), fits chunks of components in worker processes,
writes one immutable version and puts it in force unless a person has pinned another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray

from tocsin.errors import ConfigError
from tocsin.model import Baseline, Downtime, Frame, SeriesIndex, ServiceKey, Window, utc
from tocsin.ports import Detector, Executor
from tocsin.scoring import Models, learn
from tocsin.store.history import History

if TYPE_CHECKING:
    from tocsin.store.state import State

log = structlog.get_logger()

CHUNK_CELLS = 2_000_000
"""Values a worker fits at once: 16 MB, and some fifteen times that while it does."""
COMPANY = 4
"""Components in a chunk at least."""
RETRY = 300
"""Seconds after a training that could not learn anything before the next try."""
NEW_EVERY = 6 * 3600
"""Seconds between two trainings at most while something is not learnt. Nobody watches it until then, so it does not wait for the
night; a past of fewer hours teaches little, and in a park where something comes every minute all is learnt anew each time."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What a training did: `learnt`, `stored` (another version is pinned), `waiting` (too little history), `stopped`.

    `verdict` is 0 when something was learnt, 1 when it may be later, 2 when a person must act.
    """

    kind: str
    sentence: str
    verdict: int = 0


def due(newest: float | None, last_try: float, every: int, now: float, *, unlearnt: bool) -> bool:
    """Whether to train now: nothing was ever learnt, or the newest version is `every` seconds old, or six hours where something
    is `unlearnt`.

    A training that failed, or found nothing to learn from, is tried again after five minutes.
    """
    old = min(every, NEW_EVERY) if unlearnt else every
    return now - last_try >= RETRY and (newest is None or now - newest >= old)


# --- what to learn from -------------------------------------------------------------------------------------------


def without(frame: Frame, downtimes: Sequence[Downtime], shown_at: Callable[[str], ServiceKey]) -> Frame:
    """The frame with what was measured during planned work "not known": nobody shall learn from it what is normal.

    `shown_at` tells at which service of which host a component is shown. A host's downtime concerns all its components, that
    of a service those shown there and what is named after it (`host/service`, or a metric of that service).
    """
    by_host: dict[str, list[Downtime]] = {}
    for one in downtimes:
        if one.start < frame.window.end and one.end > frame.window.start:
            by_host.setdefault(one.host, []).append(one)
    blank = np.zeros(frame.values.shape, bool)
    places: dict[str, ServiceKey] = {}
    for row, key in enumerate(frame.index.keys):
        shown = places.get(key.component) or places.setdefault(key.component, shown_at(key.component))
        host, _, rest = key.component.partition("/")
        for one in (*by_host.get(shown.host, ()), *(by_host.get(host, ()) if host != shown.host else ())):
            if one.service in ("", shown.service, rest) or key.metric.startswith(f"{one.service} "):
                blank[row] |= (frame.window.starts < one.end) & (frame.window.starts + frame.window.span > one.start)
    if not blank.any():
        return frame
    return replace(frame, values=np.where(blank, np.nan, frame.values), known=frame.known & ~blank)


# --- the fit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class FitJob:
    """One chunk of components, fitted by a worker from the history on disk."""

    history: Path
    component_type: str
    index: SeriesIndex
    window: Window
    detectors: tuple[Detector, ...]
    downtimes: tuple[Downtime, ...] = ()
    shown_at: Mapping[str, ServiceKey] = field(default_factory=dict)


def fit(job: FitJob) -> dict[str, Baseline]:
    """Learn a chunk; runs in a worker process."""
    with History(job.history) as history:
        frame = history.read(job.component_type, job.window, job.index)
    if job.downtimes:
        frame = without(frame, job.downtimes, job.shown_at.__getitem__)
    return to_baselines(learn(trim(frame), job.detectors))


def trim(frame: Frame) -> Frame:
    """Without the empty buckets before the first value of any series: no detector shall wait for a past nobody has."""
    filled = np.flatnonzero(np.isfinite(frame.values).any(axis=0))
    first = int(filled[0]) if len(filled) else max(0, len(frame.window) - 1)
    return frame.within(Window(frame.window.start + first * frame.window.span, frame.window.end, frame.window.span))


def chunks(index: SeriesIndex, buckets: int) -> Iterator[SeriesIndex]:
    """The index cut between components, so that a chunk holds at most two million values, but `COMPANY` components at least,
    where there are that many: detectors that compare siblings learn from those of the chunk."""
    most = max(1, CHUNK_CELLS // max(1, buckets))
    ends = [*index.component_starts[1:].tolist(), len(index)] if len(index) else []
    start = first = 0
    for place, end in enumerate(ends):
        left = len(ends) - place - 1
        if not left or (ends[place + 1] - start > most and place + 1 - first >= COMPANY and left >= COMPANY):
            yield SeriesIndex(index.keys[start:end])
            start, first = end, place + 1


def fit_all(
    history: History,
    component_type: str,
    index: SeriesIndex,
    window: Window,
    detectors: Sequence[Detector],
    executor: Executor,
    *,
    progress: Progress,
    downtimes: Sequence[Downtime] = (),
    shown_at: Callable[[str], ServiceKey] | None = None,
) -> dict[str, Baseline]:
    """Learn every series; the parts of all chunks put together again, rows in the order of the index."""
    jobs = [
        FitJob(
            history=history.folder,
            component_type=component_type,
            index=part,
            window=window,
            detectors=tuple(detectors),
            downtimes=tuple(downtimes) if shown_at is not None else (),
            shown_at={name: shown_at(name) for name in part.components} if downtimes and shown_at is not None else {},
        )
        for part in chunks(index, len(window))
    ]
    parts = []
    for done, part in enumerate(executor.map(fit, jobs)):
        parts.append(part)
        progress(done + 1, len(jobs))
    return join(parts)


def join(parts: Iterable[Mapping[str, Baseline]]) -> dict[str, Baseline]:
    """Baselines of disjoint rows as one each. What is learnt of components can be larger in one piece than in another, or
    missing where none was learnt: it is filled up with zeros."""
    parts = list(parts)
    names = list(dict.fromkeys(name for part in parts for name in part))
    joined = {}
    for name in names:
        pieces = sorted(
            (part[name] for part in parts if name in part and len(part[name].index)), key=lambda piece: piece.index[0]
        )
        if not pieces:
            continue
        keys = [key for piece in pieces for key in piece.index]
        index = SeriesIndex(keys)
        # Pieces that interleave come out in the index's order, not in their own.
        order = np.fromiter((index.rows[key] for key in keys), np.int64, len(keys)).argsort()
        sizes = [len(piece.index) for piece in pieces]
        joined[name] = Baseline(
            detector=pieces[0].detector,
            index=index,
            trained_on=Window(
                min(piece.trained_on.start for piece in pieces),
                max(piece.trained_on.end for piece in pieces),
                pieces[0].trained_on.span,
            ),
            arrays={key: array[order] for key, array in _joined([piece.arrays for piece in pieces], sizes).items()},
            facts=pieces[0].facts,
        )
    return joined


def _joined(pieces: Sequence[Mapping[str, NDArray[Any]]], sizes: Sequence[int]) -> dict[str, NDArray[Any]]:
    result = {}
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        shapes = [piece[name].shape[1:] for piece in pieces if name in piece]
        shape = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
        kind = next(piece[name].dtype for piece in pieces if name in piece)
        array = np.zeros((sum(sizes), *shape), kind)
        first = 0
        for piece, size in zip(pieces, sizes, strict=True):
            if name in piece:
                array[(slice(first, first + size), *map(slice, piece[name].shape[1:]))] = piece[name]
            first += size
        result[name] = array
    return result


FUSION = "fusion:"


def to_baselines(models: Models) -> dict[str, Baseline]:
    """Models as the store keeps them: one flat mapping."""
    return {**models.baselines, **{FUSION + signature: baseline for signature, baseline in models.fusions.items()}}


def to_models(baselines: Mapping[str, Baseline]) -> Models:
    """The reverse of `to_baselines`."""
    return Models(
        baselines={name: baseline for name, baseline in baselines.items() if not name.startswith(FUSION)},
        fusions={name.removeprefix(FUSION): baseline for name, baseline in baselines.items() if name.startswith(FUSION)},
    )


# --- by hand ---------------------------------------------------------------------------------------------------------


def roll_back(state: State, component_type: str, version: int | None) -> str:
    """Put an earlier version in force and pin it; the sentence says what was done."""
    kept = sorted(state.models(component_type), key=lambda model: model.version)
    active = state.active_model(component_type)
    if version is None:
        earlier = [model.version for model in kept if active is None or model.version < active.version]
        if not earlier:
            raise ConfigError(f"{component_type}: there is no version before the one in force")
        version = earlier[-1]
    chosen = state.activate_model(component_type, version)
    until = f"{utc(chosen.trained_on.end):%Y-%m-%d %H:%M} UTC"
    return (
        f"{component_type}: version {version}, learnt until {until}, is in force from the next tick and pinned; "
        f"`tocsin train --type {component_type}` takes the pin out"
    )
