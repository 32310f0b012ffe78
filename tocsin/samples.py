"""Values as a person who asks is shown them."""

from __future__ import annotations

import numpy as np

from tocsin.model import Frame, utc

SAMPLES = 5


def samples(frame: Frame) -> tuple[str, ...]:
    """The newest value of a few series, spread over all that have one, a line each."""
    there = np.flatnonzero(np.isfinite(frame.values).any(axis=1))
    told = []
    for place in np.unique(np.linspace(0, len(there) - 1, min(SAMPLES, len(there))).astype(int)):
        row = int(there[place])
        column = int(np.flatnonzero(np.isfinite(frame.values[row]))[-1])
        key, at = frame.index[row], utc(int(frame.window.starts[column]))
        told.append(f"{key.component} {key.metric} = {frame.values[row, column]:.6g} at {at:%Y-%m-%d %H:%M} UTC")
    return tuple(told)
