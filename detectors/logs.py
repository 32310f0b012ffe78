"""How many log lines: counts that come in clumps, are mostly zero, or have not been seen at all.

Idea and formulas: docs/detection/logs.md. A count is held against the rate of its half-hour, from above in its own bucket and
from below over the last hour (a template that was there every few minutes and is gone). How strange it is, in orders of
magnitude, is the Chernoff bound of a negative binomial distribution; what that is worth is calibrated on days that were not
learnt from. Fails on counts whose level wanders from day to day for no reason of the calendar: they learn to say little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.rates import CELLS, cells_of, hourly_rates
from tocsin.calibration import LIMIT, Tails
from tocsin.model import Baseline, Bools, Direction, Fitted, Floats, Frame, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY, Calendar

DAYS = 14
"""Days that are learnt from: the trailing ones."""
LEAST_DAYS = 2
LEAST_BUCKETS = 96
"""Nothing is judged before a series could be asked for two days, in that many buckets."""
RECENT = 3600
RECENT_BUCKETS = 3
"""What is gone is looked for in the last hour, three buckets at least."""
CLUMP = 5.0
"""Lines that come at once, as long as little is known: an error is seldom logged alone."""
PRIOR = 3.0
"""Events that `CLUMP` is worth."""
ALIKE = 0.01
"""Rates of a half-hour differ from day to day by a tenth (the square root of this) at least."""
OUTLIER = 0.998
"""Counts beyond this quantile are cut down to it before rates are learnt: an incident does not become a rate."""
AHEAD = 1.1
"""Surprises of days to come are that much larger than those learnt from."""
BELIEVED = (0.1, 2.0)
"""What one more order of magnitude of the bound is worth at least and at most: what never happened and then happens a thousand
times is more than what happens once, and no past is so even that it says more."""
NOTHING = 0.05
"""Less than that is as usual."""
TROUBLE = (
    "log.new",
    "log.level.emergency",
    "log.level.alert",
    "log.level.critical",
    "log.level.fatal",
    "log.level.error",
    "log.level.warning",
)
"""Fewer of these are no trouble."""


class LogsSettings(Settings):
    """`metrics`: which series are counts of log lines, as patterns of metric names (`*` and `?`)."""

    metrics: tuple[str, ...] = ("log.*",)


@dataclass(frozen=True, kw_only=True)
class Logs:
    """See the module. A known bucket without value is a count of zero. Metrics not named in `metrics` are judged on both sides,
    those of `TROUBLE` above only."""

    span: int
    calendar: Calendar
    patterns: Sequence[str] = ("log.*",)
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "logs"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return (self._recent - 1) * self.span

    @property
    def _recent(self) -> int:
        return max(RECENT_BUCKETS, RECENT // self.span)

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn the rates of every row of log lines from the last two weeks, which are the rehearsal too."""
        index, span = history.index, self.span
        start = max(history.window.start, history.window.end - DAYS * DAY // span * span)
        recent = history.within(Window(start, history.window.end, span))
        window, cells = recent.window, cells_of(recent.window.starts, self.calendar)
        mine = self._mine(index)
        counts = _counts(recent.values, recent.known)
        counts[~mine] = np.nan
        facts = self._facts(index)
        high = _cut(counts)
        clump, alike = _dispersion(high, hourly_rates(high, ~np.isnan(high), cells)[:, cells])
        odd = window.starts // DAY % 2 == 1
        expected = np.empty_like(counts)
        for learnt_from in (odd, ~odd):
            rates = hourly_rates(high[:, learnt_from], ~np.isnan(high[:, learnt_from]), cells[learnt_from], clump)
            expected[:, ~learnt_from] = rates[:, cells[~learnt_from]]
        far = _far(self._seen(counts, expected, slice(None)), clump, alike, facts)
        asked = np.count_nonzero(~np.isnan(counts), axis=1) * span >= LEAST_DAYS * DAY
        both = min(np.count_nonzero(odd), np.count_nonzero(~odd)) * span >= DAY // 2
        tails = Tails.fit(np.where(asked[:, None] & both, far, np.nan), LEAST_BUCKETS)
        tails = tails.widened(AHEAD)
        tails = replace(tails, steepness=np.clip(tails.steepness, *BELIEVED))
        unknown = np.broadcast_to(np.nan, counts.shape)
        rates = hourly_rates(high, ~np.isnan(high), cells, clump)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=history.window,
                arrays={
                    "rates": rates.astype(np.float32),
                    "clump": clump,
                    "alike": alike,
                    "tails": tails.to_array(),
                    **facts,
                },
                facts={"format": 1, "span": span, "cells": CELLS},
            ),
            rehearsal=Scores(
                index=index,
                window=window,
                surprise=np.where(np.isnan(recent.values) & ~recent.known, np.nan, tails.surprise(far)),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def _mine(self, index: SeriesIndex) -> Bools:
        names = {name: any(fnmatchcase(name, pattern) for pattern in self.patterns) for name in {key.metric for key in index}}
        return np.array([names[key.metric] for key in index], np.bool_)

    def _facts(self, index: SeriesIndex) -> dict[str, NDArray[Any]]:
        down, up, least = [], [], []
        for key in index:
            metric = self.metrics.get(key.metric)
            direction = metric.direction if metric else Direction.HIGH if key.metric in TROUBLE else Direction.BOTH
            down.append(direction is not Direction.HIGH)
            up.append(direction is not Direction.LOW)
            least.append(metric.min_deviation if metric else 0.0)
        return {"up": np.array(up, np.bool_), "down": np.array(down, np.bool_), "least": np.array(least, np.float64)}

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge each count, and what the last hour makes of a rate; expected is the rate of the half-hour."""
        rows = frame.index.rows_in(baseline.index)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        said = {name: np.full((len(rows), len(window)), np.nan) for name in ("surprise", "expected", "lower", "upper")}
        # Most series of a component type are no log lines, and cost nothing.
        known = np.flatnonzero(rows >= 0)
        known = known[~np.isnan(baseline.arrays["tails"][rows[known], 2])]
        if len(known) and len(window):
            own = {name: array[rows[known]] for name, array in baseline.arrays.items()}
            counts = _counts(frame.values[known], frame.known[known])
            expected = own["rates"][:, cells_of(frame.window.starts, self.calendar)].astype(np.float64)
            tails = Tails.from_array(own["tails"])
            seen = self._seen(counts, expected, columns)
            far = _far(seen, own["clump"], own["alike"], own)
            lower, upper = _band(seen, own, tails)
            hidden = np.isnan(seen.counts)
            for name, array in (
                ("surprise", tails.surprise(far)),
                ("expected", seen.expected),
                ("lower", lower),
                ("upper", upper),
            ):
                said[name][known] = np.where(hidden, np.nan, array)
        return Scores(index=frame.index, window=window, **said)

    def _seen(self, counts: Floats, expected: Floats, columns: slice) -> _Seen:
        there = ~np.isnan(counts)
        return _Seen(
            counts=counts[:, columns],
            expected=expected[:, columns],
            some=_trailing(np.where(there, counts, 0.0), self._recent)[:, columns],
            usual=_trailing(np.where(there, expected, 0.0), self._recent)[:, columns],
        )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Counts and their rates in each bucket, and both over the hour that it ends, all (n_series, n_buckets)."""

    counts: Floats
    expected: Floats
    some: Floats
    usual: Floats


def _far(seen: _Seen, clump: Floats, alike: Floats, facts: Mapping[str, NDArray[Any]]) -> Floats:
    """Orders of magnitude that a count is rare at its rate, or the last hour's counts at theirs, (n_series, n_buckets)."""
    least, more = facts["least"][:, None], seen.counts - seen.expected
    above = facts["up"][:, None] & (more > 0) & (more >= least)
    below = facts["down"][:, None] & (more < 0) & (-more >= least) & (seen.some < seen.usual)
    far = np.where(np.isnan(seen.counts), np.nan, 0.0)
    for where, count, rate in ((above, seen.counts, seen.expected), (below, seen.some, seen.usual)):
        rows, columns = np.nonzero(where)
        found = strangeness(count[rows, columns], rate[rows, columns], clump[rows], alike[rows])
        far[rows, columns] = np.where(found < NOTHING, 0.0, found)
    return far


def _band(seen: _Seen, own: Mapping[str, NDArray[Any]], tails: Tails) -> tuple[Floats, Floats]:
    """The counts outside which surprise is more than one in a thousand; 0 and infinity on a side that does not matter."""
    shape, expected = seen.counts.shape, seen.expected
    clump, alike, least, down, up = (
        np.broadcast_to(own[name][:, None], shape) for name in ("clump", "alike", "least", "down", "up")
    )
    limit = np.where(tails.far_surprise >= LIMIT, 0.0, (LIMIT - tails.far_surprise) / tails.steepness) + tails.far
    limit = np.broadcast_to(np.maximum(limit, NOTHING)[:, None], shape)
    upper = np.full(shape, np.inf)
    upper[up] = np.maximum(_largest_below(*(one[up] for one in (limit, expected, clump, alike))), (expected + least)[up])
    lower = np.zeros(shape)
    # Only where not even an hour of silence would be strange is there nothing to look for.
    some = down & (strangeness(np.zeros(shape), seen.usual, clump, alike) > limit)
    gone = _smallest_above(*(one[some] for one in (limit, seen.usual, clump, alike)))
    rest = seen.some[some] - np.nan_to_num(seen.counts[some])
    lower[some] = np.clip(np.minimum(gone - rest, (expected - least)[some]), 0.0, expected[some])
    return lower, upper


def strangeness(count: Floats, rate: Floats, clump: Floats, alike: Floats) -> Floats:
    """-log10 of the Chernoff bound of P(at least `count`), or at most, where counts of mean `rate` have the variance
    `rate` * (`clump` + `alike` * `rate`): the relative entropy of negative binomials of one size. 0 where they agree."""
    more = clump - 1.0 + alike * rate
    size = rate / np.maximum(more, 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(count > 0, count * np.log(count / rate), 0.0)
        entropy = first - (count + size) * np.log1p((count - rate) / (rate + size))
    return np.asarray(np.maximum(entropy, 0.0) / np.log(10.0), np.float64)


def _largest_below(limit: Floats, rate: Floats, clump: Floats, alike: Floats) -> Floats:
    """The count above `rate` at which strangeness reaches `limit`: Newton's method on a convex function, from beyond."""
    wide = clump + alike * rate
    size = rate / np.maximum(wide - 1.0, 1e-9)
    nats = limit * np.log(10.0)
    count = rate + np.sqrt(2.0 * nats * rate * wide) + nats * wide + 1.0
    for _ in range(7):
        slope = np.log(count / rate) - np.log((count + size) / (rate + size))
        over = strangeness(count, rate, clump, alike) * np.log(10.0) - nats
        count = np.maximum(count - np.maximum(over, 0.0) / np.maximum(slope, 1e-300), rate)
    return np.asarray(count, np.float64)


def _smallest_above(limit: Floats, rate: Floats, clump: Floats, alike: Floats) -> Floats:
    """The count below `rate` at which strangeness reaches `limit`, where it does at 0; by bisection."""
    low, high = np.zeros(rate.shape), np.ones(rate.shape)
    for _ in range(16):
        middle = (low + high) / 2
        above = strangeness(rate * middle, rate, clump, alike) > limit
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(rate * high, np.float64)


def _counts(values: Floats, known: Bools) -> Floats:
    """What was counted: nothing where the source answered and had nothing, NaN where it is not known."""
    return np.where(np.isnan(values) & known, 0.0, np.maximum(values, 0.0))


def _cut(counts: Floats) -> Floats:
    """Counts, the few largest cut down to the others."""
    most = np.sort(np.where(np.isnan(counts), -1.0, counts), axis=1)
    there = np.count_nonzero(most >= 0, axis=1)
    place = counts.shape[1] - 1 - np.floor((1.0 - OUTLIER) * there).astype(np.int64)
    edge = np.take_along_axis(most, np.maximum(place, 0)[:, None], axis=1) if counts.shape[1] else np.zeros((len(counts), 1))
    return np.asarray(np.minimum(counts, np.maximum(edge, CLUMP)), np.float64)


def _dispersion(counts: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """How many lines come at once, and how much rates differ from day to day: variance is rate * (clump + alike * rate). One
    number is measured; rare lines are taken to come in clumps, frequent ones to differ."""
    there = ~np.isnan(counts)
    seen = np.maximum(np.count_nonzero(there, axis=1), 1)
    mean = np.where(there, expected, 0.0).sum(axis=1) / seen
    square = np.where(there, expected**2, 0.0).sum(axis=1) / np.maximum(mean * seen, 1e-300)
    wide = np.where(there, (counts - expected) ** 2, 0.0).sum(axis=1) / np.maximum(mean * seen, 1e-300)
    events = np.where(there, counts, 0.0).sum(axis=1)
    clumps = 1.0 / (1.0 + mean)
    more = np.maximum(wide - 1.0, 0.0)
    clump = 1.0 + (clumps * more * events + (CLUMP - 1.0) * PRIOR) / (events + PRIOR)
    return clump, np.maximum((1.0 - clumps) * more / np.maximum(square, 1e-300), ALIKE)


def _trailing(values: Floats, width: int) -> Floats:
    """Sum of each bucket and the `width` - 1 before it."""
    total = values.copy()
    for back in range(1, min(width, values.shape[1])):
        total[:, back:] += values[:, :-back]
    return total


def _build(settings: LogsSettings, surroundings: Surroundings) -> Logs:
    return Logs(span=surroundings.span, calendar=surroundings.calendar, patterns=settings.metrics, metrics=surroundings.metrics)


PLUGIN = Plugin(
    name="logs",
    summary="Counts of log lines: too many, gone, or never seen before",
    settings=LogsSettings,
    build=_build,
)
