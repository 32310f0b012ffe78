"""Every decision about what a service must show and when it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerting.desired import (
    ABSENT_ONCE,
    UNDELIVERABLE,
    Pace,
    Reason,
    decide,
    seen,
    sent,
    spoken,
    spread,
    taken_for_seen,
    untangled,
    want,
    was_seen,
)
from tocsin.model import CheckResult, Desired, Outcome, Sent, ServiceKey, Severity, Shown

WEB = ServiceKey("web-1", "Anomaly-web")
PACE = Pace()
OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN
YES, NO, NO_ANSWER = Outcome(sent=Sent.YES), Outcome(sent=Sent.NO, why="full"), Outcome(sent=Sent.UNKNOWN, why="timeout")


def wanted(code: Severity, text: str = "text") -> CheckResult:
    return CheckResult(service=WEB, code=code, text=text)


def row(**changes: Any) -> Desired:
    """Shown and confirmed at 1000, next due at 1300."""
    calm = Desired(
        service=WEB,
        code=OK,
        text="text",
        changed_at=1000,
        valid_until=5000,
        next_due_at=1300,
        last_sent_at=1000.0,
        last_check_time=1000,
        last_seen_code=OK,
        last_seen_at=1000.0,
    )
    return replace(calm, **changes)


def shown(code: Severity | None, last_check: int = 1000) -> Shown:
    return Shown(service=WEB, code=code, text="text", last_check=last_check)


# --- want ---------------------------------------------------------------------------------------------------------------


def test_a_new_service_is_due_at_once() -> None:
    new = want(None, wanted(OK), 100.5, 60)
    assert (new.version, new.changed_at, new.next_due_at, new.valid_until) == (1, 100, 100.5, 160)


def test_another_text_alone_waits_for_the_next_assertion() -> None:
    again = want(row(), wanted(OK, "other"), 1100, 600)
    assert (again.text, again.version, again.next_due_at, again.valid_until) == ("other", 1, 1300, 1700)


def test_a_step_of_an_incident_makes_the_same_code_due() -> None:
    again = want(row(code=CRITICAL, last_seen_code=CRITICAL), wanted(CRITICAL), 1100, 600, changed=True)
    assert (again.version, again.next_due_at, again.changed_at) == (2, 1100, 1100)


@pytest.mark.parametrize(
    ("before", "code", "must_show"),
    [
        (row(code=CRITICAL, last_seen_code=CRITICAL), OK, None),
        (row(code=CRITICAL), OK, CRITICAL),
        (row(code=CRITICAL, last_seen_code=CRITICAL, last_seen_at=900.0), OK, CRITICAL),
        (row(code=CRITICAL), UNKNOWN, CRITICAL),
        (row(code=CRITICAL), WARNING, CRITICAL),
        (row(code=WARNING), CRITICAL, None),
        (row(code=WARNING, must_show=CRITICAL), OK, CRITICAL),
        (row(code=OK, must_show=CRITICAL), CRITICAL, None),
        (row(code=OK, must_show=WARNING), UNKNOWN, WARNING),
        (row(code=UNKNOWN), OK, None),
        (row(), CRITICAL, None),
    ],
)
def test_an_opening_nobody_has_seen_must_still_be_shown(before: Desired, code: Severity, must_show: Severity | None) -> None:
    assert want(before, wanted(code), 1100, 600).must_show is must_show


def test_a_change_in_the_second_of_the_last_result_is_told_apart_from_it() -> None:
    assert not was_seen(want(row(code=CRITICAL, last_seen_code=CRITICAL), wanted(CRITICAL), 1000.2, 60, changed=True))


# --- decide, spoken -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (row(), 1200, Reason.NOT_DUE),
        (row(), 1300, Reason.AGAIN),
        (row(), 5000, Reason.EXPIRED),
        (row(changed_at=1299), 1300, Reason.CHANGED),
        (row(last_sent_at=None, last_check_time=0), 1300, Reason.FIRST),
        (row(must_show=CRITICAL), 1300, Reason.OPENING),
        (row(attempts=3), 1300, Reason.RETRY),
        (row(next_due_at=1001), 1001.5, Reason.TOO_SOON),
        (row(next_due_at=1001), 1002, Reason.AGAIN),
        # The clock was set back an hour: the last sending seems to lie ahead.
        (row(next_due_at=900), 950, Reason.AGAIN),
    ],
)
def test_when_a_row_is_sent(before: Desired, now: float, reason: Reason) -> None:
    assert decide(before, now, PACE) is reason


@pytest.mark.parametrize(
    ("before", "now", "at"),
    [
        (row(), 1300.9, 1300),
        (row(), 1001, 1002),
        (row(), 400, 1002),
        (row(last_check_time=0), 7, 1000),
        (row(last_check_time=0, changed_at=5), 7, 7),
    ],
)
def test_the_time_of_a_service_only_goes_forward(before: Desired, now: float, at: int) -> None:
    assert spoken(before, now, PACE).at == at


def test_the_text_carries_the_code_that_is_sent() -> None:
    assert spoken(row(must_show=CRITICAL), 1300, PACE).text == "CRITICAL: text"
    assert spoken(row(), 1300, PACE).code is OK


# --- sent ---------------------------------------------------------------------------------------------------------------


def after(outcome: Outcome, before: Desired, *, reads_back: bool = True) -> Desired:
    return sent(before, spoken(before, 1300, PACE), outcome, 1300, PACE, reads_back=reads_back)


def test_accepted_is_sent_again_after_the_period() -> None:
    done = after(YES, row(attempts=3, error="full"))
    assert (done.attempts, done.error, done.last_sent_at, done.last_check_time) == (0, "", 1300, 1300)
    assert 1300 + 270 <= done.next_due_at <= 1300 + 330


def test_accepted_proves_nothing() -> None:
    done = after(YES, row(code=CRITICAL, changed_at=1290))
    assert not was_seen(done)
    assert after(YES, row(error=UNDELIVERABLE)).error == UNDELIVERABLE


def test_refused_comes_back_after_one_two_four_seconds_and_never_later_than_a_minute() -> None:
    waits, current = [], row()
    for _ in range(9):
        current = after(NO, current)
        waits.append(current.next_due_at - 1300)
    factor = 1 + 0.2 * spread(WEB)
    assert waits == pytest.approx([factor * wait for wait in (1, 2, 4, 8, 16, 32, 60, 60, 60)])
    assert current.last_sent_at == 1000.0
    assert current.error == "full"


def test_without_an_answer_it_counts_as_sent_and_is_tried_again() -> None:
    done = after(NO_ANSWER, row())
    assert (done.last_check_time, done.attempts, done.error) == (1300, 1, "timeout")
    assert done.next_due_at < 1303


def test_a_service_that_does_not_exist_is_tried_again_after_an_hour() -> None:
    assert after(YES, row(error=UNDELIVERABLE)).next_due_at > 1300 + 3200


def test_services_are_spread_evenly_and_always_the_same() -> None:
    spreads = [spread(ServiceKey(f"host-{number}", "s")) for number in range(2000)]
    assert spreads == [spread(ServiceKey(f"host-{number}", "s")) for number in range(2000)]
    assert min(spreads) < -0.99
    assert max(spreads) > 0.99
    assert abs(sum(spreads)) / 2000 < 0.05


# --- seen ---------------------------------------------------------------------------------------------------------------


def test_what_is_shown_as_wanted_is_confirmed() -> None:
    confirmed = seen(row(last_seen_code=None, last_seen_at=None), shown(OK, 1001), 1060, PACE)
    assert (confirmed.last_seen_code, confirmed.last_seen_at, confirmed.next_due_at) == (OK, 1001.0, 1300)


@pytest.mark.parametrize(
    ("what", "far_side"),
    [("other code", shown(CRITICAL, 1000)), ("nothing yet", shown(None, 0)), ("an older result", shown(OK, 500))],
)
def test_what_is_shown_otherwise_is_due_at_once(what: str, far_side: Shown) -> None:
    assert seen(row(), far_side, 1060, PACE).next_due_at == 1060, what


def test_what_was_just_sent_is_given_time_to_arrive() -> None:
    assert seen(row(), shown(CRITICAL), 1010, PACE).next_due_at == 1300


def test_an_opening_that_was_seen_lets_the_recovery_go() -> None:
    before = row(must_show=CRITICAL, last_check_time=1040, last_sent_at=1040.0)
    free = seen(before, shown(CRITICAL, 1040), 1060, PACE)
    assert (free.must_show, free.next_due_at) == (None, 1060)
    assert seen(before, shown(OK, 1040), 1060, PACE).must_show is CRITICAL


def test_a_service_missing_twice_is_undeliverable_until_it_appears() -> None:
    once = seen(row(), None, 1060, PACE)
    twice = seen(once, None, 1120, PACE)
    assert (once.error, twice.error) == (ABSENT_ONCE, UNDELIVERABLE)
    back = seen(twice, shown(None, 0), 1180, PACE)
    assert (back.error, back.next_due_at) == ("", 1180)


def test_what_arrived_though_the_transport_did_not_say_so_is_not_tried_again() -> None:
    unsure = row(attempts=4, error="timeout", next_due_at=1061.0)
    sure = seen(unsure, shown(OK, 1000), 1060, PACE)
    assert (sure.attempts, sure.error) == (0, "")
    assert sure.next_due_at > 1300


@pytest.mark.parametrize(
    ("before", "now", "must_show", "confirmed"),
    [
        (row(code=CRITICAL, last_seen_at=None, changed_at=999), 1029, None, False),
        (row(code=CRITICAL, last_seen_at=None, changed_at=999), 1031, None, True),
        (row(must_show=CRITICAL, last_check_time=1010, last_sent_at=1010.0, changed_at=1005), 1039, CRITICAL, False),
        (
            row(must_show=CRITICAL, last_check_time=1010, last_sent_at=1010.0, changed_at=1005, last_seen_at=None),
            1041,
            None,
            False,
        ),
        # What was sent last was something else: the opening itself never went out.
        (row(must_show=CRITICAL, changed_at=1005, last_seen_at=None), 1041, CRITICAL, False),
    ],
)
def test_where_nothing_can_be_read_back_what_stood_for_a_while_was_seen(
    before: Desired, now: float, must_show: Severity | None, confirmed: bool
) -> None:
    later = taken_for_seen(before, now, PACE)
    assert (later.must_show, was_seen(later)) == (must_show, confirmed)


def test_a_clock_set_back_does_not_silence_a_service() -> None:
    assert untangled(row(next_due_at=4900), 1300, PACE).next_due_at == 1300
    assert untangled(row(), 1000, PACE).next_due_at == 1300
