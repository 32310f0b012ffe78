"""Log entries of one source → series that count them: per component, level and template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from collectors.logs.learn import EXAMPLE, NEW, Learner, understood
from collectors.logs.levels import LEVELS, WATCHED
from collectors.logs.settings import LogSettings
from collectors.logs.tally import OTHER, Tally, tally
from collectors.logs.text import harmless
from collectors.logs.waits import waits
from tocsin.model import Bools, Floats, Frame, LogBatch, Probe, SeriesIndex, SeriesKey, Window
from tocsin.ports import LogCollector, LogSource, Mannered, RemoteLogSource, Surroundings

LINES, LEVEL, TEMPLATE = "log.lines", "log.level.", "log.template."
WAIT = "request.wait"
FIRST_LOOK = 3600
"""Seconds of log that a first `discover` reads, when nothing is remembered."""
LONGEST_NAME = 255
ENOUGH = 0.9
"""What is new is known when so much of the time before was read."""


class LogCounts:
    """Counts the lines of a `LogSource`. What is learnt of templates names and orders them; the counts of a window are made of
    that window's entries, so that reading it again counts nothing twice.

    `log.lines`, `log.level.<level>` and `log.template.<name>` each add up to what the source counted; where text came only as
    a sample, templates are estimates. `log.new` counts lines of templates that the component had never shown until `fresh`
    before. `request.wait`, where lines tell their request, is no count: see `waits`. Not safe for two threads at once.
    """

    def __init__(self, source: LogSource, settings: LogSettings, surroundings: Surroundings) -> None:
        self._source, self._settings, self._surroundings = source, settings, surroundings
        self._learner: Learner | None = None

    @property
    def learner(self) -> Learner:
        """What is remembered of this source; read from disk when first asked for."""
        if self._learner is None:
            memory = self._surroundings.memory
            path = memory / "templates.json" if memory is not None else None
            self._learner = Learner(self._settings, path, self._surroundings.component_type)
        return self._learner

    def discover(self) -> tuple[SeriesKey, ...]:
        """Every series of every component that logged since the memory began, sorted. The first time ever, the last hour of
        the source is read for that."""
        registry, span = self.learner.registry, self._surroundings.span
        if not registry.components and (reach := self._source.reach()) is not None:
            self._read(Window.ending(reach[1] + span, span, -(-FIRST_LOOK // span)))
        found = []
        for component, known in registry.components.items():
            metrics = [LINES, NEW, *(LEVEL + level for level in known.levels.union(WATCHED))]
            metrics += [TEMPLATE + name for name in known.templates]
            metrics += [TEMPLATE + OTHER] if known.other else []
            metrics += [WAIT] if known.waits else []
            found += [SeriesKey(component, metric) for metric in metrics]
        return tuple(sorted(found))

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """Counts of the window: 0 where a known series had no line; not known where the source could not be asked, or gave
        no text to tell templates by; "no data" for a series that nobody knows (any more)."""
        if self._nothing_yet(index, window):
            return Frame.of(index, window, np.zeros((len(index), len(window))))
        if not len(index):
            return Frame.of(index, window, np.zeros((0, len(window))))
        batch, tallies = self._read(window)
        values = np.zeros((len(index), len(window)))
        known = np.tile(batch.known, (len(index), 1))
        settled = self._settled(window)
        groups = self.learner.groups() if any(one.dark for one in tallies.values()) else {}
        for row, key in enumerate(index):
            self._fill(key, tallies.get(key.component), settled, groups, values[row], known[row])
        values[~known] = np.nan
        return Frame(index=index, window=window, values=values, known=known)

    def example(self, key: SeriesKey) -> str:
        """A recent masked line behind the series, at most 300 bytes; of a template not met since the start, its text."""
        if key.metric == NEW:
            return self.learner.example(key.component, NEW)
        if key.metric.startswith(LEVEL):
            return self.learner.example(key.component, key.metric.removeprefix(LEVEL))
        name = key.metric.removeprefix(TEMPLATE)
        return harmless(self.learner.example(key.component, name) or self.learner.text_of(name), EXAMPLE)

    def check(self) -> list[str]:
        """What the source says, and what became of the memory of templates."""
        problem = self.learner.problem
        return [*self._source.check(), *([problem] if problem else [])]

    def reach(self) -> tuple[int, int] | None:
        """As the source."""
        return self._source.reach()

    def _read(self, window: Window) -> tuple[LogBatch, dict[str, Tally]]:
        """Ask the source, learn from what it said, and count it."""
        batch = usable(self._source.read(window))
        learner = self.learner
        tallies = tally(batch, learner.understand(batch))
        for component, one in tallies.items():
            if (known := learner.registry.components.get(component)) is not None:
                known.levels |= one.levels.keys()
                known.other |= OTHER in one.templates
        for component, wait in waits(batch).items():
            tallies[component].wait = wait
            if (known := learner.registry.components.get(component)) is not None:
                known.waits = True
        return batch, tallies

    def _nothing_yet(self, index: SeriesIndex, window: Window) -> bool:
        """Whether only templates are asked for, the window was read before, and none of them was known until after it:
        a new template brings weeks of zeros, and nobody has to ask the source for them again."""
        registry = self.learner.registry
        if not len(index) or not registry.stretches.holds(window.start, window.end):
            return False
        for key in index:
            known = registry.components.get(key.component)
            times = known.templates.get(key.metric.removeprefix(TEMPLATE)) if known is not None else None
            if times is None or times[0] < window.end:
                return False
        return True

    def _settled(self, window: Window) -> Bools:
        """In which buckets it is known what is new: the time before was read, (n_buckets,)."""
        settle, stretches = self._settings.settle, self.learner.registry.stretches
        return np.array([stretches.share(at - settle, at) >= ENOUGH for at in window.starts.tolist()], bool)

    def _fill(
        self,
        key: SeriesKey,
        seen: Tally | None,
        settled: Bools,
        groups: Mapping[str, set[str]],
        values: Floats,
        known: Bools,
    ) -> None:
        """One row, in place. `groups` are the levels under which the source counts the lines of a template."""
        component = self.learner.registry.components.get(key.component)
        kind, name = _kind_of(key.metric)
        if component is None or not kind or (kind == TEMPLATE and name != OTHER and name not in component.templates):
            values[:] = np.nan
            return
        if kind == NEW:
            values[:] = np.where(settled, 0.0 if seen is None else seen.new, np.nan)
            known &= True if seen is None else seen.told
            return
        if kind == WAIT:
            values[:] = np.nan if seen is None or seen.wait is None else seen.wait
            return
        if seen is None:
            return
        if kind == LINES:
            values[:] = seen.lines
        elif kind == LEVEL:
            values[:] = seen.levels.get(name, 0.0)
        else:
            values[:] = seen.templates.get(name, 0.0)
            if name != OTHER and seen.dark:
                for group in groups.get(name, set()) & seen.dark.keys():
                    known &= seen.dark[group] == 0


def _kind_of(metric: str) -> tuple[str, str]:
    """What a metric counts, and of which level or template; empty when it is none of ours."""
    if metric in (LINES, NEW, WAIT):
        return metric, ""
    for kind in (LEVEL, TEMPLATE):
        if metric.startswith(kind):
            name = metric.removeprefix(kind)
            return ("", "") if kind == LEVEL and name not in LEVELS else (kind, name)
    return "", ""


class RemoteLogCounts(LogCounts):
    """The same over a server."""

    def __init__(self, source: RemoteLogSource, settings: LogSettings, surroundings: Surroundings) -> None:
        super().__init__(source, settings, surroundings)
        self._remote = source
        if isinstance(source, Mannered):  # how the source does is looked for here
            self.manners = source.manners

    def lag(self) -> float | None:
        """As the source."""
        return self._remote.lag()

    def probe(self, now: float) -> Probe:
        """As the source; what it shows of text is masked."""
        probe = self._remote.probe(now)
        return replace(probe, samples=tuple(understood(sample, self._settings.max_line)[0] for sample in probe.samples))

    def close(self) -> None:
        """Keep what was learnt, and let the source go."""
        if self._learner is not None:
            self._learner.save()
        self._remote.close()


def collector(source: LogSource, settings: LogSettings, surroundings: Surroundings) -> LogCollector:
    """What counts this source's lines; a `RemoteCollector` too where the source is remote."""
    if isinstance(source, RemoteLogSource):
        return RemoteLogCounts(source, settings, surroundings)
    return LogCounts(source, settings, surroundings)


def usable(batch: LogBatch) -> LogBatch:
    """Without lines outside the window and what cannot be the name of a component."""
    window = batch.window

    def named(component: str) -> bool:
        return bool(component) and harmless(component, LONGEST_NAME) == component

    lines = [line for line in batch.lines if window.start <= line.at < window.end and named(line.component)]
    counts = {key: numbers for key, numbers in batch.counts.items() if named(key[0])}
    return LogBatch(window=window, counts=counts, lines=lines, known=batch.known)
