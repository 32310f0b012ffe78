"""From surprise to incidents: opens on k of n buckets, closes by its own rule, says why.

A bucket is *bad* when the component's surprise reaches the opening rule's, *good* when it is below the closing rule's,
and neither in between. A bucket that was not judged is neither, and takes its place in the last n: no data never
opens, never recovers. One incident per component and signature; one that turns bad again shortly after its recovery
goes on as the same incident. A window of many buckets gives exactly what its buckets give one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerting.evidence import Evidence, worst_of
from alerting.spelling import listed, read, spell
from tocsin.model import Anomaly, Bools, Floats, Frame, Fused, Incident, Metric, Phase, Scores, SeriesKey, Severity, Transition


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When an incident opens, gets worse, gets better and closes. Lengths are in buckets, `reopen` in seconds.

    At the defaults a single spike opens nothing; false buckets that come by themselves, one in ten thousand, open an
    incident in sixty years of one-minute buckets; a lasting trouble opens in its second bucket.
    """

    open_surprise: float = 4.0
    open_buckets: int = 2
    open_of: int = 3
    close_surprise: float = 3.0
    close_buckets: int = 3
    close_of: int = 4
    critical_surprise: float = 6.0
    better_buckets: int = 3
    reopen: int = 2 * 3600
    flap_times: int = 3
    flap_within: int = 2 * 3600
    flap_calm: int = 30 * 60

    def __post_init__(self) -> None:
        for name, k, n in (("open", self.open_buckets, self.open_of), ("close", self.close_buckets, self.close_of)):
            if not 1 <= k <= n <= 1000:
                raise ValueError(f"{name}: {k} of {n} buckets cannot be: expected 1 <= buckets <= of <= 1000")
        if self.close_surprise > self.open_surprise:
            raise ValueError(f"close.surprise {self.close_surprise:g} is above open.surprise {self.open_surprise:g}")
        if self.critical_surprise < self.open_surprise:
            raise ValueError(f"critical.surprise {self.critical_surprise:g} is below open.surprise {self.open_surprise:g}")
        if self.better_buckets < 1 or self.reopen < 0:
            raise ValueError("better_buckets must be at least 1, reopen cannot be negative")
        if self.flap_times < 1 or self.flap_within < 0 or self.flap_calm < 0:
            raise ValueError("flap_times must be at least 1, flap_within and flap_calm cannot be negative")

    @property
    def memory(self) -> int:
        """Buckets before a window that its judgement depends on."""
        return max(self.open_of, self.close_of) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """An incident that still matters: open, or recovered a short while ago.

    `calm` counts the judged buckets since the last critical one; only buckets from `floor` on count for its next step.
    `returns` are the times at which it came back lately.
    """

    incident: Incident
    calm: int
    floor: int
    returns: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JudgeState:
    """What one signature's judgement remembers between two windows: the last few surprises and the live incidents.

    `tail` (n_components, any number of buckets) ends where the next window starts, at `until`.
    """

    components: tuple[str, ...] = ()
    tail: Floats = field(default_factory=lambda: np.empty((0, 0)))
    until: int = 0
    span: int = 0
    live: Mapping[str, Live] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that are open."""
        return tuple(live.incident for live in self.live.values() if live.incident.phase is Phase.OPEN)

    def to_arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Plain arrays, for storage; `prefix` tells several signatures in one store apart."""
        live = {
            name: {"incident": spell(one.incident), "calm": one.calm, "floor": one.floor, "returns": one.returns}
            for name, one in self.live.items()
        }
        rest = (
            json.dumps({"live": live, "until": self.until, "span": self.span})[:-1]
            + f', "components": {listed(self.components)}}}'
        )
        return {f"{prefix}tail": self.tail, f"{prefix}rest": np.frombuffer(rest.encode(), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> JudgeState:
        """What `to_arrays` gave; the empty state where there is nothing under `prefix`."""
        if f"{prefix}rest" not in arrays:
            return cls()
        rest = json.loads(arrays[f"{prefix}rest"].tobytes())
        live = {
            name: Live(
                incident=read(live["incident"]), calm=live["calm"], floor=live["floor"], returns=tuple(live.get("returns", ()))
            )
            for name, live in rest["live"].items()
        }
        tail = np.array(arrays[f"{prefix}tail"], np.float64)
        return cls(components=tuple(rest["components"]), tail=tail, until=rest["until"], span=rest["span"], live=live)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a window made of the state before it.

    `incidents` are those that are open at its end and those that changed in it, as they stand at its end. `alert`
    (n_components, n_buckets) tells whether an incident was open once that bucket was known.
    """

    state: JudgeState
    incidents: tuple[Incident, ...]
    transitions: tuple[Transition, ...]
    alert: Bools


def judge(
    fused: Fused,
    series: Sequence[tuple[Frame, Scores]],
    state: JudgeState,
    rules: Rules,
    component_type: str,
    signature: str,
    metrics: Mapping[str, Metric] | None = None,
    example: Callable[[SeriesKey], str] | None = None,
) -> Judged:
    """Judge a window of one or many buckets; pure.

    Buckets before `state.until` were judged already and are left out; buckets missing between it and the window
    count as not judged. A component that is not in the window is not judged, its incident stays as it is. Without
    `series` incidents carry no anomalies. `metrics` gives them their units, `example` a log line behind a series.
    """
    window, components = fused.window, fused.index.components
    late = min(max(0, -((window.start - state.until) // window.span)) if state.until else 0, len(window))
    alert = np.zeros((len(components), len(window)), np.bool_)
    if late == len(window):
        return Judged(state=state, incidents=state.open, transitions=(), alert=alert)
    depth, start = rules.memory, window.start + late * window.span
    seen = np.hstack([_tail_for(state, components, start, window.span, depth), fused.surprise[:, late:]])
    openings = _may_open(seen, depth, rules)
    evidence = Evidence(fused, series, metrics or {}, rules.close_surprise, example)
    trails: list[_Trail] = []
    rows: Mapping[str, int] = fused.index.places if state.live else {}
    busy = {rows[component] for component in state.live if component in rows}
    for row in sorted(busy.union(np.flatnonzero(openings.any(axis=1)).tolist())):
        trail = _Trail(
            names=(component_type, components[row], signature),
            values=seen[row].tolist(),
            first=depth,
            start=start,
            span=window.span,
            live=state.live.get(components[row]),
        )
        trail.follow(np.flatnonzero(openings[row]).tolist(), rules)
        trail.explain(evidence, row, late - depth)
        for begin, end in trail.open_buckets:
            alert[row, late + begin - depth : late + end - depth] = True
        trails.append(trail)
    live = {**state.live, **{trail.names[1]: trail.live for trail in trails if trail.live is not None}}
    keep = window.end - rules.reopen - (depth + 1) * window.span
    after = JudgeState(
        components=components,
        tail=np.ascontiguousarray(seen[:, seen.shape[1] - depth :]),
        until=window.end,
        span=window.span,
        live={
            name: one for name, one in sorted(live.items()) if one.incident.recovered is None or one.incident.recovered >= keep
        },
    )
    told = [incident for trail in trails for incident in trail.told]
    elsewhere = [incident for incident in state.open if incident.component not in rows]
    return Judged(
        state=after,
        incidents=(*told, *elsewhere),
        transitions=tuple(sorted((step for trail in trails for step in trail.transitions), key=lambda step: step.at)),
        alert=alert,
    )


def withdraw(state: JudgeState, component: str, at: int, reason: str) -> Judged:
    """Take the incident of a component back: what is known by now says it never happened. It is not gone on with.

    Without a live incident nothing changes. Whoever replays late data puts the judgement of these data in its place.
    """
    live = state.live.get(component)
    rest = replace(state, live={name: one for name, one in state.live.items() if name != component})
    nothing = np.zeros((0, 0), np.bool_)
    if live is None:
        return Judged(state=state, incidents=(), transitions=(), alert=nothing)
    gone = replace(live.incident, phase=Phase.WITHDRAWN, recovered=at, version=live.incident.version + 1)
    step = Transition(incident=gone.id, at=at, kind="withdrawn", reason=reason, severity=Severity.OK)
    return Judged(state=rest, incidents=(gone,), transitions=(step,), alert=nothing)


def incident_id(component_type: str, component: str, signature: str, since: int) -> str:
    """The name of an incident: the same data give the same name, everywhere and again."""
    text = json.dumps([component_type, component, signature, since])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# --- inside -----------------------------------------------------------------------------------------------------------


def _tail_for(state: JudgeState, components: tuple[str, ...], start: int, span: int, depth: int) -> Floats:
    """The `depth` buckets before `start` of each component, NaN where nothing is remembered."""
    tail = np.full((len(components), depth), np.nan)
    missing, rest = divmod(start - state.until, span)
    have = min(depth - missing, state.tail.shape[1])
    if rest or span != state.span or have <= 0:
        return tail
    places = slice(depth - missing - have, depth - missing)
    remembered = state.tail[:, state.tail.shape[1] - have :]
    if components == state.components:
        tail[:, places] = remembered
    else:
        known = {component: row for row, component in enumerate(state.components)}
        at = np.fromiter((known.get(component, -1) for component in components), np.int64, len(components))
        tail[at >= 0, places] = remembered[at[at >= 0]]
    return tail


def _may_open(seen: Floats, depth: int, rules: Rules) -> Bools:
    """Where enough of the last n buckets are bad, the last one among them, (n_components, n_buckets after `depth`)."""
    bad = seen >= rules.open_surprise
    if not bad.any():
        return np.zeros_like(bad[:, depth:])
    counts = np.zeros((seen.shape[0], seen.shape[1] + 1), np.int32)
    np.cumsum(bad, axis=1, out=counts[:, 1:])
    ends = np.arange(depth, seen.shape[1]) + 1
    enough = counts[:, ends] - counts[:, np.maximum(0, ends - rules.open_of)] >= rules.open_buckets
    return np.asarray(enough & bad[:, depth:], np.bool_)


@dataclass(kw_only=True)
class _Trail:
    """One component's way through the buckets `values[first:]`; those before are remembered ones."""

    names: tuple[str, str, str]
    values: list[float]
    first: int
    start: int
    span: int
    live: Live | None
    transitions: list[Transition] = field(default_factory=list)
    open_buckets: list[tuple[int, int]] = field(default_factory=list)
    _done: dict[str, Incident] = field(default_factory=dict)
    _evidence: dict[str, list[int]] = field(default_factory=dict)

    @property
    def told(self) -> list[Incident]:
        """Every incident that changed here or is open at the end, as it stands at the end."""
        told = dict(self._done)
        if self.live is not None and (self.live.incident.phase is Phase.OPEN or self.live.incident.id in told):
            told[self.live.incident.id] = self.live.incident
        return list(told.values())

    def follow(self, openings: list[int], rules: Rules) -> None:
        """Take every step there is; `openings` are the buckets, from `first`, where one could open."""
        at = self.first
        while at < len(self.values):
            if self.live is not None and self.live.incident.phase is Phase.OPEN:
                at = self._stay(self.live, at, rules)
                continue
            place = bisect_left(openings, at - self.first)
            if place == len(openings):
                return
            at = openings[place] + self.first
            self._open(at, rules)
            at += 1

    def explain(self, evidence: Evidence, row: int, shift: int) -> None:
        """Give each incident met its anomalies; `shift` leads from our buckets to the columns of the window."""
        for identity, buckets in self._evidence.items():
            anomalies = evidence.of(row, [bucket + shift for bucket in buckets])
            if identity in self._done:
                self._done[identity] = _with(self._done[identity], anomalies)
            if self.live is not None and self.live.incident.id == identity:
                self.live = replace(self.live, incident=_with(self.live.incident, anomalies))

    def _time(self, bucket: int) -> int:
        return self.start + (bucket - self.first) * self.span

    def _bucket(self, time: int) -> int:
        return -((self.start - time) // self.span) + self.first

    def _step(self, incident: Incident, bucket: int, kind: str, reason: str, severity: Severity) -> None:
        at = self._time(bucket + 1)
        self.transitions.append(Transition(incident=incident.id, at=at, kind=kind, reason=reason, severity=severity))
        self._done[incident.id] = incident

    def _open(self, at: int, rules: Rules) -> None:
        floor = self._bucket(self.live.floor) if self.live is not None else 0
        first = max(0, at + 1 - rules.open_of, floor)
        bad = [bucket for bucket in range(first, at + 1) if self.values[bucket] >= rules.open_surprise]
        if len(bad) < rules.open_buckets:
            return
        peak, since = max(self.values[bucket] for bucket in bad), self._time(bad[0])
        severity = Severity.CRITICAL if peak >= rules.critical_surprise else Severity.WARNING
        why = f"{len(bad)} of the last {rules.open_of} buckets at surprise {rules.open_surprise:g} or more, highest {peak:.1f}"
        before = self.live.incident if self.live is not None else None
        returns: tuple[int, ...] = ()
        if before is not None and before.recovered is not None and since - before.recovered <= rules.reopen:
            kind, why = "reopened", f"bad again {since - before.recovered} s after its recovery: {why}"
            opened = self._time(at + 1)
            known = self.live.returns if self.live is not None else ()
            returns = (*(time for time in known if opened - time < rules.flap_within), opened)
            flapping = len(returns) >= rules.flap_times
            if flapping:
                kind, why = "flapping", f"came back {len(returns)} times within {rules.flap_within} s, {why}"
                severity = max(severity, before.severity)
            incident = replace(
                before,
                phase=Phase.OPEN,
                severity=severity,
                flapping_since=opened if flapping else None,
                recovered=None,
                last_bad=self._time(at),
                surprise=self.values[at],
                peak=max(peak, before.peak),
                version=before.version + 1,
            )
        else:
            kind = "opened"
            incident = Incident(
                id=incident_id(*self.names, since),
                component_type=self.names[0],
                component=self.names[1],
                signature=self.names[2],
                phase=Phase.OPEN,
                severity=severity,
                since=since,
                opened=self._time(at + 1),
                last_bad=self._time(at),
                surprise=self.values[at],
                peak=peak,
                version=1,
            )
        self.live = Live(incident=incident, calm=0, floor=self._time(at + 1), returns=returns)
        self._evidence.setdefault(incident.id, []).append(at)
        self._step(incident, at, kind, why, severity)
        self.open_buckets.append((at, at + 1))

    def _stay(self, live: Live, at: int, rules: Rules) -> int:
        """Walk on from `at` while the incident is open; returns the first bucket after its recovery."""
        incident, calm, begin, floor = live.incident, live.calm, at, self._bucket(live.floor)
        evidence = self._evidence.setdefault(incident.id, [])
        surprise, last_bad, peak = incident.surprise, incident.last_bad, incident.peak
        # A long incident has thousands of buckets: its record is made anew only where something is told.
        while at < len(self.values):
            value = self.values[at]
            if math.isnan(value):
                at += 1
                continue
            surprise, calm = value, 0 if value >= rules.critical_surprise else calm + 1
            if value >= rules.open_surprise:
                evidence.append(at)
                last_bad, peak = self._time(at), max(value, peak)
            told = self._told(incident, at, floor, calm, self._time(at) - last_bad, rules)
            at += 1
            if told is None:
                continue
            kind, why, severity = told
            over = kind == "recovered"
            incident = replace(
                incident,
                phase=Phase.RECOVERED if over else Phase.OPEN,
                recovered=self._time(at) if over else None,
                severity=incident.severity if over else severity,
                surprise=surprise,
                last_bad=last_bad,
                peak=peak,
                version=incident.version + 1,
            )
            self._step(incident, at - 1, kind, why, severity)
            if over:
                self.live = Live(incident=incident, calm=0, floor=self._time(at), returns=live.returns)
                self.open_buckets.append((begin, at - 1))
                return at
        incident = replace(incident, surprise=surprise, last_bad=last_bad, peak=peak)
        self.live = replace(live, incident=incident, calm=calm)
        self.open_buckets.append((begin, at))
        return at

    def _told(
        self, incident: Incident, at: int, floor: int, calm: int, quiet_for: int, rules: Rules
    ) -> tuple[str, str, Severity] | None:
        """What a judged bucket changes in an open incident, why, and what is shown then; None when it changes nothing."""
        value = self.values[at]
        if value < rules.close_surprise:
            good = sum(other < rules.close_surprise for other in self.values[max(floor, at + 1 - rules.close_of, 0) : at + 1])
            if good >= rules.close_buckets and (incident.flapping_since is None or quiet_for >= rules.flap_calm):
                why = f"{good} of the last {rules.close_of} buckets below surprise {rules.close_surprise:g}"
                if incident.flapping_since is not None:
                    why = f"calm for {quiet_for} s after it came and went: {why}"
                return "recovered", why, Severity.OK
        if calm == 0 and incident.severity is not Severity.CRITICAL:
            return "worse", f"surprise {value:.1f} reached {rules.critical_surprise:g}", Severity.CRITICAL
        if calm >= rules.better_buckets and incident.severity is Severity.CRITICAL and incident.flapping_since is None:
            return "better", f"{calm} judged buckets below surprise {rules.critical_surprise:g}", Severity.WARNING
        return None


def _with(incident: Incident, anomalies: tuple[Anomaly, ...]) -> Incident:
    return replace(incident, anomalies=worst_of((*incident.anomalies, *anomalies)))
