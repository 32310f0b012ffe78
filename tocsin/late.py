"""Data that came late: what a second reading found in buckets that were judged already, and judging those again. Pure.

Judging again goes on from what the judge remembered before the first bucket that changed, so it ends where it would have
ended had all data been there in time: incidents keep their ids, and one that did not happen is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerting.judge import JudgeState, Live, withdraw
from tocsin.engine import Judge
from tocsin.model import Bools, Frame, Incident, Transition, Window
from tocsin.settings import spell_duration

SAME = 1e-9
"""Two readings of one bucket that differ by less, relatively, are the same: a sum's last digits depend on its order."""

AT, BY = "@at", "@by"


# --- how long to wait ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delay:
    """How long after its end a bucket is judged, in seconds, and why so."""

    seconds: int
    reason: str


def delay_of(configured: int, lag: float | None, most: int) -> Delay:
    """What is configured, raised to what the sources need for 99 of 100 values, up to `most`; never less."""
    if lag is None or lag <= configured:
        return Delay(configured, "as configured")
    if lag > most:
        return Delay(max(configured, most), f"the sources need {spell_duration(lag)}, more than delay_max")
    return Delay(int(np.ceil(lag)), f"the sources need {spell_duration(np.ceil(lag))} for 99 of 100 values")


# --- what came late ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Late:
    """What a reading changed in buckets judged before, (n_buckets,) each: how many values, and whether anything at all."""

    window: Window
    values: NDArray[np.int64]
    changed: Bools

    def since(self, start: int) -> int | None:
        """Start of the first bucket from `start` on that changed."""
        places = np.flatnonzero(self.changed & (self.window.starts >= start))
        return int(self.window.starts[places[0]]) if len(places) else None

    def count(self, start: float, end: float) -> int:
        """Values that came late for the buckets of [start, end)."""
        inside = (self.window.starts >= start) & (self.window.starts < end)
        return int(self.values[inside].sum())


def merged(remembered: Frame | None, fresh: Frame, window: Window, judged_to: int) -> tuple[Frame, Late]:
    """`window` as it is known now, and what of that came late for the buckets before `judged_to`.

    What is not known now leaves what was known before, and so does "no data": a value does not un-happen because its
    source lost it. A series that nobody remembers is new, not late; what was not known before (the source failed, or nobody
    asked yet) changes the judgement, but did not come late.
    """
    frame = Frame.unknown(fresh.index, window)
    lay_out(remembered, frame)
    return frame, lay_on(frame, fresh, remembered, judged_to)


def lay_on(frame: Frame, fresh: Frame, remembered: Frame | None, judged_to: int) -> Late:
    """Write what is fresh into a frame that `remembered` was laid out on; what of it came late."""
    window = frame.window
    there, here = common(fresh.window, window)
    counts, changed = np.zeros(len(window), np.int64), np.zeros(len(window), bool)
    before = None if remembered is None or remembered.index == frame.index else frame.index.rows_in(remembered.index) >= 0
    for theirs, ours in zip(range(there.start, there.stop), range(here.start, here.stop), strict=True):
        new, old = fresh.values[:, theirs], frame.values[:, ours]
        fresh_known, was_known = fresh.known[:, theirs], frame.known[:, ours]
        with np.errstate(invalid="ignore"):
            other = ~(np.abs(new - old) <= SAME * np.abs(old))
        other &= fresh_known
        other &= np.isfinite(new)
        start = window.start + ours * window.span
        if remembered is not None and start < judged_to and remembered.window.start <= start < remembered.window.end:
            late = other if before is None else other & before
            answered = fresh_known & ~was_known if before is None else fresh_known & ~was_known & before
            counts[ours] = np.count_nonzero(late & was_known)
            changed[ours] = late.any() or answered.any()
        np.copyto(old, new, where=other)
        was_known |= fresh_known
    return Late(window=window, values=counts, changed=changed)


def lay_out(origin: Frame | None, frame: Frame) -> None:
    """Write what is remembered into a frame of other rows and columns; the rest of it is unknown."""
    frame.values[:], frame.known[:] = np.nan, False
    if origin is None:
        return
    there, here = common(origin.window, frame.window)
    if frame.index == origin.index:
        frame.values[:, here], frame.known[:, here] = origin.values[:, there], origin.known[:, there]
        return
    rows = frame.index.rows_in(origin.index)
    mine = np.flatnonzero(rows >= 0)
    frame.values[mine, here], frame.known[mine, here] = origin.values[rows[mine], there], origin.known[rows[mine], there]


def common(one: Window, other: Window) -> tuple[slice, slice]:
    """Where the time that two windows share lies in each."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    if start >= end:
        return slice(0, 0), slice(0, 0)
    both = Window(start, end, one.span)
    return both.columns_in(one), both.columns_in(other)


# --- what judging goes on from -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What the judge remembered, per signature, when everything before `at` was judged."""

    at: int
    states: Mapping[str, JudgeState]


@dataclass(frozen=True, kw_only=True)
class Past:
    """The last checkpoints, oldest first. `by` names what they were judged by: baselines, detectors and rules.

    Buckets are judged again only by what judged them before: another baseline would find other things in the same data.
    """

    by: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def start(self) -> float:
        """The first time from which can be judged again."""
        return self.checkpoints[0].at if self.checkpoints else np.inf

    def before(self, time: int) -> tuple[Checkpoint, ...]:
        """The newest checkpoint that knows nothing of the bucket at `time`, and all later ones."""
        first = max(place for place, one in enumerate(self.checkpoints) if one.at <= time)
        return self.checkpoints[first:]

    def grown(self, checkpoints: Sequence[Checkpoint], keep_from: int) -> Past:
        """With these at the end, without what none of the time from `keep_from` on needs."""
        known = {one.at: one for one in (*self.checkpoints, *checkpoints)}
        ordered = [known[at] for at in sorted(known)]
        while len(ordered) > 1 and ordered[1].at <= keep_from:
            ordered.pop(0)
        return replace(self, checkpoints=tuple(ordered))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The oldest checkpoint as plain arrays: what a restart needs. The later ones come of judging again from it."""
        if not self.checkpoints:
            return {}
        oldest = self.checkpoints[0]
        arrays = {key: array for name, one in oldest.states.items() for key, array in one.to_arrays(f"@{name}/").items()}
        return {**arrays, AT: np.array([oldest.at], np.int64), BY: np.frombuffer(self.by.encode(), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Past:
        """What `to_arrays` gave; nothing where there is nothing."""
        if AT not in arrays:
            return cls()
        names = sorted({key[1:].partition("/")[0] for key in arrays if key.startswith("@") and "/" in key})
        states = {name: JudgeState.from_arrays(arrays, f"@{name}/") for name in names}
        return cls(by=arrays[BY].tobytes().decode(), checkpoints=(Checkpoint(at=int(arrays[AT][0]), states=states),))


# --- judging again ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Again:
    """What judging again came to: where judging goes on from, and which incidents are different now.

    `incidents` are those that are new or told differently, `taken_back` those that did not happen. Each that is another story
    now has a step that says so.
    """

    states: Mapping[str, JudgeState]
    checkpoints: tuple[Checkpoint, ...] = ()
    incidents: tuple[Incident, ...] = ()
    taken_back: tuple[Incident, ...] = ()
    transitions: tuple[Transition, ...] = field(default=())


def judge_again(
    judge: Judge,
    frame: Frame,
    checkpoints: Sequence[Checkpoint],
    until: int,
    incidents: Mapping[str, Incident],
    why: str,
) -> Again:
    """Judge everything from the first checkpoint to `until` again, and say what that changes in `incidents` (by id)."""
    edges = [one.at for one in checkpoints]
    edges += [until] if edges[-1] < until else []
    states, found, steps, renewed = checkpoints[0].states, dict[str, Incident](), list[Transition](), [checkpoints[0]]
    for end, judged in zip(edges[1:], judge.pieces(frame, edges, states), strict=True):
        states = {**states, **{signature: one.state for signature, one in judged.items()}}
        found |= {incident.id: incident for one in judged.values() for incident in one.incidents}
        steps += [step for one in judged.values() for step in one.transitions]
        renewed.append(Checkpoint(at=end, states=states))
    before = {live.incident.id: live.incident for state in checkpoints[0].states.values() for live in state.live.values()}
    changed: list[Incident] = []
    taken_back: list[Incident] = []
    for incident in {**{one.id: one for one in incidents.values() if one.id in before}, **found}.values():
        now = found.get(incident.id, before.get(incident.id, incident))
        old = incidents.get(incident.id)
        if old is not None and replace(old, held_by=(), folded=(), behind="") == now:
            continue
        changed.append(now)
        if old is None or _story(old) != _story(now):
            told = f"{why}: {_told(now)}" + ("" if old is None else f", before: {_told(old)}")
            steps.append(Transition(incident=now.id, at=until, kind="rejudged", reason=told, severity=now.severity))
    for old in incidents.values():
        if old.id not in found and old.id not in before and old.opened > checkpoints[0].at:
            alone = JudgeState(live={old.component: Live(incident=old, calm=0, floor=0)})
            gone = withdraw(alone, old.component, until, f"{why}: it did not happen")
            taken_back += gone.incidents
            steps += gone.transitions
    told_again = {one.id for one in changed}
    return Again(
        states=states,
        checkpoints=tuple(renewed),
        incidents=tuple(changed),
        taken_back=tuple(taken_back),
        transitions=tuple(step for step in steps if step.incident in told_again or step.kind == "withdrawn"),
    )


def _story(incident: Incident) -> tuple[object, ...]:
    """What happened. Who holds it back, or shows it, is no part of that."""
    one = incident
    return one.phase, one.severity, one.since, one.opened, one.recovered, one.flapping_since, f"{one.peak:.6g}"


def _told(incident: Incident) -> str:
    return f"{incident.phase.value}, {incident.severity.name}, peak {incident.peak:.1f}"
