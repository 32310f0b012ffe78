"""What is seen of each component now: when it last had data, when it was last judged, why it cannot be judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Bools, Floats, Frame, Ints, SeriesIndex, Window
from tocsin.scoring import Evaluation


class Standing(IntEnum):
    """Whether a component can be judged at all."""

    JUDGED = 0
    LEARNING = 1
    NO_DATA = 2
    NOT_KNOWN = 3


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Per series, the end of the newest bucket that held a value, was answered, was judged; 0 for never. (n_series,) each."""

    index: SeriesIndex
    data: Ints
    answer: Ints
    judged: Ints
    until: int = 0

    @classmethod
    def nothing(cls, index: SeriesIndex) -> Sight:
        """Nothing was seen yet."""
        zeros = np.zeros(len(index), np.int64)
        return cls(index=index, data=zeros, answer=zeros, judged=zeros)

    def on(self, index: SeriesIndex) -> Sight:
        """The same on other rows; new ones were never seen."""
        if index == self.index:
            return self
        rows = index.rows_in(self.index)
        there = rows >= 0

        def moved(array: Ints) -> Ints:
            result = np.zeros(len(index), np.int64)
            result[there] = array[rows[there]]
            return result

        return replace(self, index=index, data=moved(self.data), answer=moved(self.answer), judged=moved(self.judged))

    def after(self, frame: Frame, evaluation: Evaluation) -> Sight:
        """What is seen once this frame was judged."""
        before = self.on(frame.index)
        judged = before.judged
        for scores in evaluation.scores.values():
            judged = _last_end(scores.surprise, scores.window, judged)
        return Sight(
            index=frame.index,
            data=_last_end(frame.values, frame.window, before.data),
            answer=_last_end(frame.known, frame.window, before.answer),
            judged=judged,
            until=frame.window.end,
        )

    def judged_now(self, patience: int) -> Ints:
        """How many series of each component were judged within the last `patience` seconds, (n_components,)."""
        return _per_component(self.index, (self.judged > self.until - patience).astype(np.int64), np.add)

    def standings(self, patience: int) -> NDArray[np.int8]:
        """The `Standing` of each component, from the last `patience` seconds, (n_components,)."""
        since = self.until - patience
        data, answer = (_per_component(self.index, array, np.maximum) > since for array in (self.data, self.answer))
        standings = np.where(data, Standing.LEARNING, Standing.NO_DATA)
        standings = np.where(answer, standings, Standing.NOT_KNOWN)
        return np.where(self.judged_now(patience) > 0, Standing.JUDGED, standings).astype(np.int8)

    def last_data(self) -> Ints:
        """End of the newest bucket with a value of each component, (n_components,); 0 for never."""
        return _per_component(self.index, self.data, np.maximum)

    def last_judged(self) -> Ints:
        """End of the newest bucket that was judged of each component, (n_components,); 0 for never."""
        return _per_component(self.index, self.judged, np.maximum)


def _last_end(said: Floats | Bools, window: Window, before: Ints) -> Ints:
    """End of the last bucket that is finite or true or what it was `before`, whichever is later, (n_series,). Looks back no
    further than some row needs."""
    result = before.copy()
    rows = np.arange(len(result))
    for column in range(len(window) - 1, -1, -1):
        end = window.start + (column + 1) * window.span
        there: NDArray[Any] = said[:, column] if len(rows) == len(result) else said[rows, column]
        found: Bools = there.astype(np.bool_) if there.dtype.kind == "b" else np.isfinite(there)
        newer = result[rows] < end
        result[rows[found & newer]] = end
        rows = rows[~found & newer]
        if not len(rows):
            break
    return result


def _per_component(index: SeriesIndex, rows: Ints, how: np.ufunc) -> Ints:
    if not len(index):
        return np.zeros(0, np.int64)
    reduced: Ints = how.reduceat(rows, index.component_starts)
    return reduced
