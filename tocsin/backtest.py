"""The past again: what Tocsin would have said of it, beside what the static template did.

A component type's frame is walked through as life would have gone: learn from what is past, judge the next block, learn
again. The judge is the daemon's. Nothing here reads a clock, a source or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alerting import say
from alerting.judge import JudgeState, Rules, judge
from tocsin.evaluation import Episode, Label, Tally, evaluate, total
from tocsin.model import Frame, Incident, Metric, Phase, Scores, SeriesIndex, ServiceKey, Severity, Transition, Window
from tocsin.ports import Detector
from tocsin.scoring import Evaluation, walk
from tocsin.thresholds import Alert, Template, merge, template_alerts
from tocsin.timegrid import Calendar

BAND_CELLS = 8_000_000
"""Values whose learned bands are kept for drawing; a larger past is judged all the same."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Past:
    """One component type's past, judged in `judged`: the episodes of the template and ours, and what they rest on.

    `bands` holds what was learnt (expected, lower, upper), None where that was too much to keep.
    """

    component_type: str
    frame: Frame
    judged: Window
    calendar: Calendar
    metrics: Mapping[str, Metric]
    template: Template
    static: tuple[Episode, ...]
    ours: tuple[Episode, ...]
    incidents: tuple[Incident, ...]
    bands: Scores | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The template and Tocsin over the same past, and whether it is known what really happened."""

    pasts: tuple[Past, ...]
    labelled: bool
    static: Tally
    ours: Tally


def relive(
    frame: Frame,
    detectors: Sequence[Detector],
    rules: Rules,
    *,
    component_type: str,
    calendar: Calendar,
    metrics: Mapping[str, Metric],
    template: Template,
    train: int,
    every: int,
    start: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Past:
    """Walk through a frame (rates, not counters), learning from the trailing `train` seconds again every `every` seconds.

    What is before `start` is only learnt from; without it everything that could be judged counts.
    """
    whole = frame.window
    first = min(whole.end, whole.start + -(-max(0, (start or 0) - whole.start) // whole.span) * whole.span)
    states: dict[str, JudgeState] = {}
    incidents: dict[str, Incident] = {}
    transitions: list[Transition] = []
    bands = _no_bands(frame.index, whole) if frame.values.size <= BAND_CELLS else None
    judged_from: int | None = None
    for window, evaluation in walk(frame, detectors, train=train, every=every, start=first):
        inner = frame.within(window)
        judged_from = _first_judged(evaluation, window) if judged_from is None else judged_from
        for signature, fused in evaluation.fused.items():
            mine = [d.name for d in detectors if d.signature == signature and d.name in evaluation.scores]
            series = [(inner, evaluation.scores[name]) for name in mine]
            judged = judge(fused, series, states.get(signature, JudgeState()), rules, component_type, signature, metrics)
            states[signature] = judged.state
            incidents.update((incident.id, incident) for incident in judged.incidents)
            transitions += judged.transitions
        if bands is not None:
            _keep(bands, evaluation)
        progress((window.end - first) // window.span, (whole.end - first) // window.span)
    return Past(
        component_type=component_type,
        frame=frame,
        judged=Window(whole.end if judged_from is None else judged_from, whole.end, whole.span),
        calendar=calendar,
        metrics=metrics,
        template=template,
        static=static_episodes(frame, template),
        ours=our_episodes(incidents.values(), transitions, frame, calendar, reopen=template.reopen),
        incidents=tuple(sorted(incidents.values(), key=lambda incident: (incident.since, incident.component))),
        bands=bands,
    )


def compare(pasts: Sequence[Past], labels: Sequence[Label] | None = None, changes: Sequence[Label] = ()) -> Comparison:
    """Hold both against the labels, or only count where there are none. `changes` excuse one alert each."""

    def tally(past: Past, episodes: Iterable[Episode]) -> Tally:
        names = past.frame.index.components
        return evaluate(
            episodes,
            [label for label in labels or () if label.component in names],
            components=len(names),
            start=past.judged.start,
            end=past.judged.end,
            excused=[change for change in changes if change.component in names],
        )

    return Comparison(
        pasts=tuple(pasts),
        labelled=labels is not None,
        static=total(tally(past, past.static) for past in pasts),
        ours=total(tally(past, past.ours) for past in pasts),
    )


def static_episodes(frame: Frame, template: Template) -> tuple[Episode, ...]:
    """The alerts of a static template as episodes."""
    return tuple(
        Episode(
            component=component,
            start=alert.start,
            end=alert.end,
            told=alert.told,
            text=f"{alert.severity.name}: {', '.join(alert.checks)}",
        )
        for component, several in template_alerts(frame, template).items()
        for alert in several
    )


def our_episodes(
    incidents: Iterable[Incident], transitions: Iterable[Transition], frame: Frame, calendar: Calendar, *, reopen: int
) -> tuple[Episode, ...]:
    """Incidents as episodes, by the rules that hold for the template: those of one component that overlap or come back
    are one alert, told of when it opens, and when it gets worse than it was.

    An incident counts as it was shown when it was worst. One that is still open ends with the frame.
    """
    known = {incident.id: incident for incident in incidents}
    told: dict[str, list[int]] = {}
    worst: dict[str, Severity] = {}
    for step in sorted(transitions, key=lambda step: step.at):
        if step.kind in ("opened", "reopened", "worse") and step.severity > worst.get(step.incident, Severity.OK):
            worst[step.incident] = step.severity
            told.setdefault(step.incident, []).append(step.at)
    of_component: dict[str, list[Alert]] = {}
    for identity, instants in told.items():
        incident = known[identity]
        end = frame.window.end if incident.recovered is None else incident.recovered
        alert = Alert(instants[0], max(end, instants[-1]), tuple(instants), worst[identity], (identity,))
        of_component.setdefault(incident.component, []).append(alert)
    return tuple(
        Episode(
            component=component,
            start=alert.start,
            end=alert.end,
            told=alert.told,
            text=f"{alert.severity.name}: {said([known[identity] for identity in alert.checks], frame, calendar)}",
        )
        for component, several in sorted(of_component.items())
        for alert in merge(several, reopen, same_check=False)
    )


def said(incidents: Sequence[Incident], frame: Frame, calendar: Calendar) -> str:
    """What the service of these incidents' component showed when they were worst, its first line."""
    rows = sum(key.component == incidents[0].component for key in frame.index)
    shown = [replace(incident, phase=Phase.OPEN, recovered=None, held_by=()) for incident in incidents]
    now = max(incident.last_bad for incident in shown) + frame.window.span
    watched = say.Watched(metrics=rows, judged=rows)
    result = say.result(ServiceKey(incidents[0].component, ""), shown, watched, now, calendar=calendar)
    return result.text.partition("\n")[0]


def bands_of(index: SeriesIndex, window: Window, evaluations: Iterable[Evaluation]) -> Scores:
    """What was learnt over a window, from evaluations of parts of it: the first band that a detector gives."""
    bands = _no_bands(index, window)
    for evaluation in evaluations:
        _keep(bands, evaluation)
    return bands


def _no_bands(index: SeriesIndex, window: Window) -> Scores:
    arrays = {name: np.full((len(index), len(window)), np.nan) for name in ("surprise", "expected", "lower", "upper")}
    return Scores(index=index, window=window, **arrays)


def _keep(bands: Scores, evaluation: Evaluation) -> None:
    for scores in evaluation.scores.values():
        start, end = max(scores.window.start, bands.window.start), min(scores.window.end, bands.window.end)
        if start < end:
            common = Window(start, end, bands.window.span)
            here, there = common.columns_in(bands.window), common.columns_in(scores.window)
            empty = np.isnan(bands.expected[:, here])
            for name in ("surprise", "expected", "lower", "upper"):
                np.copyto(getattr(bands, name)[:, here], getattr(scores, name)[:, there], where=empty)


def _first_judged(evaluation: Evaluation, window: Window) -> int | None:
    """Start of the first bucket in which any component was judged."""
    columns = np.flatnonzero(np.any([np.isfinite(fused.surprise).any(axis=0) for fused in evaluation.fused.values()], axis=0))
    return int(window.starts[columns[0]]) if len(columns) else None
