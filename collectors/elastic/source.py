"""What metrics and logs of a cluster have in common."""

from __future__ import annotations

from typing import Any

from collectors.elastic.answers import number
from collectors.elastic.paging import Searcher
from collectors.elastic.queries import path
from collectors.elastic.settings import ElasticSettings
from collectors.manners import Manners
from tocsin.elastic import Elastic
from tocsin.errors import TransientError
from tocsin.ports import Surroundings


def connected(settings: ElasticSettings, surroundings: Surroundings) -> Searcher:
    """Who asks the cluster of these settings. Nothing connects yet."""
    elastic = Elastic(
        settings,
        agent=surroundings.component_type,
        timeout=settings.limits.timeout,
        max_bytes=settings.limits.max_bytes,
        connections=settings.limits.concurrency,
    )
    return Searcher(elastic, Manners(settings.limits), settings.limits)


def span_of(searcher: Searcher, settings: ElasticSettings, question: dict[str, Any]) -> tuple[int, int] | None:
    """First and last time of what can be seen; None when there is nothing. Raises what searching raises."""
    answer, worth = searcher.search(path(settings, "_search"), question)
    if worth.kind not in ("whole", "holes"):
        raise TransientError(worth.reason)
    found = answer.get("aggregations")
    ends = [seconds(found.get(name)) if isinstance(found, dict) else None for name in ("first", "last")]
    return (ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else None


def seconds(answer: Any) -> int | None:
    """The time in `{"value": 1790812800000}`; None where there is none."""
    value = number(answer.get("value")) if isinstance(answer, dict) else None
    return None if value is None else int(value // 1000)
