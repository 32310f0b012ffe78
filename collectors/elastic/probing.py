"""What a person is told who asks how a cluster does: version, rights, lateness, a few values, and what a tick costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from collectors.elastic.paging import Searcher
from collectors.elastic.queries import path
from collectors.elastic.settings import ElasticSettings
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Probe, SeriesIndex, Window, utc
from tocsin.settings import spell_duration

if TYPE_CHECKING:
    from collectors.elastic.collector import ElasticCollector

SAMPLES = 5
"""Values shown."""
BUCKETS = 5
"""Buckets of the tick that is measured."""
TOO_MANY = ("write", "create_doc", "delete", "manage", "all")
"""What a reader should not be allowed to do."""


def probe(collector: ElasticCollector, settings: ElasticSettings, searcher: Searcher, span: int, now: float) -> Probe:
    """Connects and looks. Raises `TransientError` or `PermanentError` when nothing can be seen at all."""
    version, warnings = _version(searcher), list(settings.problems())
    ends = collector.reach()
    if ends is None:
        warnings.append("no document matches: are index, filter, query and the fields of the metrics right?")
    rights = _rights(settings, searcher)
    keys = collector.discover()
    samples: list[str] = []
    cost = ""
    if keys and ends is not None:
        samples, cost = _tick(collector, SeriesIndex(keys), Window.ending(ends[1] + span, span, BUCKETS))
        warnings += [] if samples else ["no value in the latest buckets: is `field` right for each metric?"]
    warnings += collector.notes
    if collector.manners.state.kind != "ok":
        warnings.append(collector.manners.state.reason)
    newest = None if ends is None else max(0.0, now - ends[1])
    if newest is not None and newest > 600:
        warnings.append(f"the newest document is {spell_duration(newest)} old")
    lag = collector.lag()
    return Probe(
        version=version,
        rights=tuple(rights),
        lag=newest if lag is None else lag,
        samples=tuple(samples),
        cost=cost,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _version(searcher: Searcher) -> str:
    name = {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}[searcher.elastic.flavour]
    try:
        found = searcher.ask("GET", "/").body.get("version")
    except PermanentError:
        return f"{name} (its version may not be read: that needs the cluster privilege `monitor`)"
    number = found.get("number") if isinstance(found, dict) else None
    return f"{name} {number}" if isinstance(number, str) else name


def _rights(settings: ElasticSettings, searcher: Searcher) -> list[str]:
    told = ["read: yes"]  # a search was answered just before
    try:
        searcher.ask("GET", path(settings, "_field_caps"), params={"fields": settings.timestamp, "ignore_unavailable": "true"})
        told.append("view_index_metadata: yes")
    except (PermanentError, TransientError) as error:
        told.append(f"view_index_metadata: no ({error})")
    if searcher.elastic.flavour == "elasticsearch" and settings.auth is not None:
        told += _privileges(settings, searcher)
    return told


def _privileges(settings: ElasticSettings, searcher: Searcher) -> list[str]:
    """What the user may do beyond reading: a collector's user should not be able to."""
    question = {"index": [{"names": list(settings.index), "privileges": list(TOO_MANY)}]}
    try:
        found: Any = searcher.ask("POST", "/_security/user/_has_privileges", body=question).body.get("index")
    except (PermanentError, TransientError):
        return []
    may = (
        {right for one in found.values() if isinstance(one, dict) for right, yes in one.items() if yes is True}
        if isinstance(found, dict)
        else ()
    )
    return [f"more than needed: {', '.join(sorted(may))}; a reader needs `read` and `view_index_metadata` only"] if may else []


def _tick(collector: ElasticCollector, index: SeriesIndex, window: Window) -> tuple[list[str], str]:
    before, began = collector.manners.usage, time.perf_counter()
    frame = collector.collect(index, window)
    seconds, after = time.perf_counter() - began, collector.manners.usage
    asked, size, brought = after.requests - before.requests, after.bytes - before.bytes, after.rows - before.rows
    answer = f"{size / 1000:.0f} kB, {brought} rows"
    cost = f"{asked} requests, {answer}, {seconds:.1f} s for {len(index)} series and {len(window)} buckets"
    samples = []
    for row in np.flatnonzero(~np.isnan(frame.values).all(axis=1))[:SAMPLES]:
        column = int(np.flatnonzero(~np.isnan(frame.values[row]))[-1])
        at = utc(window.starts[column]).strftime("%H:%M:%S")
        samples.append(f"{index[row].component} {index[row].metric} {frame.values[row, column]:g} at {at} UTC")
    return samples, cost
