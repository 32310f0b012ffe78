"""One stretch of time, read from Centreon and put into buckets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collectors.centreon.checks import STANDS, combine, settle
from collectors.centreon.doors import Door
from collectors.centreon.feeding import Feed, lost
from tocsin.centreon.storage import Poller, Samples, StoredMetric
from tocsin.errors import TransientError
from tocsin.model import LARGEST, Aggregate, Bools, Floats, Ints, Window

STEPS = (900, 7_200, 172_800, 1_209_600)
"""How far before a window is read for what stands at its beginning: metrics of one step are asked together."""


@dataclass(frozen=True)
class Asked:
    """Metrics that are read together: where each goes (`rows`, -1 for one that is only watched) and how it is treated."""

    metrics: Sequence[StoredMetric]
    rows: Ints
    aggregates: Sequence[Aggregate]
    stands: Ints
    scouts: Mapping[int, Ints] = field(default_factory=dict)

    def steps(self) -> Iterator[tuple[int, Ints]]:
        """Metrics by how far back they have to be read, as (seconds, places); most have checks every few minutes."""
        needed = np.maximum(self.stands, [2 * metric.interval for metric in self.metrics])
        which = np.minimum(np.searchsorted(STEPS, needed), len(STEPS) - 1)
        for step in np.unique(which):
            yield STEPS[step], np.flatnonzero(which == step)


class Reading:
    """What one stretch of time said. `counts` (n_buckets,) are results that arrived, whatever they say."""

    def __init__(self, asked: Asked, window: Window) -> None:
        self.asked, self.window = asked, window
        self.values: Floats = np.full((len(asked.metrics), len(window)), np.nan)
        self.lost: Bools = np.zeros(len(asked.metrics), bool)
        self.counts: Ints = np.zeros(len(window), np.int64)
        self._ids = np.array([metric.id for metric in asked.metrics], np.int64)
        self._scouted: list[tuple[Ints, Ints]] = []

    def read(self, door: Door) -> None:
        """Ask for everything. What fails is lost; when all of it does, raises the `TransientError`."""
        error: TransientError | None = None
        for lookback, places in self.asked.steps():
            metrics = [self.asked.metrics[place] for place in places]
            for portion in door.portions(metrics, self.window.end - self.window.start + lookback):
                try:
                    found = door.samples(metrics[portion], self.window.start - lookback, self.window.end)
                except TransientError as trouble:
                    error = trouble
                    self.lost[places[portion]] = True
                else:
                    self._take(found, places[portion])
        if error is not None and self.lost.all():
            raise error

    def frame(self, n_rows: int) -> tuple[Floats, Bools]:
        """(n_rows, n_buckets) values and whether they are known. A row of several metrics of which one was lost is not."""
        values, known = np.full((n_rows, len(self.window)), np.nan), np.ones((n_rows, len(self.window)), bool)
        aggregates = np.array([aggregate.value for aggregate in self.asked.aggregates])
        for aggregate in set(self.asked.aggregates):
            ours = np.flatnonzero((aggregates == aggregate.value) & (self.asked.rows >= 0))
            rows, places = np.unique(self.asked.rows[ours], return_inverse=True)
            values[rows] = combine(self.values[ours], places, len(rows), aggregate)
        known[self.asked.rows[self.lost & (self.asked.rows >= 0)]] = False
        values[~known] = np.nan
        return values, known

    def blind(self, feed: Feed, pollers: Mapping[int, Poller], now: float) -> Iterator[tuple[Ints, Bools, str]]:
        """Pollers that did not tell: their rows, the buckets (n_buckets,), and the reason in a sentence."""
        owner = np.array([metric.poller for metric in self.asked.metrics], np.int64)
        scouts = np.concatenate([np.zeros(0, np.int64), *(ids for ids, _ in self._scouted)])
        times = np.concatenate([np.zeros(0, np.int64), *(when for _, when in self._scouted)])
        for poller in np.unique(owner[self.asked.rows >= 0]).tolist():
            rows = np.unique(self.asked.rows[(owner == poller) & (self.asked.rows >= 0)])
            blind, reason = lost(pollers.get(poller), self.window, now)
            if poller in self.asked.scouts and not self.lost[self.asked.scouts[poller]].any():
                mine = np.isin(scouts, self._ids[self.asked.scouts[poller]])
                quiet = feed.quiet(poller, times[mine], self.window)
                name = pollers[poller].name if poller in pollers else str(poller)
                reason = (
                    reason or f"nothing of poller {name} arrives in the database: does the broker run, and is its queue empty?"
                )
                blind = blind | quiet
            if blind.any():
                yield rows, blind, reason

    def _take(self, found: Samples, places: Ints) -> None:
        # Places are in the order of ids, as the metrics are.
        ids = self._ids[places]
        at = np.minimum(np.searchsorted(ids, found.ids), len(ids) - 1)
        ours = ids[at] == found.ids
        at, times, values = at[ours], found.times[ours], found.values[ours]
        for aggregate in {self.asked.aggregates[place] for place in places}:
            chosen = np.array([self.asked.aggregates[place] is aggregate for place in places])
            mine = chosen[at]
            local = (np.cumsum(chosen) - 1)[at[mine]]
            self.values[places[chosen]] = settle(
                local,
                times[mine],
                values[mine],
                rows=int(chosen.sum()),
                window=self.window,
                aggregate=aggregate,
                stands=self.asked.stands[places[chosen]],
            )
        inside = (times >= self.window.start) & (times < self.window.end)
        columns = (times[inside] - self.window.start) // self.window.span
        self.counts += np.bincount(columns, minlength=len(self.window)).astype(np.int64)
        watched = np.concatenate([np.zeros(0, np.int64), *self.asked.scouts.values()])
        seen = np.isin(ids[at], self._ids[watched]) & (np.abs(values) <= LARGEST)
        self._scouted.append((ids[at[seen]], times[seen]))


def stands_for(metric: StoredMetric, aggregate: Aggregate, *, counter: bool, valid_for: int | str) -> int:
    """For how many seconds a result stands when no other comes; 0 for a counter, whose rate would be 0 and then too high."""
    if counter or aggregate not in STANDS:
        return 0
    return int(valid_for) if valid_for != "auto" else metric.interval * 3 // 2
