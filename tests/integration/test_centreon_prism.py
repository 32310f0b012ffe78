"""Our client against the published contract, served by a program that knows nothing of us: Stoplight's validating mock."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.centreon_contract import PATH
from tocsin.centreon.api import Api, ApiSettings
from tocsin.centreon.resources import download, performance, resources
from tocsin.centreon.submit import ById, submit
from tocsin.http import Refused

pytestmark = pytest.mark.integration

TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "prism"
PACKAGE = "@stoplight/prism-cli@5.14.2"
BASE = "/centreon/api/latest"


@pytest.fixture(scope="module")
def prism() -> Path:
    """The program, from its cache or fetched by npm."""
    program = TOOLS / "node_modules" / ".bin" / "prism"
    if not program.exists():
        if not (shutil.which("npm") and shutil.which("node")):
            pytest.skip("no npm and node to fetch Stoplight's prism with")
        TOOLS.mkdir(parents=True, exist_ok=True)
        command = [
            "npm",
            "install",
            "--prefix",
            TOOLS,
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--loglevel",
            "error",
            PACKAGE,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not fetch Stoplight's prism within two minutes")
        if done.returncode or not program.exists():
            shutil.rmtree(TOOLS, ignore_errors=True)
            pytest.skip(f"npm could not fetch Stoplight's prism: {done.stderr.strip()[-200:]}")
    return program


@pytest.fixture(scope="module")
def mock(prism: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The contract, served below the path that Centreon has."""
    if not PATH.is_file():
        pytest.skip("the contract of the Web API is not at hand")
    folder = tmp_path_factory.mktemp("prism")
    yaml = YAML(typ="safe")
    document = yaml.load(PATH)
    document["paths"] = {BASE + path: item for path, item in document["paths"].items()}
    with (folder / "contract.yaml").open("w") as file:
        yaml.dump(document, file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [prism, "mock", "--errors", "-h", "127.0.0.1", "-p", str(port), folder / "contract.yaml"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if running.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"Stoplight's prism did not start: {(folder / 'log').read_text(errors='replace')[-300:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/centreon"
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(timeout=20)


@pytest.fixture
def api(mock: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "anything")
    session = Api(ApiSettings.model_validate({"url": mock, "user": "tocsin", "password": "env:TOCSIN_TEST_PASSWORD"}))
    yield session
    session.close()


def test_every_question_of_ours_keeps_the_contract(api: Api) -> None:
    assert api.version() == "24.10.1"
    (found,) = resources(api, types=["service"], search={"h.name": {"$lk": "srv-%"}}, filters={"hostgroup_names": ["Linux"]})
    assert (found.host, found.service, found.code, found.age) == ("srv-db-01", "Anomaly-cpu", 2, 65)
    ask = ("2026-03-01T00:00:00+01:00", "2026-03-01T01:00:00+01:00")
    raw = download(api, 17, 10, *ask)
    assert raw is not None
    assert raw["cpu.utilization.percentage"][1].tolist() == [12.5, 13.1]
    drawn = performance(api, 17, 10, *ask)
    assert drawn["cpu.utilization.percentage"][1][0] == 12.5
    submit(
        api,
        [
            ById(host_id=17, service_id=10, code=2, output="CRITICAL: x", perfdata="a=1"),
            ById(host_id=17, service_id=None, code=0, output="UP"),
        ],
    )


def test_the_mock_refuses_what_breaks_it(api: Api) -> None:
    with pytest.raises(Refused):
        submit(api, [ById(host_id=17, service_id=10, code=2, output="two\nlines")])
