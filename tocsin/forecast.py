"""What will be normal: the band of every series over time that has not come yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.model import Floats, Frame, SeriesIndex, Window
from tocsin.ports import Detector
from tocsin.scoring import Models

_MOST_CELLS = 2_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bands:
    """Expected value and normal range, each (n_series, n_buckets) in the metric's unit; NaN where nothing was learnt.

    A side on which a metric cannot be in trouble is infinite.
    """

    index: SeriesIndex
    window: Window
    expected: Floats
    lower: Floats
    upper: Floats


def forecast(recent: Frame, window: Window, detectors: Sequence[Detector], models: Models) -> Bands:
    """The bands of `window` as they would be if nothing more were measured after `recent`, whose grid it continues.

    Of several detectors the first that gives a series a band does. What a detector follows from bucket to bucket fades
    out: a day ahead the band is that of the half-hour alone.
    """
    shape = (len(recent.index), len(window))
    bands = Bands(
        index=recent.index,
        window=window,
        expected=np.full(shape, np.nan),
        lower=np.full(shape, np.nan),
        upper=np.full(shape, np.nan),
    )
    step = max(1, _MOST_CELLS // max(1, shape[0])) * window.span
    for detector in detectors:
        baseline = models.baselines.get(detector.name)
        if baseline is None:
            continue
        for start in range(window.start, window.end, step):
            part = Window(start, min(start + step, window.end), window.span)
            scores = detector.score(_seen(recent, part, detector.lookback), baseline, part)
            columns = part.columns_in(window)
            lacking = np.isnan(bands.expected[:, columns])
            for ours, theirs in ((bands.expected, scores.expected), (bands.lower, scores.lower), (bands.upper, scores.upper)):
                ours[:, columns][lacking] = theirs[lacking]
    return bands


def _seen(recent: Frame, window: Window, lookback: int) -> Frame:
    """A frame that ends with `window`, filled as far as `recent` goes."""
    whole = Frame.unknown(recent.index, window.reaching_back(lookback))
    start, end = max(recent.window.start, whole.window.start), min(recent.window.end, whole.window.end)
    if start < end:
        common = Window(start, end, window.span)
        here, there = common.columns_in(whole.window), common.columns_in(recent.window)
        whole.values[:, here], whole.known[:, here] = recent.values[:, there], recent.known[:, there]
    return whole
