"""From the surprises of all detectors about all series of a component to one, with each series' share.

First every series by itself: the weighted mean of what its detectors say. They are looks at the same value, so that they agree
is what an anomaly is; whom it depends on is whether the series has siblings. Where a component has one series only, the slow and
the remembering detectors are its witnesses, the more so the longer its buckets are. With siblings the sharp ones are: of many
series one is always new or on its way somewhere. There the slow ones are heard where they agree.

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
ALONE_SHORT: Mapping[str, float] = {"change": 2.0, "seasonal": 2.0}
ALONE_LONG: Mapping[str, float] = {"novelty": 2.0, "level": 2.0, "seasonal": 0.5}
"""What detectors count for where a series has no siblings, in buckets of a minute and in those of five and longer, and in
proportion between; others count 1. From one minute to the next a load hardly changes by itself, in five it does."""
AMONG: Mapping[str, float] = {"change": 2.0, "novelty": 0.3, "level": 0.1}
"""What detectors count for where it has; others count 1."""
AGREED = 0.7
"""With siblings, so much of the mean of those that are slow or remember counts where it is more: nobody else hears a leak."""
SLOW: Mapping[str, tuple[float, float]] = dict.fromkeys(("seasonal", "novelty", "level"), (6.0, 8.0))
"""Surprise that these count for at most where a series has no siblings, in short buckets and in long ones. What they look at
hardly differs from one bucket to the next, so that two weeks hold few independent looks, and say nothing of how rare the rarest
is."""
SHORT, LONG = 60, 300
CELLS = 1 << 18
"""Values that are fused at once: few enough for the cache."""


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
                wholes = _wholes(components, places, window)
                if rows.shape[1] + len(wholes) == 1:
                    continue
                mean = np.empty((len(places), len(window)))
                for columns, part in _pieces(window, rows.size):
                    members = self._members(rehearsals, rows, part)
                    mean[:, columns] = _largest(np.concatenate([members, wholes[:, :, columns]]))[0]
                # Where a detector of components rehearsed a sample only, so does the fusion.
                sampled = ~np.isnan(wholes) | np.isnan(wholes).all(axis=2, keepdims=True)
                learnt = Tails.fit(np.where(sampled.all(axis=0), mean, np.nan), LEAST)
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
            for columns, part in _pieces(window, rows.size):
                members, wholes = self._members(scores, rows, part), _wholes(components, places, part)
                if len(members) + len(wholes) == 1:
                    result = members[0]
                    parts = np.where(np.isnan(members), 0.0, 1.0)
                else:
                    everybody = np.concatenate([members, wholes])
                    mean, edge = _largest(everybody)
                    tails = Tails.from_array(own["tails"][places])
                    result = np.where(known[places][:, None], tails.surprise(mean), np.nan)
                    parts = _of_series(_parts(everybody, edge)[: len(members)], members)
                    np.copyto(parts, 0.0, where=np.isnan(result))
                fused[places, columns] = result
                share[rows.T, columns] = parts
        return Fused(index=index, window=window, surprise=fused, share=share)

    def _members(self, scores: Sequence[Scores], rows: Ints, window: Window) -> Floats:
        """What is said of each series of components of one size, (n_series of one, n_components, n_buckets)."""
        alone = rows.shape[1] == 1
        if len(scores) == 1:
            return np.asarray(_said(scores[0], rows, window), np.float64)
        short = min(1.0, max(0.0, (LONG - window.span) / (LONG - SHORT)))
        total = np.zeros((*rows.T.shape, len(window)))
        weight = np.zeros_like(total)
        slow, lookers = np.zeros_like(total), 0
        for place, one in enumerate(scores):
            name = self.names[place] if place < len(self.names) else ""
            counts, most = _counting(name, short) if alone else (AMONG.get(name, 1.0), CAP)
            said = np.minimum(_said(one, rows, window), most)
            unknown = np.isnan(said)
            if unknown.any():
                np.copyto(said, 0.0, where=unknown)
                weight += counts * ~unknown
            else:
                weight += counts
            total += said if counts == 1.0 else counts * said
            if not alone and name in ("novelty", "level"):
                slow += said
                lookers += 1
        np.divide(total, np.maximum(weight, 1e-9), out=total)
        if lookers:
            slow *= AGREED / lookers
            np.maximum(total, slow, out=total)
        np.copyto(total, np.nan, where=weight <= 0)
        return total


def _counting(name: str, short: float) -> tuple[float, float]:
    """What a detector counts for about a series without siblings, and up to which surprise; `short` is 1 for buckets of a minute,
    0 for long ones."""
    lowest, highest = SLOW.get(name, (CAP, CAP))
    counts = short * ALONE_SHORT.get(name, 1.0) + (1.0 - short) * ALONE_LONG.get(name, 1.0)
    return counts, short * lowest + (1.0 - short) * highest


def _pieces(window: Window, rows: int) -> Iterator[tuple[slice, Window]]:
    """The window in pieces whose values stay in the cache."""
    buckets = max(1, CELLS // max(1, rows))
    for first in range(0, len(window), buckets):
        columns = slice(first, min(first + buckets, len(window)))
        start = window.start + first * window.span
        yield columns, Window(start, window.start + columns.stop * window.span, window.span)


def _said(scores: Scores, rows: Ints, window: Window) -> Floats:
    """The surprises of components of one size, (n_series of one, n_components, n_buckets); a view where that is all."""
    surprise = scores.surprise[:, window.columns_in(scores.window)]
    if rows.size == len(surprise):
        return surprise.reshape(*rows.shape, len(window)).transpose(1, 0, 2)
    return np.asarray(surprise[rows.T])


def _common(windows: Sequence[Window]) -> Window:
    return Window(max(window.start for window in windows), min(window.end for window in windows), windows[0].span)


def _wholes(components: Sequence[Scores], places: Ints, window: Window) -> Floats:
    """What the detectors of whole components say of these, (n_detectors, n_components, n_buckets)."""
    if not components:
        return np.empty((0, len(places), len(window)))
    return np.stack([np.asarray(one.surprise[places][:, window.columns_in(one.window)], np.float64) for one in components])


def _by_size(index: SeriesIndex) -> Iterator[tuple[Ints, Ints]]:
    """Components of equal size together: their positions (n,), and the rows of each (n, size)."""
    sizes = np.diff(np.r_[index.component_starts, len(index)])
    for size in np.unique(sizes):
        components = np.flatnonzero(sizes == size)
        yield components, index.component_starts[components][:, None] + np.arange(size)


def _of_series(parts: Floats, members: Floats) -> Floats:
    """The parts of the series alone, which sum to 1; even where whole components were all that was surprised."""
    # One by one: numpy adds in another order where there is a single bucket, and a tick must say what a replay says.
    total = sum(parts[1:], parts[:1].sum(axis=0))
    nobody = total <= 0
    parts /= np.maximum(total, 1e-300)
    if nobody.any():
        np.copyto(parts, _even(members), where=nobody)
    return parts


def _even(members: Floats) -> Floats:
    """The same part for each that is judged."""
    judged = ~np.isnan(members)
    return np.asarray(judged / np.maximum(judged.sum(axis=0), 1), np.float64)


def _most(count: int) -> int:
    """How many of so many members the mean is over."""
    return min(count, max(3, count // TOP))


def _largest(members: Floats) -> tuple[Floats, Floats]:
    """Mean of each component's largest surprises, NaN where none is judged, and the smallest that counts in it, both
    (n_components, n_buckets)."""
    most = _most(len(members))
    # The largest so far, in order; whatever comes is sorted in. All buckets at once, which sorting each by itself is not.
    top = [np.zeros(members.shape[1:]) for _ in range(most)]
    judged = np.zeros(members.shape[1:], np.bool_)
    rest, kept = np.empty(members.shape[1:]), np.empty(members.shape[1:])
    for number, member in enumerate(members):
        unknown = np.isnan(member)
        np.logical_or(judged, ~unknown, out=judged)
        np.minimum(member, CAP, out=rest)
        np.copyto(rest, 0.0, where=unknown)
        for place in range(min(number, most - 1)):
            np.minimum(top[place], rest, out=kept)
            np.maximum(top[place], rest, out=top[place])
            rest, kept = kept, rest
        last = min(number, most - 1)
        np.maximum(top[last], rest, out=top[last])
    mean = sum(top[1:], top[0]) / most
    return np.where(judged, mean, np.nan), top[-1]


def _parts(members: Floats, edge: Floats) -> Floats:
    """The part that each member has in the mean, (n_members, n_components, n_buckets), which sum to 1."""
    most = _most(len(members))
    capped = np.minimum(members, CAP)
    np.copyto(capped, 0.0, where=np.isnan(members))
    if most < len(members):
        # The largest keep their parts; where several are equal at the edge they share what is left.
        over, at = capped > edge, (capped == edge) & (edge > 0)
        left = most - np.count_nonzero(over, axis=0)
        each = edge * left / np.maximum(np.count_nonzero(at, axis=0), 1)
        np.copyto(capped, 0.0, where=~over)
        np.copyto(capped, each, where=at)
    return _of_series(capped, members)
