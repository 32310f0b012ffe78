"""One tick of one component type, measured: CPU seconds of its own thread, and the memory of the process.

Real engine, real store (SQLite on this disk), simulated source. The baselines are learnt from a thousand series and
repeated for the others: what a tick costs depends on how many there are, not on what they learnt.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import structlog

from alerting.judge import JudgeState
from detectors.fuse import Fusion
from tocsin import engine, memory
from tocsin.app import App
from tocsin.config import load
from tocsin.intake import Intake, Source
from tocsin.learning import to_baselines, to_models
from tocsin.model import Baseline, Frame, SeriesIndex, SeriesKey, Window
from tocsin.ports import Detector
from tocsin.scale.local import ProcessPool
from tocsin.scoring import learn
from tocsin.shard import Shard
from tocsin.sight import Sight
from tocsin.speak import Speaker, View
from tocsin.store.tick import Tick
from tocsin.timegrid import DAY

PER_COMPONENT = 10
LEARNT = 1_000
SPAN = 300
HISTORY = 15 * DAY
TICKS = 9
NOW = 1_780_000_200

_MAIN = "state: var\ndeliver: {sink: {use: recording}}\nhttp: {listen: null}\n"
_TYPE = """\
component_type: bench
timezone: Europe/Paris
every: 5m
delay: 0s
collect: [{from: files, path: nothing/*.csv, metrics: all}]
alert: {ladder: status}
"""


class Simulated:
    """A daily wave with noise for every series; one component in a thousand is in trouble in every bucket."""

    def __init__(self, index: SeriesIndex) -> None:
        self._index = index
        self._level = np.resize(np.random.default_rng(2).lognormal(3.0, 1.0, LEARNT), len(index))

    def discover(self) -> Sequence[SeriesKey]:
        return self._index.keys

    def check(self) -> Sequence[str]:
        return ()

    def reach(self) -> tuple[int, int] | None:
        return 0, NOW + DAY

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        wave = 2.0 + np.sin(2 * np.pi * window.starts / DAY)
        # A bucket that is read again holds the same values.
        noise = [np.random.default_rng(start).normal(0.0, 0.1, len(index)) for start in window.starts.tolist()]
        values = self._level[: len(index), None] * (wave + np.column_stack(noise))
        values[index.component_of % 1000 == 7] *= 3.0
        return Frame.of(index, window, values)


def measure(series: int) -> dict[str, Any]:
    """Figures of a tick with so many series; CPU in seconds, medians over nine ticks after a first one."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    before = _peak()
    index = SeriesIndex(
        SeriesKey(f"host-{place // PER_COMPONENT:05d}", f"metric-{place % PER_COMPONENT}") for place in range(max(series, 1))
    )
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        folder = Path(name)
        (folder / "components").mkdir()
        (folder / "tocsin.yaml").write_text(_MAIN, encoding="utf-8")
        (folder / "components" / "bench.yaml").write_text(_TYPE, encoding="utf-8")
        with App(load(folder / "tocsin.yaml"), started=NOW) as app:
            shard = app.shards[0]
            shard.intake = Intake([Source(name="simulated", collector=Simulated(index))], {})
            # Elsewhere, as the daemon does: the memory of a training is not that of a tick.
            models, learning = next(ProcessPool(1).map(_learn, [Lesson(SeriesIndex(index.keys[:LEARNT]), shard.detectors)]))
            shard.models = to_models(_repeated(models, index))
            reading = _Stopwatch(shard.intake.collect)
            setattr(shard.intake, "collect", reading)  # noqa: B010
            keeping = _Stopwatch(app.history.append)
            setattr(app.history, "append", keeping)  # noqa: B010
            ticks, spent = [], []
            for turn in range(TICKS + 1):
                outside = reading.seconds + keeping.seconds
                with _watched(_parts(shard)) as parts:
                    began = time.thread_time()
                    app.tick(shard, NOW + turn * SPAN)
                    whole = time.thread_time() - began
                ticks.append((whole - (reading.seconds + keeping.seconds - outside), keeping.last, whole))
                spent.append(parts)
    first, later = ticks[0], ticks[1:]
    return {
        "series": len(index),
        "components": len(index.components),
        "open_incidents": len(shard.open),
        "tick_cpu_seconds": median(tick[0] for tick in later),
        "tick_cpu_seconds_worst": max(tick[0] for tick in later),
        "parts_cpu_seconds": {part: median(one[part] for one in spent[1:]) for part in spent[0]},
        "first_tick_cpu_seconds": first[0],
        "history_cpu_seconds": median(tick[1] for tick in later),
        "learning_cpu_seconds_per_series": learning / min(LEARNT, len(index)),
        "peak_memory_mib": _peak() / 2**20,
        "memory_bytes_per_series": (_peak() - before) / len(index),
    }


def report(figures: Mapping[str, Any]) -> str:
    """The figures in words."""
    return "\n".join(
        [
            f"{figures['series']:,} series of {figures['components']:,} components, {figures['open_incidents']} incidents open",
            f"  score + fuse + judge + commit   {figures['tick_cpu_seconds'] * 1e3:8.1f} ms CPU a tick",
            *(f"    {part:<29} {seconds * 1e3:8.1f} ms" for part, seconds in figures["parts_cpu_seconds"].items()),
            f"  the worst of {TICKS} ticks            {figures['tick_cpu_seconds_worst'] * 1e3:8.1f} ms CPU",
            f"  first tick after a start        {figures['first_tick_cpu_seconds'] * 1e3:8.1f} ms CPU",
            f"  append to the history           {figures['history_cpu_seconds'] * 1e3:8.1f} ms CPU a tick",
            f"  learning                        {figures['learning_cpu_seconds_per_series'] * 1e3:8.2f} ms CPU a series",
            f"  peak memory                     {figures['peak_memory_mib']:8.0f} MiB",
            f"  memory                          {figures['memory_bytes_per_series'] / 1e3:8.1f} kB a series",
        ]
    )


class _Stopwatch:
    """Adds up the CPU time of a function's calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self.seconds, self.last = function, 0.0, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return self._function(*arguments, **named)
        finally:
            self.last = time.thread_time() - began
            self.seconds += self.last


def _parts(shard: Shard) -> list[tuple[str, Any, str]]:
    """What a tick consists of: a name for people, and the function that does it."""
    detectors = [(detector.name, type(detector), "score") for detector in shard.detectors]
    kept = [("pack and write", Tick, name) for name in ("set_judge_state", "put_incidents", "put_transitions", "want", "write")]
    return [
        ("what came late", memory, "lay_on"),
        *detectors,
        ("fuse", Fusion, "fuse"),
        ("judge", engine, "judge"),
        ("seen", View, "of"),
        ("seen", Sight, "after"),
        ("said", Speaker, "results"),
        ("pack and write", JudgeState, "to_arrays"),
        *kept,
    ]


@contextmanager
def _watched(parts: Sequence[tuple[str, Any, str]]) -> Iterator[dict[str, float]]:
    """CPU seconds of each part, filled in on leaving. Parts of one name are one."""
    watches = [(name, owner, attribute, _Stopwatch(getattr(owner, attribute))) for name, owner, attribute in parts]
    before = [owner.__dict__[attribute] for _, owner, attribute, _ in watches]
    for _, owner, attribute, watch in watches:
        bound = isinstance(owner.__dict__[attribute], classmethod)
        setattr(owner, attribute, staticmethod(watch) if bound else _as_method(watch))
    spent: dict[str, float] = {}
    try:
        yield spent
    finally:
        for (_, owner, attribute, _), original in zip(watches, before, strict=True):
            setattr(owner, attribute, original)
        for name, _, _, watch in watches:
            spent[name] = spent.get(name, 0.0) + watch.seconds


def _as_method(watch: _Stopwatch) -> Callable[..., Any]:
    """The same as a function: only that is bound to what it is asked of."""

    def method(*arguments: Any, **named: Any) -> Any:
        return watch(*arguments, **named)

    return method


def _peak() -> int:
    """The most memory this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Lesson:
    """What is learnt before the ticks."""

    index: SeriesIndex
    detectors: Sequence[Detector]


def _learn(lesson: Lesson) -> tuple[dict[str, Baseline], float]:
    """The baselines, and the CPU seconds they took."""
    end = NOW // SPAN * SPAN - SPAN
    history = Simulated(lesson.index).collect(lesson.index, Window(end - HISTORY, end, SPAN))
    began = time.process_time()
    models = to_baselines(learn(history, lesson.detectors))
    return models, time.process_time() - began


def _repeated(models: Mapping[str, Baseline], index: SeriesIndex) -> dict[str, Baseline]:
    per_component = SeriesIndex(SeriesKey(component, "") for component in index.components)
    whole = {}
    for name, baseline in models.items():
        keys = index if len(baseline.index) == min(LEARNT, len(index)) else per_component
        whole[name] = baseline.take(np.arange(len(keys)) % len(baseline.index), keys)
    return whole
