"""Slow deviations: the last hours as a whole are not where they used to be.

Idea and formulas: docs/detection/level.md. Three slow means, each with its own calibration, speak with one voice, their average:
the last six hours against the week before; the last six hours against the six before them; the last hour against the same hour
of the last seven days. What is expected are medians of seven days, so a lasting shift is adopted in half a week and an incident
of less is not. They are heard only while the last hour is off, further than nine hours in ten are, and the present value is still
off on its side: a mean remembers what is over, and an incident ends when it ends. Fails in the week after a long gap, and
while a shift is new: it is told once, and goes on being surprising.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from detectors.businessdays import aware
from detectors.learnt import agreed, blocks, laid, learnt_of, slabs
from detectors.means import half_hours, mean_of, trailing_mean
from detectors.medians import middle
from detectors.scales import facts_of, mattering, one_sided
from detectors.walking import past, refitted
from tocsin.calibration import Tails, median
from tocsin.model import Baseline, Bools, Fitted, Floats, Frame, Ints, Metric, Scores, SeriesIndex, Window
from tocsin.ports import Detector, Plugin, Stretch, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY, SLOT, SLOTS_PER_DAY, Calendar

REHEARSAL = 14
WEEK = 7
HISTORY = REHEARSAL + WEEK
"""Days that are looked at: the trailing two weeks are the rehearsal, each of their days expected from the week before it."""
SLOW = 6 * 3600
HOUR = 3600
LEAST_DAYS = 2
LEAST_VALUES = 40
"""Nothing is judged before a series had values on two days, and that many."""
EXACT = 1e-12
"""Differences of this part of a mean are nothing but rounding."""
CLOSE = 1e-6
"""What is so near to a limit is on it: else rounding would decide of values that repeat."""
VOICES = ("week", "before", "hour")

_TINY = 1e-30

Far = NDArray[np.float32]
"""Deviations where they matter, (4, n_series, n_buckets): those of the three voices, and the last one's as far as it is still
there: 0 where the present value is back."""


Slow = Callable[[Ints], Sequence[NDArray[np.floating]]]
"""Deviations of the two slow voices at places of (n_series, n_buckets), counted row by row."""


class LevelSettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What is expected of days of 24 hours, one after the other from `start`, each from the days before it.

    `week` (n_series, n_days) of all its values; `hours` (n_series, n_days, 48) of the hours that end with its local half-hours,
    which begin `phase` seconds after those of the clock. `seen` (n_series, n_days) is how many of the `HISTORY` days before had
    values. NaN where there is nothing to expect from.
    """

    start: int
    phase: int
    week: Floats
    hours: Floats
    seen: Ints


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where buckets lie, all (n_buckets,): the day, the two half-hours between whose ends each bucket ends, how far along."""

    day: Ints
    below: Ints
    above: Ints
    part: Floats


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
        """Learn from the last three weeks; the rehearsal covers the last two, but no day that nothing came before."""
        window = history.window
        days = min(HISTORY, (window.end - window.start) // DAY)
        usual = self._usual(history, window.end - days * DAY, days, max(0, days - REHEARSAL))
        columns = slice(-((window.start - usual.start) // self.span), len(window))
        facts = facts_of(history.index, self.metrics)
        _, far = self._deviations(history, facts, usual, columns)
        tails = _learnt(far[: len(VOICES)], usual.seen[:, -1])
        return self._fitted(history.index, window, facts, far, tails, usual.week[:, -1], usual.hours[:, -1])

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """As `WalkingDetector.walk`. Days on end are learnt and judged together: what is expected of a day, and how far off it
        was, is the same for all that come after it."""
        if not self._days_on_end(windows, train):
            yield from refitted(self, frame, windows, train)
            return
        count, facts, a_day = len(frame.index), facts_of(frame.index, self.metrics), DAY // self.span
        learnt_from = REHEARSAL * a_day
        before = min(HISTORY, (windows[0].start - frame.window.start) // DAY)
        usual = self._usual(frame, windows[0].start - before * DAY, before + len(windows) - 1, 0)
        began = (usual.start - frame.window.start) // self.span
        kept = np.empty((len(VOICES) + 1, count, 0), np.float32)
        for block in blocks(windows, len(kept) * count, learnt_from):
            end = block[-1].columns_in(frame.window).stop
            fresh = slice(began + kept.shape[2], end)
            expected, far = self._deviations(frame, facts, usual, fresh)
            kept = np.concatenate([kept, far], axis=2)
            starts = (np.array([window.start for window in block]) - frame.window.start) // self.span
            days = (starts - (usual.start - frame.window.start) // self.span) // a_day
            rehearsed = np.stack([laid(voice, starts - began - learnt_from, learnt_from) for voice in kept[: len(VOICES)]])
            tails = _learnt(rehearsed.reshape(len(VOICES), count * len(block), learnt_from), usual.seen[:, days].ravel())
            own = {name: np.repeat(array, len(block)) for name, array in facts.items()} | _named(tails)
            here = np.stack([laid(voice, starts - began, a_day) for voice in kept]).reshape(len(kept), count * len(block), a_day)
            around = laid(expected, starts - fresh.start, a_day).reshape(count * len(block), a_day)
            said = np.empty((4, *around.shape))
            _say(own, around, here[-1], ~np.isnan(here[0]), partial(_asked_of, here), said)
            by_window = said.reshape(4, count, len(block), a_day)
            tails = tails.reshape(len(VOICES), count, len(block), 5)
            for number, window in enumerate(block):
                surprise, middle, lower, upper = by_window[:, :, number, : len(window)]
                first = int(starts[number]) - began
                learnt = (
                    past(frame.window, window, train),
                    facts,
                    kept[:, :, max(0, first - learnt_from) : first],
                    tails[:, :, number],
                    usual.week[:, days[number]],
                    usual.hours[:, days[number]],
                )
                yield Stretch(
                    scores=Scores(index=frame.index, window=window, surprise=surprise, expected=middle, lower=lower, upper=upper),
                    fitted=partial(self._fitted, frame.index, *learnt),
                )
            over = max(0, kept.shape[2] - learnt_from)
            kept, began = kept[:, :, over:], began + over

    def _days_on_end(self, windows: Sequence[Window], train: int) -> bool:
        """Whether the windows are days, the last one perhaps less, that begin at the same place in a half-hour, and so much is
        learnt from before each of them that where the history begins does not matter."""
        starts = np.array([window.start for window in windows])
        return (
            len(windows) > 0
            and DAY % self.span == 0
            and train >= HISTORY * DAY + self.lookback + DAY
            and bool((np.diff(starts) == DAY).all())
            and windows[-1].end - windows[-1].start <= DAY
            and len(set((self.calendar.local_seconds(starts) % SLOT).tolist())) == 1
        )

    def _usual(self, history: Frame, start: int, days: int, since: int) -> Usual:
        """What is expected of the days from the `since`th after `start` on, and of the one after the last of `days`."""
        n, width = len(history.index), days + 1 - since
        phase = self._phase(start)
        places = np.arange(days * SLOTS_PER_DAY)
        labels = (self.calendar.local_seconds(start + places * SLOT + SLOT // 2) - phase) % DAY // SLOT
        table = np.full((days, SLOTS_PER_DAY), -1)
        table[places // SLOTS_PER_DAY, labels] = places
        week, hours = np.empty((n, width)), np.empty((n, width, SLOTS_PER_DAY))
        seen = np.empty((n, width), np.int64)
        for rows in slabs(n, days * SLOTS_PER_DAY):
            total, count = half_hours(history.values[rows], history.window, start - SLOT, days * SLOTS_PER_DAY + 1)
            by_hour = (len(total), days, 24, 2)
            cells = mean_of(total[:, 1:].reshape(by_hour).sum(axis=3), count[:, 1:].reshape(by_hour).sum(axis=3))
            week[rows] = median(_before(cells)[:, since:].reshape(len(total), width, 24 * WEEK))
            ended = mean_of(total[:, 1:] + total[:, :-1], count[:, 1:] + count[:, :-1])
            before = _before(np.where(table < 0, np.nan, ended[:, table]))[:, since:]
            hours[rows] = middle([before[..., day] for day in range(WEEK)])
            there = (count[:, 1:].reshape(len(total), days, SLOTS_PER_DAY) > 0).any(axis=2)
            sums = np.cumsum(np.pad(there, ((0, 0), (HISTORY + 1, 0))), axis=1)
            seen[rows] = (sums[:, HISTORY:] - sums[:, : sums.shape[1] - HISTORY])[:, since:]
        return Usual(start=start + since * DAY, phase=phase, week=week, hours=hours, seen=seen)

    def _deviations(self, frame: Frame, facts: Mapping[str, NDArray[Any]], usual: Usual, columns: slice) -> tuple[Floats, Far]:
        """What is expected of the hours that end with each of these buckets, and how far off they are; unknown where a value is,
        and on days that nothing came before."""
        places = self._places(frame.window.starts[columns], usual.phase, usual.start)
        shape = len(frame.index), columns.stop - columns.start
        expected, far = np.empty(shape), np.empty((len(VOICES) + 1, *shape), np.float32)
        for rows in slabs(*shape):
            values, mine = frame.values[rows], {name: array[rows] for name, array in facts.items()}
            week = usual.week[rows].take(places.day, axis=1)
            expected[rows] = _between(usual.hours[rows], places)
            now, before = self._slow_means(values, columns)
            far[0, rows], far[1, rows] = mattering(_apart(now, week), mine), mattering(_apart(now, before), mine)
            far[2, rows], far[3, rows] = self._hour_far(values, columns, expected[rows], mine)
            far[:, rows][:, np.isnan(week) | np.isnan(values[:, columns])] = np.nan
        return expected, far

    def _hour_far(
        self, values: Floats, columns: slice, expected: Floats, facts: Mapping[str, NDArray[Any]]
    ) -> tuple[Floats, Floats]:
        """How far off the last hour is, and that again, 0 where the present value is back: less than half as far off as the hour,
        or on the other side."""
        hour = _apart(trailing_mean(values, self._hour, columns), expected)
        far = mattering(hour, facts)
        back = (values[:, columns] - expected) * hour < (0.5 - CLOSE) * hour * hour
        return far, np.where(back, 0.0, far)

    def _slow_means(self, values: Floats, columns: slice, rows: Ints | None = None) -> tuple[Floats, Floats]:
        """Means of the six hours that end with each of these buckets, and of the six before them; of all rows or some."""
        first, width = columns.start - self._slow, columns.stop - columns.start
        if width > self._slow:
            both = trailing_mean(values, self._slow, slice(first, columns.stop), rows)
            return both[:, self._slow :], both[:, :width]
        earlier = slice(first, columns.stop - self._slow)
        return trailing_mean(values, self._slow, columns, rows), trailing_mean(values, self._slow, earlier, rows)

    def _slow_far(
        self, values: Floats, columns: slice, week: Floats, facts: Mapping[str, NDArray[Any]], asked: Ints
    ) -> list[NDArray[np.floating]]:
        """How far off the last six hours are from the week, and from the six before them, at the places of (n_series, n_buckets)
        that are asked for."""
        rows, places = np.divmod(asked, columns.stop - columns.start)
        some, row = np.unique(rows, return_inverse=True)
        now, before = (mean[row, places] for mean in self._slow_means(values, columns, some))
        mine = {name: facts[name][rows] for name in ("up", "down", "least")}
        return [mattering(_apart(now, other)[:, None], mine)[:, 0] for other in (week[rows, 0], before)]

    def _phase(self, instant: int) -> int:
        return int(self.calendar.local_seconds(np.array([instant]))[0]) % SLOT

    def _places(self, starts: Ints, phase: int, first: int) -> Places:
        """Where buckets lie in the half-hours of the days from `first` on."""
        ends = self.calendar.local_seconds(starts + self.span // 2) + (self.span - self.span // 2) - phase
        part = ends % SLOT / SLOT
        below = (ends // SLOT - 1) % SLOTS_PER_DAY
        above = np.where(part > 0, (below + 1) % SLOTS_PER_DAY, below)
        return Places(day=(starts - first) // DAY, below=below, above=above, part=part)

    def _fitted(
        self,
        index: SeriesIndex,
        trained_on: Window,
        facts: Mapping[str, NDArray[Any]],
        far: Far,
        tails: NDArray[np.float32],
        week: Floats,
        hours: Floats,
    ) -> Fitted:
        """What was learnt of the deviations of the last days, and what is said of them."""
        arrays = {**facts, "week": week, "hours": hours, **_named(tails)}
        surprise = np.empty(far.shape[1:])
        for rows in slabs(far.shape[1], far.shape[2]):
            mine, some = {name: array[rows] for name, array in arrays.items()}, far[:, rows]
            surprise[rows] = _heard(mine, some[-1], ~np.isnan(some[0]), partial(_asked_of, some))
        unknown = np.broadcast_to(np.nan, surprise.shape)
        window = Window(trained_on.end - far.shape[2] * self.span, trained_on.end, self.span)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=index,
                trained_on=trained_on,
                arrays=arrays,
                facts={"format": 2, "span": self.span, "calendar": repr(self.calendar)},
            ),
            rehearsal=Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown),
        )

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge the hours that end with each bucket, as far as the frame goes back. The slow hours are looked at only where the
        last one is off."""
        own, there = learnt_of(frame.index, baseline)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        places = self._places(window.starts, self._phase(baseline.trained_on.end), window.start)
        places = replace(places, day=np.zeros_like(places.day))
        said = np.empty((4, len(frame.index), len(window)))
        for rows in slabs(len(frame.index), len(window)):
            values, mine = frame.values[rows], {name: array[rows] for name, array in own.items()}
            week = mine["week"][:, None]
            expected = _between(mine["hours"][:, None], places)
            _, still = self._hour_far(values, columns, expected, mine)
            known = ~np.isnan(values[:, columns]) & ~np.isnan(week)
            _say(mine, expected, still, known, partial(self._slow_far, values, columns, week, mine), said[:, rows])
        said[:, ~there] = np.nan
        surprise, around, lower, upper = said
        return Scores(index=frame.index, window=window, surprise=surprise, expected=around, lower=lower, upper=upper)


def _apart(mean: Floats, other: Floats) -> Floats:
    """The difference, 0 where it is nothing but rounding."""
    difference = mean - other
    difference[np.abs(difference) <= EXACT * np.abs(mean)] = 0.0
    return difference


def _before(cells: Floats) -> Floats:
    """The cells (n, days, m) of the `WEEK` days before each day and the one to come, (n, days + 1, m, WEEK); NaN where there was
    none."""
    nothing = np.full((len(cells), WEEK, cells.shape[2]), np.nan)
    return sliding_window_view(np.concatenate([nothing, cells], axis=1), WEEK, axis=1)


def _between(hours: Floats, places: Places) -> Floats:
    """What `hours` (n_series, n_days, 48) say of buckets, linear between the ends of half-hours, (n_series, n_buckets)."""
    width, day = len(places.part), places.day * SLOTS_PER_DAY
    around = np.concatenate([day + places.below, day + places.above])
    ends = hours.reshape(len(hours), hours.shape[1] * SLOTS_PER_DAY).take(around, axis=1)
    return ends[:, :width] * (1.0 - places.part) + ends[:, width:] * places.part


def _learnt(far: Far, seen: Ints) -> NDArray[np.float32]:
    """The tails of the three voices' deviations (3, n_rows, n) as one array (3, n_rows, 5); NaN where too few days were seen."""
    voices, count, width = far.shape
    tails = Tails.fit(far.reshape(voices * count, width), LEAST_VALUES).to_array().reshape(voices, count, 5)
    tails[:, seen < LEAST_DAYS] = np.nan
    return tails


def _named(tails: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {f"tails_{voice}": array for voice, array in zip(VOICES, tails, strict=True)}


def _asked_of(far: Far, asked: Ints) -> list[Far]:
    return [voice.reshape(-1).take(asked) for voice in far[:2]]


def _say(
    own: Mapping[str, NDArray[Any]],
    expected: Floats,
    still: NDArray[np.floating],
    known: Bools,
    slow: Slow,
    said: Floats,
) -> None:
    """Write surprise, expected, lower and upper, (4, n_rows, n_buckets)."""
    said[0] = _heard(own, still, known, slow)
    limit = Tails.from_array(own["tails_hour"]).limit()[:, None]
    said[1] = np.where(np.isnan(limit), np.nan, expected)
    said[2], said[3] = one_sided(said[1], limit, own)


def _heard(
    own: Mapping[str, NDArray[Any]],
    still: NDArray[np.floating],
    known: Bools,
    slow: Slow,
) -> Floats:
    """The surprise of known values, (n_rows, n_buckets): 0 where the hour, as far as it is `still` off, is not further off than
    nine in ten; elsewhere the mean of the three voices."""
    judged = known & ~np.isnan(own["tails_week"][:, 2:3])
    asked = np.flatnonzero(judged & ~(still < np.maximum((1.0 - CLOSE) * own["tails_hour"][:, 1:2], _TINY)))
    rows = asked // still.shape[1]
    said = [
        Tails.from_array(own[f"tails_{voice}"][rows]).surprise(far[:, None].astype(np.float64))
        for voice, far in zip(VOICES, (*slow(asked), still.reshape(-1).take(asked)), strict=True)
    ]
    surprise = np.where(judged, 0.0, np.nan)
    np.put(surprise, asked, agreed(said, np.ones((len(rows), 1), np.bool_)))
    return surprise


def _build(_settings: LevelSettings, surroundings: Surroundings) -> Detector:
    return aware(Level(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics), surroundings)


PLUGIN = Plugin(name="level", summary="Hours that are not where they used to be", settings=LevelSettings, build=_build)
