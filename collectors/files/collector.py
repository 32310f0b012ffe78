"""The collector: files of a folder → frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from collectors.files.blocks import Known
from collectors.files.buckets import KINDS, Grid, Samples
from collectors.files.catalogue import list_files
from collectors.files.layout import Unusable
from collectors.files.limits import LIMITS, Limits
from collectors.files.parsing import Rows
from collectors.files.reading import UNREADABLE, Reader, label_of, reason_of
from collectors.files.settings import FilesSettings
from collectors.files.strict import check
from collectors.files.tally import Tally
from collectors.files.times import BAD, MICRO
from collectors.files.vocabulary import Rowfinder, Vocabulary, codes_of
from tocsin.errors import ConfigError, TransientError
from tocsin.model import Aggregate, Bools, Floats, Frame, Ints, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings

NO_PERCENTILES = "percentiles of a bucket cannot be worked out from files; write mean, max or last"


class Files:
    """Collects from files that may grow, rotate, vanish and come back while it runs. Not safe for two threads at once.

    Every call first looks at what changed on disk. `counts` says how many rows, cells, names, files and links were refused, left
    out or cut so far, and `examples` has a sentence about the latest of each kind.

    Where a file that had values cannot be read, or is gone and nobody continues its series, its rows are "not known".
    """

    def __init__(self, settings: FilesSettings, surroundings: Surroundings, *, limits: Limits = LIMITS) -> None:
        if wrong := [name for name in settings.fields if _percentile(surroundings.metrics.get(name))]:
            raise ConfigError(*(f"{surroundings.component_type}: files: {name}: {NO_PERCENTILES}" for name in wrong))
        self._settings, self._surroundings, self._limits = settings, surroundings, limits
        self._folder = surroundings.folder
        self._metrics: Mapping[str, Metric] = surroundings.metrics
        self._tally = Tally()
        self.counts, self.examples = self._tally.counts, self._tally.examples
        self._vocabulary = Vocabulary(2 * settings.max_series + 1000)
        self._reader = Reader(settings, ZoneInfo(surroundings.calendar.timezone), self._vocabulary, self._tally, limits)
        self._known: dict[Path, Known] = {}
        self._gone: dict[Path, Known] = {}
        self._series: tuple[list[Ints], tuple[SeriesKey, ...]] | None = None
        self._finder: tuple[SeriesIndex, int, Rowfinder, Ints] | None = None

    def discover(self) -> tuple[SeriesKey, ...]:
        """Every series of every file that can be read, sorted; at most `max_series`, and `counts` says when that cut."""
        self._refresh()
        codes = [known.codes for known in self._readable()]
        if self._series is None or not _same(self._series[0], codes):
            every = np.unique(np.concatenate([np.zeros(0, np.int64), *codes]))
            keys = sorted(self._vocabulary.key(code) for code in every.tolist())
            cap = self._settings.max_series
            self._tally.hold("series cut", len(keys) - cap, f"there are {len(keys)} series, only the first {cap} are read")
            self._series = codes, tuple(keys[:cap])
        return self._series[1]

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for these rows. Only the blocks that overlap the window are read."""
        self._refresh()
        finder, kinds = self._rows_of(index)
        values, known = np.full((len(index), len(window)), np.nan), np.ones((len(index), len(window)), bool)
        for part in _parts(window, len(index), self._limits.buckets):
            columns = part.columns_in(window)
            values[:, columns], lost = self._fill(part, finder, kinds)
            for file in [*lost, *(file for file in self._known.values() if file.failure), *self._gone.values()]:
                missing = self._missing(file, part, finder, len(index))
                if file.path in self._gone:
                    missing &= np.isnan(values[:, columns])
                values[:, columns][missing] = np.nan
                known[:, columns] &= ~missing
        return Frame(index=index, window=window, values=values, known=known)

    def reach(self) -> tuple[int, int] | None:
        """First and last time of any row in a file that can be read."""
        self._refresh()
        spans = [(known.first, known.last) for known in self._readable() if known.blocks]
        return (min(first for first, _ in spans) // MICRO, max(last for _, last in spans) // MICRO) if spans else None

    def check(self) -> list[str]:
        """What a person should mend before the first tick, `file:line: column: …`, at most 20 sentences. Reads every file."""
        return check(self._settings, self._surroundings)

    def _readable(self) -> list[Known]:
        return [known for known in self._known.values() if not known.failure]

    def _refresh(self) -> None:
        """Bring what is known of every file up to date."""
        found = list_files(self._settings, self._folder, self._tally)
        if not found:
            raise TransientError(f"no file matches {', '.join(self._settings.paths)} in {self._folder}")
        fresh: dict[Path, Known] = {}
        for file in found:
            before = self._known.get(file.path)
            if before is not None and before.stamp == file.stamp and not before.try_again:
                fresh[file.path] = before
                continue
            known = self._reader.look(file, label_of(file, self._folder), before)
            fresh[file.path] = known
            if known.failure:
                self._tally.say("files not read", 1, _sentence(known), once=f"{file.path} {file.stamp} {known.failure}")
            self._gone.pop(file.path, None)
        for path, known in self._known.items():
            if path not in fresh and len(known.codes):
                self._tally.say("files gone", 1, f"{known.name} is gone")
                self._gone[path] = known
        while len(self._gone) > self._settings.max_files:
            del self._gone[next(iter(self._gone))]
        self._known = fresh
        if not self._readable():
            raise TransientError(f"no file can be read: {_sentence(next(iter(fresh.values())))}")

    def _rows_of(self, index: SeriesIndex) -> tuple[Rowfinder, Ints]:
        """Where each series goes and how it aggregates; worked out again only when the index or the names change."""
        names = len(self._vocabulary)
        if self._finder is None or self._finder[0] is not index or self._finder[1] != names:
            kinds = np.fromiter((KINDS[self._aggregate(key.metric)] for key in index), np.int64, len(index))
            self._finder = index, names, Rowfinder(index, self._vocabulary), kinds
        return self._finder[2], self._finder[3]

    def _aggregate(self, name: str) -> Aggregate:
        metric = self._metrics.get(name)
        if metric is None:
            return Aggregate.MEAN
        return Aggregate.LAST if metric.counter else metric.aggregate

    def _fill(self, window: Window, finder: Rowfinder, kinds: Ints) -> tuple[Floats, list[Known]]:
        """The values of all files, and the files that could not be read although they could just before."""
        grid, lost = Grid(window, kinds), []
        for file in self._readable():
            try:
                for samples in self._samples(file, window, finder, count=True):
                    grid.add(samples)
            except (Unusable, *UNREADABLE) as error:
                lost.append(self._lost(file, error))
        for part, marked in grid.disordered(self._limits.samples):
            batches: list[Samples] = []
            for file in self._readable():
                if file in lost:
                    continue
                try:
                    for samples in self._samples(file, part, finder, count=False):
                        mine = marked[samples.rows, (samples.times // MICRO - part.start) // part.span]
                        if mine.any():
                            batches.append(Samples(samples.rows[mine], samples.times[mine], samples.values[mine]))
                except (Unusable, *UNREADABLE) as error:
                    lost.append(self._lost(file, error))
            grid.settle(batches)
        return grid.result(), lost

    def _lost(self, file: Known, error: Exception) -> Known:
        self._tally.say("files not read", 1, f"{file.name}: {reason_of(error)}")
        file.stamp = (0, 0, -1, 0)  # look again next time
        return file

    def _samples(self, file: Known, window: Window, finder: Rowfinder, *, count: bool) -> Iterator[Samples]:
        """The file's values in the window that some row wants, a batch at a time."""
        start, end = window.start * MICRO, window.end * MICRO
        if file.layout is None or not file.overlapping(start, end) or not (finder.rows(file.codes) >= 0).any():
            return
        layout = file.layout
        metrics = self._reader.columns(file)
        positions, targets = layout.values, np.zeros(0, np.int64)
        by_column = not layout.long and layout.component is None
        if by_column:  # read only the columns that somebody wants, in the order of their rows
            targets = finder.rows(codes_of(np.array(file.component), metrics))
            chosen = np.flatnonzero(targets >= 0)
            chosen = chosen[np.argsort(targets[chosen])]
            targets, positions = targets[chosen], tuple(layout.columns[place][0] for place in chosen)
        for rows in self._reader.read(file, start, end, positions):
            inside = (rows.times != BAD) & (rows.times >= start) & (rows.times < end)
            if count and rows.bad is not None and (bad := int(np.count_nonzero(rows.bad[:, inside]))):
                self._tally.say("bad cells", bad, f"{file.name}: cells that are no numbers: {bad}")
            if by_column:
                places = targets[:, None]
            else:
                components = np.array([file.component]) if rows.components is None else rows.components
                codes = codes_of(components[None, :], metrics[:, None] if rows.metrics is None else rows.metrics[None, :])
                places = finder.rows(codes)
            yield from _flat(rows, places, inside)

    def _missing(self, file: Known, window: Window, finder: Rowfinder, rows: int) -> Bools:
        """Where this file, which cannot be read, has or may have values: (n, buckets).

        From its first row to its last, and after that as long as no readable file continues its series.
        """
        missing = np.zeros((rows, len(window)), bool)
        mine = finder.rows(file.codes)
        mine = mine[mine >= 0]
        first, last = (file.first // MICRO - window.start) // window.span, (file.last // MICRO - window.start) // window.span
        if not len(mine) or first >= len(window):
            return missing
        if last >= 0:
            missing[mine, :] |= (np.arange(len(window)) >= first) & (np.arange(len(window)) <= last)
        if last < len(window) - 1:
            successors = [other.codes for other in self._readable() if other is not file and other.last > file.last]
            continued = finder.rows(np.concatenate([np.zeros(0, np.int64), *successors]))
            ended = np.setdiff1d(mine, continued)
            missing[ended, max(0, last + 1) :] = True
        return missing


def _percentile(metric: Metric | None) -> bool:
    return metric is not None and metric.aggregate.percent is not None


def _sentence(file: Known) -> str:
    return f"{file.name}: {file.failure}"


def _flat(rows: Rows, places: Ints, inside: Bools) -> Iterator[Samples]:
    """Values (m, n) and their rows of the index (broadcast) → one flat batch without gaps."""
    if not inside.any():
        return
    times, values = rows.times, rows.values
    if not inside.all():
        times, values = times[inside], values[:, inside]
        places = places if places.shape[1] == 1 else places[:, inside]
    places = np.broadcast_to(places, values.shape)
    there = (places >= 0) & ~np.isnan(values)
    if there.any():
        yield Samples(places[there], np.broadcast_to(times, values.shape)[there], values[there])


def _parts(window: Window, rows: int, buckets: int) -> Iterator[Window]:
    size = max(1, buckets // max(rows, 1))
    for first in range(0, len(window), size):
        start = window.start + first * window.span
        yield Window(start, min(start + size * window.span, window.end), window.span)


def _same(before: Sequence[Ints], now: Sequence[Ints]) -> bool:
    return len(before) == len(now) and all(a is b or np.array_equal(a, b) for a, b in zip(before, now, strict=True))
