"""A whole tick from each source: components × metrics at 1-minute buckets, collected, judged, committed and delivered.

    python benchmarks/sources.py [elasticsearch splunk centreon] [--components 2000] [--metrics 10] [--ticks 5]

Elasticsearch is the small server of the tests, Splunk the fake one (in a process of its own), Centreon a real MariaDB with its
tables. Every half `replay` a tick reads half an hour again, for late data: that one is told apart. CPU and memory are those of
Tocsin's process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

SOURCES = ("elasticsearch", "splunk", "centreon")
SPAN, BEFORE = 60, 35
LEARNT, DAYS = 20, 15
"""Series whose past is learnt, and repeated for all others: learning is measured elsewhere."""

_MAIN = "state: var\ndeliver: {sink: {use: recording, file: sent.jsonl}, rate: 5000}\nhttp: {listen: null}\n"
_TYPE = """\
component_type: bench
every: 1m
delay: 0s
collect:
  - from: %(source)s
    metrics: {%(metrics)s}
%(more)s
alert: {ladder: status}
"""


def value(component: int, metric: int, minute: int, trouble: int) -> float:
    """Between 50 and 60; one component in five hundred goes astray when the trouble begins."""
    calm = 50.0 + (component * 7 + metric * 13 + minute * 29) % 100 / 10
    return calm * 3 if component % 500 == 7 and minute * SPAN >= trouble else calm


def names(components: int) -> list[str]:
    return [f"host-{place:05d}" for place in range(components)]


# --- the servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def elasticsearch(components: int, metrics: int, minutes: range, trouble: int) -> Iterator[str]:
    from tests.elastic_servers import NUMBER, fill, small_server

    def documents() -> Iterator[dict[str, Any]]:
        for minute in minutes:
            for place, name in enumerate(names(components)):
                measured = {f"m{metric}": value(place, metric, minute, trouble) for metric in range(metrics)}
                yield {"@timestamp": (minute * SPAN + 5) * 1000, "host": {"name": name}, **measured}

    with small_server() as server:
        fill(server.url, "metrics-bench", documents(), {f"m{metric}": NUMBER for metric in range(metrics)})
        yield f"    hosts: {server.url}\n    index: metrics-bench\n    limits: {{per_second: 1000}}"


@contextmanager
def splunk(components: int, metrics: int, minutes: range, trouble: int) -> Iterator[str]:
    numbers = [components, metrics, minutes.start, minutes.stop, trouble]
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", *map(str, numbers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as far:
        assert far.stdin is not None
        assert far.stdout is not None
        port = far.stdout.readline().strip()
        yield (
            f"    host: 127.0.0.1\n    port: {port}\n    scheme: http\n    auth: {{token: env:SPLUNK_TOKEN}}\n"
            "    index: em_metrics\n    limits: {per_second: 100}"
        )
        far.stdin.close()


def serve_splunk(components: int, metrics: int, first: int, after: int, trouble: int) -> None:
    """The fake, until its input is closed."""
    from tests.splunk_fake import Fake

    fake = Fake()
    fake.now, fake.states = after * SPAN, ["DONE"]
    hosts = [{"index": "em_metrics", "host": name} for name in names(components)]
    for minute in range(first, after):
        points = fake.samples.points[minute]
        for place, host in enumerate(hosts):
            points.extend(
                (minute * SPAN + 5.0, value(place, metric, minute, trouble), f"m{metric}", host) for metric in range(metrics)
            )
    with fake.running() as port:
        print(port, flush=True)
        sys.stdin.read()


@contextmanager
def centreon(components: int, metrics: int, minutes: range, trouble: int) -> Iterator[str]:
    from tests.integration.mariadb import DAY, server

    with server() as made:
        today = minutes.stop * SPAN // DAY
        with made.schema("bench", today - 1, today + 1) as storage:
            rows: list[tuple[int, int, float, str]] = []
            for place, name in enumerate(names(components)):
                service = storage.service(storage.host(name), "Check", interval=1)
                for metric in range(metrics):
                    ident = storage.metric(service, f"m{metric}")
                    rows += [(ident, minute * SPAN + 5, value(place, metric, minute, trouble), "0") for minute in minutes]
            for start in range(0, len(rows), 20_000):
                storage.many(
                    "INSERT INTO data_bin (id_metric, ctime, value, status) VALUES (%s, %s, %s, %s)", rows[start : start + 20_000]
                )
            own = storage.settings()
            yield (
                f"    database: {{host: 127.0.0.1, port: {own.port}, name: {own.name}, user: {own.user}, "
                f"password: env:TOCSIN_TEST_DATABASE, tls: {{ca: {made.ca}}}}}"
            )


# --- our side ---------------------------------------------------------------------------------------------------------------


def live(folder: Path, start: int, ticks: int) -> None:
    """Tick and deliver, one line of JSON each."""
    import numpy as np
    import structlog

    from tocsin.app import App
    from tocsin.config import load
    from tocsin.model import Baseline, Frame, SeriesIndex, SeriesKey, Window
    from tocsin.scale.local import InProcess
    from tocsin.scoring import Models, learn

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))

    def repeated(learnt: Baseline, index: SeriesIndex) -> Baseline:
        keys = index if len(learnt.index) == LEARNT else index.by_component
        return learnt.take(np.arange(len(keys)) % len(learnt.index), keys)

    with App(load(folder / "tocsin.yaml"), executor=InProcess(), started=start) as app:
        shard = app.shards[0]
        began, used = time.perf_counter(), time.process_time()
        index = shard.intake.discover()
        discovery = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used, "series": len(index)}
        metrics = sorted({key.metric for key in index})
        few = [SeriesKey(f"host-{place:05d}", metric) for place in range(LEARNT // len(metrics)) for metric in metrics]
        window = Window(start - DAYS * 86_400, start, SPAN)
        past = 50 + 10 * np.random.default_rng(0).random((len(few), len(window)))
        models = learn(Frame.of(SeriesIndex(few), window, past), shard.detectors)
        del past
        shard.models = Models(
            baselines={name: repeated(one, index) for name, one in models.baselines.items()},
            fusions={name: repeated(one, index) for name, one in models.fusions.items()},
        )
        print(json.dumps({"discovery": discovery}), flush=True)
        collector = shard.intake.sources[0].collector
        assert hasattr(collector, "manners")
        for turn in range(1, ticks + 1):
            now = start + turn * SPAN
            looked, before = shard.looked_back, collector.manners.usage
            began, used = time.perf_counter(), time.process_time()
            app.tick(shard, now)
            ticked, spent = time.perf_counter() - began, time.process_time() - used
            app.refresh(shard, now)
            at = float(now)
            while not app.delivered(at) and at < now + 50:
                at += 1
                app.deliver_step(at)
            after = collector.manners.usage
            figures = {
                "reread": shard.looked_back != looked,
                "seconds": ticked,
                "cpu": spent,
                "delivery": time.process_time() - used - spent,
                "requests": after.requests - before.requests,
                "bytes": after.bytes - before.bytes,
                "rows": after.rows - before.rows,
                "filled": int(np.isfinite(shard.recent.values[:, -1]).sum()) if shard.recent else 0,
                "open": len(shard.open),
                "services": len(app.state.all_desired()),
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
            print(json.dumps(figures), flush=True)


def measure(source: str, components: int, metrics: int, ticks: int) -> None:
    """Fill a server, live through some minutes of it in a process of its own, and print what each cost."""
    stop = int(time.time()) // SPAN
    start = stop - ticks
    trouble = (start + max(1, ticks - 3)) * SPAN
    minutes = range(start - BEFORE, stop)
    made = {"elasticsearch": elasticsearch, "splunk": splunk, "centreon": centreon}[source]
    print(f"{source}: {components} components x {metrics} metrics, 1-minute buckets")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name, made(components, metrics, minutes, trouble) as more:
        folder = Path(name)
        (folder / "components").mkdir()
        (folder / "tocsin.yaml").write_text(_MAIN)
        described = ", ".join(f"m{metric}: {{}}" for metric in range(metrics))
        (folder / "components/bench.yaml").write_text(_TYPE % {"source": source, "metrics": described, "more": more})
        done = subprocess.run(
            [sys.executable, __file__, "--live", name, str(start * SPAN), str(ticks)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "SPLUNK_TOKEN": "good-token"},
        )
    first, *lines = map(json.loads, done.stdout.splitlines())
    found = first["discovery"]
    print(f"  discovery {found['seconds']:.1f} s, {found['cpu']:.2f} s CPU, {found['series']} series")
    print("  tick  reads again  wall s  CPU s  delivery CPU s  requests    rows  MB read   values  open  services  peak MiB")
    for place, one in enumerate(lines, 1):
        print(
            f"  {place:>4}  {'half an hour' if one['reread'] else 'a bucket':>11}  {one['seconds']:6.2f}  {one['cpu']:5.2f}  "
            f"{one['delivery']:14.2f}  {one['requests']:8}  {one['rows']:6}  {one['bytes'] / 1e6:7.2f}  {one['filled']:7}  "
            f"{one['open']:4}  {one['services']:8}  {one['mib']:8.0f}"
        )


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve_splunk(*map(int, sys.argv[2:]))
        return
    if sys.argv[1:2] == ["--live"]:
        live(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=SOURCES, choices=SOURCES)
    parser.add_argument("--components", type=int, default=2000)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--ticks", type=int, default=5)
    given = parser.parse_args()
    for source in given.sources:
        measure(source, given.components, given.metrics, given.ticks)


if __name__ == "__main__":
    main()
