"""However rows are cut into files, blocks, appended pieces and windows: the same values as reading cell by cell."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.files import Files, FilesSettings
from collectors.files.limits import Limits
from tests.naive import naive_files
from tocsin.model import Aggregate, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

T0, SPAN = 1_700_000_000, 10
WINDOW = Window(T0, T0 + 30 * SPAN, SPAN)
COMPONENTS, METRICS = ("a", "b", "c"), ("cpu", "disk", "errors", "load", "peak", "seen")
AGGREGATES = {
    "cpu": Aggregate.MEAN,
    "disk": Aggregate.LAST,
    "errors": Aggregate.SUM,
    "load": Aggregate.MIN,
    "peak": Aggregate.MAX,
    "seen": Aggregate.COUNT,
}
TINY = Limits(block=96, line=4000, buckets=37, samples=4)
INDEX = SeriesIndex(SeriesKey(component, metric) for component in COMPONENTS for metric in METRICS)

quarters = st.integers(-8, 4 * 30 * SPAN + 8)
numbers = st.integers(-4000, 4000).map(lambda eighths: eighths / 8)
cells = st.one_of(numbers.map(str), numbers.map(str), st.sampled_from(["", "nan", "x", "inf", '"5"', "-"]))


def spelled(quarter: int, iso: bool) -> str:
    seconds = T0 + quarter / 4
    return datetime.fromtimestamp(seconds, UTC).isoformat() if iso else f"{seconds:.2f}".rstrip("0").rstrip(".")


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """One file: long or wide, epochs or ISO, ordered or not, with duplicates, bad cells and ragged rows."""
    iso, long = draw(st.booleans()), draw(st.booleans())
    times = draw(st.lists(quarters, max_size=25))
    if draw(st.booleans()):
        times.sort()
    if long:
        lines = ["component,metric,timestamp,value"]
        for time in times:
            key = draw(st.sampled_from(COMPONENTS)), draw(st.sampled_from(METRICS))
            lines.append(f"{key[0]},{key[1]},{spelled(time, iso)},{draw(cells)}")
    else:
        metrics = draw(st.lists(st.sampled_from(METRICS), unique=True, max_size=4))
        lines = [",".join(["timestamp", *metrics, "label"])]
        lines += [",".join([spelled(time, iso), *(draw(cells) for _ in metrics), "1"]) for time in times]
    if len(lines) > 1 and draw(st.integers(0, 3)) == 0:
        lines.insert(draw(st.integers(1, len(lines))), draw(st.sampled_from(["", "1", f"{T0},2,3,4,5,6,7,8,9"])))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (end.join(lines) + end * draw(st.booleans())).encode()


def collector(folder: Path, limits: Limits) -> Files:
    metrics = {name: Metric(name=name, aggregate=aggregate) for name, aggregate in AGGREGATES.items()}
    around = Surroundings(component_type="t", calendar=Calendar("UTC"), span=SPAN, metrics=metrics, folder=folder)
    return Files(FilesSettings(path="**"), around, limits=limits)


def assert_like_naive(files: Files, folder: Path) -> None:
    names = {name: aggregate.value for name, aggregate in AGGREGATES.items()}
    wanted = naive_files(list(folder.rglob("*.csv*")), list(INDEX), WINDOW, names)
    got = files.collect(INDEX, WINDOW)
    np.testing.assert_array_equal(got.values, wanted)
    assert got.known.all()


@settings(max_examples=25)
@given(st.lists(contents(), min_size=1, max_size=3), st.data())
def test_growing_files_say_what_the_naive_reader_says_at_every_step(files: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / "a.csv", folder / "b.csv", folder / "sub" / "c.csv"][: len(files)]
        (folder / "sub").mkdir()
        for path in paths:
            path.touch()
        growing = collector(folder, TINY)
        while any(files):
            place = data.draw(st.sampled_from([place for place, rest in enumerate(files) if rest]))
            size = data.draw(st.integers(max(1, len(files[place]) // 3), len(files[place])))
            with paths[place].open("ab") as file:
                file.write(files[place][:size])
            files[place] = files[place][size:]
            assert_like_naive(growing, folder)
        assert_like_naive(collector(folder, TINY), folder)
        assert_like_naive(collector(folder, Limits()), folder)


@settings(max_examples=20)
@given(contents(), contents(), st.integers(1, 30))
def test_packed_files_and_tiles_of_windows_make_the_same_whole(one: bytes, other: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.csv").write_bytes(one)
        (folder / "b.csv.gz").write_bytes(gzip.compress(other, 1))
        files = collector(folder, TINY)
        assert_like_naive(files, folder)
        whole = files.collect(INDEX, WINDOW).values
        tiles = [
            Window(start, min(start + size * SPAN, WINDOW.end), SPAN) for start in range(WINDOW.start, WINDOW.end, size * SPAN)
        ]
        np.testing.assert_array_equal(np.concatenate([files.collect(INDEX, tile).values for tile in tiles], axis=1), whole)
