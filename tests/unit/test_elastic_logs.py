"""Log entries are counted where they are, and of their text travels what may."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.elastic import PLUGIN, ElasticLogs, ElasticSettings
from tests.elastic_fake import Answer, Asked, FakeElastic, bomb, failed_shards, status
from tests.elastic_servers import KEYWORD, TEXT, fill, small_server
from tocsin.errors import TransientError
from tocsin.model import SeriesIndex, Window
from tocsin.ports import LogCollector, Mannered, RemoteCollector, RemoteLogSource, Surroundings
from tocsin.timegrid import Calendar

SPAN, START = 60, 1_795_200_000
WINDOW = Window(START, START + 10 * SPAN, SPAN)
NOW = WINDOW.end + 5
FIELDS = {"message": TEXT, "log": {"properties": {"level": KEYWORD}}}


def entries() -> list[dict[str, Any]]:
    """Ten minutes: web1 says 30 things a minute, a tenth of them errors; web2 one a minute without level, two a minute later."""
    found: list[dict[str, Any]] = []
    for bucket, start in enumerate(WINDOW.starts.tolist()):
        for number in range(30):
            level = "ERROR" if number % 10 == 0 else "info"
            text = (
                f"request {bucket}-{number} took {number} ms"
                if level == "info"
                else f"cannot reach db {number}\n  at Main.java:1"
            )
            found.append(
                {"@timestamp": (start + number) * 1000, "host": {"name": "web1"}, "message": text, "log": {"level": level}}
            )
        for number in range(1 + (bucket > 5)):
            found.append({"@timestamp": (start + number) * 1000 + 7, "host": {"name": "web2"}, "message": "tick"})
    return found


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    with small_server() as server:
        fill(server.url, "logs-a", entries(), FIELDS)
        yield server.url


@pytest.fixture(params=["elasticsearch", "opensearch"])
def fake(behind: str, request: pytest.FixtureRequest) -> Iterator[FakeElastic]:
    with FakeElastic(behind, flavour=request.param) as running:
        yield running


def around(folder: Path) -> Surroundings:
    return Surroundings(
        component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics={}, folder=folder, memory=folder / "memory"
    )


def settings(fake: FakeElastic, **limits: int) -> ElasticSettings:
    bounds = {"retries": 0, "per_second": 1000, "timeout": 20, "page": 100, **limits}
    return ElasticSettings.model_validate({"hosts": fake.url, "index": "logs-*", "logs": True, "limits": bounds})


@pytest.fixture
def source(fake: FakeElastic, tmp_path: Path) -> Iterator[ElasticLogs]:
    made = ElasticLogs(settings(fake), around(tmp_path), clock=lambda: NOW)
    yield made
    made.close()


def test_every_entry_is_counted_and_all_text_read_when_it_may_travel(source: ElasticLogs) -> None:
    batch = source.read(WINDOW)
    assert {key: numbers.tolist() for key, numbers in batch.counts.items()} == {
        ("web1", "error"): [3] * 10,
        ("web1", "info"): [27] * 10,
        ("web2", ""): [1] * 6 + [2] * 4,
    }
    assert batch.known.all()
    assert len(batch.lines) == 314
    assert [line.at for line in batch.lines] == sorted(line.at for line in batch.lines)
    wanted = sorted((entry["@timestamp"] / 1000, entry["host"]["name"], entry["message"]) for entry in entries())
    assert sorted((line.at, line.component, line.text) for line in batch.lines) == wanted
    assert Counter(line.level for line in batch.lines) == {"info": 270, "error": 30, "": 14}


def test_more_text_than_may_travel_is_a_sample_that_favours_no_bucket(fake: FakeElastic, tmp_path: Path) -> None:
    source = ElasticLogs(settings(fake, max_lines=100), around(tmp_path), clock=lambda: NOW)
    batch = source.read(WINDOW)
    assert sum(int(numbers.sum()) for numbers in batch.counts.values()) == 314
    assert len(batch.lines) == 100
    assert len({(line.at, line.component, line.text) for line in batch.lines}) == 100
    buckets = Counter(int(line.at - START) // SPAN for line in batch.lines)
    assert len(buckets) == 10
    assert max(buckets.values()) < 25
    assert source.read(WINDOW).lines == batch.lines
    source.close()


def test_the_same_window_asks_for_its_text_in_pages_of_one_point_in_time(source: ElasticLogs, fake: FakeElastic) -> None:
    source.read(WINDOW)
    paths = [one.path.partition("?")[0] for one in fake.asked if one.path != "/"]
    spelled = "/_search/point_in_time" if fake.flavour == "opensearch" else "/_pit"
    assert paths == ["/logs-*/_search", f"/logs-*{spelled}", "/_search", spelled]
    assert fake.asked[-1].method == "DELETE"


def test_text_that_is_too_much_at_once_comes_in_smaller_pages(source: ElasticLogs, fake: FakeElastic) -> None:
    def no_more_than_200(asked: Asked) -> Answer | None:
        return bomb(40_000_000)(asked) if b'"pit"' in asked.body and asked.json["size"] > 200 else None

    fake.always = no_more_than_200
    assert len(source.read(WINDOW).lines) == 314
    assert [one.json["size"] for one in fake.asked if b'"pit"' in one.body] == [1000, 500, 250, 125, 125, 125]


def test_without_text_the_counts_stay(source: ElasticLogs, fake: FakeElastic) -> None:
    fake.always = lambda asked: status(500, {"error": "no text"})(asked) if b'"pit"' in asked.body else None
    batch = source.read(WINDOW)
    assert batch.known.all()
    assert sum(int(numbers.sum()) for numbers in batch.counts.values()) == 314
    assert batch.lines == []
    assert "the lines were counted, but their text was not read" in source.manners.state.reason
    assert fake.asked[-1].method == "DELETE"


def test_counts_of_a_part_of_the_documents_are_not_known(source: ElasticLogs, fake: FakeElastic) -> None:
    fake.spoil = failed_shards
    assert not source.read(WINDOW).known.any()
    fake.spoil = None
    assert source.read(WINDOW).known.all()


def test_a_source_that_cannot_count_says_so(source: ElasticLogs, fake: FakeElastic) -> None:
    source.reach()
    fake.always = status(503)
    with pytest.raises(TransientError, match="answered 503"):
        source.read(WINDOW)


def test_how_far_it_reaches(source: ElasticLogs) -> None:
    assert source.reach() == (START, START + 9 * SPAN + 29)
    assert source.check() == []


def test_a_person_who_asks_sees_version_rights_lines_and_cost(source: ElasticLogs, fake: FakeElastic) -> None:
    told = source.probe(NOW)
    assert told.version == {"elasticsearch": "Elasticsearch 9.3.0", "opensearch": "OpenSearch 3.8.0"}[fake.flavour]
    assert told.rights[:2] == ("read: yes", "view_index_metadata: yes")
    assert any("request" in sample for sample in told.samples)
    assert "4 requests" in told.cost
    assert told.warnings == ()


def test_with_logs_the_plugin_counts_lines(fake: FakeElastic, tmp_path: Path) -> None:
    collector = PLUGIN.build(settings(fake), around(tmp_path))
    assert isinstance(collector, LogCollector)
    assert isinstance(collector, RemoteCollector)
    assert isinstance(collector, Mannered)
    index = sorted(collector.discover())
    keys = [key for key in index if key.component == "web1" and key.metric in ("log.lines", "log.level.error")]
    frame = collector.collect(SeriesIndex(keys), WINDOW)
    np.testing.assert_array_equal(frame.values, [[3] * 10, [30] * 10])
    collector.close()


def test_it_is_what_the_port_says(source: ElasticLogs) -> None:
    assert isinstance(source, RemoteLogSource)
    json.dumps([line.text for line in source.read(WINDOW).lines])
