"""The ports, and what each promises. Plugins are values, found through entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from tocsin.model import (
    Baseline,
    CheckResult,
    Desired,
    Downtime,
    Fitted,
    Frame,
    HostFacts,
    Incident,
    LogBatch,
    Metric,
    Outcome,
    Probe,
    Remark,
    Scores,
    SeriesIndex,
    SeriesKey,
    ServiceKey,
    Shown,
    Telling,
    Window,
)
from tocsin.settings import Settings
from tocsin.timegrid import Calendar

J = TypeVar("J")
D = TypeVar("D")


class Collector(Protocol):
    """Outside → frames.

    Both methods may raise `TransientError` (the source cannot answer now). Bad rows are counted, never raised.
    """

    def discover(self) -> Sequence[SeriesKey]:
        """Every series the source can tell about now, each once, in any order."""
        ...

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        """The window's values for exactly these rows. A series the source does not have is "no data"."""
        ...

    def check(self) -> Sequence[str]:
        """What a person should put right before the first tick, one sentence with its place each; empty when all is well."""
        ...

    def reach(self) -> tuple[int, int] | None:
        """First and last time (epoch seconds) the source has values for, None when it has none."""
        ...


@runtime_checkable
class RemoteCollector(Collector, Protocol):
    """A collector that asks a server: it can tell about the server, and how late its data come."""

    def lag(self) -> float | None:
        """Seconds until nearly all (99 %) of a bucket's data have arrived, as seen lately; None when not known yet."""
        ...

    def probe(self, now: float) -> Probe:
        """Connect and look, for a person. Raises `TransientError` or `PermanentError` with place, cause and remedy."""
        ...

    def close(self) -> None:
        """Give back connections and cancel what runs at the source. Nothing is asked afterwards."""
        ...


class Wellbeing(Protocol):
    """How a source does: `ok`, `degraded` (it answers, not always or not all) or `down` (it is left alone), and why."""

    @property
    def kind(self) -> Literal["ok", "degraded", "down"]: ...

    @property
    def reason(self) -> str: ...


class Demand(Protocol):
    """What a source was asked for since the start."""

    @property
    def requests(self) -> int: ...

    @property
    def bytes(self) -> int: ...


class Gate(Protocol):
    """What a collector asks its source through (`collectors.manners.Manners`)."""

    @property
    def state(self) -> Wellbeing: ...

    @property
    def usage(self) -> Demand: ...


@runtime_checkable
class Mannered(Protocol):
    """A collector whose gate to the source can tell how the source does."""

    @property
    def manners(self) -> Gate: ...


@runtime_checkable
class Noting(Protocol):
    """A collector that leaves something out, and says so."""

    @property
    def notes(self) -> Sequence[str]:
        """What a cap cut or a rule could not take in, as of the last discovery, a sentence each; asks nobody."""
        ...


@runtime_checkable
class TemplatedCollector(Collector, Protocol):
    """A collector of a supervising system, which knows the static thresholds of each series."""

    def thresholds(self) -> Mapping[SeriesKey, tuple[str, str]]:
        """Warning and critical range of each series that has any, in the notation of the plugins; empty for none."""
        ...


@runtime_checkable
class LogCollector(Collector, Protocol):
    """A collector whose series count log lines."""

    def example(self, key: SeriesKey) -> str:
        """A recent masked line behind this series, empty when there is none."""
        ...


class LogSource(Protocol):
    """Where log entries come from: one method per source, everything else about logs is the same for all."""

    def read(self, window: Window) -> LogBatch:
        """Counts of all entries of the window, and a bounded sample of their text. Raises `TransientError`."""
        ...

    def reach(self) -> tuple[int, int] | None:
        """First and last time (epoch seconds) there are entries for, None when there are none. Raises `TransientError`."""
        ...

    def check(self) -> Sequence[str]:
        """What a person should put right, as `Collector.check`."""
        ...


@runtime_checkable
class RemoteLogSource(LogSource, Protocol):
    """A log source that asks a server; each method as in `RemoteCollector`."""

    def lag(self) -> float | None: ...

    def probe(self, now: float) -> Probe: ...

    def close(self) -> None: ...


class Supervision(Protocol):
    """What the supervising system (Centreon) knows of hosts: read, never written. All may raise `TransientError`."""

    def hosts(self) -> Mapping[str, HostFacts]:
        """Every host by name."""
        ...

    def downtimes(self, start: float, end: float) -> Sequence[Downtime]:
        """Downtimes that overlap [start, end), cancelled ones as far as they went."""
        ...

    def remarks(self, since: float) -> Sequence[Remark]:
        """Acknowledgements, comments and closings by people since then, oldest first."""
        ...


class Detector(Protocol):
    """Frames → scores. A detector is its parameters; both methods are pure and do not depend on row order."""

    @property
    def name(self) -> str:
        """As in the YAML's `use:`; baselines are stored under it."""
        ...

    @property
    def signature(self) -> str:
        """What kind of problem it finds; detectors of one signature are fused, each signature is its own incident."""
        ...

    @property
    def lookback(self) -> int:
        """Seconds before a bucket that `score` needs in the frame to judge it."""
        ...

    def fit(self, history: Frame) -> Fitted:
        """Learn every row from its own history, and from whether its component has other rows. Rows with too little history get a
        baseline that judges nothing."""
        ...

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge the buckets of `window` (default: of the whole frame), each from what came before it in the frame.

        Rows follow `frame.index`, which may differ from the baseline's: a row the baseline does not know is not judged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """One window of a walk through a past: what is said of it by what was learnt just before it. `fitted()` gives what was
    learnt, for those who need it."""

    scores: Scores
    fitted: Callable[[], Fitted]


@runtime_checkable
class WalkingDetector(Detector, Protocol):
    """A detector that goes through a long past faster than by learning all of it again and again."""

    def walk(self, frame: Frame, windows: Sequence[Window], train: int) -> Iterator[Stretch]:
        """For each of the windows, which tile the time from the first one's start: what `fit` on the `train` seconds of the
        frame before it and then `score` would give, to rounding (`detectors.walking.refitted` is that, plainly).

        A window before which the frame has nothing is not judged: its scores are NaN.
        """
        ...


@runtime_checkable
class ComponentDetector(Protocol):
    """Surprises → scores of whole components: what is rare only in how a component's series are surprised together.

    Listed under `detect:` like any other; told from a `Detector` by `listens_to`. It is fitted after the detectors of the
    signature it listens to, on their rehearsals, and scored after them, on their scores; its own surprise goes to the same
    fusion as one more row of the component. Both methods are pure, do not depend on row order, and treat each component as
    if it were alone.
    """

    @property
    def name(self) -> str:
        """As in the YAML's `use:`; baselines are stored under it."""
        ...

    @property
    def signature(self) -> str:
        """As of a `Detector`."""
        ...

    @property
    def listens_to(self) -> str:
        """The signature of the series detectors whose scores it is given; component detectors do not hear one another."""
        ...

    def fit(self, rehearsals: Sequence[Scores]) -> Fitted:
        """Learn from one rehearsal per series detector, in the order of the configuration, all of one index; their windows
        end together, what only some of them rehearsed is left out.

        Baseline and rehearsal have one row per component, `index.by_component`. A component with too little to learn from
        gets a row that judges nothing. The rehearsal is NaN in buckets that were not rehearsed (a sample is enough);
        whoever calibrates on it leaves these buckets of the component out.
        """
        ...

    def score(self, scores: Sequence[Scores], baseline: Baseline) -> Scores:
        """Judge every bucket of the scores, all of one index and window, one bucket at a time.

        The result's index is `index.by_component`. A component that the baseline does not know, or none of whose series was
        judged, is not judged. A series that the baseline does not know is left out; expected, lower and upper are NaN.
        """
        ...


class Stage(Protocol):
    """Decides whether an incident may be shown, and says why not through `Incident.held_by`."""

    def __call__(self, incidents: Sequence[Incident], now: datetime) -> Sequence[Incident]: ...


class Sink(Protocol):
    """Passive results → what Centreon shows. A result is an idempotent register write: repeating it changes nothing."""

    @property
    def reads_back(self) -> bool:
        """Whether `read_back` can tell what the far side shows."""
        ...

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """One outcome per result, in order; never raises, never blocks longer than a second or so."""
        ...

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """What is shown for those of the services that exist there. Raises `TransientError` when it cannot tell."""
        ...


@runtime_checkable
class ProbingSink(Sink, Protocol):
    """A sink that can tell about the far side without changing anything there."""

    def probe(self, now: float) -> Probe:
        """Look, for a person: what a "yes" means, what is in the way. Raises as `RemoteCollector.probe`."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A part that holds connections."""

    def close(self) -> None:
        """Give them back. Nothing is asked of it afterwards."""
        ...


class DesiredStore(Protocol):
    """Where the rows of the desired state live; every call is one transaction."""

    def due(self, now: float, limit: int) -> Sequence[Desired]:
        """Rows with `next_due_at` <= now and `valid_until` > now: changed since last seen first, worst first, oldest first."""
        ...

    def all_desired(self) -> Sequence[Desired]:
        """Every row."""
        ...

    def record(self, before: Sequence[Desired], after: Sequence[Desired]) -> None:
        """Store what delivery learnt (sent, seen, due, attempts, error, must_show).

        What a tick has changed meanwhile (code, text, version, valid_until …) is left alone: only delivery's own columns are
        written, and `next_due_at`/`must_show` only where `version` is still that of `before`.
        """
        ...


class TellingStore(Protocol):
    """What a sink beside Centreon was told; every call is one transaction."""

    def untold(self, now: float, limit: int, again_before: float | None) -> Sequence[Telling]:
        """Services whose row changed since the sink was told, worst first; with `again_before` also those that are not OK and
        were told before that time. A service that was never anything but OK is not among them."""
        ...

    def record(self, tellings: Sequence[Telling]) -> None:
        """Store how telling went; a telling without an error was taken by the sink."""
        ...


class Executor(Protocol):
    """Runs pure work somewhere else; results come in any order."""

    def map(self, work: Callable[[J], D], jobs: Iterable[J]) -> Iterator[D]: ...


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the component type tells its plugins.

    `memory` is a folder of its own in which a part may keep what it must remember between two runs (log templates); None
    where nothing may be kept.
    """

    component_type: str
    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric]
    folder: Path
    memory: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A part of the product by name. `build(settings, surroundings)` makes it; nothing connects before it is used.

    `surroundings` is None for parts that belong to no component type (sinks). When the settings of a collector have
    `fields: dict[str, str]`, it is filled in with each named metric's name in the source; nobody writes it.
    """

    name: str
    summary: str
    settings: type[Settings]
    build: Callable[[Any, Any], Any]
