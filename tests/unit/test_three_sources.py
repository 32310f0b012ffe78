"""One component whose verdict crosses Elasticsearch, Splunk and Centreon, each over a real socket, as one incident."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.centreon_fake import API_TOKEN, Fake, centreon
from tests.elastic_fake import FakeElastic, status
from tests.elastic_servers import NUMBER, fill, small_server
from tests.splunk_fake import Fake as Splunk
from tocsin.app import App
from tocsin.config import load
from tocsin.model import Phase, Severity
from tocsin.scale.local import InProcess

pytestmark = pytest.mark.timeout(170)

SPAN = 1800
DAYS, LIVE, TROUBLE = 16, 8, 3
"""Days that are learnt from, buckets that are lived through, and the bucket of those in which the trouble begins."""
HOSTS = ("shop-1", "shop-2", "shop-3")

_MAIN = "state: var\ndeliver: {sink: {use: recording, file: sent.jsonl}}\ntrain: {every: 1d}\nhttp: {listen: null}\n"
_TYPE = """\
component_type: web-shop
every: 30m
delay: 0s
replay: 2h
collect:
  - from: elasticsearch
    hosts: %(elastic)s
    index: logs-nginx
    metrics: {latency: {field: took, unit: ms, aggregate: p95, direction: high}}
    limits: {per_second: 1000, retries: 0}
  - from: splunk
    host: 127.0.0.1
    port: %(splunk)d
    scheme: http
    auth: {token: env:SPLUNK_TOKEN}
    index: web
    kind: events
    metrics: {errors: {field: "status>=500", aggregate: count, direction: high}}
    limits: {per_second: 100}
  - from: centreon
    api: {url: "%(centreon)s", token: env:CENTREON_TOKEN}
    services: Cpu
    metrics: {cpu: {field: cpu.utilization.percentage, unit: "%%", direction: high, lower: 0, upper: 100}}
    limits: {per_second: 1000}
detect: [seasonal]
alert: {ladder: status, open: {surprise: 4, buckets: 2, of: 3}}
"""


@dataclass
class World:
    """Three sources that all know the same three shops, up to `now`."""

    elastic: FakeElastic
    splunk: Splunk
    centreon: Fake
    config: Path
    now: int


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("SPLUNK_TOKEN", "good-token")
    monkeypatch.setenv("CENTREON_TOKEN", API_TOKEN)
    now = int(time.time()) // SPAN * SPAN
    times = now - SPAN * np.arange(DAYS * 48 + LIVE, 0, -1)
    rng = np.random.default_rng(3)
    wave = 1 + 0.3 * np.sin(2 * np.pi * times / 86_400)
    documents, splunk = [], Splunk()
    splunk.now, splunk.states = now, ["DONE"]
    with small_server() as behind, centreon() as fake:
        for name in HOSTS:
            ill = (np.arange(len(times)) >= len(times) - LIVE + TROUBLE) & (name == "shop-1")
            latency = 80 * wave * rng.lognormal(0, 0.05, len(times)) * np.where(ill, 6, 1)
            errors = rng.poisson(3, len(times)) + np.where(ill, 25, 0)
            cpu = np.where(ill, 97.0, 30 * wave * rng.lognormal(0, 0.05, len(times)))
            check = fake.service(fake.host(name), "Cpu")
            check.metrics["cpu.utilization.percentage"] = {"unit": "%"}
            check.samples["cpu.utilization.percentage"] = {
                int(at) + 60 * minute: float(value) for at, value in zip(times, cpu, strict=True) for minute in (5, 15, 25)
            }
            for at, took, failures in zip(times.tolist(), latency.tolist(), errors.tolist(), strict=True):
                documents.append({"@timestamp": (at + 60) * 1000, "host": {"name": name}, "took": took})
                for number in range(failures):
                    splunk.samples.event(at + 5 + number, "GET /pay", host=name, status="503")
                splunk.samples.event(at + 1, "GET /", host=name, status="200")
        fill(behind.url, "logs-nginx", documents, {"took": NUMBER})
        with FakeElastic(behind.url) as elastic, splunk.running() as port:
            config = tmp_path / "tocsin.yaml"
            (tmp_path / "components").mkdir()
            config.write_text(_MAIN)
            places = {"elastic": elastic.url, "splunk": port, "centreon": fake.url}
            (tmp_path / "components/web-shop.yaml").write_text(_TYPE % places)
            yield World(elastic=elastic, splunk=splunk, centreon=fake, config=config, now=now)


def live(app: App, world: World, first: int = 1, last: int = LIVE) -> None:
    start = world.now - LIVE * SPAN
    for turn in range(first, last + 1):
        app.tick(app.shards[0], start + turn * SPAN)
        app.watch(start + turn * SPAN)
        app.deliver_step(start + turn * SPAN)


def test_the_verdict_of_one_component_crosses_all_three_sources(world: World) -> None:
    start = world.now - LIVE * SPAN
    with App(load(world.config), executor=InProcess(), started=start) as app:
        assert app.train(app.shards[0], start).kind == "learnt"
        assert app.history.read("web-shop", app.state.active_model("web-shop").trained_on).known.all()
        live(app, world)
        (incident,) = app.state.incidents()
        assert (incident.component, incident.phase, incident.severity) == ("shop-1", Phase.OPEN, Severity.CRITICAL)
        assert incident.since == start + TROUBLE * SPAN
        assert {one.metric for one in incident.anomalies} == {"latency", "errors", "cpu"}
        shown = next(row for row in app.state.all_desired("web-shop") if row.service.host == "shop-1")
        assert shown.code is Severity.CRITICAL
        assert all(word in shown.text for word in ("latency", "errors", "cpu"))
        sent = (world.config.parent / "sent.jsonl").read_text()
        assert all(word in sent for word in ("latency", "errors", "cpu"))
        assert {state.kind for state in app.shards[0].intake.states.values()} == {"ok"}


def test_while_one_source_is_down_the_others_judge_and_what_it_missed_is_judged_when_it_is_back(world: World) -> None:
    start = world.now - LIVE * SPAN
    with App(load(world.config), executor=InProcess(), started=start) as app:
        app.train(app.shards[0], start)
        live(app, world, 1, 2)
        world.elastic.then(*[status(503)] * 200)
        live(app, world, 3, 6)
        (incident,) = app.state.incidents()
        assert {one.metric for one in incident.anomalies} == {"errors", "cpu"}
        down = app.shards[0].intake.states["elasticsearch 1"]
        assert not down.up and "503" in down.reason
        own = next(row for row in app.state.all_desired("tocsin") if row.service.service == "tocsin-sources")
        assert own.code is not Severity.OK and "elasticsearch 1 (web-shop)" in own.text
        assert {one.component for one in app.state.incidents()} == {"shop-1"}
        world.elastic.faults.clear()
        manners = app.shards[0].intake.sources[0].collector.manners
        manners._circuit = type(manners.state)()  # five minutes pass
        live(app, world, 7, 8)
        (again,) = app.state.incidents()
        assert again.id == incident.id
        assert {one.metric for one in again.anomalies} == {"latency", "errors", "cpu"}
        assert app.shards[0].intake.states["elasticsearch 1"].kind == "ok"
