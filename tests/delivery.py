"""A sender, a receiver with an engine's bad manners, and half days of trouble between them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from alerting.deliver import Deliver
from alerting.desired import Pace, want, worse
from alerting.memory import InMemory
from tests.fakes import FakeEngine
from tocsin.model import CheckResult, Desired, Outcome, ServiceKey, Severity

PACE = Pace()
OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL
FOREVER = 10**9


class Killed(Exception):
    """The process died here."""


class Fragile(InMemory):
    """A store whose user dies at the commit points named in `kill`: asked for work, storing the answer, or having stored it."""

    def __init__(self) -> None:
        super().__init__()
        self.kill: set[str] = set()

    def due(self, now: float, limit: int) -> Sequence[Desired]:
        self._maybe("due")
        return super().due(now, limit)

    def record(self, before: Sequence[Desired], after: Sequence[Desired]) -> None:
        self._maybe("record")
        super().record(before, after)
        self._maybe("recorded")

    def _maybe(self, point: str) -> None:
        if point in self.kill:
            self.kill.discard(point)
            raise Killed


class Deadly(FakeEngine):
    """A receiver whose sender may die between sending and writing down that it sent, and whose pipe may lose its order."""

    store: Fragile
    draw: random.Random | None = None

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        outcomes = super().send(results)
        if "sent" in self.store.kill:
            self.store.kill.discard("sent")
            raise Killed
        return outcomes

    def work(self) -> None:
        if self.draw is not None:
            self.draw.shuffle(self._pipe)
        super().work()


@dataclass
class Site:
    """A sender, a receiver, and a clock that only `live` moves."""

    services: list[ServiceKey]
    reads_back: bool = True
    now: float = 1_000_000.0
    skew: float = 0.0
    draw: random.Random | None = None
    openings: list[tuple[float, ServiceKey, Severity]] = field(default_factory=list)
    changes: list[tuple[float, ServiceKey]] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.engine = Fragile(), Deadly(self.services, reads_back=self.reads_back)
        self.engine.store, self.engine.draw = self.store, self.draw
        self.start()
        for service in self.services:
            self.want(service, OK)

    def start(self) -> None:
        self.deliver = Deliver(self.store, self.engine, PACE)

    @property
    def clock(self) -> float:
        return self.now + self.skew

    def want(self, service: ServiceKey, code: Severity) -> None:
        before = self.store.get(service)
        was = OK if before is None else before.code
        result = CheckResult(service=service, code=code, text="text")
        self.store.put([want(before, result, self.clock, FOREVER)])
        if code is not was:
            self.changes.append((self.now, service))
        if code is not was and worse(code, was) and code is not Severity.UNKNOWN:
            self.openings.append((self.now, service, code))

    def step(self) -> None:
        self.engine.now = self.now
        try:
            self.deliver.step(self.clock)
        except Killed:
            self.start()
        self.engine.work()

    def live(self, seconds: float, each: float = 5.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += min(each, end - self.now)
            self.step()

    def never_shown(self) -> list[tuple[float, ServiceKey, Severity]]:
        """Openings that were not to be seen at any time afterwards (what was on display already counts)."""
        missing = []
        for at, service, code in self.openings:
            earlier = [shown for time, key, shown in self.engine.history if key == service and time <= at][-1:]
            later = [shown for time, key, shown in self.engine.history if key == service and time > at]
            if not any(shown is code or worse(shown, code) for shown in earlier + later):
                missing.append((at, service, code))
        return missing

    def too_many_changes(self) -> list[ServiceKey]:
        """Services whose shown state changed more often than their real one. What a dead engine forgot is no change of ours."""
        found = []
        for service in self.services:
            real = sum(key == service for _, key in self.changes)
            shown, before, last = 0, OK, float("-inf")
            for at, key, code in self.engine.history:
                if key != service:
                    continue
                forgotten = any(last < death <= at for death in self.deaths)
                shown += code is not before and not forgotten
                before, last = code, at
            if shown > real:
                found.append(service)
        return found

    def wrong(self) -> list[ServiceKey]:
        shown = {key: one.code for key, one in self.engine.shown.items()}
        return [row.service for row in self.store.all_desired() if shown.get(row.service) is not row.code]


def all_is_well_again(site: Site) -> None:
    site.engine.up, site.engine.drops, site.engine.services, site.store.kill = True, False, set(site.services), set()
    site.live(PACE.read_back * 2 + 1.1 * PACE.reassert + 200)


def half_day(seed: int, services: int = 4, *, reads_back: bool = True) -> tuple[Site, float]:
    """Twelve hours of incidents; of an engine that dies and forgets, drops, and shows what came together in any order; and of
    a sender that is killed before and after it sent, and before and after it wrote that down.

    Returns the longest time a CRITICAL was not to be seen although both sides were up.
    """
    draw = random.Random(seed)
    site = Site([ServiceKey(f"web-{number}", "Anomaly") for number in range(services)], reads_back=reads_back, draw=draw)
    end, back_at, hidden, longest = site.now + 12 * 3600, site.now, 0.0, 0.0
    state = dict.fromkeys(site.services, (OK, site.now + 600))
    while site.now < end:
        for service, (was, until) in state.items():
            if site.now >= until:
                code = draw.choice((WARNING, CRITICAL)) if was is OK else draw.choice((OK, OK, OK, CRITICAL))
                state[service] = code, site.now + draw.expovariate(1 / (900 if code is not OK else 7200)) + 1
                site.want(service, code)
        if site.engine.up and draw.random() < 0.002:
            site.engine.die()
            site.deaths.append(site.now)
            back_at = site.now + draw.choice((30, 300, 3600, 7200)) * draw.random()
        elif not site.engine.up and site.now >= back_at:
            site.engine.up = True
        if draw.random() < 0.005:
            site.store.kill.add(draw.choice(("due", "sent", "record", "recorded")))
        site.engine.drops = draw.random() < 0.02
        site.live(30, each=30)
        unseen = site.engine.up and any(site.store.get(key).code is CRITICAL for key in site.wrong())  # type: ignore[union-attr]
        hidden = hidden + 30 if unseen else 0.0
        longest = max(longest, hidden)
    all_is_well_again(site)
    return site, longest
