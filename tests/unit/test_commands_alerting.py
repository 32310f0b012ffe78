"""The commands people speak to Tocsin with: silence, promote, ladder, feedback, audit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.unit.test_grouping import incident
from tests.unit.test_oversight import TYPE
from tocsin.cli import app
from tocsin.errors import ConfigError
from tocsin.model import Incident, Phase, Severity, Window
from tocsin.store.state import State
from tocsin.timegrid import DAY

NOW = int(time.time())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "components").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "tocsin.yaml").write_text("state: var\ndeliver: {sink: recording}\n")
    (tmp_path / "components" / "web.yaml").write_text(TYPE + "alert: {ladder: show}\n")
    return tmp_path / "tocsin.yaml"


@pytest.fixture
def state(site: Path) -> Iterator[State]:
    with State.open(site.parent / "var" / "tocsin.db") as one:
        yield one


def said(site: Path, *arguments: str, fails: int = 0) -> str:
    answer: Result = CliRunner().invoke(app, [*arguments, "-c", str(site)])
    if isinstance(answer.exception, ConfigError):
        assert fails == 2, answer.exception
        return str(answer.exception)
    assert answer.exit_code == fails, answer.output
    return answer.output


def told(site: Path, *arguments: str, fails: int = 0) -> Any:
    return json.loads(said(site, *arguments, "--json", fails=fails))


def kept(state: State, *incidents: Incident) -> None:
    with state.tick("web") as tick:
        tick.put_incidents(incidents)


def test_a_silence_is_added_listed_and_ended(site: Path, state: State) -> None:
    kept(state, incident("web-1"), incident("db-1"))
    answer = said(site, "silence", "add", "--component", "web-*", "--for", "2h", "-m", "load test", "--by", "anna")
    assert "component web-*" in answer
    assert "1 open incident meant now" in answer
    (one,) = told(site, "silence", "list")
    assert (one["component"], one["author"], one["comment"], one["severity"]) == ("web-*", "anna", "load test", None)
    assert "by anna: load test" in said(site, "silence", "list")
    assert "has ended" in said(site, "silence", "expire", one["id"][:4], "--by", "paul")
    assert told(site, "silence", "list") == []
    assert "no silence is in force" in said(site, "silence", "list")
    assert "ended early by paul" in said(site, "silence", "list", "--all")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--component", "a", "--for", "soon", "-m", "x"], "--for: 'soon' is no duration"),
        (["--component", "a", "--for", "1h", "-m", " "], "--comment: say why"),
        (["--for", "1h", "-m", "x"], "names at least a --type"),
        (["--component", "a", "--for", "53w", "-m", "x"], "at most a year"),
    ],
)
def test_a_silence_that_nobody_can_mean_is_refused(site: Path, arguments: list[str], sentence: str) -> None:
    assert sentence in said(site, "silence", "add", *arguments, fails=2)


def proved(state: State, alerts: int = 0) -> None:
    state.accounts.set_snapshot("watched web", NOW - 30 * DAY, {})
    state.add_model("web", path="x", sha256="0" * 64, trained_on=Window(0, 60, 60), created_at=1, facts={"components": 10})
    kept(
        state,
        *(incident(f"web-{n}", id=f"i{n:03}", opened=NOW - n * 3600 - 60, since=NOW - n * 3600 - 120) for n in range(alerts)),
    )


def test_without_proof_nobody_climbs_and_the_figures_say_why(site: Path, state: State) -> None:
    answer = told(site, "promote", "web", fails=1)
    assert answer["to"] == "status"
    assert answer["lacks"] == ["nothing was learnt yet: no model is in force", "judged for 0.0 days, 14 are needed"]
    assert state.accounts.promotions() == []
    assert "--force does it" in said(site, "promote", "web", fails=1)
    assert "say why" in said(site, "promote", "web", "--force", fails=2)
    assert 'no component type "wbe" (did you mean "web"?)' in said(site, "promote", "wbe", fails=2)
    said(site, "promote", "web", "--force", "-m", "agreed", "--by", "anna")
    (one,) = state.accounts.promotions()
    assert (one.rung, one.forced, one.by, one.reason) == ("status", True, "anna", "agreed")
    assert one.figures["lacks"] == answer["lacks"]
    line = json.loads(state.accounts.journal()[-1].line)
    assert (line["what"], line["forced"], line["by"]) == ("rung", True, "anna")


def test_with_proof_a_type_climbs_rung_by_rung_and_comes_down_freely(site: Path, state: State) -> None:
    proved(state, alerts=3)
    assert "show -> status" in said(site, "promote", "web")
    assert "people judged 0 alerts, 10 are needed" in said(site, "promote", "web", fails=1)
    assert "stands on status already" in said(site, "promote", "web", "--to", "status")
    assert "status -> learn" in said(site, "promote", "web", "--to", "learn")
    said(site, "promote", "web", "--component", "web-7", "--to", "status")
    (ours,) = told(site, "ladder")["types"]
    assert (ours["rung"], ours["components"], ours["next"], ours["lacks"]) == ("learn", {"web-7": "status"}, "show", [])
    assert "all is proved: tocsin promote web" in said(site, "ladder")


def test_too_many_alerts_are_told_on_the_ladder(site: Path, state: State) -> None:
    proved(state, alerts=40)
    (ours,) = told(site, "ladder", "--type", "web")["types"]
    assert ours["figures"]["false"] == 40
    assert ours["lacks"][0].startswith("40 alerts in 14 days on 10 components that nobody called useful: 2 per component")


def test_what_was_said_of_an_incident_is_counted_per_type_detector_and_version(site: Path, state: State) -> None:
    proved(state, alerts=4)
    kept(state, incident("web-9", id="gone", phase=Phase.WITHDRAWN), incident("web-8", id="held", held_by=(("silence", "x"),)))
    assert "nobody said anything" in said(site, "feedback", "report")
    assert "say what it was" in said(site, "feedback", "i000", fails=2)
    assert "no incident 'zz'" in said(site, "feedback", "zz", "noise", fails=2)
    said(site, "feedback", "i000", "noise", "-m", "backup", "--by", "anna")
    assert told(site, "feedback", "i000", "useful", "--by", "anna")["verdict"] == "useful"
    said(site, "feedback", "i001", "noise", "--by", "anna")
    said(site, "feedback", "i002", "known", "--by", "anna")
    rows = {(row["by"], row["name"]): row for row in told(site, "feedback", "report")}
    web = rows["component type", "web"]
    assert (web["alerts"], web["useful"], web["noise"], web["known"], web["precision"]) == (4, 1, 1, 1, 0.5)
    assert rows["detector", "web seasonal"]["alerts"] == 3
    assert rows["model version", "web 1"]["precision"] == 0.5
    assert "50%" in said(site, "feedback", "report")
    assert state.accounts.verdicts()[0].severity is Severity.CRITICAL


def test_a_persons_own_word_goes_before_what_was_read_off_their_acts(site: Path, state: State) -> None:
    from tests.contracts.accounts import VERDICT

    proved(state, alerts=1)
    said(site, "feedback", "i000", "noise")
    state.accounts.add_verdicts([replace(VERDICT, incident="i000", at=NOW + 60)])
    (web, *_rest) = told(site, "feedback", "report")
    assert (web["useful"], web["noise"]) == (0, 1)


def test_the_journal_is_verified_exported_and_an_altered_copy_is_found_out(site: Path, state: State, tmp_path: Path) -> None:
    assert told(site, "audit", "verify") == {"lines": 0, "whole": True, "fault": "", "last": None}
    said(site, "silence", "add", "--component", "web-1", "--for", "1h", "-m", "x")
    said(site, "promote", "web", "--force", "-m", "agreed")
    assert said(site, "audit", "verify").startswith("2 lines, whole; the last digest is ")
    exported = tmp_path / "journal.jsonl"
    exported.write_text(said(site, "audit", "export"))
    assert said(site, "audit", "verify", str(exported)).startswith("2 lines, whole")
    exported.write_text(exported.read_text().replace("agreed", "proved"))
    assert told(site, "audit", "verify", str(exported), fails=1)["fault"].startswith("line 2 is not what was written")
    exported.write_text("not json")
    assert "cannot be read as an exported journal" in said(site, "audit", "verify", str(exported), fails=2)


def test_one_incidents_life_is_exported_alone(site: Path, state: State) -> None:
    from tests.contracts.state import OPENING, an_incident

    with state.tick("web") as tick:
        tick.put_incidents([an_incident(), an_incident("other")])
        tick.put_transitions([OPENING, replace(OPENING, incident="other")])
    (line,) = said(site, "audit", "export", "--incident", "abc").splitlines()
    assert json.loads(line)["incident"] == "abc1"
    assert json.loads(line)["worst"][0] == "latency"
