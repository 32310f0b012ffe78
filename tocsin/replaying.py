"""`tocsin backtest`: a configured source's past, lived again beside the static thresholds, told to people and machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.text import Text

from tocsin.backtest import Comparison, Past, compare, relive
from tocsin.bandplot import Band, Lane, Span
from tocsin.config import ComponentType, Config
from tocsin.errors import ConfigError, did_you_mean
from tocsin.evaluation import Episode, Label, Match, Tally
from tocsin.labels import read_labels
from tocsin.model import Frame, Incident, SeriesKey, Window, utc
from tocsin.report import ReportData, Side, Story, around, band_of, comparison_table, render
from tocsin.shard import Shard
from tocsin.show import console
from tocsin.thresholds import Template, Thresholds, parse_range
from tocsin.timegrid import DAY

CHUNK_DAYS = 7
MOST_BANDS = 3

Progress = Callable[[int, int], None]

PROTOCOL = (
    "Both sides read the same values. The static template alerts after three buckets in a row outside its thresholds; Tocsin "
    "judges each bucket from what was past then, refitting as the daemon does.",
    "An incident is found when somebody is told of its component between its start and 30 minutes after its end; the delay runs "
    "from its start. Further alerts during it are neither false nor a second find.",
    "Every other alert is false, but for one about a lasting change that was announced, such as a deployment.",
)


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """A comparison, ready to be told."""

    comparison: Comparison
    data: ReportData

    def document(self) -> dict[str, Any]:
        """The figures as JSON."""
        return document(self.comparison)

    def print(self) -> None:
        """The figures for a terminal."""
        out = console()
        out.print(Text(self.data.lead))
        out.print(comparison_table(self.data.sides, labelled=self.data.labelled))

    def write_html(self, path: Path) -> None:
        """One self-contained file."""
        try:
            path.write_text(render(self.data), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def run_backtest(
    config: Config,
    component_type: str | None,
    start: str | None,
    end: str | None,
    labels: Path | None,
    *,
    progress: Progress = lambda _done, _total: None,
) -> Backtest:
    """Collect a past from the configured sources and live through it again."""
    kinds = [kind for kind in config.types if component_type in (None, kind.name)]
    if not kinds:
        names = [kind.name for kind in config.types]
        raise ConfigError(f'no component type "{component_type}"{did_you_mean(component_type or "", names)}')
    pasts = []
    for place, kind in enumerate(kinds):
        shard = Shard.of(kind, ())
        frame = _collect(
            shard, _instant(start, kind.timezone, "--from"), _instant(end, kind.timezone, "--to"), config.train.history
        )

        def part(done: int, total: int, place: int = place) -> None:
            progress(place * total + done, len(kinds) * total)

        pasts.append(
            relive(
                frame,
                shard.detectors,
                shard.rules,
                component_type=kind.name,
                calendar=shard.calendar,
                metrics=shard.metrics,
                template=template_of(kind),
                train=config.train.history,
                every=config.train.every,
                start=_instant(start, kind.timezone, "--from"),
                progress=part,
            )
        )
    known = {name for past in pasts for name in past.frame.index.components}
    truth = None if labels is None else read_labels(labels, timezone=config.timezone, known=known)
    comparison = compare(pasts, truth)
    judged = [past.judged for past in pasts if len(past.judged)]
    if not judged:
        raise ConfigError("nothing could be judged: the sources have too little history before the period; see docs/detection")
    first, last = min(window.start for window in judged), max(window.end for window in judged)
    lead = (
        f"{comparison.ours.components} components of {len(pasts)} component types, judged from {utc(first):%Y-%m-%d %H:%M} "
        f"to {utc(last):%Y-%m-%d %H:%M} UTC"
    )
    return Backtest(comparison=comparison, data=report_data(comparison, title="Backtest", lead=lead, made_at=time.time()))


def template_of(kind: ComponentType) -> Template:
    """The static thresholds of a component type's YAML."""

    def limits(text: str | None) -> Any:
        return None if text is None else parse_range(text)

    return Template(thresholds={name: Thresholds(limits(one.warning), limits(one.critical)) for name, one in kind.static.items()})


def _collect(shard: Shard, start: int | None, end: int | None, history: int) -> Frame:
    """The period and the history before it, read a week at a time."""
    index = shard.intake.discover()
    reach = shard.intake.reach()
    if not len(index) or reach is None:
        why = shard.why_blind or "its sources have no series"
        raise ConfigError(f"{shard.kind.path}: nothing to replay for {shard.name}: {why}")
    span = shard.span
    first = reach[0] if start is None else max(reach[0], start - history)
    last = reach[1] + span if end is None else min(reach[1] + span, end)
    first, last = first // span * span, last // span * span
    if first >= last:
        raise ConfigError(
            f"{shard.name}: there is nothing in that period: its sources have values from {utc(reach[0]):%Y-%m-%d %H:%M} "
            f"to {utc(reach[1]):%Y-%m-%d %H:%M} UTC"
        )
    return _joined(shard, Window(first, last, span))


def _joined(shard: Shard, window: Window) -> Frame:
    index = shard.intake.discover()
    whole = Frame.unknown(index, window)
    step = max(1, CHUNK_DAYS * DAY // window.span) * window.span
    for begin in range(window.start, window.end, step):
        part = Window(begin, min(begin + step, window.end), window.span)
        frame = shard.intake.collect(index, part)
        columns = part.columns_in(window)
        whole.values[:, columns], whole.known[:, columns] = frame.values, frame.known
    return whole


def _instant(text: str | None, timezone: str, option: str) -> int | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} is no time: write 2026-11-01 or 2026-11-01T08:30") from error
    return int((when if when.tzinfo else when.replace(tzinfo=ZoneInfo(timezone))).timestamp())


# --- telling it ---------------------------------------------------------------------------------------------------


def report_data(
    comparison: Comparison,
    *,
    title: str,
    lead: str,
    made_at: float,
    facts: Sequence[tuple[str, str]] = (),
    protocol: Sequence[str] = PROTOCOL,
) -> ReportData:
    """Everything the HTML report shows of a comparison."""
    pasts = comparison.pasts
    types = {component: past.component_type for past in pasts for component in past.frame.index.components}
    return ReportData(
        title=title,
        lead=lead,
        calendar=pasts[0].calendar,
        start=min(past.judged.start for past in pasts),
        end=max(past.judged.end for past in pasts),
        made_at=made_at,
        labelled=comparison.labelled,
        sides=(Side(name="Static template", tally=comparison.static), Side(name="Tocsin", tally=comparison.ours)),
        stories=tuple(_stories(comparison)),
        component_types=types,
        facts=tuple(facts),
        protocol=tuple(protocol),
    )


def _stories(comparison: Comparison) -> Iterable[Story]:
    by_component = {component: past for past in comparison.pasts for component in past.frame.index.components}
    if comparison.labelled:
        for static, ours in zip(comparison.static.matches, comparison.ours.matches, strict=True):
            yield _labelled(by_component[ours.label.component], static, ours)
    else:
        for episode in comparison.ours.episodes:
            past = by_component[episode.component]
            yield Story(
                component=episode.component,
                component_type=past.component_type,
                title="alert",
                start=episode.start,
                end=episode.end,
                said=episode.text,
                bands=tuple(_bands(past, episode.component, episode.start, episode.end, ())),
            )


def _labelled(past: Past, static: Match, ours: Match) -> Story:
    label: Label = ours.label
    return Story(
        component=label.component,
        component_type=past.component_type,
        title=label.kind or "incident",
        start=label.start,
        end=label.end,
        text=label.text,
        said=ours.episode.text if ours.episode is not None else "",
        matches=(static, ours),
        bands=tuple(_bands(past, label.component, label.start, label.end, label.metrics)),
    )


def _bands(past: Past, component: str, start: int, end: int, metrics: Sequence[str]) -> Iterable[Band]:
    """The metrics an incident is about: those that are named, else those that Tocsin held responsible, else the first."""
    theirs = [key.metric for key in past.frame.index if key.component == component]
    blamed = _blamed(past.incidents, component, start, end)
    chosen = [name for name in dict.fromkeys([*metrics, *blamed]) if name in theirs] or theirs
    shown = around(start, end, past.frame.window)
    lanes = (
        Lane(name="Static template", style="static", spans=_open(past.static, component)),
        Lane(name="Tocsin", style="tocsin", spans=_open(past.ours, component)),
    )
    for name in chosen[:MOST_BANDS]:
        yield band_of(
            past.frame,
            past.bands,
            SeriesKey(component, name),
            shown,
            unit=past.metrics[name].unit if name in past.metrics else "",
            thresholds=past.template.thresholds.get(name),
            happened=(Span(start=start, end=end),),
            lanes=lanes,
        )


def _open(episodes: Sequence[Episode], component: str) -> tuple[Span, ...]:
    return tuple(Span(start=episode.start, end=episode.end) for episode in episodes if episode.component == component)


def _blamed(incidents: Sequence[Incident], component: str, start: int, end: int) -> list[str]:
    theirs = [one for one in incidents if one.component == component and one.since < end and one.last_bad >= start]
    return [anomaly.metric for one in theirs for anomaly in one.anomalies]


def document(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON: both sides' figures, every alert, and what became of each label."""
    return {
        "labelled": comparison.labelled,
        "static": _side(comparison.static, comparison.labelled),
        "tocsin": _side(comparison.ours, comparison.labelled),
    }


def _side(tally: Tally, labelled: bool) -> Mapping[str, Any]:
    known = {
        "found": tally.found,
        "missed": tally.missed,
        "false_alarms": len(tally.false),
        "median_delay_seconds": tally.median_delay,
        "incidents": [
            {
                "component": match.label.component,
                "kind": match.label.kind,
                "start": utc(match.label.start).isoformat(),
                "end": utc(match.label.end).isoformat(),
                "found": match.episode is not None,
                "delay_seconds": match.delay,
            }
            for match in tally.matches
        ],
    }
    return {
        "components": tally.components,
        "alerts": tally.alerts,
        "alerts_per_component_and_day": tally.per_component_day(tally.alerts),
        **(known if labelled else {}),
        "alerts_raised": [
            {
                "component": episode.component,
                "start": utc(episode.start).isoformat(),
                "end": utc(episode.end).isoformat(),
                "text": episode.text,
                **({"false": episode in tally.false} if labelled else {}),
            }
            for episode in tally.episodes
        ],
    }
