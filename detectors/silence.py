"""Series that stop. The surprise of a bucket without value is that of a gap which is already this long.

What is normal is learnt from the gaps of the trailing days: a series that never missed a bucket is missed after a few,
one that speaks every hour only when the hour is over, one that comes and goes hardly ever. A bucket for which the source
could not be asked is no silence: it is not judged, and the gap goes on after it as if it had not been.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.calibration import Tails
from tocsin.model import Baseline, Bools, Fitted, Floats, Frame, Scores, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Duration, Settings
from tocsin.timegrid import DAY

REHEARSAL = 14
"""Days whose gaps are learnt from."""
LEAST_DAYS = 2
LEAST_BUCKETS = 40
"""Nothing is judged before a series was there for two days and forty buckets."""


class SilenceSettings(Settings):
    """`lookback`: gaps are measured up to this length. A series whose normal gaps are about that long is not judged."""

    lookback: Duration = 6 * 3600


@dataclass(frozen=True, kw_only=True)
class Silence:
    """See the module."""

    span: int
    reach: int = 6 * 3600

    @property
    def name(self) -> str:
        return "silence"

    @property
    def signature(self) -> str:
        return "silence"

    @property
    def lookback(self) -> int:
        return max(self.reach, 3 * self.span)

    def fit(self, history: Frame) -> Fitted:
        """Learn the gaps of the last two weeks, from each row's first value on; the rehearsal is those weeks."""
        window = history.window
        buckets = min(len(window), max(1, REHEARSAL * DAY // self.span))
        gaps = self._gaps(~np.isnan(history.values), history.known)
        # A gap that goes on is not learnt from: it is what is being judged.
        ended = len(window) - np.argmax(~np.isnan(history.values)[:, ::-1], axis=1) if len(window) else np.zeros(len(gaps))
        gaps = np.where(np.arange(len(window)) < ended[:, None], gaps, np.nan)[:, len(window) - buckets :]
        there = np.count_nonzero(~np.isnan(gaps), axis=1)
        first = np.argmax(~np.isnan(history.values), axis=1) if len(window) else np.zeros(len(history.index))
        age = (len(window) - first) * self.span
        # A series that is usually silent for about as long as we look back cannot be missed: no gap would stand out.
        sparse = np.nanmax(np.where(np.isnan(gaps), 0.0, gaps), axis=1, initial=0.0) * self.span >= self.lookback / 2
        many = np.count_nonzero(gaps * self.span >= self.lookback / 2, axis=1) > 0.01 * there
        enough = (there >= LEAST_BUCKETS) & (age >= LEAST_DAYS * DAY) & ~(sparse & many)
        tails = Tails.fit(np.where(enough[:, None], gaps, np.nan), LEAST_BUCKETS)
        # One more bucket of a gap is at most one e-fold less likely, even when no gap was ever seen.
        array = tails.to_array()
        array[:, 4] = np.where(array[:, 4] > 0, np.minimum(array[:, 4], 1 / np.log(10)), np.where(enough, 1 / np.log(10), np.nan))
        rehearsed = Window(window.end - buckets * self.span, window.end, self.span)
        unknown = np.broadcast_to(np.nan, gaps.shape)
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=window,
                arrays={"gaps": array},
                facts={"format": 1, "lookback": self.lookback, "span": self.span},
            ),
            rehearsal=Scores(
                index=history.index,
                window=rehearsed,
                surprise=Tails.from_array(array).surprise(gaps, heavy=False),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket by the gap it ends, as far as the frame and `lookback` go back. Nothing is expected of the
        values themselves."""
        rows = frame.index.rows_in(baseline.index)
        array = baseline.arrays["gaps"] if frame.index == baseline.index else baseline.arrays["gaps"][rows]
        window = window or frame.window
        columns = window.columns_in(frame.window)
        missing = np.isnan(frame.values)
        surprise = np.where(missing[:, columns] & ~frame.known[:, columns], np.nan, 0.0)
        surprise[(rows < 0) | np.isnan(array[:, 2])] = np.nan
        # Most series miss nothing: only the others cost anything.
        some = np.flatnonzero((missing & frame.known)[:, columns].any(axis=1) & (rows >= 0))
        gaps = self._gaps(~missing[some], frame.known[some], from_start=True)[:, columns]
        surprise[some] = Tails.from_array(array[some]).surprise(gaps, heavy=False)
        unknown = np.broadcast_to(np.nan, surprise.shape)
        return Scores(index=frame.index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)

    def _gaps(self, there: Bools, known: Bools, *, from_start: bool = False) -> Floats:
        """Buckets without value up to and with each one, (n_series, n_buckets): 0 where there is a value, NaN where it is
        not known, at most `lookback`. Before the first value it is NaN, or counts `from_start`."""
        counted = np.cumsum(~there & known, axis=1).astype(np.float64)
        before = 0.0 if from_start else np.nan
        at_last = np.where(there, counted, -1.0)
        at_last = np.maximum.accumulate(at_last, axis=1) if at_last.shape[1] else at_last
        gaps = counted - np.where(at_last < 0, before, at_last)
        return np.where(known | there, np.minimum(gaps, self.lookback // self.span), np.nan)


def _build(settings: SilenceSettings, surroundings: Surroundings) -> Silence:
    return Silence(span=surroundings.span, reach=settings.lookback)


PLUGIN = Plugin(name="silence", summary="Series that stop", settings=SilenceSettings, build=_build)
