"""Files written by somebody who means harm, or by a program that has gone mad."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectors.files import Files, FilesSettings
from collectors.files.limits import Limits
from tests.unit.test_files_layouts import T0, files, surroundings, values
from tocsin.model import SeriesIndex, Window

GOOD = f"timestamp,cpu\n{T0},1\n".encode()


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / "good.csv").write_bytes(GOOD)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("bad.csv", "timestamp,cpu\n1,2\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("bad.csv", b"timestamp,cpu\xff\n1,2\n", "its header is not UTF-8"),
        ("bad.csv", b"timestamp,\0cpu\n1,2\n", "its header holds NUL bytes"),
        ("bad.csv", b"timestamp,cpu\r1,2\r", "its lines end in CR alone; save it with LF or CRLF"),
        ("bad.csv", b"x" * 9_000_000, "its first line is longer than 8388608 bytes"),
        ("bad.csv", b"PAR1 is only the beginning", "is no complete Parquet file"),
        ("bad.parquet", GOOD, "is no Parquet file, or not written yet"),
        ("bad\x1b[31m.csv", GOOD, "its name cannot be a component's, or there are too many"),
        ("b" * 251 + ".csv", b"timestamp\n", ""),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence_and_the_rest_is_read(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    put(tmp_path, name, content)
    source = files(tmp_path)
    assert values(source) == {"good/cpu": [1, None, None]}
    assert source.counts["files not read"] == bool(why)
    if why:
        assert why in source.examples["files not read"]
        assert source.examples["files not read"].isprintable()


@pytest.mark.parametrize(
    ("row", "bad_cells", "bad_rows"),
    [
        (b"%d,\0\0\0", 1, 0),
        (b"\0\0\0\0\0\0\0\0", 0, 1),
        (b"%d,\xff\xfe", 1, 0),
        (b"%d,1_000", 1, 0),
        (b"%d,=1+1", 1, 0),
        (b"%d,1e999", 0, 0),
        (b'%d,"', 0, 1),
        (b'"%d,5', 0, 1),
        (b'%d,"5\n%d,"x', 2, 0),
        (b'%d,5" disk', 1, 0),
        (b'%d,"5" x', 1, 0),
        (b"99999999999999999999999999,5", 0, 1),
        (b",5", 0, 1),
    ],
)
def test_a_mad_row_costs_itself_and_no_other(tmp_path: Path, row: bytes, bad_cells: int, bad_rows: int) -> None:
    row = row.replace(b"%d", b"%d" % (T0 + 60))
    (tmp_path / "web1.csv").write_bytes(b"timestamp,cpu\n%d,1\n%s\n%d,3\n" % (T0, row, T0 + 120))
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1, None, 3]}
    assert (source.counts["bad cells"], source.counts["bad rows"]) == (bad_cells, bad_rows)


@pytest.mark.parametrize("name", ["a\x07b", "a\u202eb", "\x1b[2J", "", " ", "x" * 300, "a\u2028b"])
def test_names_that_could_not_be_shown_are_refused(tmp_path: Path, name: str) -> None:
    header = "component,metric,timestamp,value\n"
    (tmp_path / "all.csv").write_text(f"{header}web1,cpu,{T0},1\n{name},cpu,{T0},2\nweb1,{name},{T0},3\n")
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1, None, None]}
    assert source.counts["bad rows"] == 2


def test_a_huge_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_bytes(b"timestamp,cpu\n%d,1\n" % T0 + b"9" * 5000 + b"\n%d,3\n" % (T0 + 120))
    source = Files(FilesSettings(path="."), surroundings(tmp_path), limits=Limits(block=500, line=2000))
    assert values(source) == {"web1/cpu": [1, None, 3]}
    assert source.counts == {"lines too long": 1}


def test_ten_thousand_columns(tmp_path: Path) -> None:
    names = [f"m{number:05d}" for number in range(10_000)]
    rows = "".join(f"{T0 + 60 * row}," + ",".join(["1.5"] * len(names)) + "\n" for row in range(30))
    (tmp_path / "web1.csv").write_text("timestamp," + ",".join(names) + "\n" + rows)
    source = files(tmp_path)
    index = SeriesIndex(source.discover())
    assert len(index) == 10_000
    assert (source.collect(index, Window(T0, T0 + 1800, 60)).values == 1.5).all()


def test_too_many_series_and_files_are_cut_and_said(tmp_path: Path) -> None:
    rows = "".join(f"web{number},cpu,{T0},1\n" for number in range(50))
    (tmp_path / "all.csv").write_text("component,metric,timestamp,value\n" + rows)
    source = files(tmp_path, max_series=10)
    assert len(source.discover()) == 10
    assert source.counts == {"series cut": 40}
    for number in range(5):
        (tmp_path / f"b{number}.csv").write_bytes(GOOD)
    few = files(tmp_path, max_files=3)
    assert len(few.discover()) == 52
    assert few.discover() == few.discover()
    assert few.counts == {"files cut": 3}
    assert few.examples["files cut"] == "6 files match, only the first 3 are read"


def test_names_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    rows = "".join(f"web{number},cpu,{T0},1\n" for number in range(5000))
    (tmp_path / "all.csv").write_text("component,metric,timestamp,value\n" + rows)
    source = files(tmp_path, max_series=100)
    assert len(source.discover()) == 100
    assert source.counts["bad rows"] == 5000 - 1199


def test_links_out_of_the_folder_and_pipes_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    data = tmp_path / "data"
    secret.mkdir()
    data.mkdir()
    (secret / "s.csv").write_bytes(GOOD)
    (data / "real.csv").write_bytes(GOOD)
    (data / "inside.csv").symlink_to(data / "real.csv")
    (data / "outside.csv").symlink_to(secret / "s.csv")
    (data / "broken.csv").symlink_to(secret / "nothing.csv")
    (data / "folder").symlink_to(secret)
    (data / "circle").symlink_to(data)
    (data / ".hidden.csv").write_bytes(GOOD)
    os.mkfifo(data / "pipe.csv")
    source = files(tmp_path, path="data")
    assert [key.component for key in source.discover()] == ["inside", "real"]
    assert source.discover() == source.discover()
    assert source.counts == {"links left out": 4}
    trusting = files(tmp_path, path="data", follow_links=True)
    assert [key.component for key in trusting.discover()] == ["inside", "outside", "real", "s"]


def test_no_import_of_pandas(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\n{T0},1\n{T0 + 60},n/a\n2023-11-14,2\n")
    (tmp_path / "web2.csv").write_text("timestamp;cpu\n2023-11-14T22:13:00;1,5\n")
    (tmp_path / "all.csv").write_text(f"component,metric,timestamp,value\nweb3,cpu,{T0},1\n")
    program = f"""
import sys
from pathlib import Path
from collectors.files import PLUGIN, check, read_table
from tocsin.model import SeriesIndex, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar
import pyarrow, pyarrow.parquet
folder = Path({str(tmp_path)!r})
around = Surroundings(component_type="t", calendar=Calendar("Europe/Paris"), span=60, metrics={{}}, folder=folder)
settings = PLUGIN.settings(path=".")
source = PLUGIN.build(settings, around)
def collect():
    return source.collect(SeriesIndex(source.discover()), Window({T0}, {T0} + 180, 60))
table = pyarrow.csv.read_csv({str(tmp_path / "all.csv")!r})
pyarrow.parquet.write_table(table, {str(tmp_path / "all.parquet")!r})
assert collect().values.shape == (3, 3), collect().values.shape
assert len(check(settings, around)) == 2, check(settings, around)
assert read_table({str(tmp_path / "web2.csv")!r}).values.tolist() == [[1.5]]
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
