"""The values configuration is written in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.settings import Duration, Secret, SecretRef, Settings, parse_duration, spell_duration


class Example(Settings):
    every: Duration = 60
    password: SecretRef | None = None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("4w", 2_419_200), ("1h30m", 5400), ("1h 30m", 5400), ("0s", 0)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 minutes", "-5m", "1.5h", "5m!", None, 1.5, True])
def test_anything_else_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_spelled_duration_reads_back_to_within_its_two_units(seconds: int) -> None:
    assert 0 <= seconds - parse_duration(spell_duration(seconds)) < max(60, seconds * 0.05)


def test_a_secret_is_a_reference_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    monkeypatch.setenv("TOCSIN_TEST_SECRET", "hunter3")
    example = Example(password=Secret(f"file:{path}"))
    assert example.password is not None and example.password.reveal() == "hunter2"
    assert Secret("env:TOCSIN_TEST_SECRET").reveal() == "hunter3"
    assert "hunter" not in repr(example) + str(example) + example.model_dump_json()


def test_a_secret_written_out_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        Example.model_validate({"password": "hunter2"})
    assert "give a reference" in refused.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize("reference", ["env:TOCSIN_NOT_THERE", "file:/nowhere/at/all"])
def test_a_secret_that_is_not_there_says_so(reference: str) -> None:
    with pytest.raises(ValueError, match="TOCSIN_NOT_THERE|/nowhere"):
        Secret(reference).reveal()


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"evry": "5m"})
