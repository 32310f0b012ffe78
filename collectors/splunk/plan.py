"""From the metrics a person named to the searches of a tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collectors.splunk import spl
from collectors.splunk.settings import SplunkSettings
from tocsin.errors import ConfigError
from tocsin.model import Aggregate, Metric, Window, whole

MOST_FUNCTIONS = 50
"""Metrics of one search."""
LONGEST_SLICE = 1440
"""Buckets of one search, at most: a day of minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """One search: which field of its answer holds which metric. `named` is False where the answer itself names its metrics.

    `by` is the field that splits its metrics: those of the frame then are called `disk.used[/var]`.
    """

    metrics: Mapping[str, str]
    functions: Mapping[str, str]
    counts: frozenset[str] = frozenset()
    named: bool = True
    by: str = ""

    def answers(self, metric: str) -> bool:
        """Whether a metric of the frame comes from this search."""
        return not self.named or self._whole(metric) in self.metrics.values()

    def counts_of(self, metric: str) -> bool:
        """Whether a metric of the frame is a count, so that what is not mentioned is zero."""
        return self._whole(metric) in self.counts

    def _whole(self, metric: str) -> str:
        return whole(metric, self.metrics.values()) if self.by else metric


def aggregate_of(metric: Metric) -> Aggregate:
    """How the samples of a bucket become one value here; a counter is read as it stands at the end of the bucket."""
    return Aggregate.LAST if metric.counter else metric.aggregate


def groups(settings: SplunkSettings, metrics: Mapping[str, Metric]) -> tuple[Group, ...]:
    """The searches of a tick, for all components in one go. Raises `ConfigError` for what Splunk cannot compute."""
    if not settings.fields:
        return (Group(metrics={}, functions={}, named=False, by=settings.split_by("")),)
    found: list[Group] = []
    for by in dict.fromkeys(settings.split_by(name) for name in settings.fields):
        names = [name for name in settings.fields if settings.split_by(name) == by]
        if settings.kind == "saved":
            found.append(Group(metrics={settings.fields[name]: name for name in names}, functions={}, by=by))
            continue
        for first in range(0, len(names), MOST_FUNCTIONS):
            found.append(_group(settings, metrics, names[first : first + MOST_FUNCTIONS], by))
    return tuple(found)


def _group(settings: SplunkSettings, metrics: Mapping[str, Metric], names: Sequence[str], by: str) -> Group:
    some = {f"m{place}": name for place, name in enumerate(names)}
    functions, counts = {}, set()
    for alias, name in some.items():
        aggregate = aggregate_of(metrics.get(name) or Metric(name=name))
        try:
            functions[alias] = spl.function(aggregate, settings.fields[name], settings.kind)
        except ValueError as error:
            raise ConfigError(f"splunk: metrics.{name}: {error}") from error
        if aggregate is Aggregate.COUNT and settings.kind != "metrics":
            counts.add(name)
    return Group(metrics=some, functions=functions, counts=frozenset(counts), by=by)


def slices(window: Window, rows_per_bucket: float, most: int) -> Iterator[Window]:
    """The window in pieces whose answers have fewer rows than `most`, as far as one can tell before."""
    size = int(min(max(1.0, most / max(rows_per_bucket, 1.0)), LONGEST_SLICE))
    for start in range(window.start, window.end, size * window.span):
        yield Window(start, min(start + size * window.span, window.end), window.span)


def halves(window: Window) -> tuple[Window, Window] | None:
    """Two smaller windows; None for a single bucket."""
    if len(window) < 2:
        return None
    middle = window.start + len(window) // 2 * window.span
    return Window(window.start, middle, window.span), Window(middle, window.end, window.span)
