"""kill -9 at every commit point and at random moments: what was acknowledged is there, nothing is torn."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.integration.ticking import INDEX, SPAN, START
from tocsin import failpoints
from tocsin.model import Window
from tocsin.store import baselines
from tocsin.store.history import History
from tocsin.store.state import State

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
IN_THE_STORE = sorted(failpoints.NAMES - {"before_send", "after_send"})


def live_until_killed(folder: Path, *, failpoint: str = "", after: float | None = None) -> dict[str, int]:
    """Run the ticking process until it dies; the last number it was told is safe, of each kind."""
    environment = os.environ | {"TOCSIN_FAILPOINT": failpoint}
    command = [sys.executable, "-m", "tests.integration.ticking", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told: dict[str, int] = {}
        timer = None
        for line in process.stdout:
            if after is not None and timer is None:
                timer = threading.Timer(after, process.kill)
                timer.start()
            kind, number = line.split()
            told[kind] = int(number)
        assert process.wait(60) == -signal.SIGKILL, process.stderr.read()
        if timer is not None:
            timer.join()
    return told


def check(folder: Path, told: dict[str, int]) -> None:
    with closing(sqlite3.connect(folder / "tocsin.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with State.open(folder / "tocsin.db", owner=True) as state, History(folder / "history") as history:
        assert state.problems == []
        number = max(state.watermarks().values(), default=0)
        assert number in {told.get("tick", 0), told.get("tick", 0) + 1}
        if number:
            judged = state.judge_state("web")
            assert judged is not None
            assert (judged["number"] == number).all()
            incident, steps = state.incident("abc")
            assert incident.version == number
            assert [step.at for step in steps] == list(range(1, number + 1))
            rows = state.all_desired()
            assert {(row.text, row.version) for row in rows} == {(str(number), number)}
            assert len({row.last_sent_at for row in rows}) == 1
            assert (rows[0].last_sent_at or 0) >= told.get("record", 0)
            newest = history.read("web", Window(START, START + (number + 1) * SPAN, SPAN), INDEX)
            np.testing.assert_array_equal(newest.values[:, 1:], np.tile(np.arange(1.0, number + 1), (2, 1)))
        models = state.models("web")
        assert len(models) >= told.get("model", 0)
        assert sum(model.active for model in models) == bool(models)
        for model in models:
            assert baselines.load(folder / "models" / model.path, model.sha256)["x"].arrays["number"][0] == model.created_at


@pytest.mark.parametrize("name", IN_THE_STORE)
def test_a_process_killed_at_a_commit_point_has_lost_nothing_it_was_promised(name: str, tmp_path: Path) -> None:
    told: dict[str, int] = {}
    for nth in ("1", "2"):
        told |= live_until_killed(tmp_path, failpoint=f"{name}:{nth}")
        check(tmp_path, told)


def test_a_process_killed_at_random_moments_has_lost_nothing_it_was_promised(tmp_path: Path) -> None:
    dice = random.Random(3)
    told: dict[str, int] = {}
    for _ in range(8):
        told |= live_until_killed(tmp_path, after=dice.uniform(0.0, 0.6))
        check(tmp_path, told)
    assert told["tick"] > 20


def test_a_failpoint_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no failpoint"):
        failpoints.reached("nowhere")
    monkeypatch.setenv("TOCSIN_FAILPOINT", "befor_record")
    with pytest.raises(ValueError, match="no failpoint 'befor_record'"):
        failpoints.reached("before_record")
    monkeypatch.setenv("TOCSIN_FAILPOINT", "after_record:7")
    failpoints.reached("before_record")
