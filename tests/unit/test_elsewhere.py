"""Sinks beside Centreon are told of every change until they take it, and hold up nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alerting.tell import MOST_BACKOFF
from tests.fakes import FakeEngine
from tocsin.config_parts import Sink as SinkSettings
from tocsin.elsewhere import Elsewhere
from tocsin.model import CheckResult, Desired, Outcome, ServiceKey, Severity
from tocsin.ports import Plugin, Sink
from tocsin.settings import Settings
from tocsin.store.state import State
from tocsin.telemetry import Metrics

WEB = ServiceKey("web-1", "Anomaly-web")


class Broken:
    reads_back = False

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        raise RuntimeError("a bug of its own")


class Site:
    def __init__(self, folder: Path, *sinks: Any) -> None:
        self.state = State.open(folder / "tocsin.db", owner=True)
        self.version, self.now, self.metrics = 0, 1000.0, Metrics()
        plugins = [Plugin(name=name, summary="", settings=Settings, build=lambda *_, sink=sink: sink) for name, sink in sinks]
        entries: Sequence[SinkSettings] = [SimpleNamespace(plugin=plugin, settings=None) for plugin in plugins]  # type: ignore[misc]
        self.elsewhere = Elsewhere(entries, self.state, self.metrics, reassert=300.0)

    def want(self, code: Severity) -> None:
        self.version += 1
        row = Desired(service=WEB, code=code, text="text", changed_at=int(self.now), version=self.version, valid_until=10**9)
        with self.state.tick("web") as tick:
            tick.want([row])

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.elsewhere.step(self.now)


def chat(**changes: Any) -> FakeEngine:
    return FakeEngine([WEB], reads_back=False, **changes)


def told(sink: FakeEngine) -> list[str]:
    sink.work()
    return [code.name for _, _, code in sink.history]


def test_each_change_is_told_once_and_calm_services_never(tmp_path: Path) -> None:
    sink = chat()
    site = Site(tmp_path, ("chat", sink))
    with site.state:
        site.want(Severity.OK)
        site.live(5)
        assert told(sink) == []
        for code in (Severity.WARNING, Severity.CRITICAL, Severity.OK):
            site.want(code)
            site.live(400)
        assert told(sink) == ["WARNING", "CRITICAL", "OK"]


def test_a_sink_that_is_down_is_told_when_it_is_back_and_asked_ever_more_rarely(tmp_path: Path) -> None:
    sink = chat()
    sink.up = False
    site = Site(tmp_path, ("chat", sink))
    with site.state:
        site.want(Severity.CRITICAL)
        site.live(300)
        assert site.elsewhere.failing == {"chat": "down"}
        sink.up = True
        site.live(int(MOST_BACKOFF))
        assert (told(sink), site.elsewhere.failing) == (["CRITICAL"], {})


def test_a_broken_sink_holds_up_no_other(tmp_path: Path) -> None:
    sink = chat()
    site = Site(tmp_path, ("broken", Broken()), ("chat", sink))
    with site.state:
        site.want(Severity.CRITICAL)
        site.live(3)
        assert told(sink) == ["CRITICAL"]
        assert "a bug of its own" in site.elsewhere.failing["broken"]


def test_what_was_told_survives_a_restart(tmp_path: Path) -> None:
    sink = chat()
    site = Site(tmp_path, ("chat", sink))
    with site.state:
        site.want(Severity.CRITICAL)
        site.live(3)
    again = Site(tmp_path, ("chat", sink))
    with again.state:
        again.live(3)
    assert told(sink) == ["CRITICAL"]


def test_a_sink_that_holds_states_is_told_again_while_it_is_not_well(tmp_path: Path) -> None:
    sink: Sink = FakeEngine([WEB])
    site = Site(tmp_path, ("alerts", sink))
    with site.state:
        site.want(Severity.CRITICAL)
        site.live(700)
        site.want(Severity.OK)
        site.live(700)
    assert told(sink) == ["CRITICAL", "CRITICAL", "CRITICAL", "OK"]  # type: ignore[arg-type]
