"""Series that stop. The surprise of a bucket without value is that of a gap which is already this long, at this hour.

What is normal is learnt from the gaps of the trailing days: a series that never missed a bucket is missed after a few, one
that speaks every hour only when the hour is over, one that is quiet at night later at night than by day. A series whose gaps
are about as long as we look back has appointments instead: half-hours of the day by whose end it always had spoken. A bucket
for which the source could not be asked is no silence: it is not judged, and the gap goes on after it as if it had not been.
Idea and formulas: docs/detection/silence.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.halfhours import HalfHours
from detectors.rates import CELLS, cells_of, hourly_rates
from tocsin.calibration import HIGHEST, LIMIT, Tails, median
from tocsin.model import Baseline, Bools, Fitted, Floats, Frame, Ints, Scores, SeriesIndex, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Duration, Settings
from tocsin.timegrid import DAY, SLOTS_PER_DAY, Calendar, DayKind

REHEARSAL = 14
"""Days whose gaps are learnt from."""
LEAST_DAYS = 2
LEAST_BUCKETS = 40
"""Nothing is judged before a series was there for two days and forty buckets."""
LEAST_KEPT = 5
"""Days of a kind on which an appointment must have been kept, all that are known."""


class SilenceSettings(Settings):
    """`lookback`: gaps are measured up to this length. A series whose normal gaps are about that long is not judged."""

    lookback: Duration = 6 * 3600


@dataclass(frozen=True, kw_only=True)
class Silence:
    """See the module."""

    span: int
    reach: int = 6 * 3600
    calendar: Calendar = field(default_factory=Calendar)

    @property
    def name(self) -> str:
        return "silence"

    @property
    def signature(self) -> str:
        return "silence"

    @property
    def lookback(self) -> int:
        return max(self.reach, 3 * self.span)

    @property
    def _most(self) -> int:
        return self.lookback // self.span

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn the gaps of the last two weeks, from each row's first value on; the rehearsal is those weeks."""
        window, there, buckets = history.window, ~np.isnan(history.values), len(history.window)
        gaps = self._gaps(there, history.known)
        # A gap that goes on is not learnt from: it is what is being judged.
        ended = buckets - np.argmax(there[:, ::-1], axis=1) if buckets else np.zeros(len(gaps))
        recent = min(buckets, max(1, REHEARSAL * DAY // self.span))
        rehearsed = Window(window.end - recent * self.span, window.end, self.span)
        gaps = np.where(np.arange(buckets) < ended[:, None], gaps, np.nan)[:, buckets - recent :]
        seen = np.count_nonzero(~np.isnan(gaps), axis=1)
        first = np.argmax(there, axis=1) if buckets else np.zeros(len(history.index))
        old = (seen >= LEAST_BUCKETS) & ((buckets - first) * self.span >= LEAST_DAYS * DAY)
        long = gaps * self.span >= self.lookback / 2
        rare = np.count_nonzero(long, axis=1) > 0.01 * seen
        cells = cells_of(rehearsed.starts, self.calendar)
        usual = 1.0 / np.minimum(hourly_rates(gaps == 0, ~np.isnan(gaps), cells), 1.0)
        weights = 1.0 / usual[:, cells_of(window.starts, self.calendar)]
        gaps = np.where(np.isnan(gaps), np.nan, self._gaps(there, history.known, weights)[:, buckets - recent :])
        tails = Tails.fit(np.where((old & ~rare)[:, None], gaps, np.nan), LEAST_BUCKETS)
        # One more bucket of a gap is at most one e-fold less likely, even when no gap was ever seen.
        array = tails.to_array()
        fold = median(usual) / np.log(10)
        array[:, 4] = np.where(array[:, 4] > 0, np.minimum(array[:, 4], fold), np.where(old & ~rare, fold, np.nan))
        kept = np.zeros((len(history.index), CELLS), np.uint8)
        sparse = np.flatnonzero(rare & (buckets > 0))
        kept[sparse] = self._kept(_rows(history, sparse))
        unknown = np.broadcast_to(np.nan, gaps.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=window,
                arrays={"gaps": array, "usual": usual.astype(np.float32), "kept": kept},
                facts={"format": 2, "lookback": self.lookback, "span": self.span},
            ),
            rehearsal=Scores(
                index=history.index,
                window=rehearsed,
                surprise=Tails.from_array(array).surprise(gaps),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def _kept(self, history: Frame) -> NDArray[np.uint8]:
        """Appointments: on how many days each row spoke in a half-hour or the one after it, 0 unless it always did and on
        `LEAST_KEPT` days at least, (n_series, 96)."""
        window = history.window
        halves = HalfHours.of(window, self.calendar, REHEARSAL)
        flat = len(history.index), halves.days * SLOTS_PER_DAY
        if not halves.days or not len(history.index):
            return np.zeros((len(history.index), CELLS), np.uint8)
        spoke = ~np.isnan(halves.cells(history.values)).reshape(flat)
        asked = (halves.cells(history.known.astype(np.float32)) > 0).reshape(flat)
        soon = spoke | np.pad(spoke[:, 1:], ((0, 0), (0, 1)))
        sure = asked & np.pad(asked[:, 1:], ((0, 0), (0, 1)))
        shape = (len(history.index), halves.days, SLOTS_PER_DAY)
        soon, sure = soon.reshape(shape), sure.reshape(shape) | soon.reshape(shape)
        result = []
        for free in (False, True):
            day = ((halves.kinds != DayKind.WORKING) == free)[None] & sure
            count = day.sum(axis=1)
            always = (soon | ~day).all(axis=1) & (count >= LEAST_KEPT)
            result.append(np.where(always, count, 0))
        return np.concatenate(result, axis=1).astype(np.uint8)

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket by the gap it ends, as far as the frame and `lookback` go back. Nothing is expected of the
        values themselves."""
        rows = frame.index.rows_in(baseline.index)
        window = window or frame.window
        columns = window.columns_in(frame.window)
        surprise = np.full((len(rows), len(window)), np.nan)
        known = np.flatnonzero(rows >= 0)
        if len(known) and len(window):
            same = frame.index == baseline.index
            own = {name: array if same else array[rows[known]] for name, array in baseline.arrays.items()}
            missing = np.isnan(frame.values[known, columns])
            told = np.where(missing & ~frame.known[known, columns], np.nan, 0.0)
            told[np.isnan(own["gaps"][:, 2])] = np.nan
            # Most series miss nothing: only the others cost anything.
            some = np.flatnonzero((missing & frame.known[known, columns]).any(axis=1))
            weights = 1.0 / own["usual"][some][:, cells_of(frame.window.starts, self.calendar)].astype(np.float64)
            there = ~np.isnan(frame.values[known[some]])
            gaps = self._gaps(there, frame.known[known[some]], weights, from_start=True)[:, columns]
            told[some] = Tails.from_array(own["gaps"][some]).surprise(gaps)
            sparse = np.flatnonzero(own["kept"].any(axis=1))
            if len(sparse):
                told[sparse] = self._overdue(_rows(frame, known[sparse]), own["kept"][sparse], columns)
            surprise[known] = told
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Scores(index=frame.index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)

    def _overdue(self, frame: Frame, kept: NDArray[np.uint8], columns: slice) -> Floats:
        """Surprise at appointments that were not kept. The first bucket after one is as rare as the days on which it was
        kept allow, each more one e-fold rarer. A series that was silent all the time is judged only once it is surprising."""
        starts = frame.window.starts
        cells = cells_of(starts, self.calendar)
        begins = np.flatnonzero(np.diff(cells, prepend=cells_of(starts[:1] - self.span, self.calendar)))
        here = np.arange(len(starts))[columns]
        there = ~np.isnan(frame.values)
        last = np.maximum.accumulate(np.where(there, np.arange(len(starts)), -1), axis=1)[:, here]
        unasked = np.pad(np.cumsum(~there & ~frame.known, axis=1), ((0, 0), (1, 0)))
        run, first_seen = np.searchsorted(begins, here, side="right") - 1, here - self._most
        surprise = np.zeros(last.shape)
        for back in range(2, len(begins)):
            place = np.maximum(run - back, 0)
            begin, end = begins[place], begins[place + 2]
            reached = (run >= back) & (begin > first_seen)
            if not reached.any():
                break
            days = kept[:, cells[begin]].astype(np.float64)
            missed = reached & (days > 0) & (last < begin) & (unasked[:, here + 1] == unasked[:, begin])
            surprise = np.where(missed, np.maximum(surprise, np.log10(days + 1) + (here - end) / np.log(10)), surprise)
        silent = last <= first_seen
        judged = frame.known[:, columns] | there[:, columns]
        return np.where(judged & ~(silent & (surprise < LIMIT)), np.minimum(surprise, HIGHEST), np.nan)

    def _gaps(self, there: Bools, known: Bools, weights: Floats | float = 1.0, *, from_start: bool = False) -> Floats:
        """Buckets without value among the `lookback` up to and with each one, since the last with one, each with its weight,
        (n_series, n_buckets): 0 where there is a value, NaN where it is not known. Before the first value it is NaN, or counts
        `from_start`."""
        counted = np.cumsum((~there & known) * weights, axis=1)
        at_last = np.where(there, counted, -1.0)
        at_last = np.maximum.accumulate(at_last, axis=1) if at_last.shape[1] else at_last
        since = np.where(at_last < 0, 0.0 if from_start else np.nan, at_last)
        # Only what `lookback` reaches counts, however far the frame goes: judged live, it would go no further.
        since[:, self._most :] = np.maximum(since[:, self._most :], counted[:, : -self._most or None])
        return np.where(known | there, np.maximum(counted - since, 0.0), np.nan)


def _rows(frame: Frame, rows: Ints) -> Frame:
    return frame.take(rows, SeriesIndex(frame.index[row] for row in rows))


def _build(settings: SilenceSettings, surroundings: Surroundings) -> Silence:
    return Silence(span=surroundings.span, reach=settings.lookback, calendar=surroundings.calendar)


PLUGIN = Plugin(name="silence", summary="Series that stop", settings=SilenceSettings, build=_build)
