"""Periods that come back: over midnight, over a change of the clocks, on the days of a rule."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.recurrence import Recurring, instant_of, parse_rule

PARIS = ZoneInfo("Europe/Paris")


def at(text: str, zone: ZoneInfo = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def hours(text: str, **changes: object) -> float | None:
    parts: dict[str, object] = {"timezone": "Europe/Paris", "at": time(22), "until": time(6), **changes}
    span = Recurring(**parts).at_instant(at(text))  # type: ignore[arg-type]
    return None if span is None else (span.end - span.start) / 3600


def test_a_night_belongs_to_the_evening_it_began_on() -> None:
    saturday = {"rule": "FREQ=WEEKLY;BYDAY=SA"}
    assert hours("2026-02-07 23:00", **saturday) == 8
    assert hours("2026-02-08 05:59", **saturday) == 8
    assert hours("2026-02-08 06:00", **saturday) is None
    assert hours("2026-02-08 23:00", **saturday) is None


def test_the_nights_in_which_the_clocks_change_are_shorter_and_longer() -> None:
    assert hours("2026-03-29 00:30") == 7
    assert hours("2026-10-25 00:30") == 9


def test_what_lasts_four_hours_lasts_four_hours_in_any_night() -> None:
    for day in ("2026-03-29", "2026-10-25", "2026-06-14"):
        assert hours(f"{day} 00:30", at=time(0), until=None, lasts=4 * 3600) == 4


def test_a_time_that_happens_twice_belongs_to_the_period_both_times() -> None:
    once = Recurring(timezone="Europe/Paris", at=time(2, 15), until=time(2, 45))
    span = once.at_instant(datetime(2026, 10, 25, 0, 20, tzinfo=UTC).timestamp())
    assert span is not None
    assert (span.end - span.start) == 5400


def test_a_time_that_does_not_happen_is_the_moment_of_the_jump() -> None:
    jump = int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp())
    assert instant_of(datetime(2026, 3, 29, 2, 30), PARIS) == jump
    assert hours("2026-03-29 03:00", at=time(2, 30), until=time(3, 30)) == 0.5


def test_the_second_tuesday_of_the_month() -> None:
    patch_day = {"rule": "FREQ=MONTHLY;BYDAY=2TU", "at": time(20), "until": time(23)}
    assert hours("2026-02-10 21:00", **patch_day) == 3
    assert hours("2026-02-17 21:00", **patch_day) is None


def test_every_other_week_counts_from_the_first_day() -> None:
    other = {"rule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "at": time(1), "until": time(2)}
    assert hours("2026-02-09 01:30", first=datetime(2026, 2, 9).date(), **other) == 1
    assert hours("2026-02-16 01:30", first=datetime(2026, 2, 9).date(), **other) is None
    assert hours("2026-02-23 01:30", first=datetime(2026, 2, 9).date(), **other) == 1


@pytest.mark.parametrize(
    "text", ["", "every day", "FREQ=SOMETIMES", "FREQ=HOURLY", "FREQ=WEEKLY;BYDAY=XX", "FREQ=DAILY\nRRULE:FREQ=DAILY"]
)
def test_what_is_no_rule_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="rule of recurrence"):
        parse_rule(text)


def test_a_period_needs_one_end() -> None:
    with pytest.raises(ValueError, match="either until or lasts"):
        Recurring(timezone="UTC", at=time(1))
    with pytest.raises(ValueError, match="31 days"):
        Recurring(timezone="UTC", at=time(1), lasts=40 * 86_400)


@settings(max_examples=40, deadline=None)
@given(
    instant=st.integers(1_705_000_000, 1_900_000_000),
    begin=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    until=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    zone=st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
def test_an_instant_is_in_a_period_when_its_local_time_is(instant: int, begin: time, until: time, zone: str) -> None:
    local = datetime.fromtimestamp(instant, ZoneInfo(zone))
    day = int(local.timestamp()) - 100_000, int(local.timestamp()) + 100_000
    if datetime.fromtimestamp(day[0], ZoneInfo(zone)).utcoffset() != datetime.fromtimestamp(day[1], ZoneInfo(zone)).utcoffset():
        return  # the days on which the clocks change have their own tests
    clock = local.time()
    inside = begin <= clock < until if begin < until else clock >= begin or clock < until
    assert (Recurring(timezone=zone, at=begin, until=until).at_instant(instant) is not None) is inside
