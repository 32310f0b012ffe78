"""Log entries of a cluster: exact counts per component and level by aggregation, and as much text as may travel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from collectors.elastic.answers import component_of, name_of, number
from collectors.elastic.lateness import Lateness
from collectors.elastic.paging import SMALLEST
from collectors.elastic.probing import probe_logs
from collectors.elastic.queries import Clause, Group, entries, levels, path, reach
from collectors.elastic.settings import ElasticSettings
from collectors.elastic.source import connected, span_of
from tocsin.elastic import TooMuch
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Bools, Ints, LogBatch, LogLine, Probe, Window
from tocsin.ports import Surroundings

TEXT_PAGE = 1000
"""Lines of text in one answer."""
KEEP = "1m"
"""How long a point in time outlives the last question to it."""
COUNTED = Group(by=None, asks=())
"""What is read here, for the memory of how late things come."""


class ElasticLogs:
    """A `RemoteLogSource`. Threads may share it.

    Counts are exact or not known. Text is read in order when all of it may travel; else it is drawn at random, so that what
    there is of it stays a fair sample wherever reading stops.
    """

    def __init__(self, settings: ElasticSettings, surroundings: Surroundings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._span, self._clock = settings, surroundings.span, clock
        self._searcher = connected(settings, surroundings)
        self.manners = self._searcher.manners
        self._lateness = Lateness(settings, self._searcher, surroundings.span)

    def read(self, window: Window) -> LogBatch:
        """As `LogSource` promises. Raises when nothing could be counted; without text when that could not be read."""
        counts, known = self._counted(window)
        total = int(sum(int(numbers.sum()) for numbers in counts.values()))
        lines: list[LogLine] = []
        if total:
            try:
                lines = self._texts(window, total)
            except (TransientError, PermanentError) as error:
                self.manners.partial(f"the lines were counted, but their text was not read: {error}")
        if known.all():
            documents = sum(counts.values(), np.zeros(len(window), np.int64))
            self._lateness.read(COUNTED, window.starts, documents, self._clock())
        return LogBatch(window=window, counts=counts, lines=lines, known=known)

    def reach(self) -> tuple[int, int] | None:
        """As `LogSource` promises; what claims to be of the future is not believed."""
        self._lateness.ask(self._clock())
        return span_of(self._searcher, self._settings, reach(self._settings, self._clock()))

    def check(self) -> list[str]:
        """What can be seen without connecting."""
        return self._settings.problems()

    def lag(self) -> float | None:
        """As `RemoteCollector` promises."""
        return self._lateness.p99()

    def probe(self, now: float) -> Probe:
        """As `RemoteCollector` promises; samples are lines as they are."""
        return probe_logs(self, self._settings, self._searcher, self._span, now)

    def close(self) -> None:
        """As `RemoteCollector` promises."""
        self._searcher.elastic.close()

    def _counted(self, window: Window) -> tuple[dict[tuple[str, str], Ints], Bools]:
        counts: dict[tuple[str, str], Ints] = {}
        known = np.ones(len(window), bool)
        column = 0
        where = path(self._settings, "_search")
        try:
            for page in self._searcher.pages(where, lambda size, after: levels(self._settings, window, size, after)):
                self._add(counts, page.buckets, window)
                moment = None if page.after is None else number(page.after.get("t"))
                until = len(window) if page.after is None else column
                if moment is not None:
                    until = min(max(column, (int(moment) // 1000 - window.start) // window.span), len(window))
                if page.trust.kind != "whole":
                    known[column : until + 1] = False
                column = until
        except (TransientError, PermanentError) as error:
            if not column:
                raise
            known[column:] = False
            self.manners.partial(str(error))
        return counts, known

    def _add(self, counts: dict[tuple[str, str], Ints], buckets: list[Any], window: Window) -> None:
        for bucket in buckets:
            key = bucket.get("key") if isinstance(bucket, dict) else None
            if not isinstance(key, dict):
                continue
            component, moment = component_of(key, len(self._settings.component)), number(key.get("t"))
            found = number(bucket.get("doc_count"))
            if component is None or moment is None or found is None:
                continue
            column = (int(moment) // 1000 - window.start) // window.span
            if 0 <= column < len(window):
                cell = (component, (name_of(key.get("level")) or "").lower())
                counts.setdefault(cell, np.zeros(len(window), np.int64))[column] = int(found)

    def _texts(self, window: Window, total: int) -> list[LogLine]:
        most = self._settings.limits.max_lines
        fair = total > most
        lines: list[LogLine] = []
        after: list[Any] | None = None
        size = min(TEXT_PAGE, most)
        with self._point_in_time() as held:
            while len(lines) < most:
                size = min(size, most - len(lines))
                try:
                    hits = self._hits(entries(self._settings, window, held, size, after, fair=fair))
                except TooMuch:
                    if size <= SMALLEST:
                        raise
                    size = max(SMALLEST, size // 2)
                    continue
                except (TransientError, PermanentError):
                    if not fair or not lines:
                        raise
                    break
                lines += [line for hit in hits if (line := self._line(hit)) is not None]
                following = hits[-1].get("sort") if hits and isinstance(hits[-1], dict) else None
                if len(hits) < size or not isinstance(following, list) or following == after:
                    break
                after = following
        return sorted(lines, key=lambda line: line.at)

    def _hits(self, body: Clause) -> list[Any]:
        answer, worth = self._searcher.search("/_search", body, frozen=True)
        if worth.kind == "part":
            raise TransientError(worth.reason)
        found = answer.get("hits")
        hits = found.get("hits") if isinstance(found, dict) else None
        return hits if isinstance(hits, list) else []

    def _line(self, hit: Any) -> LogLine | None:
        fields = hit.get("fields") if isinstance(hit, dict) else None
        if not isinstance(fields, dict):
            return None

        def first(name: str) -> Any:
            several = fields.get(name)
            return several[0] if isinstance(several, list) and several else None

        component = component_of(
            {f"c{place}": first(name) for place, name in enumerate(self._settings.component)}, len(self._settings.component)
        )
        text, moment = first(self._settings.message), first(self._settings.timestamp)
        try:
            at = float(moment) / 1000
        except (TypeError, ValueError):
            return None
        if component is None or not isinstance(text, str):
            return None
        return LogLine(at=at, component=component, text=text, level=(name_of(first(self._settings.level)) or "").lower())

    @contextmanager
    def _point_in_time(self) -> Iterator[str]:
        """A view of the data that stays as it is. The two products spell it differently."""
        spelled = self._searcher.elastic.flavour == "opensearch"
        action, name = ("_search/point_in_time", "pit_id") if spelled else ("_pit", "id")
        params = {"keep_alive": KEEP, "ignore_unavailable": "true"} if not spelled else {"keep_alive": KEEP}
        held = self._searcher.ask("POST", path(self._settings, action), params=params).body.get(name)
        if not isinstance(held, str):
            raise TransientError(f"{self._searcher.elastic.place}: it gave no point in time to read text from")
        try:
            yield held
        finally:
            where, body = ("/_search/point_in_time", {"pit_id": [held]}) if spelled else ("/_pit", {"id": held})
            with suppress(TransientError, PermanentError):  # it ends by itself after a minute
                self._searcher.ask("DELETE", where, body=body, accept=(404,))
