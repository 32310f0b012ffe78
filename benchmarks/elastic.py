"""What a tick costs: components × 10 metrics × 1-minute buckets from an OpenSearch-like server, aggregated there.

    .venv/bin/python benchmarks/elastic.py [--components 2000] [--buckets 5] [--url http://…]

Without `--url` the small server of the tests is started and filled. With it the index `metrics-benchmark` is made there, filled
and removed again. Requests must grow with pages (rows / page size) and with nothing else.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import tracemalloc
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from collectors.elastic import ElasticCollector, ElasticSettings
from tests.elastic_servers import NUMBER, call, fill, small_server
from tocsin.model import SeriesIndex, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

INDEX, SPAN = "metrics-benchmark", 60
METRICS = tuple(f"m{number}" for number in range(10))


def documents(components: int, window: Window) -> Iterator[dict[str, Any]]:
    """One document per component and bucket, as Metricbeat writes them."""
    for start in window.starts.tolist():
        for number in range(components):
            values = {name: (number * 7 + place * 13 + start // SPAN) % 1000 / 10 for place, name in enumerate(METRICS)}
            yield {"@timestamp": (start + number % SPAN) * 1000, "host": {"name": f"host-{number:05d}"}, **values}


def collector(url: str, now: float, page: int, names: str = "*") -> ElasticCollector:
    limits = {"page": page, "per_second": 1000}
    written = {"hosts": url, "index": INDEX, "fields": {name: name for name in METRICS}, "include": [names], "limits": limits}
    around = Surroundings(component_type="host", calendar=Calendar("UTC"), span=SPAN, metrics={}, folder=Path())
    return ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: now)


def measure(made: ElasticCollector, window: Window) -> list[str]:
    """One tick, warm: requests, rows, bytes, seconds of this process, seconds of the clock, megabytes."""
    index = SeriesIndex(made.discover())
    made.collect(index, window)
    before, cpu, began = made.manners.usage, time.process_time(), time.perf_counter()
    frame = made.collect(index, window)
    took, used, after = time.perf_counter() - began, time.process_time() - cpu, made.manners.usage
    assert frame.known.all()
    assert not (frame.values != frame.values).any(), "a value is missing"
    tracemalloc.start()
    made.collect(index, window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [
        f"{len(index.components)}",
        f"{len(index) * len(window)}",
        f"{after.rows - before.rows}",
        f"{after.requests - before.requests}",
        f"{(after.bytes - before.bytes) / 1e6:.2f}",
        f"{used:.2f}",
        f"{took:.2f}",
        f"{peak / 1e6:.1f}",
    ]


def run(url: str, components: int, buckets: int) -> None:
    now = int(time.time()) // SPAN * SPAN
    window = Window(now - buckets * SPAN, now, SPAN)
    began = time.perf_counter()
    fill(url, INDEX, documents(components, window), dict.fromkeys(METRICS, NUMBER))
    print(f"{components * buckets} documents written in {time.perf_counter() - began:.0f} s")
    head = ["components", "values", "rows", "requests", "MB", "CPU s", "s", "peak MB"]
    table = [["page", *head]]
    for page in (1000, 5000, 20_000):
        for share, names in ((components, "*"), (components // 10, "host-*0")):
            made = collector(url, now, page, names)
            row = measure(made, window)
            assert int(row[0]) == share
            table.append([str(page), *row])
            made.close()
    show(table)
    print(f"largest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


def show(table: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--components", type=int, default=2000)
    arguments.add_argument("--buckets", type=int, default=5)
    arguments.add_argument("--url")
    given = arguments.parse_args()
    if given.url:
        try:
            run(given.url, given.components, given.buckets)
        finally:
            try:
                call(given.url, "DELETE", f"/{INDEX}")
            except urllib.error.HTTPError as error:
                error.close()
    else:
        with small_server() as server:
            run(server.url, given.components, given.buckets)


if __name__ == "__main__":
    main()
