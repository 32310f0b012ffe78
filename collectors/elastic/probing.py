"""What a person is told who asks how a cluster does: version, rights, lateness, a few values, and what a tick costs."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collectors.elastic.paging import Searcher
from collectors.elastic.queries import path
from collectors.elastic.settings import DOCUMENTS, ElasticSettings
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Probe, SeriesIndex, Window, whole
from tocsin.samples import SAMPLES, samples
from tocsin.settings import spell_duration

if TYPE_CHECKING:
    from collectors.elastic.collector import ElasticCollector
    from collectors.elastic.logs import ElasticLogs

BUCKETS = 5
"""Buckets of the tick that is measured."""
MOST_NAMES = 40
"""Fields that are looked up at once: their names have to fit into an address."""
NO_FIELD = ": the index has no such field"
TOO_MANY = ("write", "create_doc", "delete", "manage", "all")
"""What a reader should not be allowed to do."""


def probe(collector: ElasticCollector, settings: ElasticSettings, searcher: Searcher, span: int, now: float) -> Probe:
    """Connects and looks. Raises `TransientError` or `PermanentError` when nothing can be seen at all."""
    version, ends = _version(searcher), collector.reach()
    keys = collector.discover() if ends is not None else ()
    shown: tuple[str, ...] = ()
    cost = ""
    metrics = {whole(key.metric, settings.fields) for key in keys}
    warnings = [*wrong_names(settings, searcher, metrics, anything=ends is not None), *collector.notes]
    if keys and ends is not None:
        index, window = SeriesIndex(keys), Window.ending(ends[1] + span, span, BUCKETS)
        with _measured(searcher) as told:
            frame = collector.collect(index, window)
        shown, cost = samples(frame), f"{told[0]} for {len(index)} series and {len(window)} buckets"
        warnings += [] if shown else ["no value in the latest buckets: are the aggregates right?"]
    return _told(settings, searcher, version, ends, collector.lag(), now, shown, cost, warnings)


def probe_logs(source: ElasticLogs, settings: ElasticSettings, searcher: Searcher, span: int, now: float) -> Probe:
    """The same of logs; samples are lines as they are."""
    version, ends = _version(searcher), source.reach()
    lines: tuple[str, ...] = ()
    cost, warnings = "", list[str]()
    if ends is None:
        warnings += wrong_names(settings, searcher, (), anything=False)
    else:
        window = Window.ending(ends[1] + span, span, BUCKETS)
        with _measured(searcher) as told:
            batch = source.read(window)
        cost = f"{told[0]} for {len(batch.counts)} levels of components and {len(window)} buckets"
        lines = tuple(f"{line.component} {line.level or '-'} {line.text}" for line in batch.lines[:SAMPLES])
        if not batch.counts:
            warnings += wrong_names(settings, searcher, (), anything=True)
        if batch.counts and not batch.lines:
            warnings.append(f"there are entries without text: is `message: {settings.message}` right?")
        if batch.counts and not any(level for _, level in batch.counts):
            warnings.append(f"no entry has a level: is `level: {settings.level}` right? It is looked for in the text")
    return _told(settings, searcher, version, ends, source.lag(), now, lines, cost, warnings)


def wrong_names(settings: ElasticSettings, searcher: Searcher, metrics: Container[str], *, anything: bool) -> list[str]:
    """What is written in the settings and nothing stands behind, a sentence each. `metrics` are those that somebody has;
    `anything` tells whether any document was chosen."""
    missing = {name: field for name, field in settings.fields.items() if name not in metrics}
    nobody = len(missing) == len(settings.fields) and not metrics
    if not missing and not nobody:
        return []
    names = [settings.timestamp, *settings.component, *(field for field in missing.values() if field != DOCUMENTS)]
    unknown = _unknown(settings, searcher, names[:MOST_NAMES])
    where = f"{searcher.elastic.place}: index {settings.pattern}"
    if settings.timestamp in unknown:
        return [f"{where}: timestamp: the index has no field '{settings.timestamp}'"]
    found = []
    if not (anything and nobody):
        found = [
            f"metrics.{name}: no component has a value of '{field}'" + (NO_FIELD if field in unknown else "")
            for name, field in missing.items()
            if anything or field in unknown
        ]
    if nobody and (anything or unknown & set(settings.component)):
        fields = " and ".join(f"'{field}'" for field in settings.component)
        why = NO_FIELD if unknown & set(settings.component) else ""
        kept_away = " that include and exclude let through" if settings.include or settings.exclude else ""
        found.append(f"component: no document names one{kept_away} in {fields}{why}")
    return [f"{where}: {one}" for one in found] or [f"{where}: no document matches: are index, filter and query right?"]


def _unknown(settings: ElasticSettings, searcher: Searcher, names: list[str]) -> set[str]:
    """The fields that the index has not; none when it does not say."""
    params = {"fields": ",".join(dict.fromkeys(names)), "ignore_unavailable": "true"}
    try:
        there = searcher.ask("GET", path(settings, "_field_caps"), params=params).body.get("fields")
    except (PermanentError, TransientError):
        return set()
    return set(names) - there.keys() if isinstance(there, dict) else set()


def _told(
    settings: ElasticSettings,
    searcher: Searcher,
    version: str,
    ends: tuple[int, int] | None,
    lag: float | None,
    now: float,
    shown: tuple[str, ...],
    cost: str,
    warnings: list[str],
) -> Probe:
    found = settings.problems() + warnings
    state = searcher.manners.state
    if state.kind != "ok":
        found.append(state.reason)
    newest = None if ends is None else max(0.0, now - ends[1])
    if newest is not None and newest > 600:
        found.append(f"the newest document is {spell_duration(newest)} old")
    return Probe(
        version=version,
        rights=tuple(_rights(settings, searcher)),
        lag=newest if lag is None else lag,
        samples=shown,
        cost=cost,
        warnings=tuple(dict.fromkeys(found)),
    )


@contextmanager
def _measured(searcher: Searcher) -> Iterator[list[str]]:
    """What was asked for meanwhile, as a sentence, once it is over."""
    before, began = searcher.manners.usage, time.perf_counter()
    told: list[str] = []
    yield told
    after, seconds = searcher.manners.usage, time.perf_counter() - began
    asked, size, brought = after.requests - before.requests, after.bytes - before.bytes, after.rows - before.rows
    told.append(f"{asked} request{'s' if asked != 1 else ''}, {size / 1000:.0f} kB, {brought} rows, {seconds:.1f} s")


def _version(searcher: Searcher) -> str:
    name = {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}[searcher.elastic.flavour]
    reply = searcher.ask("GET", "/", accept=(403, 404, 405))
    if reply.status == 403:
        return f"{name} (its version may not be read: that needs the cluster privilege `monitor`)"
    found = reply.body.get("version")
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
