"""What the stages look at: decisions from the store, the supervising system with its silences, budgets and promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from alerting.stages import Rung, run
from tests.crash import SPAN, START, make
from tests.unit.test_grouping import incident
from tocsin.app import App
from tocsin.config import Config, load
from tocsin.errors import TransientError
from tocsin.model import Downtime, HostFacts, Incident, Phase, Remark, Severity, Transition, Window, utc
from tocsin.oversight import Oversight
from tocsin.proof import placebo_rate
from tocsin.records import Promotion, Silence
from tocsin.scale.local import InProcess
from tocsin.store.history import History
from tocsin.store.state import State
from tocsin.supervising import Overseen
from tocsin.timegrid import DAY

NOW = 1_770_000_000
TYPE = """\
component_type: web
timezone: Europe/Paris
every: 1m
collect: [{from: files, path: ../data/*.csv}]
static: {cpu: {critical: 90}}
"""


@dataclass
class Centreon:
    """A supervising system that knows a little, and may not answer."""

    up: bool = True
    facts: Mapping[str, HostFacts] = field(default_factory=dict)
    work: Sequence[Downtime] = ()
    said: Sequence[Remark] = ()
    closed: bool = False

    def hosts(self) -> Mapping[str, HostFacts]:
        self._answer()
        return self.facts

    def downtimes(self, start: float, end: float) -> Sequence[Downtime]:
        self._answer()
        return [one for one in self.work if one.start < end and one.end > start]

    def remarks(self, since: float) -> Sequence[Remark]:
        self._answer()
        return [one for one in self.said if one.at >= since]

    def close(self) -> None:
        self.closed = True

    def _answer(self) -> None:
        if not self.up:
            raise TransientError("centreon: does not answer")


def configured(folder: Path, alert: str, more: str = "") -> Config:
    (folder / "components").mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "tocsin.yaml").write_text("state: var\ndeliver: {sink: recording}\n")
    (folder / "components" / "web.yaml").write_text(TYPE + f"alert: {alert}\n{more}")
    return load(folder / "tocsin.yaml", environment={})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path / "state.db") as one:
        yield one


def staged(oversight: Oversight, config: Config, incidents: Sequence[Incident], now: float) -> Sequence[Incident]:
    oversight.look(now)
    before = {one.id: one.held_by for one in oversight.world.known()}
    told = run(oversight.stages(config.types[0]), incidents, utc(now), before)
    assert [step.reason for step in told.transitions if step.kind == "stage-failed"] == []
    oversight.saw("web", told.incidents, 10)
    return told.incidents


def kept(state: State, *incidents: Incident) -> None:
    with state.tick("web") as tick:
        tick.put_incidents(incidents)
        tick.put_transitions(
            [Transition(incident=one.id, at=one.opened, kind="opened", reason="", severity=one.severity) for one in incidents]
        )


# --- the supervising system ----------------------------------------------------------------------------------------------


def test_a_supervising_system_that_falls_silent_neither_hides_nor_invents(state: State) -> None:
    centreon = Centreon(work=[Downtime(id="1", host="web-1", start=NOW, end=NOW + 7200)])
    seen = Overseen(centreon, state.accounts, name="centreon", trust=900)
    assert seen.refresh(NOW)
    centreon.up = False
    assert not seen.refresh(NOW + 60)
    assert len(seen.downtimes("web-1", "any", NOW + 800)) == 1
    assert seen.downtimes("web-1", "any", NOW + 901) == ()
    assert seen.trouble(NOW + 60) == "centreon does not answer: centreon: does not answer"
    assert seen.trouble(NOW + 120) == "centreon has not answered for 1m: centreon: does not answer"
    assert seen.trouble(NOW + 1000).endswith("; its downtimes no longer count")
    centreon.up = True
    assert seen.refresh(NOW + 1100)
    assert seen.trouble(NOW + 1100) == ""
    assert len(seen.downtimes("web-1", "any", NOW + 1101)) == 1


def test_what_was_read_is_there_after_a_restart_even_when_nobody_answers(state: State) -> None:
    facts = {"web-1": HostFacts(host="web-1", parents=("sw-1",), groups=("linux",))}
    centreon = Centreon(facts=facts, work=[Downtime(id="1", host="web-1", service="CPU", start=NOW, end=NOW + 7200)])
    Overseen(centreon, state.accounts, trust=900).refresh(NOW)
    again = Overseen(Centreon(up=False), state.accounts, trust=900)
    again.refresh(NOW + 300)
    assert again.hosts(NOW + 300) == facts
    assert [one.service for one in again.downtimes("web-1", "CPU", NOW + 300)] == ["CPU"]
    assert again.downtimes("web-1", "Memory", NOW + 300) == []
    assert again.hosts(NOW + 8 * DAY) == {}
    again.close()


def test_hosts_are_read_seldom_and_nothing_is_known_without_a_supervising_system(state: State) -> None:
    centreon = Centreon(facts={"a": HostFacts(host="a")})
    seen = Overseen(centreon, state.accounts)
    seen.refresh(NOW)
    centreon.facts = {}
    seen.refresh(NOW + 60)
    assert seen.hosts(NOW + 60)
    seen.refresh(NOW + 700)
    assert not seen.hosts(NOW + 700)
    nothing = Overseen(None, state.accounts)
    assert not nothing.refresh(NOW)
    assert nothing.trouble(NOW) == ""


# --- what people did there -------------------------------------------------------------------------------------------------


def test_what_people_did_there_becomes_verdicts_with_provenance(tmp_path: Path, state: State) -> None:
    config = configured(tmp_path, "{ladder: status}")
    one = incident("web-1", id="one", since=NOW - 600, opened=NOW - 540, last_bad=NOW)
    two = replace(one, id="two", component="web-2")
    kept(state, one, two)

    def remark(name: str, kind: str, host: str, **changes: Any) -> Remark:
        return Remark(id=name, kind=kind, host=host, service="Anomaly-web", at=NOW - 60, author="anna", **changes)

    centreon = Centreon(
        work=[Downtime(id="9", host="web-2", start=NOW - 30, end=NOW + 900, author="paul", comment="disk")],
        said=[
            remark("1", "acknowledgement", "web-1", text="on it"),
            remark("2", "comment", "web-1", text="hm"),
            remark("3", "comment", "web-1", text="backup !normal"),
            remark("4", "close", "web-2"),
            remark("5", "acknowledgement", "web-9"),
        ],
    )
    oversight = Oversight(config, state, centreon)
    for _ in range(2):
        oversight.supervise(NOW)
    told = {(one.kind, one.incident): (one.verdict, one.author, one.text) for one in state.accounts.verdicts()}
    assert told == {
        ("acknowledgement", "one"): ("useful", "anna", "on it"),
        ("comment", "one"): ("noise", "anna", "backup !normal"),
        ("close", "two"): ("noise", "anna", ""),
        ("downtime", "two"): ("known", "paul", "disk"),
    }
    assert all("seasonal" in one.detectors for one in state.accounts.verdicts())


def test_acknowledged_in_centreon_keeps_its_severity_until_it_is_worse_or_let_go(tmp_path: Path, state: State) -> None:
    config = configured(tmp_path, "{ladder: status}")
    one = incident("web-1", id="one", since=NOW - 600, opened=NOW - 540, severity=Severity.WARNING)
    kept(state, one)
    said = Remark(id="1", kind="acknowledgement", host="web-1", service="Anomaly-web", at=NOW - 60, author="anna", text="on it")
    centreon = Centreon(said=[said])
    oversight = Oversight(config, state, centreon)
    oversight.supervise(NOW)
    assert staged(oversight, config, [one], NOW)[0].held_by == (("acknowledged", "at WARNING by anna: on it"),)
    worse = replace(one, severity=Severity.CRITICAL)
    assert staged(oversight, config, [worse], NOW)[0].held_by == ()
    centreon.said = [replace(said, until=NOW + 50)]
    oversight.supervise(NOW + 60)
    assert staged(oversight, config, [one], NOW + 60)[0].held_by == ()


# --- decisions ---------------------------------------------------------------------------------------------------------------


def test_a_silence_works_from_the_next_look_on(tmp_path: Path, state: State) -> None:
    from tests.contracts.accounts import SILENCE

    config = configured(tmp_path, "{ladder: status}")
    oversight = Oversight(config, state, None)
    one = incident("web-1")
    assert staged(oversight, config, [one], NOW)[0].held_by == ()
    silence: Silence = replace(SILENCE, matcher=replace(SILENCE.matcher, severity=None), start=NOW, end=NOW + 60)
    state.accounts.add_silence(silence)
    assert staged(oversight, config, [one], NOW + 1)[0].held_by == ()
    assert staged(oversight, config, [one], NOW + 10)[0].held_by[0][0] == "silence"
    assert staged(oversight, config, [one], NOW + 60)[0].held_by == ()


def test_the_last_word_on_the_ladder_counts_be_it_promoted_or_written(tmp_path: Path, state: State) -> None:
    config = configured(tmp_path, "{ladder: show}")
    oversight = Oversight(config, state, None)
    rungs = lambda: oversight.world.rung("web", config.types[0].alert.ladder).value  # noqa: E731
    assert rungs() == "show"
    promotion = Promotion(component_type="web", rung="status", written="show", at=NOW, by="anna", reason="proved")
    state.accounts.promote(promotion)
    state.accounts.promote(replace(promotion, component="web-7", rung="learn"))
    oversight.look(NOW)
    assert rungs() == "status"
    told = staged(oversight, config, [incident("web-1"), incident("web-7")], NOW)
    assert [one.held_by for one in told] == [(), (("ladder", "learn"),)]
    assert oversight.sends(config.types[0])
    # Somebody writes another rung into the YAML: that is the later word.
    other = configured(tmp_path, "{ladder: learn}")
    later = Oversight(other, state, None)
    later.look(NOW)
    assert later.world.rung("web", "learn") is Rung.LEARN
    assert not later.sends(other.types[0])


def test_a_broken_promise_sends_the_type_down_once_with_a_sentence(tmp_path: Path, state: State) -> None:
    config = configured(tmp_path, "{ladder: status}")
    state.accounts.set_snapshot("watched web", NOW - 30 * DAY, {})
    state.add_model("web", path="x", sha256="0" * 64, trained_on=Window(0, 60, 60), created_at=1, facts={"components": 10})
    many = [
        incident(f"web-{n}", id=f"i{n}", opened=NOW - n * 3600, since=NOW - n * 3600 - 60, phase=Phase.RECOVERED, recovered=NOW)
        for n in range(40)
    ]
    kept(state, *many)
    oversight = Oversight(config, state, None)
    oversight.supervise(NOW)
    oversight.look(NOW)
    assert oversight.world.rung("web", "status") is Rung.SHOW
    held = staged(oversight, config, [incident("web-1")], NOW)[0].held_by
    assert held[0][1].startswith("show: the false-alarm promise is broken: 40 alerts in 14 days on 10 components")
    told = oversight.result("tocsin", NOW)
    assert told.code is Severity.WARNING
    assert told.text.startswith("web was sent down to show: the false-alarm promise is broken")
    # A person lets it climb again: what was before that is known to that person.
    promotion = Promotion(component_type="web", rung="status", written="status", at=NOW, by="anna", reason="x", forced=True)
    state.accounts.promote(promotion)
    again = Oversight(config, state, None)
    again.look(NOW + 3600)
    again.supervise(NOW + 3600)
    again.look(NOW + 3700)
    assert again.world.rung("web", "status") is Rung.STATUS


def test_a_budget_that_is_used_up_is_said_and_the_bar_is_kept(tmp_path: Path, state: State) -> None:
    config = configured(tmp_path, "{ladder: status, budget: {alerts: 2, team: shop}}")
    kept(state, *(incident(f"web-{n}", id=f"i{n}", opened=NOW - 60, since=NOW - 120) for n in range(2)))
    oversight = Oversight(config, state, None)
    oversight.supervise(NOW)
    oversight.look(NOW)
    assert oversight.world.bars["team shop"].value == 8.0
    assert staged(oversight, config, [incident("web-9", peak=6.0)], NOW)[0].held_by[0][0] == "budget"
    text = oversight.result("tocsin", NOW).text
    assert "alert budget of team shop: 2 of 2 alerts of the last 7d were used, shown from surprise 8.0" in text
    assert "1 held back by budget" in text


def test_planned_work_of_the_yaml_is_not_learnt_from(tmp_path: Path, state: State) -> None:
    work = '{name: batch, at: "02:00", until: "04:00", components: ["web-1"]}'
    config = configured(tmp_path, f"{{maintenance: [{work}]}}")
    oversight = Oversight(config, state, None)
    found = oversight.planned_work(config.types[0], ["web-1", "web-2"], Window(NOW - NOW % 60, NOW - NOW % 60 + 3 * DAY, 60))
    assert {(one.host, one.service) for one in found} == {("web-1", "Anomaly-web")}
    assert len(found) == 4


def test_a_wired_tocsin_stages_across_its_types_and_after_a_restart(tmp_path: Path) -> None:
    path = make(tmp_path / "site")
    for _ in range(2):
        with App(load(path), executor=InProcess(), started=START) as app:
            shard = app.shards[0]
            now = float(shard.watermark or START)
            if shard.watermark is None:
                app.train(shard, START)
            for turn in range(1, 7):
                app.tick(shard, now + turn * SPAN)
            app.supervise(now + 7 * SPAN)
            app.watch(now + 7 * SPAN)
            assert app.oversight.world.counts == {"web": 3}
            assert {one.id for one in app.oversight.world.known()} >= {one.id for one in shard.open}
            services = {row.service.service for row in app.state.all_desired("tocsin")}
            assert services == {"tocsin-heartbeat", "tocsin-sources", "tocsin-delivery", "tocsin-alerting"}
            assert app.state.accounts.snapshot("watched web") is not None


def test_a_component_let_by_itself_does_not_bring_its_siblings_along(tmp_path: Path) -> None:
    path = make(tmp_path / "site")
    kind = path.parent / "components" / "web.yaml"
    kind.write_text(kind.read_text().replace("{ladder: status}", "{ladder: learn}"))
    with App(load(path), executor=InProcess(), started=START) as app:
        app.tick(app.shards[0], START + SPAN)
        assert app.state.all_desired("web") == []
        promotion = Promotion(component_type="web", component="web-2", rung="show", written="learn", at=1, by="a", reason="b")
        app.state.accounts.promote(promotion)
        for turn in range(2, 5):
            app.tick(app.shards[0], START + turn * SPAN)
            app.refresh(app.shards[0], START + turn * SPAN)
        assert {row.service.host for row in app.state.all_desired("web")} == {"web-2"}


def test_what_was_never_learnt_is_handed_back_to_its_static_thresholds_at_every_tick(tmp_path: Path) -> None:
    path = make(tmp_path / "site")
    kind = path.parent / "components" / "web.yaml"
    kind.write_text(
        kind.read_text().replace("{ladder: status}", "{ladder: status, hand_back: static}")
        + "static: {latency: {warning: 150, critical: 200}}\n"
    )
    with App(load(path), executor=InProcess(), started=START) as app:
        shown = []
        for turn in range(1, 9):
            app.tick(app.shards[0], START + turn * SPAN)
            (row,) = [row for row in app.state.all_desired("web") if row.service.host == "web-1"]
            shown.append(row.code)
        assert shown[0] is Severity.OK
        assert Severity.CRITICAL in shown
        assert row.text.startswith("static thresholds: latency ")
        assert "shown by the static template: still learning" in row.text


def test_a_placebo_of_the_stored_past_says_how_often_nothing_would_be_told(tmp_path: Path) -> None:
    path = make(tmp_path / "site")
    config = load(path)
    with App(config, executor=InProcess(), started=START) as app:
        app.train(app.shards[0], START)
    with History(config.state / "history") as history:
        rate = placebo_rate(history, config.types[0], START, config.train.history)
        assert rate is not None
        assert rate < 1.0
        assert placebo_rate(history, config.types[0], START - 200 * DAY, config.train.history) is None
