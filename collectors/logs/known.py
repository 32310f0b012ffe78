"""What is remembered between two windows: components, the templates each of them showed, and what was read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tocsin.model import Bools, Window

MOST_STRETCHES = 500
MOST_PAIRS = 100_000
"""Templates followed in all components together."""


@dataclass(kw_only=True, slots=True)
class Known:
    """One component. `templates` maps a template's name to the times of its first and last line here; `waits` once a step of a
    request was seen."""

    first: int
    last: int
    levels: set[str] = field(default_factory=set)
    templates: dict[str, list[int]] = field(default_factory=dict)
    other: bool = False
    waits: bool = False


class Stretches:
    """Times that were read, as few sorted half-open stretches."""

    def __init__(self, stretches: Iterable[Sequence[int]] = ()) -> None:
        self.all: list[tuple[int, int]] = []
        for start, end in stretches:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Was read too."""
        if start >= end:
            return
        merged: list[tuple[int, int]] = []
        for one in self.all:
            if one[1] < start or one[0] > end:
                merged.append(one)
            else:
                start, end = min(start, one[0]), max(end, one[1])
        merged.append((start, end))
        self.all = sorted(merged)[-MOST_STRETCHES:]

    def add_window(self, window: Window, known: Bools) -> None:
        """Those buckets of the window that the source answered for."""
        start: int | None = None
        for at, there in zip(window.starts.tolist(), known.tolist(), strict=True):
            if there and start is None:
                start = at
            elif not there and start is not None:
                self.add(start, at)
                start = None
        if start is not None:
            self.add(start, window.end)

    def share(self, start: int, end: int) -> float:
        """How much of [start, end) was read, 0..1; 1 for no time at all."""
        if start >= end:
            return 1.0
        covered = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in self.all)
        return covered / (end - start)

    def holds(self, start: int, end: int) -> bool:
        """Whether every second of it was read."""
        place = bisect_right(self.all, (start, 1 << 62)) - 1
        return place >= 0 and self.all[place][0] <= start and end <= self.all[place][1]


@dataclass(kw_only=True)
class Registry:
    """Every component that ever logged, within bounds; `cut` says how many components were left out."""

    most_components: int
    most_templates: int
    forget: int
    components: dict[str, Known] = field(default_factory=dict)
    stretches: Stretches = field(default_factory=Stretches)
    pairs: int = 0
    cut: int = 0

    def meet(self, component: str, start: int, end: int) -> Known | None:
        """A component that logged in [start, end); None when there are too many."""
        known = self.components.get(component)
        if known is None:
            if len(self.components) >= self.most_components and not self._drop_component(end):
                self.cut += 1
                return None
            known = self.components[component] = Known(first=start, last=end)
        known.first, known.last = min(known.first, start), max(known.last, end)
        return known

    def follow(self, known: Known, name: str, at: int) -> bool:
        """Note a line of a template; False when the component has no room for one more template."""
        times = known.templates.get(name)
        if times is not None:
            times[0], times[1] = min(times[0], at), max(times[1], at)
            return True
        if len(known.templates) >= self.most_templates or self.pairs >= MOST_PAIRS:
            oldest = min(known.templates, key=lambda other: (known.templates[other][1], other), default=None)
            if oldest is None or at - known.templates[oldest][1] < self.forget:
                known.other = True
                return False
            del known.templates[oldest]
            self.pairs -= 1
        known.templates[name] = [at, at]
        self.pairs += 1
        return True

    def _drop_component(self, now: int) -> bool:
        oldest = min(self.components, key=lambda name: (self.components[name].last, name), default=None)
        if oldest is None or now - self.components[oldest].last < self.forget:
            return False
        self.pairs -= len(self.components.pop(oldest).templates)
        return True
