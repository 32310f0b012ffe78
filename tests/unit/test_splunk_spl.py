"""Searches are built, never pasted together: whatever is written, it stays inside its quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.splunk import spl
from collectors.splunk.spl import Scope
from tests.splunk_spl import Samples, SplError, pipeline, run
from tocsin.model import Aggregate

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="\"'\\|[]`()=<>*,$ abx\n\t", max_size=40),
    st.sampled_from(
        [
            'x" | delete',
            "x\\",
            'x\\" | outputlookup a',
            "[search index=* | head 1]",
            "`drop_all`",
            "```comment``` x",
            "a OR index=secret",
            'a" OR index="secret',
            "earliest=-10y",
            "$token$",
            "a,b",
            "host BY user",
            "*",
            "\u202eevil",
        ]
    ),
)
ANY = st.one_of(st.sampled_from(["host", "http.status", "pool name", "em_1"]), HOSTILE)
KINDS = st.sampled_from(["metrics", "events", "tstats"])


def strings_of(text: str) -> list[str]:
    """What stands in double quotes, as Splunk reads it."""
    return [re.sub(r"\\(.)", r"\1", found[1:-1]) for found in re.findall(r'"(?:[^"\\]|\\.)*"', text)]


@given(HOSTILE)
def test_a_value_is_one_string_or_refused(value: str) -> None:
    try:
        text = spl.quoted(value)
    except ValueError:
        return
    assert strings_of(text) == [value]
    assert pipeline(f"search a={text}") == [["search", "a", "=", text]]


@given(HOSTILE)
def test_a_name_is_one_word_or_refused(name: str) -> None:
    try:
        text = spl.name(name)
    except ValueError:
        return
    assert pipeline(f"stats count BY {text}") == [["stats", "count", "BY", text]]
    assert text.strip('"') == name
    assert spl.eval_name(name) == f"'{name}'"


@given(ANY, ANY, ANY, ANY, KINDS, st.sampled_from(Aggregate))
def test_whatever_is_written_the_commands_are_ours(
    field: str, value: str, component: str, metric: str, kind: spl.Kind, aggregate: Aggregate
) -> None:
    try:
        scope = Scope(kind=kind, index=("web",), filter={field: [value]}, component=(component,), include=(value,))
        call = spl.function(aggregate, metric, kind)
        texts = [
            spl.series(scope, {"m0": call}, 60),
            spl.inventory(scope, {"m0": spl.presence(metric, kind)}),
            spl.log_counts(scope, ["level"], 60),
            spl.log_lines(scope, ["level"], 60, each=5, most=10, letters=100),
        ]
    except ValueError:
        return
    ours = {"search", "mstats", "tstats", "bin", "stats", "eval", "fields", "dedup", "head"}
    for text in texts:
        commands = pipeline(text)
        assert {command[0] for command in commands} <= ours
        assert len(commands) <= 8
        assert "`" not in text
        words = [word for command in commands for word in command]
        assert not set(words) & {"[", "]"}
        assert [word for word in words if word == "index"] == ["index"], "no other index is read"


@given(HOSTILE)
def test_a_search_by_hand_stays_one_search(text: str) -> None:
    try:
        plain = spl.plain_search(text)
    except ValueError:
        return
    built = Scope(kind="events", index=("web",), filter={}, search=plain).events()
    try:
        commands = pipeline(built)
    except SplError:
        return  # Splunk would refuse it, too
    assert len(commands) == 1
    words = commands[0]
    assert words[:4] == ["search", "index", "=", '"web"']
    depth = 0
    for word in words[4:]:
        depth += (word == "(") - (word == ")")
    assert depth == 0


def test_a_search_by_hand_cannot_reach_beyond_its_index() -> None:
    samples = Samples()
    samples.event(10, "secret", index="secret", host="a")
    samples.event(10, "public", index="web", host="a")
    scope = Scope(kind="events", index=("web",), filter={}, search=spl.plain_search("nothing OR index=secret OR *"))
    rows = run(f"{scope.events()} | stats count AS n BY index", samples, 0, 100)
    assert rows == [{"index": "web", "n": "1"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a | stats count", "second command"),
        ("a [search b]", "inside a search"),
        ("a ]", "never opened"),
        ("`macro`", "macros and comments"),
        ("a ```hidden``` b", "macros and comments"),
        ('a "b', "a quote does not close"),
        ("a \\", "backslash outside quotes"),
        (r'\" " | delete " \"', "does not close|backslash"),
        ("a) OR (b", "brackets do not match"),
        ("(a", "brackets do not match"),
        ("earliest=-1d a", "the times are ours"),
        ("a _index_latest = now", "the times are ours"),
        ("a starttimeu=1", "the times are ours"),
        ("a\nb", "one line"),
        ("", "expected words"),
        ("x" * 5000, "expected words"),
    ],
)
def test_what_a_search_by_hand_may_not_be(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        spl.plain_search(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("status>=500", "status>=500"),
        ("search status>=500 uri=/api/*", "status>=500 uri=/api/*"),
        ('"a | b [c]" OR (x NOT y)', '"a | b [c]" OR (x NOT y)'),
        (r'path="C:\\temp" "say \"hi\""', r'path="C:\\temp" "say \"hi\""'),
        ("latest_version=3", "latest_version=3"),
    ],
)
def test_what_it_may_be(text: str, plain: str) -> None:
    assert spl.plain_search(text) == plain


@pytest.mark.parametrize(
    ("aggregate", "field", "kind", "text"),
    [
        ("mean", "cpu.util", "metrics", 'avg("cpu.util")'),
        ("p95", "ms", "events", "perc95(ms)"),
        ("last", "Processor.%_Processor_Time", "metrics", 'latest("Processor.%_Processor_Time")'),
        ("count", "*", "events", "count"),
        ("count", "*", "tstats", "count"),
        ("count", "status>=500", "events", "count(eval('status'>=500))"),
        ("count", 'level = "ERROR"', "events", "count(eval('level'==\"ERROR\"))"),
        ("count", "by", "events", 'count("by")'),
        ("sum", "bytes sent", "events", 'sum("bytes sent")'),
    ],
)
def test_functions_are_spelled_as_splunk_has_them(aggregate: str, field: str, kind: spl.Kind, text: str) -> None:
    assert spl.function(Aggregate(aggregate), field, kind) == text


def test_whole_searches_read_as_somebody_would_write_them() -> None:
    scope = Scope(kind="metrics", index=("em_metrics",), filter={"env": ["prod"]}, include=("web*", "db?"))
    assert spl.series(scope, {"m0": 'avg("cpu.util")', "m1": 'max("cpu.util")'}, 60) == (
        '| mstats avg("cpu.util") AS m0 max("cpu.util") AS m1 WHERE index="em_metrics" AND env="prod" '
        'AND (host="web*" OR host="db*") BY host span=60s | eval epoch=_time | fields - _time'
    )
    scope = Scope(kind="events", index=("web",), sourcetype=("access_combined",), filter={}, search="uri=/a", by="pool")
    assert spl.series(scope, {"m0": "count"}, 300) == (
        'search index="web" sourcetype="access_combined" (uri=/a) | bin span=300s _time AS epoch '
        "| stats count AS m0 max(_indextime) AS indexed BY epoch host pool"
    )
    scope = Scope(kind="tstats", index=("web", "app"), filter={})
    assert spl.series(scope, {"m0": "count"}, 60) == (
        '| tstats count AS m0 max(_indextime) AS indexed WHERE (index="web" OR index="app") BY _time span=60s host '
        "| eval epoch=_time | fields - _time"
    )
