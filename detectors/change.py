"""A value that is unlike the buckets just before it.

Idea and formulas: docs/detection/change.md. What is expected is the exponentially weighted mean of the buckets before; how
rare the distance to it is comes from the series' own last two weeks (`detectors.jumps`). One odd bucket is no finding, a very odd
one is for ten minutes, fading: the surprise is half the mean over three buckets, half the largest of those minutes. Finds what
just moved, at any hour; says nothing of what lasts, because the mean follows within ten buckets, and nothing of what ends: a
value that is back where most of the last hour was is no change, however far it is from the incident it came out of. Fails on
series that jump by their nature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.jumps import LEARNT, alone, learnt, surprise_of
from detectors.learnt import NARROW, blocks, laid, learnt_of, narrow, slabs
from detectors.scales import facts_of, mattering, one_sided
from detectors.walking import past, refitted
from tocsin.calibration import Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Detector, Plugin, Stretch, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY, Calendar

REHEARSAL = 14
"""Days that are learnt from: the trailing ones."""
MEMORY = 16
"""Buckets before the one that is judged; a power of two."""
FORGET = 0.2
"""Each bucket counts that part less than the one after it."""
TOGETHER = 3
"""Buckets whose surprises are averaged."""
LATELY = 600
"""Seconds between the five earlier values whose median is where the last hour mostly was; a bucket at least."""
BACK = 0.25
"""A value this much nearer to there than to the recent mean has come back."""
EXACT = 1e-12
"""Distances of this part of a value are nothing but rounding."""
HELD = 600
"""Seconds for which a change of surprise `NEWS` or more goes on being told, less and less."""
NEWS = 3.0
FADES = 400
"""Seconds in which it fades to half."""
CAP = 12.0
"""Surprise that one bucket counts for at most."""


class ChangeSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    calendar: Calendar = field(default_factory=lambda: Calendar("UTC"))

    @property
    def name(self) -> str:
        return "change"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return (self._reach + self._before) * self.span

    @property
    def _apart(self) -> int:
        return max(1, LATELY // self.span)

    @property
    def _reach(self) -> int:
        """Buckets before one that its own deviation needs."""
        return max(MEMORY, 5 * self._apart)

    @property
    def _before(self) -> int:
        """Buckets before one whose surprises are told with it."""
        return max(TOGETHER - 1, HELD // self.span)

    @property
    def _learnt_from(self) -> int:
        return REHEARSAL * DAY // self.span

    def fit(self, history: Frame) -> Fitted:
        """Learn from the last two weeks, which are the rehearsal."""
        facts = facts_of(history.index, self.metrics)
        first = max(0, len(history.window) - self._learnt_from)
        far = self._deviations(history.values, facts, first)[1].astype(np.float32)
        slots = self._slots(history.window)[first:]
        return self._fitted(history.index, history.window, facts, far, learnt(far, slots, alone(history.index), self.span))

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket against those before it in the frame. Which buckets are asked for together, and where the frame
        begins, changes no more than the last digits."""
        own, there = learnt_of(frame.index, baseline)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        first = max(0, columns.start - self._before)
        slots = self._slots(frame.window)[first : columns.stop]
        said = np.empty((4, len(frame.index), len(window)))
        for rows in slabs(len(frame.index), columns.stop - first):
            mine = {name: array[rows] for name, array in own.items()}
            expected, far = self._deviations(frame.values[rows, : columns.stop], mine, first)
            self._say(mine, far, expected[:, columns.start - first :], slots, said[:, rows])
        said[:, ~there] = np.nan
        surprise, expected, lower, upper = said
        return Scores(index=frame.index, window=window, surprise=surprise, expected=expected, lower=lower, upper=upper)

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """As `WalkingDetector.walk`. Every deviation is computed once; many windows are learnt and judged together."""
        learnt_from = self._learnt_from
        if train < learnt_from * self.span + self.lookback:
            yield from refitted(self, frame, windows, train)
            return
        facts = facts_of(frame.index, self.metrics)
        count, before, single = len(frame.index), self._before, alone(frame.index)
        kept, done = np.empty((count, 0)), 0
        for block in blocks(windows, count, learnt_from):
            places = [window.columns_in(frame.window) for window in block]
            first, last = max(0, places[0].start - learnt_from), places[-1].stop
            # What the block before this one has seen already.
            kept, done = (kept[:, kept.shape[1] - done + first :], done) if done > first else (np.empty((count, 0)), first)
            expected, fresh = self._deviations(frame.values[:, :last], facts, done)
            kept, done = np.concatenate([kept, fresh], axis=1), last
            small = kept.astype(np.float32)
            longest = max(map(len, block))
            begins = np.array([place.start for place in places]) - first
            slots = self._slots(
                Window(block[0].start - learnt_from * self.span, block[-1].start + longest * self.span, self.span)
            )
            for group in _alike(slots, begins - begins[0], learnt_from + longest):
                starts, many = begins[group], count * len(group)
                here = slots[starts[0] - begins[0] :][: learnt_from + longest]
                own = {name: np.repeat(array, len(group)) for name, array in facts.items()} | learnt(
                    laid(small, starts - learnt_from, learnt_from).reshape(many, learnt_from),
                    here[:learnt_from],
                    np.repeat(single, len(group)),
                    self.span,
                )
                far = laid(kept, starts - before, longest + before).reshape(many, longest + before)
                asked = laid(expected, starts - (last - first - expected.shape[1]), longest).reshape(many, longest)
                said = np.empty((4, *asked.shape))
                self._say(own, far, asked, here[learnt_from - before :], said)
                by_window = said.reshape(4, count, len(group), longest)
                for place, number in enumerate(group):
                    window = block[number]
                    surprise, around, lower, upper = by_window[:, :, place, : len(window)]
                    recent = small[:, max(0, int(starts[place]) - learnt_from) : int(starts[place])]
                    mine = {name: own[name].reshape(count, len(group), *own[name].shape[1:])[:, place] for name in LEARNT}
                    scores = Scores(
                        index=frame.index, window=window, surprise=surprise, expected=around, lower=lower, upper=upper
                    )
                    trained_on = past(frame.window, window, train)
                    yield Stretch(scores=scores, fitted=partial(self._fitted, frame.index, trained_on, facts, recent, mine))

    def _deviations(self, values: Floats, facts: Mapping[str, NDArray[Any]], first: int) -> tuple[Floats, Floats]:
        """What is expected, and how far from it each value is where it matters, from column `first` on."""
        begin = max(0, first - self._reach)
        shape = len(values), values.shape[1] - first
        order: Literal["C", "F"] = "F" if shape[1] <= NARROW else "C"
        expected, far = np.empty(shape, order=order), np.empty(shape, order=order)
        for rows in slabs(*shape):
            part = narrow(values[rows, begin:])
            expected[rows] = recent_mean(part, first - begin)
            distance = unless_back(part[:, first - begin :] - expected[rows], part, first - begin, self._apart)
            far[rows] = mattering(distance, {name: array[rows] for name, array in facts.items()})
        return expected, far

    def _fitted(
        self,
        index: SeriesIndex,
        trained_on: Window,
        facts: Mapping[str, NDArray[Any]],
        far: NDArray[np.float32],
        own: Mapping[str, NDArray[np.float32]],
    ) -> Fitted:
        """What was learnt of the deviations of the last days learnt from, and what is said of them."""
        window = Window(trained_on.end - far.shape[1] * self.span, trained_on.end, self.span)
        slots, surprise = self._slots(window), np.empty(far.shape)
        for rows in slabs(*far.shape):
            said = surprise_of(far[rows], slots, {name: array[rows] for name, array in own.items()})
            surprise[rows] = self._together(said, far.shape[1])
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=trained_on,
                arrays={**facts, **own},
                facts={"format": 2, "span": self.span, "memory": MEMORY, "forget": FORGET, "calendar": repr(self.calendar)},
            ),
            rehearsal=Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown),
        )

    def _slots(self, window: Window) -> Ints:
        """The local half-hour of each bucket."""
        return self.calendar.slots(window.starts + self.span // 2)

    def _say(self, own: Mapping[str, NDArray[Any]], far: Floats, expected: Floats, slots: Ints, said: Floats) -> None:
        """Write surprise, expected, lower and upper (4, n_rows, n_buckets) of the last buckets; `far` and `slots` begin earlier,
        as far back as surprises are told."""
        width = expected.shape[1]
        said[0] = self._together(surprise_of(far, slots, own), width)
        limit = Tails.from_array(own["tails"]).limit()[:, None]
        said[1] = expected
        np.copyto(said[1], np.nan, where=np.isnan(limit))
        if own["single"].any():
            limit = limit * own["noise"].take(slots[len(slots) - width :], axis=1)
        said[2], said[3] = one_sided(said[1], limit, own)

    def _together(self, surprise: Floats, width: int) -> Floats:
        """Half the mean of the capped surprises of each of the last `width` buckets and the two before it, half the largest of
        those that are news still; unknown ones are no evidence. NaN where unknown."""
        first = surprise.shape[1] - width
        capped = np.minimum(surprise, CAP)
        np.fmax(capped, 0.0, out=capped)
        total = capped[:, first:].copy(order="K")
        for back in range(1, TOGETHER):
            lacking = max(0, back - first)
            total[:, lacking:] += capped[:, first + lacking - back : max(0, surprise.shape[1] - back)]
        total /= TOGETHER
        held = np.where(capped >= NEWS, capped, 0.0)
        reach = 0
        while reach < HELD // self.span:  # each step doubles how long news is held
            step = min(reach + 1, HELD // self.span - reach)
            later = held[:, : max(0, held.shape[1] - step)] * 0.5 ** (step * self.span / FADES)
            np.maximum(held[:, step:], later, out=held[:, step:])
            reach += step
        total += np.maximum(held[:, first:], capped[:, first:])
        total /= 2
        np.copyto(total, np.nan, where=np.isnan(surprise[:, first:]))
        return total


def _alike(slots: Ints, begins: Ints, width: int) -> Iterator[list[int]]:
    """Numbers of neighbouring windows that have the same of the local half-hours `slots` in so many buckets from where they
    begin."""
    short = slots.astype(np.int8)
    group: list[int] = []
    before = b""
    for number, begin in enumerate(begins.tolist()):
        half_hours = short[begin : begin + width].tobytes()
        if group and half_hours != before:
            yield group
            group = []
        group.append(number)
        before = half_hours
    yield group


def unless_back(distance: Floats, values: Floats, first: int, apart: int) -> Floats:
    """The distance of each value from column `first` on to its recent mean, (n_series, n_buckets - first); 0 where the value is
    back where the median of five values of the last hour was. Where one of those is unknown nothing changes."""
    a, b, c, d, e = (_earlier(values, first, number * apart) for number in range(1, 6))
    low, high = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    lately = np.maximum(np.minimum(e, low), np.minimum(np.maximum(e, low), high))
    present, size = values[:, first:], np.abs(distance)
    back = np.abs(present - lately) < BACK * size
    back |= size <= EXACT * np.abs(present)
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
    lacking = np.isnan(values).any(axis=1)
    if 2 * np.count_nonzero(lacking) > len(values):
        # What one bucket lacks most series often lack.
        return _mean_of_known(values, first)
    weight = _weighted(np.ones((1, values.shape[1])), first)
    mean = _weighted(values, first)
    mean /= np.where(weight > 0, weight, 1.0)
    np.copyto(mean, values[:, first:], where=weight == 0)
    if lacking.any():
        mean[lacking] = _mean_of_known(values[lacking], first)
    return mean


def _mean_of_known(values: Floats, first: int) -> Floats:
    """`recent_mean` of any values."""
    known = ~np.isnan(values)
    total, weight = _weighted(np.where(known, values, 0.0), first), _weighted(known.astype(np.float64), first)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), values[:, first:])


def _weighted(values: Floats, first: int) -> Floats:
    """Weighted sum of the `MEMORY` values before each column from `first` on."""
    keep, width = 1.0 - FORGET, values.shape[1] - first
    if width <= TOGETHER:
        back = first + np.arange(width) - np.arange(values.shape[1])[:, None] - 1
        weights = np.where((back >= 0) & (back < MEMORY), keep ** np.clip(back, 0, MEMORY), 0.0)
        return (weights.T @ values.T).T
    begin = max(0, first - MEMORY)
    sums = np.zeros((len(values), MEMORY + width - 1))
    sums[:, MEMORY - first + begin :] = values[:, begin:-1]
    reach = 1
    while reach < MEMORY:  # each step doubles how far it reaches
        sums = sums[:, reach:] + keep**reach * sums[:, :-reach]
        reach *= 2
    return sums


def _build(_settings: ChangeSettings, surroundings: Surroundings) -> Detector:
    detector = Change(span=surroundings.span, metrics=surroundings.metrics, calendar=surroundings.calendar)
    return aware(detector, surroundings)


PLUGIN = Plugin(
    name="change",
    summary="A value unlike the buckets just before it",
    settings=ChangeSettings,
    build=_build,
)
