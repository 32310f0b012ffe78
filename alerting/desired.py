"""What each service must show, and every decision about sending it. Pure: rows in, rows out, with the reason.

A passive result is a write to a register: repeating it changes nothing, and an "accepted" proves nothing. So a row is
never done. It is sent when it changed, when the far side shows something else, and again every `reassert` seconds.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import Enum

from tocsin.model import CheckResult, Desired, Outcome, Sent, ServiceKey, Severity, Shown

ABSENT_ONCE = "not among the services the far side shows"
UNDELIVERABLE = "no such service on the far side"
_ABSENT = (ABSENT_ONCE, UNDELIVERABLE)
_RANK = {Severity.OK: 0, Severity.UNKNOWN: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}


def worse(a: Severity, b: Severity) -> bool:
    """Whether `a` is worse than `b`: OK, UNKNOWN, WARNING, CRITICAL."""
    return _RANK[a] > _RANK[b]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often, in seconds. `apart` keeps two results of one service in different seconds on every transport.

    `settle` is how long the far side may take to show what it was sent; `dwell` how long a result that nobody can read
    back must have stood before it counts as seen; `retry_absent` when to try again a service that does not exist.
    """

    reassert: float = 300.0
    read_back: float = 60.0
    rate: float = 500.0
    apart: float = 2.0
    settle: float = 30.0
    dwell: float = 30.0
    most_backoff: float = 60.0
    retry_absent: float = 3600.0


class Reason(Enum):
    """Why a row is sent now, or not."""

    FIRST = "first"
    CHANGED = "changed"
    OPENING = "opening not seen yet"
    RETRY = "retry"
    AGAIN = "again"
    NOT_DUE = "not due"
    TOO_SOON = "too soon"
    EXPIRED = "expired"

    @property
    def sends(self) -> bool:
        """Whether the row goes out."""
        return self not in (Reason.NOT_DUE, Reason.TOO_SOON, Reason.EXPIRED)


def want(previous: Desired | None, result: CheckResult, now: float, valid_for: float, *, changed: bool = False) -> Desired:
    """The row after a tick said what the service must show. `changed`: an incident behind it took a step.

    A trouble that is over before the far side has shown it stays in `must_show` until it was.
    """
    at, valid_until = int(now), int(now + valid_for)
    if previous is None:
        return Desired(
            service=result.service,
            code=result.code,
            text=result.text,
            perf=result.perf,
            changed_at=at,
            valid_until=valid_until,
            next_due_at=now,
        )
    row = replace(previous, text=result.text, perf=result.perf, valid_until=valid_until)
    if result.code is previous.code and not changed:
        return row
    must_show = previous.must_show
    if previous.code in (Severity.WARNING, Severity.CRITICAL) and not was_seen(previous):
        must_show = previous.code if must_show is None or worse(previous.code, must_show) else must_show
    if must_show is not None and not worse(must_show, result.code):
        must_show = None
    return replace(
        row,
        code=result.code,
        # Strictly after whatever was sent before, so that a result seen is known to be of this version or not.
        changed_at=max(at, previous.last_check_time + 1),
        version=previous.version + 1,
        must_show=must_show,
        next_due_at=now,
    )


def was_seen(row: Desired) -> bool:
    """Whether the far side has shown this version."""
    return row.last_seen_code is row.code and row.last_seen_at is not None and row.last_seen_at >= row.changed_at


def decide(row: Desired, now: float, pace: Pace) -> Reason:
    """Whether to send the row now, and why."""
    if row.valid_until <= now:
        return Reason.EXPIRED
    if row.last_sent_at is not None and 0 <= now - row.last_sent_at < pace.apart:
        return Reason.TOO_SOON
    if row.next_due_at > now:
        return Reason.NOT_DUE
    if row.attempts:
        return Reason.RETRY
    if row.must_show is not None:
        return Reason.OPENING
    if row.last_sent_at is None:
        return Reason.FIRST
    return Reason.CHANGED if row.last_check_time < row.changed_at else Reason.AGAIN


def spoken(row: Desired, now: float, pace: Pace) -> CheckResult:
    """What to send: the opening that was not seen yet, else the present state. Its time never goes back."""
    code = row.code if row.must_show is None else row.must_show
    # A clock that was set back since the change must not date the result before it: it would never count as seen.
    at = max(int(now), row.changed_at, row.last_check_time + int(pace.apart) if row.last_check_time else 0)
    return CheckResult(service=row.service, code=code, text=f"{code.name}: {row.text}", perf=row.perf, at=at)


def sent(row: Desired, result: CheckResult, outcome: Outcome, now: float, pace: Pace, *, reads_back: bool) -> Desired:
    """The row after the transport answered. No answer makes it done; a "no" only makes it come back sooner."""
    if outcome.sent is Sent.NO:
        return replace(row, attempts=row.attempts + 1, error=outcome.why or "refused", next_due_at=now + _backoff(row, pace))
    after = replace(row, last_sent_at=now, last_check_time=result.at)
    if outcome.sent is Sent.UNKNOWN:
        return replace(after, attempts=row.attempts + 1, error=outcome.why or "no answer", next_due_at=now + _backoff(row, pace))
    wait = _period(row, pace)
    if not reads_back and not was_seen(row):
        wait = min(wait, pace.dwell)
    return replace(after, attempts=0, error=row.error if row.error in _ABSENT else "", next_due_at=now + wait)


def seen(row: Desired, shown: Shown | None, now: float, pace: Pace) -> Desired:
    """The row after the far side was read back; `shown` is None when it has no such service.

    Confirms, lets a recovery go once the opening was seen, and makes due at once what is shown wrongly.
    """
    if shown is None:
        absent_before = row.error in _ABSENT
        return replace(row, error=UNDELIVERABLE if absent_before else ABSENT_ONCE)
    if row.error in _ABSENT:
        row = replace(row, error="", next_due_at=min(row.next_due_at, now))
    expected = row.code if row.must_show is None else row.must_show
    ours = row.last_sent_at is not None and shown.last_check >= row.last_check_time - 1
    if ours and shown.code is expected:
        after = _confirmed(row, float(shown.last_check), now)
        # It did arrive, whatever the transport thought of it.
        return (
            replace(after, attempts=0, error="", next_due_at=now + _period(row, pace))
            if row.attempts and was_seen(after)
            else after
        )
    on_its_way = row.last_sent_at is not None and 0 <= now - row.last_sent_at < pace.settle
    if on_its_way or row.attempts or row.error:
        return row
    return replace(row, next_due_at=min(row.next_due_at, now))


def taken_for_seen(row: Desired, now: float, pace: Pace) -> Desired:
    """The row of a sink that cannot be read back: what was accepted and has stood for a while counts as seen."""
    if row.attempts or row.last_sent_at is None or 0 <= now - row.last_sent_at < pace.dwell:
        return row
    if row.last_check_time < row.changed_at or was_seen(row):
        return row
    after = _confirmed(row, float(row.last_check_time), now)
    return after if row.must_show is not None else replace(after, next_due_at=row.last_sent_at + _period(row, pace))


def untangled(row: Desired, now: float, pace: Pace) -> Desired:
    """The row after the clock may have been set back: nothing waits longer than the longest wait there is."""
    longest = 1.2 * max(_period(row, pace), pace.most_backoff)
    return replace(row, next_due_at=now) if row.next_due_at - now > longest else row


def awake(row: Desired, now: float) -> Desired:
    """The row once the far side takes results again: what waits only because it did not, waits no longer."""
    return replace(row, next_due_at=min(row.next_due_at, now)) if row.attempts and row.error not in _ABSENT else row


def spread(service: ServiceKey) -> float:
    """A number in -1..1 that is always the same for a service and differs between services."""
    return zlib.crc32(f"{service.host};{service.service}".encode(errors="replace")) / 0x7FFFFFFF - 1.0


def _period(row: Desired, pace: Pace) -> float:
    wait = pace.retry_absent if row.error == UNDELIVERABLE else pace.reassert
    return wait * (1 + 0.1 * spread(row.service))


def _backoff(row: Desired, pace: Pace) -> float:
    """1, 2, 4 … seconds, each service a little differently."""
    return min(pace.most_backoff, float(2 ** min(row.attempts, 10))) * (1 + 0.2 * spread(row.service))


def _confirmed(row: Desired, at: float, now: float) -> Desired:
    if row.must_show is not None:
        return replace(row, must_show=None, last_seen_code=row.must_show, last_seen_at=at, next_due_at=now)
    if row.last_seen_code is row.code and row.last_seen_at == at:
        return row
    return replace(row, last_seen_code=row.code, last_seen_at=at)
