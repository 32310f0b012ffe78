"""Log entries of Splunk: exact counts, a sample of text that favours no bucket, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.splunk import PLUGIN, SplunkLogs, SplunkSettings
from tests.splunk_fake import Fake
from tests.splunk_served import Answer
from tocsin.errors import TransientError
from tocsin.model import SeriesIndex, SeriesKey, Window
from tocsin.ports import LogCollector, RemoteCollector, RemoteLogSource, Surroundings
from tocsin.timegrid import Calendar

NOON = 1_790_812_800
WINDOW = Window(NOON, NOON + 300, 60)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("SPLUNK_TOKEN", "good-token")
    made = Fake()
    made.now, made.states = NOON + 600, ["DONE"]
    for second in range(0, 300, 5):
        made.samples.event(NOON + second, f"GET /order/{second} took {second} ms", host="web1", log_level="INFO")
        if second % 60 == 0:
            made.samples.event(NOON + second + 1, "boom\n  at Main.java:3\n" + "x" * 20_000, host="web1", level="Error")
    made.samples.event(NOON + 70, "plain", host="web2")
    made.samples.event(NOON + 130, "twice", host="web2", severity=["WARN", "ERROR"])
    return made


@pytest.fixture
def port(fake: Fake) -> Iterator[int]:
    with fake.running() as port:
        yield port


def settings(port: int, **written: Any) -> SplunkSettings:
    given = {"host": "127.0.0.1", "port": port, "scheme": "http", "auth": {"token": "env:SPLUNK_TOKEN"}, "index": "web"}
    return SplunkSettings.model_validate(given | {"logs": True, "limits": {"per_second": 100, "retries": 0}} | written)


def around(folder: Path = Path()) -> Surroundings:
    return Surroundings(
        component_type="web", calendar=Calendar("Europe/Paris"), span=60, metrics={}, folder=folder, memory=folder
    )


@pytest.fixture
def source(port: int) -> Iterator[SplunkLogs]:
    made = SplunkLogs(settings(port, lines=4), around())
    yield made
    made.close()


def test_every_entry_is_counted_by_component_and_level(source: SplunkLogs) -> None:
    batch = source.read(WINDOW)
    assert {key: counts.tolist() for key, counts in batch.counts.items()} == {
        ("web1", "info"): [12] * 5,
        ("web1", "error"): [1] * 5,
        ("web2", ""): [0, 1, 0, 0, 0],
        ("web2", "warn"): [0, 0, 1, 0, 0],
    }
    assert batch.known.all()
    assert isinstance(source, RemoteLogSource)


def test_text_is_a_bounded_sample_of_each_bucket(source: SplunkLogs) -> None:
    lines = source.read(WINDOW).lines
    per_bucket = np.bincount([int(line.at - NOON) // 60 for line in lines])
    assert per_bucket.tolist() == [4, 4, 4, 4, 4]
    assert max(len(line.text) for line in lines) <= 8192
    assert {line.component for line in lines} <= {"web1", "web2"}


def test_counts_go_on_without_text(source: SplunkLogs, fake: Fake) -> None:
    source.read(WINDOW)
    fake.fault("POST .*/jobs$", lambda asked, honest: Answer(503) if "dedup" in asked.form["search"] else honest)
    batch = source.read(WINDOW)
    assert batch.known.all()
    assert batch.counts["web1", "info"].sum() == 60
    assert not batch.lines
    assert source.manners.state.kind == "degraded"


def test_counts_that_are_cut_are_not_known(source: SplunkLogs, fake: Fake) -> None:
    fake.messages = [("WARN", "The search results were truncated because the limit was reached")]
    batch = source.read(WINDOW)
    assert not batch.known.any()
    assert not batch.counts


def test_a_splunk_that_is_down_says_so(source: SplunkLogs, fake: Fake) -> None:
    fake.fault("", Answer(502, b"<html>bad gateway</html>", kind="text/html"))
    with pytest.raises(TransientError, match="answered 502 without a word of Splunk's own"):
        source.read(WINDOW)


def test_logs_true_makes_series_of_counts_and_keeps_an_example(port: int, tmp_path: Path) -> None:
    collector = PLUGIN.build(settings(port), around(tmp_path))
    assert isinstance(collector, LogCollector)
    assert isinstance(collector, RemoteCollector)
    keys = collector.discover()
    assert SeriesKey("web1", "log.level.error") in keys
    frame = collector.collect(SeriesIndex([SeriesKey("web1", "log.level.error"), SeriesKey("web1", "log.lines")]), WINDOW)
    assert frame.values.tolist() == [[1] * 5, [13] * 5]
    assert "boom" in collector.example(SeriesKey("web1", "log.level.error"))
    assert collector.reach() == (NOON, NOON + 295)
    collector.close()


def test_a_person_who_asks_sees_entries(source: SplunkLogs) -> None:
    probe = source.probe(float(NOON + 300))
    assert probe.samples[0].startswith("web1 info: GET /order/")
    assert probe.cost.startswith("2 series, 5 buckets: 8 requests, 32 rows, ")
