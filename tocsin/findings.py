"""A comparison for people and machines: the incidents one by one with their curves, the report's data, the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tocsin.backtest import Comparison, Past, said
from tocsin.bandplot import Band, Lane, Span
from tocsin.evaluation import Episode, Label, Match, Tally
from tocsin.model import Incident, SeriesKey, utc
from tocsin.report import MAX_STORIES, ReportData, Side, Story, around, band_of
from tocsin.settings import spell_duration

CURVES = 2
"""How many metrics of an incident are drawn."""
BLAMED = 0.3
"""A metric that Tocsin gave at least this share of an incident is worth drawing."""

RULES = (
    "An incident is found when somebody is told during it, or up to 30 minutes after its end: an alert opens, or gets worse.",
    "An alert that was open before, and stays as it was, tells nobody anything and finds nothing.",
    "The delay runs from the beginning of the incident to that moment. Every alert that finds nothing is a false alarm.",
    "Both sides are counted alike: alerts of one component that overlap, or come back within 30 minutes, are one alert.",
)


def sides(comparison: Comparison) -> tuple[Side, Side]:
    """Both ways of alerting under the names people see."""
    return Side(name="Static template", tally=comparison.static), Side(name="Tocsin", tally=comparison.ours)


def report_data(
    comparison: Comparison,
    *,
    title: str,
    lead: str,
    made_at: float,
    facts: Sequence[tuple[str, str]] = (),
    protocol: Sequence[str] = (),
) -> ReportData:
    """Everything the report shows, of at least one past. `protocol` says what was done; how it was counted is added."""
    pasts = comparison.pasts
    attempts = " or ".join(sorted({str(past.template.attempts) for past in pasts}))
    return ReportData(
        title=title,
        lead=lead,
        calendar=pasts[0].calendar,
        start=min(past.judged.start for past in pasts),
        end=max(past.judged.end for past in pasts),
        made_at=made_at,
        labelled=comparison.labelled,
        sides=sides(comparison),
        stories=tuple(stories(comparison)),
        component_types={name: past.component_type for past in pasts for name in past.frame.index.components},
        facts=(
            ("component types", ", ".join(past.component_type for past in pasts)),
            ("components", str(sum(len(past.frame.index.components) for past in pasts))),
            ("series", str(sum(len(past.frame.index) for past in pasts))),
            ("one value every", ", ".join(sorted({spell_duration(past.judged.span) for past in pasts}))),
            *facts,
        ),
        protocol=(
            *protocol,
            f"A static threshold alerts after {attempts} values in a row that violate it, until one does not.",
            *(RULES if comparison.labelled else RULES[-1:]),
        ),
    )


def stories(comparison: Comparison) -> Iterator[Story]:
    """Each labelled incident, in order of time; without labels the most surprising of ours."""
    if comparison.labelled:
        for before, ours in zip(comparison.static.matches, comparison.ours.matches, strict=True):
            for past in comparison.pasts:
                if before.label.component in past.frame.index.components:
                    yield _labelled(past, before, ours)
                    break
        return
    told = [
        (past, one) for past in comparison.pasts for one in past.incidents if past.judged.start <= one.opened < past.judged.end
    ]
    told.sort(key=lambda pair: (-pair[1].peak, pair[1].opened, pair[1].component))
    for past, incident in sorted(told[:MAX_STORIES], key=lambda pair: (pair[1].opened, pair[1].component)):
        end = past.judged.end if incident.recovered is None else incident.recovered
        yield Story(
            component=incident.component,
            component_type=past.component_type,
            title=incident.signature.capitalize(),
            start=incident.since,
            end=end,
            said=f"{incident.severity.name}: {said([incident], past.frame, past.calendar)}",
            bands=_curves(
                past, incident.component, _metrics(past, incident.component, [incident], ()), incident.since, end, None
            ),
        )


def document(comparison: Comparison) -> dict[str, Any]:
    """The same for a machine; times in ISO 8601, delays in seconds."""
    both = {"static": comparison.static, "tocsin": comparison.ours}
    types = {name: past.component_type for past in comparison.pasts for name in past.frame.index.components}
    counts = {name: _counts(tally.episodes) for name, tally in both.items()}
    return {
        "labelled": comparison.labelled,
        "component_types": [
            {
                "component_type": past.component_type,
                "components": len(past.frame.index.components),
                "series": len(past.frame.index),
                "from": _iso(past.judged.start),
                "to": _iso(past.judged.end),
            }
            for past in comparison.pasts
        ],
        **{name: _numbers(tally, comparison.labelled) for name, tally in both.items()},
        "components": [
            {"component": name, "component_type": kind, **{side: counts[side].get(name, 0) for side in both}}
            for name, kind in types.items()
        ],
        "incidents": [
            {
                "component": ours.label.component,
                "kind": ours.label.kind,
                "start": _iso(ours.label.start),
                "end": _iso(ours.label.end),
                "static": _found(before),
                "tocsin": _found(ours),
            }
            for before, ours in zip(comparison.static.matches, comparison.ours.matches, strict=True)
        ],
        "alerts": {name: _alerts(tally, comparison.labelled) for name, tally in both.items()},
    }


def _labelled(past: Past, before: Match, ours: Match) -> Story:
    label, found = ours.label, ours.episode
    shown = (
        []
        if found is None
        else [i for i in past.incidents if i.component == label.component and found.start <= i.opened <= found.end]
    )
    return Story(
        component=label.component,
        component_type=past.component_type,
        title=label.kind.capitalize() or "Incident",
        start=label.start,
        end=label.end,
        text=f"{label.text[:1].upper()}{label.text[1:]}." if label.text else "",
        said=found.text if found else "",
        matches=(before, ours),
        bands=_curves(
            past, label.component, _metrics(past, label.component, shown, label.metrics), label.start, label.end, label
        ),
    )


def _metrics(past: Past, component: str, incidents: Sequence[Incident], known: Sequence[str]) -> list[str]:
    """The metrics worth drawing: those known to be in trouble, those that Tocsin named, those with thresholds, any."""
    blamed = sorted((anomaly for incident in incidents for anomaly in incident.anomalies), key=lambda anomaly: -anomaly.share)
    named = [anomaly.metric for anomaly in blamed if anomaly.share >= BLAMED or anomaly is blamed[0]]
    have = {key.metric for key in past.frame.index if key.component == component}
    wanted = dict.fromkeys([*known, *named, *([] if known or named else [*past.template.thresholds, *sorted(have)])])
    return [metric for metric in wanted if metric in have][:CURVES]


def _curves(past: Past, component: str, metrics: Sequence[str], start: int, end: int, label: Label | None) -> tuple[Band, ...]:
    happened = () if label is None else (Span(start=label.start, end=label.end),)
    lanes = (
        *((Lane(name="happened", style="happened", spans=happened),) if happened else ()),
        Lane(name="static", style="before", spans=_spans(past.static, component)),
        Lane(name="Tocsin", style="ours", spans=_spans(past.ours, component)),
    )
    view = around(start, end, past.frame.window)
    if not len(view):
        return ()
    return tuple(
        band_of(
            past.frame,
            past.bands,
            SeriesKey(component, metric),
            view,
            unit=past.metrics[metric].unit if metric in past.metrics else "",
            thresholds=past.template.thresholds.get(metric),
            happened=happened,
            lanes=lanes,
        )
        for metric in metrics
    )


def _spans(episodes: Sequence[Episode], component: str) -> tuple[Span, ...]:
    return tuple(Span(start=episode.start, end=episode.end) for episode in episodes if episode.component == component)


def _numbers(tally: Tally, labelled: bool) -> dict[str, Any]:
    counted = {"alerts": tally.alerts, "alerts_per_component_and_day": round(tally.per_component_day(tally.alerts), 6)}
    if not labelled:
        return counted
    return counted | {
        "found": tally.found,
        "missed": tally.missed,
        "false_alarms": len(tally.false),
        "excused": len(tally.excused),
        "median_delay_seconds": tally.median_delay,
    }


def _found(match: Match) -> dict[str, Any]:
    return {"found": match.episode is not None, "delay_seconds": match.delay}


def _alerts(tally: Tally, labelled: bool) -> list[dict[str, Any]]:
    false = set(tally.false)
    return [
        {"component": alert.component, "start": _iso(alert.start), "end": _iso(alert.end), "text": alert.text}
        | ({"false": alert in false} if labelled else {})
        for alert in tally.episodes
    ]


def _counts(episodes: Sequence[Episode]) -> Mapping[str, int]:
    names, counts = np.unique([episode.component for episode in episodes], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _iso(seconds: int) -> str:
    return utc(seconds).isoformat().replace("+00:00", "Z")
