"""What a tick from Splunk costs: requests, bytes, CPU seconds and peak memory of ours; the fake Splunk runs in its own process.

    python benchmarks/splunk.py [--components 200 2000] [--metrics 10] [--buckets 5] [--ticks 3] [--backfill 0]

`--backfill 60` also reads so many minutes at once, as a first start does. What a search costs Splunk itself is not measured:
the fake's way of computing is not Splunk's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))
START = 1_790_812_800


def serve(components: int, metrics: int, minutes: int) -> None:
    """The fake, until its input is closed."""
    from tests.splunk_fake import Fake

    fake = Fake()
    fake.now, fake.states, fake.quota = START + 60 * minutes, ["RUNNING", "DONE"], 3
    hosts = [{"index": "em_metrics", "host": f"web{place:05}"} for place in range(components)]
    for minute in range(minutes):
        stamp = START + 60 * minute
        points = fake.samples.points[stamp // 60]
        points.extend((stamp + 5.0, 50.0 + place % 7, f"metric.{place}", host) for host in hosts for place in range(metrics))
    with fake.running() as port:
        print(port, flush=True)
        sys.stdin.read()


def peak_memory() -> float:
    """Most memory this process ever held, MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def measure(port: int, components: int, metrics: int, buckets: int, ticks: int, backfill: int) -> None:
    """Ticks of `buckets` minutes, one line each."""
    import numpy as np

    from collectors.splunk import Splunk, SplunkSettings
    from tocsin.model import SeriesIndex, SeriesKey, Window
    from tocsin.ports import Surroundings
    from tocsin.timegrid import Calendar

    os.environ["SPLUNK_TOKEN"] = "good-token"
    names = {f"m{place}": f"metric.{place}" for place in range(metrics)}
    written = {"host": "127.0.0.1", "port": port, "scheme": "http", "auth": {"token": "env:SPLUNK_TOKEN"}, "index": "em_metrics"}
    settings = SplunkSettings.model_validate(written | {"fields": names, "limits": {"per_second": 100, "timeout": "10m"}})
    around = Surroundings(component_type="web", calendar=Calendar("Europe/Paris"), span=60, metrics={}, folder=Path())
    splunk = Splunk(settings, around)
    index = SeriesIndex(SeriesKey(f"web{place:05}", name) for place in range(components) for name in names)
    splunk.collect(index, Window(START, START + 60, 60))
    print(f"{components} components x {metrics} metrics, {buckets} buckets a tick")
    print("window   wall s   CPU s   requests   rows    MB read   series with values   peak MB")
    for tick in range(ticks + (backfill > 0)):
        minutes = buckets if tick < ticks else backfill
        window = Window(START, START + 60 * minutes, 60)
        requests, usage = splunk.session.http.usage.requests, splunk.manners.usage
        wall, cpu = time.perf_counter(), time.process_time()
        frame = splunk.collect(index, window)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        after = splunk.manners.usage
        filled = int(np.isfinite(frame.values).all(axis=1).sum())
        print(
            f"{minutes:4} min {wall:8.2f} {cpu:7.2f} {splunk.session.http.usage.requests - requests:10} "
            f"{after.rows - usage.rows:7} {(after.bytes - usage.bytes) / 1e6:8.2f} {filled:20} {peak_memory():9.0f}"
        )
    splunk.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--components", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--buckets", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--backfill", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.components[0], given.metrics, max(given.buckets, given.backfill))
        return
    if given.port:
        measure(given.port, given.components[0], given.metrics, given.buckets, given.ticks, given.backfill)
        return
    numbers = ("metrics", "buckets", "ticks", "backfill")
    options = [text for name in numbers for text in (f"--{name}", str(getattr(given, name)))]
    for components in given.components:
        command = [sys.executable, __file__, "--components", str(components), *options]
        with subprocess.Popen([*command, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as far:
            assert far.stdin is not None
            assert far.stdout is not None
            port = far.stdout.readline().strip()
            subprocess.run([*command, "--port", port], check=True)
            far.stdin.close()


if __name__ == "__main__":
    main()
