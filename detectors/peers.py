"""A component against its siblings of the same type at the same moment: one node of twelve that behaves differently.

Idea and formulas: docs/detection/peers.md. Every value is scaled by its own series' past, so that machines of different sizes
compare; what all siblings do together (a wave of visitors, a deployment) is nobody's deviation. Only here does what is said of
a series depend on other components. Fails where fewer than three siblings have the metric (nothing is judged), and where
siblings do different work: then they learn to expect little of one another, and say little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.components import sampled
from detectors.learnt import learnt_of
from detectors.scales import facts_of, mattering, one_sided, scales
from tocsin.calibration import Tails, median
from tocsin.model import Baseline, Fitted, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY

DAYS = 14
"""Days that are learnt from: the trailing ones."""
LEAST_SIBLINGS = 3
"""Components with a value of the metric, the judged one among them."""
LEAST_DAYS = 2
LEAST_BUCKETS = 96
"""Nothing is judged before a series had siblings in that many buckets, and values on two days."""
NARROWEST = 0.05
"""Siblings are this far apart at least, in the usual spread of a series: they may all be zero at once."""
AHEAD = 1.1
"""Deviations of days to come are that much larger than those learnt from."""


class PeersSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "peers"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return 0

    def fit(self, history: Frame) -> Fitted:
        """Learn each series' own size, and how far it usually is from its siblings, from the last two weeks."""
        index, span = history.index, self.span
        start = max(history.window.start, history.window.end - DAYS * DAY // span * span)
        recent = history.within(Window(start, history.window.end, span))
        values = recent.values
        centre, scale = scales(values[:, sampled(recent.window)])
        z = (values - centre[:, None]) / scale[:, None]
        z[np.isinf(scale)] = np.nan
        middle, apart = _siblings(z, index)
        usual = np.maximum(np.nan_to_num(median(apart)), NARROWEST)
        facts = facts_of(index, self.metrics)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.fmax(apart, usual[:, None]) * scale[:, None]
            far = mattering((z - middle) * scale[:, None], facts) / spread
        lived = np.count_nonzero(~np.isnan(values), axis=1) >= LEAST_DAYS * DAY // span // 2
        tails = Tails.fit(np.where(lived[:, None], far, np.nan), LEAST_BUCKETS).widened(AHEAD)
        unknown = np.broadcast_to(np.nan, values.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=history.window,
                arrays={"centre": centre, "scale": scale, "usual": usual, "tails": tails.to_array(), **facts},
                facts={"format": 1, "span": span},
            ),
            rehearsal=Scores(
                index=index,
                window=recent.window,
                surprise=tails.surprise(far),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge each value by what its siblings in the frame show in the same bucket; expected is what they do, in its size."""
        index = frame.index
        own, known = learnt_of(index, baseline)
        window = window or frame.window
        values = frame.values[:, window.columns_in(frame.window)]
        tails = Tails.from_array(own["tails"])
        heard = known & np.isfinite(own["scale"])
        centre, scale = own["centre"][:, None], np.where(heard, own["scale"], np.nan)[:, None]
        middle, apart = _siblings((values - centre) / scale, index)
        judged = heard & ~np.isnan(tails.far)
        with np.errstate(invalid="ignore"):
            spread = np.fmax(apart, own["usual"][:, None]) * scale
            expected = np.where(judged[:, None] & ~np.isnan(values), centre + middle * scale, np.nan)
            far = mattering(values - expected, own) / spread
            lower, upper = one_sided(expected, tails.limit()[:, None] * spread, own)
        return Scores(index=index, window=window, surprise=tails.surprise(far), expected=expected, lower=lower, upper=upper)


def _siblings(z: Floats, index: SeriesIndex) -> tuple[Floats, Floats]:
    """What the siblings of each row's metric do in each bucket: their median, and how far they are from it as a standard
    deviation; both as `z` (n_series, n_buckets), NaN where there are fewer than `LEAST_SIBLINGS`."""
    middle, apart = np.full(z.shape, np.nan), np.full(z.shape, np.nan)
    for rows in _of_one_metric(index):
        mine = z[rows].T
        few = np.count_nonzero(~np.isnan(mine), axis=1) < LEAST_SIBLINGS
        centre = np.where(few, np.nan, median(mine))
        middle[rows] = centre
        apart[rows] = 1.4826 * median(np.abs(mine - centre[:, None]))
    return middle, apart


def _of_one_metric(index: SeriesIndex) -> Iterator[Ints]:
    """The rows of each metric that enough components have."""
    order = np.argsort(index.metric_codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(index.metric_codes[order].astype(np.int64)) != 0]) if len(order) else order
    for rows in np.split(order, starts[1:]):
        if len(rows) >= LEAST_SIBLINGS:
            yield rows


def _build(_settings: PeersSettings, surroundings: Surroundings) -> Peers:
    return Peers(span=surroundings.span, metrics=surroundings.metrics)


PLUGIN = Plugin(
    name="peers",
    summary="Components that behave differently from the others of their type at the same moment",
    settings=PeersSettings,
    build=_build,
)
