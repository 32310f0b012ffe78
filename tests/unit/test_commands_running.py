"""`tocsin train` and `tocsin run --once` at a terminal: what they print, and the code they leave with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from collectors.files.collector import Files
from tests.crash import SPAN, START, make
from tocsin.cli import app
from tocsin.errors import PermanentError, TransientError
from tocsin.scale.local import InProcess
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


@pytest.fixture
def clock() -> list[float]:
    return [float(START + SPAN)]


@pytest.fixture
def at_its_time(site: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installation at the moment its data are of, learning in one process."""
    monkeypatch.setattr("time.time", lambda: clock[0])
    monkeypatch.setattr("tocsin.app.ProcessPool", lambda *_: InProcess())
    return site


def once(site: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["run", "--once", "-c", str(site), *more])


def test_a_single_run_leaves_with_one_while_its_source_is_away(
    at_its_time: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert once(at_its_time).exit_code == 0
    clock[0] += SPAN
    monkeypatch.setattr(Files, "collect", failing(TransientError("es1: refused")))
    answer = once(at_its_time)
    assert answer.exit_code == 1
    assert "tocsin: web: files: es1: refused" in answer.stderr


def test_a_dry_run_prints_every_service_each_time(at_its_time: Path) -> None:
    first, second = once(at_its_time, "--dry-run"), once(at_its_time, "--dry-run")
    assert first.exit_code == second.exit_code == 0
    for answer in (first, second):
        shown = [line.split(";")[:2] for line in answer.stdout.splitlines() if line.startswith(("web-", "tocsin"))]
        assert [line for line in shown if line[0] != "tocsin"] == [[f"web-{place}", "Anomaly-web"] for place in (1, 2, 3)]
        assert ["tocsin", "tocsin-heartbeat"] in shown


def test_a_dry_run_on_the_rung_learn_says_that_nothing_is_sent(at_its_time: Path) -> None:
    component = at_its_time.parent / "components" / "web.yaml"
    component.write_text(component.read_text().replace("ladder: status", "ladder: learn"))
    answer = once(at_its_time, "--dry-run")
    assert "tocsin: web: ladder learn: nothing is sent" in answer.stderr
    assert "web-1" not in answer.stdout
