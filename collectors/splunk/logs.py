"""Log entries of Splunk: counted there per component and level, and of each bucket the beginning of some."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from collectors.manners import Manners
from collectors.splunk import spl
from collectors.splunk.collector import Splunk
from collectors.splunk.plan import halves, slices
from collectors.splunk.probing import probe
from collectors.splunk.reading import Rows, component_of, numbers
from collectors.splunk.searches import Query, times
from collectors.splunk.settings import SplunkSettings
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, Bools, Ints, LogBatch, LogLine, Metric, Probe, Window
from tocsin.ports import Surroundings
from tocsin.samples import SAMPLES

ENTRIES = "log.lines"
"""What the entries of a component are called where they are counted without looking at them."""
PAGE, MOST_LINES = 1000, 10_000
"""Entries with text of one page, and of one search."""
MOST_TEXT = 20_000
"""Entries with text of one read, however long its window."""
MOST_COUNTED = 1e15
"""More entries than that nobody has."""
LETTERS = 8192
"""Letters of one entry that travel."""


class SplunkLogs:
    """Reads the log entries of a Splunk. Not safe for two threads at once, but `close` may come at any time.

    A bucket whose counts fail, or are cut, is not known. Text that cannot be had is left out: counts go on without.
    """

    def __init__(
        self,
        settings: SplunkSettings,
        surroundings: Surroundings,
        *,
        manners: Manners | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        counted = replace(surroundings, metrics={ENTRIES: Metric(name=ENTRIES, aggregate=Aggregate.COUNT)})
        self._settings, self._span = settings, surroundings.span
        self._events = Splunk(settings.counting_entries(ENTRIES), counted, manners=manners, clock=clock)
        self.manners, self.session = self._events.manners, self._events.session
        self._per_bucket = 100.0

    def read(self, window: Window) -> LogBatch:
        """As `LogSource` promises. Raises the first error when nothing at all was answered."""
        counts: dict[tuple[str, str], Ints] = {}
        known, lines = np.ones(len(window), bool), list[LogLine]()
        answered, trouble = False, None
        for part in slices(window, self._per_bucket, self._settings.limits.max_rows):
            try:
                if isinstance(trouble, TransientError):
                    raise trouble
                self._count(window, part, counts, known)
                answered = True
            except (TransientError, PermanentError) as error:
                known[part.columns_in(window)] = False
                trouble = trouble or error
        if trouble is not None and not answered:
            raise trouble
        if counts and trouble is None:
            lines = self._text(window)
        return LogBatch(window=window, counts=counts, lines=lines, known=known)

    def reach(self) -> tuple[int, int] | None:
        """First and last time there are entries for, at most a year back."""
        return self._events.reach()

    def check(self) -> list[str]:
        """What a person should put right, as `Collector.check`."""
        return self._events.check()

    def lag(self) -> float | None:
        """As `RemoteCollector` promises."""
        return self._events.lag()

    def probe(self, now: float) -> Probe:
        """As `RemoteCollector` promises; the samples are entries."""
        return probe(self._events, self._span, now, self._entries)

    def _entries(self, window: Window) -> tuple[str, ...]:
        """The beginning of a few entries of the window, and with it what a tick costs is known."""
        lines = self.read(window).lines
        few = lines[:: max(1, len(lines) // SAMPLES)][:SAMPLES]
        return tuple(f"{line.component} {line.level or '-'}: {line.text[:200]}" for line in few)

    def close(self) -> None:
        """Cancel what runs at Splunk and give back its connections."""
        self._events.close()

    def _count(self, window: Window, part: Window, counts: dict[tuple[str, str], Ints], known: Bools) -> None:
        """Counts of a part of the window; smaller parts where the answer has too many rows."""
        rows = Rows(self._events.scope.component, ("m0",), spl.LEVEL, wants=self._events.wants)
        text = spl.log_counts(self._events.scope, self._settings.level, part.span)
        query = Query(text=text, **times(part.start, part.end), most=self._settings.limits.max_rows, what="counts of log entries")
        verdict = self._events.searches.rows(query, rows.take, rows.fresh)
        if verdict.kind == "too many" and (smaller := halves(part)) is not None:
            for half in smaller:
                self._count(window, half, counts, known)
            return
        if verdict.kind != "whole":
            known[part.columns_in(window)] = False
            self.manners.partial(f"{self.session.place}: not all of the answer came: {verdict.reason}")
            return
        self._per_bucket = max(0.9 * self._per_bucket, rows.rows / len(part))
        for page in rows.pages:
            columns = (page.times - window.start) // window.span
            for name, level, column, count in zip(page.components, page.metrics, columns, page.values["m0"], strict=True):
                if 0 <= column < len(window) and 0 <= count < MOST_COUNTED:
                    key = name, "" if level == spl.NO_LEVEL else level
                    if key not in counts:
                        counts[key] = np.zeros(len(window), np.int64)
                    counts[key][column] += int(count)
        self._events.saw_late(part.span, rows)

    def _text(self, window: Window) -> list[LogLine]:
        """Some entries of every bucket, with their text; none where they cannot be had."""
        found: list[LogLine] = []
        each = max(1, min(self._settings.lines, MOST_TEXT // len(window)))
        for part in slices(window, float(each), MOST_LINES):
            pages: list[LogLine] = []

            def take(rows: Sequence[Mapping[str, Any]], pages: list[LogLine] = pages) -> None:
                pages.extend(line for row in rows if (line := self._line(row)) is not None)

            text = spl.log_lines(self._events.scope, self._settings.level, part.span, each=each, most=MOST_LINES, letters=LETTERS)
            query = Query(text=text, **times(part.start, part.end), most=MOST_LINES, what="text of log entries", page=PAGE)
            try:
                verdict = self._events.searches.rows(query, take, pages.clear)
            except (TransientError, PermanentError) as error:
                self.manners.partial(str(error))
                break
            if verdict.kind == "partial":
                self.manners.partial(f"{self.session.place}: not all of the text came: {verdict.reason}")
            found += pages
        return found

    def _line(self, row: Mapping[str, Any]) -> LogLine | None:
        """One entry; None for what has no time, component or text."""
        component, text, level = component_of(row, self._events.scope.component), row.get(spl.TEXT), row.get(spl.LEVEL)
        at = float(numbers([row.get(spl.EPOCH)])[0][0])
        if not np.isfinite(at) or not component or not isinstance(text, str) or not text or not self._events.wants(component):
            return None
        return LogLine(
            at=at,
            component=component,
            text=text[:LETTERS],
            level=level[:50] if isinstance(level, str) and level != spl.NO_LEVEL else "",
        )
