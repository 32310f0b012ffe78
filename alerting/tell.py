"""Sinks beside Centreon: told of every change once it was taken, whatever Centreon does. No thread, no clock inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tocsin.model import CheckResult, Desired, Outcome, Sent, Telling
from tocsin.ports import Sink, TellingStore

AT_ONCE = 100
MOST_BACKOFF = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one pass did; `why` is the first reason for which something was not taken."""

    taken: int = 0
    waiting: int = 0
    why: str = ""


class Tell:
    """One sink's loop; call `step` about once a second.

    It is told the newest state of each service that changed, at least once. A sink that can read back holds states, not
    messages: what is not OK is said again to it every `reassert` seconds.
    """

    def __init__(self, store: TellingStore, sink: Sink, reassert: float) -> None:
        self._store, self._sink, self._reassert = store, sink, reassert

    def step(self, now: float) -> Told:
        """Tell what is due."""
        again = now - self._reassert if self._sink.reads_back else None
        due = self._store.untold(now, AT_ONCE, again)
        if not due:
            return Told()
        outcomes = self._sink.send([spoken(telling.row) for telling in due])
        after = [learnt(telling, outcome, now) for telling, outcome in zip(due, outcomes, strict=True)]
        self._store.record(after)
        taken = sum(not one.error for one in after)
        return Told(taken=taken, waiting=len(after) - taken, why=next((one.error for one in after if one.error), ""))


def spoken(row: Desired) -> CheckResult:
    """What is told: the same again has the same time, so that a receiver can tell a repetition."""
    return CheckResult(service=row.service, code=row.code, text=f"{row.code.name}: {row.text}", perf=row.perf, at=row.changed_at)


def learnt(telling: Telling, outcome: Outcome, now: float) -> Telling:
    """The telling after the sink answered: done, or due again after 2, 4, 8 … 600 seconds."""
    if outcome.sent is Sent.YES:
        return replace(telling, attempts=0, told_at=now, next_due_at=0.0, error="")
    wait = min(MOST_BACKOFF, float(2 ** min(telling.attempts + 1, 12)))
    return replace(telling, attempts=telling.attempts + 1, next_due_at=now + wait, error=outcome.why or "no answer")
