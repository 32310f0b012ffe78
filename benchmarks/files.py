"""What it costs to index and to collect large files: CPU seconds and peak memory.

    python benchmarks/files.py [--rows 10000000] [--kinds wide long shuffled gzip parquet]

Each kind is written to a temporary folder and read in a fresh process, which prints: the look at a new file, the whole of it as
one frame, the same day by day, and one tick after 1,000 rows were appended.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))
KINDS = ("wide", "long", "shuffled", "gzip", "parquet")
START, SPAN, CHUNK = 1_767_225_600, 300, 500_000


def table(kind: str, first: int, rows: int, total: int) -> Any:
    """Rows `first` … of a park of 100 components with 10 metrics each (long), or one component with 4 metrics (wide)."""
    rng = np.random.default_rng(first)
    place = np.arange(first, first + rows)
    if kind in ("wide", "gzip", "parquet"):
        columns = {name: pa.array(np.round(rng.gamma(4, 25, rows), 3)) for name in ("cpu", "disk", "latency", "requests")}
        return pa.table({"timestamp": pa.array(START + place * 2), **columns})
    if kind == "shuffled":
        place = rng.integers(0, total, rows)
    names = pa.array([f"web{number:03d}" for number in range(100)]), pa.array([f"metric{number}" for number in range(10)])
    component = pa.DictionaryArray.from_arrays(pa.array(place % 100), names[0]).cast(pa.string())
    metric = pa.DictionaryArray.from_arrays(pa.array(place // 100 % 10), names[1]).cast(pa.string())
    value = pa.array(np.round(rng.gamma(4, 25, rows), 3))
    return pa.table({"component": component, "metric": metric, "timestamp": pa.array(START + place // 1000 * 60), "value": value})


def write(kind: str, rows: int, folder: Path) -> Path:
    """The file of one kind."""
    path = folder / {"gzip": "web.csv.gz", "parquet": "web.parquet"}.get(kind, "web.csv")
    parts = (table(kind, first, min(CHUNK, rows - first), rows) for first in range(0, rows, CHUNK))
    if kind == "parquet":
        part = next(parts)
        with pq.ParquetWriter(path, part.schema) as writer:
            writer.write_table(part)
            for part in parts:
                writer.write_table(part)
        return path
    with gzip.open(path, "wb", 1) if kind == "gzip" else path.open("wb") as sink:
        for number, part in enumerate(parts):
            pacsv.write_csv(part, sink, pacsv.WriteOptions(include_header=number == 0, quoting_style="none"))
    return path


def peak_memory() -> float:
    """Most memory this process ever held, MB. `ru_maxrss` would start at what the parent had when it forked."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def measure(kind: str, path: Path, rows: int) -> dict[str, float]:
    """The four costs, in this process."""
    from collectors.files import PLUGIN, FilesSettings
    from tocsin.model import SeriesIndex, Window
    from tocsin.ports import Surroundings
    from tocsin.timegrid import Calendar

    def cpu(act: Callable[[], Any]) -> tuple[Any, float]:
        before = time.process_time()
        made = act()
        return made, time.process_time() - before

    around = Surroundings(component_type="park", calendar=Calendar("UTC"), span=SPAN, metrics={}, folder=path.parent)
    base = peak_memory()
    files = PLUGIN.build(FilesSettings(path=path.name), around)
    keys, look = cpu(files.discover)
    index = SeriesIndex(keys)
    first, last = files.reach()
    whole = Window(first // SPAN * SPAN, last // SPAN * SPAN + SPAN, SPAN)
    frame, collect = cpu(lambda: files.collect(index, whole))
    days = [Window(start, min(start + 86400, whole.end), SPAN) for start in range(whole.start, whole.end, 86400)]
    _, daily = cpu(lambda: [files.collect(index, day) for day in days])
    tick = float("nan")
    if path.suffix == ".csv":
        pacsv.write_csv(table(kind, rows, 1000, rows + 1000), path.with_suffix(".more"), pacsv.WriteOptions(include_header=False))
        with path.open("ab") as file:
            file.write(path.with_suffix(".more").read_bytes())
        _, tick = cpu(lambda: files.collect(index, Window.ending(last, SPAN)))
    peak = peak_memory()
    return {
        "size": path.stat().st_size / 1e6, "series": len(index), "frame": frame.values.nbytes / 1e6, "look": look,
        "collect": collect, "daily": daily, "tick": tick, "base": base, "peak": peak, "pandas": float("pandas" in sys.modules),
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]), options.rows)))
        return
    print(
        f"{options.rows:,} rows".ljust(16)
        + "file MB  series  look s  collect s  by day s  tick ms  peak MB  of it frame, imports"
    )
    for kind in options.kinds:
        folder = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
        try:
            path = write(kind, options.rows, folder)
            command = [sys.executable, __file__, "--rows", str(options.rows), "--measure", kind, str(path)]
            environment = {**os.environ, "PYTHONPATH": str(HERE)}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            m = json.loads(done.stdout)
            print(
                f"{kind:16}{m['size']:7.0f}{m['series']:8.0f}{m['look']:8.2f}{m['collect']:11.2f}{m['daily']:10.2f}"
                f"{m['tick'] * 1000:9.1f}{m['peak']:9.0f}{m['frame']:11.0f}{m['base']:9.0f}"
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
