"""Series that stop. The surprise of a bucket without value is that of a gap which is already this long, at this hour.

What is normal is learnt from the gaps of the trailing days: a series that never missed a bucket is missed after a few, one
that speaks every hour only when the hour is over, one that is quiet at night later at night than by day. A series whose gaps
are about as long as we look back has appointments instead: half-hours of the day by whose end it always had spoken. A bucket
for which the source could not be asked is no silence: it is not judged, and the gap goes on after it as if it had not been.
Idea and formulas: docs/detection/silence.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from detectors.gaps import BLOCK, REHEARSAL, Moments, Seen, gaps_of, steady_tails, surprise_of_gaps, usual_gaps
from detectors.halfhours import HalfHours
from detectors.rates import CELLS, cells_of
from detectors.walking import past
from tocsin.calibration import HIGHEST, LIMIT, Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Ints, Scores, SeriesIndex, Window
from tocsin.ports import Plugin, Stretch, Surroundings
from tocsin.settings import Duration, Settings
from tocsin.timegrid import SLOTS_PER_DAY, Calendar, DayKind

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

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn the gaps of the last two weeks, from each row's first value on; the rehearsal is those weeks."""
        seen, end = self._seen(history), len(history.window)
        return self._fitted(history, seen, Moments.of(seen, np.zeros(1, np.int64), np.array([end])), 0, end)

    def _fitted(self, history: Frame, seen: Seen, moments: Moments, moment: int, end: int) -> Fitted:
        """What is learnt of the history, which ends before the column `end` of what was `seen`, at one of the moments."""
        recent = min(len(history.window), seen.recent)
        rehearsed = Window(history.window.end - recent * self.span, history.window.end, self.span)
        judged, first, last = moments.judged[:, moment], moments.first[:, moment], moments.last[:, moment]
        some = np.flatnonzero(judged & ~moments.steady[:, moment])
        tails = np.where(judged[:, None], steady_tails(np.array([recent])), np.float32(np.nan))
        usual, gaps = np.ones((len(judged), CELLS), np.float32), np.zeros((len(judged), recent))
        if len(some):
            learnt = usual_gaps(seen, some, np.full(len(some), end), first[some], last[some])
            tails[some], usual[some], gaps[some] = learnt.tails, learnt.usual, learnt.rehearsed[:, seen.recent - recent :]
        kept = np.zeros((len(judged), CELLS), np.uint8)
        sparse = np.flatnonzero(moments.rare[:, moment])
        if len(sparse):
            kept[sparse] = self._kept(_rows(history, sparse))
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=history.window,
                arrays={"gaps": tails, "usual": usual, "kept": kept},
                facts={"format": 2, "lookback": self.lookback, "span": self.span},
            ),
            rehearsal=_nothing_expected(history.index, rehearsed, Tails.from_array(tails).surprise(gaps)),
        )

    def _seen(self, frame: Frame) -> Seen:
        return Seen(
            there=~np.isnan(frame.values),
            known=frame.known,
            cells=cells_of(frame.window.starts, self.calendar),
            span=self.span,
            lookback=self.lookback,
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
            gaps = gaps_of(there, frame.known[known[some]], self.lookback // self.span, weights)[:, columns]
            told[some] = Tails.from_array(own["gaps"][some]).surprise(gaps)
            sparse = np.flatnonzero(own["kept"].any(axis=1))
            if len(sparse):
                told[sparse] = self._overdue(_rows(frame, known[sparse]), own["kept"][sparse], columns)
            surprise[known] = told
        return _nothing_expected(frame.index, window, surprise)

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """Gaps of many windows at once; appointments window by window."""
        seen = self._seen(frame)
        edges = np.array([*(window.start for window in windows), *(window.end for window in windows[-1:])], np.int64)
        edges = (edges - frame.window.start) // self.span
        moments = Moments.of(seen, np.maximum(0, edges[:-1] - train // self.span), edges[:-1])
        several = max(1, BLOCK // max(1, len(frame.index) * int(np.diff(edges).max(initial=1))))
        for first in range(0, len(windows), several):
            some = windows[first : first + several]
            surprise = surprise_of_gaps(seen, moments, first, edges[first : first + len(some) + 1])
            for place, window in enumerate(some, first):
                history = frame.within(past(frame.window, window, train))
                own = surprise[:, edges[place] - edges[first] : edges[place + 1] - edges[first]]
                sparse = np.flatnonzero(moments.rare[:, place])
                if len(sparse):
                    own[sparse] = self._missed(frame, window, history, sparse)
                fitted = partial(self._fitted, history, seen, moments, place, int(edges[place]))
                yield Stretch(scores=_nothing_expected(frame.index, window, own), fitted=fitted)

    def _missed(self, frame: Frame, window: Window, history: Frame, sparse: Ints) -> Floats:
        """Surprise of rows that may have appointments, as learnt from the history; NaN where they have none."""
        surprise = np.full((len(sparse), len(window)), np.nan)
        kept = self._kept(_rows(history, sparse))
        some = kept.any(axis=1)
        if some.any():
            back = max(frame.window.start, window.reaching_back(self.lookback).start)
            near = frame.within(Window(back, window.end, self.span))
            surprise[some] = self._overdue(_rows(near, sparse[some]), kept[some], window.columns_in(near.window))
        return surprise

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
        run, first_seen = np.searchsorted(begins, here, side="right") - 1, here - self.lookback // self.span
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


def _nothing_expected(index: SeriesIndex, window: Window, surprise: Floats) -> Scores:
    unknown = np.broadcast_to(np.nan, surprise.shape)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def _rows(frame: Frame, rows: Ints) -> Frame:
    return frame.take(rows, SeriesIndex(frame.index[row] for row in rows))


def _build(settings: SilenceSettings, surroundings: Surroundings) -> Silence:
    return Silence(span=surroundings.span, reach=settings.lookback, calendar=surroundings.calendar)


PLUGIN = Plugin(name="silence", summary="Series that stop", settings=SilenceSettings, build=_build)
