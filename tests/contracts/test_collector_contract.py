"""What every collector promises. A new collector joins by one line in `SOURCES`: how to make a source of samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectors.centreon import Centreon, CentreonSettings
from collectors.elastic import ElasticCollector, ElasticSettings
from collectors.files import PLUGIN as FILES
from collectors.files import FilesSettings
from collectors.splunk import Splunk, SplunkSettings
from tests.centreon_fake import centreon
from tests.elastic_servers import NUMBER, fill, small_server
from tests.fakes import ListCollector
from tests.splunk_fake import Fake
from tocsin.errors import TransientError
from tocsin.model import SeriesIndex, SeriesKey, Window
from tocsin.ports import Collector, Surroundings
from tocsin.timegrid import Calendar

Samples: TypeAlias = Mapping[SeriesKey, Mapping[int, float]]
SPAN, START = 300, 1_767_225_600


@dataclass(frozen=True, kw_only=True)
class Source:
    """A collector over known samples, how to make its source fail, and what to do in the end."""

    collector: Collector
    breaks: Callable[[], None]
    closes: Callable[[], None] = lambda: None


def around(folder: Path) -> Surroundings:
    return Surroundings(component_type="web", calendar=Calendar("Europe/Paris"), span=SPAN, metrics={}, folder=folder)


def a_list(folder: Path, samples: Samples) -> Source:
    collector = ListCollector(samples)

    def breaks() -> None:
        collector.error = TransientError("it is down")

    return Source(collector=collector, breaks=breaks)


def long_files(folder: Path, samples: Samples) -> Source:
    data = folder / "data"
    data.mkdir()
    rows = [f"{key.component},{key.metric},{time},{value}" for key, values in samples.items() for time, value in values.items()]
    (data / "all.csv").write_text("component,metric,timestamp,value\n" + "".join(row + "\n" for row in rows))
    return Source(collector=FILES.build(FilesSettings(path="data/*.csv"), around(folder)), breaks=lambda: shutil.rmtree(data))


def wide_files(folder: Path, samples: Samples) -> Source:
    data = folder / "data"
    data.mkdir()
    for component in {key.component for key in samples}:
        metrics = {key.metric: values for key, values in samples.items() if key.component == component}
        lines = ["timestamp," + ",".join(metrics)]
        for time in sorted({time for values in metrics.values() for time in values}):
            lines.append(f"{time}," + ",".join(str(values.get(time, "")) for values in metrics.values()))
        (data / f"{component}.csv").write_text("\n".join(lines) + "\n")
    return Source(collector=FILES.build(FilesSettings(path="data"), around(folder)), breaks=lambda: shutil.rmtree(data))


def parquet_files(folder: Path, samples: Samples) -> Source:
    data = folder / "data"
    data.mkdir()
    rows = [(key.component, key.metric, time, value) for key, values in samples.items() for time, value in values.items()]
    columns = dict(zip(("component", "metric", "timestamp", "value"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), data / "all.parquet", row_group_size=10)
    return Source(collector=FILES.build(FilesSettings(path="data"), around(folder)), breaks=lambda: shutil.rmtree(data))


def elasticsearch(folder: Path, samples: Samples) -> Source:
    server = small_server()
    documents: dict[tuple[str, int], dict[str, Any]] = {}
    for key, values in samples.items():
        for time, value in values.items():
            document = documents.setdefault((key.component, time), {"@timestamp": time * 1000, "host": {"name": key.component}})
            document[key.metric] = value
    fill(server.url, "metrics-a", documents.values(), {"cpu": NUMBER, "latency.p95": NUMBER})
    settings = ElasticSettings.model_validate(
        {"hosts": server.url, "index": "metrics-*", "limits": {"retries": 0, "page": 100, "per_second": 1000}}
    )
    newest = max(time for values in samples.values() for time in values)
    return Source(collector=ElasticCollector(settings, around(folder), clock=lambda: newest + SPAN), breaks=server.close)


def splunk(folder: Path, samples: Samples) -> Source:
    fake = Fake()
    fake.states, fake.now = ["DONE"], max(time for values in samples.values() for time in values) + SPAN
    for key, values in samples.items():
        for time, value in values.items():
            fake.samples.point(time, key.metric, value, host=key.component)
    stack = ExitStack()
    port = stack.enter_context(fake.running())
    token = folder / "token"
    token.write_text(fake.token)
    settings = SplunkSettings.model_validate(
        {
            "host": "127.0.0.1",
            "port": port,
            "scheme": "http",
            "auth": {"token": f"file:{token}"},
            "index": "em_metrics",
            "fields": {"cpu": "cpu", "latency.p95": "latency.p95"},
            "limits": {"retries": 0, "per_second": 100},
        }
    )
    collector = Splunk(settings, around(folder))

    def closes() -> None:
        collector.close()
        stack.close()

    return Source(collector=collector, breaks=stack.close, closes=closes)


def centreon_api(folder: Path, samples: Samples) -> Source:
    """Through the Web API; its database holds the same in `tests/integration`."""
    newest = max(time for values in samples.values() for time in values)
    stack = ExitStack()
    fake = stack.enter_context(centreon(now=lambda: newest + SPAN))
    for component in sorted({key.component for key in samples}):
        service = fake.service(fake.host(component), "Checks")
        service.samples = {key.metric: dict(values) for key, values in samples.items() if key.component == component}
    token = folder / "token"
    token.write_text(fake.API_TOKEN)
    settings = CentreonSettings.model_validate(
        {
            "api": {"url": fake.url, "token": f"file:{token}"},
            "fields": {"cpu": "cpu", "latency.p95": "latency.p95"},
            "valid_for": "0s",
            "discover_every": "0s",
            "limits": {"retries": 0, "per_second": 1000},
        }
    )
    collector = Centreon(settings, around(folder), now=lambda: newest + SPAN)

    def closes() -> None:
        collector.close()
        stack.close()

    return Source(collector=collector, breaks=stack.close, closes=closes)


SOURCES = [a_list, long_files, wide_files, parquet_files, elasticsearch, splunk, centreon_api]


def some_samples() -> dict[SeriesKey, dict[int, float]]:
    """Two components with different metrics, one bucket a value; `web2` has a hole of ten buckets."""
    rng = np.random.default_rng(3)
    keys = [SeriesKey("web1", "cpu"), SeriesKey("web1", "latency.p95"), SeriesKey("web2", "cpu")]
    samples = {key: {START + bucket * SPAN: float(rng.integers(0, 1000)) / 8 for bucket in range(40)} for key in keys}
    for bucket in range(10, 20):
        del samples[keys[2]][START + bucket * SPAN]
    return samples


WINDOW = Window(START - 2 * SPAN, START + 42 * SPAN, SPAN)


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    made: Source = request.param(tmp_path, some_samples())
    yield made
    made.closes()


def test_every_series_is_discovered_once(source: Source) -> None:
    found = list(source.collector.discover())
    assert sorted(found) == sorted(some_samples())


def test_every_value_arrives_in_its_bucket_and_nothing_else(source: Source) -> None:
    index = SeriesIndex(some_samples())
    frame = source.collector.collect(index, WINDOW)
    wanted = np.full((len(index), len(WINDOW)), np.nan)
    for key, values in some_samples().items():
        for time, value in values.items():
            wanted[index.rows[key], (time - WINDOW.start) // SPAN] = value
    np.testing.assert_array_equal(frame.values, wanted)
    assert frame.index == index
    assert frame.window == WINDOW


def test_a_gap_in_the_data_is_known_to_be_a_gap(source: Source) -> None:
    index = SeriesIndex(some_samples())
    assert source.collector.collect(index, WINDOW).known.all()


def test_a_series_the_source_does_not_have_is_no_data(source: Source) -> None:
    index = SeriesIndex([*some_samples(), SeriesKey("nobody", "cpu"), SeriesKey("web2", "latency.p95")])
    frame = source.collector.collect(index, WINDOW)
    for key in (SeriesKey("nobody", "cpu"), SeriesKey("web2", "latency.p95")):
        assert np.isnan(frame.values[index.rows[key]]).all()
        assert frame.known[index.rows[key]].all()


def test_a_part_of_the_series_gives_a_part_of_the_frame(source: Source) -> None:
    whole, part = SeriesIndex(some_samples()), SeriesIndex([SeriesKey("web2", "cpu")])
    frame = source.collector.collect(whole, WINDOW)
    np.testing.assert_array_equal(source.collector.collect(part, WINDOW).values, frame.values[part.rows_in(whole)])


def test_windows_side_by_side_make_the_whole(source: Source) -> None:
    index = SeriesIndex(some_samples())
    whole = source.collector.collect(index, WINDOW)
    tiles = [Window(start, min(start + 7 * SPAN, WINDOW.end), SPAN) for start in range(WINDOW.start, WINDOW.end, 7 * SPAN)]
    values = np.concatenate([source.collector.collect(index, tile).values for tile in tiles], axis=1)
    np.testing.assert_array_equal(values, whole.values)


def test_asking_twice_gives_the_same(source: Source) -> None:
    index = SeriesIndex(some_samples())
    first, second = (source.collector.collect(index, WINDOW) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)


def test_nothing_asked_is_nothing_answered(source: Source) -> None:
    assert source.collector.collect(SeriesIndex([]), WINDOW).values.shape == (0, len(WINDOW))
    index = SeriesIndex(some_samples())
    assert source.collector.collect(index, Window(START, START, SPAN)).values.shape == (len(index), 0)


def test_the_reach_is_the_first_and_last_value(source: Source) -> None:
    assert source.collector.reach() == (START, START + 39 * SPAN)


def test_a_source_that_is_down_says_so(source: Source) -> None:
    index = SeriesIndex(source.collector.discover())
    source.breaks()
    for ask in (source.collector.discover, source.collector.reach, lambda: source.collector.collect(index, WINDOW)):
        with pytest.raises(TransientError):
            ask()
