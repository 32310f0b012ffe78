"""From Splunk to Centreon's row and back into Splunk: what is shown while Splunk has its bad days, and after them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests import splunk_fake
from tests.splunk_fake import Fake, FakeCollector
from tests.splunk_served import Answer
from tocsin.app import App
from tocsin.config import load
from tocsin.model import Desired, Phase, Severity
from tocsin.scale.local import InProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(170)]

SPAN = 1800
DAYS, LIVE, TROUBLE = 16, 14, 3
"""What was not known is read again every two hours, half of `replay`: the story goes on for longer after its trouble."""
HOSTS = ("web-1", "web-2", "web-3")

_MAIN = """\
state: var
deliver:
  sink: {use: recording, file: sent.jsonl}
  also: [{use: hec, url: "http://127.0.0.1:%(hec)d", token: env:HEC_TOKEN}]
train: {every: 1d}
http: {listen: null}
"""
_TYPE = """\
component_type: web
every: 30m
delay: 0s
replay: 4h
collect:
  - from: splunk
    host: 127.0.0.1
    port: %(splunk)d
    scheme: http
    auth: {token: env:SPLUNK_TOKEN}
    index: em_metrics
    metrics:
      cpu: {field: cpu.util, unit: "%%", direction: high, lower: 0}
      bytes: {field: net.bytes, unit: B/s, counter: true, lower: 0}
    limits: {per_second: 100, retries: 0}
detect: [seasonal]
alert: {ladder: status, open: {surprise: 4, buckets: 2, of: 3}}
"""


@dataclass
class World:
    splunk: Fake
    hec: FakeCollector
    config: Path
    now: int

    @property
    def start(self) -> int:
        return self.now - LIVE * SPAN


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("SPLUNK_TOKEN", "good-token")
    monkeypatch.setenv("HEC_TOKEN", "hec-token")
    now = int(time.time()) // SPAN * SPAN
    times = now - SPAN * np.arange(DAYS * 48 + LIVE, 0, -1)
    rng = np.random.default_rng(5)
    wave = 1 + 0.3 * np.sin(2 * np.pi * times / 86_400)
    splunk, hec = Fake(), FakeCollector()
    splunk.now, splunk.states = now, ["DONE"]
    for name in HOSTS:
        ill = (np.arange(len(times)) >= len(times) - LIVE + TROUBLE) & (name == "web-1")
        cpu = 20 * wave * rng.lognormal(0, 0.05, len(times)) * np.where(ill, 4, 1)
        total = np.cumsum(SPAN * 1000 * wave * rng.lognormal(0, 0.05, len(times)) * np.where(ill, 8, 1))
        for at, busy, count in zip(times.tolist(), cpu.tolist(), total.tolist(), strict=True):
            splunk.samples.point(at + 30, "cpu.util", busy, host=name)
            splunk.samples.point(at + SPAN - 30, "net.bytes", count, host=name)
    with splunk.running() as port, hec.running() as other:
        (tmp_path / "components").mkdir()
        (tmp_path / "tocsin.yaml").write_text(_MAIN % {"hec": other})
        (tmp_path / "components/web.yaml").write_text(_TYPE % {"splunk": port})
        yield World(splunk, hec, tmp_path / "tocsin.yaml", now)


def live(app: App, world: World, first: int, last: int) -> None:
    for turn in range(first, last + 1):
        now = world.start + turn * SPAN
        app.tick(app.shards[0], now)
        app.watch(now)
        app.deliver_step(now)


def own(app: App) -> Desired:
    return next(row for row in app.state.all_desired("tocsin") if row.service.service == "tocsin-sources")


def well_again(app: App, world: World) -> None:
    world.splunk.faults.clear()
    world.splunk.messages = []
    manners = app.shards[0].intake.sources[0].collector.manners
    manners._circuit = type(manners.state)()  # five minutes pass


def peers_missing(world: World) -> None:
    world.splunk.messages = [("WARN", "Search results might be incomplete: the search peer idx2 is down")]


def no_place(world: World) -> None:
    text = splunk_fake.OVER_ROLE.format(3, 3)
    world.splunk.fault("POST .*/jobs$", Answer(503, json.dumps({"messages": [{"type": "WARN", "text": text}]}).encode()))


def expired(world: World) -> None:
    world.splunk.fault("", Answer(401, splunk_fake.xml_messages(("WARN", "call not properly authenticated"))))


def cut(world: World) -> None:
    world.splunk.fault("results$", lambda asked, honest: Answer(200, honest.body, {}, honest.kind, cut=len(honest.body) // 3))


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (peers_missing, "peer idx2 is down"),
        (no_place, "runs as many searches as its role may (3 of 3 are used)"),
        (expired, "the token or password is not accepted"),
        (cut, "no connection, or it broke"),
    ],
)
def test_a_bad_day_of_splunk_hides_no_incident_and_makes_none(world: World, trouble: Callable[[World], None], words: str) -> None:
    with App(load(world.config), executor=InProcess(), started=world.start) as app:
        assert app.train(app.shards[0], world.start).kind == "learnt"
        live(app, world, 1, 3)
        assert app.state.incidents() == []
        trouble(world)
        live(app, world, 4, 7)
        assert app.state.incidents() == [], "what is not known opens nothing"
        assert own(app).code is not Severity.OK
        assert words in own(app).text
        well_again(app, world)
        live(app, world, 8, LIVE)
        (incident,) = [one for one in app.state.incidents() if one.phase is not Phase.WITHDRAWN]
        assert (incident.component, incident.phase, incident.severity) == ("web-1", Phase.OPEN, Severity.CRITICAL)
        assert incident.since == world.start + TROUBLE * SPAN, "what was missed is judged when it is there"
        assert {one.metric for one in incident.anomalies} == {"cpu", "bytes"}
    assert world.splunk.left() == []


def test_an_incident_is_shown_and_written_back_with_an_identity(world: World) -> None:
    with App(load(world.config), executor=InProcess(), started=world.start) as app:
        app.train(app.shards[0], world.start)
        live(app, world, 1, LIVE)
        (incident,) = [one for one in app.state.incidents() if one.phase is not Phase.WITHDRAWN]
        assert incident.component == "web-1"
        app.elsewhere.step(float(world.now))
    sent = (world.config.parent / "sent.jsonl").read_text()
    assert '"web-1"' in sent
    events = [event for event in world.hec.events if event["host"] == "web-1"]
    assert [event["event"]["state"] for event in events][-1] == "CRITICAL"
    assert "cpu" in events[-1]["event"]["text"]
    assert world.splunk.left() == []
