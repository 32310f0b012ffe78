"""Rows of one component judged one by one by the daemon's own engine, with nothing of the future.

Rows are put into buckets; the length of a bucket is read off the first rows, so that what comes later cannot change it. Each
day after the first bucket everything is learnt again from the four weeks before. A row that is late, or second in its bucket,
is judged by its own value and not learnt from. A row without any value has no surprise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from alerting.judge import JudgeState, Rules, judge
from tocsin.calibration import HIGHEST
from tocsin.model import LARGEST, Baseline, Bools, Floats, Frame, Fused, Ints, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.registry import find
from tocsin.scoring import AnyDetector, Evaluation, Leg, Models, evaluate, legs, of_series
from tocsin.timegrid import DAY, Calendar

FIRST_ROWS = 40
"""Rows the length of a bucket is read off. Nothing is judged before them."""
TRAIN = 28 * DAY
EVERY = DAY
KNOWN = 12 * 3600
CALM = 1.5
CALM_FOR = 600
"""A surprise is old until there was none of this height for so many seconds."""
DETECTORS = ("seasonal", "novelty", "change", "level", "silence")
SPANS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)
"""Lengths a bucket can have: all tile a day."""
COLUMNS = ("surprise", "onset", "alert", "expected", "lower", "upper")
TOGETHER = 64
"""Series of late rows that are judged at once."""
OWN = ("surprise", "expected", "lower", "upper")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One value per row, (n,), NaN = not judged: `columns` by the names of `COLUMNS`, `metrics` (n_metrics, 4, n) what is said of
    each metric by itself, by the names of `OWN`; of no metric unless it was asked for."""

    columns: Mapping[str, Floats]
    metrics: Floats


def score_rows(
    timestamps: Ints,
    values: Floats,
    metrics: Sequence[str],
    *,
    timezone: str = "UTC",
    train_rows: int = 0,
    detectors: Sequence[str] = DETECTORS,
    component: str = "",
    rules: Rules | None = None,
    per_metric: bool = False,
) -> Verdict:
    """Judge rows (n,) with `values` (n, n_metrics) in the order given; each only from itself and the rows before it.

    The first `train_rows`, and the first `FIRST_ROWS`, are learnt from and not judged.
    """
    rules = rules or Rules()
    rows = _Rows.of(timestamps, values, metrics, component)
    columns = {name: np.full(len(timestamps), np.nan) for name in COLUMNS}
    own = np.full((len(metrics) if per_metric else 0, len(OWN), len(timestamps)), np.nan)
    around = Surroundings(component_type="score", calendar=Calendar(timezone), span=rows.span, metrics={}, folder=Path())
    built = [_built(name, around) for name in detectors]
    for part in rows.parts():
        _judge_part(part, built, rules, columns, own)
    hidden = max(train_rows, FIRST_ROWS)
    for column in columns.values():
        column[:hidden] = np.nan
    own[:, :, :hidden] = np.nan
    return Verdict(columns=columns, metrics=own)


def _built(name: str, around: Surroundings) -> AnyDetector:
    plugin = find("detectors", name)
    detector: AnyDetector = plugin.build(plugin.settings(), around)
    return detector


def known_for(span: int) -> int:
    """Seconds for which a surprise counts as told, so that only a larger one is an onset: half a day, less where buckets are
    shorter than five minutes and none in buckets of a minute, whose incidents are minutes long and come one after another."""
    return int(KNOWN * min(1.0, max(0.0, (span - 60) / 240)))


def span_of(timestamps: Ints) -> int:
    """The length of a bucket: the median step between the first rows, down to the next length that tiles a day."""
    steps = np.diff(timestamps[:FIRST_ROWS])
    steps = steps[steps > 0]
    usual = float(np.median(steps)) if len(steps) else 60.0
    return max((span for span in SPANS if span <= usual * 1.02), default=SPANS[0])


def onset(surprise: Floats, recent_buckets: int, calm_buckets: int) -> Floats:
    """The surprise of buckets that tell something new: higher than everything in the `recent_buckets` before, and than everything
    since surprise was last below `CALM` for more than `calm_buckets`; else 0.

    Works along the last axis; NaN (not judged) stays NaN and is no height to compare with. Causal.
    """
    best = np.where(np.isnan(surprise), -np.inf, surprise)
    before = np.full_like(best, -np.inf)
    offset, width, left = 1, 1, max(0, recent_buckets)
    while left:  # the binary digits of the length, each covered by a running maximum of that power of two
        if left & 1:
            before[..., offset:] = np.maximum(before[..., offset:], best[..., : max(0, best.shape[-1] - offset)])
            offset += width
        left >>= 1
        best = np.concatenate([best[..., :width], np.maximum(best[..., width:], best[..., :-width])], axis=-1)
        width *= 2
    new = (surprise > before) & _higher_since_calm(surprise, calm_buckets)
    return np.where(np.isnan(surprise), np.nan, np.where(new, surprise, 0.0))


def _higher_since_calm(surprise: Floats, calm_buckets: int) -> Bools:
    """Where surprise is higher than everything since it was last below `CALM` for more than `calm_buckets`, or is below now."""
    loud = surprise >= CALM
    number = np.where(loud, np.arange(surprise.shape[-1]), -1 - calm_buckets)
    last = np.maximum.accumulate(number, axis=-1)[..., :-1]
    anew = loud.copy()
    anew[..., 1:] &= number[..., 1:] - last > calm_buckets
    # Each stretch is counted up by more than any surprise, so that one running maximum serves all of them. What is equal stays
    # equal: nothing is subtracted again.
    height = np.cumsum(anew, axis=-1) * (HIGHEST + 1.0) + np.where(loud, surprise, 0.0)
    higher = ~loud
    higher[..., 1:] |= height[..., 1:] > np.maximum.accumulate(height, axis=-1)[..., :-1]
    higher[..., :1] = True
    return np.asarray(higher, np.bool_)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows and the bucket of each; `first` marks those that were the first of their bucket and not late."""

    index: SeriesIndex
    order: Ints
    span: int
    values: Floats
    buckets: Ints
    first: Bools
    numbers: Ints

    @classmethod
    def of(cls, timestamps: Ints, values: Floats, metrics: Sequence[str], component: str) -> _Rows:
        index = SeriesIndex(SeriesKey(component, metric) for metric in metrics)
        order = np.array([index.rows[SeriesKey(component, metric)] for metric in metrics])
        span = span_of(timestamps)
        buckets = timestamps // span
        newest = np.maximum.accumulate(buckets) if len(buckets) else buckets
        first = np.ones(len(buckets), np.bool_)
        first[1:] = buckets[1:] > newest[:-1]
        by_row = np.empty((len(metrics), len(timestamps)))
        by_row[order] = np.where(np.abs(values) <= LARGEST, values, np.nan).T
        return cls(
            index=index, order=order, span=span, values=by_row, buckets=buckets, first=first, numbers=np.arange(len(buckets))
        )

    def parts(self) -> Iterator[_Rows]:
        """Cut where nothing came for so long that all of it is forgotten."""
        newest = np.maximum.accumulate(self.buckets) if len(self.buckets) else self.buckets
        cuts = np.flatnonzero(np.diff(newest) * self.span > TRAIN) + 1
        for numbers in np.split(np.arange(len(self.buckets)), cuts):
            if len(numbers):
                yield replace(
                    self,
                    values=self.values[:, numbers],
                    buckets=self.buckets[numbers],
                    first=self.first[numbers],
                    numbers=self.numbers[numbers],
                )

    @property
    def frame(self) -> Frame:
        """The rows that were first in their bucket."""
        buckets = self.buckets[self.first]
        window = Window(int(buckets[0]) * self.span, (int(buckets[-1]) + 1) * self.span, self.span)
        values = np.full((len(self.index), len(window)), np.nan)
        values[:, buckets - buckets[0]] = self.values[:, self.first]
        return Frame.of(self.index, window, values)


def _judge_part(part: _Rows, detectors: Sequence[AnyDetector], rules: Rules, columns: Mapping[str, Floats], own: Floats) -> None:
    """Fill in what is said of the rows of `part`."""
    frame = part.frame
    empty: Bools = np.asarray(np.isnan(frame.values).all(axis=0))
    remembered = known_for(part.span) // part.span
    places = part.buckets - frame.window.start // part.span
    # Nothing was known before the first bucket: a row that belongs there stays unjudged.
    on_time, late = np.flatnonzero(part.first), np.flatnonzero(~part.first & (places >= 0))
    said, each = np.full((4, len(empty)), np.nan), np.full((len(own), 4, len(empty)), np.nan)
    # What is said of late rows has places of its own.
    told, height = np.full((4, len(late)), np.nan), np.full(len(late), -np.inf)
    surprise: dict[str, Floats] = {}
    for leg in legs(frame, detectors, train=TRAIN, every=EVERY):
        if not leg.evaluation.scores:
            continue
        inside = leg.window.columns_in(frame.window)
        said[:, inside] = _said(leg.evaluation, detectors)
        # A row without a value says nothing that could be surprising; that it is silent shows in `alert`.
        said[0, inside][empty[inside]] = np.nan
        if len(own):
            each[:, :, inside] = _per_metric(leg.evaluation, detectors)[part.order]
        for signature, fused in leg.evaluation.fused.items():
            surprise.setdefault(signature, np.full((1, len(empty)), np.nan))[:, inside] = fused.surprise
        for models, numbers in _learnt_alike(leg, frame.window, places[late], max(1, TOGETHER // len(part.index))):
            again = _judge_late(frame, part.values[:, late[numbers]], places[late[numbers]], detectors, models)
            told[:, numbers] = _said(again, detectors)
            for number, bucket in zip(numbers.tolist(), places[late[numbers]].tolist(), strict=True):
                height[number] = np.fmax.reduce(said[0, max(0, bucket - remembered) : bucket + 1], initial=-np.inf)
            if len(own):
                own[:, :, part.numbers[late[numbers]]] = _per_metric(again, detectors)[part.order]
    told[0, np.isnan(part.values[:, late]).all(axis=0)] = np.nan
    alert = _alert(frame, surprise, rules)
    new = onset(said[:1], remembered, CALM_FOR // part.span)[0]
    own[:, :, part.numbers[on_time]] = each[:, :, places[on_time]]
    _fill(columns, part.numbers[on_time], said[:, places[on_time]], new[places[on_time]], alert[places[on_time]])
    new = np.where(np.isnan(told[0]), np.nan, np.where(told[0] > height, told[0], 0.0))
    _fill(columns, part.numbers[late], told, new, alert[places[late]])


def _alert(frame: Frame, surprise: Mapping[str, Floats], rules: Rules) -> Bools:
    """In which buckets an incident of any signature is open, (n_buckets,)."""
    alert = np.zeros(len(frame.window), np.bool_)
    # Who caused it is not asked.
    share = np.broadcast_to(np.nan, frame.values.shape)
    for signature, values in surprise.items():
        fused = Fused(index=frame.index, window=frame.window, surprise=values, share=share)
        alert |= judge(fused, (), JudgeState(), rules, "score", signature).alert[0]
    return alert


def _learnt_alike(leg: Leg, whole: Window, places: Ints, most: int) -> Iterator[tuple[Models, Ints]]:
    """Which of the rows, whose buckets are these `places`, belong to the leg: by what was learnt before them, some at a time."""
    inside = leg.window.columns_in(whole)
    chosen = np.flatnonzero((places >= inside.start) & (places < inside.stop))
    chosen = chosen[np.argsort(places[chosen], kind="stable")]
    for models, several in groupby(chosen.tolist(), lambda number: leg.models_at(whole.start + int(places[number]) * whole.span)):
        numbers = np.array(list(several))
        yield from ((models, numbers[first : first + most]) for first in range(0, len(numbers), most))


def _judge_late(frame: Frame, values: Floats, buckets: Ints, detectors: Sequence[AnyDetector], models: Models) -> Evaluation:
    """Judge rows (n_series, n) by their own values, each as if it had been the first of its bucket; side by side, as if they were
    buckets that follow one another.

    To the detectors each row is a component of its own, the same as the others but for one value.
    """
    series, count, span = len(frame.index), len(buckets), frame.window.span
    back = max((detector.lookback for detector in of_series(detectors)), default=0) // span
    columns = slice(max(0, int(buckets.min()) - back), int(buckets.max()) + 1)
    index = SeriesIndex(SeriesKey(f"{row:06d}", key.metric) for row in range(count) for key in frame.index)
    seen = np.tile(frame.values[:, columns], (count, 1))
    rows = np.arange(count)[:, None] * series + np.arange(series)
    seen[rows, (buckets - columns.start)[:, None]] = values.T
    whole = Window(frame.window.start + columns.start * span, frame.window.start + columns.stop * span, span)
    window = Window(frame.window.start + int(buckets.min()) * span, whole.end, span)
    said = evaluate(Frame.of(index, whole, seen), window, detectors, _repeated(models, frame.index, index))
    rows, places = rows.T, buckets - buckets.min()
    scores = {
        name: Scores(index=frame.index, window=window, **{part: getattr(one, part)[rows, places] for part in OWN})
        for name, one in said.scores.items()
    }
    fused = {
        name: Fused(
            index=frame.index, window=window, surprise=one.surprise[np.arange(count), places][None], share=one.share[rows, places]
        )
        for name, one in said.fused.items()
    }
    return Evaluation(scores=scores, fused=fused)


def _repeated(models: Models, one: SeriesIndex, index: SeriesIndex) -> Models:
    """What was learnt of one component, as if it had been learnt of each component of the index."""

    def taken(baselines: Mapping[str, Baseline]) -> dict[str, Baseline]:
        return {
            name: baseline.take(
                np.tile(np.arange(len(baseline.index)), len(index.components)),
                index if baseline.index == one else index.by_component,
            )
            for name, baseline in baselines.items()
        }

    return Models(baselines=taken(models.baselines), fusions=taken(models.fusions))


def _said(evaluation: Evaluation, detectors: Sequence[AnyDetector]) -> Floats:
    """Surprise, expected, lower and upper of the component, (4, n_buckets): the most surprising signature's, and of the
    metric with the greatest share in it."""
    said = np.full((4, 0), np.nan)
    for signature, fused in evaluation.fused.items():
        scores = [
            evaluation.scores[one.name] for one in detectors if one.signature == signature and one.name in evaluation.scores
        ]
        width = fused.surprise.shape[1]
        if said.shape[1] != width:
            said = np.full((4, width), np.nan)
        row = np.argmax(fused.share, axis=0)
        at = np.arange(width)
        bands = _bands(scores)[:, row, at]
        surprise = fused.surprise[0]
        higher = ~np.isnan(surprise) & ~(surprise <= said[0])
        said[0] = np.where(higher, surprise, said[0])
        drawn = ~np.isnan(bands[0]) & (higher | np.isnan(said[1]))
        said[1:] = np.where(drawn, bands, said[1:])
    return said


def _per_metric(evaluation: Evaluation, detectors: Sequence[AnyDetector]) -> Floats:
    """Surprise, expected, lower and upper of each row of the index, (n_series, 4, n_buckets)."""
    scores = [evaluation.scores[one.name] for one in detectors if one.name in evaluation.scores]
    surprise = np.fmax.reduce([one.surprise for one in scores])
    return np.stack([surprise, *_bands(scores)], axis=1)


def _bands(scores: Sequence[Scores]) -> Floats:
    """Expected, lower and upper of each row and bucket, (3, n_series, n_buckets): of the most surprised detector that expects
    something there."""
    said = np.stack([np.where(np.isnan(one.expected) | np.isnan(one.surprise), -1.0, one.surprise) for one in scores])
    strongest = np.argmax(said, axis=0)[None]
    return np.stack(
        [
            np.take_along_axis(np.stack([getattr(one, name) for one in scores]), strongest, axis=0)[0]
            for name in ("expected", "lower", "upper")
        ]
    )


def _fill(columns: Mapping[str, Floats], rows: Ints, said: Floats, new: Floats, alert: Bools) -> None:
    for name, values in zip(("surprise", "expected", "lower", "upper"), said, strict=True):
        columns[name][rows] = values
    columns["onset"][rows] = new
    columns["alert"][rows] = np.where(np.isnan(said[0]) & ~alert, np.nan, alert)
