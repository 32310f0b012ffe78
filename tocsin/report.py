"""What backtest and demo found, for people: a table in the terminal and one HTML file that needs nothing else.

The file has no script, asks no host for anything (its own policy forbids it) and escapes every text.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from tocsin import __version__
from tocsin.bandplot import Band, Lane, Span, plot
from tocsin.evaluation import Episode, Match, Tally
from tocsin.model import Frame, Scores, SeriesKey, Window
from tocsin.settings import spell_duration
from tocsin.thresholds import Thresholds
from tocsin.timegrid import Calendar

MAX_STORIES, MAX_ALERTS, MAX_COMPONENTS = 40, 60, 100


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the ways of alerting that are compared: its name for people, and how it did."""

    name: str
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Story:
    """One incident in full: what happened, what was said of it, and the curves.

    `matches` says, side by side in the order of the sides, who found it; empty where nobody knows what really happened.
    """

    component: str
    component_type: str
    title: str
    start: int
    end: int
    text: str = ""
    said: str = ""
    matches: tuple[Match, ...] = ()
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything the report shows. The second side is the one that is recommended (Tocsin).

    `labelled` tells whether it is known what really happened: without it nothing is called found, missed or false.
    `facts` are small (name, value) pairs; `protocol` says in sentences what was measured and how. The first stories are
    shown, the alerts and components are cut at a length and say so.
    """

    title: str
    lead: str
    calendar: Calendar
    start: int
    end: int
    made_at: float
    labelled: bool
    sides: tuple[Side, Side]
    stories: tuple[Story, ...] = ()
    component_types: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    protocol: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the comparison: what is compared, what each side has, and which side is better (-1: neither)."""

    name: str
    cells: tuple[str, ...]
    better: int


def comparison(sides: Sequence[Side], *, labelled: bool) -> list[Line]:
    """The rows of the table, best numbers told apart."""
    tallies = [side.tally for side in sides]
    incidents = len(tallies[0].matches)
    rate = [t.per_component_day(t.alerts) for t in tallies]
    lines = []
    if labelled:
        lines += [
            Line(f"incidents found (of {incidents})", tuple(str(t.found) for t in tallies), _best([-t.found for t in tallies])),
            Line("incidents missed", tuple(str(t.missed) for t in tallies), _best([t.missed for t in tallies])),
            Line("false alarms", tuple(str(len(t.false)) for t in tallies), _best([len(t.false) for t in tallies])),
            Line(
                "median delay",
                tuple(_delay(t.median_delay) for t in tallies),
                _best([math.inf if t.median_delay is None else t.median_delay for t in tallies]),
            ),
        ]
    lines.append(Line("alerts", tuple(str(t.alerts) for t in tallies), -1))
    lines.append(Line("alerts per component and day", tuple(f"{r:.3f}" for r in rate), -1 if not labelled else _best(rate)))
    return lines


def comparison_table(sides: Sequence[Side], *, labelled: bool) -> Table:
    """The same for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("")
    for side in sides:
        table.add_column(Text(side.name), justify="right")
    for line in comparison(sides, labelled=labelled):
        table.add_row(
            line.name, *(Text(cell, style="bold green" if i == line.better else "") for i, cell in enumerate(line.cells))
        )
    return table


def render(data: ReportData) -> str:
    """The report as one HTML document."""
    style = files("tocsin").joinpath("templates/report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tocsin"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(day_time=_when(data.calendar), lasting=spell_duration, delay=_delay)
    stories = data.stories[:MAX_STORIES]
    return environment.get_template("report.html.j2").render(
        data=data,
        version=__version__,
        # The policy names the style sheet by its hash, so that nothing else in the page can bring style or script.
        style=Markup(style),  # noqa: S704  (our own file)
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        sides=data.sides,
        lines=comparison(data.sides, labelled=data.labelled),
        tiles=_tiles(data),
        stories=[(story, [plot(band, data.calendar) for band in story.bands]) for story in stories],
        more_stories=len(data.stories) - len(stories),
        components=_components(data),
        max_alerts=MAX_ALERTS,
        max_components=MAX_COMPONENTS,
        type_of=lambda component: data.component_types.get(component, ""),
    )


def band_of(
    frame: Frame,
    scores: Scores | None,
    key: SeriesKey,
    around: Window,
    *,
    unit: str = "",
    thresholds: Thresholds | None = None,
    happened: tuple[Span, ...] = (),
    lanes: tuple[Lane, ...] = (),
) -> Band:
    """One series of a frame and what was learnt of it, cut to `around` (as far as they reach). `scores` may cover less time."""
    seen = _common(around, frame.window)
    columns, row = seen.columns_in(frame.window), frame.index.rows[key]
    learnt = {name: np.full(len(seen), np.nan) for name in ("expected", "lower", "upper")}
    if scores is not None and key in scores.index.rows:
        judged = _common(seen, scores.window)
        for name, array in learnt.items():
            array[judged.columns_in(seen)] = getattr(scores, name)[scores.index.rows[key], judged.columns_in(scores.window)]
    limits = [
        (name, edge)
        for name, limit in (("warning", thresholds and thresholds.warning), ("critical", thresholds and thresholds.critical))
        if limit
        for edge in limit.edges
        if edge != 0 or limit.inside  # 0..80 is drawn as one line, not as two
    ]
    return Band(
        metric=key.metric,
        unit=unit,
        span=seen.span,
        starts=seen.starts,
        value=frame.values[row, columns],
        expected=learnt["expected"],
        lower=learnt["lower"],
        upper=learnt["upper"],
        limits=tuple(limits),
        happened=happened,
        lanes=lanes,
    )


def around(label_start: int, label_end: int, inside: Window, *, hours: float = 36) -> Window:
    """The buckets of `inside` from well before to well after something, `hours` or a little more than it lasted."""
    span = inside.span
    spare = max(int(hours * 3600) - (label_end - label_start), 8 * 3600) // 2
    first = max(inside.start, inside.start + (label_start - spare - inside.start) // span * span)
    last = min(inside.end, inside.start - (inside.start - label_end - spare) // span * span)
    return Window(first, max(first, last), span)


def _common(one: Window, other: Window) -> Window:
    start = max(one.start, other.start)
    return Window(start, max(start, min(one.end, other.end)), one.span)


def _best(values: Sequence[float]) -> int:
    low = min(values)
    return -1 if sum(value == low for value in values) > 1 else list(values).index(low)


def _delay(seconds: float | None) -> str:
    return "–" if seconds is None else spell_duration(seconds) if seconds else "at once"


def _when(calendar: Calendar) -> Any:
    return lambda instant, form="%a %d %b %H:%M": f"{calendar.local(instant):{form}}"


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Number, what it is, and beside what."""
    before, ours = (side.tally for side in data.sides)
    name = data.sides[0].name
    rates = [tally.per_component_day(tally.alerts) for tally in (before, ours)]
    alerts = (f"{rates[1]:.2f}", "alerts per component and day", f"{name}: {rates[0]:.2f}")
    if not data.labelled:
        return [(str(ours.alerts), "alerts", f"{name}: {before.alerts}"), alerts]
    return [
        (f"{ours.found} of {len(ours.matches)}", "incidents found", f"{name}: {before.found}"),
        (str(len(ours.false)), "false alarms" if len(ours.false) != 1 else "false alarm", f"{name}: {len(before.false)}"),
        (_delay(ours.median_delay), "median delay", f"{name}: {_delay(before.median_delay)}"),
        alerts,
    ]


def _components(data: ReportData) -> list[tuple[str, str, tuple[int, ...]]]:
    """Component, type and alerts of each side; the loudest first."""
    counts = [_per_component(side.tally.episodes) for side in data.sides]
    names = sorted(set().union(*counts), key=lambda name: (-sum(count.get(name, 0) for count in counts), name))
    return [(name, data.component_types.get(name, ""), tuple(count.get(name, 0) for count in counts)) for name in names]


def _per_component(episodes: Sequence[Episode]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for episode in episodes:
        counts[episode.component] = counts.get(episode.component, 0) + 1
    return counts
