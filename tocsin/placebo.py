"""Copies of the past in which nothing can have happened, and what would have been told of them: the real false-alarm rate.

A placebo is put together from the component's own hours: each block of its time comes from another day of the same kind, at the
same time of day, not far away. What was normal stays normal, hour by hour and together across the component's series; what
lasted is torn apart. Nobody needs to label anything. What is told of a placebo is a false alarm.

Says too much where the level moves within a week (blocks before and after a shift are mixed), and too little of alarms that need
more than a block to build up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alerting.judge import JudgeState, Rules, judge
from tocsin.model import Bools, Frame, SeriesIndex, Window
from tocsin.ports import Detector
from tocsin.scoring import evaluate, learn
from tocsin.timegrid import DAY, Calendar

BLOCK = 2 * 3600
"""Seconds that stay together."""
NEAR = 7
"""Days from which a block may come, before and after."""
MOST = 50
"""Components that are enough to know a rate."""
JUDGED = 3
"""Days at the end of the past that are judged, after having learnt from what is before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placebo:
    """False alarms of a component type: how many, over how many component-days, for each opening surprise asked for."""

    component_days: float
    alarms: Mapping[float, int]


def false_alarms(
    history: Frame,
    detectors: Sequence[Detector],
    rules: Rules,
    calendar: Calendar,
    *,
    seed: int,
    surprises: Sequence[float],
    spared: Bools | None = None,
) -> Placebo:
    """What the rules would have told of a placebo of the history's last days, each of `surprises` taken as the opening one.

    Learns and judges at most `MOST` components, chosen by `seed`: about as long as training those. `spared` as in `shuffled`.
    """
    some, sick = _some(history, spared, seed)
    placebo = shuffled(some, calendar, seed=seed, spared=sick)
    window, index = placebo.window, placebo.index
    cut = window.start + max(0, len(window) - JUDGED * DAY // window.span) * window.span
    past, judged = Window(window.start, cut, window.span), Window(cut, window.end, window.span)
    if not len(past) or not len(index):
        return Placebo(component_days=0.0, alarms=dict.fromkeys(surprises, 0))
    evaluation = evaluate(placebo, judged, detectors, learn(placebo.within(past), detectors))
    known = np.zeros((len(index.components), len(judged)), np.bool_)
    alarms = dict.fromkeys(surprises, 0)
    for signature, fused in evaluation.fused.items():
        known |= ~np.isnan(fused.surprise)
        said = [evaluation.scores[one.name] for one in detectors if one.signature == signature and one.name in evaluation.scores]
        series = [(placebo.within(judged), scores) for scores in said]
        for surprise in surprises:
            tried = replace(
                rules,
                open_surprise=surprise,
                close_surprise=min(rules.close_surprise, surprise),
                critical_surprise=max(rules.critical_surprise, surprise),
            )
            told = judge(fused, series, JudgeState(), tried, "placebo", signature)
            alarms[surprise] += len(told.incidents)
    return Placebo(component_days=float(known.sum()) * window.span / DAY, alarms=alarms)


def _some(history: Frame, spared: Bools | None, seed: int) -> tuple[Frame, Bools | None]:
    index = history.index
    count = len(index.components)
    if count <= MOST:
        return history, spared
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:MOST])
    rows = np.flatnonzero(np.isin(index.component_of, chosen))
    return history.take(rows, SeriesIndex(index[row] for row in rows)), None if spared is None else spared[chosen]


def shuffled(frame: Frame, calendar: Calendar, *, seed: int, spared: Bools | None = None) -> Frame:
    """A placebo of the frame: its index and window, its blocks in another order.

    Blocks with a bucket in `spared` (n_components, n_buckets; incidents that are known of) are put nowhere where there is
    another; a block that has no other of its kind nearby stays what and where it is. The same seed gives the same placebo.
    """
    if not len(frame.window):
        return frame
    local = calendar.local_seconds(frame.window.starts)
    days, first = local // DAY, int(local[0] // DAY)
    place = local % DAY // frame.window.span
    count, wide = int(days.max()) - first + 1, -(-DAY // frame.window.span)
    # Which bucket is at which time of which day; where the clocks change a time comes twice (the later one counts) or never.
    at = np.full((count, wide), -1)
    at[days - first, place] = np.arange(len(local))
    kinds = np.array([calendar.kind_of_day(first + day) for day in range(count)])
    alike = (kinds[:, None] == kinds) & (np.abs(np.subtract.outer(np.arange(count), np.arange(count))) <= NEAR)
    np.fill_diagonal(alike, False)
    rng = np.random.default_rng(seed)
    components = len(frame.index.components)
    origin = np.tile(np.arange(len(local)), (components, 1))
    edges = np.arange(0, wide, max(1, BLOCK // frame.window.span))
    for start, stop in zip(edges, np.r_[edges[1:], wide], strict=True):
        columns = at[:, start:stop]
        whole: Bools = np.all(columns >= 0, axis=1)
        bad = np.zeros((components, count), np.bool_)
        if spared is not None:
            bad[:, whole] = np.any(spared[:, columns[whole]], axis=2)
        may = alike & whole & np.reshape(whole, (-1, 1))
        chance = rng.random((components, count, count)) * may
        chance = np.where(bad[:, None, :], chance * 1e-9, chance)
        donor = np.where(chance.max(axis=2) > 0, chance.argmax(axis=2), np.arange(count))
        origin[:, columns[whole]] = columns[donor[:, whole]]
    rows = frame.index.component_of
    taken = np.take_along_axis(frame.values, origin[rows], axis=1)
    return replace(frame, values=taken, known=np.take_along_axis(frame.known, origin[rows], axis=1))
