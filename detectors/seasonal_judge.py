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
from tocsin.model import Baseline, Bools, Floats, Ints, SeriesIndex
from tocsin.timegrid import SLOT, SLOTS_PER_DAY, Calendar, DayKind

Singles = NDArray[np.float32]
Told = tuple[Floats, ...]

BLOCK = 1 << 16
"""Values looked at together: few enough for the cache."""
MANY = 1024
"""Series from which on it pays to remember."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """The half-hours (kind * 48 + slot) that buckets lie among, `used` (n_times, n_half_hours) in order of time; of each bucket
    (n_buckets,) the place there of the one whose centre is `below` its own, the next being above, and how far along it is."""

    used: Ints
    below: Ints
    part: Singles

    @classmethod
    def of(cls, calendar: Calendar, span: int, starts: Ints, count: int) -> Between:
        """So many buckets from each of the starts (n_times,) on, which lie the same way in their half-hours."""
        first = starts + span // 2 - SLOT // 2
        into = int(calendar.local_seconds(first[:1])[0]) % SLOT
        along = into + span * np.arange(count)
        half_hours = np.arange((into + span * max(0, count - 1)) // SLOT + 2)
        instants = (first - into)[:, None] + SLOT * half_hours
        used = calendar.kinds(instants) * SLOTS_PER_DAY + calendar.slots(instants)
        return cls(used=used, below=along // SLOT, part=(along % SLOT / SLOT).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was learnt, by the rows of a frame, (n_series,) each unless it says otherwise; `season` (half-hours, n_series) and
    `spread` (half-hours, 2, n_series) hold the half-hours that are asked for, see `Between`."""

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
    part: Singles

    @classmethod
    def of(cls, own: dict[str, NDArray[Any]], there: Bools, between: Between) -> Learned:
        """For the buckets of `between`, the rows being the series at one of its times after the other; of rows that are not
        `there` nothing is known."""
        tails = Tails.from_array(own["tails"])
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
            season=np.ascontiguousarray(_chosen(season, between.used).T),
            spread=np.ascontiguousarray(_chosen(own["spread"], between.used % SLOTS_PER_DAY).transpose(2, 1, 0)),
            below=between.below,
            part=between.part,
        )


def _chosen(table: Singles, columns: Ints) -> Singles:
    """Those columns of `table` (n_times * n_series, ..., n) that are asked for at each time, (n_times, n_columns)."""
    if len(columns) == 1:
        return table[..., columns[0]]
    rows = len(table) // len(columns)
    places = np.repeat(columns, rows, axis=0).reshape(len(table), *(1,) * (table.ndim - 2), -1)
    return np.take_along_axis(table, places, axis=-1)


_remembered: dict[int, tuple[weakref.ref[Baseline], SeriesIndex, bytes, Learned]] = {}


def learned_of(index: SeriesIndex, baseline: Baseline, between: Between) -> Learned:
    """What a baseline knows of these rows and buckets.

    Nothing but time is lost when it is not remembered: bringing the few half-hours that a tick asks for together, out of all
    that were learnt, takes longer than judging, and the next tick asks for the same ones.
    """
    asked, key = between.used.tobytes(), id(baseline)
    known = _remembered.get(key)
    if known is None or known[0]() is not baseline or known[2] != asked or known[1] != index:
        learned = Learned.of(*learnt_of(index, baseline), between)
        if len(index) >= MANY:
            _remembered[key] = weakref.ref(baseline, lambda _: _remembered.pop(key, None)), index, asked, learned
        return learned
    return replace(known[3], below=between.below, part=between.part)


def judge(values: Floats, learned: Learned, columns: slice, width: int) -> Told:
    """Surprise, expected, lower and upper of those columns of `values` (n_series, n_buckets); a recent deviation is one of the
    `width` buckets before."""
    first = max(0, columns.start - width)
    told = tuple(np.empty((len(values), columns.stop - columns.start)) for _ in range(4))
    each = max(1, BLOCK // max(1, columns.stop - first))
    for start in range(0, len(values), each):
        rows = slice(start, start + each)
        found = _judge(
            values[rows, first : columns.stop].T, learned, rows, slice(first, columns.stop), columns.start - first, width
        )
        for array, part in zip(told, found, strict=True):
            array[rows] = part.T
    if not learned.judged.all():
        for array in told:
            array[~learned.judged] = np.nan
    return told


def _judge(values: Floats, of: Learned, rows: slice, buckets: slice, skipped: int, width: int) -> Told:
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
    rise = table[of.below[buckets] + 1]
    rise -= found
    rise *= part
    found += rise
    return found
