"""What a person learns of a source by asking: whether it answers, what it has, what is new, gone, cut or kept away."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.fakes import ListCollector
from tocsin.cli import app
from tocsin.config import load
from tocsin.errors import ConfigError, PermanentError, TransientError
from tocsin.intake import Source
from tocsin.model import Frame, Probe, SeriesIndex, SeriesKey, Window
from tocsin.settings import Settings
from tocsin.sources import _check, check, discover, lines_of, loosened, plain, told
from tocsin.store.history import History

NOW = 1_790_000_000.0


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two components in files, one of which is not wanted."""
    (tmp_path / "components").mkdir()
    (tmp_path / "data").mkdir()
    times = [int(time.time()) // 60 * 60 - 60 * back for back in range(20, 0, -1)]
    for name in ("web-1", "web-2"):
        rows = "\n".join(f"{at},{80 + place},{place}" for place, at in enumerate(times))
        (tmp_path / f"data/{name}.csv").write_text(f"timestamp,latency,requests\n{rows}\n")
    (tmp_path / "tocsin.yaml").write_text("state: var\ndeliver: {sink: {use: recording}}\n")
    (tmp_path / "components/web.yaml").write_text(
        "component_type: web\nevery: 1m\ncollect: [{from: files, path: ../data/*.csv, metrics: [latency, requests]}]\n"
    )
    return tmp_path / "tocsin.yaml"


class Asked(ListCollector):
    """A server that says what it is told to say."""

    def __init__(self, answer: Probe | Exception) -> None:
        super().__init__({})
        self.answer, self.closed = answer, False

    def lag(self) -> float | None:
        return None

    def probe(self, now: float) -> Probe:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("answer", "verdict", "sentence"),
    [
        (Probe(version="8.19", samples=("a cpu = 1",)), 0, "answers"),
        (Probe(version="8.19"), 1, "it answers, and has no values now"),
        (Probe(version="8.19", samples=("a cpu = 1",), warnings=("TLS is not verified",)), 1, "TLS is not verified"),
        (Probe(version="8.19", warnings=("no document matches",)), 1, "no document matches"),
        (TransientError("es1:9200: refused"), 1, "es1:9200: refused"),
        (PermanentError("es1:9200: no right to read metrics-*"), 2, "es1:9200: no right to read metrics-*"),
        (ConfigError("variable ES_KEY is not set"), 2, "variable ES_KEY is not set"),
        (ValueError("zip() argument 2 is shorter"), 2, "ValueError: zip() argument 2 is shorter"),
    ],
)
def test_a_server_is_well_or_not_now_or_never_like_this(
    site: Path, answer: Probe | Exception, verdict: int, sentence: str
) -> None:
    one = _check(load(site).types[0], Source(name="elasticsearch", collector=Asked(answer)), NOW)
    assert (one.verdict, one.sentence) == (verdict, sentence)
    assert next(lines_of(one)).endswith(sentence)


def test_a_source_without_a_server_answers_too(site: Path) -> None:
    (one,) = check(load(site), "web", time.time())
    assert one.verdict == 0 and one.probe is not None
    assert one.probe.lag is not None and one.probe.lag < 200
    assert one.probe.samples[0].startswith("web-1 latency = 99 at ")
    assert "4 series" in one.probe.cost
    assert [found.source for found in check(load(site), "files", time.time())] == ["files"]


def test_a_name_that_is_neither_type_nor_source_gets_the_nearest_one(site: Path) -> None:
    with pytest.raises(ConfigError, match=r'no component type and no source "wep" \(did you mean "web"\?\)'):
        check(load(site), "wep", NOW)
    with pytest.raises(ConfigError, match="did you mean"):
        discover(load(site), "wep", NOW)


def test_what_is_new_and_what_vanished_is_told_against_yesterday(site: Path) -> None:
    config = load(site)
    found = discover(config, "web", time.time())
    assert found.new is None and found.metrics == {"latency": 2, "requests": 2}
    assert "nothing was known before" in "\n".join(told(found))
    end = int(time.time()) // 60 * 60
    known = SeriesIndex([SeriesKey("web-1", "latency"), SeriesKey("web-0", "latency")])
    with History(config.state / "history") as history:
        history.append("web", Frame.of(known, Window(end - 60, end, 60), np.ones((2, 1))))
    found = discover(config, "web", time.time())
    assert found.vanished == [SeriesKey("web-0", "latency")]
    assert SeriesKey("web-2", "latency") in (found.new or ())
    text = "\n".join(told(found))
    assert "1 vanished: web-0 latency" in text and "3 new: " in text
    assert not found.emptied
    for file in (site.parent / "data").iterdir():
        file.write_text("timestamp,latency,requests\n")
    found = discover(config, "web", time.time())
    assert found.emptied and CliRunner().invoke(app, ["discover", "web", "-c", str(site)]).exit_code == 1


def test_settings_without_their_include_and_exclude_show_what_a_rule_keeps_away() -> None:
    class Inner(Settings):
        include: tuple[str, ...] = ()
        exclude: tuple[str, ...] = ()

    class Outer(Settings):
        exclude: tuple[str, ...] = ()
        hosts: Inner = Inner()
        index: str = "x"

    assert loosened(Outer()) is None
    assert loosened(Outer(exclude=("a",), hosts=Inner(include=("b*",)))) == Outer()


def test_names_from_outside_cannot_order_a_terminal_about() -> None:
    assert plain("web\x1b[2J\u202e-1\n") == "web\ufffd[2J\ufffd-1\ufffd"


def test_the_commands_tell_people_and_machines(site: Path) -> None:
    run = CliRunner()
    answer = run.invoke(app, ["check-source", "web", "-c", str(site)])
    assert answer.exit_code == 0, answer.output
    assert "ok web: files: answers" in answer.output
    answer = run.invoke(app, ["check-source", "web", "-c", str(site), "--json"])
    assert json.loads(answer.stdout)[0]["verdict"] == 0
    answer = run.invoke(app, ["discover", "web", "-c", str(site), "--json"])
    assert answer.exit_code == 0 and json.loads(answer.stdout)["components"] == ["web-1", "web-2"]
    answer = run.invoke(app, ["discover", "web", "-c", str(site)])
    assert "web: 2 components, 4 series" in answer.output
    for file in (site.parent / "data").iterdir():
        file.unlink()
    assert run.invoke(app, ["discover", "web", "-c", str(site)]).exit_code == 1
    answer = run.invoke(app, ["check-source", "web", "-c", str(site)])
    assert answer.exit_code == 1 and "no file matches" in answer.output
