"""A batch of entries → lines per component, level and template, in each bucket. Where text is only a sample, an estimate.

Of `n` entries of a component and level in a bucket, `s` came as text: each of those stands for `n / s` entries. So the templates
of a component and level always add up to what the source counted. Where `s` is 0 nobody knows which templates there were: the
count goes to `other`, and the templates that the component shows at that level are "not known" in that bucket.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from collectors.logs.levels import level_of
from tocsin.model import Bools, Floats, LogBatch, Window

OTHER = "other"
DIM = 0.1
"""What is new is told while at most this part of a bucket's entries came without text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One entry, understood. `template` is empty when it is not told apart from others; `lines` are positions in the batch."""

    component: str
    level: str
    template: str
    new: bool
    lines: Sequence[int]


@dataclass(kw_only=True)
class Tally:
    """Counts of one component, (n_buckets,) each. `dark` says, per level of the source, how many entries came in a bucket in
    which that level has no text at all. `wait` is in seconds, None where no step of a request was seen."""

    lines: Floats
    new: Floats
    wait: Floats | None = None
    levels: dict[str, Floats] = field(default_factory=dict)
    templates: dict[str, Floats] = field(default_factory=dict)
    dark: dict[str, Floats] = field(default_factory=dict)

    @property
    def told(self) -> Bools:
        """In which buckets the text of nearly all entries, or a sample of it, was there to tell what is new."""
        return np.asarray(sum(self.dark.values(), np.zeros_like(self.lines)) <= DIM * self.lines, np.bool_)


def tally(batch: LogBatch, entries: Sequence[Seen]) -> dict[str, Tally]:
    """Everything counted, by component."""
    window = batch.window
    counts = _groups(batch)
    buckets = [(int(line.at) - window.start) // window.span for line in batch.lines]
    groups = [(line.component, level_of(line.level)) for line in batch.lines]
    sampled: dict[tuple[str, str], Floats] = defaultdict(lambda: np.zeros(len(window)))
    for group, bucket in zip(groups, buckets, strict=True):
        sampled[group][bucket] += 1
    weights = {group: _weight(counts.get(group), lines) for group, lines in sampled.items()}
    found: dict[str, Tally] = {}
    for group in sorted(counts.keys() | sampled.keys()):
        component, level = group
        one = found.setdefault(component, Tally(lines=np.zeros(len(window)), new=np.zeros(len(window))))
        total = counts[group] if group in counts else sampled[group]
        one.lines += total
        dark = np.where(sampled[group] == 0, total, 0.0)
        if dark.any():
            one.dark[level] = dark
            _of(one.levels, level or "unknown", window)[:] += dark
            _of(one.templates, OTHER, window)[:] += dark
    for entry in entries:
        one = found[entry.component]
        template = _of(one.templates, entry.template or OTHER, window)
        for place in entry.lines:
            bucket, group = buckets[place], groups[place]
            weight = weights[group][bucket]
            # A line with a level of its own counts under it; one without, under that of the entry it belongs to.
            _of(one.levels, group[1] or entry.level, window)[bucket] += weight
            template[bucket] += weight
            if entry.new:
                one.new[bucket] += weight
    return found


def _groups(batch: LogBatch) -> dict[tuple[str, str], Floats]:
    """Exact counts, levels in our vocabulary."""
    counts: dict[tuple[str, str], Floats] = {}
    for (component, level), numbers in batch.counts.items():
        group = component, level_of(level)
        exact = np.asarray(numbers, np.float64)
        counts[group] = counts[group] + exact if group in counts else exact
    return counts


def _weight(total: Floats | None, sampled: Floats) -> Floats:
    if total is None:
        return np.ones(len(sampled))
    return np.divide(total, sampled, out=np.zeros(len(sampled)), where=sampled > 0)


def _of(counts: dict[str, Floats], name: str, window: Window) -> Floats:
    if name not in counts:
        counts[name] = np.zeros(len(window))
    return counts[name]
