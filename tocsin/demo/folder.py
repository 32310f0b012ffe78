"""The park written down as a team would keep it: measurements in files, and a configuration of Tocsin that reads them.

Each component type is kept in another way, so that all of them can be seen: web as one CSV a component, databases and
hosts as one Parquet file a week (one row a sample, and one row an instant), queues as one long compressed CSV.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tocsin.demo.park import Park, ParkType
from tocsin.model import Bools, Floats, Frame, Ints, Metric, SeriesKey, Window

WEEK = 7 * 86_400

_SOURCES: Mapping[str, Mapping[str, Any]] = {
    "web": {"path": "../data/web/*.csv"},
    "database": {"path": "../data/database/*.parquet"},
    "host": {"path": "../data/host/*.parquet", "component": {"column": "host"}},
    "queue": {"path": "../data/queue.csv.gz", "component": {"column": "queue"}},
}

_MAIN = """\
# The simulated park of `tocsin demo`, seed {seed}. Try:
#   tocsin check-config -c {name}
#   tocsin backtest -c {name} --labels incidents.csv --html report.html
state: var
timezone: Europe/Paris
deliver:
  sink: {{use: recording, file: passive-results.jsonl}}
  reassert: 1h
train: {{every: 1d, history: 4w}}
http: {{listen: null}}
"""


def write(park: Park, folder: Path) -> Path:
    """Write the park below `folder`, made if need be; the path of its tocsin.yaml.

    `incidents.csv` holds what really happened in the live week, `changes.csv` what changed for good.
    """
    for name in ("web", "database", "host"):
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
    (folder / "components").mkdir(exist_ok=True)
    _wide_csv(park.types["web"], folder / "data" / "web")
    for name, week in _weeks(park, park.types["database"].raw):
        pq.write_table(pa.table(_long(week)), folder / "data" / "database" / name, compression="zstd")
    for name, week in _weeks(park, park.types["host"].raw):
        pq.write_table(pa.table(_wide(week, "host")), folder / "data" / "host" / name, compression="zstd")
    _long_csv(park.types["queue"].raw, folder / "data" / "queue.csv.gz")
    for kind in park.types.values():
        (folder / "components" / f"{kind.name}.yaml").write_text("\n".join(_component_file(park, kind)) + "\n", encoding="utf-8")
    for name, labels in (("incidents.csv", park.incidents), ("changes.csv", park.changes)):
        rows = [f"{label.component},{_iso(label.start)},{_iso(label.end)},{label.kind}" for label in labels]
        (folder / name).write_text("\n".join(["component,start,end,kind", *rows]) + "\n", encoding="utf-8")
    main = folder / "tocsin.yaml"
    main.write_text(_MAIN.format(seed=park.seed, name=main.name), encoding="utf-8")
    return main


# --- configuration ------------------------------------------------------------------------------------------------


def _component_file(park: Park, kind: ParkType) -> Iterator[str]:
    calendar = park.calendar
    yield f"component_type: {kind.name}"
    yield f"timezone: {calendar.timezone}"
    yield f"calendar: {{holidays: {calendar.country}, business: [{', '.join(calendar.business)}]}}"
    yield "collect:"
    yield "  - from: files"
    yield from (f"    {key}: {json.dumps(value)}" for key, value in _SOURCES[kind.name].items())
    yield f"    every: {park.live.span // 60}m"
    yield "    metrics:"
    yield from (f"      {name}: {json.dumps(_known_of(metric))}" for name, metric in kind.metrics.items())
    yield "detect: [seasonal, silence]"
    yield "alert: {ladder: status}"
    yield "static:  # the template of today, the same for every component"
    for name, limits in kind.template.thresholds.items():
        yield f"  {name}: " + json.dumps({"warning": str(limits.warning), "critical": str(limits.critical)})


def _known_of(metric: Metric) -> dict[str, Any]:
    known: dict[str, Any] = {"unit": metric.unit} if metric.unit else {}
    known |= {"direction": metric.direction.value} | ({"counter": True} if metric.counter else {})
    if not metric.counter:
        known |= {"aggregate": metric.aggregate.value}
    known |= {bound: value for bound, value in (("lower", metric.lower), ("upper", metric.upper)) if np.isfinite(value)}
    return known | {"min_deviation": metric.min_deviation}


# --- measurements -------------------------------------------------------------------------------------------------


def _weeks(park: Park, frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Each week's first local day, and the week; the first has the bucket from which counters count."""
    window = frame.window
    for start in range(park.window.start, window.end, WEEK):
        first = window.start if start == park.window.start else start
        yield (
            f"from-{park.calendar.local(start).date()}.parquet",
            frame.within(Window(first, min(start + WEEK, window.end), window.span)),
        )


def _wide_csv(kind: ParkType, folder: Path) -> None:
    """`timestamp,requests,latency.p95,…` with ISO timestamps; the file's name is the component's."""
    frame, metrics = kind.raw, list(kind.metrics)
    instants = [_iso(start) for start in frame.window.starts.tolist()]
    for component in frame.index.components:
        columns = [map(_cell, frame.values[frame.index.rows[SeriesKey(component, metric)]].tolist()) for metric in metrics]
        with (folder / f"{component}.csv").open("w", encoding="utf-8") as file:
            file.write(",".join(["timestamp", *metrics]) + "\n")
            file.writelines(",".join(row) + "\n" for row in zip(instants, *columns, strict=True))


def _long_csv(frame: Frame, path: Path) -> None:
    """`timestamp,queue,metric,value` with epoch seconds, in order of time; what is not known has no row."""
    keys = [f"{key.component},{key.metric}" for key in frame.index]
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.write("timestamp,queue,metric,value\n")
        for instant, column in zip(frame.window.starts.tolist(), frame.values.T.tolist(), strict=True):
            file.writelines(f"{instant},{key},{value:.15g}\n" for key, value in zip(keys, column, strict=True) if value == value)  # noqa: PLR0124


def _long(frame: Frame) -> dict[str, Any]:
    """One row a sample: component, metric, timestamp, value."""
    there = np.isfinite(frame.values.T)
    columns, rows = np.nonzero(there)
    components = list(frame.index.components)
    metrics = sorted({key.metric for key in frame.index})
    metric_of = np.array([metrics.index(key.metric) for key in frame.index])
    return {
        "component": _words(components, frame.index.component_of[rows]),
        "metric": _words(metrics, metric_of[rows]),
        "timestamp": _instants(frame.window.starts[columns]),
        "value": _numbers(frame.values.T[there]),
    }


def _wide(frame: Frame, name: str) -> dict[str, Any]:
    """One row an instant and component, one column a metric."""
    components, instants = list(frame.index.components), frame.window.starts
    table = {
        "timestamp": _instants(np.repeat(instants, len(components))),
        name: _words(components, np.tile(np.arange(len(components)), len(instants))),
    }
    for metric in sorted({key.metric for key in frame.index}):
        rows = [frame.index.rows[SeriesKey(component, metric)] for component in components]
        table[metric] = _numbers(frame.values[rows].T.ravel())
    return table


def _iso(seconds: int) -> str:
    return f"{np.datetime64(seconds, 's')}Z"


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.15g}"  # noqa: PLR0124


# Arrow arrays are made from buffers: pa.array() imports pandas wherever it is installed, which takes a second.


def _numbers(values: Floats) -> Any:
    there = np.isfinite(values)
    return pa.Array.from_buffers(pa.float64(), len(values), [_bitmap(there), pa.py_buffer(np.ascontiguousarray(values))])


def _instants(seconds: Ints) -> Any:
    return pa.Array.from_buffers(pa.timestamp("ms", "UTC"), len(seconds), [None, pa.py_buffer(seconds * 1000)])


def _words(words: list[str], codes: NDArray[Any]) -> Any:
    ends = np.cumsum([0, *(len(word.encode()) for word in words)]).astype(np.int32)
    text = pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer("".join(words).encode())])
    indices = pa.Array.from_buffers(pa.int32(), len(codes), [None, pa.py_buffer(codes.astype(np.int32))])
    return pa.DictionaryArray.from_arrays(indices, text)


def _bitmap(there: Bools) -> Any:
    return pa.py_buffer(np.packbits(there, bitorder="little"))
