"""Rows of Splunk → columns. Every value is a string there; what is none is looked at here, once.

{"epoch":"1790812800","host":"web1","m0":"12.5","m1":"","m2":["1","2"]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np

from collectors.splunk.spl import EPOCH, LATEST_INDEXED
from tocsin.model import LARGEST, Floats, Ints
from tocsin.settings import Settings

LONGEST_NAME = 255
LATEST = 1e11
"""No time is later: what is (milliseconds, nonsense) is taken for no time."""


class Chooser(Settings):
    """Which names are wanted: those that fit one of `include` (all when there is none) and none of `exclude`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a component of this name is read. A name that cannot be printed is none."""
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name.isspace():
            return False
        included = not self.include or any(fnmatchcase(name, glob) for glob in self.include)
        return included and not any(fnmatchcase(name, glob) for glob in self.exclude)

    def remembering(self) -> Callable[[str], bool]:
        """The same, each name looked at once."""
        return lru_cache(maxsize=200_000)(self.wants)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one answer by field: which metric (empty where the field says it) and which part of it, too.

    `values` holds NaN for what is no number; `indexed` NaN where it is not told.
    """

    components: list[str]
    metrics: list[str]
    parts: list[str]
    times: Ints
    values: Mapping[str, Floats]
    indexed: Floats


@dataclass(slots=True)
class Rows:
    """Gathers the pages of one answer as columns: memory grows by numbers, not by rows of text.

    `groups` are the fields that make a component, `aliases` those with numbers; `metric` and `by` those that name the metric
    and its part, if any. Without `timed` rows have no time.
    `bad` counts rows without a usable name or time, and values that are no numbers.
    """

    groups: Sequence[str]
    aliases: Sequence[str]
    metric: str = ""
    by: str = ""
    wants: Callable[[str], bool] = bool
    timed: bool = True
    pages: list[Columns] = field(default_factory=list)
    bad: int = 0
    rows: int = 0

    def fresh(self) -> None:
        """Forget the rows of a try that failed."""
        self.pages.clear()
        self.bad = self.rows = 0

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One page."""
        self.rows += len(rows)
        kept, times, names = [], [], []
        for row in rows:
            moment, name = _epoch(row) if self.timed else 0, component_of(row, self.groups)
            if moment is None or not name or not all(_word(row.get(key)) for key in (self.metric, self.by) if key):
                self.bad += 1
            elif self.wants(name):
                kept.append(row)
                times.append(moment)
                names.append(name)
        self.pages.append(
            Columns(
                components=names,
                metrics=[_word(row.get(self.metric)) if self.metric else "" for row in kept],
                parts=[_word(row.get(self.by)) if self.by else "" for row in kept],
                times=np.array(times, np.int64),
                values={alias: self._numbers([row.get(alias) for row in kept]) for alias in self.aliases},
                indexed=numbers([row.get(LATEST_INDEXED) for row in kept])[0],
            )
        )

    def _numbers(self, cells: list[Any]) -> Floats:
        values, bad = numbers(cells)
        self.bad += bad
        return values


def component_of(row: Mapping[str, Any], groups: Sequence[str]) -> str:
    """The name of a row's component; empty when one of its fields is missing."""
    parts = [_word(row.get(group)) for group in groups]
    return "/".join(parts) if all(parts) else ""


def numbers(cells: list[Any]) -> tuple[Floats, int]:
    """Each cell as a number, NaN where it is none, and how many held something else; infinities are none."""
    try:
        values = np.array([np.nan if cell is None or cell == "" else cell for cell in cells], dtype=np.float64)
        bad = 0
    except (TypeError, ValueError, OverflowError):
        values, bad = np.full(len(cells), np.nan), 0
        for place, cell in enumerate(cells):
            try:
                values[place] = np.nan if cell is None or cell == "" else float(cell)
            except (TypeError, ValueError, OverflowError):
                bad += 1
    if values.ndim != 1:  # every cell a list of the same length
        return np.full(len(cells), np.nan), len(cells)
    with np.errstate(invalid="ignore"):
        values[~(np.abs(values) <= LARGEST)] = np.nan
    return values, bad


def _word(cell: object) -> str:
    word = cell.strip() if isinstance(cell, str) else ""
    return word if len(word) <= LONGEST_NAME and word.isprintable() else ""


def _epoch(row: Mapping[str, Any]) -> int | None:
    """When the row's bucket starts: our own field, or what a saved search gives as `_time` (seconds, or ISO with its zone)."""
    cell = row.get(EPOCH, row.get("_time"))
    try:
        moment = float(cell)
    except (TypeError, ValueError, OverflowError):
        moment = _iso(cell)
    return int(moment) if 0 <= moment < LATEST else None


def _iso(cell: object) -> float:
    """NaN for what is no time with its zone."""
    try:
        moment = datetime.fromisoformat(cell) if isinstance(cell, str) else None
        return moment.timestamp() if moment is not None and moment.tzinfo is not None else np.nan
    except (ValueError, OverflowError):
        return np.nan
