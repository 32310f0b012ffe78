"""What columns, cells and file names may look like."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from collectors.files import Files, FilesSettings
from tocsin.model import Aggregate, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

T0 = 1_700_000_000 // 60 * 60


def surroundings(folder: Path, zone: str = "UTC", metrics: tuple[Metric, ...] = ()) -> Surroundings:
    by_name = {metric.name: metric for metric in metrics}
    return Surroundings(component_type="t", calendar=Calendar(zone), span=60, metrics=by_name, folder=folder)


def files(folder: Path, zone: str = "UTC", metrics: tuple[Metric, ...] = (), **settings: Any) -> Files:
    return Files(FilesSettings.model_validate({"path": ".", **settings}), surroundings(folder, zone, metrics))


def values(source: Files, start: int = T0, buckets: int = 3) -> dict[str, list[float | None]]:
    """Every series the source has, as lists with None for NaN."""
    index = SeriesIndex(source.discover())
    frame = source.collect(index, Window(start, start + 60 * buckets, 60))
    told = {}
    for key, row in zip(index, frame.values.tolist(), strict=True):
        told[f"{key.component}/{key.metric}"] = [None if np.isnan(value) else value for value in row]
    return told


def test_a_wide_file_is_one_component_named_after_it(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu,disk\n{T0},1,2\n{T0 + 60},3,\n")
    assert values(files(tmp_path)) == {"web1/cpu": [1, 3, None], "web1/disk": [2, None, None]}


def test_a_long_file_names_its_components_itself(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(f"component,metric,timestamp,value\nweb1,cpu,{T0},1\nweb2,cpu,{T0 + 61},2\n")
    assert values(files(tmp_path)) == {"web1/cpu": [1, None, None], "web2/cpu": [None, 2, None]}


def test_the_columns_of_a_long_file_can_have_other_names(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(f"host,key,clock,num\nweb1,cpu,{T0},1\n")
    source = files(tmp_path, layout="long", component={"column": "host"}, metric="key", value="num", timestamp="clock")
    assert values(source) == {"web1/cpu": [1, None, None]}


def test_a_wide_file_can_hold_many_components_in_a_column(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(f"timestamp,host,cpu\n{T0},web1,1\n{T0},web2,2\n")
    assert values(files(tmp_path, component={"column": "host"})) == {"web1/cpu": [1, None, None], "web2/cpu": [2, None, None]}


@pytest.mark.parametrize(
    ("path", "component", "wanted"),
    [
        ("**", None, "cpu"),
        ("**", "{folder}", "web1"),
        ("**", "web-{folder}-{stem}", "web-web1-cpu"),
        ("**", "gateway", "gateway"),
        ("{component}/*.csv", None, "web1"),
        ("web?/{component}.csv", None, "cpu"),
        ("*/c[op]u.csv", None, None),
        ("[vw]eb1/*.csv", "{folder}", "web1"),
    ],
)
def test_the_path_names_the_component(tmp_path: Path, path: str, component: str | None, wanted: str | None) -> None:
    (tmp_path / "web1").mkdir()
    (tmp_path / "web1" / "cpu.csv").write_text(f"timestamp,value\n{T0},1\n")
    assert values(files(tmp_path, path=path, component=component)) == {f"{wanted or 'cpu'}/value": [1, None, None]}


def test_a_rotated_and_a_packed_file_keep_their_component(tmp_path: Path) -> None:
    (tmp_path / "web1.csv.1").write_text(f"timestamp,cpu\n{T0},1\n")
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\n{T0 + 60},2\n")
    (tmp_path / "web1.csv.2.gz").write_bytes(gzip.compress(f"timestamp,cpu\n{T0 - 60},3".encode()))
    assert values(files(tmp_path, path="*.csv*"), T0 - 60) == {"web1/cpu": [3, 1, 2]}


def test_the_label_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu,label\n{T0},1,anomalous\n")
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1, None, None]}
    assert not source.counts
    with pytest.raises(ValidationError, match="never read"):
        FilesSettings(path=".", value="label")


def test_only_the_metrics_asked_for_are_read_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,p95_ms,region\n{T0},80,eu\n")
    (tmp_path / "all.csv").write_text(f"component,metric,timestamp,value\nweb2,p95_ms,{T0},1\nweb2,noise,{T0},2\n")
    source = files(tmp_path, fields={"latency.p95": "p95_ms"})
    assert values(source) == {"web1/latency.p95": [80, None, None], "web2/latency.p95": [1, None, None]}
    assert not source.counts


def test_excluded_columns_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu,region\n{T0},1,eu\n")
    assert values(files(tmp_path, exclude=["region"])) == {"web1/cpu": [1, None, None]}


@pytest.mark.parametrize(
    "text",
    [
        "timestamp;cpu;disk\n{t};1,5;2\n",
        "timestamp\tcpu\tdisk\n{t}\t1.5\t2\n",
        "timestamp|cpu|disk\n{t}|1,5|2.0\n",
        '\ufefftimestamp,cpu,disk\r\n{t},"1.5", 2 \r\n',
        '"timestamp","cpu","disk"\n"{t}","1.5","2"\n',
        "\n\ntimestamp,cpu,disk\n\n{t},1.5,+2e0\n",
        "disk,Timestamp,cpu\n2,{t},1.5\n",
    ],
)
def test_separators_decimal_commas_quotes_and_marks(tmp_path: Path, text: str) -> None:
    (tmp_path / "web1.csv").write_bytes(text.format(t=T0).encode())
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1.5, None, None], "web1/disk": [2, None, None]}
    assert not source.counts


def test_a_decimal_comma_in_quotes_must_be_announced(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f'timestamp,cpu\n{T0},"1,5"\n')
    assert values(files(tmp_path)) == {"web1/cpu": [None, None, None]}
    assert values(files(tmp_path, decimal=",")) == {"web1/cpu": [1.5, None, None]}


def test_nothing_is_written_in_many_ways_and_never_zero(tmp_path: Path) -> None:
    cells = ["", "NaN", "null", "inf", "-Infinity", " ", "-"]
    (tmp_path / "web1.csv").write_text("timestamp,cpu\n" + "".join(f"{T0 + i},{cell}\n" for i, cell in enumerate(cells)))
    source = files(tmp_path, missing=["-"])
    assert values(source) == {"web1/cpu": [None, None, None]}
    assert not source.counts


def test_a_cell_that_is_no_number_is_no_value_and_counted(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu,disk\n{T0},n/a,1\n{T0 + 60},2,0x10\n")
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [None, 2, None], "web1/disk": [1, None, None]}
    assert source.counts == {"bad cells": 2}
    assert source.examples["bad cells"] == "web1.csv: cells that are no numbers: 2"


def test_samples_of_a_bucket_aggregate_as_their_metric_says(tmp_path: Path) -> None:
    aggregates = [aggregate for aggregate in Aggregate if aggregate.percent is None]  # percentiles are refused
    names = [aggregate.value for aggregate in aggregates]
    rows = [f"{T0 + second},{','.join([str(value)] * len(names))},{value}\n" for second, value in ((30, 2), (0, 1), (59, 6))]
    (tmp_path / "web1.csv").write_text(f"timestamp,{','.join(names)},total\n{''.join(rows)}")
    metrics = [Metric(name=aggregate.value, aggregate=aggregate) for aggregate in aggregates]
    source = files(tmp_path, metrics=(*metrics, Metric(name="total", counter=True)))
    told = {name.removeprefix("web1/"): row[0] for name, row in values(source).items()}
    assert told == {"mean": 3, "sum": 9, "min": 1, "max": 6, "last": 6, "count": 3, "total": 6}


def test_of_equal_timestamps_the_last_row_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"component,metric,timestamp,value\nweb,cpu,{T0},1\nweb,cpu,{T0},2\nweb,cpu,{T0},\n")
    assert values(files(tmp_path)) == {"web/cpu": [2, None, None]}
    (tmp_path / "b.csv").write_text(f"component,metric,timestamp,value\nweb,cpu,{T0},9\n")
    assert values(files(tmp_path)) == {"web/cpu": [9, None, None]}


@pytest.mark.parametrize(
    "times",
    [
        pa.array([T0, T0 + 60]),
        pa.array([T0 * 1000, T0 * 1000 + 60_000]),
        pa.array([T0 + 0.5, T0 + 60.5]),
        pa.array([T0 * 10**9, (T0 + 60) * 10**9], pa.timestamp("ns", tz="Europe/Paris")),
        pa.array([T0 + 3600, T0 + 3660], pa.timestamp("s")),
        pa.array([f"2023-11-14T22:{minute}:00Z" for minute in (13, 14)]),
    ],
    ids=lambda times: str(times.type),
)
def test_parquet_times_of_every_type(tmp_path: Path, times: pa.Array) -> None:
    table = pa.table({"timestamp": times, "cpu.user": pa.array([1, 2]), "ok": [True, None], "tags": [["a"], ["b"]]})
    pq.write_table(table, tmp_path / "web1.parquet")
    source = files(tmp_path, zone="Europe/Paris")
    assert values(source) == {"web1/cpu.user": [1, 2, None], "web1/ok": [1, None, None]}


def test_long_parquet_with_row_groups_and_text_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "component": ["web1", "web2", "web1"],
            "metric": pa.array(["cpu", "cpu", "cpu"]).dictionary_encode(),
            "timestamp": [T0, T0, T0 + 60],
            "value": ["1", "x", "3"],
        }
    )
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=1)
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1, 3, None], "web2/cpu": [None, None, None]}
    assert source.counts == {"bad cells": 1}


def test_a_file_without_a_known_header_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\n{T0},1\n")
    (tmp_path / "notes.csv").write_text("who,what\nme,nothing\n")
    (tmp_path / "twice.csv").write_text("timestamp,cpu,cpu\n1,2,3\n")
    source = files(tmp_path)
    assert source.discover() == (SeriesKey("web1", "cpu"),)
    assert source.counts == {"files not read": 2}
    assert source.examples["files not read"] == "twice.csv: the column 'cpu' is there twice"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"component": "{host}"}, "write a name, {stem}"),
        ({"component": "{component}"}, "must also stand in path"),
        ({"path": "{component}/{component}.csv"}, "stands twice"),
        ({"fields": {"a": "x", "b": "x"}}, "given to two metrics"),
        ({"delimiter": ":"}, "Input should be"),
    ],
)
def test_settings_that_cannot_be_are_refused(written: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FilesSettings.model_validate({"path": ".", **written})
