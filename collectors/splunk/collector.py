"""The collector: searches of Splunk → frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from collectors.grid import Cells
from collectors.manners import Lag, Manners
from collectors.splunk import spl
from collectors.splunk.answers import Verdict
from collectors.splunk.places import places_of
from collectors.splunk.plan import Group, groups, halves, slices
from collectors.splunk.probing import probe
from collectors.splunk.reading import LATEST, Chooser, Columns, Rows, numbers
from collectors.splunk.searches import Over, Query, Searches, lately, times
from collectors.splunk.session import Session
from collectors.splunk.settings import SplunkSettings
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Bools, Floats, Frame, Ints, Probe, SeriesIndex, SeriesKey, Window, part, whole
from tocsin.ports import Surroundings
from tocsin.settings import spell_duration

DAY = 86_400
YEAR = 365 * DAY
Shape: TypeAlias = tuple[Sequence[str], Sequence[str], str, str]
RECENT = 6 * 3600
"""Seconds: lateness is learnt from the present only. What was loaded into an index long after it happened tells nothing."""
REMEMBERED = 256
"""Buckets whose rows are remembered, to see them grow."""


class Splunk:
    """Collects from a Splunk. Not safe for two threads at once, but `close` may come at any time.

    One search reads all components; how many are needed grows with the rows only. A search that fails, is cut, or comes from
    fewer indexers than there are makes its buckets "not known"; `manners.state` has the reason.
    """

    def __init__(
        self,
        settings: SplunkSettings,
        surroundings: Surroundings,
        *,
        manners: Manners | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings, self._surroundings, self._clock = settings, surroundings, clock
        self.manners = manners or Manners(settings.limits)
        self.session = Session(
            settings, connections=settings.limits.concurrency, counted=lambda count: self.manners.got(size=count)
        )
        places = places_of(settings.place, settings.auth.account)
        self.searches = Searches(self.session, self.manners, places, page=settings.limits.page_rows)
        self.scope, self.groups = settings.scope(), groups(settings, surroundings.metrics)
        self.wants = Chooser(include=settings.include, exclude=settings.exclude).remembering()
        self._lag, self._seen = Lag(), dict[int, int]()
        self._per_bucket = 0.0
        self.cut = self.bad = 0

    def discover(self) -> tuple[SeriesKey, ...]:
        """Every series that had a value lately (`seen`), sorted; at most `limits.max_series`, and `notes` says when that cut."""
        found: set[SeriesKey] = set()
        for group in self.groups:
            found.update(self._inventory(group))
        keys, most = sorted(found), self.settings.limits.max_series
        self.cut = max(0, len(keys) - most)
        return tuple(keys[:most])

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for these rows. Raises the first error when nothing at all was answered."""
        cells, nothing = Cells(index, window), np.zeros(len(window), bool)
        if not len(index) or not len(window):
            return cells.frame()
        answered, trouble = False, None
        for group in self.groups:
            rows = self._rows_of(index, group)
            if not len(rows):
                continue
            for slice_ in slices(window, self._expected(index, group), self.settings.limits.max_rows):
                columns = np.arange(len(window))[slice_.columns_in(window)]
                if isinstance(trouble, TransientError):
                    cells.unknown(rows=rows, columns=columns)
                    continue
                try:
                    for piece, verdict, empty in self._part(cells, group, slice_):
                        mine = np.arange(len(window))[piece.columns_in(window)]
                        answered = True
                        nothing[mine] |= empty
                        if verdict.kind != "whole":
                            cells.unknown(rows=rows, columns=mine)
                            self.manners.partial(f"{self.session.place}: not all of the answer came: {verdict.reason}")
                except (TransientError, PermanentError) as error:
                    cells.unknown(rows=rows, columns=columns)
                    trouble = trouble or error
        if trouble is not None and not answered:
            raise trouble
        return self._without_phantoms(cells, index, nothing)

    def reach(self) -> tuple[int, int] | None:
        """First and last time of any value, at most a year back. Of a saved search only the last day is looked at."""
        if self.settings.kind == "saved":
            rows = self._ask(
                Query(saved=self.settings.saved or "", **lately(DAY), most=self._most, what="saved search"),
                self._shape(self.groups[0]),
                timed=True,
            )
            stamps = np.concatenate([page.times for page in rows.pages]) if rows.pages else np.zeros(0, np.int64)
            return (int(stamps.min()), int(stamps.max())) if len(stamps) else None
        span = self._surroundings.span
        coarse = DAY if self.scope.kind == "metrics" else span
        metrics = tuple(self.settings.fields.values())
        bounds = self._bounds(lately(YEAR), coarse, metrics)
        if bounds is None or coarse == span:
            return bounds
        first = self._bounds(times(bounds[0], bounds[0] + DAY), span, metrics)
        last = self._bounds(times(bounds[1], bounds[1] + DAY), span, metrics)
        return (first or bounds)[0], (last or bounds)[1]

    def check(self) -> list[str]:
        """What a person should put right: nothing to be seen, metrics that are not there, series that are cut."""
        problems = list(self.session.warnings)
        try:
            found = self.discover()
            return [*problems, *self.wrong_names(found), *self.notes]
        except (TransientError, PermanentError) as error:
            return [*problems, str(error)]

    def wrong_names(self, found: Sequence[SeriesKey]) -> list[str]:
        """What is written in the settings and nothing stands behind, a sentence each; `found` are the series there are."""
        settings = self.settings
        there = {whole(key.metric, settings.fields) for key in found}
        missing = {name: field for name, field in settings.fields.items() if name not in there}
        if found and not missing:
            return []
        where = f"{self.session.place}: index {', '.join(settings.index) or settings.saved}"
        if not found and not self._holds(()):
            lasted = spell_duration(settings.lately)
            return [f"{where}: nothing was seen in the last {lasted}: wrong name, or not visible to this role?"]
        if not found and (settings.kind == "metrics" and self._holds(tuple(settings.fields.values()))):
            fields = " and ".join(f"'{field}'" for field in settings.component)
            return [f"{where}: component: no value has a field {fields}"]
        doubt = "" if found else "; are component and filter right?"
        return [f"{where}: metrics.{name}: no component has a value of '{field}'{doubt}" for name, field in missing.items()]

    def _holds(self, metrics: Sequence[str]) -> bool:
        """Whether there is any value lately, or any of these metrics, whosoever it is."""
        if self.settings.kind == "saved":
            return False
        return self._bounds(lately(self.settings.lately), DAY, metrics) is not None

    def probe(self, now: float) -> Probe:
        """As `RemoteCollector` promises."""
        return probe(self, self._surroundings.span, now)

    def lag(self) -> float | None:
        """As `RemoteCollector` promises: from when events were indexed; of metrics, from how buckets grow between two looks."""
        return self._lag.p99()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cut or left out so far, in sentences."""
        told = []
        if self.cut:
            told.append(f"{self.session.place}: {self.cut} series are left out: raise limits.max_series, or choose with include")
        if self.bad:
            told.append(f"{self.session.place}: {self.bad} rows or values were no names, times or numbers and were left out")
        return tuple(told)

    def saw_late(self, span: int, rows: Rows) -> bool:
        """Learn how late data come from when they were indexed; False when an answer does not tell."""
        indexed = np.concatenate([page.indexed for page in rows.pages]) if rows.pages else np.zeros(0)
        if not np.isfinite(indexed).any():
            return False
        ends = np.concatenate([page.times for page in rows.pages]) + span
        recent = ends >= self._clock() - RECENT
        self._lag.saw((indexed - ends)[recent])
        return True

    def close(self) -> None:
        """Cancel what runs at Splunk and give back its connections."""
        self.searches.close()

    # --- asking -----------------------------------------------------------------------------------------------------------

    @property
    def _most(self) -> int:
        return self.settings.limits.max_rows

    def _shape(self, group: Group) -> Shape:
        """The fields that make a component, those with numbers, and those that name the metric and its part."""
        if group.named:
            return self.scope.component, tuple(group.metrics), "", group.by
        return self.scope.component, ("m0",), "metric_name", group.by

    def _scope(self, group: Group) -> spl.Scope:
        return replace(self.scope, by=group.by)

    def _ask(self, query: Query, shape: Shape, *, timed: bool) -> Rows:
        """All rows, or an error when they are not all there."""
        rows = Rows(*shape, wants=self.wants, timed=timed)
        verdict = self.searches.rows(query, rows.take, rows.fresh)
        if verdict.kind == "too many":
            raise PermanentError(f"{self.session.place}: {query.what}: {verdict.reason}: choose with filter, include or metrics")
        if verdict.kind != "whole":
            raise TransientError(f"{self.session.place}: {query.what}: not all of the answer came: {verdict.reason}")
        return rows

    def _query(self, group: Group, window: Window) -> Query:
        bounds = times(window.start, window.end)
        if self.settings.kind == "saved":
            return Query(saved=self.settings.saved or "", **bounds, most=self._most, what="saved search")
        scope = self._scope(group)
        text = spl.series(scope, group.functions, window.span) if group.named else spl.every_metric(scope, window.span)
        return Query(text=text, **bounds, most=self._most)

    def _part(self, cells: Cells, group: Group, window: Window) -> Iterator[tuple[Window, Verdict, bool]]:
        """Read a piece of the window, in smaller pieces when it has too many rows: each, what it is worth, and if it is empty."""
        rows = Rows(*self._shape(group), wants=self.wants)
        verdict = self.searches.rows(self._query(group, window), rows.take, rows.fresh)
        if verdict.kind == "too many":
            smaller = halves(window)
            if smaller is None:
                yield window, Verdict("partial", f"one bucket alone has {verdict.reason}: choose with filter or include"), False
                return
            for half in smaller:
                yield from self._part(cells, group, half)
            return
        self.bad += rows.bad
        if any(((page.times - window.start) % window.span).any() for page in rows.pages):
            verdict = Verdict("partial", f"its rows do not start at whole buckets of {window.span} s, or repeat other times")
        for page in rows.pages:
            self._fill(cells, group, page)
        if verdict.kind == "whole":
            self._learn(window, rows)
        yield window, verdict, not rows.rows and self._nothing_at_all(group, window)

    def _fill(self, cells: Cells, group: Group, page: Columns) -> None:
        for alias, metric in self._metrics_of(group, page):
            cells.add(page.components, metric, page.times, page.values[alias])

    def _metrics_of(self, group: Group, page: Columns) -> Iterator[tuple[str, str | list[str]]]:
        """Each field with numbers, and the metric it holds: one for all rows, or one for each."""
        if group.named and not group.by:
            yield from group.metrics.items()
            return
        for alias, name in group.metrics.items() if group.named else [("m0", "")]:
            pairs = zip(page.metrics, page.parts, strict=True)
            yield alias, [part(name or metric, which) for metric, which in pairs]

    def _nothing_at_all(self, group: Group, window: Window) -> bool:
        """Whether an answer without a row also comes of an index without an event: then nothing was counted, not even zero.

        An index that a role may no longer read answers like one that is empty.
        """
        if not group.counts:
            return False
        query = Query(text=spl.anything(self.scope), **times(window.start, window.end), most=10, what="look into the index")
        return self._single(query, ("m0",))[0] in (None, 0.0)

    def _inventory(self, group: Group) -> Iterator[SeriesKey]:
        over = lately(self.settings.lately)
        if self.settings.kind == "saved":
            over = lately(max(3600, 10 * self._surroundings.span))
            query = Query(saved=self.settings.saved or "", **over, most=self._most, what="saved search")
        elif group.named:
            counted = {
                alias: spl.presence(self.settings.fields[name], self.settings.kind) for alias, name in group.metrics.items()
            }
            query = Query(text=spl.inventory(self._scope(group), counted), **over, most=self._most, what="discovery")
        else:
            query = Query(text=spl.metric_names(self._scope(group)), **over, most=self._most, what="discovery")
        rows = self._ask(query, self._shape(group), timed=self.settings.kind == "saved")
        for page in rows.pages:
            for alias, metric in self._metrics_of(group, page):
                there = page.values[alias] > 0 if self.settings.kind != "saved" else np.isfinite(page.values[alias])
                for place in np.flatnonzero(there):
                    yield SeriesKey(page.components[place], metric if isinstance(metric, str) else metric[place])

    def _single(self, query: Query, names: Sequence[str]) -> tuple[float | None, ...]:
        """The numbers of the only row of an answer; None where there is none."""
        found: dict[str, float | None] = dict.fromkeys(names)

        def take(rows: Sequence[object]) -> None:
            for row in rows[:1]:
                if isinstance(row, dict):
                    for name in names:
                        value = float(numbers([row.get(name)])[0][0])
                        found[name] = None if np.isnan(value) else value

        verdict = self.searches.rows(query, take, lambda: found.update(dict.fromkeys(names)))
        if verdict.kind != "whole":
            raise TransientError(f"{self.session.place}: {query.what}: not all of the answer came: {verdict.reason}")
        return tuple(found.values())

    def _bounds(self, over: Over, span: int, metrics: Sequence[str]) -> tuple[int, int] | None:
        text = spl.extent(self.scope, metrics, span)
        first, last = self._single(Query(text=text, **over, most=10, what="how far back it goes"), ("first", "last"))
        if first is None or last is None or not 0 <= first <= last < LATEST:
            return None
        return int(first), int(last)

    # --- what is made of it -------------------------------------------------------------------------------------------------

    def _rows_of(self, index: SeriesIndex, group: Group) -> Ints:
        """The rows of the frame that a group answers for."""
        return np.fromiter((row for row, key in enumerate(index.keys) if group.answers(key.metric)), np.int64)

    def _expected(self, index: SeriesIndex, group: Group) -> float:
        """Rows that one bucket will have: as many as lately, and not fewer than what is asked for."""
        asked = len(index.components) if group.named and not group.by else len(index)
        return 1.1 * max(self._per_bucket, float(asked))

    def _learn(self, window: Window, rows: Rows) -> None:
        """How many rows a bucket has, and how late data come."""
        stamps = np.concatenate([page.times for page in rows.pages]) if rows.pages else np.zeros(0, np.int64)
        counts = np.bincount(np.clip((stamps - window.start) // window.span, 0, len(window) - 1), minlength=len(window))
        self._per_bucket = max(0.9 * self._per_bucket, float(rows.rows) / len(window))
        if window.end < self._clock() - RECENT or self.saw_late(window.span, rows):
            return
        before = [self._seen.get(int(start)) for start in window.starts]
        again = np.array([count is not None for count in before], bool)
        if again.any():
            old = np.array([count or 0 for count in before])
            self._lag.grew((window.starts + window.span)[again], old[again], np.maximum(old, counts)[again], self._clock())
        self._seen.update(zip(window.starts.tolist(), counts.tolist(), strict=True))
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _without_phantoms(self, cells: Cells, index: SeriesIndex, nothing: Bools) -> Frame:
        """The frame; what was counted and not mentioned is zero, except where nothing at all could be seen."""
        counts = (row for row, key in enumerate(index.keys) if any(group.counts_of(key.metric) for group in self.groups))
        rows = np.fromiter(counts, np.int64)
        if not len(rows):
            return cells.frame()
        seen = cells.frame()
        cells.zero(rows)
        frame = cells.frame()
        values: Floats = frame.values.copy()
        blind = np.ix_(rows, np.flatnonzero(nothing))
        values[blind] = seen.values[blind]
        return Frame(index=index, window=frame.window, values=values, known=frame.known)
