"""From the surprises of all detectors about all series of a component to one, with each series' share.

First every series by itself: the weighted mean of what its detectors say. They are looks at the same value, so that they agree
is what an anomaly is; whom it depends on is whether the series has siblings. Where a component has one series only, the slow and
the remembering detectors are its witnesses, and the quick one speaks for itself only where buckets are so short that a load
cannot have changed from one to the next. With siblings these are the witnesses, and the sharp detectors count twice.

Then the component: the mean of its largest series, a sixth of them and three at least: sensitive to one thing very wrong and to
many a little wrong. No series counts for more than `CAP`, so that a broken one cannot own the component. Series of a component
move together, so no formula gives this mean's distribution: it is calibrated per component on the rehearsal, on days that were
not learnt from. A component of one series keeps that series' surprise, which is not calibrated again (measured: that loses more
than it gains). Detectors of whole components are one more series each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.coldstart import borrowed
from detectors.learnt import learnt_of
from tocsin.calibration import Tails
from tocsin.model import Baseline, Floats, Fused, Ints, Scores, SeriesIndex, Window

CAP = 12.0
"""Surprise that one detector of one series counts for at most."""
TOP = 6
"""The mean is over the largest `1 / TOP` of the series, three at least."""
AHEAD = 1.1
"""As in `detectors.seasonal`: the means of days to come are a little larger than those of the rehearsal."""
FLATTEST = 0.3
"""Orders of magnitude that one more unit of the mean counts for at least, in a component that is hardly ever surprised at all.
Its few surprises (a minute in which all series were silent at once) say little of how a tail goes on, and the mean is a
surprise itself."""
LEAST = 40
"""Rehearsed buckets that a component needs to be calibrated."""
ALONE: Mapping[str, float] = {"novelty": 2.0, "level": 3.0, "seasonal": 0.5}
"""What detectors count for where a series has no siblings; others count 1."""
AMONG: Mapping[str, float] = {"change": 2.0, "seasonal": 2.0}
"""What detectors count for where it has; others count 1."""
QUICK = ("change",)
"""Speak for themselves about a series without siblings in buckets of a minute, less in longer ones, not in those of five."""
SHORT, LONG = 60, 300


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Fuses the scores of all detectors of one signature: of series, in the order of `names`, and of whole components.

    Detectors without a name count 1.
    """

    names: Sequence[str] = ()

    def fit(self, rehearsals: Sequence[Scores], components: Sequence[Scores] = ()) -> Baseline:
        """Learn how surprising a component's mean is from what its series' detectors would have said."""
        index = rehearsals[0].index
        window = _common([rehearsal.window for rehearsal in (*rehearsals, *components)])
        tails = np.full((len(index.components), 5), np.nan, np.float32)
        for places, rows in _by_size(index):
            if rows.shape[1] * len(rehearsals) > 1 and len(window):
                members = self._members(rehearsals, rows, window)
                wholes = _wholes(components, places, window)
                if members.shape[1] + wholes.shape[1] == 1:
                    continue
                mean = _largest(np.concatenate([members, wholes], axis=1))[0]
                # Where a detector of components rehearsed a sample only, so does the fusion.
                sampled = ~np.isnan(wholes) | np.isnan(wholes).all(axis=2, keepdims=True)
                learnt = Tails.fit(np.where(sampled.all(axis=1), mean, np.nan), LEAST)
                tails[places] = learnt.widened(AHEAD).at_least_as_steep(np.where(learnt.far > 0, 0.0, FLATTEST)).to_array()
        return Baseline(
            detector="fusion",
            index=index.by_component,
            trained_on=window,
            arrays={"tails": borrowed(tails, np.diff(np.r_[index.component_starts, len(index)]))},
            facts={"format": 2, "cap": CAP, "top": TOP, "detectors": list(self.names)},
        )

    def fuse(self, scores: Sequence[Scores], baseline: Baseline, components: Sequence[Scores] = ()) -> Fused:
        """One surprise per component of the scores' index. A series that is not judged adds nothing; a component with no
        judged series, or that was not learnt, is not judged."""
        index, window = scores[0].index, scores[0].window
        own, known = learnt_of(index.by_component, baseline)
        fused = np.full((len(known), len(window)), np.nan)
        share = np.zeros((len(index), len(window)))
        for places, rows in _by_size(index):
            members = self._members(scores, rows, window)
            wholes = _wholes(components, places, window)
            if members.shape[1] + wholes.shape[1] == 1:
                result = members[:, 0]
                parts = np.where(np.isnan(members), 0.0, 1.0)
            else:
                mean, parts = _largest(np.concatenate([members, wholes], axis=1))
                tails = Tails.from_array(own["tails"][places])
                result = np.where(known[places][:, None], tails.surprise(mean), np.nan)
                parts = np.where(np.isnan(result)[:, None], 0.0, _of_series(parts[:, : rows.shape[1]], members))
            fused[places] = result
            share[rows] = parts
        return Fused(index=index, window=window, surprise=fused, share=share)

    def _members(self, scores: Sequence[Scores], rows: Ints, window: Window) -> Floats:
        """What is said of each series of components of one size, (n_components, n_series of one, n_buckets)."""
        alone = rows.shape[1] == 1
        if len(scores) == 1:
            return np.asarray(scores[0].surprise[:, window.columns_in(scores[0].window)][rows], np.float64)
        weights = ALONE if alone else AMONG
        loud = 0.0 if not alone else min(1.0, max(0.0, (LONG - window.span) / (LONG - SHORT)))
        total = np.zeros((*rows.shape, len(window)))
        weight = np.zeros_like(total)
        itself = np.zeros_like(total)
        for place, one in enumerate(scores):
            name = self.names[place] if place < len(self.names) else ""
            said = one.surprise[:, window.columns_in(one.window)][rows]
            judged = ~np.isnan(said)
            said = np.minimum(np.where(judged, said, 0.0), CAP)
            total += weights.get(name, 1.0) * said
            weight += weights.get(name, 1.0) * judged
            if loud and name in QUICK:
                np.maximum(itself, loud * said, out=itself)
        return np.asarray(np.where(weight > 0, np.maximum(total / np.maximum(weight, 1e-9), itself), np.nan))


def _common(windows: Sequence[Window]) -> Window:
    return Window(max(window.start for window in windows), min(window.end for window in windows), windows[0].span)


def _wholes(components: Sequence[Scores], places: Ints, window: Window) -> Floats:
    """What the detectors of whole components say of these, (n_components, n_detectors, n_buckets)."""
    if not components:
        return np.empty((len(places), 0, len(window)))
    return np.stack(
        [np.asarray(one.surprise[places][:, window.columns_in(one.window)], np.float64) for one in components], axis=1
    )


def _by_size(index: SeriesIndex) -> Iterator[tuple[Ints, Ints]]:
    """Components of equal size together: their positions (n,), and the rows of each (n, size)."""
    sizes = np.diff(np.r_[index.component_starts, len(index)])
    for size in np.unique(sizes):
        components = np.flatnonzero(sizes == size)
        yield components, index.component_starts[components][:, None] + np.arange(size)


def _of_series(parts: Floats, members: Floats) -> Floats:
    """The parts of the series alone, which sum to 1; even where whole components were all that was surprised."""
    total = parts.sum(axis=1, keepdims=True)
    judged = ~np.isnan(members)
    even = judged / np.maximum(judged.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(total > 0, parts / np.maximum(total, 1e-300), even))


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
