"""How a source is asked without hurting it: not too often, not too much at once, and not again and again when it is ill.

What is decided is decided by pure functions that say why; `Manners` only acts on it. A collector keeps its `Manners` as
its attribute `manners`: there its state and its usage are looked for.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import Field

from tocsin.errors import PermanentError, TransientError
from tocsin.model import Floats, Ints
from tocsin.settings import Duration, Settings, spell_duration

T = TypeVar("T")

Kind: TypeAlias = Literal["ok", "degraded", "down"]

BACKOFF, LONGEST_BACKOFF = 0.5, 20.0
"""Seconds: the most the first wait before a retry lasts, and the most any of them does."""
FAILURES = 3
"""Calls that failed in a row after which a source is left alone."""
ALONE, LONGEST_ALONE = 30.0, 300.0
"""Seconds for which it is left alone the first time, doubled each time the next try fails, and the most."""
CALM = 120.0
"""Seconds without any trouble after which a source that was degraded is well again."""


class MannersSettings(Settings):
    """How much a source may be asked: `limits:` of its entry."""

    concurrency: Annotated[int, Field(strict=True, ge=1, le=32)] = Field(2, description="Requests at the same time, at most.")
    per_second: Annotated[float, Field(gt=0, le=1000)] = Field(10.0, description="Requests per second, at most.")
    timeout: Annotated[Duration, Field(ge=1, le=3600)] = Field(
        60, description="The longest one request may take, retries and all."
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=10)] = Field(3, description="Tries after the first one that failed.")
    max_rows: Annotated[int, Field(strict=True, ge=1000)] = Field(
        2_000_000, description="Rows of one answer, all pages together."
    )
    max_bytes: Annotated[int, Field(strict=True, ge=1_000_000)] = Field(
        256_000_000, description="Bytes of one page of an answer."
    )
    max_series: Annotated[int, Field(strict=True, ge=1)] = Field(
        100_000, description="Series that are read; the rest is cut, and said."
    )


# --- what is decided ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """How a source does: `ok`, `degraded` (it answers, but not always or not all), `down` (it is left alone until `closed_at`).

    Times are of the caller's clock. `failures` counts failed calls in a row, `trying` tells that one call tests the water.
    """

    kind: Kind = "ok"
    reason: str = ""
    since: float = 0.0
    failures: int = 0
    troubled: float = 0.0
    closed_at: float = 0.0
    trying: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether the source may be asked now, and why not."""

    granted: bool
    trial: bool = False
    reason: str = ""


def admit(circuit: Circuit, now: float) -> Admission:
    """A source that is down is asked again when its time is over, by one call at a time."""
    if circuit.kind != "down":
        return Admission(granted=True)
    if now < circuit.closed_at:
        left = spell_duration(max(1.0, circuit.closed_at - now))
        return Admission(granted=False, reason=f"left alone for another {left}: {circuit.reason}")
    if circuit.trying:
        return Admission(granted=False, reason=f"being tried again: {circuit.reason}")
    return Admission(granted=True, trial=True)


def answered(circuit: Circuit, now: float, trouble: str = "") -> Circuit:
    """After an answer; `trouble` says what was wrong with it (retries were needed, a part is missing)."""
    if trouble:
        since = circuit.since if circuit.kind == "degraded" else now
        return Circuit(kind="degraded", reason=trouble, since=since, troubled=now)
    if circuit.kind == "degraded" and now - circuit.troubled < CALM:
        return replace(circuit, failures=0, trying=False)
    return Circuit(since=circuit.since if circuit.kind == "ok" else now)


def failed(circuit: Circuit, reason: str, now: float) -> Circuit:
    """After a call that failed for good: the third in a row, or a failed trial, leaves the source alone."""
    failures = circuit.failures + 1
    kind: Kind = "down" if circuit.kind == "down" or failures >= FAILURES else "degraded"
    alone = min(ALONE * 2.0 ** min(failures - FAILURES, 10), LONGEST_ALONE) if kind == "down" else 0.0
    since = circuit.since if circuit.kind == kind else now
    return Circuit(kind=kind, reason=reason, since=since, failures=failures, troubled=now, closed_at=now + alone)


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """Whether to try a failed request again, after how many seconds, and why or why not."""

    wait: float | None
    reason: str


def again(attempt: int, retries: int, error: TransientError, left: float, jitter: float) -> Again:
    """What to do after the failed `attempt` (0 is the first), `left` seconds before the deadline.

    Full jitter: anywhere between nothing and a limit that doubles, so that many who failed together do not come back
    together; never before the source wants to be asked again. `jitter` is in [0, 1).
    """
    if attempt >= retries:
        return Again(wait=None, reason=f"{attempt + 1} tries failed" if attempt else "it is tried once only")
    wait = jitter * min(LONGEST_BACKOFF, BACKOFF * 2.0**attempt)
    if error.retry_after is not None:
        wait += max(0.0, error.retry_after)
    if wait >= left:
        return Again(wait=None, reason="no time is left for another try")
    return Again(wait=wait, reason="the source asked for that pause" if error.retry_after else "a moment later")


# --- acting on it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a source was asked for since the start."""

    requests: int = 0
    retries: int = 0
    failures: int = 0
    bytes: int = 0
    rows: int = 0


class _NoTurn(TransientError):
    """Our own pace left no time: the source was not asked, and is not to blame."""


class Manners:
    """The one gate to a source. Safe for many threads.

    The clock is monotonic; `random` gives numbers in [0, 1).
    """

    def __init__(
        self,
        settings: MannersSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._clock, self._sleep, self._random = clock, sleep, random
        self._lock, self._places = threading.Lock(), threading.Semaphore(settings.concurrency)
        self._next_start = -np.inf
        self._circuit, self._usage = Circuit(since=clock()), Usage()

    @property
    def state(self) -> Circuit:
        """How the source does."""
        return self._circuit

    @property
    def usage(self) -> Usage:
        """What was asked so far."""
        return self._usage

    def got(self, *, size: int = 0, rows: int = 0) -> None:
        """Count the bytes and rows that an answer brought."""
        with self._lock:
            self._usage = replace(self._usage, bytes=self._usage.bytes + size, rows=self._usage.rows + rows)

    def partial(self, reason: str) -> None:
        """An answer came, but not all of it: the source is degraded until nothing was wrong for two minutes."""
        with self._lock:
            self._circuit = answered(self._circuit, self._clock(), reason)

    def left(self, deadline: float) -> float:
        """Seconds until a deadline that `call` gave; at least a tenth, because no time-out at all means for ever to many."""
        return max(0.1, deadline - self._clock())

    def call(self, work: Callable[[float], T]) -> T:
        """Do one request: `work(deadline)` must return or raise before `deadline`, a time of the clock (see `left`).

        A `TransientError` is tried again with growing pauses as long as there is time; a `PermanentError` is not. Raises
        the source's last error, or a `TransientError` at once while the source is left alone, or when its turn does not come
        in time.
        """
        deadline = self._clock() + self.settings.timeout
        with self._place(deadline), self._watched() as troubles:
            for attempt in range(self.settings.retries + 1):
                if not self._got_turn(deadline):
                    raise (
                        troubles[-1]
                        if troubles
                        else _NoTurn(f"{self.settings.per_second:g} requests per second did not suffice: the time is up")
                    )
                self._count(requests=1, retries=int(attempt > 0))
                try:
                    return work(deadline)
                except TransientError as error:
                    troubles.append(error)
                    decision = again(attempt, self.settings.retries, error, deadline - self._clock(), self._random())
                    if decision.wait is None:
                        raise
                    self._sleep(decision.wait)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _place(self, deadline: float) -> Iterator[None]:
        """One of the few places at the source; nobody waits for one longer than a request may take."""
        if not self._places.acquire(timeout=max(0.0, deadline - self._clock())):
            raise TransientError(f"all {self.settings.concurrency} requests that may run at once were busy until the time was up")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _watched(self) -> Iterator[list[TransientError]]:
        """Asks the circuit before, and tells it after; the list collects the troubles on the way."""
        with self._lock:
            admission = admit(self._circuit, self._clock())
            if not admission.granted:
                raise TransientError(admission.reason)
            if admission.trial:
                self._circuit = replace(self._circuit, trying=True)
        troubles: list[TransientError] = []
        try:
            yield troubles
        except BaseException as error:
            with self._lock:
                if isinstance(error, (TransientError, PermanentError)) and not isinstance(error, _NoTurn):
                    self._circuit = failed(self._circuit, str(error), self._clock())
                    self._usage = replace(self._usage, failures=self._usage.failures + 1)
                else:
                    self._circuit = replace(self._circuit, trying=False)
            raise
        with self._lock:
            trouble = f"answered only after {len(troubles)} failed tries: {troubles[-1]}" if troubles else ""
            self._circuit = answered(self._circuit, self._clock(), trouble)

    def _got_turn(self, deadline: float) -> bool:
        """Wait for our turn: starts are at least 1/per_second apart. False at once when it does not come before the deadline."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next_start)
            if start >= deadline:
                return False
            self._next_start = start + 1.0 / self.settings.per_second
        if start > now:
            self._sleep(start - now)
        return True

    def _count(self, *, requests: int = 0, retries: int = 0, failures: int = 0) -> None:
        with self._lock:
            now = self._usage
            self._usage = replace(
                now, requests=now.requests + requests, retries=now.retries + retries, failures=now.failures + failures
            )


# --- how late a source is -------------------------------------------------------------------------------------------------

LARGEST_LAG, STEP = 86400.0, 1.1
FORGET = 1 - 1 / 512
"""Weight of what was seen before, at each new look: with one look a minute half of it is gone after six hours."""
ENOUGH = 50.0
"""Samples seen before anything is said."""


class Lag:
    """How late data arrive, as a streaming distribution of fixed size: steps of 10 % up to a day."""

    def __init__(self) -> None:
        count = int(np.ceil(np.log(LARGEST_LAG) / np.log(STEP))) + 1
        self._edges = np.r_[0.0, STEP ** np.arange(count)]
        self._weights = np.zeros(len(self._edges))

    def saw(self, seconds: Floats | float, counts: Floats | Ints | float = 1.0) -> None:
        """So many samples arrived this long after they were made (a clock that runs ahead: at once)."""
        late, weights = np.broadcast_arrays(np.atleast_1d(np.asarray(seconds, float)), np.asarray(counts, float))
        fine = np.isfinite(late) & np.isfinite(weights) & (weights > 0)
        places = np.searchsorted(self._edges, np.clip(late[fine], 0.0, LARGEST_LAG))
        self._weights *= FORGET
        np.add.at(self._weights, np.minimum(places, len(self._weights) - 1), weights[fine])

    def grew(self, bucket_ends: Ints, counts_before: Ints, counts_now: Ints, read_at: float) -> None:
        """Buckets were read again: what is there now and was not before is as late as this reading, the rest is in time."""
        before, now = np.asarray(counts_before, float), np.asarray(counts_now, float)
        self.saw(
            np.r_[np.zeros(len(now)), read_at - np.asarray(bucket_ends, float)], np.r_[np.minimum(before, now), now - before]
        )

    def p99(self) -> float | None:
        """Seconds after which 99 of 100 samples were there; None before enough were seen."""
        total = float(self._weights.sum())
        if total < ENOUGH:
            return None
        place = int(np.searchsorted(np.cumsum(self._weights), 0.99 * total))
        return float(self._edges[min(place, len(self._edges) - 1)])
