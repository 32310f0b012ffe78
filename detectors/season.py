"""Location per half-hour of the local day: several simple forecasts, blended by how well each would have done.

For each day of the rehearsal the forecasts use the days before it only, so their errors, and everything calibrated on
what they leave, are honest. Arrays are (n_series, days, 48) of half-hour medians, NaN where there is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from detectors.halfhours import HalfHours
from tocsin.calibration import median
from tocsin.model import Floats, Ints
from tocsin.timegrid import SLOTS_PER_DAY, DayKind

Cells = NDArray[np.floating]

WEEK = 7
"""Days that `level` and `day` look back: half of it is how long a lasting shift needs to be adopted."""
MONTH = 28
"""Days that `kind` looks back, to see enough Sundays."""
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
class Season:
    """`rehearsed` (n_series, rehearsal days, 48): forecast of each day from the days before it. `table` (n_series, kinds,
    48): forecast of the days to come. `weights`: how much each forecast counts, (n_series,) each."""

    rehearsed: Cells
    table: Cells
    weights: Mapping[str, Floats]


def learn_season(cells: Cells, halves: HalfHours, rehearsal: int) -> Season:
    """Forecast the last `rehearsal` days, and what follows, from `cells` (n_series, days, 48)."""
    days = cells.shape[1]
    smooth = _with_neighbours(cells)
    level = previous(cells, WEEK, rehearsal, whole_day=True)
    forecasts = {"level": level, "day": _filled(previous(smooth, WEEK, rehearsal), level)}
    groups = grouped_kinds(halves.kinds)
    per_kind = None
    if len(set(groups.values())) > 1:
        merged = np.array([groups[DayKind(kind)] for kind in DayKind])[halves.kinds]
        forecasts["kind"] = _filled(_previous_of_kind(smooth, merged, rehearsal), forecasts["day"][:, :rehearsal])
        per_kind = {
            group: _filled(median(_only(smooth, merged == group)), forecasts["day"][:, rehearsal])
            for group in set(groups.values())
        }
    weights = _weights({name: forecast[:, :rehearsal] for name, forecast in forecasts.items()}, cells[:, days - rehearsal :])
    rehearsed = sum(weights[name][:, None, None] * forecast[:, :rehearsal] for name, forecast in forecasts.items())
    usual = sum(weights[name][:, None] * forecasts[name][:, rehearsal] for name in ("level", "day"))
    table = np.stack(
        [usual if per_kind is None else usual + weights["kind"][:, None] * per_kind[groups[kind]] for kind in DayKind], axis=1
    )
    return Season(rehearsed=np.asarray(rehearsed), table=table, weights=weights)


def grouped_kinds(kinds: Ints) -> dict[DayKind, int]:
    """The kind whose days speak for each kind of day: its own where there were enough, else the most similar one's."""
    seen = {kind: int(np.count_nonzero(kinds == kind)) / SLOTS_PER_DAY for kind in DayKind}
    groups = {}
    for kind in DayKind:
        choices = (kind, *_NEXT_BEST[kind])
        groups[kind] = int(next((choice for choice in choices if seen[choice] >= ENOUGH_DAYS - 0.5), DayKind.WORKING))
    return groups


def _with_neighbours(cells: Cells) -> Cells:
    """Each half-hour's median with the one before and the one after."""
    return median(np.stack([np.roll(cells, 1, axis=2), cells, np.roll(cells, -1, axis=2)], axis=3))


def previous(cells: Cells, most: int, rehearsal: int, *, whole_day: bool = False) -> Cells:
    """Median over the `most` days before each of the last `rehearsal` days and the one to come, (n, rehearsal + 1, 48).

    A day that nothing comes before is forecast from the days after it: the first days of a series have no other past.
    """
    forward = _trailing(cells, most, whole_day)[:, -(rehearsal + 1) :]
    if np.isnan(forward).any():
        backward = _trailing(cells[:, ::-1], most, whole_day)[:, ::-1][:, 1:]
        padded = np.concatenate([backward, np.full_like(backward[:, :1], np.nan)], axis=1)[:, -(rehearsal + 1) :]
        forward = _filled(forward, padded)
    return forward


def _trailing(cells: Cells, most: int, whole_day: bool) -> Cells:
    """Median over the `most` days before day 0, 1 ... and the day after the last, (n, days + 1, 48)."""
    n, _, slots = cells.shape
    padded = np.concatenate([np.full((n, most, slots), np.nan, cells.dtype), cells], axis=1)
    windows = sliding_window_view(padded, most, axis=1)
    if whole_day:
        flat = median(windows.reshape(n, windows.shape[1], slots * most))
        return np.repeat(flat[:, :, None], slots, axis=2)
    return median(windows)


def _previous_of_kind(cells: Cells, kinds: Ints, rehearsal: int) -> Cells:
    """Median over the days of the same kind in the four weeks before each of the last `rehearsal` days, where there are
    at least two, (n, rehearsal, 48)."""
    n, days, slots = cells.shape
    first = days - rehearsal
    padded = np.concatenate([np.full((n, MONTH, slots), np.nan, cells.dtype), cells], axis=1)
    before = sliding_window_view(padded, MONTH, axis=1)[:, first:days]
    other = np.concatenate([np.full((MONTH, slots), -1), kinds])
    same = sliding_window_view(other, MONTH, axis=0)[first:days] == kinds[first:, :, None]
    chosen = np.where(same, before, np.nan)
    few = np.count_nonzero(~np.isnan(chosen), axis=3) < ENOUGH_DAYS
    return np.where(few, np.nan, median(chosen))


def _only(cells: Cells, wanted: NDArray[np.bool_]) -> Cells:
    """The cells that are wanted, days last, (n, 48, days)."""
    return np.where(wanted, cells, np.nan).transpose(0, 2, 1)


def _filled(cells: Cells, other: Cells) -> Cells:
    return np.where(np.isnan(cells), other, cells)


def _weights(forecasts: Mapping[str, Cells], actual: Cells) -> dict[str, Floats]:
    """How much each forecast counts, per series; they sum to 1."""
    errors = np.stack([np.abs(actual - forecast).reshape(len(actual), -1) for forecast in forecasts.values()])
    best = median(np.fmin.reduce(errors, axis=0))
    ceiling = np.where(best > 0, OUTLIER * best, np.inf)[None, :, None]
    there = ~np.isnan(errors)
    mean = np.where(there, np.minimum(errors, ceiling), 0.0).sum(axis=2) / np.maximum(np.count_nonzero(there, axis=2), 1)
    least = mean.min(axis=0)
    ratio = np.where(mean > 0, least / np.where(mean > 0, mean, 1.0), 1.0)
    power = ratio**SHARPNESS
    return dict(zip(forecasts, power / power.sum(axis=0), strict=True))
