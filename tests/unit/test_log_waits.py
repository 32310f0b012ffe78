"""Lines that tell their request tell how long it waits between two of them, and with whom."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from collectors.logfiles import LogFiles, LogFilesSettings
from collectors.logs import LogSettings, collector
from collectors.logs.collector import WAIT
from tests.fakes import ListLogs
from tocsin.model import Floats, LogLine, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

SPAN, START = 60, 1_767_225_600
WINDOW = Window(START, START + 10 * SPAN, SPAN)


def around(folder: Path = Path(), memory: Path | None = None) -> Surroundings:
    return Surroundings(component_type="shop", calendar=Calendar(), span=SPAN, metrics={}, folder=folder, memory=memory)


def journey(minute: float, request: str, *stations: tuple[float, str]) -> list[LogLine]:
    """A request that is at each of the stations so many seconds after its start."""
    start = START + minute * SPAN
    return [LogLine(at=start + at, component=name, text=f"INFO at {name}", request=request) for at, name in stations]


def waits_of(source: ListLogs, component: str, window: Window = WINDOW) -> Floats:
    counts = collector(source, LogSettings(settle=0), around())
    counts.collect(SeriesIndex([SeriesKey(component, "log.lines")]), window)
    values: Floats = counts.collect(SeriesIndex([SeriesKey(component, WAIT)]), window).values[0]
    return values


def calls(minute: int, slow: str = "") -> list[LogLine]:
    """The front asks the basket and the stock, ten times; all that goes to or comes from a slow one takes a second more."""
    lines: list[LogLine] = []
    for number in range(10):
        request, at = f"{minute}-{number}", 0.0
        stations = [(at, "front")]
        for called in ("basket", "stock"):
            pause = 1.01 if called == slow else 0.01
            stations += [(at + pause, called), (at + 2 * pause, "front")]
            at += 2 * pause
        lines += journey(minute + number / 20, request, *stations)
    return lines


def test_who_answers_late_waits_longest_and_who_calls_it_waits_less() -> None:
    source = ListLogs([line for minute in range(3) for line in calls(minute)] + calls(3, slow="stock"))
    wait = {name: waits_of(source, name) for name in ("front", "basket", "stock")}
    for name in wait:
        assert wait[name][:3] == pytest.approx(0.01, abs=1e-3)
    assert wait["stock"][3] == pytest.approx(1.01, abs=1e-3)
    assert wait["front"][3] == pytest.approx(0.51, abs=1e-3)
    assert wait["basket"][3] == pytest.approx(0.01, abs=1e-3)
    assert np.isnan(wait["front"][4:]).all()


def test_a_busy_minute_of_one_kind_of_call_is_no_longer_wait() -> None:
    few = [*journey(0, "a", (0, "front"), (1, "database")), *journey(0, "b", (0, "front"), (0.1, "cache"))]
    many = [line for number in range(20) for line in journey(1, f"c{number}", (number, "front"), (number + 1, "database"))]
    many += journey(1, "d", (0, "front"), (0.1, "cache"))
    assert waits_of(ListLogs(few + many), "front")[:2] == pytest.approx([0.55, 0.55], abs=1e-5)


def test_lines_without_a_request_are_of_no_request_and_bring_no_series() -> None:
    plain = [LogLine(at=START + second, component="front", text="INFO well") for second in range(50)]
    counts = collector(ListLogs(plain), LogSettings(), around())
    assert not [key for key in counts.discover() if key.metric == WAIT]
    alone = ListLogs([*plain, *journey(0, "a", (0, "front"), (5, "stock"))])
    assert waits_of(alone, "front")[0] == 5


def test_between_the_lines_of_a_sample_are_others_so_the_wait_is_not_known() -> None:
    source = ListLogs([line for minute in range(3) for line in calls(minute)])
    source.extra = {("front", ""): {1: 5}}
    wait = waits_of(source, "basket")
    assert not np.isnan(wait[[0, 2]]).any()
    assert np.isnan(wait[1])


def test_it_does_not_matter_which_buckets_are_read_together() -> None:
    source = ListLogs([line for minute in range(8) for line in journey(minute + 0.9, f"r{minute}", (0, "a"), (3, "b"), (7, "a"))])
    whole = waits_of(source, "a")
    single = [
        waits_of(source, "a", Window(START + bucket * SPAN, START + (bucket + 1) * SPAN, SPAN))[0]
        for bucket in range(len(WINDOW))
    ]
    np.testing.assert_array_equal(whole, single)
    assert whole[0] == 3


def test_who_waits_is_still_known_after_a_restart_and_a_memory_from_before_is_believed(tmp_path: Path) -> None:
    before = collector(ListLogs(calls(0)), LogSettings(), around(memory=tmp_path))
    assert SeriesKey("stock", WAIT) in before.discover()
    before.collect(SeriesIndex([SeriesKey("stock", WAIT)]), Window(WINDOW.end, WINDOW.end + 3600, SPAN))
    quiet = ListLogs([])
    assert SeriesKey("stock", WAIT) in collector(quiet, LogSettings(), around(memory=tmp_path)).discover()
    path = tmp_path / "templates.json"
    older = json.loads(path.read_text())
    for known in older["components"].values():
        del known["waits"]
    path.write_text(json.dumps(older))
    after = collector(quiet, LogSettings(), around(memory=tmp_path))
    assert SeriesKey("stock", "log.lines") in after.discover()
    assert SeriesKey("stock", WAIT) not in after.discover()
    assert not after.check()


def test_a_column_of_a_table_tells_the_request(tmp_path: Path) -> None:
    rows = "timestamp,message,trace\n2026-01-01T00:00:01Z,x,t1\n2026-01-01T00:00:02Z,y,\n"
    (tmp_path / "all.csv.gz").write_bytes(gzip.compress(rows.encode()))
    settings = LogFilesSettings(path="*.csv.gz", layout="csv", component="shop", request="trace")
    assert [line.request for line in LogFiles(settings, around(tmp_path)).read(WINDOW).lines] == ["t1", ""]
