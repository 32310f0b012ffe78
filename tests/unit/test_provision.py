"""What Centreon must have for us is planned, made, looked after and taken back, through CLAPI over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.centreon_fake import Fake, centreon
from tocsin import provision
from tocsin.cli import app
from tocsin.errors import ConfigError
from tocsin.model import ServiceKey
from tocsin.provision import Present, Step, Wanted, plan


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("TOKEN", Fake.API_TOKEN)
    with centreon() as fake:
        for name in ("tocsin", "web-1", "web-2"):
            fake.host(name)
        yield fake


@pytest.fixture
def site(tmp_path: Path, far: Fake) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("web-1", "web-2", "web-3"):
        (tmp_path / "data" / f"{name}.csv").write_text("timestamp,latency\n2026-11-02T09:00:00Z,1\n")
    (tmp_path / "web.yaml").write_text("component_type: web\nevery: 5m\ncollect: [{from: files, path: data/*.csv}]\n")
    (tmp_path / "var").mkdir()
    (tmp_path / "tocsin.yaml").write_text(
        "components: [web.yaml]\ndeliver:\n  sink: {use: centreon-api, api: {url: '" + far.url + "', token: env:TOKEN}}\n"
    )
    return tmp_path


def run(site: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["provision", *arguments, "-c", str(site / "tocsin.yaml")])


def test_a_plan_is_said_and_nothing_is_done(site: Path, far: Fake) -> None:
    told = run(site, "centreon")
    assert told.exit_code == 0, told.output
    assert "+ service web-1 / Anomaly-web" in told.stdout
    assert "+ service tocsin / tocsin-heartbeat" in told.stdout
    assert "--apply takes them" in told.stdout
    assert "no host web-3 in Centreon: 1 services of it wait" in told.stderr
    assert (far.clapi.templates, far.clapi.services) == ({}, {})


def test_what_was_applied_works_and_needs_nothing_more(site: Path, far: Fake) -> None:
    page = "https://tocsin.example.org/services/{host}/{service}"
    told = run(site, "centreon", "--apply", "--export", "Central", "--notes-url", page)
    assert told.exit_code == 0, told.output
    assert far.clapi.templates["Passive-Tocsin"]["freshness_threshold"] == "960"
    assert far.clapi.services["web-1", "Anomaly-web"]["notes_url"].endswith("/services/web-1/Anomaly-web")
    far.engine.read(b"[1763779210] PROCESS_SERVICE_CHECK_RESULT;web-1;Anomaly-web;2;CRITICAL: high\n")
    shown = far.engine.checked["web-1", "Anomaly-web"]
    assert (shown.code, shown.hard) == (2, True)
    again = run(site, "centreon", "--notes-url", page)
    assert "0 steps" in again.stdout
    audited = run(site, "audit")
    assert "web-3 / Anomaly-web does not exist" in audited.stdout
    assert "1 findings" in audited.stdout


def test_what_was_applied_is_taken_back_and_nothing_else(site: Path, far: Fake) -> None:
    far.clapi.templates["Passive-Other"] = {}
    run(site, "centreon", "--apply")
    assert far.clapi.services
    told = run(site, "centreon", "--undo")
    assert told.exit_code == 0, told.output
    assert (set(far.clapi.templates), far.clapi.services, far.clapi.commands) == ({"Passive-Other"}, {}, {})
    assert isinstance(run(site, "centreon", "--undo").exception, ConfigError)


def test_settings_that_would_break_a_promise_are_found_with_the_reason(site: Path, far: Fake) -> None:
    run(site, "centreon", "--apply")
    far.clapi.templates["Passive-Tocsin"] |= {"check_freshness": "0", "is_volatile": "1"}
    far.clapi.services["web-1", "Anomaly-web"]["max_check_attempts"] = "3"
    far.clapi.services["web-2", "Anomaly-web"]["activate"] = "0"
    told = run(site, "audit")
    assert told.exit_code == 1
    for sentence in (
        "template Passive-Tocsin: check_freshness is 0 and must be 1: a dead Tocsin",
        "template Passive-Tocsin: is_volatile is 1 and must be 0: every re-assertion would notify",
        "web-1 / Anomaly-web: max_check_attempts is 3 and must be 1",
        "web-2 / Anomaly-web is disabled",
    ):
        assert sentence in told.stdout
    mended = run(site, "centreon", "--apply")
    assert "~ template Passive-Tocsin: check_freshness 0 → 1" in mended.stdout
    back = run(site, "centreon", "--undo")
    assert "check_freshness / 0" in back.stdout


def test_an_account_without_the_right_is_told_and_nothing_is_lost(site: Path, far: Fake) -> None:
    far.admin, far.reach_configuration = False, False
    told = run(site, "centreon")
    assert isinstance(told.exception, ConfigError)
    assert "right" in str(told.exception)


def test_without_knowing_which_centreon_the_person_is_asked(tmp_path: Path, site: Path) -> None:
    (site / "tocsin.yaml").write_text("components: [web.yaml]\ndeliver: {sink: {use: recording}}\n")
    assert "which Centreon?" in str(run(site, "centreon").exception)


def test_one_service_that_fails_does_not_stop_the_others_and_a_template_stops_all() -> None:
    from tocsin.errors import PermanentError

    def clapi(action: str, kind: str, values: object) -> list[dict[str, str]]:
        if "bad" in list(values):  # type: ignore[call-overload]
            raise PermanentError("no")
        return []

    steps = [
        Step(object="SERVICE", action=action, values=(host, "s", "x"), says=f"{action} {host}")
        for host in ("a", "bad", "c")
        for action in ("add", "setparam")
    ]
    done = provision.apply(steps, clapi, lambda _step: None)
    assert [step.values[0] for step in done.steps] == ["a", "a", "c", "c"]
    assert len(done.failed) == 1
    stop = Step(object="STPL", action="add", values=("bad",), says="template")
    assert provision.apply([stop, *steps], clapi, lambda _step: None).steps == []


def test_a_name_that_could_be_a_second_command_is_never_in_a_plan() -> None:
    wanted = Wanted(settings={}, services={ServiceKey("web-1", "a;b"): "", ServiceKey("web-1", "ok"): ""})
    present = Present(hosts={"web-1"}, command=True, template={}, services={})
    made = plan(wanted, present)
    assert [step.values[1] for step in made.steps] == ["ok"]
    assert len(made.problems) == 1
    with pytest.raises(ValueError, match="cannot be a value"):
        plan(Wanted(settings={}, services={ServiceKey("web-1", "ok"): "https://x/;y"}), present)
