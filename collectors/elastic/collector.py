"""The collector: an Elasticsearch or OpenSearch cluster → frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import structlog

from collectors.elastic.answers import Rows, number, rows
from collectors.elastic.discovery import Catalogue
from collectors.elastic.lateness import Lateness
from collectors.elastic.probing import probe
from collectors.elastic.queries import Group, groups, page, path
from collectors.elastic.settings import ElasticSettings
from collectors.elastic.source import connected
from collectors.grid import Cells
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Bools, Frame, Ints, Metric, Probe, SeriesIndex, SeriesKey, Window, part, whole
from tocsin.ports import Surroundings

log = structlog.get_logger()


class ElasticCollector:
    """Asks one cluster, a few requests for all components. Threads may share it.

    Time leads in every answer: when paging breaks off, what came before is kept and the rest of the window is "not known".
    """

    def __init__(self, settings: ElasticSettings, surroundings: Surroundings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._span, self._clock = settings, surroundings.span, clock
        self._metrics: Mapping[str, Metric] = surroundings.metrics
        self._searcher = connected(settings, surroundings)
        self.manners = self._searcher.manners
        self._catalogue = Catalogue(settings, self._metrics, self._searcher)
        self._lateness = Lateness(settings, self._searcher, surroundings.span)
        self.odd = 0

    def discover(self) -> tuple[SeriesKey, ...]:
        """Every series of the look-back, sorted; at most `max_series`."""
        now = self._clock()
        found = self._catalogue.discover(now)
        self._lateness.ask(now)
        return found

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for these rows, in as many requests as there are pages.

        Raises when not even the first page came. Cells that a failed, partial or cut answer could have filled are "not known".
        """
        cells, holes = Cells(index, window), np.zeros((len(index), len(window)), bool)
        bases = [whole(key.metric, self._settings.fields) for key in index]
        answered, failures = 0, list[TransientError | PermanentError]()
        for group in groups(self._settings, self._metrics, bases) if len(window) else ():
            wanted = {ask.metric for ask in group.asks}
            members = np.flatnonzero(np.fromiter((base in wanted for base in bases), bool, len(index)))
            try:
                self._fill(cells, holes, group, members, window)
                answered += 1
            except _Broken as broken:
                cells.unknown(rows=members, columns=np.arange(broken.column, len(window)))
                failures.append(broken.error)
                answered += broken.column > 0
        if failures and not answered:
            raise failures[0]
        if failures:
            self.manners.partial(str(failures[0]))
        return self._with_zeros(cells.frame(), holes, bases)

    def reach(self) -> tuple[int, int] | None:
        """First and last time of documents that the settings choose; what claims to be of the future is not believed."""
        return self._catalogue.span(self._clock())

    def check(self) -> list[str]:
        """What can be seen without connecting."""
        return self._settings.problems()

    def lag(self) -> float | None:
        """As `RemoteCollector` promises."""
        return self._lateness.p99()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cut or left out, in sentences."""
        odd = (f"{self.odd} rows or values were no names, times or numbers and were left out",) if self.odd else ()
        return (*self._catalogue.notes.values(), *odd)

    def probe(self, now: float) -> Probe:
        """As `RemoteCollector` promises."""
        return probe(self, self._settings, self._searcher, self._span, now)

    def close(self) -> None:
        """As `RemoteCollector` promises."""
        self._searcher.elastic.close()

    def _fill(self, cells: Cells, holes: Bools, group: Group, members: Ints, window: Window) -> None:
        """All rows of a group. Raises `_Broken` with the first column that is not complete."""
        column = 0
        documents = np.zeros(len(window), np.int64)
        doubtful = False
        try:
            for one in self._searcher.pages(
                path(self._settings, "_search"), lambda size, after: page(self._settings, group, window, size, after)
            ):
                found = rows(one.buckets, len(self._settings.component), group.asks)
                self.odd += found.odd
                self._place(cells, group, found)
                until = len(window) if one.after is None else _column_of(one.after, window, column)
                touched = np.arange(column, min(until + 1, len(window)))
                if one.trust.kind == "part":
                    cells.unknown(rows=members, columns=touched)
                elif one.trust.kind == "holes":
                    holes[np.ix_(members, touched)] = True
                doubtful |= one.trust.kind != "whole"
                inside = (found.times >= window.start) & (found.times < window.end)
                np.add.at(documents, (found.times[inside] - window.start) // window.span, found.documents[inside])
                column = until
        except (TransientError, PermanentError) as error:
            raise _Broken(column, error) from error
        if not doubtful:
            self._lateness.read(group, window.starts, documents, self._clock())

    def _place(self, cells: Cells, group: Group, found: Rows) -> None:
        for ask, values in zip(group.asks, found.values, strict=True):
            names = [part(ask.metric, name) for name in found.parts] if group.by is not None else ask.metric
            cells.add(found.components, names, found.times, values)
            if ask.counts:
                keys = [SeriesKey(one, part(ask.metric, name)) for one, name in zip(found.components, found.parts, strict=True)]
                self._catalogue.seen(keys, found.times)

    def _with_zeros(self, frame: Frame, holes: Bools, bases: Sequence[str]) -> Frame:
        """Nothing to count is zero, from when on the series is known to be there; what may be elsewhere is "not known"."""
        values, known = frame.values, frame.known & ~(holes & np.isnan(frame.values))
        counting = {ask.metric for group in groups(self._settings, self._metrics, bases) for ask in group.asks if ask.counts}
        for row, base in enumerate(bases):
            since = self._catalogue.since(frame.index[row]) if base in counting else None
            if since is not None:
                late = frame.window.starts + frame.window.span > since
                values[row, late & known[row] & np.isnan(values[row])] = 0.0
        return Frame(index=frame.index, window=frame.window, values=values, known=known)


class _Broken(Exception):
    """Paging broke off; from this column on the group is not known."""

    def __init__(self, column: int, error: TransientError | PermanentError) -> None:
        super().__init__(str(error))
        self.column, self.error = column, error


def _column_of(after: Mapping[str, object], window: Window, before: int) -> int:
    """The column in which the next page begins: the one of the last row, which may go on there."""
    moment = number(after.get("t"))
    return before if moment is None else min(max(before, (int(moment) // 1000 - window.start) // window.span), len(window) - 1)
