"""The nouns. Batches are arrays `(series, buckets)`; what a person is told about is an object.

Times inside arrays and windows are whole seconds since the epoch, UTC. NaN means "not known", never zero.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, IntEnum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


LARGEST = 1e30
"""No measurement is larger: what is (infinities, a database's "no value" of 3.4e38) is taken for no value."""


# --- what is measured -------------------------------------------------------------------------------------------


class Direction(Enum):
    """On which side a metric can be in trouble."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


class Aggregate(Enum):
    """How the samples of one bucket become one value; a percentile `p95` is exceeded by 5 % of them."""

    MEAN = "mean"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    COUNT = "count"
    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"

    @property
    def percent(self) -> int | None:
        """Which percentile it is, None when it is none."""
        return int(self.value[1:]) if self.value[1:].isdigit() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What a person knows of a metric before any value was seen.

    `lower`/`upper` are bounds no value can cross (0..100 for a percentage). A deviation smaller than
    `min_deviation` (in the metric's unit) matters to nobody and never becomes surprising. A `counter` only grows
    until it is reset; everything behind the collector sees its rate per second.
    """

    name: str
    unit: str = ""
    direction: Direction = Direction.BOTH
    aggregate: Aggregate = Aggregate.MEAN
    counter: bool = False
    lower: float = -np.inf
    upper: float = np.inf
    min_deviation: float = 0.0


class Metrics(Mapping[str, Metric]):
    """What was said of metrics, by name. What was said of `disk.used` holds for each of its parts, such as `disk.used[/var]`."""

    def __init__(self, said: Mapping[str, Metric]) -> None:
        self._said = dict(said)

    def __getitem__(self, name: str) -> Metric:
        if (metric := self._said.get(name)) is not None:
            return metric
        return replace(self._said[whole(name, self._said)], name=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def __repr__(self) -> str:
        return f"Metrics({self._said})"


def part(metric: str, name: str) -> str:
    """A part of a metric that a component has several of: `disk.used` of `/var` is `disk.used[/var]`."""
    return f"{metric}[{name}]" if name else metric


def whole(name: str, metrics: Container[str]) -> str:
    """The metric that this is a part of; a name that is among `metrics`, or has no part, is itself."""
    base = name.partition("[")[0]
    return base if name not in metrics and name.endswith("]") and base else name


KINDS = ("", "log.", "request.wait")
"""How the names of metrics begin that are another kind of series: measured values, counts of log lines, waits in logs."""


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """A metric of a component."""

    component: str
    metric: str


class SeriesIndex(Sequence[SeriesKey]):
    """The rows of a batch: distinct keys in sorted order, so the rows of one component are neighbours.

    The order of the keys given does not matter; a duplicate is a `ValueError`.
    """

    def __init__(self, keys: Iterable[SeriesKey]) -> None:
        self.keys = tuple(sorted(keys))
        for a, b in zip(self.keys, self.keys[1:], strict=False):
            if a == b:
                raise ValueError(f"series {a.component}/{a.metric} is there twice")

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: Any) -> Any:
        return self.keys[row]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SeriesIndex):
            return False
        if self.keys is not other.keys:
            if len(self.keys) != len(other.keys) or self.keys != other.keys:
                return False
            # What is equal is the same from now on: comparing 100,000 keys with their doubles takes as long as judging them.
            other.keys = self.keys
        return True

    def __hash__(self) -> int:
        return hash(self.keys)

    def __repr__(self) -> str:
        return f"SeriesIndex({len(self.components)} components, {len(self)} series)"

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Each component once, in row order, (n_components,)."""
        return tuple(dict.fromkeys(key.component for key in self.keys))

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The position in `components` of each."""
        return {component: place for place, component in enumerate(self.components)}

    @cached_property
    def component_starts(self) -> Ints:
        """First row of each component, (n_components,): ready for `np.add.reduceat`."""
        names = np.array([key.component for key in self.keys], dtype=object)
        return np.flatnonzero(np.r_[True, names[1:] != names[:-1]]).astype(np.int64) if len(names) else np.zeros(0, np.int64)

    @cached_property
    def component_of(self) -> Ints:
        """Position in `components` of each row's component, (n_series,)."""
        counts = np.diff(np.r_[self.component_starts, len(self)])
        return np.repeat(np.arange(len(self.components)), counts)

    @cached_property
    def by_component(self) -> SeriesIndex:
        """One row per component, its metric empty: the index of what is learnt of whole components."""
        return SeriesIndex(SeriesKey(component, "") for component in self.components)

    @cached_property
    def metric_codes(self) -> NDArray[np.uint32]:
        """A number for each row's metric name, the same in every process and never 0, (n_series,)."""
        names = {metric: max(1, zlib.crc32(metric.encode())) for metric in {key.metric for key in self.keys}}
        return np.fromiter((names[key.metric] for key in self.keys), np.uint32, len(self))

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """Which of `KINDS` each row is, as its metric's name tells, (n_series,)."""
        kind = {
            metric: next((place for place, prefix in enumerate(KINDS) if prefix and metric.startswith(prefix)), 0)
            for metric in {key.metric for key in self.keys}
        }
        return np.fromiter((kind[key.metric] for key in self.keys), np.uint8, len(self))

    @cached_property
    def rows(self) -> Mapping[SeriesKey, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def digest(self) -> str:
        """The same for the same set of keys, in every process and version."""
        text = "\n".join(f"{key.component}\x1f{key.metric}" for key in self.keys)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rows_in(self, other: SeriesIndex) -> Ints:
        """For each of our rows the row of the same key in `other`, -1 where there is none, (n_series,)."""
        if self == other:
            return np.arange(len(self))
        return np.fromiter((other.rows.get(key, -1) for key in self.keys), np.int64, len(self))


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open time `[start, end)` cut into buckets of `span` seconds; a whole number of them."""

    start: int
    end: int
    span: int

    def __post_init__(self) -> None:
        if self.span <= 0 or self.end < self.start or (self.end - self.start) % self.span:
            raise ValueError(f"no window [{self.start}, {self.end}) of {self.span} s buckets")

    @classmethod
    def ending(cls, instant: float, span: int, buckets: int = 1) -> Window:
        """The last `buckets` aligned buckets that are over at `instant`."""
        end = int(instant // span) * span
        return cls(end - buckets * span, end, span)

    def __len__(self) -> int:
        return (self.end - self.start) // self.span

    @property
    def starts(self) -> Ints:
        """Start of each bucket, (n_buckets,)."""
        return np.arange(self.start, self.end, self.span, dtype=np.int64)

    def reaching_back(self, seconds: int) -> Window:
        """This window with at least `seconds` more before it, in whole buckets."""
        return Window(self.start - -(-seconds // self.span) * self.span, self.end, self.span)

    def columns_in(self, outer: Window) -> slice:
        """Where our buckets lie in `outer`, which must hold them all on the same grid."""
        first, rest = divmod(self.start - outer.start, self.span)
        if rest or self.span != outer.span or first < 0 or self.end > outer.end:
            raise ValueError(f"{self} does not lie in {outer}")
        return slice(first, first + len(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What a source said: one value per series and bucket.

    `values` (n_series, n_buckets) holds NaN where there is no value; `known` (same shape) tells why: True where the
    source answered (a NaN there is "no data"), False where it could not be asked (a NaN there is "not known").
    """

    index: SeriesIndex
    window: Window
    values: Floats
    known: Bools

    def __post_init__(self) -> None:
        shape = (len(self.index), len(self.window))
        if self.values.shape != shape or self.known.shape != shape:
            raise ValueError(f"a frame of {shape} was given {self.values.shape} values, {self.known.shape} known")

    @classmethod
    def unknown(cls, index: SeriesIndex, window: Window) -> Frame:
        """Nothing is known: what a failed query is worth."""
        shape = (len(index), len(window))
        return cls(index=index, window=window, values=np.full(shape, np.nan), known=np.zeros(shape, bool))

    @classmethod
    def of(cls, index: SeriesIndex, window: Window, values: Floats) -> Frame:
        """Everything was answered; NaN is "no data"."""
        return cls(index=index, window=window, values=values, known=np.ones(values.shape, bool))

    def within(self, window: Window) -> Frame:
        """The part inside `window`, which must lie in ours; a view."""
        columns = window.columns_in(self.window)
        return Frame(index=self.index, window=window, values=self.values[:, columns], known=self.known[:, columns])

    def take(self, rows: Ints, index: SeriesIndex) -> Frame:
        """These rows, as `index` (in its order)."""
        return Frame(index=index, window=self.window, values=self.values[rows], known=self.known[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One log entry as its source gave it, stack trace and all: hostile text. `at` is in epoch seconds, `request` what tells
    the request (the trace) that was being worked on, empty where that is not told."""

    at: float
    component: str
    text: str
    level: str = ""
    request: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogBatch:
    """The log entries of a window: exact counts from the source, and as much text as could travel.

    `counts` maps (component, level) to the number of entries per bucket, (n_buckets,). `lines` is all of them or a
    sample that does not favour any bucket. `known` (n_buckets,) is False where the source could not be asked.
    """

    window: Window
    counts: Mapping[tuple[str, str], Ints]
    lines: Sequence[LogLine]
    known: Bools


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a source says of itself when a person asks, each part in words that person knows.

    `lag` is how late its newest data are, in seconds, None when it has none. `rights` and `warnings` are sentences.
    `cost` tells requests, bytes and rows of one tick as measured just now.
    """

    version: str
    rights: tuple[str, ...] = ()
    lag: float | None = None
    samples: tuple[str, ...] = ()
    cost: str = ""
    warnings: tuple[str, ...] = ()


# --- what the supervising system knows of components ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Downtime:
    """Planned work on a host (`service` empty) or one service, `[start, end)` in epoch seconds as it really was or will be."""

    id: str
    host: str
    service: str = ""
    start: int
    end: int
    author: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """What a person did to a host or service in the supervising system. `kind`: acknowledgement, comment or close."""

    id: str
    kind: str
    host: str
    service: str = ""
    at: int
    until: int | None = None
    author: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """Where a host stands: what it depends on, and what it belongs to. Names, not ids."""

    host: str
    parents: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    severity: int | None = None
    poller: str = ""


# --- what is learnt and what it says ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What one detector learnt: plain arrays, first axis the rows of `index`. Immutable once made.

    `facts` is small, JSON-able and the same for all rows (format version, units, parameters that shaped the arrays).
    """

    detector: str
    index: SeriesIndex
    trained_on: Window
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def take(self, rows: Ints, index: SeriesIndex) -> Baseline:
        """What was learnt of these rows, as `index` (in its order)."""
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        return Baseline(detector=self.detector, index=index, trained_on=self.trained_on, arrays=arrays, facts=self.facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a detector says of a frame, all (n_series, n_buckets); NaN = not judged.

    `surprise` is -log10 of the probability, in normal operation, of a value at least this extreme: 3 is one bucket in
    a thousand. `expected`, `lower` and `upper` are in the metric's unit; outside [lower, upper] the value is more
    surprising than one in a thousand. `own` (n_series,) is how much of what is expected of each row was learnt from the
    row itself, the rest from its siblings; None where nothing ever comes from siblings.
    """

    index: SeriesIndex
    window: Window
    surprise: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    own: Floats | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A baseline, and how it would have judged the days it was learnt from.

    `rehearsal` covers the last part of the history, each bucket scored by what was learnt from *other* days only, so
    that whatever is calibrated on it (the fusion of a component) sees honest surprises and not a fit to itself.
    """

    baseline: Baseline
    rehearsal: Scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """One surprise per component, (n_components, n_buckets), and who caused it.

    `share` (n_series, n_buckets) is each series' part in its component's surprise; the shares of a component sum
    to 1 in a bucket that was judged, and are 0 elsewhere.
    """

    index: SeriesIndex
    window: Window
    surprise: Floats
    share: Floats


# --- what a person is told ------------------------------------------------------------------------------------------


class Severity(IntEnum):
    """The codes of passive checks."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


OWN = 0.95
"""A band of which at least this much was learnt from the series itself is its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Anomaly:
    """One series that takes part in an incident, as seen in its worst bucket so far.

    `example` is a log line behind it, where the series counts log lines; masked, and hostile text all the same. `own` is
    how much of its band was learnt from the series itself, the rest from its siblings.
    """

    metric: str
    unit: str
    value: float
    expected: float
    lower: float
    upper: float
    surprise: float
    share: float
    at: int
    example: str = ""
    own: float = 1.0

    @property
    def borrowed(self) -> bool:
        """Whether its band is worth calling provisional."""
        return self.own < OWN


class Phase(Enum):
    """Where an incident stands in its life."""

    OPEN = "open"
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """One problem of one component, from its first bad bucket to its recovery.

    `id` is derived from component type, component, signature and first bad bucket: the same data give the same id.
    `held_by` names the stages that keep it from being shown, with their reason; empty when it is shown.
    `flapping_since` is set while it comes and goes: then it stays open until it has been calm for a good while.
    `folded` names the components whose incidents are shown on this one, and `behind` what they have in common.
    A withdrawn incident never happened: late data showed so, at `recovered`.
    """

    id: str
    component_type: str
    component: str
    signature: str
    phase: Phase
    severity: Severity
    since: int
    opened: int
    last_bad: int
    recovered: int | None = None
    surprise: float
    peak: float
    version: int
    anomalies: tuple[Anomaly, ...] = ()
    held_by: tuple[tuple[str, str], ...] = ()
    flapping_since: int | None = None
    folded: tuple[str, ...] = ()
    behind: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One step in an incident's life, and why it was taken."""

    incident: str
    at: int
    kind: str
    reason: str
    severity: Severity


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """A service as Centreon names it."""

    host: str
    service: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Perf:
    """One value for the graph beside a passive check."""

    label: str
    value: float
    unit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What one service must show. `at` only moves forward for a service."""

    service: ServiceKey
    code: Severity
    text: str
    perf: tuple[Perf, ...] = ()
    at: int = 0


class Sent(Enum):
    """A transport's answer. It is never proof that the far side shows the result."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one result that was sent."""

    sent: Sent
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What the far side shows for a service: `code` is None when it has shown nothing yet."""

    service: ServiceKey
    code: Severity | None
    text: str
    last_check: int


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """What one service must show: at most one row per service, never deleted because a transport said "accepted".

    `version` grows with every change of `code` or of the incidents behind it. `must_show` is a worse code that the far
    side has to have shown before a recovery may be sent. After `valid_until` the row is no longer re-asserted: its
    producer went quiet, and the freshness check of the far side has to tell. All times are epoch seconds.
    """

    service: ServiceKey
    code: Severity
    text: str
    perf: tuple[Perf, ...] = ()
    changed_at: int
    version: int = 1
    must_show: Severity | None = None
    valid_until: int
    next_due_at: float = 0.0
    last_sent_at: float | None = None
    last_check_time: int = 0
    last_seen_code: Severity | None = None
    last_seen_at: float | None = None
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """One service as a sink beside Centreon is to be told of it: `version` of its row, and how telling went so far."""

    row: Desired
    attempts: int = 0
    told_at: float | None = None
    next_due_at: float = 0.0
    error: str = ""
