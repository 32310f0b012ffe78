"""From the surprises of all detectors about all series of a component to one, with each series' share.

First every series by itself: the weighted mean of what its detectors say. They are looks at the same value, so that they agree
is what an anomaly is; whom it depends on is whether the series has siblings. Where a component has one series only, the slow and
the remembering detectors are its witnesses, the more so the longer its buckets are. With siblings the sharp ones are: of many
series one is always new or on its way somewhere. There the slow ones are heard where they agree.

Then its group (`detectors.groups`): metrics, counts of log lines and waits each by themselves. It is the mean of its largest
series, a sixth of them and three at least: sensitive to one thing very wrong and to many a little wrong. No series counts for
more than `CAP`, so that a broken one cannot own the component. Series of a component move together, so no formula gives this
mean's distribution: it is calibrated per component and group on the rehearsal, on days that were not learnt from. Detectors of
whole components are one more series each, of the first group.

Then the component: what its groups come to, calibrated in the same way. A component of one group is that group, and one of a
single series keeps that series' surprise, which is not calibrated again (measured: that loses more than it gains).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.coldstart import borrowed
from detectors.groups import Batch, batches, of_several, sizes_of, worth
from detectors.learnt import learnt_of
from tocsin.calibration import Tails
from tocsin.model import KINDS, Baseline, Floats, Fused, Ints, Scores, Window

CAP = 12.0
"""Surprise that one detector of one series counts for at most."""
TOP = 6
"""The mean is over the largest `1 / TOP` of the series of a group, three at least."""
AHEAD = 1.1
"""As in `detectors.seasonal`: the means of days to come are a little larger than those of the rehearsal."""
FLATTEST = 0.3
"""Orders of magnitude that one more unit of the mean counts for at least, in a component that is hardly ever surprised at all.
Its few surprises (a minute in which all series were silent at once) say little of how a tail goes on, and the mean is a
surprise itself."""
LEAST = 40
"""Rehearsed buckets that a group, or a component, needs to be calibrated."""
ALONE_SHORT: Mapping[str, float] = {"change": 2.0, "seasonal": 2.0}
ALONE_LONG: Mapping[str, float] = {"novelty": 2.0, "level": 2.0, "seasonal": 0.5}
"""What detectors count for where a series has no siblings, in buckets of a minute and in those of five and longer, and in
proportion between; others count 1. From one minute to the next a load hardly changes by itself, in five it does."""
AMONG: Mapping[str, float] = {"change": 2.0, "novelty": 0.3, "level": 0.1}
"""What detectors count for where it has; others count 1."""
AGREED = 0.75
"""With siblings, so much of the mean of those that are slow or remember counts where it is more: nobody else hears a leak."""
TOGETHER = 1.1
"""What several detectors say of a series that stands alone counts for so much more than their mean. They seldom agree by chance:
on the sets measured a mean of 3.6 is about as rare as one detector's 4."""
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
        """Learn how surprising each group's mean is from what its series' detectors would have said, and how surprising it is
        what the groups of a component are worth together."""
        index = rehearsals[0].index
        window = _common([rehearsal.window for rehearsal in (*rehearsals, *components)])
        several, sizes = of_several(index), sizes_of(index)
        apart = np.full((len(KINDS), len(several), len(window)), np.nan, np.float32)
        sampled = np.ones(apart.shape[1:], np.bool_)
        groups = np.full((*sizes.shape, 5), np.nan, np.float32)
        for batch in batches(index):
            wholes = _wholes(components if batch.first else (), batch.components, window)
            if batch.alone and not len(wholes):
                continue
            mean = np.empty((len(batch.components), len(window)))
            for columns, part in _pieces(window, batch.rows.size):
                members = self._members(rehearsals, batch, part)
                mean[:, columns] = _largest(np.concatenate([members, wholes[:, :, columns]]))[0]
            # Where a detector of components rehearsed a sample only, so does the fusion.
            rehearsed = (~np.isnan(wholes) | np.isnan(wholes).all(axis=2, keepdims=True)).all(axis=0)
            learnt = _calibrated(np.where(rehearsed, mean, np.nan))
            groups[batch.components, batch.kind] = learnt.to_array()
            if not batch.single:
                places = np.searchsorted(several, batch.components)
                apart[batch.kind, places] = learnt.surprise(mean)
                sampled[places] &= rehearsed
        together = np.full((len(sizes), 5), np.nan, np.float32)
        together[several] = _calibrated(np.where(sampled, worth(np.minimum(apart, CAP))[0], np.nan)).to_array()
        known = [borrowed(groups[:, kind], sizes[:, kind]) for kind in range(len(KINDS))]
        return Baseline(
            detector="fusion",
            index=index.by_component,
            trained_on=window,
            arrays={"groups": np.stack(known, axis=1), "together": together},
            facts={"format": 3, "cap": CAP, "top": TOP, "detectors": list(self.names)},
        )

    def fuse(self, scores: Sequence[Scores], baseline: Baseline, components: Sequence[Scores] = ()) -> Fused:
        """One surprise per component of the scores' index. A series that is not judged adds nothing; a component with no
        judged series, or that was not learnt, is not judged."""
        index, window = scores[0].index, scores[0].window
        own, known = learnt_of(index.by_component, baseline)
        fused = np.full((len(known), len(window)), np.nan)
        share = np.zeros((len(index), len(window)))
        several = of_several(index)
        apart = np.full((len(KINDS), len(several), len(window)), np.nan)
        for batch in batches(index):
            places = batch.components if batch.single else np.searchsorted(several, batch.components)
            for columns, part in _pieces(window, batch.rows.size):
                members = self._members(scores, batch, part)
                wholes = _wholes(components if batch.first else (), batch.components, part)
                if batch.alone and not len(wholes):
                    result = members[0]
                    parts = np.where(np.isnan(members), 0.0, 1.0)
                else:
                    everybody = np.concatenate([members, wholes])
                    mean, edge = _largest(everybody)
                    tails = Tails.from_array(own["groups"][batch.components, batch.kind])
                    result = np.where(known[batch.components][:, None], tails.surprise(mean), np.nan)
                    parts = _of_series(_parts(everybody, edge)[: len(members)], members)
                    np.copyto(parts, 0.0, where=np.isnan(result))
                (fused if batch.single else apart[batch.kind])[places, columns] = result
                share[batch.rows.T, columns] = parts
        if len(several):
            come_to, parts = worth(np.minimum(apart, CAP))
            tails = Tails.from_array(own["together"][several])
            # A component that came later than its siblings has borrowed what is known of each group, and no more.
            fused[several] = np.where(np.isnan(tails.far)[:, None], come_to, tails.surprise(come_to))
            of_group = _of_series(parts, apart)
            rows = np.flatnonzero(np.isin(index.component_of, several))
            share[rows] *= of_group[index.kinds[rows], np.searchsorted(several, index.component_of[rows])]
        return Fused(index=index, window=window, surprise=fused, share=share)

    def _members(self, scores: Sequence[Scores], batch: Batch, window: Window) -> Floats:
        """What is said of each series of groups of one size, (n_series of one, n_groups, n_buckets)."""
        rows, alone = batch.rows, batch.alone
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
        if alone:
            total *= TOGETHER
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
    """The surprises of groups of one size, (n_series of one, n_groups, n_buckets); a view where that is all."""
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


def _calibrated(values: Floats) -> Tails:
    """How rare values (n, n_buckets) are that are surprises, or means of them."""
    learnt = Tails.fit(values, LEAST)
    return learnt.widened(AHEAD).at_least_as_steep(np.where(learnt.far > 0, 0.0, FLATTEST))


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
