"""Location per half-hour of the local day: several simple forecasts, blended by how well each would have done.

Each day is forecast from the days before it only, so the errors of the days looked back at, and everything calibrated on
what they leave, are honest; a day that nothing came before is not forecast. Arrays are (n_series, days, 48) of half-hour
medians, NaN where there is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors.medians import middle
from tocsin.calibration import median
from tocsin.model import Bools, Floats, Ints
from tocsin.timegrid import SLOTS_PER_DAY, DayKind

Cells = NDArray[np.floating]

WEEK = 7
"""Days that `level` and `day` look back: half of it is how long a lasting shift needs to be adopted."""
SHARPNESS = 6.0
"""Weight of a forecast = its error to this negative power: twice the error is one part in sixty-four."""
OUTLIER = 10.0
"""Errors beyond this many median errors count as that much: an incident does not choose the forecast."""
_NEXT_BEST = {
    DayKind.HOLIDAY: (DayKind.SUNDAY, DayKind.SATURDAY),
    DayKind.SATURDAY: (DayKind.SUNDAY,),
    DayKind.SUNDAY: (DayKind.SATURDAY,),
    DayKind.BUSINESS: (DayKind.WORKING,),
    DayKind.WORKING: (),
}
ENOUGH_DAYS = 2
"""Days of a kind that make it a kind of its own."""


@dataclass(frozen=True, kw_only=True)
class Days:
    """Days in a row, and what those before each of them make of it: of `level` and `day` (n_series, days + 1 - `since`, 48 or
    1) there is one for each day from `since` on and for the one to come. `smooth` are the cells with their neighbours."""

    cells: Cells
    smooth: Cells
    level: Cells
    day: Cells
    since: int

    @classmethod
    def together(cls, parts: Sequence[Days]) -> Days:
        """Those of several series, or of one in several places, as rows; all the same number of days."""
        cells, smooth, level, day = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("cells", "smooth", "level", "day")
        )
        return cls(cells=cells, smooth=smooth, level=level, day=day, since=parts[0].since)

    @classmethod
    def of(cls, cells: Cells, since: int) -> Days:
        smooth = middle([np.roll(cells, 1, axis=2), cells, np.roll(cells, -1, axis=2)])
        ahead = cells.shape[1] - since
        level = previous(cells, WEEK, ahead, whole_day=True)[:, :, :1]
        return cls(cells=cells, smooth=smooth, level=level, day=previous(smooth, WEEK, ahead), since=since)

    def part(self, first: int, last: int, since: int) -> Days:
        """The days `first` to `last`; those who come before them still speak."""
        ahead = slice(first + since - self.since, last + 1 - self.since)
        return Days(
            cells=self.cells[:, first:last],
            smooth=self.smooth[:, first:last],
            level=self.level[:, ahead],
            day=self.day[:, ahead],
            since=since,
        )

    def from_centre(self) -> tuple[Floats, Days]:
        """What the last week was like, 0 where nothing is known of it, (n_series,), and the days as distances from it: small
        numbers are precise ones, and a series that never changes is at exactly 0."""
        centre = np.nan_to_num(np.asarray(self.level[:, -1, 0], np.float64))
        parts = (part - centre[:, None, None] for part in (self.cells, self.smooth, self.level, self.day))
        cells, smooth, level, day = parts
        return centre, Days(cells=cells, smooth=smooth, level=level, day=day, since=self.since)


@dataclass(frozen=True, kw_only=True)
class Season:
    """`rehearsed` (n_series, rehearsal days, 48): forecast of each day from the days before it. `table` (n_series, kinds,
    48): forecast of the days to come. `weights`: how much each forecast counts, (n_series,) each."""

    rehearsed: Cells
    table: Cells
    weights: Mapping[str, Floats]


def learn_season(days: Days, kinds: Sequence[Kinds]) -> Season:
    """Forecast the days from `days.since` on, and what follows, from days given as distances from their centre.

    The rows of `days` are the series at one time after the other, with the `kinds` of each time. Either at all times there are
    groups of kinds to be told apart, or at none.
    """
    actual = days.cells[:, days.since :]
    forecasts = {"level": np.broadcast_to(days.level, days.day.shape), "day": _filled(days.day, days.level)}
    per_kind = None
    if kinds[0].groups > 1:
        per_kind = _per_kind(days, kinds)
        forecasts["kind"] = _filled(per_kind[:, : actual.shape[1]], forecasts["day"][:, :-1])
        to_come = _filled(per_kind[:, actual.shape[1] :], forecasts["day"][:, -1:])
        times = np.repeat(np.arange(len(kinds)), len(actual) // len(kinds))
        places = np.stack([one.places for one in kinds])[times]
        per_kind = to_come[np.arange(len(actual))[:, None], places]
    rehearsed = {name: forecast[:, : actual.shape[1]] for name, forecast in forecasts.items()}
    weights = _weights(rehearsed, actual)
    usual = sum(weights[name][:, None] * forecasts[name][:, -1] for name in ("level", "day"))
    table = np.repeat(np.asarray(usual)[:, None], len(DayKind), axis=1)
    if per_kind is not None:
        table += weights["kind"][:, None, None] * per_kind
    blended = sum(weights[name][:, None, None] * forecast for name, forecast in rehearsed.items())
    return Season(rehearsed=np.asarray(blended), table=table, weights=weights)


def grouped_kinds(kinds: Ints) -> dict[DayKind, int]:
    """The kind whose days speak for each kind of day: its own where there were enough, else the most similar one's."""
    seen = np.bincount(kinds.ravel() + 1, minlength=len(DayKind) + 1)[1:]
    many = (seen >= (ENOUGH_DAYS - 0.5) * SLOTS_PER_DAY).tolist()
    groups = {}
    for kind in DayKind:
        choices = (kind, *_NEXT_BEST[kind])
        groups[kind] = int(next((choice for choice in choices if many[choice]), DayKind.WORKING))
    return groups


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Which days speak for which, the same for all series: `barred` (rehearsal days + groups, n_runs, days) is -inf for a day
    that speaks and inf for one that does not, for each run of half-hours `starts[i]` to `starts[i + 1]`; `count` (rehearsal
    days + groups, 48) how many do. `places` (kinds,) is the group of each kind of day. `lived` is how many of the days
    looked back at there were."""

    groups: int
    lived: int
    starts: Sequence[int]
    barred: NDArray[np.float32]
    count: Ints
    places: Ints

    @classmethod
    def of(cls, kinds: Ints, since: int) -> Kinds:
        """What the kinds of some days (days, 48), -1 of days that are not there, say of them; those from day `since` on are
        looked back at."""
        return _kinds(kinds.tobytes(), len(kinds), since)


@lru_cache(maxsize=32)
def _kinds(kinds_as_bytes: bytes, days: int, since: int) -> Kinds:
    kinds = np.frombuffer(kinds_as_bytes, np.int64).reshape(days, SLOTS_PER_DAY)
    groups = grouped_kinds(kinds)
    own = sorted(set(groups.values()))
    # Where a day begins at midnight all its half-hours are of one kind, and else there are two.
    first = np.flatnonzero(np.append(True, (kinds[:, 1:] != kinds[:, :-1]).any(axis=0)))
    starts = [*first.tolist(), SLOTS_PER_DAY]
    merged = np.array([*(groups[kind] for kind in DayKind), -1])[kinds[:, first]]
    before = np.arange(days)[None, :, None] < np.arange(since, days)[:, None, None]
    speaks = np.concatenate([before & (merged[None] == merged[since:, None]), merged[None] == np.array(own)[:, None, None]])
    count = np.repeat(np.count_nonzero(speaks, axis=1), np.diff(starts), axis=1)
    barred = np.where(speaks, np.float32(-np.inf), np.float32(np.inf)).transpose(0, 2, 1)
    places = np.array([own.index(groups[kind]) for kind in DayKind])
    lived = int(np.count_nonzero(kinds[since:, 0] >= 0))
    return Kinds(groups=len(own), lived=lived, starts=starts, barred=np.ascontiguousarray(barred), count=count, places=places)


def _per_kind(days: Days, kinds: Sequence[Kinds]) -> Cells:
    """Median over the days of the same kind before each day, where there are at least two, then over all days of each group
    of kinds, (n_series, rehearsal days + groups, 48); `kinds` one for each time."""
    smooth = days.smooth.astype(np.float32)
    unknown = np.isnan(smooth)
    if unknown.any():
        smooth = np.where(unknown, np.float32(np.inf), smooth)
    by_time = np.ascontiguousarray(smooth.transpose(0, 2, 1)).reshape(len(kinds), -1, 1, SLOTS_PER_DAY, smooth.shape[1])
    most = max(one.groups for one in kinds)
    rows = len(kinds[0].barred) - kinds[0].groups + most
    chosen = np.empty((*by_time.shape[:2], rows, *by_time.shape[3:]), np.float32)
    count: Ints = np.zeros((len(kinds), 1, rows, SLOTS_PER_DAY), np.int64)
    for place, one in enumerate(kinds):
        # Groups that are told apart at another time only have no days at this one.
        there = len(one.barred)
        count[place, 0, :there] = one.count
        chosen[place, :, there:] = np.inf
        for run, (first, stop) in enumerate(pairwise(one.starts)):
            part = chosen[place, :, :there, first:stop]
            np.maximum(by_time[place, :, :, first:stop], one.barred[:, run, None], out=part)
    chosen.sort(axis=4)
    if unknown.any():
        count = np.count_nonzero(np.isfinite(chosen), axis=4)
    places = np.broadcast_to(count, chosen.shape[:4])[..., None]
    low = np.take_along_axis(chosen, np.maximum(places - 1, 0) // 2, axis=4)[..., 0]
    high = np.take_along_axis(chosen, np.minimum(places // 2, chosen.shape[4] - 1), axis=4)[..., 0]
    least = np.where(np.arange(rows) < rows - most, ENOUGH_DAYS, 1)
    few = count < least[:, None]
    found = np.where(few, np.nan, 0.5 * (np.where(few, 0, low).astype(np.float64) + np.where(few, 0, high)))
    return found.reshape(len(smooth), *found.shape[2:])


def previous(cells: Cells, most: int, rehearsal: int, *, whole_day: bool = False) -> Cells:
    """Median over the `most` days before each of the last `rehearsal` days and the one to come, (n, rehearsal + 1, 48); NaN
    where there is none. Of `whole_day` it is the median of those days' medians."""
    n, days, slots = cells.shape
    first = days - rehearsal - most
    near = cells[:, max(0, first) :]
    if whole_day:
        near = median(near)[:, :, None]
    if first < 0:
        near = np.concatenate([np.full((n, -first, near.shape[2]), np.nan), near], axis=1)
    result = middle([near[:, day : day + rehearsal + 1] for day in range(most)])
    return np.broadcast_to(result, (n, rehearsal + 1, slots))


def _filled(cells: Cells, other: Cells) -> Cells:
    unknown: Bools = np.isnan(cells)
    return np.where(unknown, other, cells) if unknown.any() else cells


def _weights(forecasts: Mapping[str, Cells], actual: Cells) -> dict[str, Floats]:
    """How much each forecast counts, per series; they sum to 1."""
    errors = np.stack([np.abs(actual - forecast).reshape(len(actual), -1) for forecast in forecasts.values()])
    best = median(np.fmin.reduce(errors, axis=0).astype(np.float32))
    ceiling = np.where(best > 0, OUTLIER * best, np.inf)[None, :, None]
    there = ~np.isnan(errors)
    errors = np.minimum(errors, ceiling)
    if there.all():
        mean = errors.mean(axis=2)
    else:
        mean = np.where(there, errors, 0.0).sum(axis=2) / np.maximum(np.count_nonzero(there, axis=2), 1)
    least = mean.min(axis=0)
    ratio = np.where(mean > 0, least / np.where(mean > 0, mean, 1.0), 1.0)
    power = ratio**SHARPNESS
    return dict(zip(forecasts, power / power.sum(axis=0), strict=True))
