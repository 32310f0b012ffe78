from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import fake_plugins
from tests.unit.config.samples import MAIN, SMALL, WEB
from tocsin.config import Config, describe, load
from tocsin.errors import ConfigError
from tocsin.model import Aggregate, Direction, Metric, ServiceKey
from tocsin.settings import Secret

ROOT = Path(__file__).resolve().parents[3]

Loads = Callable[..., Config]


def test_a_component_type_is_what_its_file_says(loads: Loads, tmp_path: Path) -> None:
    (web,) = loads(web=WEB).types
    assert (web.name, web.every, web.delay, web.path) == ("web", 300, 60, tmp_path / "components/web.yaml")
    assert [entry.plugin for entry in web.detect] == [fake_plugins.PLAIN, fake_plugins.OTHER]
    assert web.detect[1].settings == fake_plugins.PlainSettings(half_life=7200)
    assert web.static["latency.p95"].warning == "300"
    assert web.alert.to.key("web-1", "web", "anomaly") == ServiceKey("web-1", "Anomaly-web")


def test_plugins_are_told_their_surroundings(loads: Loads, tmp_path: Path) -> None:
    (web,) = loads(web=WEB).types
    around = web.surroundings()
    assert (around.component_type, around.span, around.folder) == ("web", 300, tmp_path / "components")
    assert repr(around.calendar) == "Calendar('Europe/Paris', 'FR', ('month-end', '15'))"
    assert around.metrics["latency.p95"] == Metric(name="latency.p95", unit="ms", direction=Direction.HIGH)
    assert around.metrics["hits"] == Metric(name="hits", counter=True, aggregate=Aggregate.LAST)
    assert web.collect[0].settings.fields == {"latency.p95": "duration", "hits": "hits"}  # type: ignore[attr-defined]


def test_metrics_can_be_a_list_or_whatever_the_source_has(loads: Loads) -> None:
    some = SMALL.format("some").replace("path: x", "path: x, metrics: [cpu, mem]")
    both = loads(every=SMALL.format("every"), some=some)
    assert [kind.metrics for kind in both.types] == [{}, {"cpu": Metric(name="cpu"), "mem": Metric(name="mem")}]
    assert loads(every=SMALL.format("every").replace("path: x", "path: x, metrics: all"), some=some).types[0].metrics == {}


def test_a_component_type_without_a_time_zone_has_that_of_tocsin_yaml(loads: Loads) -> None:
    config = loads(MAIN + "timezone: Asia/Tokyo\n", a=SMALL.format("a"), web=WEB)
    assert [kind.timezone for kind in config.types] == ["Asia/Tokyo", "Europe/Paris"]


def test_paths_begin_at_the_file_that_names_them(loads: Loads, tmp_path: Path) -> None:
    web = WEB.replace("    path: data/web\n", "    path: ../data/web\n    token: file:secret\n    columns: {names: ../n}\n")
    config = loads(MAIN + "state: ../elsewhere\n", web=web)
    assert config.state == tmp_path.parent / "elsewhere"
    assert config.deliver.sink.settings.path == tmp_path / "box"  # type: ignore[attr-defined]
    settings: Any = config.types[0].collect[0].settings
    assert (settings.path, settings.columns.names) == (tmp_path / "data/web", tmp_path / "n")
    assert settings.token == Secret(f"file:{tmp_path}/components/secret")


def test_the_database_is_a_file_a_url_or_a_secret(loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = SMALL.format("web")
    assert loads(web=web).database_url() == f"sqlite:///{tmp_path}/var/tocsin.db"
    assert loads(MAIN + "database: sqlite:///here.db", web=web).database_url() == f"sqlite:///{tmp_path}/here.db"
    assert loads(MAIN + "database: postgresql+pg8000://db/t", web=web).database_url() == "postgresql+pg8000://db/t"
    secret = loads(MAIN + "database: env:TOCSIN_TEST_URL", web=web)
    with pytest.raises(ConfigError, match=r"tocsin\.yaml: database: environment variable TOCSIN_TEST_URL is not set"):
        secret.database_url()
    monkeypatch.setenv("TOCSIN_TEST_URL", "postgresql+pg8000://u:hunter2@db/t")
    assert secret.database_url() == "postgresql+pg8000://u:hunter2@db/t"
    assert "hunter2" not in json.dumps(describe(secret))
    assert "hunter2" not in repr(secret)


def test_the_environment_goes_before_the_file_and_a_flag_before_both(loads: Loads, tmp_path: Path) -> None:
    main = MAIN + "state: one\nhttp: {listen: '127.0.0.1:1'}\n"
    variables = {"TOCSIN_STATE": "two", "TOCSIN_HTTP_LISTEN": "off", "TOCSIN_DATABASE": "sqlite:///three.db", "HOME": "/"}
    config = loads(main, variables, web=SMALL.format("web"))
    assert (config.state, config.http.listen) == (Path.cwd() / "two", None)
    assert config.database_url() == f"sqlite:///{Path.cwd()}/three.db"
    flagged = load(tmp_path / "tocsin.yaml", environment=variables, flags={"TOCSIN_STATE": "/four"})
    assert flagged.state == Path("/four")


def test_a_mistake_in_the_environment_names_the_variable(told: Callable[..., list[str]]) -> None:
    assert told(MAIN, {"TOCSIN_HTTP_LISTEN": "everywhere"}, web=SMALL.format("web")) == [
        "TOCSIN_HTTP_LISTEN: 'everywhere' is no address to listen on; expected host:port, such as 127.0.0.1:9464 or [::1]:9464"
    ]


def test_lowering_only_the_opening_lowers_the_closing_too(loads: Loads) -> None:
    (kind,) = loads(a=SMALL.format("a") + "alert: {open: {surprise: 2}}\n").types
    assert (kind.alert.rules().open_surprise, kind.alert.rules().close_surprise) == (2, 2)
    (kind,) = loads(a=SMALL.format("a") + "alert: {open: {surprise: 9}}\n").types
    assert kind.alert.rules().critical_surprise == 9


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "[a]* {b}"
    (folder / "components").mkdir(parents=True)
    (folder / "tocsin.yaml").write_text(MAIN)
    (folder / "components/web.yaml").write_text(WEB)
    assert [kind.name for kind in load(folder / "tocsin.yaml", environment={}).types] == ["web"]


def test_plugins_nobody_uses_are_not_imported(loads: Loads) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from pathlib import Path; from tocsin.config import load; "
        "load(Path(sys.argv[1])); "
        "print([name for name in sys.modules if name.startswith(('collectors', 'detectors', 'alerting.sinks', 'pandas'))])"
    )
    config = loads(web=WEB).path
    done = subprocess.run(
        [sys.executable, "-c", code, config], capture_output=True, text=True, check=True, cwd=ROOT, env={"PATH": os.defpath}
    )
    assert done.stdout.strip() == "[]"


def test_fifty_component_files_are_read_in_a_third_of_a_second(loads: Loads) -> None:
    files = {f"web{i}": WEB.replace("component_type: web", f"component_type: web{i}") for i in range(50)}
    loads(**files)
    began = time.process_time()
    assert len(loads(**files).types) == 50
    assert time.process_time() - began < 0.3 * 2  # twice: the machine is shared, and coverage tools slow it down


def test_what_is_in_force_fits_into_json(loads: Loads) -> None:
    facts = json.loads(json.dumps(describe(loads(web=WEB, small=SMALL.format("small")))))
    assert [kind["metrics"] for kind in facts["types"]] == ["all", 2]
    assert facts["sink"] == "box"
