"""A folder that lives: files grow, rotate, shrink, vanish, come back, and are half-written when we look."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectors.files import Files, FilesSettings
from collectors.files.limits import Limits
from tests.unit.test_files_layouts import T0, files, surroundings, values
from tocsin.errors import TransientError
from tocsin.model import SeriesIndex, SeriesKey, Window

CPU = SeriesIndex([SeriesKey("web1", "cpu")])
WINDOW = Window(T0, T0 + 180, 60)


def known(source: Files, window: Window = WINDOW, index: SeriesIndex = CPU) -> list[bool]:
    flags: list[bool] = source.collect(index, window).known[0].tolist()
    return flags


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_new_files_and_new_rows_are_seen_at_once(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path)
    assert values(source) == {"web1/cpu": [1, None, None]}
    append(tmp_path / "web1.csv", f"{T0 + 60},2\n")
    (tmp_path / "web2.csv").write_text(f"timestamp,cpu\n{T0 + 120},7\n")
    assert values(source) == {"web1/cpu": [1, 2, None], "web2/cpu": [None, None, 7]}
    assert source.reach() == (T0, T0 + 120)


def test_an_incomplete_last_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},12")
    source = files(tmp_path)
    assert values(source) == {}
    append(path, "3.5")
    assert values(source) == {}
    append(path, f"\n{T0 + 60}")
    assert values(source) == {"web1/cpu": [123.5, None, None]}
    append(path, ",4\n")
    assert values(source) == {"web1/cpu": [123.5, 4, None]}
    assert not source.counts


def test_only_what_was_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    old = "".join(f"old,cpu,{T0},1\n" for _ in range(100))
    path.write_text("component,metric,timestamp,value\n" + old)
    source = files(tmp_path)
    source.discover()
    # Rewrite a name in the middle of what was already looked at: whoever read it again would tell.
    with path.open("r+") as file:
        file.seek(600)
        file.write(old[:15].replace("old", "new"))
    append(path, f"more,cpu,{T0},1\n")
    assert [key.component for key in source.discover()] == ["more", "old"]


def bytes_read() -> int:
    """What this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_window_reads_only_the_blocks_it_needs(tmp_path: Path) -> None:
    lines = [f"{T0 + 60 * minute},{minute}\n" for minute in range(100_000)]
    (tmp_path / "web1.csv").write_text("timestamp,cpu\n" + "".join(lines))
    source = Files(FilesSettings(path="."), surroundings(tmp_path), limits=Limits(block=1 << 14))
    source.discover()
    before = bytes_read()
    far = Window(T0 + 60 * 50_000, T0 + 60 * 50_010, 60)
    assert source.collect(CPU, far).values[0].tolist() == list(range(50_000, 50_010))
    assert bytes_read() - before < 50_000


def test_a_packed_file_of_another_time_is_not_opened(tmp_path: Path) -> None:
    lines = [f"{T0 + 60 * minute},{minute}\n" for minute in range(20_000)]
    (tmp_path / "web1.csv.gz").write_bytes(gzip.compress(("timestamp,cpu\n" + "".join(lines)).encode()))
    source = files(tmp_path)
    source.discover()
    before = bytes_read()
    assert np.isnan(source.collect(CPU, Window(T0 - 600, T0, 60)).values).all()
    assert bytes_read() - before < 5_000


def test_a_truncated_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},1\n{T0 + 60},2\n")
    source = files(tmp_path)
    source.discover()
    path.write_text(f"timestamp,cpu\n{T0 + 120},3\n")
    assert values(source) == {"web1/cpu": [None, None, 3]}


def test_a_file_rewritten_in_place_and_longer_than_before_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path)
    source.discover()
    path.write_text(f"timestamp,disk\n{T0},5\n{T0 + 60},6\n")
    assert values(source) == {"web1/disk": [5, 6, None]}


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path)
    source.discover()
    (tmp_path / "new").write_text(f"timestamp,cpu\n{T0},9\n{T0 + 60},8\n")
    (tmp_path / "new").rename(path)
    assert values(source) == {"web1/cpu": [9, 8, None]}


def test_rotation_loses_nothing_and_the_moment_without_a_file_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path, path="*.csv*")
    source.discover()
    path.rename(tmp_path / "web1.csv.1")
    assert values(source) == {"web1/cpu": [1, None, None]}
    assert known(source) == [True, False, False]
    path.write_text(f"timestamp,cpu\n{T0 + 60},2\n")
    assert values(source) == {"web1/cpu": [1, 2, None]}
    assert known(source) == [True, True, True]


def test_a_vanished_file_makes_its_series_not_known_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\n{T0},1\n")
    (tmp_path / "web2.csv").write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path)
    both = SeriesIndex(source.discover())
    (tmp_path / "web1.csv").unlink()
    frame = source.collect(both, WINDOW)
    assert frame.known.tolist() == [[False] * 3, [True] * 3]
    assert np.isnan(frame.values[0]).all()
    assert source.discover() == (SeriesKey("web2", "cpu"),)
    before = source.collect(both, Window(T0 - 120, T0, 60))
    assert before.known.all()  # it never had anything before its first row


def test_old_files_that_are_cleaned_away_do_not_blind_their_successors(tmp_path: Path) -> None:
    for day, time in (("monday", T0), ("tuesday", T0 + 60)):
        (tmp_path / f"web1-{day}.csv").write_text(f"timestamp,cpu\n{time},1\n")
    source = files(tmp_path, path="{component}-*.csv")
    source.discover()
    (tmp_path / "web1-monday.csv").unlink()
    assert known(source) == [False, True, True]


def test_a_half_written_gzip_file_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "web0.csv").write_text(f"timestamp,cpu\n{T0},0\n")
    whole = gzip.compress(b"timestamp,cpu\n" + b"".join(b"%d,%d\n" % (T0 + i, i) for i in range(100)), 0)
    (tmp_path / "web1.csv.gz").write_bytes(whole[:500])
    source = files(tmp_path)
    assert [key.component for key in source.discover()] == ["web0"]
    assert source.examples["files not read"] == "web1.csv.gz: is no complete gzip file"
    (tmp_path / "web1.csv.gz").write_bytes(whole)
    assert values(source)["web1/cpu"] == [29.5, 79.5, None]


def test_members_padding_and_going_back_in_a_packed_file(tmp_path: Path) -> None:
    rows = [b"%d,%d\n" % (T0 + 60 * i, i) for i in range(3000)]
    parts = [gzip.compress(b"timestamp,cpu\n" + b"".join(rows[:1000])), gzip.compress(b"".join(rows[1000:])), b"\0" * 700]
    (tmp_path / "web1.csv.gz").write_bytes(b"".join(parts))
    source = Files(FilesSettings(path="."), surroundings(tmp_path), limits=Limits(block=700))
    source.discover()
    for first in (0, 990, 1005, 2990, 2980, 10):
        window = Window(T0 + 60 * first, T0 + 60 * (first + 10), 60)
        assert source.collect(CPU, window).values[0].tolist() == list(range(first, first + 10))


def test_a_packed_file_that_breaks_in_the_middle_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "web0.csv").write_text(f"timestamp,cpu\n{T0},0\n")
    whole = bytearray(gzip.compress(b"timestamp,cpu\n" + b"".join(b"%d,%d\n" % (T0 + i, i) for i in range(100)), 0))
    whole[300] ^= 1
    (tmp_path / "web1.csv.gz").write_bytes(whole)
    source = files(tmp_path)
    assert [key.component for key in source.discover()] == ["web0"]
    assert source.counts == {"files not read": 1}


def test_a_file_that_breaks_later_is_not_known_rather_than_empty(tmp_path: Path) -> None:
    table = pa.table({"timestamp": [T0, T0 + 60], "cpu": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "web1.parquet")
    (tmp_path / "web0.csv").write_text(f"timestamp,cpu\n{T0},0\n")
    source = files(tmp_path)
    assert values(source)["web1/cpu"] == [1, 2, None]
    content = (tmp_path / "web1.parquet").read_bytes()
    (tmp_path / "web1.parquet").write_bytes(content[: len(content) // 2])
    assert known(source) == [False, False, False]
    assert "web1.parquet: is no complete Parquet file" in source.examples["files not read"]
    (tmp_path / "web1.parquet").write_bytes(content)
    assert known(source) == [True, True, True]
    assert values(source)["web1/cpu"] == [1, 2, None]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read_is_not_known_until_it_may(tmp_path: Path) -> None:
    (tmp_path / "web0.csv").write_text(f"timestamp,cpu\n{T0},0\n")
    path = tmp_path / "web1.csv"
    path.write_text(f"timestamp,cpu\n{T0},1\n")
    source = files(tmp_path)
    source.discover()
    path.chmod(0)
    append_time = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(append_time, append_time))
    assert known(source) == [False, False, False]
    path.chmod(0o600)
    assert known(source) == [True, True, True]


def test_no_file_at_all_is_a_source_that_is_down(tmp_path: Path) -> None:
    source = files(tmp_path, path="data/*.csv")
    for ask in (source.discover, source.reach, lambda: source.collect(CPU, WINDOW)):
        with pytest.raises(TransientError, match=r"no file matches data/\*\.csv"):
            ask()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "web1.csv").write_text("")
    assert source.discover() == ()
    assert source.reach() is None
    append(tmp_path / "data" / "web1.csv", "timestamp,cpu\n")
    assert source.discover() == ()
    append(tmp_path / "data" / "web1.csv", f"{T0},1\n")
    assert source.discover() == (SeriesKey("web1", "cpu"),)


def test_when_no_file_can_be_read_the_source_is_down(tmp_path: Path) -> None:
    (tmp_path / "web1.csv.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(TransientError, match=r"no file can be read: web1\.csv\.gz"):
        files(tmp_path).discover()


def test_bad_rows_are_counted_once_however_often_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "web1.csv").write_text(f"timestamp,cpu\nyesterday,1\n{T0},1\n{T0 + 1},1,1\n")
    source = files(tmp_path)
    for _ in range(3):
        assert values(source) == {"web1/cpu": [1, None, None]}
    assert source.counts == {"bad rows": 2}
