"""What is normal at this half-hour of this kind of day, in local time, and how far from it a value is.

Idea and formulas: docs/detection/seasonal.md. A value is held against two things: what this half-hour usually is, and
what the last hour makes of it (a day that runs a little higher than usual stays a little higher). Only what is far from
both is surprising. The last hour counts for at most three spreads, so an incident does not become normal by lasting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.coldstart import provisional
from detectors.halfhours import HalfHours, between_centres
from detectors.learnt import learnt_of
from detectors.season import Season, learn_season
from tocsin.calibration import Tails, median, quantiles
from tocsin.model import Baseline, Direction, Fitted, Floats, Frame, Ints, Metric, Scores, Window
from tocsin.ports import Detector, Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import SLOT, SLOTS_PER_DAY, Calendar, DayKind

REHEARSAL = 14
"""Days whose residuals calibrate: the trailing ones, each forecast from the days before it."""
HISTORY = 28
"""Days that are looked at, of those given."""
LEAST_DAYS = 2
LEAST_VALUES = 40
"""Nothing is judged before a series has had values on two days, and forty of them."""
RECENT = 3600
RECENT_BUCKETS = 3
"""How far back the recent deviation reaches: an hour, three buckets at least."""
CLIP = 3.0
"""Spreads that one bucket counts for at most in the recent deviation."""
NARROWEST = 0.25
"""A half-hour's spread is at least this part of the whole day's; and one side at least half the other's."""
SHRINK = 8.0
"""Days of its own that a half-hour's spread needs to count as much as that of the whole day."""
ROWS = 64
"""Series fitted together: large enough for the arrays, small enough for the cache."""
_SIGMA = 2.5066
"""Mean of the positive part of a normal variable x this = its standard deviation."""


class SeasonalSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Seasonal:
    """See the module. Metrics not named in `metrics` are judged on both sides and have no bounds."""

    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "seasonal"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return self._recent * self.span

    @property
    def _recent(self) -> int:
        return max(RECENT_BUCKETS, RECENT // self.span)

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn every row from its own last four weeks. The rehearsal covers the last two, as surprises; a row needs
        values on two days, and 40 of them, to be judged by itself. Before, its siblings speak for it (`coldstart`): `own`
        tells how much of each row is its own."""
        halves = HalfHours.of(history.window, self.calendar, HISTORY)
        rehearsal = min(REHEARSAL, halves.days)
        columns = halves.columns_since(halves.days - rehearsal)
        window = Window(history.window.start + columns.start * self.span, history.window.end, self.span)
        facts = self._facts(history)
        parts, surprises = [], []
        for first in range(0, len(history.index), ROWS):
            rows = slice(first, first + ROWS)
            part, surprise = self._fit(history.values[rows], halves, rehearsal, columns, {k: v[rows] for k, v in facts.items()})
            parts.append(part)
            surprises.append(surprise)
        if not parts:
            nothing, surprise = self._fit(np.empty((0, len(history.window))), halves, rehearsal, columns, facts)
            parts, surprises = [nothing], [surprise]
        learnt = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        arrays = provisional(learnt, history.values, halves, history.index) | facts
        unknown = np.broadcast_to(np.nan, (len(history.index), len(window)))
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=history.window,
                arrays=arrays,
                facts={"format": 1, "slot": SLOT, "calendar": repr(self.calendar), "span": self.span},
            ),
            rehearsal=Scores(
                index=history.index,
                window=window,
                surprise=np.concatenate(surprises),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def _facts(self, history: Frame) -> dict[str, NDArray[np.generic]]:
        """What the configuration says of each row's metric, so that scoring needs no look-up by name."""
        metrics = [self.metrics.get(key.metric) or Metric(name=key.metric) for key in history.index]
        return {
            "up": np.array([metric.direction is not Direction.LOW for metric in metrics], np.bool_),
            "down": np.array([metric.direction is not Direction.HIGH for metric in metrics], np.bool_),
            "lowest": np.array([metric.lower for metric in metrics], np.float64),
            "highest": np.array([metric.upper for metric in metrics], np.float64),
            "least": np.array([metric.min_deviation for metric in metrics], np.float64),
        }

    def _fit(
        self, values: Floats, halves: HalfHours, rehearsal: int, columns: slice, facts: Mapping[str, NDArray[np.generic]]
    ) -> tuple[dict[str, NDArray[np.generic]], Floats]:
        rows = len(values)
        cells = halves.cells(values)
        centre = np.nan_to_num(np.asarray(median(cells.reshape(rows, cells.shape[1] * SLOTS_PER_DAY)), np.float64))
        cells -= centre[:, None, None]
        if not rehearsal or not rows:
            nothing = np.full((rows, values[:, columns].shape[1]), np.nan)
            return self._nothing(rows), nothing
        season = learn_season(cells, halves, rehearsal)
        inside = values[:, columns] - centre[:, None]
        starts = halves.window.starts[columns]
        first_day = halves.days - rehearsal
        began = halves.start + first_day * SLOTS_PER_DAY * SLOT
        forecast = between_centres(halves.in_time(season.rehearsed, first_day), starts, self.span, began)
        residual = inside - forecast
        spread = self._spread(residual, centre, cells, halves, first_day, columns)
        by_time = np.repeat(spread[:, :, None], rehearsal, axis=2)
        above = between_centres(halves.in_time(by_time[:, 0], first_day), starts, self.span, began)
        below = between_centres(halves.in_time(by_time[:, 1], first_day), starts, self.span, began)
        z = np.where(residual > 0, residual / above, residual / below)
        recent = self._recent_deviation(z)
        follow = _slope(recent, np.clip(z, -CLIP, CLIP))
        deviation = _deviation(z, recent * follow[:, None], facts["up"], facts["down"])
        days_seen = np.count_nonzero(~np.isnan(cells).all(axis=2), axis=1)
        least = np.where(days_seen >= LEAST_DAYS, LEAST_VALUES, 2**40)
        tails = Tails.fit(np.where((least <= LEAST_VALUES)[:, None], deviation, np.nan), LEAST_VALUES)
        arrays: dict[str, NDArray[np.generic]] = {
            "centre": centre,
            "season": season.table.astype(np.float32),
            "spread": spread.astype(np.float32),
            "follow": follow.astype(np.float32),
            "tails": tails.to_array(),
        }
        return arrays, tails.surprise(deviation)

    def _nothing(self, rows: int) -> dict[str, NDArray[np.generic]]:
        return {
            "centre": np.zeros(rows),
            "season": np.full((rows, len(DayKind), SLOTS_PER_DAY), np.nan, np.float32),
            "spread": np.full((rows, 2, SLOTS_PER_DAY), np.nan, np.float32),
            "follow": np.zeros(rows, np.float32),
            "tails": np.full((rows, 5), np.nan, np.float32),
        }

    def _spread(
        self,
        residual: Floats,
        centre: Floats,
        cells: NDArray[np.floating],
        halves: HalfHours,
        first_day: int,
        columns: slice,
    ) -> Floats:
        """How far values usually are above and below, per local half-hour, (n_series, 2, 48); as a standard deviation."""
        usual, large = quantiles(np.abs(residual).astype(np.float32), 0.5, 0.9)
        whole = np.maximum(1.4826 * usual, NARROWEST / 1.645 * large)
        usual = np.fmax(np.abs(centre), median(np.abs(cells).reshape(len(cells), -1)))
        floor = np.fmax(1e-6 * usual, 1e-9)
        whole = np.fmax(whole, floor)
        grouped = halves.grouped(residual, columns, first_day)
        places = np.maximum(halves.places[first_day:] - first_day * SLOTS_PER_DAY, 0)
        sides = []
        for sign in (1.0, -1.0):
            part = np.clip(sign * grouped, 0.0, 5.0 * whole[:, None, None])
            count = np.count_nonzero(~np.isnan(part), axis=2)
            mean = np.where(count > 0, np.nansum(part, axis=2) / np.maximum(count, 1), np.nan)
            by_day = np.where(halves.places[first_day:] < 0, np.nan, mean[:, places])
            near = np.concatenate([np.roll(by_day, 1, axis=2), by_day, np.roll(by_day, -1, axis=2)], axis=1)
            sides.append(_SIGMA * median(near.transpose(0, 2, 1)))
        own = np.stack(sides, axis=1)
        there = ~np.isnan(own)
        side = np.where(there, own, 0.0).sum(axis=2) / np.maximum(np.count_nonzero(there, axis=2), 1)
        side = np.maximum(side, 0.3 * whole[:, None])[:, :, None]
        days = halves.days - first_day
        spread = (days * np.where(there, own, side) + SHRINK * side) / (days + SHRINK)
        spread = np.maximum(spread, NARROWEST * side)
        spread = np.maximum(spread, 0.5 * spread[:, ::-1])
        return np.asarray(np.maximum(spread, floor[:, None, None]), np.float64)

    def _recent_deviation(self, z: Floats) -> Floats:
        """Mean of the clipped deviations of the buckets before each one, an hour or three buckets; 0 where none is known."""
        width, there = self._recent, ~np.isnan(z)
        total = np.cumsum(np.where(there, np.clip(z, -CLIP, CLIP), 0.0), axis=1)
        count = np.cumsum(there, axis=1)
        recent = np.zeros_like(z)
        recent[:, 1:] = total[:, :-1]
        recent[:, width + 1 :] -= total[:, : -width - 1]
        known = np.zeros(z.shape)
        known[:, 1:] = count[:, :-1]
        known[:, width + 1 :] -= count[:, : -width - 1]
        return np.asarray(recent / np.maximum(known, width / 2), np.float64)

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket against its half-hour and the hour before it in the frame."""
        own, there = learnt_of(frame.index, baseline)
        unknown = ~there
        below_cells, above_cells, part = self._cells(frame.window.starts)
        season = own["season"].reshape(len(there), len(DayKind) * SLOTS_PER_DAY)
        centre = own["centre"][:, None]
        location = centre + _weighted(season, below_cells, above_cells, part)
        slots = below_cells % SLOTS_PER_DAY, above_cells % SLOTS_PER_DAY
        above = _weighted(own["spread"][:, 0], *slots, part)
        below = _weighted(own["spread"][:, 1], *slots, part)
        residual = frame.values - location
        z = residual / np.where(residual > 0, above, below)
        shift = self._recent_deviation(z) * own["follow"][:, None]
        # What came before the window is only needed for the recent deviation.
        window = window or frame.window
        columns = window.columns_in(frame.window)
        location, above, below, residual, z, shift = (array[:, columns] for array in (location, above, below, residual, z, shift))
        tails = Tails.from_array(own["tails"])
        deviation = _deviation(z, shift, own["up"], own["down"])
        highest = np.maximum(shift, 0.0) * above
        lowest = np.minimum(shift, 0.0) * below
        least = own["least"][:, None]
        if least.any():
            matters = (residual > highest + least) | (residual < lowest - least)
            deviation = np.where(matters | np.isnan(deviation), deviation, 0.0)
        surprise = tails.surprise(deviation)
        limit = tails.limit()[:, None]
        upper = location + np.maximum(highest + limit * above, highest + least)
        lower = location + np.minimum(lowest - limit * below, lowest - least)
        upper = np.where(own["up"][:, None], upper, np.inf)
        lower = np.where(own["down"][:, None], lower, -np.inf)
        expected = location + np.where(shift > 0, shift * above, shift * below)
        floor, ceiling = own["lowest"][:, None], own["highest"][:, None]
        judged = ~np.isnan(tails.far)
        if unknown.any():
            judged &= ~unknown
        hidden = ~judged[:, None]
        return Scores(
            index=frame.index,
            window=window,
            surprise=np.where(hidden, np.nan, surprise),
            expected=np.where(hidden, np.nan, np.clip(expected, floor, ceiling)),
            lower=np.where(hidden, np.nan, np.clip(lower, floor, ceiling)),
            upper=np.where(hidden, np.nan, np.clip(upper, floor, ceiling)),
            own=own.get("own"),
        )

    def _cells(self, starts: Ints) -> tuple[Ints, Ints, Floats]:
        """The two half-hours (kind * 48 + slot) whose centres each bucket's centre lies between, and how far along."""
        centres = starts + self.span // 2
        before, after = centres - SLOT // 2, centres + SLOT // 2
        below = self.calendar.kinds(before) * SLOTS_PER_DAY + self.calendar.slots(before)
        above = self.calendar.kinds(after) * SLOTS_PER_DAY + self.calendar.slots(after)
        return below, above, self.calendar.local_seconds(before) % SLOT / SLOT


def _weighted(table: NDArray[np.floating], below: Ints, above: Ints, part: Floats) -> Floats:
    """`table` (n_series, cells) between two cells per bucket, (n_series, n_buckets)."""
    used, place = np.unique(np.concatenate([below, above]), return_inverse=True)
    near = table[:, used].astype(np.float64)
    return np.asarray(near[:, place[: len(part)]] * (1.0 - part) + near[:, place[len(part) :]] * part, np.float64)


def _deviation(z: Floats, shift: Floats, up: NDArray[np.generic], down: NDArray[np.generic]) -> Floats:
    """How far each value is beyond both what is usual (0) and what is recent (`shift`), in spreads, >= 0."""
    over = np.where(up[:, None], z - np.maximum(shift, 0.0), 0.0)
    under = np.where(down[:, None], np.minimum(shift, 0.0) - z, 0.0)
    return np.maximum(np.maximum(over, under), np.where(np.isnan(z), np.nan, 0.0))


def _slope(recent: Floats, z: Floats) -> Floats:
    """How much of the recent deviation goes on into the next bucket: least squares, kept in 0..1, (n_series,)."""
    known = ~np.isnan(z)
    product = np.where(known, recent * z, 0.0).sum(axis=1)
    square = np.where(known, recent * recent, 0.0).sum(axis=1)
    return np.asarray(np.clip(product / np.maximum(square, 1e-9), 0.0, 1.0), np.float64)


def _build(_settings: SeasonalSettings, surroundings: Surroundings) -> Detector:
    return aware(Seasonal(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics), surroundings)


PLUGIN = Plugin(
    name="seasonal",
    summary="What is normal at this half-hour of this kind of day",
    settings=SeasonalSettings,
    build=_build,
)

__all__ = ["PLUGIN", "Season", "Seasonal", "SeasonalSettings"]
