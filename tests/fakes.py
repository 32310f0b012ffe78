"""Stand-ins for the ports, used by everyone."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tocsin.errors import TransientError
from tocsin.model import (
    Baseline,
    CheckResult,
    Fitted,
    Frame,
    Ints,
    LogBatch,
    LogLine,
    Outcome,
    Scores,
    Sent,
    SeriesIndex,
    SeriesKey,
    ServiceKey,
    Severity,
    Shown,
    Window,
)


class ListCollector:
    """A source made of `{series: {time: value}}`; set `error` to make every question fail."""

    def __init__(self, samples: Mapping[SeriesKey, Mapping[int, float]]) -> None:
        self.samples = {key: dict(values) for key, values in samples.items()}
        self.error: Exception | None = None

    def discover(self) -> Sequence[SeriesKey]:
        self._fail()
        return list(self.samples)

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        self._fail()
        values = np.full((len(index), len(window)), np.nan)
        for row, key in enumerate(index):
            for time, value in self.samples.get(key, {}).items():
                if window.start <= time < window.end:
                    values[row, (time - window.start) // window.span] = value
        return Frame.of(index, window, values)

    def check(self) -> Sequence[str]:
        return ()

    def reach(self) -> tuple[int, int] | None:
        self._fail()
        times = [time for values in self.samples.values() for time in values]
        return (min(times), max(times)) if times else None

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class FakeEngine:
    """A receiver with an engine's bad manners: it accepts what it then drops, forgets everything when it dies, and shows
    whatever came last, however old. `history` is everything it ever showed, as (time, service, code)."""

    def __init__(self, services: Iterable[ServiceKey], *, reads_back: bool = True) -> None:
        self.services, self.reads_back = set(services), reads_back
        self.now, self.up, self.drops = 0.0, True, False
        self.shown: dict[ServiceKey, Shown] = {}
        self.history: list[tuple[float, ServiceKey, Severity]] = []
        self.received = 0
        self._pipe: list[CheckResult] = []

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        if not self.up:
            return [Outcome(sent=Sent.NO, why="down")] * len(results)
        self.received += len(results)
        if not self.drops:
            self._pipe += results
        return [Outcome(sent=Sent.YES)] * len(results)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        if not self.up:
            raise TransientError("down")
        nothing = Shown(service=ServiceKey("", ""), code=None, text="", last_check=0)
        return [self.shown.get(key, replace(nothing, service=key)) for key in services if key in self.services]

    def work(self) -> None:
        """Show what lies in the pipe; an unknown service is dropped without a word."""
        for result in self._pipe:
            if result.service in self.services:
                key = result.service
                self.shown[key] = Shown(service=key, code=result.code, text=result.text, last_check=result.at)
                self.history.append((self.now, key, result.code))
        self._pipe = []

    def die(self) -> None:
        """Killed: the pipe and all states are lost."""
        self.up, self._pipe, self.shown = False, [], {}


@contextmanager
def no_room() -> Iterator[None]:
    """No file may grow: what a full disk looks like to a program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class LevelDetector:
    """Judges by the distance from the mean of the history, in spreads, and by nothing else; remembers what it was shown.

    Surprise is that distance averaged over the bucket and the two before it, so that it needs a `lookback`.
    """

    def __init__(self, span: int, name: str = "level", signature: str = "anomaly") -> None:
        self.name, self.signature, self.lookback = name, signature, 2 * span
        self.learnt: list[Window] = []
        self.shown: list[Window] = []

    def fit(self, history: Frame) -> Fitted:
        self.learnt.append(history.window)
        mean = np.array([np.mean(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in history.values])
        spread = np.array([np.std(row[~np.isnan(row)]) + 1.0 if (~np.isnan(row)).any() else np.nan for row in history.values])
        arrays = {"mean": mean.reshape(-1), "spread": spread.reshape(-1)}
        baseline = Baseline(detector=self.name, index=history.index, trained_on=history.window, arrays=arrays)
        return Fitted(baseline=baseline, rehearsal=self._judge(history, baseline, history.window))

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        self.shown.append(frame.window)
        return self._judge(frame, baseline, window or frame.window)

    def _judge(self, frame: Frame, baseline: Baseline, window: Window) -> Scores:
        rows = frame.index.rows_in(baseline.index)
        known = (rows >= 0)[:, None]
        mean, spread = (baseline.arrays[name][np.maximum(rows, 0)][:, None] for name in ("mean", "spread"))
        far = np.abs(frame.values - mean) / spread
        before = np.concatenate([np.full((len(far), 2), np.nan), np.where(np.isnan(far), 0.0, far)], axis=1)
        near = np.nan_to_num(before[:, :-2]) + np.nan_to_num(before[:, 1:-1]) + far
        surprise = np.where(known, near / 3.0, np.nan)[:, window.columns_in(frame.window)]
        expected = np.broadcast_to(np.where(known, mean, np.nan), surprise.shape)
        return Scores(
            index=frame.index,
            window=window,
            surprise=surprise,
            expected=expected,
            lower=expected - spread,
            upper=expected + spread,
        )


class ListLogs:
    """A log source made of lines. `dark` buckets cannot be asked, one of `sample` lines travels as text, `extra` entries are
    counted and never travel, and `unbounded` gives every line whatever the window; `asked` remembers the windows."""

    def __init__(self, lines: Iterable[LogLine]) -> None:
        self.lines = list(lines)
        self.dark: list[int] = []
        self.sample = 1
        self.extra: dict[tuple[str, str], dict[int, int]] = {}
        self.unbounded = False
        self.error: Exception | None = None
        self.asked: list[Window] = []

    def read(self, window: Window) -> LogBatch:
        if self.error is not None:
            raise self.error
        self.asked.append(window)
        mine = [line for line in self.lines if self.unbounded or window.start <= line.at < window.end]
        counts: dict[tuple[str, str], Ints] = {}

        def count(key: tuple[str, str], bucket: int, number: int) -> None:
            if 0 <= bucket < len(window):
                counts.setdefault(key, np.zeros(len(window), np.int64))[bucket] += number

        for line in mine:
            count((line.component, line.level), int(line.at - window.start) // window.span, 1)
        for key, numbers in self.extra.items():
            for bucket, number in numbers.items():
                count(key, bucket, number)
        known = np.ones(len(window), bool)
        known[[bucket for bucket in self.dark if bucket < len(window)]] = False
        kept = {id(line): place for place, line in enumerate(sorted(mine, key=lambda line: line.level))}
        text = [line for line in mine if kept[id(line)] % self.sample == 0]
        return LogBatch(window=window, counts=counts, lines=text, known=known)

    def reach(self) -> tuple[int, int] | None:
        if self.error is not None:
            raise self.error
        return (int(min(line.at for line in self.lines)), int(max(line.at for line in self.lines))) if self.lines else None

    def check(self) -> Sequence[str]:
        return ()
