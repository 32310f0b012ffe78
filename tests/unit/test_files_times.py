"""Timestamps in every unit, with and without offsets, on days of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.files.times import BAD, MICRO, detect, from_cell, from_local, from_numbers

PARIS = ZoneInfo("Europe/Paris")
T0 = 1_700_000_000


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["1700000000", "1700000060"], ("s", False)),
        (["0", "300", "600"], ("s", False)),
        (["1700000000.25"], ("s", False)),
        (["1700000000,25"], ("s", False)),
        (["0", "1700000000123", "1700000000124"], ("ms", False)),
        (["1700000000123456"], ("us", False)),
        (["1700000000123456789"], ("ns", False)),
        (["2023-11-14T22:13:20Z"], ("iso", False)),
        (["2023-11-14 22:13:20+01:00", "oops"], ("iso", False)),
        (["2023-11-14 22:13"], ("iso", True)),
        (["", "n/a"], None),
        (["14/11/2023 22:13"], None),
    ],
)
def test_the_unit_is_found_by_what_most_cells_say(cells: list[str], wanted: tuple[str, bool] | None) -> None:
    assert detect(cells) == wanted


def test_a_row_of_another_unit_is_no_time() -> None:
    assert from_numbers(np.array([1.7e9, 1.7e12, np.nan]), "s").tolist() == [T0 * MICRO, BAD, BAD]
    assert from_numbers(np.array([1.7e9, 1.7e12]), "ms").tolist() == [BAD, T0 * MICRO]
    assert from_cell("1700000000000", "s", PARIS) == BAD
    assert from_cell("2023-11-14", "s", PARIS) == BAD
    assert from_cell("1700000000", "iso", PARIS) == BAD


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("2023-11-14T22:13:20Z", T0),
        ("2023-11-14T23:13:20+01:00", T0),
        ("2023-11-14 16:43:20-0530", T0),
        ("2023-11-14T22:13:20.000000999Z", T0),
        ("2023-11-14T23:13:20", T0),
        (" 2023-11-14 23:13:20 ", T0),
        ("1500-01-01T00:00:00Z", -14_831_769_600),
    ],
)
def test_iso_in_its_many_forms(cell: str, wanted: int) -> None:
    assert from_cell(cell, "iso", PARIS) == wanted * MICRO


@pytest.mark.parametrize("cell", ["", "2023-02-30T00:00:00Z", "2023-11-14T25:00:00", "20231114", "2023-11-14T22:13:20+1", "now"])
def test_what_is_no_time(cell: str) -> None:
    assert from_cell(cell, "iso", PARIS) == BAD


@given(st.integers(0, 2**31), st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]))
def test_local_times_are_read_as_python_reads_them(seconds: int, name: str) -> None:
    zone = ZoneInfo(name)
    local = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    got = from_local(np.array([seconds * MICRO + 7]), zone)
    assert got.tolist() == [round(local.replace(tzinfo=zone).timestamp()) * MICRO + 7]


def test_the_hour_that_happens_twice_is_the_first_one_and_the_skipped_one_moves_on() -> None:
    wanted = {
        "2026-10-25 02:30": "2026-10-25T00:30:00+00:00",  # summer time, not an hour later
        "2026-10-25 03:30": "2026-10-25T02:30:00+00:00",
        "2026-03-29 02:30": "2026-03-29T01:30:00+00:00",  # does not exist: 03:30 summer time
        "2026-03-29 03:30": "2026-03-29T01:30:00+00:00",
    }
    for cell, instant in wanted.items():
        assert from_cell(cell, "iso", PARIS) == datetime.fromisoformat(instant).timestamp() * MICRO
    locals_ = np.array([int(datetime.fromisoformat(cell + "Z").timestamp()) * MICRO for cell in wanted])
    assert from_local(locals_, PARIS).tolist() == [
        datetime.fromisoformat(instant).timestamp() * MICRO for instant in wanted.values()
    ]
