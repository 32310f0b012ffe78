"""Log files that grow, rotate and are packed: every entry is counted once, in its bucket."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from collectors.files.catalogue import Found, list_files
from collectors.logfiles import LogFiles, LogFilesSettings, build
from collectors.logfiles.times import Clock
from collectors.logs import collector
from tocsin.errors import TransientError
from tocsin.model import LogBatch, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

SPAN, START = 60, 1_768_212_000  # 2026-01-12 10:00 UTC, 11:00 in Paris
WINDOW = Window(START, START + 600, SPAN)


def around(folder: Path) -> Surroundings:
    return Surroundings(component_type="app", calendar=Calendar("Europe/Paris"), span=SPAN, metrics={}, folder=folder)


def source(folder: Path, **settings: object) -> LogFiles:
    return LogFiles(LogFilesSettings.model_validate({"path": "*.log*", **settings}), around(folder))


def entry(minute: int, text: str = "INFO all is well", second: int = 0) -> str:
    return f"2026-01-12T10:{minute:02}:{second:02}Z {text}\n"


def counted(batch: LogBatch, component: str = "web1") -> list[int]:
    return list(sum((numbers for (name, _), numbers in batch.counts.items() if name == component), np.zeros(10, int)))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("2026-01-12T10:00:00Z x", 0),
        ("2026-01-12T11:00:00.250+01:00 x", 0.25),
        ("[2026-01-12 11:00:00,250] x", 0.25),
        ("2026/01/12 11:00:00 x", 0),
        ("12/01/2026 11:00:00 x", 0),
        ("Jan 12 11:00:00 host app: x", 0),
        ("<11>Jan 12 11:00:00 host app: x", 0),
        ('10.0.0.1 - bob [12/Jan/2026:11:00:00 +0100] "GET / HTTP/1.1" 200 1', 0),
        ("[Mon Jan 12 11:00:00.500000 2026] [core:error] x", 0.5),
        ("1768212000.500 x", 0.5),
        ("1768212000500 x", 0.5),
        ('{"level":"info","@timestamp":"2026-01-12T10:00:00Z","message":"x"}', 0),
    ],
)
def test_the_time_of_a_line_is_read_in_many_spellings(line: str, wanted: float) -> None:
    assert Clock(ZoneInfo("Europe/Paris"), START + 3600).read(line) == pytest.approx(START + wanted)


@pytest.mark.parametrize(
    "line", ["", "  at x.y(Z.java:1)", "Caused by: x", "2026-13-40 99:99:99 x", "12345 x", "Foo 12 11:00:00 x"]
)
def test_a_line_that_continues_another_has_no_time(line: str) -> None:
    assert Clock(ZoneInfo("Europe/Paris"), START + 3600).read(line) is None


@pytest.mark.parametrize("line", ["9999-12-31T23:59:59-14:00 x", "0001-01-01T00:00:00+14:00 x"])
def test_a_time_beyond_the_calendar_is_no_time(tmp_path: Path, line: str) -> None:
    assert Clock(ZoneInfo("UTC"), START).read(line) is None
    (tmp_path / "web1.log").write_text(entry(0) + line + "\n")
    logs = source(tmp_path)
    assert (logs.check(), logs.reach()) == ([], (START, START))


def test_a_syslog_line_of_december_read_in_january_is_of_last_year() -> None:
    at = Clock(ZoneInfo("UTC"), START).read("Dec 31 23:59:59 host x")
    assert at == START - 11 * 86400 - 10 * 3600 - 1


def test_entries_are_counted_in_their_buckets_and_traces_are_one(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text(
        entry(0) + entry(1, "ERROR x") + "  at a.b(C.java:1)\nCaused by: y\n" + entry(1) + entry(9)
    )
    batch = source(tmp_path).read(WINDOW)
    assert counted(batch) == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [line.text.count("\n") for line in batch.lines] == [0, 2, 0, 0]
    assert batch.known.all()


def test_what_is_older_than_every_file_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text(entry(5) + entry(6))
    assert source(tmp_path).read(WINDOW).known.tolist() == [False] * 5 + [True] * 5


def test_a_file_that_grows_is_read_on_and_one_that_rotates_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "web1.log"
    path.write_text(entry(0))
    logs = source(tmp_path)
    assert counted(logs.read(WINDOW))[:3] == [1, 0, 0]
    with path.open("a") as file:
        file.write(entry(1) + "2026-01-12T10:02:0")
    assert counted(logs.read(WINDOW))[:3] == [1, 1, 0]
    with path.open("a") as file:
        file.write("1Z INFO late\n")
    assert counted(logs.read(WINDOW))[:3] == [1, 1, 1]
    path.rename(tmp_path / "web1.log.1")
    path.write_text(entry(3))
    assert counted(logs.read(WINDOW))[:4] == [1, 1, 1, 1]
    data = (tmp_path / "web1.log.1").read_bytes()
    (tmp_path / "web1.log.2.gz").write_bytes(gzip.compress(data))
    (tmp_path / "web1.log.1").unlink()
    assert counted(logs.read(WINDOW))[:4] == [1, 1, 1, 1]


def test_a_file_that_was_overwritten_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "web1.log"
    path.write_text(entry(0, "INFO first") + entry(1))
    logs = source(tmp_path)
    logs.read(WINDOW)
    path.write_text(entry(4, "INFO second, and longer than the one before it") * 3)
    os.utime(path, (START, START))
    assert counted(logs.read(WINDOW)) == [0, 0, 0, 0, 3, 0, 0, 0, 0, 0]


def test_only_the_blocks_of_the_window_are_read_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logfiles.source.BLOCK", 100)
    (tmp_path / "web1.log").write_text(
        "".join(entry(minute, second=second) for minute in range(10) for second in range(0, 60, 7))
    )
    logs = source(tmp_path)
    for start in range(10):
        window = Window(START + 60 * start, START + 60 * start + 60, SPAN)
        assert sum(sum(numbers) for numbers in logs.read(window).counts.values()) == 9


def test_text_beyond_the_cap_is_a_sample_and_counts_stay_exact(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text("".join(entry(minute, second=second) for minute in range(10) for second in range(50)))
    batch = source(tmp_path, max_lines=100).read(WINDOW)
    assert counted(batch) == [50] * 10
    assert 50 <= len(batch.lines) <= 100
    per_bucket = np.bincount([int(line.at - START) // 60 for line in batch.lines], minlength=10)
    assert per_bucket.min() >= 5


def test_a_table_with_a_column_of_text(tmp_path: Path) -> None:
    rows = 'when,pod,sev,what\n2026-01-12T10:00:01Z,p1,ERROR,"a ""b"", c"\n2026-01-12T10:01:01Z,p2,INFO,d\nnever,p2,INFO,e\n'
    (tmp_path / "all.csv.gz").write_bytes(gzip.compress(rows.encode()))
    settings = {
        "path": "*.csv.gz",
        "layout": "csv",
        "timestamp": "when",
        "component_column": "pod",
        "level": "sev",
        "text": "what",
    }
    batch = source(tmp_path, **settings).read(WINDOW)
    assert [(line.component, line.level, line.text) for line in batch.lines] == [("p1", "ERROR", 'a "b", c'), ("p2", "INFO", "d")]


def test_hostile_files_break_nothing(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_bytes(
        b"\x00\xff\xfe" * 1000 + b"\n" + b"x" * 300_000 + b"\n" + entry(2).encode() + b"y" * 300_000
    )
    batch = source(tmp_path).read(WINDOW)
    assert counted(batch)[2] == 1
    assert len(batch.lines[0].text) < 70_000
    (tmp_path / "web2.log.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    with pytest.raises(TransientError, match=r"web2\.log\.gz"):
        source(tmp_path).read(WINDOW)


def test_a_file_without_times_and_a_folder_without_files_are_said(tmp_path: Path) -> None:
    assert source(tmp_path).check() == [f"no file matches *.log* in {tmp_path}"]
    (tmp_path / "web1.log").write_text("no time here\n")
    assert source(tmp_path).check() == ["web1.log: no line begins with a time"]


def test_a_folder_of_logs_becomes_series(tmp_path: Path) -> None:
    for name in ("web1", "web2"):
        (tmp_path / f"{name}.log").write_text(
            "".join(entry(minute, f"INFO {name} served {minute} requests") for minute in range(10))
        )
    counts = build(LogFilesSettings(path="*.log"), around(tmp_path))
    keys = counts.discover()
    assert {key.component for key in keys} == {"web1", "web2"}
    frame = counts.collect(SeriesIndex(keys), WINDOW)
    assert list(frame.values[frame.index.rows[SeriesKey("web2", "log.lines")]]) == [1] * 10
    assert counts.reach() == (START, START + 540)
    assert counts.check() == []


def test_an_empty_file_has_no_entries_and_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "new.log"
    path.touch()
    (tmp_path / "web1.log").write_text(entry(0))
    logs = source(tmp_path)
    assert counted(logs.read(WINDOW))[:2] == [1, 0]
    assert (logs.reach(), logs.check()) == ((START, START), [])
    path.write_text(entry(0) + entry(1))
    assert counted(logs.read(WINDOW), "new")[:3] == [1, 1, 0]


def test_files_that_are_all_empty_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "web1.log").touch()
    counts = build(LogFilesSettings(path="*.log"), around(tmp_path))
    assert (counts.discover(), counts.reach(), counts.check()) == ((), None, [])
    assert not counts.collect(SeriesIndex([SeriesKey("web1", "log.lines")]), WINDOW).known.any()


def test_a_file_that_was_empty_at_first_is_read_anew_when_it_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "web1.log"
    path.touch()
    logs = source(tmp_path)
    logs.read(WINDOW)
    path.write_text(entry(0, "INFO first") + entry(1))
    logs.read(WINDOW)
    path.write_text(entry(4, "INFO second, and longer than the one before it") * 3)
    assert counted(logs.read(WINDOW)) == [0, 0, 0, 0, 3, 0, 0, 0, 0, 0]


NOW = START + 600.0


def clocked(folder: Path, now: float = NOW, **settings: object) -> LogFiles:
    return LogFiles(LogFilesSettings.model_validate({"path": "*.log*", **settings}), around(folder), clock=lambda: now)


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_a_line_of_the_year_2099_does_not_hide_when_the_last_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("collectors.logfiles.source.BLOCK", block)
    (tmp_path / "web1.log").write_text(entry(0) + entry(3) + "2099-01-01T00:00:00Z INFO x\n" + entry(5) + entry(4))
    (tmp_path / "web2.log").write_text("2099-01-01T00:00:00Z INFO x\n")
    logs = clocked(tmp_path)
    assert logs.reach() == (START, START + 300)
    assert logs.check() == [
        f"{name}.log: its newest entry is of 2099-01-01 00:00 UTC, which is still to come: mend the clock, or the time zone, "
        "of who writes it"
        for name in ("web1", "web2")
    ]
    assert counted(logs.read(WINDOW)) == [1, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert logs.read(WINDOW).known.all()


def test_files_of_which_every_line_is_still_to_come_reach_nowhere(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text("2099-01-01T00:00:00Z INFO x\n")
    assert clocked(tmp_path).reach() is None


def test_a_clock_that_runs_a_little_ahead_is_believed(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text(entry(0) + entry(5))
    logs = clocked(tmp_path, now=START + 1.0)
    assert (logs.reach(), logs.check()) == ((START, START + 300), [])


def test_series_are_looked_for_where_the_log_ends_and_not_in_the_year_2099(tmp_path: Path) -> None:
    (tmp_path / "web1.log").write_text(entry(0) + "2099-01-01T00:00:00Z INFO x\n" + entry(5, "ERROR no route to host"))
    counts = collector(clocked(tmp_path), LogFilesSettings(path="*.log*").logs, around(tmp_path))
    assert [counts.example(key) for key in counts.discover() if key.metric == "log.level.error"] == [
        "<time> ERROR no route to host"
    ]


# --- rotation in the middle of a reading ------------------------------------------------------------------------------------


def renamed(path: Path) -> None:
    path.rename(path.with_name("web1.log.1"))
    path.write_text(entry(3, "INFO first of the new file") + entry(4) * 9)


def packed(path: Path) -> None:
    path.with_name("web1.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def copied_and_cut(path: Path) -> None:
    path.with_name("web1.log.1").write_bytes(path.read_bytes())
    path.write_text(entry(3))


def copied_cut_and_grown(path: Path) -> None:
    path.with_name("web1.log.1").write_bytes(path.read_bytes())
    path.write_text(entry(3, "INFO first of the new file") + entry(4) * 9)


@pytest.mark.parametrize(
    ("readings_before", "rotate", "wanted"),
    [
        (0, renamed, [1, 1, 1, 1, 9]),
        (0, packed, [1, 1, 1, 0, 0]),
        (0, copied_and_cut, [1, 1, 1, 1, 0]),
        (1, renamed, [1, 1, 1, 1, 9]),
        (1, packed, [1, 1, 1, 0, 0]),
        (1, copied_and_cut, [1, 1, 1, 1, 0]),
        (1, copied_cut_and_grown, [1, 1, 1, 1, 9]),
    ],
)
def test_a_file_that_rotates_between_the_look_at_it_and_its_reading_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings_before: int, rotate: Callable[[Path], None], wanted: list[int]
) -> None:
    path, acts = tmp_path / "web1.log", [rotate]
    path.write_text(entry(0) + entry(1) + entry(2))
    logs = source(tmp_path)
    for _ in range(readings_before):
        logs.read(WINDOW)

    def listed(*args: Any) -> list[Found]:
        found = list_files(*args)
        while acts:
            acts.pop()(path)
        return found

    monkeypatch.setattr("collectors.logfiles.source.list_files", listed)
    assert counted(logs.read(WINDOW))[:5] == wanted
    assert logs.reach() == (START, START + 60 * max(np.flatnonzero(wanted)))


def test_files_that_rotate_faster_than_they_are_read_are_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, turns = tmp_path / "web1.log", iter(range(100))

    def listed(*args: Any) -> list[Found]:
        found = list_files(*args)
        path.rename(tmp_path / f"web1.log.{next(turns)}")
        path.write_text(entry(3))
        return found

    path.write_text(entry(0))
    monkeypatch.setattr("collectors.logfiles.source.list_files", listed)
    logs = source(tmp_path)
    with pytest.raises(TransientError, match=r"web1\.log: was replaced while it was read, 3 times in a row"):
        logs.read(WINDOW)
    assert next(turns) == 3
    assert logs.check() == ["web1.log: was replaced while it was read, 3 times in a row"]
