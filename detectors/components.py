"""What the detectors of whole components share: the surprises of a component's series side by side, learning, calibration.

A component's series are its features; where several detectors heard a series, the most surprised one speaks for it. A series
that was not judged counts as not surprised. Every method answers with a distance, "the larger the stranger"; how rare it is
comes from days that it was not learnt from: it is learnt once from the even days and once from the odd ones, each half judges
the other's days, and what judges the days to come has learnt from both.

Fails on components whose series are not surprised together in a learnable way, and on fewer than three series (nothing is
judged: a fusion says as much of two).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import Tails, median
from tocsin.model import Baseline, Fitted, Floats, Ints, Scores, SeriesIndex, Window
from tocsin.timegrid import DAY

CAP = 12.0
"""Surprise that one series counts for at most, as in the fusion."""
LEAST_SERIES = 3
MOST_SERIES = 255
"""Of a component with more series, those with the largest surprises in the rehearsal are heard."""
SAMPLE = 4032
"""Buckets that are learnt from: all of two weeks of five minutes, of shorter ones a sample that is even in time."""
LEAST_BUCKETS = 200
"""Nothing is judged before a component was rehearsed in that many buckets, a quarter of them on even and on odd days."""
AHEAD = 1.2
"""Distances of days to come are that much larger than those of the days judged in the rehearsal."""
BLOCK = 1 << 18
"""Features looked at at once."""

Arrays = Mapping[str, NDArray[Any]]


class Method(Protocol):
    """What is strange about a row of surprises: learnt from rows, as plain arrays."""

    def learn(self, halves: tuple[Floats, Floats], seed: int) -> tuple[Arrays, Arrays, Arrays]:
        """What the rows of one component say, (n, n_series) each, 0..`CAP`: learnt from the first half, the second, and both.

        Each array is of the same shape for the same number of series. Shorter axes are filled up with zeros when components
        of several sizes are put together, which must not change what is said of them.
        """
        ...

    def far(self, arrays: Arrays, rows: Floats) -> Floats:
        """How strange rows (n_components, n, n_series) are, (n_components, n); `arrays` are of as many, or of one for all."""
        ...


def fit(name: str, method: Method, rehearsals: Sequence[Scores], facts: Mapping[str, object]) -> Fitted:
    """Learn each component by itself; see the port."""
    index = rehearsals[0].index
    window = common([rehearsal.window for rehearsal in rehearsals])
    heard = hear(rehearsals, window)
    columns = sampled(window)
    odd = window.starts[columns] // DAY % 2 == 1
    learnt: list[dict[str, NDArray[Any]]] = []
    surprise = np.full((len(index.components), len(window)), np.nan)
    ends = np.r_[index.component_starts[1:], len(index)] if len(index) else index.component_starts
    for position, (component, first, end) in enumerate(zip(index.components, index.component_starts, ends, strict=True)):
        chosen = _chosen(heard[first:end])
        rows = heard[first + chosen][:, columns].T
        there = ~np.isnan(rows).all(axis=1)
        rows = np.nan_to_num(rows[there])
        half = odd[there]
        few = min(np.count_nonzero(half), np.count_nonzero(~half)) < LEAST_BUCKETS // 4
        mine: dict[str, NDArray[Any]] = {"series": index.metric_codes[first + chosen]}
        if len(chosen) >= LEAST_SERIES and len(rows) >= LEAST_BUCKETS and not few:
            seed = zlib.crc32(component.encode())
            of_even, of_odd, of_all = method.learn((rows[~half], rows[half]), seed)
            far = np.empty(len(rows))
            far[half] = method.far(_one(of_even), rows[None, half])[0]
            far[~half] = method.far(_one(of_odd), rows[None, ~half])[0]
            middle = float(median(far))
            tails = Tails.fit(np.maximum(far - middle, 0.0)[None], LEAST_BUCKETS).widened(AHEAD)
            surprise[position, columns[there]] = tails.surprise(np.maximum(far - middle, 0.0)[None])[0]
            mine |= {**of_all, "middle": np.array(middle), "tails": tails.to_array()[0]}
        learnt.append(mine)
    unknown = np.broadcast_to(np.nan, surprise.shape)
    return Fitted(
        baseline=Baseline(
            detector=name,
            index=index.by_component,
            trained_on=window,
            arrays=stacked(learnt),
            facts={"format": 1, "span": window.span, **facts},
        ),
        rehearsal=Scores(
            index=index.by_component, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown
        ),
    )


def score(method: Method, scores: Sequence[Scores], baseline: Baseline) -> Scores:
    """Judge each component by what was learnt of it; see the port."""
    index, window = scores[0].index, scores[0].window
    heard = hear(scores, window)
    places = index.by_component.rows_in(baseline.index)
    surprise = np.full((len(places), len(window)), np.nan)
    series = baseline.arrays["series"]
    known = np.flatnonzero((places >= 0) & ~np.isnan(baseline.arrays["tails"][places, 2])) if len(baseline.index) else places[:0]
    if len(known) and len(window):
        rows = rows_of(series[places[known]], index, known)
        heard = np.concatenate([heard, np.full((1, len(window)), np.nan, heard.dtype)])
        width = max(1, rows.shape[1])
        for first, last, start, stop in _blocks(len(known), len(window), width):
            mine = rows[first:last]
            part = heard[mine, start:stop]
            judged = ~np.isnan(part).all(axis=1)
            own = _taken(baseline.arrays, places[known[first:last]])
            far = method.far(own, np.nan_to_num(part).transpose(0, 2, 1))
            away = np.maximum(far - own["middle"][:, None], 0.0)
            surprise[known[first:last], start:stop] = np.where(judged, Tails.from_array(own["tails"]).surprise(away), np.nan)
    unknown = np.broadcast_to(np.nan, surprise.shape)
    return Scores(index=index.by_component, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def nothing(scores: Sequence[Scores]) -> Scores:
    """No component is judged."""
    index, window = scores[0].index.by_component, scores[0].window
    unknown = np.full((len(index), len(window)), np.nan)
    return Scores(index=index, window=window, surprise=unknown, expected=unknown, lower=unknown, upper=unknown)


def hear(scores: Sequence[Scores], window: Window) -> Floats:
    """What the most surprised detector says of each series, (n_series, n_buckets) up to `CAP`; NaN where none judged."""
    loudest = scores[0].surprise[:, window.columns_in(scores[0].window)]
    for other in scores[1:]:
        loudest = np.fmax(loudest, other.surprise[:, window.columns_in(other.window)])
    return np.minimum(loudest, CAP)


def common(windows: Sequence[Window]) -> Window:
    """The time that all the windows have in common; they end together."""
    return Window(max(window.start for window in windows), min(window.end for window in windows), windows[0].span)


def sampled(window: Window) -> Ints:
    """The buckets that are learnt from: at most `SAMPLE`, one somewhere in each of as many equal parts."""
    count = len(window)
    if count <= SAMPLE:
        return np.arange(count)
    edges = np.linspace(0, count, SAMPLE + 1).astype(np.int64)
    return edges[:-1] + np.random.default_rng(count).integers(0, np.diff(edges))


def rows_of(series: NDArray[Any], index: SeriesIndex, components: Ints) -> Ints:
    """The row in `index` of each learnt series (n_components, width) of these components, -1 where it is not there."""
    mine = index.metric_codes
    width = series.shape[1]
    starts = index.component_starts[components]
    sizes = np.r_[index.component_starts[1:], len(index)][components] - starts
    straight = starts[:, None] + np.arange(width)
    inside = np.arange(width) < sizes[:, None]
    rows = np.where(inside & (mine[np.minimum(straight, len(index) - 1)] == series), straight, -1)
    moved = np.flatnonzero((rows < 0).any(axis=1) & ((rows < 0) & (series > 0)).any(axis=1))
    for place in moved:
        here = mine[starts[place] : starts[place] + sizes[place]]
        at = np.argsort(here, kind="stable")
        found = np.minimum(np.searchsorted(here, series[place], sorter=at), len(here) - 1)
        rows[place] = np.where(here[at[found]] == series[place], starts[place] + at[found], -1)
    return rows


def stacked(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays of several sizes as one with a row each, filled up with zeros; what a part lacks is zeros, its tails NaN."""
    shapes: dict[str, tuple[int, ...]] = {"series": (0,), "middle": (), "tails": (5,)}
    kinds: dict[str, np.dtype[Any]] = {
        "series": np.dtype(np.uint32),
        "middle": np.dtype(np.float64),
        "tails": np.dtype(np.float32),
    }
    for part in parts:
        for name, array in part.items():
            before = shapes.get(name, array.shape)
            shapes[name] = tuple(max(a, b) for a, b in zip(before, array.shape, strict=True))
            kinds[name] = array.dtype
    result = {name: np.zeros((len(parts), *shape), kinds[name]) for name, shape in shapes.items()}
    result["tails"][:] = np.nan
    for place, part in enumerate(parts):
        for name, array in part.items():
            where: tuple[int | slice, ...] = (place, *map(slice, array.shape))
            result[name][where] = array
    return result


def _chosen(heard: Floats) -> Ints:
    if len(heard) <= MOST_SERIES:
        return np.arange(len(heard))
    largest = np.max(np.nan_to_num(heard), axis=1, initial=0.0)
    return np.sort(np.argsort(-largest, kind="stable")[:MOST_SERIES])


def _taken(arrays: Arrays, places: Ints) -> Arrays:
    """Rows of arrays; without a copy where they lie together, as they do when nothing came or went."""
    together = len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places)))
    rows = slice(places[0], places[0] + len(places)) if together else places
    return {name: array[rows] for name, array in arrays.items()}


def _one(arrays: Arrays) -> Arrays:
    return {name: array[None] for name, array in arrays.items()}


def _blocks(components: int, buckets: int, width: int) -> list[tuple[int, int, int, int]]:
    """Blocks of components and buckets that fit in the cache: few components with all their buckets, or many with one each."""
    most = max(1, BLOCK // (width * min(buckets, 4096)))
    long = max(1, BLOCK // width)
    return [
        (first, min(first + most, components), start, min(start + long, buckets))
        for first in range(0, components, most)
        for start in range(0, buckets, long)
    ]
