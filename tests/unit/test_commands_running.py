"""`tocsin train` and `tocsin run --once` at a terminal: what they print, and the code they leave with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collectors.files.collector import Files
from tests.crash import make
from tocsin.cli import app
from tocsin.errors import PermanentError, TransientError
from tocsin.training import Trainer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make(tmp_path / "site")


@pytest.fixture(autouse=True)
def logging_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.telemetry.set_up_logging", lambda **_: None)


def failing(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize(("error", "code"), [(TransientError("es1: refused"), 1), (PermanentError("es1: no right"), 2)])
def test_a_training_whose_source_is_away_names_the_reason(
    error: Exception, code: int, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "discover", failing(error))
    monkeypatch.setattr(Files, "reach", failing(error))
    answer = CliRunner().invoke(app, ["train", "-c", str(site)])
    assert answer.exit_code == code
    assert f"web: nothing learnt: its sources do not answer: {error}" in answer.output


def test_a_training_that_is_interrupted_says_what_is_kept(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "train", failing(KeyboardInterrupt()))
    answer = CliRunner().invoke(app, ["train", "-c", str(site)])
    assert answer.exit_code == 130
    assert answer.stderr.endswith("tocsin: web: stopped before anything was learnt; what was read is kept\n")
