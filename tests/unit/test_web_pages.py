"""Behind each service there is a page, with a JSON twin, and nothing from outside can become markup in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.contracts.state import a_row, an_incident
from tocsin.config import load
from tocsin.model import Severity, Transition
from tocsin.store.state import State
from tocsin.web.pages import routes
from tocsin.web.server import application

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Starlette]:
    (tmp_path / "web.yaml").write_text("component_type: web\nevery: 5m\ncollect: [{from: files, path: '*.csv'}]\n")
    (tmp_path / "tocsin.yaml").write_text("components: [web.yaml]\ndeliver: {sink: {use: recording}}\n")
    config = load(tmp_path / "tocsin.yaml")
    with State.open(tmp_path / "tocsin.db", owner=True) as state:
        incident = an_incident(component="web-01")
        step = Transition(incident=incident.id, at=incident.opened, kind="opened", reason=HOSTILE, severity=Severity.CRITICAL)
        with state.tick("web") as tick:
            tick.want([a_row("Anomaly-web", "web-01", code=Severity.CRITICAL, text=HOSTILE), a_row("Anomaly-web", "web-02")])
            tick.put_incidents([incident, an_incident("other", component="web-02")])
            tick.put_transitions([step])
        yield application(CollectorRegistry(), lambda: "", routes(lambda: config, lambda: state))


@pytest.fixture
def client(site: Starlette) -> Iterator[TestClient]:
    with TestClient(site) as one:
        yield one


def test_the_page_of_a_service_tells_its_incidents_and_escapes_what_came_from_outside(client: TestClient) -> None:
    page = client.get("/services/web-01/Anomaly-web")
    assert page.status_code == 200
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "Incident abc1" in page.text
    assert "other" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_every_page_has_a_json_twin(client: TestClient) -> None:
    twin = client.get("/services/web-01/Anomaly-web.json").json()
    assert (twin["state"], twin["text"], [one["id"] for one in twin["incidents"]]) == ("CRITICAL", HOSTILE, ["abc1"])
    assert client.get("/incidents/abc1.json").json()["component"] == "web-01"
    assert "What Tocsin did" in client.get("/incidents/abc1").text
    assert client.get("/incidents/abc1.json").json()["before"] == {"metrics": [], "moment": None}


@pytest.mark.parametrize("path", ["/services/nobody/x", "/services/nobody/x.json", "/incidents/zzz", "/incidents/zzz.json"])
def test_what_is_not_there_is_told_as_such(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "no " in answer.text
