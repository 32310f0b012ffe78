"""One pass of the delivery loop: what is due goes out, what the far side shows is read back. No thread, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alerting.desired import UNDELIVERABLE, Pace, Reason, awake, decide, seen, sent, spoken, taken_for_seen, untangled, was_seen
from tocsin.errors import TransientError
from tocsin.model import CheckResult, Desired, Outcome, Sent
from tocsin.ports import DesiredStore, Sink

AT_ONCE = 200
"""Results handed to the sink together: what is sent but not yet recorded when the power fails."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What one pass did. `read_back` tells whether the far side was looked at in it; the last three are of that look."""

    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    why: str = ""
    read_back: bool = False
    confirmed: int = 0
    unconfirmed: int = 0
    undeliverable: int = 0


class Deliver:
    """The loop's body; call `step` about once a second.

    Nothing is remembered here that a restart could lose: the rows are in the store, a pass that dies anywhere is simply
    done again. `on_send` is told of every result with the reason it was sent for and its outcome, for the log.
    """

    def __init__(
        self,
        store: DesiredStore,
        sink: Sink,
        pace: Pace,
        on_send: Callable[[Reason, CheckResult, Outcome], None] | None = None,
    ) -> None:
        self._store, self._sink, self._pace, self._on_send = store, sink, pace, on_send
        self._tokens = pace.rate
        self._stepped_at: float | None = None
        self._looked_at: float | None = None
        self._down = False

    def step(self, now: float) -> Delivered:
        """Send what is due, as far as the rate allows, and look at the far side when it is time."""
        earlier = now if self._stepped_at is None else self._stepped_at
        self._stepped_at = now
        self._tokens = min(self._pace.rate, self._tokens + self._pace.rate * max(0.0, now - earlier))
        outcomes: Counter[Sent] = Counter()
        reasons: Counter[Reason] = Counter()
        why = ""
        while self._tokens >= 1:
            batch = min(AT_ONCE, int(self._tokens))
            due = self._store.due(now, batch)
            answers = self._send(due, now, reasons)
            outcomes.update(answer.sent for answer in answers)
            why = next((answer.why for answer in answers if answer.sent is not Sent.YES), why)
            self._tokens -= len(answers)
            # A receiver that took nothing of a batch is down or full: the rest would only be refused as well.
            if len(due) < batch or not answers or all(answer.sent is Sent.NO for answer in answers):
                break
        if outcomes[Sent.YES] and self._down:
            # It is back: what it forgot, and what waits for its next attempt, is put right now and not by and by.
            self._looked_at, self._down = None, False
            looked = self._look_back(now, back=True)
        else:
            self._down = self._down or (bool(outcomes) and not outcomes[Sent.YES])
            looked = self._look_back(now)
        return replace(
            looked,
            accepted=outcomes[Sent.YES],
            refused=outcomes[Sent.NO],
            unanswered=outcomes[Sent.UNKNOWN],
            reasons=dict(reasons),
            why=why or looked.why,
        )

    def _send(self, due: Sequence[Desired], now: float, reasons: Counter[Reason]) -> Sequence[Outcome]:
        before, after, going = list(due), list(due), []
        for place, row in enumerate(before):
            if not self._sink.reads_back:
                after[place] = taken_for_seen(row, now, self._pace)
            reason = decide(after[place], now, self._pace)
            if reason.sends:
                going.append((place, reason))
            elif reason is Reason.TOO_SOON and row.last_sent_at is not None:
                after[place] = replace(after[place], next_due_at=row.last_sent_at + self._pace.apart)
        results = [spoken(after[place], now, self._pace) for place, _ in going]
        outcomes = self._sink.send(results) if results else ()
        for (place, reason), result, outcome in zip(going, results, outcomes, strict=True):
            after[place] = sent(after[place], result, outcome, now, self._pace, reads_back=self._sink.reads_back)
            reasons[reason] += 1
            if self._on_send is not None:
                self._on_send(reason, result, outcome)
        self._record(before, after)
        return outcomes

    def _look_back(self, now: float, *, back: bool = False) -> Delivered:
        if self._looked_at is not None and 0 <= now - self._looked_at < self._pace.read_back:
            return Delivered()
        self._looked_at = now
        before = [row for row in self._store.all_desired() if row.valid_until > now]
        after, why, looked = [untangled(row, now, self._pace) for row in before], "", False
        if self._sink.reads_back:
            try:
                shown = {one.service: one for one in self._sink.read_back([row.service for row in before])}
                after, looked = [seen(row, shown.get(row.service), now, self._pace) for row in after], True
            except TransientError as error:
                why = str(error)
        if back:
            after = [awake(row, now) for row in after]
        self._record(before, after)
        confirmed = sum(was_seen(row) for row in after)
        return Delivered(
            why=why,
            read_back=looked,
            confirmed=confirmed,
            unconfirmed=len(after) - confirmed,
            undeliverable=sum(row.error == UNDELIVERABLE for row in after),
        )

    def _record(self, before: Sequence[Desired], after: Sequence[Desired]) -> None:
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        if changed:
            self._store.record([old for old, _ in changed], [new for _, new in changed])
