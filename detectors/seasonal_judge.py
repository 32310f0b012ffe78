"""How far buckets are from what the seasonal detector learnt: few buckets of very many series, or many of a few.

Arrays are (n_buckets, n_series), so that both are long runs of numbers. Distances from the centre are in single precision.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.learnt import learnt_of
from detectors.seasonal_fit import beyond, clip, in_spreads, recent_deviation
from tocsin.calibration import Tails
from tocsin.model import Baseline, Bools, Floats, Frame, Ints, Scores, SeriesIndex, Window
from tocsin.timegrid import SLOTS_PER_DAY, DayKind

Singles = NDArray[np.float32]

BLOCK = 1 << 16
"""Values looked at together: few enough for the cache."""
MANY = 1024
"""Series from which on it pays to remember."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """The two half-hours (kind * 48 + slot) whose centres each bucket's centre lies between, and how far along; (n_buckets,)."""

    below: Ints
    above: Ints
    part: Floats

    @property
    def used(self) -> tuple[Ints, Ints]:
        """The half-hours that are asked for, and the place of each one asked for among them, first all those below."""
        return np.unique(np.concatenate([self.below, self.above]), return_inverse=True)

    def within(self, columns: slice) -> Between:
        """Those of these buckets."""
        return Between(below=self.below[columns], above=self.above[columns], part=self.part[columns])


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was learnt, by the rows of a frame, (n_series,) each unless it says otherwise; `season` (half-hours, n_series) and
    `spread` (half-hours, 2, n_series) hold the half-hours that are asked for, `below` and `above` the place of each bucket's."""

    centre: Floats
    follow: Singles
    tails: Tails
    limit: Singles
    up: Bools
    down: Bools
    lowest: Floats
    highest: Floats
    least: Singles
    judged: Bools
    own: NDArray[Any] | None
    season: Singles
    spread: Singles
    below: Ints
    above: Ints
    part: Singles

    @classmethod
    def of(cls, own: dict[str, NDArray[Any]], there: Bools, between: Between) -> Learned:
        """For the buckets of `between`; of rows that are not `there` nothing is known."""
        used, places = between.used
        tails = Tails.from_array(own["tails"])
        count = len(between.part)
        season = own["season"].reshape(len(there), len(DayKind) * SLOTS_PER_DAY)
        return cls(
            centre=own["centre"],
            follow=own["follow"],
            tails=tails,
            limit=tails.limit().astype(np.float32),
            up=own["up"],
            down=own["down"],
            lowest=own["lowest"],
            highest=own["highest"],
            least=own["least"].astype(np.float32),
            judged=~np.isnan(tails.far) & there,
            own=own.get("own"),
            season=np.ascontiguousarray(season[:, used].T),
            spread=np.ascontiguousarray(own["spread"][:, :, used % SLOTS_PER_DAY].transpose(2, 1, 0)),
            below=places[:count],
            above=places[count:],
            part=between.part.astype(np.float32),
        )


_remembered: dict[int, tuple[weakref.ref[Baseline], SeriesIndex, bytes, Learned]] = {}


def learned_of(index: SeriesIndex, baseline: Baseline, between: Between) -> Learned:
    """What a baseline knows of these rows and buckets.

    Nothing but time is lost when it is not remembered: bringing the few half-hours that a tick asks for together, out of all
    that were learnt, takes longer than judging, and the next tick asks for the same ones.
    """
    used, places = between.used
    asked, key = used.tobytes(), id(baseline)
    known = _remembered.get(key)
    if known is None or known[0]() is not baseline or known[2] != asked or known[1] != index:
        learned = Learned.of(*learnt_of(index, baseline), between)
        if len(index) >= MANY:
            _remembered[key] = weakref.ref(baseline, lambda _: _remembered.pop(key, None)), index, asked, learned
        return learned
    count = len(between.part)
    return replace(known[3], below=places[:count], above=places[count:], part=between.part.astype(np.float32))


def judge(frame: Frame, learned: Learned, window: Window, width: int) -> Scores:
    """Judge the buckets of `window`; a recent deviation is one of the `width` buckets before."""
    columns = window.columns_in(frame.window)
    first = max(0, columns.start - width)
    shape = len(frame.index), len(window)
    surprise, expected, lower, upper = (np.empty(shape) for _ in range(4))
    each = max(1, BLOCK // max(1, columns.stop - first))
    for start in range(0, len(frame.index), each):
        rows = slice(start, start + each)
        values = frame.values[rows, first : columns.stop].T
        told = _judge(values, learned, rows, slice(first, columns.stop), columns.start - first, width)
        for array, part in zip((surprise, expected, lower, upper), told, strict=True):
            array[rows] = part.T
    if not learned.judged.all():
        for array in (surprise, expected, lower, upper):
            array[~learned.judged] = np.nan
    return Scores(
        index=frame.index, window=window, surprise=surprise, expected=expected, lower=lower, upper=upper, own=learned.own
    )


def _judge(values: Floats, of: Learned, rows: slice, buckets: slice, skipped: int, width: int) -> tuple[Floats, ...]:
    """Surprise, expected, lower and upper of the buckets behind the `skipped` ones, which are only looked back at."""
    location = _between(of.season[:, rows], of, buckets)
    sides = _between(of.spread[:, :, rows], of, buckets)
    centre = of.centre[rows]
    residual = np.subtract(values, centre, order="C").astype(np.float32)
    residual -= location
    z = in_spreads(residual, sides[:, 0], sides[:, 1])
    shift = recent_deviation(z.T, clip(z).T, width, slice(skipped, len(z))).T * of.follow[rows]
    location, residual, z, sides = location[skipped:], residual[skipped:], z[skipped:], sides[skipped:]
    above, below = sides[:, 0], sides[:, 1]
    up, down, least = of.up[rows], of.down[rows], of.least[rows]
    deviation = beyond(z.T, shift.T, up, down).T
    highest = np.maximum(shift, np.float32(0)) * above
    lowest = np.minimum(shift, np.float32(0)) * below
    if least.any():
        matters = (residual > highest + least) | (residual < lowest - least)
        deviation = np.where(matters | np.isnan(deviation), deviation, np.float32(0))
    surprise = of.tails.rows(rows).surprise(np.ascontiguousarray(deviation.T)).T
    limit = of.limit[rows]
    expected = location + highest + lowest + centre
    upper = location + highest + np.maximum(limit * above, least) + centre
    lower = location + lowest - np.maximum(limit * below, least) + centre
    if not up.all():
        upper[:, ~up] = np.inf
    if not down.all():
        lower[:, ~down] = -np.inf
    for array in (expected, lower, upper):
        np.maximum(array, of.lowest[rows], out=array)
        np.minimum(array, of.highest[rows], out=array)
    return surprise, expected, lower, upper


def _between(table: Singles, of: Learned, buckets: slice) -> Singles:
    """`table` (half-hours, ...) between two half-hours per bucket, (n_buckets, ...)."""
    found, part = table[of.below[buckets]], of.part[buckets].reshape(-1, *(1,) * (table.ndim - 1))
    rise = table[of.above[buckets]]
    rise -= found
    rise *= part
    found += rise
    return found
