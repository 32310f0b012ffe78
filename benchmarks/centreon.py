"""What a tick from Centreon costs through each door: statements or requests, rows, bytes, CPU seconds and peak memory of ours.

    python benchmarks/centreon.py [--components 200 2000] [--metrics 10] [--hours 2 12] [--services 25 100] [--ticks 3]

Through the database: a real MariaDB in a process of its own, with so many hours of today already written (every tick walks
through today's partition, which has no index by time). Through the Web API: the fake Centreon, in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))
TODAY = 20_500
START = TODAY * 86_400


def serve(services: int, metrics: int) -> None:
    """The fake Centreon, until its input is closed."""
    from tests.centreon_fake import centreon

    now = START + 7200
    with centreon(now=lambda: now) as fake:
        for place in range(services):
            service = fake.service(fake.host(f"srv-{place:05}"), "Checks")
            for number in range(metrics):
                service.samples[f"metric.{number}"] = {START + 300 * step: 1.0 + step for step in range(24)}
        print(fake.url, flush=True)
        sys.stdin.read()


def peak_memory() -> float:
    """Most memory this process ever held, MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def measure(written: dict[str, Any], now: int, ticks: int) -> None:
    """Discovery, then ticks of three buckets of five minutes, one line each."""
    import numpy as np

    from collectors.centreon import Centreon, CentreonSettings
    from tocsin.model import SeriesIndex, Window
    from tocsin.ports import Surroundings
    from tocsin.timegrid import Calendar

    around = Surroundings(component_type="host", calendar=Calendar("Europe/Paris"), span=300, metrics={}, folder=Path())
    own = {"limits": {"retries": 0, "per_second": 1000, "timeout": "10m"}, **written}
    source = Centreon(CentreonSettings.model_validate(own), around, now=lambda: now)
    last = source._door.usage()

    def line(what: str, started: float, cpu: float, note: str) -> None:
        nonlocal last
        usage = source._door.usage()
        asked, rows, read = (after - before for after, before in zip(usage, last, strict=True))
        last = usage
        print(
            f"  {what:<10} {asked:>6} asked {rows:>8} rows {read / 1e6:>8.2f} MB {time.perf_counter() - started:>7.2f} s"
            f" {time.process_time() - cpu:>6.2f} s CPU {peak_memory():>6.0f} MB peak   {note}",
            flush=True,
        )

    started, cpu = time.perf_counter(), time.process_time()
    index = SeriesIndex(source.discover())
    line("discover", started, cpu, f"{len(index)} series")
    for _ in range(ticks):
        started, cpu = time.perf_counter(), time.process_time()
        frame = source.collect(index, Window(now - 900, now, 300))
        line("tick", started, cpu, f"{np.isfinite(frame.values).mean():.0%} with a value")
    started, cpu = time.perf_counter(), time.process_time()
    frame = source.collect(index, Window(START, now // 300 * 300, 300))
    line("backfill", started, cpu, f"{frame.values.size} cells at once")
    source.close()


def apart(*arguments: str) -> None:
    """Measured in a process of its own, so that its memory is its own."""
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one block per size and door."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--components", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--hours", type=int, nargs="+", default=[2])
    parser.add_argument("--services", type=int, nargs="*", default=[25, 100])
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--serve", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        serve(*given.serve)
    elif given.measure:
        import json

        measure(json.loads(given.measure[0]), int(given.measure[1]), given.ticks)
    else:
        through_the_database(given)
        through_the_api(given)


def through_the_database(given: argparse.Namespace) -> None:
    """Needs a MariaDB server on this machine, or Debian's archive to unpack one from."""
    import json

    from tests.integration import mariadb

    with mariadb.server() as running:
        for components in given.components:
            for hours in given.hours:
                with running.schema("bench", TODAY - 1, TODAY, keyed=False) as storage:
                    storage.park(components, given.metrics)
                    now = START + hours * 3600
                    storage.history(START, now, 300)
                    storage.do("ALTER TABLE data_bin ADD KEY index_metric (id_metric)")
                    storage.do("UPDATE instances SET last_alive = %s", (now,))
                    database = json.loads(storage.settings().model_dump_json())
                    print(f"database: {components} hosts with {given.metrics} metrics, {hours} h of today written")
                    apart("--ticks", str(given.ticks), "--measure", json.dumps({"database": database}), str(now))
                    storage.close()


def through_the_api(given: argparse.Namespace) -> None:
    """One request per service and tick."""
    import json

    from tests.centreon_fake import API_TOKEN

    os.environ["CENTREON_TOKEN"] = API_TOKEN
    for services in given.services:
        command = [sys.executable, __file__, "--serve", str(services), str(given.metrics)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fake:
            assert fake.stdout is not None
            assert fake.stdin is not None
            url = fake.stdout.readline().strip()
            print(f"api: {services} services with {given.metrics} metrics")
            apart(
                "--ticks",
                str(given.ticks),
                "--measure",
                json.dumps({"api": {"url": url, "token": "env:CENTREON_TOKEN"}}),
                str(START + 7200),
            )
            fake.stdin.close()


if __name__ == "__main__":
    main()
