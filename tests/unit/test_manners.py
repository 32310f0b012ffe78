"""A source is asked gently: slowly, seldom when it is ill, and never longer than was agreed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.manners import (
    ALONE,
    CALM,
    FAILURES,
    LONGEST_ALONE,
    Circuit,
    Lag,
    Manners,
    MannersSettings,
    admit,
    again,
    answered,
    failed,
)
from tocsin.errors import PermanentError, TransientError


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def manners(time: Time, **settings: object) -> Manners:
    return Manners(MannersSettings.model_validate(settings), clock=time, sleep=time.sleep, random=lambda: 0.5)


def failing(times: int, error: Callable[[], Exception] = lambda: TransientError("busy")) -> Callable[[float], str]:
    left = [times]

    def work(_deadline: float) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return "done"

    return work


# --- retries ------------------------------------------------------------------------------------------------------------


def test_a_short_trouble_is_waited_out_and_the_source_counts_as_degraded() -> None:
    time = Time()
    gate = manners(time)
    assert gate.call(failing(2)) == "done"
    assert gate.state.kind == "degraded"
    assert gate.state.reason == "answered only after 2 failed tries: busy"
    assert (gate.usage.requests, gate.usage.retries, gate.usage.failures) == (3, 2, 0)
    assert time.slept == [0.25, 0.5]


def test_what_will_never_work_is_not_tried_again() -> None:
    gate = manners(Time())
    with pytest.raises(PermanentError):
        gate.call(failing(1, lambda: PermanentError("no rights")))
    assert gate.usage.requests == 1
    assert gate.state.reason == "no rights"


def test_no_try_is_made_after_the_time_is_up() -> None:
    time = Time()
    gate = manners(time, timeout="5s", retries=10)
    with pytest.raises(TransientError):
        gate.call(failing(99))
    assert time.now <= 1005.0


def test_the_pause_that_the_source_asks_for_is_kept_or_the_try_is_left() -> None:
    time = Time()
    gate = manners(time, timeout="60s")
    assert gate.call(failing(1, lambda: TransientError("slow down", retry_after=7.0))) == "done"
    assert time.slept[0] >= 7.0
    with pytest.raises(TransientError):
        gate.call(failing(1, lambda: TransientError("slow down", retry_after=600.0)))
    assert time.now < 1060.0


@given(st.integers(0, 12), st.integers(0, 10), st.floats(0, 100), st.floats(0, 0.999), st.one_of(st.none(), st.floats(-5, 1000)))
def test_a_wait_is_within_the_time_left_and_never_shorter_than_asked(
    attempt: int, retries: int, left: float, jitter: float, retry_after: float | None
) -> None:
    decision = again(attempt, retries, TransientError("x", retry_after=retry_after), left, jitter)
    assert decision.reason
    if decision.wait is not None:
        assert attempt < retries
        assert max(0.0, retry_after or 0.0) <= decision.wait < left


# --- the circuit ----------------------------------------------------------------------------------------------------------


def test_a_source_that_fails_again_and_again_is_left_alone_and_then_tried_once() -> None:
    time = Time()
    gate = manners(time, retries=0)
    for _ in range(FAILURES):
        with pytest.raises(TransientError, match="busy"):
            gate.call(failing(1))
    assert gate.state.kind == "down"
    asked = gate.usage.requests
    with pytest.raises(TransientError, match="left alone for another 30s: busy"):
        gate.call(failing(0))
    assert gate.usage.requests == asked
    time.now += ALONE
    assert gate.call(failing(0)) == "done"
    assert (gate.state.kind, gate.state.reason) == ("ok", "")


def test_only_one_call_at_a_time_tests_whether_a_source_is_back() -> None:
    time = Time()
    gate = manners(time, retries=0, concurrency=4)
    for _ in range(FAILURES):
        with pytest.raises(TransientError):
            gate.call(failing(1))
    time.now += ALONE

    def trial(_deadline: float) -> str:
        with pytest.raises(TransientError, match="being tried again: busy"):
            gate.call(failing(0))
        return "back"

    assert gate.call(trial) == "back"
    assert gate.state.kind == "ok"


def test_a_bug_of_ours_is_no_illness_of_the_source() -> None:
    gate = manners(Time(), retries=0)
    for _ in range(FAILURES + 1):
        with pytest.raises(ZeroDivisionError):
            gate.call(failing(1, ZeroDivisionError))
    assert gate.state.kind == "ok"


def test_a_degraded_source_is_well_after_two_calm_minutes() -> None:
    time = Time()
    gate = manners(time)
    gate.partial("1 of 5 shards failed")
    gate.call(failing(0))
    assert (gate.state.kind, gate.state.reason) == ("degraded", "1 of 5 shards failed")
    time.now += CALM
    gate.call(failing(0))
    assert gate.state.kind == "ok"


@given(st.lists(st.tuples(st.sampled_from(["answer", "trouble", "fail"]), st.floats(0, 400)), max_size=40))
def test_a_circuit_is_down_only_after_three_failures_in_a_row_and_never_alone_for_long(steps: list[tuple[str, float]]) -> None:
    circuit, now, row = Circuit(), 0.0, 0
    for act, later in steps:
        now += later
        if not admit(circuit, now).granted:
            assert circuit.kind == "down" and circuit.reason
            continue
        if act == "fail":
            circuit, row = failed(circuit, "it hurts", now), row + 1
        else:
            circuit, row = answered(circuit, now, "late" if act == "trouble" else ""), 0
        assert (circuit.kind == "down") == (row >= FAILURES)
        assert circuit.closed_at <= now + LONGEST_ALONE
        assert bool(circuit.reason) == (circuit.kind != "ok")
        assert circuit.since <= now


# --- pace and places ------------------------------------------------------------------------------------------------------


def test_requests_are_spread_over_the_second() -> None:
    time = Time()
    gate = manners(time, per_second=4)
    for _ in range(9):
        gate.call(failing(0))
    assert time.now == pytest.approx(1002.0)


def test_our_own_pace_is_no_illness_of_the_source() -> None:
    time = Time()
    gate = manners(time, per_second=0.01, timeout="5s", retries=0)
    assert gate.call(failing(0)) == "done"
    for _ in range(FAILURES + 1):
        with pytest.raises(TransientError, match=r"0\.01 requests per second did not suffice"):
            gate.call(failing(0))
    assert (gate.state.kind, gate.usage.requests, gate.usage.failures) == ("ok", 1, 0)


def test_a_source_that_failed_has_failed_also_when_our_pace_allows_no_second_try() -> None:
    gate = manners(Time(), per_second=0.01, timeout="5s")
    with pytest.raises(TransientError, match="busy"):
        gate.call(failing(1))
    assert (gate.state.kind, gate.state.reason) == ("degraded", "busy")
    assert (gate.usage.requests, gate.usage.failures) == (1, 1)


def test_a_trial_that_our_pace_did_not_allow_is_made_later() -> None:
    time = Time()
    gate = manners(time, per_second=0.01, timeout="5s", retries=0)
    for _ in range(FAILURES):
        time.now += 100
        with pytest.raises(TransientError, match="busy"):
            gate.call(failing(1))
    time.now += ALONE
    with pytest.raises(TransientError, match="did not suffice"):
        gate.call(failing(0))
    assert (gate.state.kind, gate.state.failures) == ("down", FAILURES)
    time.now += 100
    assert gate.call(failing(0)) == "done"


def test_no_more_requests_than_agreed_run_at_once() -> None:
    gate = Manners(MannersSettings(concurrency=2, per_second=1000))
    running, most, lock = [0], [0], threading.Lock()
    full = threading.Barrier(2, timeout=10)

    def work(_deadline: float) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        full.wait()
        with lock:
            running[0] -= 1

    threads = [threading.Thread(target=gate.call, args=(work,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2
    assert gate.usage.requests == 6


def test_a_deadline_tells_what_is_left_of_it() -> None:
    time = Time()
    gate = manners(time, timeout="30s")

    def work(deadline: float) -> float:
        time.now += 12
        return gate.left(deadline)

    assert gate.call(work) == 18.0
    assert gate.left(time.now - 100) > 0


def test_what_answers_brought_is_counted() -> None:
    gate = manners(Time())
    gate.got(size=100, rows=3)
    gate.got(size=50)
    assert (gate.usage.bytes, gate.usage.rows) == (150, 3)


# --- lag ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_lag_before_enough_was_seen() -> None:
    lag = Lag()
    lag.saw(5.0, 10)
    assert lag.p99() is None


@given(st.lists(st.floats(0, 80_000), min_size=60, max_size=300))
def test_the_lag_is_the_99th_percentile_within_ten_percent(seconds: list[float]) -> None:
    lag = Lag()
    lag.saw(np.array(seconds))
    said = lag.p99()
    exact = float(np.percentile(seconds, 99, method="inverted_cdf"))
    assert said is not None
    assert exact <= said <= max(1.0, exact * 1.1 + 1e-6)


def test_what_a_second_reading_finds_is_late_and_the_rest_in_time() -> None:
    lag = Lag()
    for _ in range(10):
        lag.grew(np.array([600, 660]), np.array([100, 90]), np.array([100, 100]), 900.0)
    assert lag.p99() == pytest.approx(240, rel=0.1)
    calm = Lag()
    calm.grew(np.array([600, 660]), np.array([100, 100]), np.array([100, 99]), 900.0)
    assert calm.p99() == 0.0


def test_an_old_lag_is_forgotten() -> None:
    lag = Lag()
    lag.saw(600.0, 1000)
    for _ in range(4000):
        lag.saw(5.0, 100)
    assert lag.p99() == pytest.approx(5.0, rel=0.1)


def test_clocks_that_run_ahead_and_nonsense_do_no_harm() -> None:
    lag = Lag()
    lag.saw(np.array([-50.0, np.nan, np.inf, 2.0]), np.array([100, 100, 100, 100]))
    said = lag.p99()
    assert said is not None and said <= 2.2
    assert np.isfinite(said)
