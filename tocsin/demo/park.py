"""What the simulator makes: a park, what really happened in it, and the static template its team deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.evaluation import Label
from tocsin.model import Frame, Metric, Window
from tocsin.thresholds import Template
from tocsin.timegrid import Calendar


@dataclass(frozen=True, kw_only=True)
class ParkType:
    """One component type of the park.

    `raw` is what a source would say: counters as they count. `frame` is what everything behind it sees: counters as
    rates per second, over the park's window.
    """

    name: str
    metrics: Mapping[str, Metric]
    template: Template
    raw: Frame
    frame: Frame


@dataclass(frozen=True, kw_only=True)
class Park:
    """Five weeks of a park: `history` to learn from, `live` to be judged.

    `incidents` are what a person on call would have wanted to be told of in the live week; `changes` are lasting and
    fine (one message about them is welcome, a second is not); `past` are the incidents hidden in the history.
    """

    seed: int
    calendar: Calendar
    history: Window
    live: Window
    types: Mapping[str, ParkType]
    incidents: tuple[Label, ...]
    changes: tuple[Label, ...]
    past: tuple[Label, ...]

    @property
    def window(self) -> Window:
        return Window(self.history.start, self.live.end, self.live.span)

    @property
    def components(self) -> int:
        return sum(len(kind.raw.index.components) for kind in self.types.values())

    def of(self, component: str) -> ParkType:
        """The type a component is of."""
        return next(kind for kind in self.types.values() if component in kind.raw.index.components)
