"""A value that is unlike the buckets just before it.

Idea and formulas: docs/detection/change.md. What is expected is the exponentially weighted mean of the buckets before; how
rare the distance to it is comes from the series' own last two weeks. One odd bucket is a third of a finding: the surprise is the
mean over three buckets, so that a single spike must be huge. Finds what just moved, at any hour; says nothing of what lasts,
because the mean follows within ten buckets, and nothing of what ends: a value that is back where most of the last hour was is no
change, however far it is from the incident it came out of. Fails on series that jump by their nature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.learnt import learnt_of
from detectors.scales import facts_of, mattering, one_sided
from tocsin.calibration import HIGHEST, Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Metric, Scores, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY

REHEARSAL = 14
"""Days that are learnt from: the trailing ones."""
LEAST_VALUES = 40
"""Nothing is judged before a series had that many values."""
MEMORY = 16
"""Buckets before the one that is judged."""
FORGET = 0.2
"""Each bucket counts that part less than the one after it."""
TOGETHER = 3
"""Buckets whose surprises are averaged."""
LATELY = 600
"""Seconds between the five earlier values whose median is where the last hour mostly was; a bucket at least."""
BACK = 0.25
"""A value this much nearer to there than to the recent mean has come back."""
CAP = 12.0
"""Surprise that one bucket counts for at most."""


class ChangeSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "change"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return (max(MEMORY, 5 * self._apart) + TOGETHER - 1) * self.span

    @property
    def _apart(self) -> int:
        return max(1, LATELY // self.span)

    def fit(self, history: Frame) -> Fitted:
        """Learn from the last two weeks, which are the rehearsal."""
        buckets = min(len(history.window), REHEARSAL * DAY // self.span)
        window = Window(history.window.end - buckets * self.span, history.window.end, self.span)
        first = max(0, len(history.window) - buckets - self.lookback // self.span)
        values = history.values[:, first:]
        facts = facts_of(history.index, self.metrics)
        distance = unless_back(values - recent_mean(values), values, 0, self._apart)
        far = mattering(distance, facts)[:, len(history.window) - buckets - first :].astype(np.float32)
        tails = Tails.fit(far, LEAST_VALUES)
        outright = _outright(far, tails)
        arrays = {**facts, "tails": tails.to_array(), "outright": outright.astype(np.float32)}
        surprise = _together(_surprise(far, tails, outright), far)
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=history.window,
                arrays=arrays,
                facts={"format": 1, "span": self.span, "memory": MEMORY, "forget": FORGET},
            ),
            rehearsal=Scores(
                index=history.index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown
            ),
        )

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket against those before it in the frame."""
        own, there = learnt_of(frame.index, baseline)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        before = max(0, columns.start - TOGETHER + 1)
        values = frame.values[:, max(0, before - MEMORY) : columns.stop]
        expected = recent_mean(values, before - max(0, before - MEMORY))
        distance = frame.values[:, before : columns.stop] - expected
        tails = Tails.from_array(own["tails"])
        far = mattering(unless_back(distance, frame.values[:, : columns.stop], before, self._apart), own)
        inside = slice(columns.start - before, None)
        surprise = _together(_surprise(far, tails, own["outright"]), far)[:, inside]
        expected = expected[:, inside]
        unjudged = (np.isnan(tails.far) | ~there)[:, None]
        surprise[np.broadcast_to(unjudged, surprise.shape)] = np.nan
        lower, upper = one_sided(np.where(unjudged, np.nan, expected), tails.limit()[:, None], own)
        return Scores(
            index=frame.index,
            window=window,
            surprise=surprise,
            expected=np.where(unjudged, np.nan, expected),
            lower=lower,
            upper=upper,
        )


def unless_back(distance: Floats, values: Floats, first: int, apart: int) -> Floats:
    """The distance of each value from column `first` on to its recent mean, (n_series, n_buckets - first); 0 where the value is
    back where the median of five values of the last hour was. Where one of those is unknown nothing changes."""
    a, b, c, d, e = (_earlier(values, first, number * apart) for number in range(1, 6))
    low, high = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    lately = np.maximum(np.minimum(e, low), np.minimum(np.maximum(e, low), high))
    with np.errstate(invalid="ignore"):
        back = np.abs(values[:, first:] - lately) < BACK * np.abs(distance)
    return np.where(back, 0.0, distance)


def _earlier(values: Floats, first: int, buckets: int) -> Floats:
    """The values so many buckets before those from column `first` on; NaN before the beginning."""
    begin = first - buckets
    part = values[:, max(0, begin) : max(0, values.shape[1] - buckets)]
    lacking = values.shape[1] - first - part.shape[1]
    return part if not lacking else np.pad(part, ((0, 0), (lacking, 0)), constant_values=np.nan)


def recent_mean(values: Floats, first: int = 0) -> Floats:
    """Exponentially weighted mean of the `MEMORY` buckets before each one from column `first` on, unknown ones left out; the
    value itself where none of them is known (nothing to compare it with), (n_series, n_buckets - first)."""
    known = ~np.isnan(values)
    total, weight = _weighted(np.where(known, values, 0.0), first), _weighted(known.astype(np.float64), first)
    own = values[:, first:]
    return np.where(weight > 0, total / np.maximum(weight, 1e-300), own)


def _weighted(values: Floats, first: int) -> Floats:
    """Weighted sum of the `MEMORY` values before each column from `first` on; each step doubles how far it reaches. Where the
    columns begin changes no digit of what is said of later ones."""
    keep, width = 1.0 - FORGET, values.shape[1] - first
    if width <= TOGETHER:
        # The same additions in the same order, without those that nobody asked for: a tick.
        total = np.empty((len(values), width))
        for column in range(width):
            part = np.zeros((len(values), MEMORY))
            before = values[:, max(0, first + column - MEMORY) : first + column][:, ::-1]
            part[:, : before.shape[1]] = before
            reach = 1
            while part.shape[1] > 1:
                part = part[:, 0::2] + keep**reach * part[:, 1::2]
                reach *= 2
            total[:, column] = part[:, 0]
        return total
    result = np.zeros_like(values)
    result[:, 1:] = values[:, :-1]
    reach = 1
    while reach < MEMORY:
        later = result.copy()
        later[:, reach:] += keep**reach * result[:, : max(0, result.shape[1] - reach)]
        result, reach = later, 2 * reach
    return result[:, first:]


def _outright(far: NDArray[np.floating], tails: Tails) -> Floats:
    """Orders of magnitude per unit of deviation beyond surprise 3: as the body of the distribution falls, where that is steeper
    than the tail. Incidents in the past make the tail flatter, never the body."""
    usual = np.where(np.isnan(far), 0.0, np.minimum(far, np.nan_to_num(tails.far)[:, None].astype(far.dtype)))
    mean = usual.sum(axis=1, dtype=np.float64) / np.maximum(np.count_nonzero(~np.isnan(far), axis=1), 1)
    steep = 1.0 / (np.log(10.0) * np.where(mean > 0, mean, np.inf))
    return np.asarray(np.maximum(steep, tails.steepness), np.float64)


def _surprise(far: NDArray[np.floating], tails: Tails, outright: NDArray[np.floating]) -> Floats:
    surprise = tails.surprise(far)
    surprise += np.maximum(far - tails.limit()[:, None], 0.0) * (outright - tails.steepness)[:, None]
    return np.minimum(surprise, HIGHEST)


def _together(surprise: Floats, far: NDArray[np.floating]) -> Floats:
    """Mean of the capped surprises of each bucket and the two before it; unknown ones are no evidence. NaN where unknown."""
    capped = np.minimum(np.where(np.isnan(surprise), 0.0, surprise), CAP)
    total = capped.copy()
    for back in range(1, TOGETHER):
        total[:, back:] += capped[:, : max(0, total.shape[1] - back)]
    return np.where(np.isnan(far) | np.isnan(surprise), np.nan, total / TOGETHER)


def _build(_settings: ChangeSettings, surroundings: Surroundings) -> Change:
    return Change(span=surroundings.span, metrics=surroundings.metrics)


PLUGIN = Plugin(
    name="change",
    summary="A value unlike the buckets just before it",
    settings=ChangeSettings,
    build=_build,
)
