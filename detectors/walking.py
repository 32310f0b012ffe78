"""Going through a past window by window, each judged by what was learnt before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from tocsin.model import Fitted, Frame, Scores, Window
from tocsin.ports import Detector, Stretch


def refitted(detector: Detector, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
    """Learn anew before each window from the `train` seconds before it: the plain way, which every `walk` must agree with."""
    for window in windows:
        history = frame.within(past(frame.window, window, train))
        fitted = partial(detector.fit, history)
        if not len(history.window):
            yield Stretch(scores=unjudged(frame, window), fitted=fitted)
            continue
        learnt = fitted()
        back = window.reaching_back(detector.lookback).start
        seen = frame.within(Window(max(frame.window.start, back), window.end, window.span))
        yield Stretch(scores=detector.score(seen, learnt.baseline, window), fitted=partial(_itself, learnt))


def _itself(learnt: Fitted) -> Fitted:
    return learnt


def past(whole: Window, window: Window, train: int) -> Window:
    """What of the `train` seconds before a window lies in the whole."""
    return Window(max(whole.start, window.start - train // window.span * window.span), window.start, window.span)


def unjudged(frame: Frame, window: Window) -> Scores:
    """Nothing said."""
    nothing = np.broadcast_to(np.nan, (len(frame.index), len(window)))
    return Scores(index=frame.index, window=window, surprise=nothing, expected=nothing, lower=nothing, upper=nothing)
