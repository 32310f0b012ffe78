"""What is normal for a series that is too young to know: what its siblings of the component type make of what it has shown.

Idea and formulas: docs/detection/coldstart.md. Siblings are the same metric of other components, known for a week. Each is
brought to the young series' size by what both did in the hours it has; the provisional band is the median of them, the more its
own the longer it lives: own days / (own days + 2). Fails where siblings do different work: the band is as wide as they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.halfhours import HalfHours
from tocsin.calibration import median
from tocsin.model import Bools, Floats, Ints, SeriesIndex
from tocsin.timegrid import SLOT, SLOTS_PER_DAY

LEAST_OWN = 24
"""Half-hours with a value, twelve hours, before a series is judged by its siblings."""
GROWN = 7 * SLOTS_PER_DAY
"""Half-hours with a value from which on a series is judged by itself alone, and may be a sibling for others."""
LEAST_SIBLINGS = 3
HALF = 2 * SLOTS_PER_DAY
"""Half-hours after which a series is half its own."""

Arrays = Mapping[str, NDArray[Any]]


def provisional(arrays: Arrays, values: Floats, halves: HalfHours, index: SeriesIndex) -> dict[str, NDArray[Any]]:
    """The arrays of a seasonal baseline, those of young rows blended with their siblings', and `own`: how much of each row is its
    own, 1 for all that are grown or have no siblings, (n_series,). `values` are those that were learnt from."""
    blended = {name: array.copy() for name, array in arrays.items()}
    own = np.ones(len(index), np.float32)
    lived = np.count_nonzero(~np.isnan(values), axis=1) * halves.window.span / SLOT
    young = (lived >= LEAST_OWN) & (lived < GROWN)
    grown = (lived >= GROWN) & ~np.isnan(arrays["tails"][:, 2])
    for rows in _of_one_metric(index, young):
        siblings = rows[grown[rows]]
        if len(siblings) >= LEAST_SIBLINGS:
            mine = rows[young[rows]]
            for row, cells in zip(mine, halves.cells(values[mine]), strict=True):
                own[row] = lived[row] / (lived[row] + HALF)
                _blend(blended, arrays, int(row), siblings, cells, halves, float(own[row]))
    return {**blended, "own": own}


def borrowed(tails: NDArray[np.float32], sizes: Ints) -> NDArray[np.float32]:
    """The fusion's calibration (n_components, 5), that of components which have none (NaN) borrowed from those of the same number
    of series, (n_components,), where there are `LEAST_SIBLINGS`."""
    result = tails.copy()
    for size in np.unique(sizes[np.isnan(tails[:, 2])]):
        alike = sizes == size
        known = alike & ~np.isnan(tails[:, 2])
        if np.count_nonzero(known) >= LEAST_SIBLINGS:
            result[alike & ~known] = np.median(tails[known], axis=0)
    return result


def _blend(
    blended: dict[str, NDArray[Any]],
    arrays: Arrays,
    row: int,
    siblings: Ints,
    cells: NDArray[np.floating],
    halves: HalfHours,
    share: float,
) -> None:
    """Write the blended row into `blended`."""
    usual = arrays["centre"][siblings, None, None] + arrays["season"][siblings].astype(np.float64)
    spread = arrays["spread"][siblings].astype(np.float64)
    days, slots = np.nonzero(~np.isnan(cells))
    shown = np.asarray(cells[days, slots], np.float64)
    theirs = usual[:, halves.kinds[days, slots], slots]
    factor, offset = _brought(shown, theirs)
    expected = median(np.moveaxis(usual * factor[:, None, None] + offset[:, None, None], 0, -1))
    wide = median(np.moveaxis(spread * factor[:, None, None], 0, -1))
    # What the siblings do not explain of what was shown belongs to the band.
    missed = np.abs(shown - expected[halves.kinds[days, slots], slots])
    wide = np.maximum(wide, 1.4826 * float(median(missed)))
    # Only half-hours that it has lived through know better than its siblings; the others are at its size already.
    mine = median(np.moveaxis(cells, 0, -1))
    expected = np.where(np.isnan(mine), expected, share * mine + (1.0 - share) * expected)
    blended["season"][row] = expected - blended["centre"][row]
    grown = share if not np.isnan(arrays["tails"][row, 2]) else 0.0
    for name, provided in (
        ("spread", wide),
        ("follow", median(arrays["follow"][siblings])),
        ("tails", median(arrays["tails"][siblings].T)),
    ):
        blended[name][row] = (grown * arrays[name][row] if grown else 0.0) + (1.0 - grown) * provided


def _brought(shown: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Factor and offset that bring each sibling (n_siblings, n) to what a young series has shown in the same half-hours, (n,): a
    factor where sizes differ, an offset where levels do, whichever leaves less over all siblings."""
    offset = median(shown - theirs)
    size = median(np.abs(theirs))
    # Half-hours in which a sibling does nothing say nothing of its size.
    some = np.abs(theirs) > 0.05 * np.maximum(size, 1e-300)[:, None]
    factor = median(np.where(some, shown / np.where(some, theirs, 1.0), np.nan))
    usable = ~np.isnan(factor) & (factor > 0)
    factor = np.where(usable, factor, 1.0)
    by_offset = np.abs(shown - theirs - offset[:, None]).mean()
    by_factor = np.abs(shown - theirs * factor[:, None]).mean()
    if usable.all() and by_factor <= by_offset:
        return np.asarray(factor, np.float64), np.zeros(len(theirs))
    return np.ones(len(theirs)), np.asarray(offset, np.float64)


def _of_one_metric(index: SeriesIndex, wanted: Bools) -> Iterator[Ints]:
    """The rows of each metric that some wanted row has."""
    codes = index.metric_codes
    for code in np.unique(codes[wanted]):
        yield np.flatnonzero(codes == code)
