"""Log lines become counts: exact where the source counts, the same templates again tomorrow, bounded whatever comes."""

from __future__ import annotations

import json
import random
import resource
import string
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs import LogSettings, collector
from collectors.logs.collector import LogCounts
from collectors.logs.join import join
from collectors.logs.levels import LEVELS, level_in, level_of
from tests.fakes import ListCollector, ListLogs
from tocsin.config import load
from tocsin.errors import TransientError
from tocsin.explain import story
from tocsin.intake import Intake, Source
from tocsin.model import Anomaly, Frame, Incident, LogLine, Phase, Probe, SeriesIndex, SeriesKey, Severity, Window
from tocsin.ports import LogCollector, RemoteCollector, Surroundings
from tocsin.timegrid import Calendar

ROOT = Path(__file__).resolve().parents[2]
SPAN, START = 60, 1_767_225_600
HOUR = Window(START, START + 3600, SPAN)


def around(memory: Path | None = None) -> Surroundings:
    return Surroundings(
        component_type="web", calendar=Calendar("Europe/Paris"), span=SPAN, metrics={}, folder=Path(), memory=memory
    )


def counting(source: ListLogs, memory: Path | None = None, **settings: object) -> LogCounts:
    made = collector(source, LogSettings.model_validate({"settle": 0, **settings}), around(memory))
    assert isinstance(made, LogCounts)
    return made


def line(minute: float, text: str, component: str = "web1", level: str = "") -> LogLine:
    return LogLine(at=START + 60 * minute, component=component, text=text, level=level)


def frame_of(counts: LogCounts, window: Window = HOUR) -> Frame:
    counts.collect(SeriesIndex([SeriesKey("nobody", "log.lines")]), window)
    return counts.collect(SeriesIndex(counts.discover()), window)


def row(frame: Frame, metric: str, component: str = "web1") -> list[float]:
    return list(frame.values[frame.index.rows[SeriesKey(component, metric)]])


def total(frame: Frame, metric: str, component: str = "web1") -> float:
    return float(np.nansum(row(frame, metric, component)))


def templates(counts: LogCounts) -> dict[str, str]:
    return {
        key.metric.removeprefix("log.template."): counts.example(key) for key in counts.discover() if ".template." in key.metric
    }


# --- what is counted ------------------------------------------------------------------------------------------------------


def test_lines_are_counted_per_component_level_and_template() -> None:
    source = ListLogs([line(minute, f"INFO request {minute} done in {minute} ms") for minute in range(10)])
    source.lines += [line(3, "ERROR cannot connect to 10.0.0.1"), line(4, "ERROR cannot connect to 10.0.0.2")]
    counts = counting(source)
    frame = frame_of(counts)
    assert row(frame, "log.lines")[:6] == [1, 1, 1, 2, 2, 1]
    assert row(frame, "log.level.error")[:6] == [0, 0, 0, 1, 1, 0]
    assert total(frame, "log.level.info") == 10
    assert sorted(templates(counts).values()) == ["ERROR cannot connect to <ip>", "INFO request <num> done in <duration>"]
    assert frame.known.all()


def test_no_line_is_zero_and_no_answer_is_not_known() -> None:
    source = ListLogs([line(0, "INFO a b c"), line(5, "INFO a b c")])
    source.dark = [2, 3]
    frame = frame_of(counting(source))
    assert row(frame, "log.lines")[:2] == [1, 0]
    assert np.isnan(row(frame, "log.lines")[2:4]).all()
    assert not frame.known[:, 2:4].any()


def test_a_series_that_nobody_knows_is_no_data() -> None:
    counts = counting(ListLogs([line(0, "INFO a b c")]))
    counts.discover()
    keys = [SeriesKey("web1", metric) for metric in ("cpu", "log.template.00000000", "log.level.banana")] + [
        SeriesKey("x", "log.lines")
    ]
    frame = counts.collect(SeriesIndex(keys), HOUR)
    assert np.isnan(frame.values).all()
    assert frame.known.all()


def test_a_source_that_fails_fails_the_collector() -> None:
    source = ListLogs([line(0, "INFO a")])
    counts = counting(source)
    index = SeriesIndex(counts.discover())
    source.error = TransientError("it is down")
    with pytest.raises(TransientError):
        counts.collect(index, HOUR)


def test_errors_are_counted_before_the_first_of_them_came() -> None:
    counts = counting(ListLogs([line(0, "INFO all is well")]))
    frame = frame_of(counts)
    for level in ("warning", "error", "critical"):
        assert row(frame, f"log.level.{level}") == [0] * 60


def test_what_text_is_a_sample_of_adds_up_to_what_was_counted() -> None:
    lines = [line(minute + part / 100, f"INFO request {part} done", level="info") for minute in range(10) for part in range(50)]
    lines += [line(4 + part / 100, "ERROR cannot connect", level="error") for part in range(20)]
    source = ListLogs(lines)
    source.sample = 7
    counts = counting(source)
    frame = frame_of(counts)
    assert row(frame, "log.lines")[:6] == [50, 50, 50, 50, 70, 50]
    assert row(frame, "log.level.error")[3:6] == [0, 20, 0]
    parts = [key.metric for key in frame.index if key.metric.startswith("log.template.")]
    np.testing.assert_allclose(sum(np.array(row(frame, metric)) for metric in parts), row(frame, "log.lines"))


def test_a_level_without_any_text_makes_its_templates_not_known() -> None:
    lines = [line(minute, "ERROR cannot connect", level="error") for minute in range(3)]
    lines += [line(minute, "INFO done", level="info") for minute in range(6)]
    source = ListLogs(lines)
    counts = counting(source)
    frame_of(counts)
    source.lines = [one for one in source.lines if one.level != "error"]
    source.extra = {("web1", "error"): {4: 30}}
    frame = frame_of(counts)
    names = {text: name for name, text in templates(counts).items()}
    cannot, done = names["ERROR cannot connect"], names["INFO done"]
    assert row(frame, "log.level.error")[4] == 30
    assert row(frame, "log.template.other")[4] == 30
    assert not frame.known[frame.index.rows[SeriesKey("web1", f"log.template.{cannot}")], 4]
    assert row(frame, f"log.template.{done}")[4] == 1


def test_reading_a_window_again_changes_nothing() -> None:
    rng = random.Random(1)
    source = ListLogs(
        [
            line(rng.random() * 60, f"{rng.choice(['INFO', 'WARN'])} job {rng.choice('abcdef')} step {rng.random()}")
            for _ in range(300)
        ]
    )
    counts = counting(source)
    first = frame_of(counts)
    index, names = first.index, templates(counts)
    for window in (HOUR, Window(START + 600, START + 1200, SPAN), HOUR):
        again = counts.collect(index, window)
        np.testing.assert_array_equal(again.values, first.within(window).values)
    assert templates(counts).keys() == names.keys()
    assert counts.discover() == index.keys


def test_lines_outside_the_window_and_impossible_components_are_left_out() -> None:
    source = ListLogs(
        [line(-5, "INFO before"), line(1, "INFO in"), line(70, "INFO after"), line(1, "INFO x", component="a\x00b")]
    )
    source.unbounded = True
    frame = frame_of(counting(source))
    assert frame.index.components == ("web1",)
    assert total(frame, "log.lines") == 1


# --- what is new ----------------------------------------------------------------------------------------------------------


def test_a_line_nobody_had_seen_is_new_for_a_while() -> None:
    source = ListLogs([line(minute, "INFO all is well") for minute in range(60)])
    source.lines += [line(minute, f"ERROR timeout after {minute} s") for minute in range(40, 60) for _ in range(3)]
    counts = counting(source, fresh="10m")
    frame = frame_of(counts)
    new = row(frame, "log.new")
    assert new[20:40] == [0] * 20
    assert new[40:50] == [3] * 10
    assert new[50:] == [0] * 10
    assert counts.example(SeriesKey("web1", "log.new")) == "ERROR timeout after <duration>"


def test_nothing_is_new_before_the_usual_is_known() -> None:
    source = ListLogs([line(minute, "INFO all is well") for minute in range(60)])
    frame = frame_of(counting(source, settle="30m"))
    assert np.isnan(row(frame, "log.new")[:26]).all()
    assert row(frame, "log.new")[31:] == [0] * 29
    assert frame.known.all()


def test_one_more_web_server_says_nothing_new() -> None:
    source = ListLogs([line(minute, "INFO request served") for minute in range(60)])
    source.lines += [line(minute, "INFO request served", component="web2") for minute in range(50, 60)]
    counts = counting(source, settle="30m", fresh="5m")
    frame_of(counts)
    counts = counting(source, settle="30m", fresh="5m")
    for start in range(START, START + 3600, 600):
        counts.collect(SeriesIndex([SeriesKey("web2", "log.new")]), Window(start, start + 600, SPAN))
    frame = counts.collect(SeriesIndex(counts.discover()), HOUR)
    assert row(frame, "log.new", "web2")[50:] == [0] * 10


def test_a_known_line_is_new_where_it_was_never_seen() -> None:
    source = ListLogs([line(minute, "INFO served", component=name) for minute in range(60) for name in ("web1", "web2")])
    source.lines += [line(minute, "ERROR disk full") for minute in range(60)]
    source.lines += [line(50, "ERROR disk full", component="web2")]
    counts = counting(source, settle="20m", fresh="5m")
    counts.collect(SeriesIndex([SeriesKey("web2", "log.new")]), Window(START, START + 2400, SPAN))
    frame = frame_of(counts)
    assert row(frame, "log.new", "web2")[50] == 1
    assert row(frame, "log.new", "web1")[50] == 0


def test_a_new_template_brings_its_zeros_without_asking_the_source() -> None:
    source = ListLogs([line(minute, "INFO all is well") for minute in range(60)])
    source.lines += [line(50, "ERROR disk full")]
    counts = counting(source)
    counts.collect(SeriesIndex(counts.discover()), HOUR)
    new = [key for key in counts.discover() if "ERROR" in counts.example(key) and ".template." in key.metric]
    before = Window(START, START + 2400, SPAN)
    asked = len(source.asked)
    frame = counts.collect(SeriesIndex(new), before)
    assert (frame.values == 0).all()
    assert len(source.asked) == asked


# --- who is who -------------------------------------------------------------------------------------------------------------

APPLICATION = [
    lambda rng: f"INFO request {rng.randrange(10**6)} from 10.0.{rng.randrange(256)}.1 served in {rng.randrange(900)} ms",
    lambda rng: f"WARN slow query took {rng.randrange(9000)} ms on table {rng.choice(['orders', 'clients', 'payments'])}",
    lambda rng: f"ERROR connection to database {rng.choice(['db1', 'db2'])} refused after {rng.randrange(9)} tries",
    lambda rng: f"INFO session {rng.getrandbits(64):016x} opened for user {rng.choice(['alice', 'bob', 'carol'])}",
    lambda rng: f"INFO session {rng.getrandbits(64):016x} closed for user {rng.choice(['alice', 'bob', 'carol'])}",
    lambda rng: f"ERREUR échec du virement {rng.randrange(10**9)} de {rng.randrange(10**4)},50 €",
    lambda rng: f"INFO virement {rng.randrange(10**9)} de {rng.randrange(10**4)},50 € accepté",
]


def hours_of(seed: int, hours: int) -> list[list[LogLine]]:
    rng = random.Random(seed)
    return [
        [
            LogLine(
                at=START + hour * 3600 + rng.randrange(3600),
                component=f"web{rng.randrange(3)}",
                text=rng.choice(APPLICATION)(rng),
            )
            for _ in range(150)
        ]
        for hour in range(hours)
    ]


def test_opposite_sentences_are_two_templates_and_values_are_none() -> None:
    counts = counting(ListLogs(hours_of(1, 1)[0]))
    frame_of(counts)
    assert (
        set(templates(counts).values())
        == {
            "INFO request <num> from <ip> served in <duration>",
            *(f"WARN slow query took <duration> on table {table}" for table in ("orders", "clients", "payments")),
            "ERROR connection to database db<num> refused after <num> tries",
            "INFO session <hex> opened for user <user>",
            "INFO session <hex> closed for user <user>",
            "ERREUR échec du virement <num> de <num> €",
            "INFO virement <num> de <num> € accepté",
        }
        or len(set(templates(counts))) == 7
    )


def test_other_values_in_another_order_lead_to_the_same_templates() -> None:
    def ids(seed: int) -> set[str]:
        counts = counting(ListLogs(hours_of(seed, 1)[0]))
        frame_of(counts)
        return set(templates(counts))

    assert ids(1) == ids(2) == ids(3)


def read_all(counts: LogCounts, source: ListLogs, hours: int) -> None:
    for hour in range(hours):
        counts.collect(
            SeriesIndex([SeriesKey("web1", "log.lines")]), Window(START + hour * 3600, START + hour * 3600 + 3600, SPAN)
        )


def test_after_a_restart_every_template_has_its_name_and_its_counts(tmp_path: Path) -> None:
    source = ListLogs([one for hour in hours_of(4, 6) for one in hour])
    straight, stopped = counting(source), counting(source, tmp_path)
    read_all(straight, source, 6)
    for hour in range(6):
        stopped = counting(source, tmp_path)
        window = Window(START + hour * 3600, START + hour * 3600 + 3600, SPAN)
        stopped.collect(SeriesIndex([SeriesKey("web1", "log.lines")]), window)
        stopped.learner.save()
    assert stopped.discover() == straight.discover()
    index = SeriesIndex(straight.discover())
    six = Window(START, START + 6 * 3600, SPAN)
    np.testing.assert_array_equal(stopped.collect(index, six).values, straight.collect(index, six).values)


def test_a_template_keeps_its_name_when_it_is_widened() -> None:
    source = ListLogs([line(1, "INFO job alpha ended with result good today")])
    counts = counting(source)
    frame_of(counts)
    (name,) = templates(counts)
    source.lines += [
        line(2, "INFO job beta ended with result good today"),
        line(3, "INFO job gamma ended with result poor today"),
    ]
    frame = frame_of(counts)
    assert templates(counts).keys() == {name}
    assert total(frame, f"log.template.{name}") == 3
    assert counts.learner.text_of(name) == "INFO job <*> ended with result <*> today"


def test_a_line_that_a_deployment_rewords_stays_the_same_template() -> None:
    source = ListLogs([line(minute, f"ERROR Failed to connect to 10.0.0.{minute} within 3 s") for minute in range(30)])
    counts = counting(source)
    counts.collect(SeriesIndex(counts.discover()), Window(START, START + 1800, SPAN))
    (name,) = templates(counts)
    source.lines += [line(minute, f"ERROR Failed to connect to database 10.0.0.{minute} within 3 s") for minute in range(30, 60)]
    frame = frame_of(counts)
    assert templates(counts).keys() == {name}
    assert row(frame, f"log.template.{name}") == [1] * 60
    assert total(frame, "log.new") == 30  # the first half hour; not the second
    (rewrite,) = counts.learner.rewrites
    assert (rewrite.name, rewrite.before) == (name, "ERROR Failed to connect to <ip> within <duration>")
    assert rewrite.after == "ERROR Failed to connect to database <ip> within <duration>"


def test_two_lines_that_live_side_by_side_are_two_templates() -> None:
    source = ListLogs([line(minute, "ERROR Failed to connect to 10.0.0.1 within 3 s") for minute in range(60)])
    counts = counting(source)
    counts.collect(SeriesIndex(counts.discover()), Window(START, START + 1800, SPAN))
    source.lines += [line(minute + 0.5, "ERROR Failed to connect to database 10.0.0.1 within 3 s") for minute in range(30, 59)]
    frame_of(counts)
    assert len(templates(counts)) == 2
    assert counts.learner.rewrites == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text("ab <>*=\n\té1", max_size=30), max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_lines_in_an_answer_does_not_matter(texts: list[str], rng: random.Random) -> None:
    lines = [line(place % 7, text) for place, text in enumerate(texts)]
    shuffled = lines[:]
    rng.shuffle(shuffled)
    one, other = counting(ListLogs(lines)), counting(ListLogs(shuffled))
    first, second = frame_of(one), frame_of(other)
    assert first.index == second.index
    np.testing.assert_array_equal(first.values, second.values)
    assert total(first, "log.lines") == len(lines) if lines else True


# --- bounds -----------------------------------------------------------------------------------------------------------------


def noise(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join("".join(rng.choices(string.ascii_letters, k=6)) for _ in range(rng.randrange(2, 9))) for _ in range(count)]


def test_random_lines_are_counted_in_bounded_memory_and_time() -> None:
    source = ListLogs([line(place * 60 / 20_000, text) for place, text in enumerate(noise(20_000))])
    counts = counting(source, max_templates=500, templates=20)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frame = frame_of_once(counts)
    assert time.process_time() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    assert len(frame.index) <= 20 + 12
    assert len(counts.learner._miner.templates) <= 500
    assert total(frame, "log.lines") == 20_000
    parts = [metric for _, metric in ((key.component, key.metric) for key in frame.index) if metric.startswith("log.template.")]
    assert sum(total(frame, metric) for metric in parts) == pytest.approx(20_000)


def frame_of_once(counts: LogCounts) -> Frame:
    batchless = SeriesIndex([SeriesKey("web1", "log.lines")])
    counts.collect(batchless, Window(START, START + 60, SPAN))
    return counts.collect(SeriesIndex(counts.discover()), HOUR)


def test_noise_does_not_wash_out_what_is_well_known() -> None:
    steady = [line(minute, "INFO request served") for minute in range(60) for _ in range(3)]
    source = ListLogs([*steady, *(line(30 + place / 1000, text) for place, text in enumerate(noise(2000)))])
    counts = counting(source, max_templates=50)
    counts.collect(SeriesIndex([SeriesKey("web1", "log.lines")]), Window(START, START + 600, SPAN))
    (name,) = templates(counts)
    frame = frame_of(counts)
    assert row(frame, f"log.template.{name}") == [3] * 60


def test_beyond_the_cap_of_a_component_lines_are_others() -> None:
    source = ListLogs(
        [line(minute, f"INFO {letter * 3} {letter * 4} {letter * 5}") for minute in range(10) for letter in "abcdef"]
    )
    counts = counting(source, templates=2)
    frame = frame_of(counts)
    assert len(templates(counts)) == 3
    assert total(frame, "log.template.other") == 40


def test_a_template_that_is_long_gone_gives_its_place_to_another() -> None:
    source = ListLogs([line(0, "INFO aaa bbb ccc"), line(120, "INFO ddd eee fff")])
    counts = counting(source, templates=1, forget="1h")
    counts.collect(SeriesIndex([SeriesKey("web1", "log.lines")]), HOUR)
    counts.collect(SeriesIndex([SeriesKey("web1", "log.lines")]), Window(START + 7200, START + 10_800, SPAN))
    assert list(templates(counts).values()) == ["INFO ddd eee fff"]


def test_there_are_no_more_components_than_the_cap() -> None:
    source = ListLogs([line(1, "INFO a", component=f"web{number}") for number in range(20)])
    counts = counting(source, max_components=5)
    assert len(frame_of(counts).index.components) == 5
    assert counts.learner.registry.cut > 0


# --- what is remembered ---------------------------------------------------------------------------------------------------


def test_personal_data_are_neither_kept_nor_shown(tmp_path: Path) -> None:
    secrets = [
        "alice",
        "hunter2",
        "4111 1111 1111 1111",
        "FR7630006000011234567890189",
        "bob@example.com",
        "10.1.2.3",
        "06 12 34 56 78",
    ]
    text = "ERROR user=alice password=hunter2 card 4111 1111 1111 1111 iban FR7630006000011234567890189"
    text += " bob@example.com 10.1.2.3 06 12 34 56 78"
    counts = counting(ListLogs([line(1, text)]), tmp_path)
    counts.collect(SeriesIndex(counts.discover()), HOUR)
    counts.learner.save()
    shown = [counts.example(key) for key in counts.discover()] + [(tmp_path / "templates.json").read_text()]
    assert any("user=<user> password=<secret> card <card> iban <iban> <email> <ip> <phone>" in one for one in shown)
    assert not [secret for secret in secrets for one in shown if secret in one]


def test_only_the_owner_may_read_what_is_remembered(tmp_path: Path) -> None:
    counts = counting(ListLogs([line(1, "INFO a b")]), tmp_path)
    counts.collect(SeriesIndex(counts.discover()), HOUR)
    assert (tmp_path / "templates.json").stat().st_mode & 0o077 == 0


def state_file(folder: Path) -> Path:
    counts = counting(ListLogs(hours_of(1, 1)[0]), folder)
    counts.collect(SeriesIndex(counts.discover()), HOUR)
    counts.learner.save()
    return folder / "templates.json"


SPOILT: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("cut", lambda data: data[: len(data) // 2]),
    ("empty", lambda data: b""),
    ("not json", lambda data: b"\xff\x00 no"),
    ("deep", lambda data: b"[" * 100_000),
    ("a list", lambda data: b"[]"),
    ("another format", lambda data: data.replace(b'"format":1', b'"format":99')),
    ("a pickle's idea", lambda data: b'{"py/object": "os.system", "format": 1}'),
    ("wrong types", lambda data: data.replace(b'"seen":', b'"seen":"x","y":')),
    ("control characters", lambda data: data.replace(b"ERROR", b"\\u001b[31m")),
    ("names that are none", lambda data: data.replace(b'"name":"', b'"name":"../')),
    ("huge numbers", lambda data: data.replace(b'"first":1', b'"first":1' + b"0" * 30)),
    ("negative", lambda data: data.replace(b'"used":', b'"used":-')),
]


@pytest.mark.parametrize(("how", "spoil"), SPOILT, ids=[how for how, _ in SPOILT])
def test_a_spoilt_memory_is_left_behind_and_said(tmp_path: Path, how: str, spoil: Callable[[bytes], bytes]) -> None:
    path = state_file(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    counts = counting(ListLogs(hours_of(1, 1)[0]), tmp_path)
    assert len(counts.discover()) > 10, how
    assert [sentence for sentence in counts.check() if "learnt anew" in sentence]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_whatever_stands_in_the_file_nothing_breaks(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = state_file(tmp_path_factory.mktemp("state"))
    body = json.loads(path.read_bytes())
    anything = st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    place: object = body
    for _ in range(data.draw(st.integers(1, 4))):
        if isinstance(place, dict) and place:
            key = data.draw(st.sampled_from(sorted(place)))
            if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
                place[key] = data.draw(anything)
                break
            place = place[key]
        elif isinstance(place, list) and place:
            number = data.draw(st.integers(0, len(place) - 1))
            if not isinstance(place[number], dict | list):
                place[number] = data.draw(anything)
                break
            place = place[number]
    path.write_text(json.dumps(body))
    counts = counting(ListLogs(hours_of(1, 1)[0]), path.parent)
    frame = counts.collect(SeriesIndex(counts.discover()), HOUR)
    assert total(frame, "log.lines", "web0") > 0


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "templates.new").mkdir()
    counts = counting(ListLogs([line(1, "INFO a b")]), tmp_path)
    assert total(frame_of(counts), "log.lines") == 1
    assert [sentence for sentence in counts.check() if "cannot be written" in sentence]


# --- entries of many lines ---------------------------------------------------------------------------------------------------

JAVA = """2026-01-01 00:00:01 ERROR Servlet failed
java.lang.IllegalStateException: cannot pay
\tat com.bank.Pay.run(Pay.java:17)
\tat com.bank.Main.main(Main.java:3)
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.net.Socket.read(Socket.java:1)
\t... 12 more"""
PYTHON = """ERROR job failed
Traceback (most recent call last):
  File "/opt/app/job.py", line 12, in run
    connect()
ConnectionRefusedError: [Errno 111] Connection refused"""
DOTNET = """Unhandled exception. System.InvalidOperationException: no sequence
   at Bank.Pay.Run() in C:\\src\\Pay.cs:line 17
   --- End of inner exception stack trace ---
   at Bank.Main()"""
NODE = """Error: connect ECONNREFUSED 10.0.0.1:5432
    at TCPConnectWrap.afterConnect [as oncomplete] (net.js:1141:16)
    at async run (/app/x.js:3:1) {
  errno: -111
}"""
GO = """panic: runtime error: index out of range
goroutine 1 [running]:
main.main()
\t/app/main.go:12 +0x1d
exit status 2"""


@pytest.mark.parametrize("trace", [JAVA, PYTHON, DOTNET, NODE], ids=["java", "python", "dotnet", "node"])
def test_a_stack_trace_is_one_entry(trace: str) -> None:
    parts = [*trace.splitlines(), "2026-01-01 00:00:02 INFO next"]
    lines = [line(1 + place / 6000, text) for place, text in enumerate(parts)]
    entries = join(lines, range(len(lines)))
    wanted = 2 + ("java" in trace.splitlines()[1][:5])
    assert len(entries) <= wanted
    assert sorted(place for entry in entries for place in entry.lines) == list(range(len(lines)))


def test_a_trace_in_lines_and_a_trace_in_one_text_are_the_same_template() -> None:
    one = counting(ListLogs([line(1, PYTHON)]))
    many = counting(ListLogs([line(1 + place / 6000, text) for place, text in enumerate(PYTHON.splitlines())]))
    first, second = frame_of(one), frame_of(many)
    assert templates(one) == templates(many)
    assert list(templates(one).values()) == ["ERROR job failed | ConnectionRefusedError: [Errno <num>] Connection refused"]
    assert (total(first, "log.lines"), total(second, "log.lines")) == (1, 5)
    assert total(second, "log.level.error") == 5


def test_frames_do_not_make_another_template() -> None:
    def built(number: int) -> str:
        return JAVA.replace("Pay.java:17", f"Pay.java:{number}").replace(
            "at com.bank.Pay.run", f"at com.bank.Pay.lambda$run${number}"
        )

    counts = counting(ListLogs([line(number, built(number)) for number in range(5)]))
    frame_of(counts)
    assert len(templates(counts)) == 1


def test_an_entry_is_bounded() -> None:
    lines = [line(1, "ERROR x"), *(line(1, "  at y") for _ in range(1000))]
    entries = join(lines, range(len(lines)))
    assert max(len(entry.lines) for entry in entries) <= 200
    assert len(join([line(1, "ERROR x"), line(2, "  at y")], range(2))) == 2


# --- levels -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "level"),
    [
        *(
            ("ERROR", "error"),
            ("err", "error"),
            ("Erreur", "error"),
            ("SEVERE", "error"),
            ("3", "error"),
            ("[ERROR]", "error"),
            ("E", "error"),
        ),
        *(("WARN", "warning"), ("Avertissement", "warning"), ("warning", "warning"), ("4", "warning"), ("40", "warning")),
        *(
            ("FATAL", "critical"),
            ("critique", "critical"),
            ("emerg", "critical"),
            ("0", "critical"),
            ("60", "critical"),
            ("alert", "critical"),
        ),
        *(("INFO", "info"), ("notice", "info"), ("Information", "info"), ("6", "info"), ("Audit Success", "info")),
        *(("DEBUG", "debug"), ("trace", "debug"), ("FINEST", "debug"), ("debug1", "debug"), ("débogage", "debug")),
        *(("", ""), ("banana", ""), ("99", ""), ("échec", "error")),
    ],
)
def test_level_words_of_many_systems(word: str, level: str) -> None:
    assert level_of(word) == level


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2026-01-01 00:00:01 ERREUR connexion refusée", "error"),
        ("2026-01-01 00:00:01 [warn] slow", "warning"),
        ("<11>Jan 1 00:00:00 host app: x", "error"),
        ("level=warning msg=x", "warning"),
        ("Error: connect ECONNREFUSED", "error"),
        ("[core:error] [pid 12] AH00124", "unknown"),
        ("Traceback (most recent call last):", "error"),
        ("the error rate is fine", "unknown"),
        ("GET /error HTTP/1.1 200", "unknown"),
        ("AVERTISSEMENT : disque plein", "warning"),
        ("java.lang.NullPointerException", "error"),
        ("", "unknown"),
    ],
)
def test_a_line_without_a_level_tells_it_itself(text: str, level: str) -> None:
    assert level_in(text) == level


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_every_text_has_a_level(text: str) -> None:
    assert level_in(text) in LEVELS
    assert level_of(text) in (*LEVELS, "")


def test_an_incident_shows_a_masked_line_of_the_source_it_came_from() -> None:
    counts = counting(ListLogs([line(1, "ERROR cannot connect to 10.0.0.1 for user bob")]))
    counts.discover()
    intake = Intake([Source(name="files", collector=ListCollector({})), Source(name="logs", collector=counts)], {})
    for metric in ("log.level.error", "log.new"):
        assert intake.example(SeriesKey("web1", metric)) == "ERROR cannot connect to <ip> for user <user>"
    assert intake.example(SeriesKey("web1", "cpu")) == ""
    anomaly = Anomaly(
        metric="log.new",
        unit="",
        value=42.0,
        expected=0.0,
        lower=0.0,
        upper=1.0,
        surprise=7.0,
        share=1.0,
        at=START,
        example="cannot connect\x1b[2J to <ip>",
    )
    incident = replace(an_incident(), anomalies=(anomaly,))
    told = story(load(ROOT / "config/tocsin.yaml", environment={}), incident, [])
    assert "such as: cannot connect [2J to <ip>" in told


def an_incident() -> Incident:
    return Incident(
        id="x",
        component_type="web",
        component="web1",
        signature="anomaly",
        phase=Phase.OPEN,
        severity=Severity.CRITICAL,
        since=START,
        opened=START,
        last_bad=START,
        surprise=7.0,
        peak=7.0,
        version=1,
    )


# --- remote sources ------------------------------------------------------------------------------------------------------------


class Remote(ListLogs):
    closed = False

    def lag(self) -> float | None:
        return 12.0

    def probe(self, now: float) -> Probe:
        return Probe(version="1", samples=("user=alice in",))

    def close(self) -> None:
        self.closed = True


def test_a_remote_source_makes_a_remote_collector_and_its_samples_are_masked(tmp_path: Path) -> None:
    source = Remote([line(1, "INFO a b")])
    counts = collector(source, LogSettings(), around(tmp_path))
    assert isinstance(counts, RemoteCollector)
    assert isinstance(counts, LogCollector)
    assert counts.lag() == 12
    assert counts.probe(0).samples == ("user=<user> in",)
    counts.discover()
    counts.close()
    assert source.closed
    assert (tmp_path / "templates.json").exists()
    assert not isinstance(collector(ListLogs([]), LogSettings(), around()), RemoteCollector)
