"""Slow deviations: the last hours as a whole are not where they used to be.

Idea and formulas: docs/detection/level.md. Three slow means, each with its own calibration, speak with one voice, their average:
the last six hours against the week before; the last six hours against the six before them; the last hour against the same hour
of the last seven days. What is expected are medians of seven days, so a lasting shift is adopted in half a week and an incident
of less is not. A mean remembers what is over: hours count only while the present value is still off on their side, so that an
incident ends when it ends. Fails in the week after a long gap, and while a shift is new: it is told once, and goes on being
surprising.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.halfhours import HalfHours, between_centres
from detectors.learnt import agreed, learnt_of
from detectors.scales import facts_of, mattering, one_sided
from detectors.season import WEEK, previous
from tocsin.calibration import Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Ints, Metric, Scores, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import SLOT, SLOTS_PER_DAY, Calendar

REHEARSAL = 14
HISTORY = REHEARSAL + WEEK
"""Days that are looked at: the trailing two weeks are the rehearsal, each of their days expected from the week before it."""
SLOW = 6 * 3600
HOUR = 3600
LEAST_DAYS = 2
LEAST_VALUES = 40
"""Nothing is judged before a series had values on two days, and that many."""
VOICES = ("week", "before", "hour")


class LevelSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "level"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return 2 * self._slow * self.span

    @property
    def _slow(self) -> int:
        return max(1, SLOW // self.span)

    @property
    def _hour(self) -> int:
        return max(1, HOUR // self.span)

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn from the last three weeks; the rehearsal covers the last two."""
        halves = HalfHours.of(history.window, self.calendar, HISTORY)
        rehearsal = min(REHEARSAL, halves.days)
        columns = halves.columns_since(halves.days - rehearsal)
        window = Window(history.window.start + columns.start * self.span, history.window.end, self.span)
        facts = facts_of(history.index, self.metrics)
        count = len(history.index)
        arrays: dict[str, NDArray[np.generic]] = dict(facts)
        surprise = np.full((count, len(window)), np.nan)
        arrays |= {"week": np.full(count, np.nan), "hours": np.full((count, SLOTS_PER_DAY), np.nan)}
        arrays |= {f"tails_{voice}": np.full((count, 5), np.nan, np.float32) for voice in VOICES}
        if count and rehearsal:
            slow, hour = trailing_mean(history.values, self._slow), trailing_mean(history.values, self._hour)
            cells = halves.cells(history.values)
            week = previous(cells, WEEK, rehearsal, whole_day=True)
            hours = previous(halves.cells(hour), WEEK, rehearsal)
            first_day = halves.days - rehearsal
            began = halves.start + first_day * SLOTS_PER_DAY * SLOT
            starts = history.window.starts[columns]
            usual = between_centres(halves.in_time(hours[:, :rehearsal], first_day), starts, self.span, began)
            day = np.clip((starts + self.span // 2 - began) // (SLOTS_PER_DAY * SLOT), 0, rehearsal - 1)
            known = ~np.isnan(history.values[:, columns])
            deviations = {
                "week": slow[:, columns] - week[:, :rehearsal, 0][:, day],
                "before": (slow - _earlier(slow, self._slow))[:, columns],
                "hour": hour[:, columns] - usual,
            }
            days_seen = np.count_nonzero(~np.isnan(cells).all(axis=2), axis=1)
            enough = (days_seen >= LEAST_DAYS)[:, None] & known
            said = []
            for voice, deviation in deviations.items():
                far = np.where(enough, mattering(deviation, facts), np.nan).astype(np.float32)
                tails = Tails.fit(far, LEAST_VALUES)
                arrays[f"tails_{voice}"] = tails.to_array()
                said.append(tails.surprise(far))
            surprise = agreed(said, known & ~np.isnan(arrays["tails_week"][:, 2].astype(np.float64))[:, None])
            surprise = still_there(surprise, history.values[:, columns] - usual, deviations["hour"])
            arrays |= {"week": week[:, rehearsal, 0].astype(np.float64), "hours": hours[:, rehearsal].astype(np.float64)}
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=history.window,
                arrays=arrays,
                facts={"format": 1, "span": self.span, "calendar": repr(self.calendar)},
            ),
            rehearsal=Scores(
                index=history.index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown
            ),
        )

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge the hours that end with each bucket, as far as the frame goes back."""
        own, there = learnt_of(frame.index, baseline)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        slow = trailing_mean(frame.values, self._slow, columns)
        earlier = slice(columns.start - self._slow, columns.stop - self._slow)
        before = trailing_mean(frame.values, self._slow, earlier)
        hour = trailing_mean(frame.values, self._hour, columns)
        below, above, part = self._slots(window.starts)
        hours = own["hours"]
        usual = hours[:, below] * (1.0 - part) + hours[:, above] * part
        week = own["week"][:, None]
        deviations = {"week": slow - week, "before": slow - before, "hour": hour - usual}
        tails = {voice: Tails.from_array(own[f"tails_{voice}"]) for voice in VOICES}
        judged = (~np.isnan(tails["week"].far) & there)[:, None] & ~np.isnan(frame.values[:, columns])
        said = [tails[voice].surprise(mattering(deviation, own)) for voice, deviation in deviations.items()]
        expected = np.where((~np.isnan(tails["hour"].far) & there)[:, None], usual, np.nan)
        lower, upper = one_sided(expected, tails["hour"].limit()[:, None], own)
        surprise = still_there(agreed(said, judged), frame.values[:, columns] - usual, deviations["hour"])
        return Scores(index=frame.index, window=window, surprise=surprise, expected=expected, lower=lower, upper=upper)

    def _slots(self, starts: Ints) -> tuple[Ints, Ints, Floats]:
        """The two local half-hours whose centres each bucket's centre lies between, and how far along."""
        centres = starts + self.span // 2
        return (
            self.calendar.slots(centres - SLOT // 2),
            self.calendar.slots(centres + SLOT // 2),
            self.calendar.local_seconds(centres - SLOT // 2) % SLOT / SLOT,
        )


def still_there(surprise: Floats, present: Floats, hour: Floats) -> Floats:
    """Zero where the present value is back: less than half as far off as the hour was, or on the other side. All (n_series,
    n_buckets), deviations from what is usual at this hour; where one is not known nothing changes."""
    back = present * hour < 0.5 * hour * hour
    return np.where(back & ~np.isnan(surprise), 0.0, surprise)


def trailing_mean(values: Floats, width: int, columns: slice | None = None) -> Floats:
    """Mean of the known values of each bucket and the `width - 1` before it, as far as there are any; NaN where none is known.
    Only of `columns`, which may begin before the first; what lies there is unknown."""
    columns = slice(0, values.shape[1]) if columns is None else columns
    first = columns.start - width + 1
    part = values[:, max(0, first) : max(0, columns.stop)]
    if part.shape[1] < columns.stop - first:
        part = np.pad(part, ((0, 0), (columns.stop - first - part.shape[1], 0)), constant_values=np.nan)
    there = ~np.isnan(part)
    filled = np.where(there, part, 0.0)
    total, count = _sliding(filled, width), _sliding(there.astype(np.float64), width)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float64)


def _sliding(values: Floats, width: int) -> Floats:
    """Sum of each `width` neighbouring columns, (n_series, n_buckets - width + 1), put together from sums of 1, 2, 4 ... of
    them. Where the columns begin changes no digit of what is said of later ones."""
    count = values.shape[1] - width + 1
    total, sums, first, size = np.zeros((len(values), count)), values, 0, 1
    while size <= width:
        if width & size and count == 1:
            # The same additions in the same order, without those that nobody asked for: a tick.
            part = values[:, first : first + size]
            while part.shape[1] > 1:
                part = part[:, 0::2] + part[:, 1::2]
            total += part
            first += size
        elif width & size:
            total += sums[:, first : first + count]
            first += size
        if 2 * size <= width and count > 1:
            sums = sums[:, : sums.shape[1] - size] + sums[:, size:]
        size *= 2
    return total


def _earlier(values: Floats, buckets: int) -> Floats:
    moved = np.full_like(values, np.nan)
    moved[:, buckets:] = values[:, : max(0, values.shape[1] - buckets)]
    return moved


def _build(_settings: LevelSettings, surroundings: Surroundings) -> Level:
    return Level(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics)


PLUGIN = Plugin(name="level", summary="Hours that are not where they used to be", settings=LevelSettings, build=_build)
