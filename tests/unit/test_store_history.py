"""The history: what is appended is what is read, whatever happened in between."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import no_room
from tests.naive import NaiveHistory
from tocsin.errors import TransientError
from tocsin.model import Frame, SeriesIndex, SeriesKey, Window
from tocsin.store.history import History

DAY = 86_400
FIRST = 20_000 * DAY
POOL = [SeriesKey(component, metric) for component in ("db-01", "wéb-01", "web-02") for metric in ("cpu", "latency.p95")]


def a_frame(window: Window, keys: list[SeriesKey] = POOL, *, seed: int = 0, unknown: float = 0.1) -> Frame:
    numbers = np.random.default_rng(seed)
    index = SeriesIndex(keys)
    values = numbers.normal(size=(len(index), len(window)))
    known = numbers.random(values.shape) >= unknown
    values[~known | (numbers.random(values.shape) < 0.1)] = np.nan
    return Frame(index=index, window=window, values=values, known=known)


def assert_same(one: Frame, other: Frame) -> None:
    assert one.index == other.index
    assert one.window == other.window
    np.testing.assert_array_equal(one.known, other.known)
    np.testing.assert_array_equal(one.values, other.values)


@settings(max_examples=30)
@given(data=st.data())
def test_the_history_is_what_a_plain_dictionary_would_hold(data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    plain, history = NaiveHistory(), History(folder / "history")
    spans = st.sampled_from([7200, 7200, 7200, 25_000])

    def a_window() -> Window:
        span = data.draw(spans)
        start = FIRST // span + data.draw(st.integers(0, 36))
        return Window(start * span, (start + data.draw(st.integers(0, 30))) * span, span)

    try:
        for number in range(data.draw(st.integers(1, 10))):
            act = data.draw(st.sampled_from(["append", "append", "day", "compact", "prune", "reopen"]))
            kind = data.draw(st.sampled_from(["web", "../db"]))
            keys = data.draw(st.lists(st.sampled_from(POOL), unique=True))
            if act in {"append", "day"}:
                day = FIRST + data.draw(st.integers(0, 3)) * DAY
                window = a_window() if act == "append" else Window(day, day + DAY, 7200)
                frame = a_frame(window, keys, seed=number, unknown=data.draw(st.sampled_from([0.0, 0.5, 1.0])))
                history.append(kind, frame)
                plain.append(kind, frame)
            elif act == "compact":
                history.compact(FIRST + data.draw(st.integers(0, 6)) * DAY)
            elif act == "prune":
                before = FIRST + data.draw(st.integers(-1, 3)) * DAY + 5000
                history.prune(before)
                plain.prune(before)
            else:
                history.close()
                history = History(folder / "history")
            window, index = a_window(), SeriesIndex(data.draw(st.lists(st.sampled_from(POOL), unique=True)))
            expected = plain.read(kind, window, index)
            assert_same(history.read(kind, window, index), expected)
            lacking = [key for row, key in enumerate(index) if not expected.known[row].all()]
            assert list(history.lacking(kind, window, index)) == lacking
            there = {
                place[2] for place in plain.cells if place[:2] == (kind, window.span) and window.start <= place[3] < window.end
            }
            assert there <= set(history.index(kind, window))
            assert_same(history.read(kind, window), plain.read(kind, window, history.index(kind, window)))
        assert history.problems == []
    finally:
        history.close()
        shutil.rmtree(folder)


def test_more_series_than_a_record_holds(tmp_path: Path) -> None:
    keys = [SeriesKey(f"host-{number // 3:04}", f"m{number % 3}") for number in range(9000)]
    whole = a_frame(Window(FIRST, FIRST + DAY, 7200), keys)
    with History(tmp_path) as history:
        history.append("web", whole.within(Window(FIRST, FIRST + 7200, 7200)))
        history.append("web", whole.within(Window(FIRST + 7200, FIRST + DAY, 7200)))
        for _ in range(2):
            assert_same(history.read("web", whole.window), whole)
            some = SeriesIndex([keys[4095], keys[4096], keys[8999], SeriesKey("host-0000", "none")])
            read = history.read("web", whole.window, some)
            rows = [whole.index.rows[key] for key in some if key in whole.index.rows]
            np.testing.assert_array_equal(read.values[read.known.any(axis=1)], whole.values[rows])
            assert history.compact(FIRST + 2 * DAY) in {0, 1}
        assert history.compact(FIRST + 2 * DAY) == 0


def test_a_day_becomes_a_file_an_hour_after_its_end(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.append("web", a_frame(Window(FIRST, FIRST + DAY - 7200, 7200)))
        assert history.compact(FIRST + DAY + 3599) == 0
        assert history.compact(FIRST + DAY + 3600) == 1
        file = tmp_path / "web" / "7200s" / "2024-10-04.parquet"
        assert file.exists()
        written = file.stat().st_mtime_ns
        late = a_frame(Window(FIRST, FIRST + 7200, 7200), POOL[:1], seed=9, unknown=0.0)
        history.append("web", late)
        assert history.compact(FIRST + 2 * DAY) == 0  # a value or two that came late are not worth a new file
        assert file.stat().st_mtime_ns == written
        np.testing.assert_array_equal(history.read("web", late.window, late.index).values, late.values)


def test_another_bucket_length_is_another_history(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for span in (7200, 3600):
            history.append("web", a_frame(Window(FIRST, FIRST + DAY, span), seed=span, unknown=0.0))
        for span in (7200, 3600):
            frame = a_frame(Window(FIRST, FIRST + DAY, span), seed=span, unknown=0.0)
            assert_same(history.read("web", frame.window), frame)
        assert not history.read("web", Window(FIRST, FIRST + DAY, 1800), SeriesIndex(POOL)).known.any()


def test_the_files_are_plain_parquet_sorted_by_component_and_metric(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    frame = a_frame(Window(FIRST, FIRST + DAY, 7200))
    with History(tmp_path) as history:
        history.append("web", frame)
    table = pq.ParquetFile(tmp_path / "web" / "7200s" / "2024-10-04.parquet").read()
    assert [(row["component"], row["metric"]) for row in table.select(["component", "metric"]).to_pylist()] == [
        (key.component, key.metric) for key in frame.index
    ]
    np.testing.assert_array_equal(np.array(table.column("values").to_pylist()), frame.values)


def read_elsewhere(history: History, window: Window) -> Frame:
    with history:
        return history.read("web", window)


def test_worker_processes_read_while_the_daemon_appends_and_compacts(tmp_path: Path) -> None:
    first, second = Window(FIRST, FIRST + DAY, 7200), Window(FIRST + DAY, FIRST + 2 * DAY, 7200)
    whole = a_frame(Window(FIRST, FIRST + 3 * DAY, 7200), unknown=0.0)
    with History(tmp_path) as history, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        history.append("web", whole.within(Window(FIRST, FIRST + 2 * DAY - 7200, 7200)))
        history.append("web", whole.within(Window(FIRST + 2 * DAY - 7200, FIRST + 2 * DAY, 7200)))
        reading = [pool.submit(read_elsewhere, History(tmp_path), first) for _ in range(5)]
        for start in range(FIRST + 2 * DAY, FIRST + 3 * DAY, 7200):
            history.append("web", whole.within(Window(start, start + 7200, 7200)))
            history.compact(start)
        reading += [pool.submit(read_elsewhere, history, second)]
        for one in reading[:5]:
            assert_same(one.result(), whole.within(first))
        assert_same(reading[5].result(), whole.within(second))


def test_the_history_does_not_import_pandas(tmp_path: Path) -> None:
    program = f"""
import sys, numpy as np
from pathlib import Path
from tocsin.model import *
from tocsin.store.history import History
index, window = SeriesIndex([SeriesKey("a", "b")]), Window({FIRST}, {FIRST + DAY}, 3600)
with History(Path({str(tmp_path)!r})) as history:
    history.append("web", Frame.of(index, window, np.ones((1, 24))))
    history.append("web", Frame.of(index, window, np.zeros((1, 24))))
    history.compact({FIRST + 2 * DAY})
    assert history.read("web", window).values.sum() == 0
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_damaged_recent_file_is_moved_aside_and_learning_goes_on(tmp_path: Path) -> None:
    old, new = a_frame(Window(FIRST, FIRST + DAY, 7200)), a_frame(Window(FIRST + DAY, FIRST + DAY + 7200, 7200))
    with History(tmp_path) as history:
        history.append("web", old)
        history.append("web", new)
    for damaged in (b"not a database" * 1000, b""):
        (tmp_path / "recent.db").write_bytes(damaged)
        for name in ("recent.db-wal", "recent.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        with History(tmp_path) as history:
            assert_same(history.read("web", old.window), old)  # a day that is a file is not touched by it
            assert not history.read("web", new.window, new.index).known.any()
            history.append("web", new)
            assert_same(history.read("web", new.window, new.index), new)
            assert bool(history.problems) == bool(damaged)
    assert (tmp_path / "recent.db.damaged-1").exists()


def test_a_damaged_day_is_moved_aside_and_only_that_day_is_lost(tmp_path: Path) -> None:
    frame = a_frame(Window(FIRST, FIRST + 2 * DAY, 7200))
    with History(tmp_path) as history:
        history.append("web", frame)
        file = tmp_path / "web" / "7200s" / "2024-10-04.parquet"
        file.write_bytes(file.read_bytes()[:-50])
        read = history.read("web", frame.window, frame.index)
        assert not read.known[:, :12].any()
        assert_same(
            read.within(Window(FIRST + DAY, FIRST + 2 * DAY, 7200)), frame.within(Window(FIRST + DAY, FIRST + 2 * DAY, 7200))
        )
        assert len(history.problems) == 1
        assert file.with_name("2024-10-04.parquet.damaged-1").exists()
        history.append("web", frame)
        assert_same(history.read("web", frame.window), frame)


def test_a_damaged_record_is_left_out_and_replaced_by_the_next(tmp_path: Path) -> None:
    tick, later = a_frame(Window(FIRST, FIRST + 7200, 7200)), a_frame(Window(FIRST + 7200, FIRST + 14_400, 7200))
    both = Window(FIRST, FIRST + 14_400, 7200)
    with History(tmp_path) as history:
        history.append("web", tick)
        history.append("web", later)
        with closing(sqlite3.connect(tmp_path / "recent.db")) as connection, connection:
            connection.execute("UPDATE bucket SET data = x'00' WHERE start = ?", (FIRST,))
        read = history.read("web", both, tick.index)
        assert not read.known[:, 0].any()
        assert_same(read.within(later.window), later)
        assert len(history.problems) == 1
        history.append("web", tick)
        assert_same(history.read("web", tick.window), tick)


def test_flipped_bytes_never_become_values(tmp_path: Path) -> None:
    frame = a_frame(Window(FIRST, FIRST + DAY, 7200))
    with History(tmp_path) as history:
        history.append("web", frame)
        file = tmp_path / "web" / "7200s" / "2024-10-04.parquet"
        good = file.read_bytes()
        dice = random.Random(1)
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(dice.choice([1, 1, 1, 20])):
                bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
            file.write_bytes(bad)
            read = history.read("web", frame.window, frame.index)
            assert not (read.known & ~frame.known).any()
            np.testing.assert_array_equal(read.values[read.known], frame.values[read.known])


def test_a_full_disk_is_a_passing_trouble(tmp_path: Path) -> None:
    frame = a_frame(Window(FIRST, FIRST + DAY, 7200))
    tick = a_frame(Window(FIRST + DAY, FIRST + DAY + 7200, 7200))
    with History(tmp_path) as history:
        history.append("web", a_frame(Window(FIRST - 7200, FIRST, 7200)))
        for one in (frame, tick):
            with no_room(), pytest.raises(TransientError):
                history.append("web", one)
            assert not history.read("web", one.window, one.index).known.any()
            history.append("web", one)
            assert_same(history.read("web", one.window, one.index), one)
        assert history.problems == []
        assert not list(tmp_path.rglob("*.tmp"))
