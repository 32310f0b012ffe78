"""`tocsin backtest`: a configured source's past, lived again beside the static thresholds, told to people and machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.text import Text

from tocsin.backtest import Comparison, compare, relive
from tocsin.config import ComponentType, Config
from tocsin.errors import ConfigError, did_you_mean
from tocsin.findings import document, report_data
from tocsin.handback import template_of
from tocsin.intake import Intake
from tocsin.labels import read_labels
from tocsin.model import Frame, SeriesKey, Window, utc
from tocsin.ports import TemplatedCollector
from tocsin.report import ReportData, comparison_table, render
from tocsin.shard import Shard
from tocsin.show import console
from tocsin.thresholds import Range, Template, Thresholds, parse_range
from tocsin.timegrid import DAY

CHUNK_DAYS = 7

Progress = Callable[[int, int], None]

PROTOCOL = (
    "Both sides read the same values. Tocsin judges each bucket from what was past then, refitting as the daemon does.",
    "Its alerts count as if nothing held them back: no ladder, no silence, no maintenance.",
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
    shards = [Shard.of(kind, ()) for kind in kinds]
    # With all types replayed, a component nobody knows is a slip of the pen; else it may be of another type.
    known = {name for shard in shards for name in shard.intake.discover().components} if component_type is None else ()
    truth = None if labels is None else read_labels(labels, timezone=config.timezone, known=known)
    pasts = []
    for place, (kind, shard) in enumerate(zip(kinds, shards, strict=True)):
        train = kind.learns_from(config.train.history)
        frame = _collect(shard, _instant(start, kind.timezone, "--from"), _instant(end, kind.timezone, "--to"), train)

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
                template=template_in_force(kind, shard.intake),
                train=train,
                every=config.train.every,
                start=_instant(start, kind.timezone, "--from"),
                progress=part,
            )
        )
    comparison = compare(pasts, truth)
    judged = [past.judged for past in pasts if len(past.judged)]
    if not judged:
        raise ConfigError("nothing could be judged: the sources have too little history before the period; see docs/detection")
    first, last = min(window.start for window in judged), max(window.end for window in judged)
    lead = (
        f"{comparison.ours.components} components of {len(pasts)} component types, judged from {utc(first):%Y-%m-%d %H:%M} "
        f"to {utc(last):%Y-%m-%d %H:%M} UTC"
    )
    return Backtest(
        comparison=comparison, data=report_data(comparison, title="Backtest", lead=lead, made_at=time.time(), protocol=PROTOCOL)
    )


def template_in_force(kind: ComponentType, intake: Intake) -> Template:
    """What is deployed today: the thresholds of the YAML, and where it is silent on a metric those that its source knows of each
    series. A range that no plugin would understand counts as none."""
    written = template_of(kind.static)
    own: dict[SeriesKey, Thresholds] = {}
    for source in intake.sources:
        if isinstance(source.collector, TemplatedCollector):
            for key, (warning, critical) in source.collector.thresholds().items():
                limits = Thresholds(_range(warning), _range(critical))
                if written.of(key) is None and limits != Thresholds():
                    own[key] = limits
    return replace(written, own=own)


def _range(text: str) -> Range | None:
    try:
        return parse_range(text) if text else None
    except ValueError:
        return None


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
