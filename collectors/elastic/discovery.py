"""Which components and metrics there are, learnt once over the whole look-back and then only from what is new."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from collectors.elastic.answers import component_of, name_of
from collectors.elastic.paging import Searcher
from collectors.elastic.queries import Ask, Group, groups, path, reach, series
from collectors.elastic.settings import DOCUMENTS, ElasticSettings
from collectors.elastic.source import seconds, span_of
from tocsin.errors import TransientError
from tocsin.model import Aggregate, Ints, Metric, SeriesKey, part

OVERLAP = 900
"""Seconds of the past that are looked at again, for what came late."""
FIRST = 3600
"""The part of the look-back that has to be read at the start; the rest is read when the server bears it."""
MOST_FIELDS = 200
"""Metrics taken when none are named."""
NUMBERS = {
    "long",
    "integer",
    "short",
    "byte",
    "double",
    "float",
    "half_float",
    "scaled_float",
    "unsigned_long",
    "aggregate_metric_double",
}


class Catalogue:
    """Every series that was seen within the look-back. Threads may share it.

    `notes` says what was left out, `since` from which time on a series is known to be there.
    """

    def __init__(self, settings: ElasticSettings, metrics: Mapping[str, Metric], searcher: Searcher) -> None:
        self._settings, self._metrics, self._searcher = settings, metrics, searcher
        self._first: dict[SeriesKey, int] = {}
        self._last: dict[SeriesKey, int] = {}
        self._until: int | None = None
        self._lock = threading.Lock()
        self.notes: dict[str, str] = {}

    def span(self, now: float) -> tuple[int, int] | None:
        """First and last time of what there is, not looking into the future; None when there is nothing."""
        return span_of(self._searcher, self._settings, reach(self._settings, now))

    def discover(self, now: float) -> tuple[SeriesKey, ...]:
        """Every series, sorted, at most `max_series`. Raises what searching raises; what was known before stays known."""
        with self._lock:
            ends = self.span(now)
            if ends is None:
                self._until = None
                return ()
            # Data that ended days ago are looked at as they were then: the silence has to be seen.
            newest = ends[1] + 1
            named = groups(self._settings, self._metrics, self._names())
            for start, end, needed in self._parts(newest):
                try:
                    for group in named:
                        self._look(group, start, end)
                except TransientError as error:
                    if needed:
                        raise
                    self.notes["look-back"] = f"only the last hour was looked at for components: {error}"
                else:
                    self.notes.pop("look-back", None)
            self._until = newest
            oldest = newest - self._settings.lookback
            self._last = {key: last for key, last in self._last.items() if last >= oldest}
            self._first = {key: first for key, first in self._first.items() if key in self._last}
            keys, cap = sorted(self._last), self._settings.limits.max_series
            self.notes.pop("series", None)
            if len(keys) > cap:
                least = "at least " if len(keys) >= 2 * cap else ""
                self.notes["series"] = f"there are {least}{len(keys)} series, only the first {cap} are read (limits.max_series)"
            return tuple(keys[:cap])

    def since(self, key: SeriesKey) -> int | None:
        """From when on the series is known to be there."""
        return self._first.get(key)

    def seen(self, keys: list[SeriesKey], times: Ints) -> None:
        """Values of these series were met at these times, maybe earlier than known so far."""
        for key, time in zip(keys, times.tolist(), strict=True):
            if key in self._first and time < self._first[key]:
                self._first[key] = time

    def _parts(self, newest: int) -> Iterator[tuple[int, int, bool]]:
        """What to look at, and whether it has to succeed."""
        oldest = newest - self._settings.lookback
        if self._until is not None and self._until <= newest:
            yield max(oldest, self._until - OVERLAP), newest, True
            return
        recent = max(oldest, newest - FIRST)
        yield recent, newest, True
        if recent > oldest:
            yield oldest, recent, False

    def _names(self) -> list[str]:
        return list(self._settings.fields) or self._numeric_fields()

    def _numeric_fields(self) -> list[str]:
        """Every field with numbers that the index knows, when nobody named metrics."""
        params = {"fields": "*", "ignore_unavailable": "true"}
        answer = self._searcher.ask("GET", path(self._settings, "_field_caps"), params=params).body
        found = answer.get("fields")
        names, counters = [], 0
        for name, kinds in sorted(found.items()) if isinstance(found, dict) else ():
            if name.startswith("_") or not isinstance(kinds, dict) or not NUMBERS & kinds.keys():
                continue
            if any(isinstance(kind, dict) and kind.get("time_series_metric") == "counter" for kind in kinds.values()):
                counters += 1
                continue
            names.append(name)
        if counters:
            self.notes["counters"] = f"{counters} counters are left out: name them under metrics, with counter: true"
        if len(names) > MOST_FIELDS:
            self.notes["fields"] = (
                f"the index has {len(names)} numeric fields, only the first {MOST_FIELDS} are read: name metrics"
            )
        return names[:MOST_FIELDS]

    def _look(self, group: Group, start: int, end: int) -> None:
        where = path(self._settings, "_search")
        for page in self._searcher.pages(where, lambda size, after: series(self._settings, group, start, end, size, after)):
            if page.trust.kind == "part":
                raise TransientError(page.trust.reason)
            for bucket in page.buckets:
                self._note(bucket, group)

    def _note(self, bucket: Any, group: Group) -> None:
        key = bucket.get("key") if isinstance(bucket, dict) else None
        if not isinstance(key, dict):
            return
        component, name = component_of(key, len(self._settings.component)), name_of(key["by"]) if "by" in key else ""
        if component is None or name is None or not self._wanted(component):
            return
        first, last = seconds(bucket.get("first")), seconds(bucket.get("last"))
        for place, ask in enumerate(group.asks):
            if first is not None and last is not None and _there(bucket, place, ask):
                row = SeriesKey(component, part(ask.metric, name))
                if row not in self._last and len(self._last) >= 2 * self._settings.limits.max_series:
                    return  # a source gone mad must not fill the memory
                self._first[row] = min(first, self._first.get(row, first))
                self._last[row] = max(last, self._last.get(row, last))

    def _wanted(self, component: str) -> bool:
        include, exclude = self._settings.include, self._settings.exclude
        included = not include or any(fnmatchcase(component, pattern) for pattern in include)
        return included and not any(fnmatchcase(component, pattern) for pattern in exclude)


def _there(bucket: dict[str, Any], place: int, ask: Ask) -> bool:
    """Whether the component has this metric. Where things are counted none of them is a value too."""
    if ask.field == DOCUMENTS or (ask.aggregate is Aggregate.COUNT and ask.where):
        return True
    found = bucket.get(f"m{place}")
    count = found.get("doc_count") if isinstance(found, dict) else 0
    return isinstance(count, int) and count > 0
