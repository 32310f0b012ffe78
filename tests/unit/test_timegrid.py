"""Seasons are local: days of 23 and 25 hours, holidays, month-ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.timegrid import DAY, Calendar, DayKind

PARIS = Calendar("Europe/Paris", "FR", ("month-end",))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@given(
    st.integers(0, 4_000_000_000),
    st.sampled_from(["UTC", "Europe/Paris", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_local_time_agrees_with_the_standard_library(instant: int, zone: str) -> None:
    local = datetime.fromtimestamp(instant, UTC).astimezone(ZoneInfo(zone))
    calendar = Calendar(zone)
    assert calendar.slots(np.array([instant]))[0] == local.hour * 2 + local.minute // 30
    assert calendar.days(np.array([instant]))[0] == (local.date() - date(1970, 1, 1)).days


def test_the_day_that_has_23_hours_skips_its_third_hour() -> None:
    hours = np.arange(at("2026-03-29T00:00+01:00"), at("2026-03-30T00:00+02:00"), 3600)
    assert len(hours) == 23
    assert (PARIS.slots(hours) // 2).tolist() == [0, 1, *range(3, 24)]
    assert len(set(PARIS.days(hours).tolist())) == 1


def test_the_day_that_has_25_hours_has_its_third_hour_twice() -> None:
    hours = np.arange(at("2026-10-25T00:00+02:00"), at("2026-10-26T00:00+01:00"), 3600)
    assert len(hours) == 25
    assert (PARIS.slots(hours) // 2).tolist() == [0, 1, 2, 2, *range(3, 24)]


@pytest.mark.parametrize(
    ("when", "kind"),
    [
        ("2026-11-20", DayKind.WORKING),
        ("2026-11-21", DayKind.SATURDAY),
        ("2026-11-22", DayKind.SUNDAY),
        ("2026-11-11", DayKind.HOLIDAY),
        ("2026-10-30", DayKind.BUSINESS),  # the 31st is a Saturday
        ("2026-10-31", DayKind.SATURDAY),
        ("2026-05-29", DayKind.BUSINESS),  # the 30th and 31st are a weekend
    ],
)
def test_each_day_has_its_kind(when: str, kind: DayKind) -> None:
    assert PARIS.kind_of_day(day(when)) is kind


def test_a_date_and_a_day_of_the_month_can_be_business_days() -> None:
    calendar = Calendar("Europe/Paris", "FR", ("15", "2026-12-24"))
    assert calendar.kind_of_day(day("2026-11-15")) is DayKind.BUSINESS
    assert calendar.kind_of_day(day("2026-12-24")) is DayKind.BUSINESS


def test_the_kind_of_day_changes_at_local_midnight() -> None:
    friday_evening = at("2026-11-20T23:30+01:00")
    kinds = PARIS.kinds(np.array([friday_evening, friday_evening + 1800]))
    assert kinds.tolist() == [DayKind.WORKING, DayKind.SATURDAY]


@pytest.mark.parametrize(
    "wrong", [("Europe/Pariss",), ("UTC", "XX"), ("UTC", "", ("someday",)), ("UTC", "", ("32",)), ("../etc/passwd",)]
)
def test_an_unknown_place_or_day_is_refused(wrong: tuple[str]) -> None:
    with pytest.raises(ValueError, match="no (time zone|public holidays|business day)"):
        Calendar(*wrong)


@given(st.integers(-10 * DAY, 60_000 * DAY), st.integers(1, 4000))
def test_slots_of_many_instants_are_those_of_each(start: int, step: int) -> None:
    instants = start + step * np.arange(50)
    one_by_one = [int(PARIS.slots(np.array([instant]))[0]) for instant in instants]
    assert PARIS.slots(instants).tolist() == one_by_one


def test_a_calendar_travels_to_another_process() -> None:
    rebuilt = PARIS.__reduce__()
    assert rebuilt[0](*rebuilt[1]) == PARIS and hash(rebuilt[0](*rebuilt[1])) == hash(PARIS)
    assert PARIS.local(at("2026-11-22T10:00+01:00")).utcoffset() == timedelta(hours=1)
