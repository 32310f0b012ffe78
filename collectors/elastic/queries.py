"""Settings and a window → the bodies of requests. Built from parts; nothing a person or a source wrote is ever code here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from collectors.elastic.settings import DOCUMENTS, Condition, ElasticSettings, Exists, Filter, Not, Range
from tocsin.model import Aggregate, Metric, Window

Clause: TypeAlias = dict[str, Any]

FILTER_PATH = "took,timed_out,_shards,_clusters,error,status"
_SIMPLE = {Aggregate.MEAN: "avg", Aggregate.SUM: "sum", Aggregate.MIN: "min", Aggregate.MAX: "max"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One metric of a request: its name, where it is in the documents, how it aggregates, and for which of them."""

    metric: str
    field: str
    aggregate: Aggregate
    where: tuple[tuple[str, Condition], ...] = ()

    @property
    def counts(self) -> bool:
        """Whether nothing found means zero."""
        return self.aggregate is Aggregate.COUNT

    @property
    def apart(self) -> bool:
        """Whether it looks at some of a row's documents only: those of a condition, or, where it would otherwise take a
        document of another data set for a value (the sum of nothing is 0), those that have the field."""
        return bool(self.where) or self.aggregate in (Aggregate.LAST, Aggregate.SUM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Metrics that one request brings: those split by the same field, or by none."""

    by: str | None
    asks: tuple[Ask, ...]


def groups(settings: ElasticSettings, metrics: Mapping[str, Metric], names: Iterable[str]) -> list[Group]:
    """The requests for these metrics. A name that the settings do not know (and they name metrics) is left out."""
    sorted_out: dict[str | None, list[Ask]] = {}
    for name in dict.fromkeys(names):
        field = settings.fields.get(name) if settings.fields else name
        if field is None:
            continue
        split = settings.by.get(name) if isinstance(settings.by, Mapping) else settings.by
        where = tuple(settings.where.get(name, {}).items())
        sorted_out.setdefault(split, []).append(
            Ask(metric=name, field=field, aggregate=_aggregate(metrics.get(name)), where=where)
        )
    return [Group(by=by, asks=tuple(asks)) for by, asks in sorted_out.items()]


def _aggregate(metric: Metric | None) -> Aggregate:
    if metric is None:
        return Aggregate.MEAN
    # A counter only grows: its largest value is its last, unless it was reset within the bucket, and much cheaper to get.
    return Aggregate.MAX if metric.counter else metric.aggregate


# --- which documents ----------------------------------------------------------------------------------------------------


def during(settings: ElasticSettings, start: int, end: int) -> Clause:
    """Documents of `[start, end)`, in absolute times so that every page sees the same."""
    return {"range": {settings.timestamp: {"gte": start * 1000, "lt": end * 1000, "format": "epoch_millis"}}}


def chosen(settings: ElasticSettings) -> list[Clause]:
    """What the settings say about documents, whatever their time and metrics."""
    return [*clauses(settings.filter), *([settings.query] if settings.query else []), *_names(settings)]


def clauses(conditions: Filter | Mapping[str, Condition]) -> list[Clause]:
    """Conditions as clauses of a `bool` filter."""
    return [_clause(field, condition) for field, condition in conditions.items()]


def _clause(field: str, condition: Condition) -> Clause:
    match condition:
        case Exists(exists=True):
            return {"exists": {"field": field}}
        case Exists():
            return {"bool": {"must_not": [{"exists": {"field": field}}]}}
        case Range():
            return {"range": {field: condition.model_dump(exclude_none=True)}}
        case Not(none_of=values):
            return {"bool": {"must_not": [_clause(field, values)]}}
        case tuple():
            return {"terms": {field: list(condition)}}
        case _:
            return {"term": {field: {"value": condition}}}


def _names(settings: ElasticSettings) -> list[Clause]:
    """Patterns of component names as far as the server can tell them; the rest is sorted out here."""
    if len(settings.component) > 1:
        return []
    (field,) = settings.component
    found: list[Clause] = []
    if settings.include and not any("[" in pattern for pattern in settings.include):
        found.append({"bool": {"should": [_like(field, pattern) for pattern in settings.include], "minimum_should_match": 1}})
    if without := [_like(field, pattern) for pattern in settings.exclude if "[" not in pattern]:
        found.append({"bool": {"must_not": without}})
    return found


def _like(field: str, pattern: str) -> Clause:
    return {"wildcard": {field: {"value": pattern.replace("\\", "\\\\")}}}


def any_of(asks: Sequence[Ask]) -> list[Clause]:
    """Only documents that have at least one of these fields: those of other data sets make no rows."""
    if any(ask.field == DOCUMENTS for ask in asks):
        return []
    fields = dict.fromkeys(ask.field for ask in asks)
    return [{"bool": {"should": [{"exists": {"field": field}} for field in fields], "minimum_should_match": 1}}]


# --- what of them -------------------------------------------------------------------------------------------------------


def page(settings: ElasticSettings, group: Group, window: Window, size: int, after: Any = None) -> Clause:
    """One page of a group's rows: a row per bucket, component (and part). Time comes first, so that what is missing when
    we stop early is the end of the window and not some components."""
    sources = [_buckets(settings, window), *_who(settings, group.by)]
    aggregations = {f"m{place}": made for place, ask in enumerate(group.asks) if (made := _aggregation(settings, ask))}
    documents = [during(settings, window.start, window.end), *chosen(settings), *any_of(group.asks)]
    return _composite(documents, sources, aggregations, size, after)


def series(settings: ElasticSettings, group: Group, start: int, end: int, size: int, after: Any = None) -> Clause:
    """One page of a group's components (and parts): since when, until when, and how many documents have each metric."""
    there = {
        f"m{place}": {"filter": {"bool": {"filter": [{"exists": {"field": ask.field}}, *clauses(dict(ask.where))]}}}
        for place, ask in enumerate(group.asks)
        if ask.field != DOCUMENTS
    }
    span = {"first": {"min": {"field": settings.timestamp}}, "last": {"max": {"field": settings.timestamp}}}
    documents = [during(settings, start, end), *chosen(settings), *any_of(group.asks)]
    return _composite(documents, _who(settings, group.by), span | there, size, after)


def levels(settings: ElasticSettings, window: Window, size: int, after: Any = None) -> Clause:
    """One page of how many log entries there are per bucket, component and level; an entry may have no level."""
    sources = [_buckets(settings, window), *_who(settings, None)]
    sources.append({"level": {"terms": {"field": settings.level, "missing_bucket": True}}})
    return _composite([during(settings, window.start, window.end), *chosen(settings)], sources, {}, size, after)


def entries(settings: ElasticSettings, window: Window, held: str, size: int, after: Any = None, *, fair: bool) -> Clause:
    """One page of log entries of a point in time: in the order of time, or (`fair`) in an order that is none."""
    query: Clause = {"bool": {"filter": [during(settings, window.start, window.end), *chosen(settings)]}}
    order: list[Clause] = [{settings.timestamp: "asc"}]
    if fair:
        # By sequence number: the same on every page. A filter has no score, so that only the drawn number counts.
        drawn = {"seed": window.start, "field": "_seq_no"}
        query = {"function_score": {"query": query, "random_score": drawn, "boost_mode": "replace"}}
        order = [{"_score": "desc"}]
    fields = [{"field": settings.timestamp, "format": "epoch_millis"}, settings.message, settings.level, *settings.component]
    body: Clause = {"size": size, "track_total_hits": False, "query": query, "sort": [*order, {"_shard_doc": "asc"}]}
    body |= {"pit": {"id": held, "keep_alive": "1m"}, "_source": False, "fields": fields}
    return body if after is None else {**body, "search_after": after}


AHEAD = 900
"""Seconds by which a clock may run ahead."""


def reach(settings: ElasticSettings, now: float) -> Clause:
    """First and last time; what claims to be of the future is left out, because one such document would hide all others."""
    until = {"lt": (int(now) + AHEAD) * 1000, "format": "epoch_millis"}
    documents = [{"range": {settings.timestamp: until}}, *chosen(settings)]
    if settings.fields:
        named = [Ask(metric=name, field=field, aggregate=Aggregate.MEAN) for name, field in settings.fields.items()]
        documents += any_of(named)
    span = {"first": {"min": {"field": settings.timestamp}}, "last": {"max": {"field": settings.timestamp}}}
    return {"size": 0, "track_total_hits": False, "query": {"bool": {"filter": documents}}, "aggs": span}


def arrivals(settings: ElasticSettings, window: Window) -> Clause:
    """When the documents of each bucket had been received, for sources that write it down."""
    histogram = {"field": settings.timestamp, "fixed_interval": f"{window.span}s", "min_doc_count": 1}
    when = {"percentiles": {"field": "event.ingested", "percents": [50, 90, 99]}}
    found = {"t": {"date_histogram": histogram, "aggs": {"when": when}}}
    documents = [during(settings, window.start, window.end), *chosen(settings)]
    return {"size": 0, "track_total_hits": False, "query": {"bool": {"filter": documents}}, "aggs": found}


def _buckets(settings: ElasticSettings, window: Window) -> Clause:
    histogram: Clause = {"field": settings.timestamp, "fixed_interval": f"{window.span}s"}
    if window.start % window.span:
        histogram["offset"] = f"{window.start % window.span}s"
    return {"t": {"date_histogram": histogram}}


def _who(settings: ElasticSettings, by: str | None) -> list[Clause]:
    fields = [(f"c{place}", field) for place, field in enumerate(settings.component)]
    if by is not None:
        fields.append(("by", by))
    return [{name: {"terms": {"field": field}}} for name, field in fields]


def _composite(documents: list[Clause], sources: list[Clause], aggregations: Clause, size: int, after: Any) -> Clause:
    composite: Clause = {"size": size, "sources": sources}
    if after is not None:
        composite["after"] = after
    rows: Clause = {"composite": composite}
    if aggregations:
        rows["aggs"] = aggregations
    return {"size": 0, "track_total_hits": False, "query": {"bool": {"filter": documents}}, "aggs": {"rows": rows}}


def _aggregation(settings: ElasticSettings, ask: Ask) -> Clause | None:
    """None when the row's own number of documents is the answer."""
    if ask.field == DOCUMENTS:
        return {"filter": {"bool": {"filter": clauses(dict(ask.where))}}} if ask.where else None
    field = {"field": ask.field}
    match ask.aggregate:
        case Aggregate.COUNT:
            inner: Clause = {"value_count": field}
        case Aggregate.LAST:
            # The youngest document that has the field: `top_metrics` is not everywhere, this is.
            order = [{settings.timestamp: {"order": "desc"}}]
            inner = {"top_hits": {"size": 1, "sort": order, "_source": False, "docvalue_fields": [ask.field]}}
        case aggregate if aggregate.percent is not None:
            inner = {"percentiles": field | {"percents": [aggregate.percent]}}
        case aggregate:
            inner = {_SIMPLE[aggregate]: field}
    if not ask.apart:
        return inner
    conditions = [*([{"exists": field}] if not ask.counts else []), *clauses(dict(ask.where))]
    return {"filter": {"bool": {"filter": conditions}}, "aggs": {"v": inner}}


def path(settings: ElasticSettings, action: str) -> str:
    """The path of an action on the settings' indices."""
    return f"/{quote(settings.pattern, safe=',*:-')}/{action}"


def parameters(*, frozen: bool = False) -> dict[str, str]:
    """What goes with every search: the same copies of the data for all pages, and only the parts of the answer that we read.

    A point in time (`frozen`) has its own indices and copies.
    """
    if frozen:
        return {"filter_path": f"{FILTER_PATH},hits.hits.fields,hits.hits.sort"}
    return {"ignore_unavailable": "true", "preference": "tocsin", "filter_path": f"{FILTER_PATH},aggregations"}
