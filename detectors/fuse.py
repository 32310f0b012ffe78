"""From the surprises of all series of a component to one, with each series' share.

The statistic is the mean of the largest surprises, a sixth of the series and three at least: sensitive to one thing very
wrong and to many a little wrong. No series counts for more than `CAP`, so that a broken one cannot own the component.
Series of a component move together, so no formula gives this mean's distribution: it is calibrated per component on the
rehearsal, on days that were not learnt from. A component of one series keeps that series' surprise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.calibration import Tails
from tocsin.model import Baseline, Floats, Fused, Ints, Scores, SeriesIndex, Window

CAP = 12.0
"""Surprise that one series counts for at most."""
TOP = 6
"""The mean is over the largest `1 / TOP` of the surprises, three at least."""
AHEAD = 1.1
"""As in `detectors.seasonal`: the means of days to come are a little larger than those of the rehearsal."""
FLATTEST = 0.3
"""Orders of magnitude that one more unit of the mean counts for at least, in a component that is hardly ever surprised at all.
Its few surprises (a minute in which all series were silent at once) say little of how a tail goes on, and the mean is a
surprise itself."""
LEAST = 40
"""Rehearsed buckets that a component needs to be calibrated."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Fuses the scores of all detectors of one signature."""

    def fit(self, rehearsals: Sequence[Scores]) -> Baseline:
        """Learn how surprising a component's mean is from what its series' detectors would have said."""
        index = rehearsals[0].index
        window = _common([rehearsal.window for rehearsal in rehearsals])
        surprise = _stacked(rehearsals, window)
        tails = np.full((len(index.components), 5), np.nan, np.float32)
        for components, rows in _by_size(index):
            if rows.shape[1] * len(rehearsals) > 1:
                learnt = Tails.fit(_largest(_members(surprise, rows))[0], LEAST)
                tails[components] = learnt.widened(AHEAD).at_least_as_steep(np.where(learnt.far > 0, 0.0, FLATTEST)).to_array()
        return Baseline(
            detector="fusion",
            index=index.by_component,
            trained_on=window,
            arrays={"tails": tails},
            facts={"format": 1, "cap": CAP, "top": TOP},
        )

    def fuse(self, scores: Sequence[Scores], baseline: Baseline) -> Fused:
        """One surprise per component of the scores' index. A series that is not judged adds nothing; a component with no
        judged series, or that was not learnt, is not judged."""
        index, window = scores[0].index, scores[0].window
        surprise = _stacked(scores, window)
        places = index.by_component.rows_in(baseline.index)
        fused = np.full((len(places), len(window)), np.nan)
        share = np.zeros((len(index), len(window)))
        for components, rows in _by_size(index):
            members = _members(surprise, rows)
            if members.shape[1] == 1:
                result = members[:, 0]
                parts = np.where(np.isnan(members), 0.0, 1.0)
            else:
                mean, parts = _largest(members)
                tails = Tails.from_array(baseline.arrays["tails"][places[components]])
                result = np.where((places[components] < 0)[:, None], np.nan, tails.surprise(mean))
                parts = np.where(np.isnan(result)[:, None], 0.0, parts)
            fused[components] = result
            share[rows] = parts.reshape(len(components), len(scores), rows.shape[1], len(window)).sum(axis=1)
        return Fused(index=index, window=window, surprise=fused, share=share)


def _common(windows: Sequence[Window]) -> Window:
    return Window(max(window.start for window in windows), min(window.end for window in windows), windows[0].span)


def _stacked(scores: Sequence[Scores], window: Window) -> Floats:
    """All detectors' surprises, (n_detectors, n_series, n_buckets)."""
    return np.stack([one.surprise[:, window.columns_in(one.window)] for one in scores])


def _by_size(index: SeriesIndex) -> Iterator[tuple[Ints, Ints]]:
    """Components of equal size together: their positions (n,), and the rows of each (n, size)."""
    sizes = np.diff(np.r_[index.component_starts, len(index)])
    for size in np.unique(sizes):
        components = np.flatnonzero(sizes == size)
        yield components, index.component_starts[components][:, None] + np.arange(size)


def _members(surprise: Floats, rows: Ints) -> Floats:
    """The surprises of each component, (n_components, n_detectors * size, n_buckets)."""
    return np.moveaxis(surprise[:, rows], 0, 1).reshape(len(rows), len(surprise) * rows.shape[1], surprise.shape[2])


def _largest(members: Floats) -> tuple[Floats, Floats]:
    """Mean of each component's largest surprises (n_components, n_buckets), NaN where none is judged, and the part that
    each member has in it (n_components, n_members, n_buckets), which sum to 1."""
    count = members.shape[1]
    most = min(count, max(3, count // TOP))
    judged = ~np.isnan(members)
    capped = np.minimum(np.where(judged, members, 0.0), CAP)
    any_judged = judged.any(axis=1)
    if most < count:
        # The largest keep their parts; where several are equal at the edge they share what is left.
        edge = np.partition(capped, count - most, axis=1)[:, count - most][:, None]
        over, at = capped > edge, (capped == edge) & (edge > 0)
        left = most - over.sum(axis=1, keepdims=True)
        kept = np.where(over, capped, np.where(at, capped * left / np.maximum(at.sum(axis=1, keepdims=True), 1), 0.0))
    else:
        kept = capped
    total = kept.sum(axis=1)
    even = judged / np.maximum(judged.sum(axis=1, keepdims=True), 1)
    part = np.where(total[:, None] > 0, kept / np.maximum(total[:, None], 1e-300), even)
    return np.where(any_judged, total / most, np.nan), part
