"""Metrics that a component has several of are called after the part they measure: `disk.used[/var]`."""

from __future__ import annotations

from collections.abc import Container


def series_name(metric: str, part: str) -> str:
    """`disk.used` of `/var` is `disk.used[/var]`."""
    return f"{metric}[{part}]" if part else metric


def metric_of(name: str, metrics: Container[str]) -> str:
    """The metric behind a series' name; a name that somebody wrote himself is itself."""
    base = name.partition("[")[0]
    return base if name not in metrics and name.endswith("]") and base else name
