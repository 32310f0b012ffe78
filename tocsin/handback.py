"""While Tocsin cannot judge a component, its static thresholds can: the template it replaced takes its place back, visibly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alerting.desired import worse
from alerting.say import Static
from tocsin.config_shapes import StaticLimits
from tocsin.model import Floats, Metric, SeriesIndex, Severity
from tocsin.thresholds import Template, Thresholds, hard_severity, parse_range, static_severity


def template_of(limits: Mapping[str, StaticLimits]) -> Template:
    """The static thresholds of a component type's YAML."""

    def read(text: str | None) -> Any:
        return None if text is None else parse_range(text)

    return Template(thresholds={name: Thresholds(read(one.warning), read(one.critical)) for name, one in limits.items()})


def verdict(
    index: SeriesIndex, rows: Sequence[int], tail: Floats, template: Template, metrics: Mapping[str, Metric]
) -> Static | None:
    """What the template says of these rows, from their last buckets, (n_series, n_buckets); None where it has nothing to judge.

    A trouble counts as in the supervising system: when it has lasted for `attempts` results in a row, or for as many as are
    known. A component of several metrics is as bad as its worst.
    """
    worst: Static | None = None
    for row in rows:
        metric = index[row].metric
        limits = template.of(index[row])
        if limits is None or not np.isfinite(tail[row, -1]):
            continue
        severity = static_severity(tail[row : row + 1], limits)
        code = Severity(int(hard_severity(severity, min(template.attempts, tail.shape[1]))[0, -1]))
        if worst is None or worse(code, worst.code):
            violated = limits.critical if code is Severity.CRITICAL else limits.warning
            unit = metrics[metric].unit if metric in metrics else ""
            worst = Static(code=code, metric=metric, unit=unit, value=float(tail[row, -1]), limit=str(violated or ""))
    return worst
