"""The pictures of docs/detection: what each detector sees in a real series, and when it tells.

The data sets are public and not part of this repository; docs/detection/pictures/README.md says where each series is from. The
same data give the same pictures. What is drawn of a day was judged by what had been learnt from the four weeks before that day.

    ./dev bench pictures --data FOLDER [NAME ...]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from detectors.fuse import Fusion
from tocsin.bandplot import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Band, Plot, Span, plot
from tocsin.config_shapes import ComponentFile
from tocsin.model import Bools, Fitted, Floats, Frame, Fused, Ints, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Detector, Surroundings
from tocsin.registry import find
from tocsin.scoring import AnyDetector, of_components, of_series
from tocsin.timegrid import DAY, Calendar

HERE = Path(__file__).resolve().parents[1] / "docs" / "detection" / "pictures"
PAST = 28 * DAY
POINTS = 260
OPENS, MOST = 4.0, 12.0
"""Surprise at which an incident opens; more than `MOST` is drawn as that much."""
LOW = 0.42
"""Height of the lower panel as part of the upper one's."""
GAP = 46
LOUDEST = 6
"""Of a component's series so many are drawn."""
CALENDAR = Calendar("UTC")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#5c6773}.y{text-anchor:end}.x,.day,text.found{text-anchor:middle}"
    ".day{font-weight:600}"
    "path{fill:none;stroke-width:1.3;stroke-linejoin:round}.page{fill:#fff}.grid{stroke:#eceef1;stroke-width:1}.bad{fill:#fbe3e8}"
    ".band{fill:#0f766e;fill-opacity:.17}.expected{stroke:#0f766e;stroke-dasharray:4 3}.value{stroke:#24324a}"
    ".part{stroke:#24324a;stroke-opacity:.5;stroke-width:1}.surprise{stroke:#b45309}.limit{stroke:#5c6773;stroke-dasharray:2 3}"
    "path.found{stroke:#be183c}text.found{fill:#be183c;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#98a3b0}.page{fill:#14181d}.grid{stroke:#272d35}.bad{fill:#3a2029}"
    ".band{fill:#4fd1c0}.expected{stroke:#4fd1c0}.value,.part{stroke:#d5dde8}.surprise{stroke:#f0a653}path.found{stroke:#f4758f}"
    "text.found{fill:#f4758f}}"
)
DEFAULT: Sequence[str] = ComponentFile.model_fields["detect"].default


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`days` of a series from day `first` of its file on, and what the detector says of them.

    Without a `metric` it is about a component: its series' surprises above, the detector's own below. With `siblings` the other
    files of that pattern are components beside it; a `young` one is known for so many days before.
    """

    name: str
    detector: str
    file: str
    first: float
    days: float
    title: str
    metric: str = ""
    siblings: str = ""
    young: float | None = None


OUTBOUND = "mscloud/middle-tier-api-dependency-latency"
PICTURES = (
    Picture(
        name="seasonal",
        detector="seasonal",
        file="aiops/301c70d8-1630-35ac-8f96-bc1b6f4359ea",
        metric="value",
        first=13,
        days=2,
        title="Seasonal: what is little at noon is much at nine in the evening.",
    ),
    Picture(
        name="novelty",
        detector="novelty",
        file="mscloud/consumer-purchase-rate/purchase-04",
        metric="value",
        first=29,
        days=5,
        title="Novelty: at this hour no day before had such a value; shaded is what the ten days before had.",
    ),
    Picture(
        name="change",
        detector="change",
        file="aiops/301c70d8-1630-35ac-8f96-bc1b6f4359ea",
        metric="value",
        first=35.5,
        days=1.5,
        title="Change: values unlike those just before them, and what is expected follows within ten buckets.",
    ),
    Picture(
        name="level",
        detector="level",
        file="mscloud/consumer-purchase-rate/purchase-04",
        metric="value",
        first=28,
        days=7,
        title="Level: the last hours as a whole are not where those of the week before were.",
    ),
    Picture(
        name="stuck",
        detector="stuck",
        file="jumpstarter/2_service05",
        metric="m06",
        first=32,
        days=1.5,
        title="Stuck: a value that stays the same to the last digit for longer than it ever does.",
    ),
    Picture(
        name="pca",
        detector="pca",
        file="asd/omi-2",
        metric="m06",
        first=32,
        days=1.5,
        title="PCA: the other metrics of the component say what this one should be.",
    ),
    Picture(
        name="peers",
        detector="peers",
        file=f"{OUTBOUND}/outbound-05",
        metric="value",
        first=20,
        days=6.5,
        title="Peers: the siblings stayed where they were.",
        siblings=f"{OUTBOUND}/*",
    ),
    Picture(
        name="forest",
        detector="forest",
        file="asd/omi-9",
        first=32,
        days=1.5,
        title="Forest: surprises of a component's series that are rare together.",
    ),
    Picture(
        name="fusion",
        detector="fusion",
        file="jumpstarter/2_service06",
        first=23,
        days=1.5,
        title="Fusion: one surprise of all series, as rare as it says for this component.",
    ),
    Picture(
        name="coldstart",
        detector="seasonal",
        file=f"{OUTBOUND}/outbound-05",
        metric="value",
        first=20,
        days=6.5,
        title="Cold start: a series known for one day is judged by its siblings' band, brought to its size.",
        siblings=f"{OUTBOUND}/*",
        young=1,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a file holds: a component's values, and which buckets people called bad, (n_buckets,)."""

    frame: Frame
    bad: Bools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the data sets; nothing is drawn without")
    parser.add_argument("names", nargs="*", help="only these pictures")
    asked = parser.parse_args()
    if asked.data is None:
        print("no --data: docs/detection/pictures/README.md says which series are drawn")
        return
    HERE.mkdir(exist_ok=True)
    for picture in PICTURES:
        if not asked.names or picture.name in asked.names:
            text = drawn(picture, asked.data)
            (HERE / f"{picture.name}.svg").write_text(text, encoding="utf-8")
            print(f"{picture.name}.svg  {len(text.encode()) / 1000:.1f} kB")


# --- data -----------------------------------------------------------------------------------------------------------------


def read(path: Path, component: str) -> Series:
    """`timestamp,metric...,label` with an even step; the last column tells what people called bad."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)[1:-1]
        cells = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    times = cells[:, 0].astype(np.int64)
    span = int(np.median(np.diff(times)))
    places = (times - times[0]) // span
    window = Window(int(times[0]) // span * span, int(times[0]) // span * span + (int(places[-1]) + 1) * span, span)
    values, bad = np.full((len(names), len(window)), np.nan), np.zeros(len(window), np.bool_)
    values[:, places], bad[places] = cells[:, 1:-1].T, cells[:, -1] > 0
    index = SeriesIndex(SeriesKey(component, name) for name in names)
    order = [names.index(key.metric) for key in index]
    return Series(frame=Frame.of(index, window, values[order]), bad=bad)


def together(picture: Picture, data: Path) -> Series:
    """The picture's component and its siblings on one clock, as far as its own file goes."""
    mine = read(data / f"{picture.file}.csv.gz", component_of(Path(picture.file).name))
    if not picture.siblings:
        return mine
    whole, rows, keys = mine.frame.window, [mine.frame.values], [*mine.frame.index]
    for path in sorted(data.glob(f"{picture.siblings}.csv.gz")):
        name = component_of(path.name)
        if name != keys[0].component:
            other = read(path, name).frame
            values = np.full((len(other.index), len(whole)), np.nan)
            places = (other.window.starts - whole.start) // whole.span
            there = (places >= 0) & (places < len(whole))
            values[:, places[there]] = other.values[:, there]
            rows.append(values)
            keys += [*other.index]
    index = SeriesIndex(keys)
    return replace(mine, frame=Frame.of(index, whole, np.vstack(rows)[[keys.index(key) for key in index]]))


def component_of(name: str) -> str:
    return name.removesuffix(".csv.gz")


# --- judging --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is drawn of one row: its surprise (n_buckets,), and the band of a series or the surprises of a component's series."""

    surprise: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    parts: Floats


def judged(picture: Picture, series: Series, shown: Window) -> Said:
    """Each day of what is shown by what was learnt before it."""
    around = Surroundings(component_type="", calendar=CALENDAR, span=shown.span, metrics={}, folder=Path())
    wanted = [picture.detector] if picture.metric else [name for name in DEFAULT if name != "silence"]
    wanted += [] if picture.detector in {*wanted, "fusion"} else [picture.detector]
    detectors: list[AnyDetector] = [
        plugin.build(plugin.settings(), around) for plugin in (find("detectors", one) for one in wanted)
    ]
    frame, days = series.frame, []
    for start in range(shown.start, shown.end, DAY):
        history = frame.within(Window(max(frame.window.start, start - PAST), start, shown.span))
        days.append(_day(picture, frame, history, Window(start, min(start + DAY, shown.end), shown.span), detectors))
    return Said(**{name: np.concatenate([getattr(day, name) for day in days], axis=-1) for name in Said.__annotations__})


def _day(picture: Picture, frame: Frame, history: Frame, part: Window, detectors: Sequence[AnyDetector]) -> Said:
    series = of_series(detectors)
    fitted = [one.fit(history) for one in series]
    scores = [_scored(one, learnt, frame, part) for one, learnt in zip(series, fitted, strict=True)]
    mine = component_of(Path(picture.file).name)
    if picture.metric:
        row, said = frame.index.rows[SeriesKey(mine, picture.metric)], scores[0]
        lower, upper = said.lower[row], said.upper[row]
        if picture.detector == "novelty":
            lower, upper = _seen_before(frame, row, part)
        return Said(
            surprise=said.surprise[row],
            expected=said.expected[row],
            lower=lower,
            upper=upper,
            parts=np.empty((0, len(part))),
        )
    whole = _of_component(detectors, scores, [one.rehearsal for one in fitted])
    component = frame.index.components.index(mine)
    rows = _rows(frame.index, component)
    nothing = np.full(len(part), np.nan)
    return Said(
        surprise=whole.surprise[component],
        expected=nothing,
        lower=nothing,
        upper=nothing,
        parts=np.mean([one.surprise[rows] for one in scores], axis=0),
    )


def _rows(index: SeriesIndex, component: int) -> Ints:
    return np.flatnonzero(np.array([key.component for key in index]) == index.components[component])


def _seen_before(frame: Frame, row: int, part: Window) -> tuple[Floats, Floats]:
    """The lowest and the highest value of the same half-hour on the ten days before, (n_buckets,) each."""
    half, day = max(1, 1800 // frame.window.span), DAY // frame.window.span
    begun = part.starts // 1800 * 1800
    columns = (begun - frame.window.start) // frame.window.span
    seen = [columns - back * day + step for back in range(1, 11) for step in range(half)]
    values = frame.values[row][np.maximum(np.stack(seen), 0)]
    return np.nanmin(values, axis=0), np.nanmax(values, axis=0)


def _of_component(detectors: Sequence[AnyDetector], scores: Sequence[Scores], rehearsals: Sequence[Scores]) -> Scores | Fused:
    for one in of_components(detectors):
        return one.score(scores, one.fit(rehearsals).baseline)
    fusion = Fusion(names=[one.name for one in of_series(detectors)])
    return fusion.fuse(scores, fusion.fit(rehearsals))


def _scored(detector: Detector, learnt: Fitted, frame: Frame, part: Window) -> Scores:
    back = part.reaching_back(detector.lookback).start
    return detector.score(frame.within(Window(max(frame.window.start, back), part.end, part.span)), learnt.baseline, part)


# --- drawing --------------------------------------------------------------------------------------------------------------


def drawn(picture: Picture, data: Path) -> str:
    """The picture as SVG."""
    series = together(picture, data)
    whole = series.frame.window
    first = whole.start + int(picture.first * DAY) // whole.span * whole.span
    if picture.young is not None:
        mine = series.frame.index.components.index(component_of(Path(picture.file).name))
        unknown = whole.starts < first - picture.young * DAY
        series.frame.values[np.ix_(_rows(series.frame.index, mine), unknown)] = np.nan
    shown = Window(first, min(whole.end, first + int(picture.days * DAY) // whole.span * whole.span), whole.span)
    said = judged(picture, series, shown)
    columns = shown.columns_in(whole)
    band = Band(
        metric=picture.metric,
        unit="",
        span=shown.span,
        starts=shown.starts,
        value=_values(picture, series, columns) if picture.metric else said.parts.max(axis=0),
        expected=said.expected,
        lower=said.lower,
        upper=said.upper,
        happened=tuple(_runs(series.bad[columns], shown)),
    )
    laid = plot(band, CALENDAR, POINTS)
    surprising = np.flatnonzero(said.surprise >= OPENS)
    found = None if not len(surprising) else int(shown.starts[surprising[0]]) + shown.span
    return "\n".join(_svg(picture, laid, said, shown, found)) + "\n"


def _values(picture: Picture, series: Series, columns: slice) -> Floats:
    row = series.frame.index.rows[SeriesKey(component_of(Path(picture.file).name), picture.metric)]
    return np.asarray(series.frame.values[row, columns], np.float64)


def _runs(bad: Bools, window: Window) -> Iterator[Span]:
    """From when to when people called it bad."""
    edges = np.flatnonzero(np.diff(np.r_[False, bad, False].astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        yield Span(start=window.start + begin * window.span, end=window.start + end * window.span)


def _svg(picture: Picture, laid: Plot, said: Said, shown: Window, found: int | None) -> Iterator[str]:
    low, top = round(HEIGHT * LOW), TOP + HEIGHT + GAP
    bottom = top + low
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 26}" role="img" aria-labelledby="t">'
    yield f'<title id="t">{html.escape(picture.title)}</title><style>{STYLE}</style>'
    yield f'<rect class="page" width="{WIDTH}" height="{bottom + 26}"/>'
    for bar in laid.happened:
        yield f'<rect class="bad" x="{bar.x}" y="{TOP}" width="{bar.width}" height="{bottom - TOP}"/>'
    if picture.metric:
        yield from (f'<path class="grid" d="M{LEFT} {tick.at}H{laid.right}"/>' for tick in laid.y_ticks)
        yield from (f'<text class="y" x="{LEFT - 8}" y="{tick.at + 4}">{tick.text}</text>' for tick in laid.y_ticks)
        yield f'<path class="band" d="{laid.shade}"/>' if laid.shade else ""
        yield f'<path class="expected" d="{laid.expected}"/>' if laid.expected else ""
        yield f'<path class="value" d="{laid.line}"/>'
    else:
        yield from _axis(TOP, HEIGHT)
        loudest = np.argsort(-np.nan_to_num(said.parts).max(axis=1), kind="stable")[:LOUDEST]
        yield from (f'<path class="part" d="{_path(said.parts[row], TOP, HEIGHT)}"/>' for row in loudest)
    yield from _axis(top, low)
    yield f'<path class="limit" d="M{LEFT} {_y(OPENS, top, low)}H{laid.right}"/>'
    yield f'<path class="surprise" d="{_path(said.surprise, top, low)}"/>'
    for words, at in (
        ("value" if picture.metric else "series’ surprises", TOP + 12),
        ("surprise", top + 12),
        ("opens at 4", _y(OPENS, top, low) + 4),
    ):
        yield f'<text x="{laid.right + 8}" y="{at}">{words}</text>'
    for tick in laid.x_ticks:
        yield f'<text class="{"day" if tick.strong else "x"}" x="{tick.at}" y="{TOP + HEIGHT + 20}">{tick.text}</text>'
    if found is not None:
        at = round(LEFT + (found - shown.start) / (shown.end - shown.start) * (WIDTH - LEFT - RIGHT), 1)
        yield f'<path class="found" d="M{at} {TOP}V{bottom}"/>'
        yield f'<text class="found" x="{at}" y="{bottom + 18}">found {CALENDAR.local(found):%a %H:%M}</text>'
    yield "</svg>"


def _axis(top: float, height: float) -> Iterator[str]:
    for value in (0, 4, 8, 12):
        at = _y(value, top, height)
        yield f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/><text class="y" x="{LEFT - 8}" y="{at + 4}">{value}</text>'


def _y(surprise: float, top: float, height: float) -> float:
    return round(top + height * (1 - min(surprise, MOST) / MOST), 1)


def _path(surprise: Floats, top: float, height: float) -> str:
    """The highest of each group of buckets; a gap where nothing was judged."""
    size = -(-len(surprise) // POINTS)
    path, drawing = "", False
    for first in range(0, len(surprise), size):
        block = surprise[first : first + size]
        if np.isnan(block).all():
            drawing = False
            continue
        x = LEFT + (first + len(block) / 2) / len(surprise) * (WIDTH - LEFT - RIGHT)
        path += f"{'L' if drawing else 'M'}{x:.0f} {_y(float(np.nanmax(block)), top, height):g}"
        drawing = True
    return path


if __name__ == "__main__":
    main()
