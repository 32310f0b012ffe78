"""A wired Tocsin on a simulated clock: what it shows when things go wrong around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.crash import HISTORY, SPAN, START, make
from tocsin.app import App
from tocsin.config import load
from tocsin.errors import ConfigError, TransientError
from tocsin.learning import NEW_EVERY, roll_back
from tocsin.model import Desired, Frame, Phase, Severity, Window
from tocsin.scale.local import InProcess
from tocsin.timegrid import DAY

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that has learnt and judged one bucket."""
    config = make(tmp_path_factory.mktemp("app") / "site")
    with App(load(config), executor=InProcess(), started=START) as app:
        app.train(app.shards[0], START)
        app.tick(app.shards[0], START)
    return config.parent


@pytest.fixture
def site(template: Path, tmp_path: Path) -> Path:
    import shutil

    return shutil.copytree(template, tmp_path / "site") / "tocsin.yaml"


@pytest.fixture
def app(site: Path) -> Iterator[App]:
    with App(load(site), executor=InProcess(), started=START) as one:
        yield one


def row(app: App, host: str, service: str = "Anomaly-web") -> Desired:
    return next(row for row in app.state.all_desired() if (row.service.host, row.service.service) == (host, service))


def run(app: App, ticks: int, first: int = 1) -> float:
    now = START
    for turn in range(first, first + ticks):
        now = START + turn * SPAN
        app.tick(app.shards[0], now)
    return now


def test_a_trouble_is_shown_with_value_band_and_since_when(app: App) -> None:
    run(app, 8)
    shown = row(app, "web-1")
    assert shown.code is Severity.CRITICAL
    assert shown.text.startswith("latency ") and ", expected " in shown.text and ", since " in shown.text
    assert {perf.label for perf in shown.perf} >= {"latency.count", "latency.lower.count", "latency.upper.count"}
    assert row(app, "web-3").code is Severity.OK


def test_one_tick_over_many_buckets_tells_the_same_incidents_as_many_ticks(site: Path, tmp_path: Path) -> None:
    import shutil

    twin = shutil.copytree(site.parent, tmp_path / "twin") / "tocsin.yaml"
    stories = []
    for config, steps in ((site, [20]), (twin, range(1, 21))):
        with App(load(config), executor=InProcess(), started=START) as app:
            for turn in steps:
                app.tick(app.shards[0], START + turn * SPAN)
            # Running sums begin with what is read: a peak is the same but for its last digits.
            stories.append([(one.id, one.since, one.opened, one.phase, f"{one.peak:.9g}") for one in app.state.incidents()])
    assert stories[0] == stories[1] and len(stories[0]) == 2


def test_a_source_that_is_down_makes_its_components_unknown_and_opens_nothing(app: App) -> None:
    shard = app.shards[0]
    run(app, 2)

    def refuse(*_: object) -> None:
        raise TransientError("the share is not mounted")

    source = shard.intake._sources[0].collector
    source.collect = refuse  # type: ignore[method-assign,assignment]
    now = run(app, 8, first=3)
    app.watch(now)
    assert not app.state.incidents()
    shown = row(app, "web-1")
    assert shown.code is Severity.UNKNOWN and "the share is not mounted" in shown.text
    own = row(app, "tocsin", "tocsin-sources")
    assert own.code is not Severity.OK and "the share is not mounted" in own.text
    del source.collect
    run(app, 4, first=11)
    assert row(app, "web-3").code is Severity.OK


def test_a_restart_while_the_source_is_down_forgets_no_component_and_says_why_it_is_blind(site: Path) -> None:
    def refuse(*_: object) -> None:
        raise TransientError("the share is not mounted")

    def down(app: App) -> None:
        collector = app.shards[0].intake.sources[0].collector
        collector.collect = collector.discover = refuse  # type: ignore[method-assign,assignment]

    with App(load(site), executor=InProcess(), started=START) as app:
        run(app, 8)
        assert app.state.incidents()
        down(app)
        run(app, 1, first=9)
    with App(load(site), executor=InProcess(), started=START) as app:
        down(app)
        run(app, 1, first=10)
        assert row(app, "web-3").code is Severity.OK, "it was judged just before the restart"
        run(app, 5, first=11)
        assert app.shards[0].index.components == ("web-1", "web-2", "web-3")
        for name in ("web-2", "web-3"):
            shown = row(app, name)
            assert shown.code is Severity.UNKNOWN and "the share is not mounted" in shown.text
        assert {one.component for one in app.state.incidents()} == {"web-1"}
    with App(load(site), executor=InProcess(), started=START) as app:
        run(app, 4, first=16)
        assert row(app, "web-3").code is Severity.OK
        told = [one.component for one in app.state.incidents() if one.phase is not Phase.WITHDRAWN]
        assert sorted(told) == ["web-1", "web-2"], "web-2 is in trouble by then; nobody fell silent"


def test_what_a_source_held_back_for_two_hours_is_all_in_the_history_afterwards(site: Path) -> None:
    component = site.parent / "components" / "web.yaml"
    component.write_text(component.read_text() + f"replay: {4 * SPAN}s\n")

    def refuse(*_: object) -> None:
        raise TransientError("the share is not mounted")

    def lacking(app: App) -> int:
        frame = app.history.read("web", Window(START, START + 29 * SPAN, SPAN))
        return int(np.count_nonzero(~frame.known))

    with App(load(site), executor=InProcess(), started=START) as app:
        shard = app.shards[0]
        run(app, 1)
        source = shard.intake.sources[0].collector
        source.collect = refuse  # type: ignore[method-assign,assignment]
        run(app, 24, first=2)
        assert lacking(app)
        del source.collect
        run(app, 4, first=26)
        assert not lacking(app)
        assert app.metrics.skipped.labels("web")._value.get() == 24 - 8 + 1
        assert not app.metrics.late_values.labels("web", "too late")._value.get()


def test_what_a_source_held_back_over_a_restart_is_in_the_history_too(site: Path) -> None:
    def refuse(*_: object) -> None:
        raise TransientError("the share is not mounted")

    with App(load(site), executor=InProcess(), started=START) as app:
        run(app, 1)
        app.shards[0].intake.sources[0].collector.collect = refuse  # type: ignore[method-assign,assignment]
        run(app, 24, first=2)
    with App(load(site), executor=InProcess(), started=START) as app:
        run(app, 2, first=26)
        assert app.history.read("web", Window(START, START + 27 * SPAN, SPAN)).known.all()


def test_the_first_tick_after_the_first_training_calls_nothing_late(tmp_path: Path) -> None:
    with App(load(make(tmp_path / "site")), executor=InProcess(), started=START) as app:
        run(app, 2, first=0)
        app.train(app.shards[0], START + SPAN)
        now = run(app, 3, first=2)
        app.watch(now)
        assert all(not sample.value for metric in app.metrics.late_values.collect() for sample in metric.samples)
        assert row(app, "tocsin", "tocsin-sources").code is Severity.OK


def test_an_index_that_became_empty_is_told_and_its_components_stay(app: App) -> None:
    shard = app.shards[0]
    now = run(app, 2)
    source = shard.intake.sources[0].collector
    source.discover = list  # type: ignore[method-assign]
    source.collect = lambda index, window: Frame.of(index, window, np.full((len(index), len(window)), np.nan))  # type: ignore[method-assign]
    now = run(app, 8, first=3)
    app.watch(now)
    own = row(app, "tocsin", "tocsin-sources")
    assert own.code is Severity.WARNING and "has none of its 6 series any more" in own.text
    assert len(shard.index.components) == 3 and row(app, "web-3").code is not Severity.OK


def test_what_is_older_than_six_hours_is_not_judged_and_counted(app: App) -> None:
    later = START + 30 * 3600
    window, too_old = app.shards[0].pending(later)
    assert window.end - window.start == 6 * 3600 and too_old == 24 * 3600 // SPAN
    app.tick(app.shards[0], later)
    assert app.shards[0].watermark == later
    assert app.metrics.skipped.labels("web")._value.get() == too_old


def test_a_type_that_is_removed_is_closed_with_the_reason_and_taken_down(site: Path) -> None:
    with App(load(site), executor=InProcess(), started=START) as app:
        run(app, 9)
        assert any(one.phase is Phase.OPEN for one in app.state.incidents())
    component = site.parent / "components" / "web.yaml"
    component.write_text(component.read_text().replace("component_type: web", "component_type: web2"))
    with App(load(site), executor=InProcess(), started=START) as app:
        gone = [one for one in app.state.incidents() if one.component_type == "web"]
        assert gone and all(one.phase is Phase.RECOVERED for one in gone)
        assert "no longer configured" in app.state.incident(gone[0].id)[1][-1].reason
        assert not app.state.all_desired("web")


def test_a_damaged_baseline_leaves_the_former_one_in_force(app: App) -> None:
    shard = app.shards[0]
    run(app, 1)
    version = shard.model_version
    app.train(shard, START + SPAN)
    newest = app.state.active_model("web")
    assert newest is not None and newest.version != version
    (app.folder / newest.path).write_bytes(b"not a baseline")
    run(app, 1, first=2)
    assert shard.model_version == version and shard.fault
    assert row(app, "web-3").code is Severity.OK


def test_what_an_older_program_learnt_is_refused_in_a_sentence_and_learnt_anew_at_once(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before, App(load(site), executor=InProcess(), started=START) as app:
        before.setattr("tocsin.store.baselines.FORMAT", 1)
        app.train(app.shards[0], START)
        run(app, 1)
    with App(load(site), executor=InProcess(), started=START + SPAN) as app:
        shard = app.shards[0]
        assert app.needs_training(shard, START + SPAN), "before the first tick of a run, as in `run --once`"
        run(app, 1, first=2)
        assert shard.model_version is None and "format 1 of another tocsin" in shard.fault
        shard.fault = ""  # as the daemon does after a tick that went well
        assert app.needs_training(shard, START + 3 * SPAN)
        app.train(shard, START + 3 * SPAN)
        run(app, 1, first=4)
        assert shard.model_version is not None and not shard.fault
        assert row(app, "web-3").code is Severity.OK


def test_a_rollback_pins_and_a_training_by_hand_ends_it(app: App) -> None:
    shard = app.shards[0]
    app.train(shard, START)
    assert "version 1" in roll_back(app.state, "web", None)
    assert app.train(shard, START).kind == "stored"
    active = app.state.active_model("web")
    assert active is not None and active.version == 1 and active.pinned
    assert app.train(shard, START, by_hand=True).kind == "learnt"
    active = app.state.active_model("web")
    assert active is not None and active.version == 4
    with pytest.raises(ConfigError, match="99"):
        roll_back(app.state, "web", 99)


def test_a_component_that_came_since_is_learnt_within_six_hours_and_what_is_known_once_a_day(site: Path) -> None:
    site.write_text(site.read_text().replace("every: 1h, ", ""))
    with App(load(site), executor=InProcess(), started=START) as app:
        shard = app.shards[0]
        run(app, 1)
        assert not app.needs_training(shard, START + NEW_EVERY)
        assert app.needs_training(shard, START + DAY)
        (site.parent / "data" / "web-4.csv").write_text((site.parent / "data" / "web-3.csv").read_text())
        now = run(app, 1, first=2)
        assert not app.needs_training(shard, START + NEW_EVERY - 1)
        assert app.needs_training(shard, START + NEW_EVERY)
        app.train(shard, now)
        assert row(app, "web-4").text.startswith("still learning")
        run(app, 1, first=3)
        assert row(app, "web-4").code is Severity.OK
        assert not app.needs_training(shard, now + NEW_EVERY)


def test_a_component_with_too_short_a_past_does_not_wait_a_day(site: Path) -> None:
    site.write_text(site.read_text().replace("every: 1h, ", ""))
    newcomer = site.parent / "data" / "web-4.csv"
    header, *lines = (site.parent / "data" / "web-3.csv").read_text().splitlines(keepends=True)
    newcomer.write_text("".join([header, *lines[HISTORY - 1 :]]))
    with App(load(site), executor=InProcess(), started=START) as app:
        shard = app.shards[0]
        app.train(shard, START)
        run(app, 2)
        assert (shard.index.rows_in(shard.models.baselines["change"].index) >= 0).all()
        assert app.needs_training(shard, START + NEW_EVERY)


def test_on_the_rung_learn_nothing_is_sent_and_incidents_are_recorded(site: Path) -> None:
    component = site.parent / "components" / "web.yaml"
    component.write_text(component.read_text().replace("ladder: status", "ladder: learn"))
    with App(load(site), executor=InProcess(), started=START) as app:
        before = app.state.all_desired("web")
        now = run(app, 8)
        app.refresh(app.shards[0], now)
        assert app.state.all_desired("web") == before
        told = app.state.incidents()
        assert told and told[0].held_by == (("ladder", "learn"),)


def test_a_history_that_cannot_be_written_costs_no_alert(app: App) -> None:
    def full(*_: object) -> None:
        raise TransientError("No space left on device")

    app.history.append = full  # type: ignore[method-assign]
    run(app, 8)
    assert row(app, "web-1").code is Severity.CRITICAL


def test_a_dry_run_prints_what_it_would_send_and_leaves_the_state_alone(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(site)
    with App(config, executor=InProcess(), dry_run=True, started=START) as app:
        app.train(app.shards[0], START)
        app.tick(app.shards[0], START)
        app.deliver_step(START)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("web-1;Anomaly-web;0;OK: ") for line in lines)
    assert not (site.parent / "sent.jsonl").exists()
    assert len(list((config.state / "models" / "web").glob("*.npz"))) == 1


def test_quiet_services_are_said_anew_once_per_re_assertion_period(app: App) -> None:
    shard = app.shards[0]
    now = run(app, 1)
    app.refresh(shard, now)
    said = sum(app.refresh(shard, now + second) for second in range(1, app.config.deliver.reassert + 1))
    assert said == 3
    assert min(row.valid_until for row in app.state.all_desired("web")) > now + app.config.deliver.reassert


def test_what_was_sent_is_one_json_object_a_line(app: App, site: Path) -> None:
    now = run(app, 8)
    app.watch(now)
    app.deliver_step(now)
    lines = [json.loads(line) for line in (site.parent / "sent.jsonl").read_text().splitlines()]
    assert {line["service"] for line in lines} >= {"Anomaly-web", "tocsin-heartbeat", "tocsin-sources", "tocsin-delivery"}
    assert all(np.isfinite(perf["value"]) for line in lines for perf in line["perf"])
