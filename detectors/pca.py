"""What the other metrics of a component make of each one: the residual outside the directions in which they move together.

Idea and formulas: docs/detection/pca.md. Values are scaled robustly and cut off, the directions that hold nine tenths of the
variance are kept, and what of a value lies outside them is its deviation. Learnt from the even days it judges the odd ones and
the other way round, which is what surprise is calibrated on. Fails where a component has fewer than three metrics that change
(nothing is judged), and on a metric that moves alone by its nature: everything about it is residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.components import sampled
from detectors.learnt import learnt_of
from detectors.scales import facts_of, mattering, one_sided, scales
from tocsin.calibration import Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY

DAYS = 14
"""Days that are learnt from: the trailing ones."""
VARIANCE = 0.9
MOST = 16
"""Directions kept at most."""
CLIP = 5.0
"""Spreads that a value counts for at most where directions are learnt and looked up: an incident turns none."""
LEAST_SERIES = 3
LEAST_BUCKETS = 120
"""Nothing is judged before a component had that many buckets with most of its metrics, a quarter on even and on odd days."""
ITSELF = 0.9
"""A series of which the directions keep more than this is explained by itself: what is left says nothing, and is not judged."""
MOST_MISSING = 0.25
"""A bucket in which more of a component's metrics are missing is not judged."""
AHEAD = 1.2
"""Deviations of days to come are that much larger than those learnt from."""


class PcaSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Pca:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "pca"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return 0

    def fit(self, history: Frame) -> Fitted:
        """Learn each component from the last two weeks, which are the rehearsal too."""
        index, span = history.index, self.span
        start = max(history.window.start, history.window.end - DAYS * DAY // span * span)
        recent = history.within(Window(start, history.window.end, span))
        window, values = recent.window, recent.values
        centre, scale = scales(values[:, sampled(window)])
        z = (values - centre[:, None]) / scale[:, None]
        odd = window.starts // DAY % 2 == 1
        axes = np.zeros((len(index), MOST), np.float32)
        residual = np.full(values.shape, np.nan)
        ends = np.r_[index.component_starts[1:], len(index)] if len(index) else index.component_starts
        for first, end in zip(index.component_starts, ends, strict=True):
            rows = first + np.flatnonzero(np.isfinite(scale[first:end]))
            there = np.count_nonzero(~np.isnan(z[rows]), axis=0) >= (1 - MOST_MISSING) * len(rows)
            halves = [np.flatnonzero(there & odd), np.flatnonzero(there & ~odd)]
            few = min(map(len, halves)) < LEAST_BUCKETS // 4
            if len(rows) < LEAST_SERIES or np.count_nonzero(there) < LEAST_BUCKETS or few:
                continue
            mine = z[rows]
            found = _directions(mine[:, there])
            axes[rows, : found.shape[1]] = found
            for learnt_from, judged in (halves, halves[::-1]):
                # As many as in the end: fewer would leave more outside, and be calibrated for it.
                half = _directions(mine[:, learnt_from], found.shape[1])
                residual[rows[:, None], judged] = _outside(mine[:, judged], half)
        facts = facts_of(index, self.metrics)
        deviation = mattering(residual * scale[:, None], facts) / scale[:, None]
        deviation[(axes**2).sum(axis=1) > ITSELF] = np.nan
        tails = Tails.fit(deviation, LEAST_BUCKETS).widened(AHEAD)
        unknown = np.broadcast_to(np.nan, deviation.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=history.window,
                arrays={"centre": centre, "scale": scale, "axes": axes, "tails": tails.to_array(), **facts},
                facts={"format": 1, "span": span, "clip": CLIP},
            ),
            rehearsal=Scores(
                index=index, window=window, surprise=tails.surprise(deviation), expected=unknown, lower=unknown, upper=unknown
            ),
        )

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge each value by the component's other values of the same bucket. What is expected is what they make of it."""
        index = frame.index
        own, known = learnt_of(index, baseline)
        window = window or frame.window
        values = frame.values[:, window.columns_in(frame.window)]
        tails = Tails.from_array(own["tails"])
        heard = known & own["axes"].any(axis=1)
        centre, scale = own["centre"][:, None], np.where(heard, own["scale"], np.nan)[:, None]
        z = (values - centre) / scale
        seen = np.clip(np.nan_to_num(z), -CLIP, CLIP)
        made = np.zeros(values.shape)
        judged = np.zeros(values.shape, np.bool_)
        if len(index):
            for axis in own["axes"].T.astype(np.float64):
                if axis.any():
                    made += axis[:, None] * _summed(axis[:, None] * seen, index)
            there = _summed((~np.isnan(z)).astype(np.float64), index)
            judged = (heard & ~np.isnan(tails.far))[:, None] & (
                there >= (1 - MOST_MISSING) * _summed(heard.astype(np.float64)[:, None], index)
            )
        expected = np.where(judged, centre + made * scale, np.nan)
        far = mattering(values - expected, own) / scale
        lower, upper = one_sided(expected, tails.limit()[:, None] * scale, own)
        return Scores(index=index, window=window, surprise=tails.surprise(far), expected=expected, lower=lower, upper=upper)


def _directions(z: Floats, count: int = 0) -> Floats:
    """The directions that hold `VARIANCE` of the clipped values, or the first `count`, as columns, (n_series, 1..`MOST`)."""
    clipped = np.clip(np.nan_to_num(z), -CLIP, CLIP)
    strength, axes = np.linalg.eigh(clipped @ clipped.T)
    strength, axes = np.maximum(strength[::-1], 0.0), axes[:, ::-1]
    share = np.cumsum(strength) / max(float(strength.sum()), 1e-300)
    # One direction at least is left out: what lies in none of them is what is judged.
    return axes[:, : count or min(int(np.searchsorted(share, VARIANCE)) + 1, MOST, len(axes) - 1)]


def _outside(z: Floats, axes: Floats) -> Floats:
    return z - axes @ (axes.T @ np.clip(np.nan_to_num(z), -CLIP, CLIP))


def _summed(parts: Floats, index: SeriesIndex) -> Floats:
    """Each row's component's total, same shape."""
    return np.asarray(np.add.reduceat(parts, index.component_starts, axis=0)[index.component_of])


def _build(_settings: PcaSettings, surroundings: Surroundings) -> Pca:
    return Pca(span=surroundings.span, metrics=surroundings.metrics)


PLUGIN = Plugin(
    name="pca",
    summary="Metrics out of step with the others of their component (principal components)",
    settings=PcaSettings,
    build=_build,
)
