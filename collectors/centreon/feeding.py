"""Whether a poller still feeds the database: when none of its checks arrives any more, silence says nothing about hosts.

Two ways to notice: the engine is known to be stopped, or lost (`instances`); or the broker's way into the database is, and then
of the services that are checked most often not one has a new result. The second works for the past, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tocsin.centreon.storage import Poller, StoredMetric
from tocsin.model import Bools, Ints, Window, utc

SCOUTS, FEWEST = 50, 10
"""Services watched per poller, and below how many nothing is concluded: a few may all be down at once."""
DEAD = 300
"""Seconds without a sign of life after which an engine counts as lost; the broker hears of it every few seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """Which metrics are watched: their positions per poller, and the seconds within which some of them must have a result."""

    scouts: Mapping[int, Ints] = field(default_factory=dict)
    stretch: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Sequence[StoredMetric]) -> Feed:
        """Of each poller one metric of each of the services that are checked most often."""
        services: dict[int, dict[tuple[int, int], int]] = {}
        for place, metric in enumerate(metrics):
            services.setdefault(metric.poller, {}).setdefault((metric.host_id, metric.service_id), place)
        scouts: dict[int, Ints] = {}
        stretch: dict[int, int] = {}
        for poller, places in services.items():
            chosen = sorted(places.values(), key=lambda place: (metrics[place].interval, place))[:SCOUTS]
            if len(chosen) >= FEWEST:
                scouts[poller] = np.array(sorted(chosen), np.int64)
                stretch[poller] = 2 * max(metrics[place].interval for place in chosen)
        return cls(scouts=scouts, stretch=stretch)

    def quiet(self, poller: int, times: Ints, window: Window) -> Bools:
        """Buckets at whose end none of the scouts had a result for too long, (n_buckets,); `times` are of all their results."""
        if poller not in self.stretch:
            return np.zeros(len(window), bool)
        ends, times = window.starts + window.span, np.sort(times)
        begins = ends - max(self.stretch[poller], window.span)
        silent: Bools = np.searchsorted(times, ends) == np.searchsorted(times, begins)
        return silent


def lost(poller: Poller | None, window: Window, now: float) -> tuple[Bools, str]:
    """Buckets about which an engine that does not run could tell nothing, and why, in a sentence; none for one that runs."""
    nothing = np.zeros(len(window), bool)
    if poller is None or (poller.running and now - poller.last_alive <= DEAD):
        return nothing, ""
    blind = window.starts + window.span > poller.last_alive
    state = "has lost contact" if poller.running else "is stopped"
    when = f"since {utc(poller.last_alive):%Y-%m-%d %H:%M}Z" if poller.last_alive else "and was never heard of"
    return (blind, f"the engine of poller {poller.name} {state} {when}") if blind.any() else (nothing, "")
