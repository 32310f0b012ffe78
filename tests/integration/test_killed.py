"""kill -9 at every place where something is committed, sent or renamed: the next start tells the same story."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import make
from tocsin.config import load
from tocsin.failpoints import NAMES
from tocsin.model import Severity
from tocsin.store.state import State

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def lives(config: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOCSIN_FAILPOINT": failpoint}
    return subprocess.run(
        [sys.executable, "-m", "tests.crash", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(config: Path) -> dict[str, object]:
    """Every incident with its steps, and what each service shows at the end."""
    with State.open(load(config).database_url()) as state:
        incidents = {one.id: (one, state.incident(one.id)[1]) for one in state.incidents()}
        rows = {row.service: row for row in state.all_desired("web")}
    return {
        "incidents": {
            key: (one.component, one.since, one.opened, one.phase, [(step.at, step.kind, step.severity) for step in steps])
            for key, (one, steps) in incidents.items()
        },
        "services": {key: row.code for key, row in rows.items()},
    }


def sent(config: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (config.parent / "sent.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """An installation before its first tick, and the story of one like it that nobody killed."""
    fresh = tmp_path_factory.mktemp("crash") / "fresh"
    make(fresh)
    twin = shutil.copytree(fresh, fresh.parent / "twin")
    done = lives(twin / "tocsin.yaml")
    assert done.stdout == "delivered\n", done.stderr
    story = told(twin / "tocsin.yaml")
    kinds = [step[1] for one in story["incidents"].values() for step in one[4]]  # type: ignore[attr-defined]
    assert kinds.count("opened") == 2 and "recovered" in kinds
    return fresh, story


@pytest.mark.parametrize("nth", [1, 12])
@pytest.mark.parametrize("failpoint", sorted(NAMES))
def test_killed_there_nothing_is_lost(
    failpoint: str, nth: int, never_killed: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    fresh, story = never_killed
    config = shutil.copytree(fresh, tmp_path / "site") / "tocsin.yaml"
    died = lives(config, f"{failpoint}:{nth}")
    if nth == 1:
        assert died.returncode == -signal.SIGKILL, died.stderr
    again = lives(config)
    assert again.stdout == "delivered\n", again.stderr
    assert told(config) == story
    for name in ("web-1", "web-2"):
        codes = [line["code"] for line in sent(config) if line["host"] == name]
        assert Severity.CRITICAL in codes or Severity.WARNING in codes, f"the opening of {name} was never sent"
    last = {str(line["host"]): line["code"] for line in sent(config) if line["service"] == "Anomaly-web"}
    assert last == {key.host: int(code) for key, code in story["services"].items()}  # type: ignore[attr-defined]
