"""Alerts held against what really happened: found, missed, false, and how late.

The rules, the same for a static template and for Tocsin:

- A label (an incident that took place) is *found* when somebody was told during it: an alert of the same component was
  opened, or got worse, between `early` seconds before its start and `grace` seconds after its end. An alert that was
  already open, and did not get worse, told nobody anything and finds nothing.
- The *delay* is from the label's start to the first such telling, never below zero. Further alerts during the same
  label are neither false nor a second find.
- The first alert about an *excused* period (the lasting change after a deployment, which is worth one message) is not
  counted as false. Any further alert in that period is.
- Every other alert is *false*.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

DAY = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """Something that really happened to a component in `[start, end)`, epoch seconds."""

    component: str
    start: int
    end: int
    kind: str = ""
    metrics: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One alert of a component: open in `[start, end)`; `told` are the instants somebody is told, `start` first.

    `text` is what a person was told, if anything was said.
    """

    component: str
    start: int
    end: int
    told: tuple[int, ...]
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What became of one label: the alert that found it and how late that was, or None twice."""

    label: Label
    episode: Episode | None
    delay: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How one way of alerting did over a period."""

    components: int
    component_days: float
    episodes: tuple[Episode, ...]
    matches: tuple[Match, ...]
    false: tuple[Episode, ...]
    excused: tuple[Episode, ...]

    @property
    def alerts(self) -> int:
        return len(self.episodes)

    @property
    def found(self) -> int:
        return sum(match.episode is not None for match in self.matches)

    @property
    def missed(self) -> int:
        return len(self.matches) - self.found

    @property
    def median_delay(self) -> float | None:
        """Seconds, over the labels that were found; None when none was."""
        delays = [match.delay for match in self.matches if match.delay is not None]
        return median(delays) if delays else None

    def per_component_day(self, count: int) -> float:
        """A count as a rate; 0 for an empty period."""
        return count / self.component_days if self.component_days else 0.0


def evaluate(
    episodes: Iterable[Episode],
    labels: Sequence[Label],
    *,
    components: int,
    start: int,
    end: int,
    excused: Sequence[Label] = (),
    early: int = 0,
    grace: int = 1_800,
) -> Tally:
    """Hold the alerts that tell something in `[start, end)` against the labels that overlap it."""
    ours = sorted((e for e in episodes if _tells(e, start, end)), key=lambda e: (e.start, e.component))
    of_component: dict[str, list[Episode]] = {}
    for episode in ours:
        of_component.setdefault(episode.component, []).append(episode)

    matches: list[Match] = []
    about_something: set[int] = set()
    for label in sorted(
        (label for label in labels if label.start < end and label.end > start), key=lambda lb: (lb.start, lb.component)
    ):
        opens, closes = label.start - early, label.end + grace
        tellings = [(_told_from(e, opens), e) for e in of_component.get(label.component, []) if _tells(e, opens, closes)]
        about_something.update(id(e) for _, e in tellings)
        first, finder = min(tellings, key=lambda telling: telling[0], default=(None, None))
        matches.append(Match(label=label, episode=finder, delay=None if first is None else max(0, first - label.start)))

    pardoned: set[int] = set()
    for period in excused:
        candidates = [e for e in of_component.get(period.component, []) if _tells(e, period.start, period.end)]
        pardoned.update(id(e) for e in [e for e in candidates if id(e) not in about_something][:1])

    return Tally(
        components=components,
        component_days=components * (end - start) / DAY,
        episodes=tuple(ours),
        matches=tuple(matches),
        false=tuple(e for e in ours if id(e) not in about_something and id(e) not in pardoned),
        excused=tuple(e for e in ours if id(e) in pardoned),
    )


def total(tallies: Iterable[Tally]) -> Tally:
    """Several component types as one park."""
    several = list(tallies)
    return Tally(
        components=sum(tally.components for tally in several),
        component_days=sum(tally.component_days for tally in several),
        episodes=tuple(sorted((e for tally in several for e in tally.episodes), key=lambda e: (e.start, e.component))),
        matches=tuple(sorted((m for tally in several for m in tally.matches), key=lambda m: (m.label.start, m.label.component))),
        false=tuple(sorted((e for tally in several for e in tally.false), key=lambda e: (e.start, e.component))),
        excused=tuple(sorted((e for tally in several for e in tally.excused), key=lambda e: (e.start, e.component))),
    )


def _told_from(episode: Episode, instant: int) -> int:
    return episode.told[bisect_left(episode.told, instant)]


def _tells(episode: Episode, start: int, end: int) -> bool:
    """Whether somebody is told in `[start, end)`."""
    at = bisect_left(episode.told, start)
    return at < len(episode.told) and episode.told[at] < end
