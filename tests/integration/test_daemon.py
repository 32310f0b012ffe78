"""The daemon on a growing folder, delivering to a real engine: what it says, and what it survives."""

from __future__ import annotations

import gzip
import random
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from alerting.desired import was_seen
from tests.integration.daemon import DELAY, TYPE, Daemon, Feed, wait, wave
from tests.integration.nagios import Nagios
from tocsin.app import App
from tocsin.config import load
from tocsin.model import Floats, Phase, ServiceKey, Severity, Shown

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wsd"
HISTORY = 26_000
OWN = [("tocsin", f"tocsin-{name}") for name in ("heartbeat", "sources", "delivery", "alerting")]

Park = Callable[[dict[str, Floats]], tuple[Feed, Daemon, Nagios]]


@pytest.fixture
def park(nagios: Callable[..., Nagios], tmp_path: Path) -> Iterator[Park]:
    """`park({component: values})`: an engine that runs, a folder with history, a daemon that learnt and is not started."""
    daemons: list[Daemon] = []

    def make(series: dict[str, Floats]) -> tuple[Feed, Daemon, Nagios]:
        engine = nagios(services=[*((name, f"Anomaly-{TYPE}") for name in series), *OWN])
        engine.start()
        feed = Feed(tmp_path / "data", series, HISTORY)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daemon = Daemon(tmp_path / "site", feed.folder, engine.command_file, engine.status_file, port)
        daemons.append(daemon)
        learnt = daemon.command("train")
        assert learnt.returncode == 0 and "version 1 learnt" in learnt.stdout, learnt.stderr
        return feed, daemon, engine

    yield make
    for daemon in daemons:
        daemon.end()


def shown(engine: Nagios, component: str) -> Shown | None:
    return engine.shown().get(ServiceKey(component, f"Anomaly-{TYPE}"))


def code(engine: Nagios, component: str) -> Severity | None:
    one = shown(engine, component)
    return one.code if one else None


def test_an_incident_opens_gets_worse_and_is_cleared_in_a_real_engine(park: Park) -> None:
    feed, daemon, engine = park({name: wave(seed, 30_000) for seed, name in enumerate(["web-1", "web-2"])})
    with feed:
        daemon.start()
        wait(lambda: code(engine, "web-1") is Severity.OK and code(engine, "web-2") is Severity.OK, daemon, 60)
        feed.trouble["web-1"] = 3.0
        wait(lambda: code(engine, "web-1") is Severity.CRITICAL, daemon, 90)
        opened = shown(engine, "web-1")
        assert opened is not None and opened.text.startswith("CRITICAL: requests ") and "expected" in opened.text
        feed.trouble["web-1"] = 6.0
        wait(lambda: (now := shown(engine, "web-1")) is not None and now.text != opened.text, daemon, 60)
        assert code(engine, "web-2") is Severity.OK
        feed.trouble.clear()
        wait(lambda: code(engine, "web-1") is Severity.OK, daemon, 120)
        after = shown(engine, "web-1")
        assert after is not None and "recovered" in after.text

        told = daemon.command("incidents", "--all")
        assert told.returncode == 0 and told.stdout.count("web-1") == 1
        assert engine.shown()[ServiceKey("tocsin", "tocsin-heartbeat")].code is Severity.OK
        metrics = _get(daemon, "/metrics")
        assert f'tocsin_ticks_total{{component_type="{TYPE}"}}' in metrics and "tocsin_results_sent_total" in metrics
        assert "ready" in _get(daemon, "/-/ready") and "alive" in _get(daemon, "/-/healthy")

        daemon.config.write_text(daemon.config.read_text().replace("reassert: 30s", "reassert: thirty"))
        daemon.signal(signal.SIGHUP)
        wait(lambda: "config.refused" in daemon.log, daemon, 20)
        assert "tocsin.yaml:4" in daemon.log and "tocsin_config_last_reload_successful 0.0" in _get(daemon, "/metrics")
        second = daemon.command("run")
        assert second.returncode == 2
        daemon.config.write_text(daemon.config.read_text().replace("reassert: thirty", "reassert: 40s"))
        second = daemon.command("run")
        assert second.returncode == 2 and "is used by process" in second.stderr and len(second.stderr.splitlines()) == 1
        daemon.signal(signal.SIGHUP)
        wait(lambda: "tocsin_config_last_reload_successful 1.0" in _get(daemon, "/metrics"), daemon, 20)
        began = time.monotonic()
        assert daemon.terminate() == 0 and time.monotonic() - began < 10


def test_killed_ten_times_at_random_moments_nothing_is_lost(park: Park, tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("no real series: ../shared/data/wsd is not there")
    feed, daemon, engine = park({f"kpi-{name}": _real(SHARED / f"{name}.csv.gz") for name in ("007", "009", "018", "041")})
    assert daemon.command("run", "--once").returncode == 0
    twin = daemon.copy(tmp_path / "twin")
    rng = random.Random(20261122)
    with feed:
        daemon.start()
        for turn in range(10):
            time.sleep(rng.uniform(4, 14))
            feed.trouble = {"kpi-007": 8.0, "kpi-041": 8.0} if turn in (1, 2, 3, 6, 7) else {"kpi-009": 6.0} if turn == 5 else {}
            daemon.kill()
            if turn == 4:
                engine.kill()
                engine.start()
            daemon.start()
        seen = daemon.watermark()
        wait(lambda: daemon.watermark() >= seen + 40, daemon, 90)

        def right() -> bool:
            with daemon.state() as state:
                rows = state.all_desired()
            there = engine.shown()
            return all(was_seen(row) and row.service in there and there[row.service].code is row.code for row in rows)

        wait(right, daemon, 90)
        assert daemon.terminate() == 0
    end = daemon.watermark()
    with daemon.state() as state:
        lived = {one.id: (one, state.incident(one.id)[1]) for one in state.incidents()}
    with App(load(twin)) as app:  # never killed, and told everything at once
        app.tick(app.shards[0], end + DELAY)
        expected = {one.id: (one, app.state.incident(one.id)[1]) for one in app.state.incidents()}
    assert len(expected) >= 2
    assert {key: _life(*value) for key, value in lived.items()} == {key: _life(*value) for key, value in expected.items()}


def _life(incident: object, steps: object) -> object:
    from tocsin.model import Incident, Transition

    assert isinstance(incident, Incident)
    assert isinstance(steps, list) and all(isinstance(step, Transition) for step in steps)
    phase: Phase = incident.phase
    return incident.component, incident.since, incident.opened, phase, [(step.at, step.kind, step.severity) for step in steps]


def _real(path: Path) -> Floats:
    with gzip.open(path, "rt") as file:
        cells = [line.split(",")[1] for line in file.readlines()[1:]]
    values = np.array([float(cell) if cell else np.nan for cell in cells])
    return np.where(np.isfinite(values), values, np.nanmedian(values))


def _get(daemon: Daemon, path: str) -> str:
    port = load(daemon.config).http.address()[1] if "thirty" not in daemon.config.read_text() else _port(daemon)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
        error.close()
    return body.decode()


def _port(daemon: Daemon) -> int:
    return int(daemon.config.read_text().rsplit("127.0.0.1:", 1)[1].split('"')[0])
