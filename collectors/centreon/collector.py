"""The collector: checks of Centreon → frames, through either door."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collectors.centreon.asked import ApiDoor
from collectors.centreon.doors import DatabaseDoor, Door
from collectors.centreon.feeding import Feed
from collectors.centreon.naming import Names
from collectors.centreon.reading import Asked, Reading, stands_for
from collectors.centreon.settings import CentreonSettings
from collectors.manners import Lag, Manners
from tocsin.centreon.storage import StoredMetric
from tocsin.model import Aggregate, Bools, Frame, Ints, Metric, Probe, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.samples import samples
from tocsin.settings import spell_duration

MOST_CELLS = 4_000_000
"""Cells worked on at once: 32 MB of values, and a few times that while they are worked out."""
LONGEST_PART = 7 * 86_400
CLOCKS_AGREE = 30
RECENT = 3_600
"""Seconds: a window that ended so lately is about now, and a poller that is stopped now matters to it."""


@dataclass(frozen=True)
class Known:
    """What was discovered: metrics with their keys, lowest id first. Immutable, so that a tick works on one state."""

    metrics: Sequence[StoredMetric]
    keys: Sequence[SeriesKey]

    @cached_property
    def distinct(self) -> tuple[SeriesKey, ...]:
        """Each key once."""
        return tuple(dict.fromkeys(self.keys))


class Centreon:
    """Collects results of checks. One question at a time, as the intake asks; nothing connects before the first."""

    def __init__(
        self,
        settings: CentreonSettings,
        surroundings: Surroundings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._metrics = settings, surroundings.metrics
        self._span = surroundings.span
        self._now, self._clock = now, clock
        self.manners = Manners(settings.limits)
        self._door: Door = DatabaseDoor(settings, self.manners) if settings.database else ApiDoor(settings, self.manners, now)
        self._names, self._lag, self._feed = Names(settings), Lag(), Feed()
        self._known: Known | None = None
        self._known_at = -np.inf
        self._plan: tuple[SeriesIndex, Known, Asked] | None = None
        self._begins: int | None = None
        self._counted: tuple[str, Mapping[int, int]] = ("", {})

    def discover(self) -> Sequence[SeriesKey]:
        """Every metric that was picked; asked anew every `discover_every`."""
        if self._known is None or self._clock() - self._known_at >= self._settings.discover_every:
            metrics = self._door.metrics(lambda one: self._key(one) is not None)
            keys = [key for key in map(self._key, metrics) if key is not None]
            self._known, self._known_at = Known(metrics, keys), self._clock()
            self._feed = Feed.of(metrics)
        return self._known.distinct

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for these rows; what could not be read, or its poller did not tell, is "not known"."""
        values, known = np.full((len(index), len(window)), np.nan), np.ones((len(index), len(window)), bool)
        frame = Frame(index=index, window=window, values=values, known=known)
        if not values.size:
            return frame
        asked = self._asked(index, self._discovered())
        if not (asked.rows >= 0).any():
            return frame
        now = self._now()
        recent = window.end > now - RECENT
        pollers = self._door.pollers() if recent else {}
        for part in _parts(window, len(asked.metrics)):
            columns = part.columns_in(window)
            reading = Reading(asked, part)
            reading.read(self._door)
            values[:, columns], known[:, columns] = reading.frame(len(index))
            for rows, blind, reason in reading.blind(self._feed, pollers, now):
                self._darken(Frame(index=index, window=part, values=values[:, columns], known=known[:, columns]), rows, blind)
                if recent:
                    self.manners.partial(reason)
            if recent:
                self._late(index, part, reading.counts, now)
        return frame

    def reach(self) -> tuple[int, int] | None:
        """First and last check with a value."""
        return self._door.reach(self._discovered().metrics)

    def check(self) -> Sequence[str]:
        """Metrics whose settings cannot be meant, without asking Centreon."""
        wide = [
            name
            for name, field in self._settings.fields.items()
            if set("*?") & set(field) and self._settings.component == "host" and self._metric(name).aggregate is Aggregate.LAST
        ]
        return [
            f"metrics.{name}: several checks of a host may match its field, and their last values cannot be told apart: "
            "write a field without * and ?, or another aggregate"
            for name in wide
        ]

    def lag(self) -> float | None:
        return self._lag.p99()

    def close(self) -> None:
        self._door.close()

    def thresholds(self) -> Mapping[SeriesKey, tuple[str, str]]:
        """The static template as it is today: warning and critical range of each series, in the notation of plugins.

        Series whose checks disagree about them, or have none, are left out.
        """
        known, found = self._discovered(), dict[SeriesKey, tuple[str, str]]()
        for metric, key in zip(known.metrics, known.keys, strict=True):
            own = (metric.warning, metric.critical)
            found[key] = own if found.setdefault(key, own) == own else ("", "")
        return {key: both for key, both in found.items() if any(both)}

    def probe(self, now: float) -> Probe:
        """Connect and look: version, rights, lag, some values, and what a tick costs."""
        version = self._door.version()
        rights, warnings = self._door.rights()
        self._known_at = -np.inf
        keys, known = self.discover(), self._discovered()
        reach = self.reach()
        questions, rows, read = self._door.usage()
        window = Window.ending(now, self._span, 3)
        frame = self.collect(SeriesIndex(keys), window)
        after, shown = self._door.usage(), samples(frame)
        silent = () if shown or not keys else ("no check had a value in the last three buckets",)
        cost = f"{after[0] - questions} requests, {after[1] - rows} rows, {after[2] - read} bytes for {len(keys)} series"
        return Probe(
            version=version,
            rights=tuple(rights),
            lag=None if reach is None else max(0.0, now - reach[1]),
            samples=shown,
            cost=cost,
            warnings=(*self._door.warnings, *warnings, *silent, *clocks(self._door.clock(), now), *self._hints(known)),
        )

    def _hints(self, known: Known) -> Iterator[str]:
        """What a person could set better."""
        if not known.metrics:
            yield "no metric fits: are hosts, services, perfdata, groups and metrics written as in Centreon? Case counts"
            return
        slow = sum(metric.interval > self._span for metric in known.metrics)
        if slow * 2 > len(known.metrics):
            usual = int(np.median([metric.interval for metric in known.metrics]))
            yield (
                f"{slow} of {len(known.metrics)} metrics are checked less often than every {self._span} s: each value stands for "
                f"several buckets; write every: {usual // 60}m if this is the only source"
            )
        counters = {
            key.metric
            for metric, key in zip(known.metrics, known.keys, strict=True)
            if metric.counter and not self._metric(key.metric).counter
        }
        if counters:
            yield f"Centreon says these are counters: {', '.join(sorted(counters)[:5])}; name them in metrics with counter: true"
        plain = [key for key in known.keys if not set("*?") & set(self._settings.fields.get(key.metric, ""))]
        shared = len(plain) - len(set(plain))
        if shared:
            yield f"{shared} metrics share a name with another one of their component and are combined by the metric's aggregate"

    def _key(self, metric: StoredMetric) -> SeriesKey | None:
        return self._names.key(metric.host, metric.service, metric.name)

    def _metric(self, name: str) -> Metric:
        return self._metrics.get(name) or Metric(name=name)

    def _discovered(self) -> Known:
        if self._known is None:
            self.discover()
        assert self._known is not None
        return self._known

    def _asked(self, index: SeriesIndex, known: Known) -> Asked:
        """What has to be read for these rows; worked out again only when one of the two changes."""
        if self._plan is None or self._plan[0] is not index or self._plan[1] is not known:
            rows = np.fromiter((index.rows.get(key, -1) for key in known.keys), np.int64, len(known.keys))
            wanted = rows >= 0
            watched = [places for poller, places in self._feed.scouts.items()]
            chosen = np.union1d(np.flatnonzero(wanted), np.concatenate([np.zeros(0, np.int64), *watched]))
            metrics = [known.metrics[place] for place in chosen]
            own = [self._metric(known.keys[place].metric) for place in chosen]
            stands = [
                stands_for(metric, kind.aggregate, counter=kind.counter, valid_for=self._settings.valid_for)
                for metric, kind in zip(metrics, own, strict=True)
            ]
            asked = Asked(
                metrics=metrics,
                rows=rows[chosen],
                aggregates=[kind.aggregate for kind in own],
                stands=np.array(stands, np.int64),
                scouts={poller: np.searchsorted(chosen, places) for poller, places in self._feed.scouts.items()},
            )
            self._plan = index, known, asked
        return self._plan[2]

    def _darken(self, frame: Frame, rows: Ints, blind: Bools) -> None:
        """Where a blind poller's rows have no value they are not known; but before the first sample ever there was nothing."""
        reach = self.reach() if self._begins is None else None
        self._begins = self._begins if reach is None else reach[0]
        dark = blind & (frame.window.starts + frame.window.span > (self._begins or 0))
        frame.known[rows] &= ~(dark[None, :] & np.isnan(frame.values[rows]))

    def _late(self, index: SeriesIndex, window: Window, counts: Ints, now: float) -> None:
        """How late results come: buckets that are read again have more of them than before."""
        digest, before = self._counted
        starts = window.starts.tolist()
        again = [place for place, start in enumerate(starts) if digest == index.digest and start in before]
        if again:
            earlier = np.array([before[starts[place]] for place in again], np.int64)
            self._lag.grew(window.starts[again] + window.span, earlier, np.maximum(counts[again], earlier), now)
        self._counted = index.digest, dict(zip(starts, counts.tolist(), strict=True))


def clocks(there: float | None, here: float) -> Sequence[str]:
    """What to say when two clocks differ; empty while they agree or one of them is not known."""
    if there is None or abs(there - here) <= CLOCKS_AGREE:
        return ()
    apart, side = spell_duration(abs(there - here)), "ahead of" if there > here else "behind"
    return (f"the clock there is {apart} {side} ours: set both by NTP, or every poller seems lost",)


def _parts(window: Window, series: int) -> Iterator[Window]:
    size = max(1, min(MOST_CELLS // max(series, 1), LONGEST_PART // window.span))
    for first in range(0, len(window), size):
        start = window.start + first * window.span
        yield Window(start, min(start + size * window.span, window.end), window.span)
