"""Sensors that hang: a series that repeats its value to the last digit for longer than it ever does.

A change is to this detector what a value is to `silence`, and it is judged in the same way: how long a series usually repeats
itself is learnt from the trailing days, by the hour. A series that often repeats itself for long (a constant, a counter of rare
events, a disk nobody writes to) is not judged. A missing bucket says nothing, and the value after it is a change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.silence import Silence
from tocsin.model import Baseline, Fitted, Frame, Scores, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Duration, Settings


class StuckSettings(Settings):
    """`lookback`: how long repetitions are followed. A series that usually repeats itself for half of it is not judged."""

    lookback: Duration = 6 * 3600


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """See the module. `stops` learns and judges when changes stop."""

    stops: Silence

    @property
    def name(self) -> str:
        return "stuck"

    @property
    def signature(self) -> str:
        return "stuck"

    @property
    def lookback(self) -> int:
        return self.stops.lookback

    def fit(self, history: Frame) -> Fitted:
        """Learn how long each row repeats itself, from the last two weeks."""
        fitted = self.stops.fit(changes(history))
        # That something changes each night is no promise that it will.
        arrays = {**fitted.baseline.arrays, "kept": np.zeros_like(fitted.baseline.arrays["kept"])}
        return replace(fitted, baseline=replace(fitted.baseline, detector=self.name, arrays=arrays))

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket with a value by how long that value has been the same. Nothing is expected of the values."""
        return self.stops.score(changes(frame), baseline, window)


def changes(frame: Frame) -> Frame:
    """A value in each bucket whose value is another than the one before it; "no data" where it is the same, "not known" where
    there is none to compare."""
    there = ~np.isnan(frame.values)
    same = np.zeros(there.shape, np.bool_)
    same[:, 1:] = frame.values[:, 1:] == frame.values[:, :-1]
    moved = there & ~same
    moved[:, :1] = False  # nobody knows
    return replace(frame, values=np.where(moved, 1.0, np.nan), known=moved | same)


def _build(settings: StuckSettings, surroundings: Surroundings) -> Stuck:
    return Stuck(stops=Silence(span=surroundings.span, reach=settings.lookback, calendar=surroundings.calendar))


PLUGIN = Plugin(name="stuck", summary="Series that repeat one value for longer than ever", settings=StuckSettings, build=_build)
