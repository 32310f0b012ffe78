"""One page of an answer → rows, and how far it can be trusted. An answer is foreign: nothing in it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from collectors.elastic.queries import Ask
from collectors.elastic.settings import DOCUMENTS
from tocsin.elastic import said, too_much
from tocsin.model import LARGEST, Aggregate, Floats, Ints

LONGEST_NAME = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """What an answer is worth, and why.

    `whole`: what is not in it is not there. `holes`: what is in it is right, what is not may be elsewhere. `part`: even what is
    in it may be made of a part of the documents. `less`: it would be whole if less were asked for. `nothing`: nobody was asked.
    """

    kind: Literal["whole", "holes", "part", "less", "nothing"]
    reason: str = ""


def trust(body: dict[str, Any]) -> Trust:
    """How far a 200 can be believed: failed shards, a time-out and skipped clusters all come as success."""
    shards, clusters = _dict(body.get("_shards")), _dict(body.get("_clusters"))
    failed, total = _count(shards.get("failed")), shards.get("total")
    failures = shards.get("failures")
    first = failures[0] if isinstance(failures, list) and failures else {}
    why = said({"error": _dict(first).get("reason")}) if first else ""
    because = f": {why}" if why else ""
    if failed and too_much(body):
        return Trust(kind="less", reason=f"{failed} of {total} shards gave up{because}")
    if failed:
        return Trust(kind="part", reason=f"{failed} of {total} shards failed{because}")
    if body.get("timed_out") is True:
        return Trust(kind="part", reason="the search timed out at the server, the answer covers a part of the documents")
    for word in ("partial", "failed", "skipped"):
        if count := _count(clusters.get(word)):
            names = _clusters(clusters, word)
            sentence = f"{count} of {clusters.get('total')} clusters {word}{names}"
            return Trust(kind="part" if word == "partial" else "holes", reason=sentence)
    if "aggregations" not in body and "hits" not in body and total != 0:
        return Trust(kind="part", reason="the answer holds no result")
    if total == 0:
        return Trust(kind="nothing", reason="no index that we may read matches")
    return Trust(kind="whole")


def _clusters(clusters: dict[str, Any], word: str) -> str:
    details = _dict(clusters.get("details"))
    names = [str(name) for name, one in details.items() if _dict(one).get("status") == word]
    return f" ({', '.join(names)[:100]})" if names else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows of a page that can be read: `components` and `parts` (k,) names, `times` (k,) bucket starts in seconds,
    `documents` (k,), `values` one (k,) per metric asked for. `odd` counts rows and values that could not be read."""

    components: list[str]
    parts: list[str]
    times: Ints
    documents: Ints
    values: list[Floats]
    odd: int


def rows(buckets: Sequence[Any], fields: int, asks: Sequence[Ask]) -> Rows:
    """Buckets of a composite aggregation → rows. `{"key": {"t": 1790812800000, "c0": "web1"}, "doc_count": 2, "m0": …}`"""
    kept, components, parts, times = [], [], [], []
    for bucket in buckets:
        key = bucket.get("key") if isinstance(bucket, dict) else None
        if not isinstance(key, dict):
            continue
        component, time = component_of(key, fields), number(key.get("t"))
        part = name_of(key["by"]) if "by" in key else ""
        if component is None or part is None or time is None:
            continue
        kept.append(bucket)
        components.append(component)
        parts.append(part)
        times.append(int(time) // 1000)
    values = [_column(kept, f"m{place}", ask) for place, ask in enumerate(asks)]
    documents = np.array([_count(bucket.get("doc_count")) for bucket in kept], np.int64).reshape(-1)
    odd = len(buckets) - len(kept) + sum(int(bad) for _, bad in values)
    return Rows(
        components=components,
        parts=parts,
        times=np.array(times, np.int64).reshape(-1),
        documents=documents,
        values=[column for column, _ in values],
        odd=odd,
    )


def component_of(key: dict[str, Any], fields: int) -> str | None:
    """The component a row is about: its fields joined by `/`; None when one of them is missing or no name."""
    names = [name_of(key.get(f"c{place}")) for place in range(fields)]
    return None if None in names else "/".join(name for name in names if name is not None)


def name_of(value: Any) -> str | None:
    """A value of a field as a name; None for what cannot be one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if isinstance(value, str | int | float) else ""
    return text if text and len(text) <= LONGEST_NAME and text.isprintable() else None


def _column(buckets: Sequence[dict[str, Any]], name: str, ask: Ask) -> tuple[Floats, int]:
    """The metric's value in each bucket, NaN where there is none, and how many could not be read."""
    if ask.field == DOCUMENTS and not ask.where:
        return np.array([number(bucket.get("doc_count")) for bucket in buckets], np.float64).reshape(-1), 0
    found = [_value(bucket.get(name), ask) for bucket in buckets]
    values = np.array([number(one, LARGEST) for one in found], np.float64).reshape(-1)
    return values, sum(one is not None for one in found) - int(np.count_nonzero(~np.isnan(values)))


def _value(answer: Any, ask: Ask) -> Any:
    """The raw value in a metric's part of a bucket; None for no value."""
    if not isinstance(answer, dict):
        return answer
    if ask.field == DOCUMENTS:
        return answer.get("doc_count")
    if ask.apart and not ask.counts and not _count(answer.get("doc_count")):
        return None
    inner = _dict(answer.get("v")) if ask.apart else answer
    if ask.aggregate is Aggregate.LAST:
        hits = _dict(inner.get("hits")).get("hits")
        first = _dict(hits[0]) if isinstance(hits, list) and hits else {}
        several = _dict(first.get("fields")).get(ask.field)
        return several[0] if isinstance(several, list) and several else None
    if ask.aggregate.percent is not None:
        percents = _dict(inner.get("values"))
        return next(iter(percents.values()), None)
    return inner.get("value")


def number(value: Any, largest: float = 1e16) -> float | None:
    """None for whatever is no number: null, text (also "NaN" and "Infinity", as the server spells them), lists, true."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= largest else None


def _count(value: Any) -> int:
    return int(value) if type(value) is int and 0 < value < 1 << 62 else 0


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
