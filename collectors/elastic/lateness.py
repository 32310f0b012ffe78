"""How late documents arrive: from when they say they were received, and from buckets that grew between two readings."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from collectors.elastic.answers import number
from collectors.elastic.paging import Searcher
from collectors.elastic.queries import Group, arrivals, path
from collectors.elastic.settings import ElasticSettings
from collectors.manners import Lag
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Floats, Ints, Window

RECENT = 7200
"""Seconds: older buckets tell about re-reading the past, not about lateness."""
GROUPS = 50
"""Questions of which it is remembered how many documents answered them."""
BUCKETS = 120
"""Of so many of the latest buckets it is looked up when their documents were received."""


class Lateness:
    """What was seen of it lately. Threads may share it."""

    def __init__(self, settings: ElasticSettings, searcher: Searcher, span: int) -> None:
        self._settings, self._searcher, self._span = settings, searcher, span
        self._lock = threading.Lock()
        self._lag = Lag()
        self._counts: dict[Group, dict[int, int]] = {}

    def p99(self) -> float | None:
        """Seconds after the end of a bucket until 99 % of its documents are there; None when not known yet."""
        with self._lock:
            return self._lag.p99()

    def read(self, group: Group, starts: Ints, documents: Ints, now: float) -> None:
        """A group's buckets were read, with so many documents each: more than last time means that some came late."""
        fresh = (starts + self._span <= now) & (starts > now - RECENT)
        with self._lock:
            counts = self._counts.setdefault(group, {})
            pairs = [(start, counts[start], count) for start, count in _pairs(starts[fresh], documents[fresh]) if start in counts]
            if pairs:
                again = np.array(pairs, np.int64)
                # A smaller number is no news: a part of the documents was not there this time.
                before = np.minimum(again[:, 1], again[:, 2])
                self._lag.grew(again[:, 0] + self._span, before, again[:, 2], now)
            counts.update(_pairs(starts[fresh], documents[fresh]))
            self._counts[group] = {start: count for start, count in counts.items() if start > now - RECENT}
            if len(self._counts) > GROUPS:
                del self._counts[next(iter(self._counts))]

    def ask(self, now: float) -> None:
        """Look up when the documents of the latest buckets were received, where sources write it down (`event.ingested`)."""
        window = Window.ending(now, self._span, max(1, min(BUCKETS, RECENT // self._span)))
        try:
            answer, worth = self._searcher.search(path(self._settings, "_search"), arrivals(self._settings, window))
        except (TransientError, PermanentError):
            return  # it is told when values are asked for
        found = answer.get("aggregations")
        rows = found.get("t") if isinstance(found, dict) else None
        buckets = rows.get("buckets") if isinstance(rows, dict) else None
        if worth.kind == "whole" and isinstance(buckets, list):
            seconds, weights = _received(buckets, self._span)
            with self._lock:
                self._lag.saw(seconds, weights)


def _pairs(starts: Ints, documents: Ints) -> list[tuple[int, int]]:
    return list(zip(starts.tolist(), documents.tolist(), strict=True))


def _received(buckets: list[Any], span: int) -> tuple[Floats, Floats]:
    """Seconds from the end of each bucket to when half, 90 % and 99 % of its documents were received, and how many those are."""
    seconds, weights = [], []
    for bucket in buckets:
        found: dict[str, Any] = bucket if isinstance(bucket, dict) else {}
        start, count, when = number(found.get("key")), number(found.get("doc_count")), found.get("when")
        values = when.get("values") if isinstance(when, dict) else None
        if start is None or count is None or not isinstance(values, dict):
            continue
        for percent, share in (("50.0", 0.5), ("90.0", 0.4), ("99.0", 0.1)):
            received = number(values.get(percent))
            if received is not None:
                seconds.append(max(0.0, received / 1000 - start / 1000 - span))
                weights.append(share * count)
    return np.array(seconds, np.float64).reshape(-1), np.array(weights, np.float64).reshape(-1)
