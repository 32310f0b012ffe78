"""A series against what was learnt of it, as the geometry of a drawing: value, band, expected, limits, who alerted when.

Pure arithmetic; the template turns it into SVG. What is drawn is cut to what a screen can show: of every group of
buckets the line visits the lowest and the highest value, so that no spike is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import numpy as np

from tocsin.model import Floats, Ints
from tocsin.timegrid import Calendar

WIDTH, LEFT, RIGHT, TOP, HEIGHT = 960, 64, 112, 10, 200
LANE, LANES_TOP = 16, 34
POINTS = 480

_Scale: TypeAlias = Callable[[float], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Something that lasted, epoch seconds."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A row of bars under the curve: when something was the case."""

    name: str
    style: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is to be drawn of one series; all arrays (n_buckets,), NaN where there is nothing.

    `limits` are the static thresholds (name, value); `happened` is shaded behind the curve.
    """

    metric: str
    unit: str
    span: int
    starts: Ints
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    limits: tuple[tuple[str, float], ...] = ()
    happened: tuple[Span, ...] = ()
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and its words; `strong` where a day begins."""

    at: float
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing of `width` x `height` units: paths and places, no words of the user's except as text to be escaped."""

    band: Band
    width: int
    height: int
    line: str
    dots: tuple[tuple[float, float], ...]
    shade: str
    expected: str
    happened: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    limits: tuple[Tick, ...]
    beyond: tuple[str, ...]
    lanes: tuple[tuple[Tick, tuple[Bar, ...]], ...]
    description: str

    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = TOP + HEIGHT


def plot(band: Band, calendar: Calendar, groups: int = POINTS) -> Plot:
    """Lay a band out, in at most so many groups of buckets."""
    start, end = int(band.starts[0]), int(band.starts[-1]) + band.span
    low, high, beyond = _view(band)

    def x(instant: float) -> float:
        return round(LEFT + (min(max(instant, start), end) - start) / (end - start) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + HEIGHT - (min(max(value, low), high) - low) / (high - low) * HEIGHT, 1)

    group = -(-len(band.starts) // groups)
    middles = [float(block.mean()) + band.span / 2 for block in _blocks(band.starts, group)]
    lower, upper, expected = (
        [_mean(block) for block in _blocks(array, group)] for array in (band.lower, band.upper, band.expected)
    )
    points = [(at + band.span / 2, value) for at, value in _visited(band.starts, band.value, group)]
    pieces = list(_pieces(points))
    lanes_top = TOP + HEIGHT + LANES_TOP
    return Plot(
        band=band,
        width=WIDTH,
        height=lanes_top + LANE * len(band.lanes),
        line=" ".join(_path([(x(at), y(value)) for at, value in piece]) for piece in pieces if len(piece) > 1),
        dots=tuple((x(piece[0][0]), y(piece[0][1])) for piece in pieces if len(piece) == 1),
        shade=" ".join(_shade(list(zip(middles, lower, upper, strict=True)), x, y)),
        expected=" ".join(
            _path([(x(at), y(v)) for at, v in piece]) for piece in _pieces(zip(middles, expected, strict=True)) if len(piece) > 1
        ),
        happened=tuple(_bar(span, x, TOP, HEIGHT) for span in band.happened if span.end > start and span.start < end),
        x_ticks=tuple(_x_ticks(start, end, calendar, x)),
        y_ticks=tuple(Tick(y(value), spell(value)) for value in nice_steps(low, high)),
        limits=tuple(Tick(y(value), f"{name} {spell(value)}") for name, value in band.limits if low <= value <= high),
        beyond=beyond,
        lanes=tuple(_lane(lane, lanes_top + LANE * i, start, end, x) for i, lane in enumerate(band.lanes)),
        description=_describe(band, calendar),
    )


def spell(value: float) -> str:
    """A number as short as it can be said: 0.15, 840, 12.4k, 3.1M."""
    size, letter = next(
        ((size, letter) for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if abs(value) >= size), (1.0, "")
    )
    short = value / (1e3 if letter == "k" else size)
    return f"{short:.0f}{letter}" if abs(short) >= 99.95 else f"{short:.3g}{letter}"


def nice_steps(low: float, high: float) -> list[float]:
    """Four or so round numbers in a range."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _view(band: Band) -> tuple[float, float, tuple[str, ...]]:
    """Lowest and highest value to show, and the limits that are too far away to be shown."""
    seen = band.value[np.isfinite(band.value)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (math.inf, -math.inf)
    # Values are always in the picture; of the band as much as leaves them large enough to be seen.
    distances = np.concatenate([d[np.isfinite(d)] for d in (band.upper - band.expected, band.expected - band.lower)])
    room = max(high - low, 2 * float(np.median(distances)) if len(distances) else 0.0)
    bottom, top = (low - room, high + room) if len(seen) else (-math.inf, math.inf)
    for edge in (band.lower, band.upper):
        if np.isfinite(edge).any():
            lowest, highest = (float(x) for x in np.quantile(edge[np.isfinite(edge)], [0.02, 0.98]))
            low, high = min(low, max(lowest, bottom)), max(high, min(highest, top))
    low, high = (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)
    if low > 0 and low < 0.4 * high:
        low = 0.0
    largest = max(abs(low), abs(high))
    size = high - low if high - low > max(1e-9 * largest, 1e-12) else max(largest, 1e-3)  # all the same, as far as can be seen
    near = [value for _, value in band.limits if low - 0.5 * size <= value <= high + 0.5 * size]
    low, high = min([low, *near]), max([high, *near])
    beyond = tuple(f"{name} {spell(value)}" for name, value in band.limits if value not in near)
    margin = 0.06 * size
    return low if low == 0 else low - margin, high + margin, beyond


def _blocks(array: Floats | Ints, size: int) -> Iterator[Floats | Ints]:
    for first in range(0, len(array), size):
        yield array[first : first + size]


def _mean(values: Floats | Ints) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else math.nan


def _visited(starts: Ints, values: Floats, size: int) -> Iterator[tuple[float, float]]:
    """The points the line visits: lowest and highest of each block, in order of time; NaN where a block has nothing."""
    for first in range(0, len(values), size):
        block = values[first : first + size]
        if not np.isfinite(block).any():
            yield float(starts[first]), math.nan
            continue
        for i in sorted({int(np.nanargmin(block)), int(np.nanargmax(block))}):
            yield float(starts[first + i]), float(block[i])


def _pieces(points: Iterable[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Runs of neighbouring points that are there."""
    piece: list[tuple[float, float]] = []
    for point in points:
        if math.isfinite(point[1]):
            piece.append(point)
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{px:g} {py:g}" for px, py in points)


def _shade(edges: Sequence[tuple[float, float, float]], x: _Scale, y: _Scale) -> Iterator[str]:
    places = range(len(edges))
    joined = ((float(i), edges[i][1] + edges[i][2]) for i in places)
    for piece in _pieces(joined):
        run = [edges[int(i)] for i, _ in piece]
        there = [(x(at), y(high)) for at, _, high in run]
        back = [(x(at), y(low)) for at, low, _ in reversed(run)]
        yield _path([*there, *back]) + "Z"


def _bar(span: Span, x: _Scale, top: float, height: float, style: str = "") -> Bar:
    return Bar(x(span.start), top, round(max(2.0, x(span.end) - x(span.start)), 1), height, style)


def _lane(lane: Lane, top: float, start: int, end: int, x: _Scale) -> tuple[Tick, tuple[Bar, ...]]:
    bars = tuple(_bar(span, x, top + 3, LANE - 7, lane.style) for span in lane.spans if span.end > start and span.start < end)
    return Tick(top + LANE / 2 + 3, lane.name), bars


def _x_ticks(start: int, end: int, calendar: Calendar, x: _Scale) -> Iterator[Tick]:
    hours = next(step for step in (1, 3, 6, 12, 24, 48, 168, 24 * 3650) if (end - start) / 3600 / step <= 14)
    midnight = calendar.local(start).replace(hour=0, minute=0, second=0, microsecond=0)
    for i in range(int((end - start) / 3600 / hours) + 26):
        # Adding to a local time moves the hands of its clock, not the instant: days of 23 and 25 hours come out right.
        at = midnight + timedelta(hours=i * hours)
        if start <= at.timestamp() <= end:
            day = at.hour == 0
            yield Tick(x(at.timestamp()), f"{at:%a} {at.day}" if day else f"{at:%H:%M}", day)


def _describe(band: Band, calendar: Calendar) -> str:
    there = band.value[np.isfinite(band.value)]
    unit = f" {band.unit}" if band.unit else ""
    if not len(there):
        return f"{band.metric}: no value in this time."
    first, last = calendar.local(int(band.starts[0])), calendar.local(int(band.starts[-1]))
    text = f"{band.metric} from {first:%a %d %b %H:%M} to {last:%a %d %b %H:%M}, "
    text += f"between {spell(there.min())} and {spell(there.max())}{unit}."
    outside = (band.value > band.upper) | (band.value < band.lower)
    if np.isfinite(band.lower).any():
        text += f" {outside.mean():.0%} of the time outside of the learned band."
    return text
