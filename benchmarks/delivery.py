"""How soon ten thousand services are right after six hours without Centreon, and whether a storm starves the heartbeats.

A real state database and the real deliver loop, against a receiver in memory, on a simulated clock: seconds are the clock's,
CPU is this machine's.

    ./dev bench delivery
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from alerting.deliver import Deliver
from alerting.desired import Pace, want
from tests.fakes import FakeEngine
from tocsin.model import CheckResult, ServiceKey, Severity
from tocsin.store.state import State

OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL
HEARTBEAT = ServiceKey("tocsin", "tocsin-heartbeat")
HOURS = 3600.0


class Site:
    """A sender with its database, and a receiver; `now` is the simulated clock."""

    def __init__(self, folder: Path, services: int) -> None:
        self.keys = [ServiceKey(f"srv-{number:05d}", "Anomaly-host") for number in range(services)]
        self.state = State.open(folder / "tocsin.db", owner=True)
        self.engine, self.pace, self.now = FakeEngine([*self.keys, HEARTBEAT]), Pace(), 1_000_000.0
        self.deliver = Deliver(self.state, self.engine, self.pace)
        self.want(dict.fromkeys(self.keys, OK))
        self.beat()
        self.until_right()

    def want(self, codes: dict[ServiceKey, Severity]) -> None:
        before = {row.service: row for row in self.state.desired_rows(list(codes))}
        results = [CheckResult(service=key, code=code, text="text") for key, code in codes.items()]
        with self.state.tick("host") as tick:
            tick.want([want(before.get(one.service), one, self.now, 10**9) for one in results])

    def beat(self) -> None:
        before = {row.service: row for row in self.state.desired_rows([HEARTBEAT])}
        with self.state.tick("tocsin") as tick:
            tick.want([want(before.get(HEARTBEAT), CheckResult(service=HEARTBEAT, code=OK, text="here"), self.now, 120)])

    def step(self) -> None:
        self.now += 1
        self.engine.now = self.now
        self.deliver.step(self.now)
        self.engine.work()

    def right(self) -> bool:
        shown = self.engine.shown
        return all(
            row.service in shown and shown[row.service].code is row.code
            for row in self.state.all_desired()
            if row.valid_until > self.now
        )

    def until_right(self, most: int = 3600) -> int:
        """Simulated seconds until every service shows what it must."""
        begin = self.now
        while self.now - begin < most:
            self.step()
            if self.now % 5 == 0 and self.right():
                return int(self.now - begin)
        return most


def outage(site: Site, draw: random.Random) -> tuple[int, float, int]:
    """Six hours without Centreon, a tenth of the services changing every hour; seconds, CPU and messages to put it right."""
    site.engine.die()
    for _ in range(6):
        site.want({key: draw.choice((OK, WARNING, CRITICAL)) for key in draw.sample(site.keys, len(site.keys) // 10)})
        for _ in range(60):
            site.now += 60
            site.deliver.step(site.now)
    site.engine.up, before, cpu = True, site.engine.received, time.process_time()
    seconds = site.until_right()
    return seconds, time.process_time() - cpu, site.engine.received - before


def storm(site: Site, draw: random.Random, changes: int) -> tuple[int, float, float]:
    """So many services turn CRITICAL in one tick: seconds until all are shown, CPU, and the longest time without a heartbeat."""
    site.beat()
    site.step()
    site.want(dict.fromkeys(draw.sample(site.keys, changes), CRITICAL))
    begin, cpu, longest = site.now, time.process_time(), 0.0
    shown_at = 0
    while site.now - begin < 600:
        if int(site.now) % 15 == 0:
            site.beat()
        site.step()
        longest = max(longest, site.now - site.engine.shown[HEARTBEAT].last_check)
        if not shown_at and site.now % 5 == 0 and site.right():
            shown_at = int(site.now - begin)
    return shown_at, time.process_time() - cpu, longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=5_000)
    asked = parser.parse_args()
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), asked.services)
        with site.state:
            seconds, cpu, messages = outage(site, draw)
            print(
                f"{asked.services} services, 6 h without Centreon: all right after {seconds} s (wanted: 120), "
                f"{messages} messages, {cpu:.1f} s CPU"
            )
            seconds, cpu, longest = storm(site, draw, asked.changes)
            freshness = 3 * site.pace.reassert + 60
            print(
                f"{asked.changes} changes in one tick: all shown after {seconds} s, {cpu:.1f} s CPU in 10 minutes; "
                f"longest without a heartbeat {longest:.0f} s (its freshness threshold is {freshness:.0f})"
            )


if __name__ == "__main__":
    main()
