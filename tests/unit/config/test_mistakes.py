from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.config.samples import MAIN, SMALL, WEB
from tocsin.config import Config, load
from tocsin.errors import ConfigError

Told = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("written", "instead", "sentence"),
    [
        ("detect: [plain", "detect: [plian", '11:10: detect[0]: no detector "plian" (did you mean "plain"?)'),
        ("{use: other", "{use: othr", '11:23: detect[1].use: no detector "othr" (did you mean "other"?)'),
        ("{use: other", "{use: plain", '11:23: detect[1].use: "plain" is used already'),
        ("half_life:", "halflife:", '11:30: detect[1].halflife: no such key (did you mean "half_life"?)'),
        (
            "half_life: 2h",
            "half_life: 2 hours",
            "11:41: detect[1].half_life: '2 hours' is no duration: write a number and a unit,",
        ),
        ("from: sheet", "from: shed", '5:11: collect[0].from: no collector "shed" (did you mean "sheet"?)'),
        ("  - from: sheet\n    path", "  - path", "5:5: collect[0].from: is required"),
        ("    path: data/web\n", "", "5:5: collect[0].path: is required"),
        ("path: data/web", "path: [data]", "6:5: collect[0].path: expected a path, got a list"),
        (
            "path: data/web",
            "fields: {}",
            "6:5: collect[0].fields: no such key; name the metrics as metrics: {NAME: {field: NAME IN THE SOURCE}}",
        ),
        ("path: data/web", "path: data/web\n    (plugin): 5", '7:5: collect[0]["(plugin)"]: no such key'),
        ("from: sheet", "from: tape", '9:28: collect[0].metrics["latency.p95"].field: tape knows its metrics by our names only'),
        (
            "every: 5m",
            "every: 7m",
            "7:12: collect[0].every: 7m does not divide a day; use one that does, such as 10s, 1m, 5m, 15m or 1h",
        ),
        ("every: 5m", "every: 5s", "7:12: collect[0].every: 5s is out of range; expected 10s to 1d"),
        ("every: 5m", "evry: 5m", '7:5: collect[0].evry: no such key (did you mean "every"?)'),
        ("    every: 5m\n", "", "1:1: every: is required, here or in a collect entry: the length of a bucket, such as 1m or 5m"),
        (
            "collect:",
            "every: 1m\ncollect:",
            "4:8: every: differs from the collect entries; all of a component type share one length of bucket",
        ),
        ("unit: ms", "unti: ms", '9:38: collect[0].metrics["latency.p95"].unti: no such key (did you mean "unit"?)'),
        (
            "direction: high",
            "direction: hihg",
            '9:59: collect[0].metrics["latency.p95"].direction: "hihg" is not known (did you mean "high"?)',
        ),
        ("direction: high", "lower: 5, upper: 5", '9:65: collect[0].metrics["latency.p95"].upper: 5 is not above lower: 5'),
        ("direction: high", "lower: .nan", '9:55: collect[0].metrics["latency.p95"].lower: expected a finite number, got nan'),
        ("counter: true", "counter: maybe", '10:23: collect[0].metrics.hits.counter: expected true or false, got text "maybe"'),
        (
            "counter: true",
            "counter: true, aggregate: mean",
            "10:40: collect[0].metrics.hits.aggregate: a counter is read as its last value;",
        ),
        (
            "calendar: {holidays: FR",
            "calendar: {holidays: XX",
            "3:22: calendar.holidays: no public holidays known for 'XX': use an ISO code",
        ),
        (
            "calendar: {holidays: FR",
            "calendar: {holidays: utils",
            "3:22: calendar.holidays: 'utils' is no country; use an ISO code such as FR,",
        ),
        (
            "[month-end, 15]",
            "[month-end, 32]",
            "3:48: calendar.business[1]: no business day '32': use month-end, month-start, a day of the",
        ),
        (
            "timezone: Europe/Paris",
            "timezone: Europe/Pari",
            '2:11: timezone: no time zone "Europe/Pari" (did you mean "Europe/Paris"?)',
        ),
        (
            "static: {latency.p95",
            "static: {latency.p99",
            '12:10: static["latency.p99"]: no such metric in collect (did you mean "latency.p95"?)',
        ),
        ('{warning: 300, critical: "@10:20"}', "{}", '12:10: static["latency.p95"]: expected warning, critical or both'),
        ("warning: 300", "warning: [1]", '12:24: static["latency.p95"].warning: expected text, got a list'),
        ("buckets: 2, of: 3", "buckets: 4, of: 3", "14:32: alert.open.buckets: 4 is more than of: 3"),
        ("buckets: 2, of: 3", "buckets: 9", "14:32: alert.open.buckets: 9 is more than of: 3"),
        ("buckets: 2, of: 3", "buckets: true", "14:32: alert.open.buckets: expected a whole number, got true"),
        (
            "close: {surprise: 3}",
            "close: {surprise: 6}",
            "15:21: alert.close.surprise: 6 is above open.surprise: 5; it would close what just opened",
        ),
        (
            "close: {surprise: 3}",
            "critical: {surprise: 3}",
            "15:24: alert.critical.surprise: 3 is below open.surprise: 5; nothing would be",
        ),
        ("close: {surprise: 3}", "ladder: shwo", '15:11: alert.ladder: "shwo" is not known (did you mean "show"?)'),
        ('"{component}"', '"{componnt}"', '16:14: alert.to.host: "{componnt}" cannot be filled in (did you mean "component"?)'),
        (
            '"{component}"',
            '"{component.__class__}"',
            '16:14: alert.to.host: "{component.__class__}" cannot be filled in (did you mean "component"?)',
        ),
        ('"{component}"', '"{component"', "16:14: alert.to.host: braces do not match: expected '}' before end of string"),
        ("Anomaly-{", "Anomaly;{", "16:38: alert.to.service: the monitoring engine allows no ; in names"),
        (
            "component_type: web",
            "component_type: ../web",
            "1:17: component_type: expected 1 to 64 letters, digits, dots, dashes or",
        ),
        ("component_type: web", "component_type: 7", "1:17: component_type: expected text (put it in quotes), got 7"),
        ("component_type: web\n", "", "1:1: component_type: is required"),
        ("detect: [plain, {use: other, half_life: 2h}]", "detect: []", "11:1: detect: is empty; name at least one"),
        ("detect: [plain, {use: other, half_life: 2h}]", "detect:", "11:1: detect: expected a list, got nothing"),
        ("alert:", "alret:", '13:1: alret: no such key (did you mean "alert"?)'),
        ("alert:", "timezone: UTC\nalert:", "13:1: timezone: is there twice, first in line 2"),
    ],
)
def test_a_mistake_has_its_place_and_what_was_expected(told: Told, written: str, instead: str, sentence: str) -> None:
    assert WEB.count(written) == 1
    (problem,) = told(web=WEB.replace(written, instead))
    assert problem.startswith(f"components/web.yaml:{sentence}")


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        ("deliver: {sink: {use: bx}}", '1:23: deliver.sink.use: no sink "bx" (did you mean "box"?)'),
        (MAIN + "train: {every: 1s}", "2:16: train.every: 1s is out of range; expected 10m to 30d"),
        (MAIN + "train: {history: 1h}", "2:18: train.history: 1h is out of range; expected 1d to 52w"),
        (MAIN + "train: {keep: 3.5}", "2:15: train.keep: expected a whole number, got 3.5"),
        ("deliver: {sink: box, rate: 5001}", "1:28: deliver.rate: expected at most 5000, got 5001"),
        ("deliver: {sink: box, host: 'a*b'}", "1:28: deliver.host: the monitoring engine allows no * in names"),
        (MAIN + "state: 5", "2:8: state: expected a path, got 5"),
        (MAIN + "timezone: Mars", '2:11: timezone: no time zone "Mars'),
        (MAIN + "components: [none/*.yaml]", '2:14: components[0]: no file matches "none/*.yaml"'),
        (MAIN + "components: []", "2:1: components: is empty; name at least one"),
        (
            MAIN + "types: []",
            "2:1: types: no such key; expected one of components, database, deliver, http, state, supervision, timezone, train",
        ),
        (
            MAIN + "http: {listen: '0.0.0.0:80'}",
            "2:16: http.listen: 0.0.0.0:80 can be reached from other machines; listen on 127.0.0.1,",
        ),
        (
            MAIN + "http: {listen: '127.0.0.1:99999'}",
            "2:16: http.listen: '127.0.0.1:99999' is no address to listen on; expected host:port,",
        ),
        (
            MAIN + "database: postgresql+pg8000://u:hunter2@h/db",
            "2:11: database: a password is never written here: put the whole URL",
        ),
        (
            MAIN + "database: postgresql+pg8000://h/db?password=hunter2",
            "2:11: database: a password is never written here: put the whole URL",
        ),
        (
            MAIN + "database: mysql://h/db",
            "2:11: database: expected a URL that begins with sqlite:/// or postgresql+pg8000://, or a",
        ),
        (WEB, "1:1: component_type: this is a component file; name the tocsin.yaml that lists it"),
        ("- 1", "1:1: expected keys with values, got a list"),
        ("", "1:1: is empty"),
    ],
)
def test_a_mistake_in_tocsin_yaml_has_its_place_too(told: Told, main: str, sentence: str) -> None:
    (problem,) = told(main, web=SMALL.format("web"))
    assert problem.startswith(f"tocsin.yaml:{sentence}")


def test_all_mistakes_of_all_files_are_told_at_once(told: Told) -> None:
    assert told(
        "deliver: {sink: bx}", a="a: [", b=SMALL.format("b").replace("plain", "plian"), c=WEB.replace("every: 5m", "every: x")
    ) == [
        "components/a.yaml:1:5: is no YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
        'components/b.yaml:3:10: detect[0]: no detector "plian" (did you mean "plain"?)',
        "components/c.yaml:7:12: collect[0].every: 'x' is no duration: write a number and a unit, such as 90s, 5m, 12h, 7d or 4w",
        'tocsin.yaml:1:17: deliver.sink: no sink "bx" (did you mean "box"?)',
    ]


def test_a_hundred_mistakes_are_counted_and_not_all_listed(told: Told) -> None:
    problems = told(MAIN + "".join(f"key{i}: 1\n" for i in range(100)), web=SMALL.format("web"))
    assert len(problems) == 51
    assert problems[-1] == "tocsin.yaml: 50 more mistakes"


def test_a_secret_that_was_written_out_is_refused_and_not_repeated(told: Told) -> None:
    (problem,) = told(web=WEB.replace("path: data/web", "path: data/web\n    token: hunter2"))
    assert (
        problem
        == "components/web.yaml:7:12: collect[0].token: a secret is never written here: give a reference, env:NAME or file:/path"
    )


def test_a_component_type_has_one_file(told: Told) -> None:
    assert told(a=SMALL.format("web"), b=SMALL.format("web")) == [
        'components/b.yaml:1:17: component_type: "web" is taken by components/a.yaml:1; each component type has one file'
    ]


def test_two_component_types_cannot_overwrite_each_others_service(told: Told, loads: Callable[..., Config]) -> None:
    fixed = "alert: {to: {host: central, service: Anomaly}}\n"
    (problem,) = told(a=SMALL.format("a") + fixed, b=SMALL.format("b") + fixed)
    assert problem.startswith(
        "components/b.yaml:4:9: alert.to: central/Anomaly is the service of components/a.yaml too; use {component}"
    )
    assert loads(a=SMALL.format("a") + fixed, b=SMALL.format("b") + fixed.replace("Anomaly", "'{component_type}'"))


def test_sources_of_a_type_must_agree(told: Told) -> None:
    sources = (
        "[{from: sheet, path: x, every: 1m, metrics: {cpu: {unit: ms}}},\n  {from: sheet, path: y, every: 5m, metrics: [cpu]}]"
    )
    every, metrics = told(a=f"component_type: a\ndetect: [plain]\ncollect: {sources}\n")
    assert every.startswith("components/a.yaml:4:33: collect[1].every: differs from the other sources; all of a component type")
    assert metrics == "components/a.yaml:4:37: collect[1].metrics: is described differently in another collect entry"


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/tocsin\.yaml: no such file$"):
        load(tmp_path / "tocsin.yaml")
