"""What is seen of each component now: when it last had data, when it was last judged, why it cannot be judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tocsin.model import Bools, Frame, Ints, SeriesIndex
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
        judged = np.zeros(frame.values.shape, bool)
        for scores in evaluation.scores.values():
            columns = scores.window.columns_in(frame.window)
            judged[:, columns] |= np.isfinite(scores.surprise)
        return Sight(
            index=frame.index,
            data=np.maximum(before.data, _last_end(np.isfinite(frame.values), frame)),
            answer=np.maximum(before.answer, _last_end(frame.known, frame)),
            judged=np.maximum(before.judged, _last_end(judged, frame)),
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


def _last_end(true: Bools, frame: Frame) -> Ints:
    """End of the last bucket that is true, 0 where there is none, (n_series,)."""
    if not len(frame.window):
        return np.zeros(len(frame.index), np.int64)
    back = np.argmax(true[:, ::-1], axis=1)
    return np.where(true.any(axis=1), frame.window.end - back * frame.window.span, 0)


def _per_component(index: SeriesIndex, rows: Ints, how: np.ufunc) -> Ints:
    if not len(index):
        return np.zeros(0, np.int64)
    reduced: Ints = how.reduceat(rows, index.component_starts)
    return reduced
