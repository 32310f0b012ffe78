"""Before the first tick every mistake has its place; `score` reads one table, row by row."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectors.files import PLUGIN as FILES
from collectors.files import FilesSettings, check, read_table
from tests.unit.test_files_layouts import T0, files, surroundings
from tocsin.errors import ConfigError
from tocsin.model import Aggregate, Metric


def problems(folder: Path, **settings: Any) -> list[str]:
    told = check(FilesSettings.model_validate({"path": ".", **settings}), surroundings(folder))
    assert files(folder, **settings).check() == told
    return told


def test_clean_files_have_no_problem(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu,label\n{T0},1,what\n{T0},,\n{T0},NaN,7")
    (tmp_path / "all.csv").write_text(f"component,metric,timestamp,value\nweb1,cpu,{T0},1\n")
    assert problems(tmp_path) == []


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    lines = [
        "timestamp,cpu,note",
        f'{T0},1,"two',
        'lines"',
        "",
        f"{T0},n/a,",
        f"{T0},1",
        "now,1,",
        f"{T0},1,2,3",
        f'{T0},"4,x',
        "",
    ]
    (tmp_path / "disk.csv").write_text("\n".join(lines))
    assert problems(tmp_path, exclude=["note"]) == [
        'disk.csv:5: cpu: "n/a" is not a number',
        "disk.csv:6: there are 2 cells where the header has 3",
        'disk.csv:7: timestamp: "now" is no time: expected epoch seconds, as in the rest of the file',
        "disk.csv:8: there are 4 cells where the header has 3",
        "disk.csv:9: there are 2 cells where the header has 3",
    ]


def test_lines_are_right_far_into_a_large_file(tmp_path: Path) -> None:
    lines = [f"{T0 + number},{number}.5\n" for number in range(150_000)]
    lines[123_456] = f"{T0},oops\n"
    (tmp_path / "web1.csv").write_text("timestamp,cpu\n" + "".join(lines))
    assert problems(tmp_path) == ['web1.csv:123458: cpu: "oops" is not a number']


def test_names_and_missing_metrics_are_told(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(f"component,metric,timestamp,value\n\x1b[2J,cpu,{T0},1\nweb1,,{T0},1\n")
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu_user\n{T0},1\n")
    assert problems(tmp_path) == [
        'all.csv:2: component: "\N{REPLACEMENT CHARACTER}[2J" cannot be the name of a component',
        'all.csv:3: metric: "" cannot be the name of a metric',
    ]
    assert problems(tmp_path, path="web1.csv", fields={"cpu": "cpu_usr"}) == [
        "web1.csv: there is no column 'cpu_usr' (did you mean 'cpu_user'?)"
    ]


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who,what\nme,nothing\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"timestamp,cpu\n1,2\n" * 1000)[:40])
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    told = problems(tmp_path)
    assert told[0] == "a.csv: no column is a timestamp (looked for timestamp, @timestamp, time, datetime among 'who', 'what')"
    assert told[1] == "b.csv.gz: is no complete gzip file"
    assert told[2].startswith("c.parquet: is no complete Parquet file")
    assert problems(tmp_path, path="nothing/*.csv") == [f"no file matches nothing/*.csv in {tmp_path}"]


def test_a_file_that_is_wrong_everywhere_is_told_in_twenty_sentences(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text("timestamp,cpu\n" + "".join(f"{T0},bad{number}\n" for number in range(1000)))
    assert len(problems(tmp_path)) == 20


def test_a_table_has_every_row_in_order(tmp_path: Path) -> None:
    text = f"timestamp,value,label,other\n{T0 + 60},1.5,1,\n{T0},,0,2\n{T0},3,,4"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(
        pa.table({"timestamp": [T0 + 60, T0, T0], "value": [1.5, None, 3.0], "label": ["1", "0", None], "other": [None, 2, 4]}),
        tmp_path / "c.parquet",
    )
    for name in ("a.csv", "b.csv.gz", "c.parquet"):
        table = read_table(tmp_path / name)
        assert table.metrics == ("value", "other")
        assert table.timestamps.tolist() == [T0 + 60, T0, T0]
        assert table.timestamps.dtype == np.int64
        np.testing.assert_array_equal(table.values, [[1.5, np.nan], [np.nan, 2], [3, 4]])


def test_a_table_of_local_times(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("timestamp,value\n2023-11-14 23:13:20,1\n")
    assert read_table(tmp_path / "a.csv", "Europe/Paris").timestamps.tolist() == [1_700_000_000]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"timestamp,value\n{T0},1\n{T0},n/a\n", ':3: value: "n/a" is not a number'),
        (f"timestamp,value\n{T0},1\n,2\n", ':3: timestamp: "" is no time: expected epoch seconds, as in the rest of the file'),
        ("timestamp,value\nx,1\n", ":2: timestamp: no row has a time: expected epoch seconds, milliseconds or ISO 8601"),
        ("", ": is empty; a header with a timestamp and metrics was expected"),
        ("timestamp,label\n", ": has no metric; a column beside 'timestamp' was expected"),
        ("value\n1\n", ": no column is a timestamp (looked for timestamp, @timestamp, time, datetime among 'value')"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as told:
        read_table(path)
    assert told.value.problems == (f"{path}{why}",)


def test_a_table_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.csv: cannot be read: No such file or directory"):
        read_table(tmp_path / "a.csv")


def test_a_percentile_of_a_bucket_cannot_come_from_files(tmp_path: Path) -> None:
    around = replace(surroundings(tmp_path), metrics={"latency": Metric(name="latency", aggregate=Aggregate.P95)})
    FILES.build(FilesSettings(path="."), around)
    with pytest.raises(ConfigError, match="t: files: latency: percentiles of a bucket cannot be worked out from files"):
        FILES.build(FilesSettings(path=".", fields={"latency": "latency"}), around)
