"""The newest buckets of a component type, kept so that a tick moves nothing but what is new.

Each bucket's values lie side by side. New ones are written behind those that are there, and only when the room is used up
is everything moved to its front.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tocsin.late import Late, common, lay_on, lay_out
from tocsin.model import Bools, Floats, Frame, SeriesIndex, Window

ROOM = 8
"""For so many buckets the room of one more is kept free."""


class Memory:
    """One frame that grows at its end and is forgotten at its beginning. There is one at a time: a frame given before is worth
    nothing once the next was taken in."""

    def __init__(self, frame: Frame | None = None) -> None:
        self.frame = frame
        self._values: Floats = np.empty((0, 0))
        self._known: Bools = np.empty((0, 0), bool)
        self._start = 0

    @contextmanager
    def taking_in(self, fresh: Frame, window: Window, judged_to: int) -> Iterator[tuple[Frame, Late]]:
        """`window` as it is known now and what of that came late, exactly as `late.merged`. When the block raises, nothing was
        taken in."""
        before, room = self.frame, (self._values, self._known, self._start)
        frame = self._room_for(fresh.index, window)
        _, here = common(fresh.window, window)
        old = frame.values[:, here].copy(order="K"), frame.known[:, here].copy(order="K")
        late = lay_on(frame, fresh, before, judged_to)
        self.frame = frame
        try:
            yield frame, late
        except BaseException:
            frame.values[:, here], frame.known[:, here] = old
            if before is not None and self._values is room[0]:
                # The buckets may have been moved: what is left of the frame before lies elsewhere now.
                start = max(before.window.start, window.start)
                self.frame = frame.within(Window(start, max(start, min(before.window.end, window.end)), window.span))
            else:
                self.frame, (self._values, self._known, self._start) = before, room
            raise

    def _room_for(self, index: SeriesIndex, window: Window) -> Frame:
        """What is remembered of the window on the rows of `index`, to be written on."""
        before, first = self.frame, (window.start - self._start) // window.span
        if before is None or before.index != index or first < 0 or len(window) > len(self._values):
            room = (len(window) + len(window) // ROOM + 1, len(index))
            self._values, self._known, self._start = np.empty(room), np.empty(room, bool), window.start
            frame = self._part(index, window)
            lay_out(before, frame)
            return frame
        if first + len(window) > len(self._values):
            for array in (self._values, self._known):
                for begin in range(first, len(array), first):
                    # Piece by piece, because numpy copies twice where both places overlap.
                    piece = array[begin : begin + first]
                    array[begin - first : begin - first + len(piece)] = piece
            self._start = window.start
        frame = self._part(index, window)
        _, there = common(before.window, window)
        for new in (slice(0, there.start), slice(there.stop, len(window))):
            frame.values[:, new], frame.known[:, new] = np.nan, False
        return frame

    def _part(self, index: SeriesIndex, window: Window) -> Frame:
        first = (window.start - self._start) // window.span
        rows = slice(first, first + len(window))
        return Frame(index=index, window=window, values=self._values[rows].T, known=self._known[rows].T)
