"""Parks in a Centreon database, and a collector on them."""

from __future__ import annotations

from pathlib import Path

from collectors.centreon import Centreon, CentreonSettings
from tests.integration.mariadb import DAY, Storage
from tocsin.model import Metric
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

TODAY = 20_500
START = TODAY * DAY


class Clock:
    """A clock that stands."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def collector(
    storage: Storage, *, span: int = 300, metrics: dict[str, Metric] | None = None, now: float = START, **settings: object
) -> Centreon:
    around = Surroundings(
        component_type="host", calendar=Calendar("Europe/Paris"), span=span, metrics=metrics or {}, folder=Path("/")
    )
    limits = {"retries": 0, "per_second": 1000}
    fields = {name: name for name in metrics or {}}
    own = {
        "database": storage.settings().model_dump() | {"password": "env:TOCSIN_TEST_DATABASE"},
        "limits": limits,
        "fields": fields,
    }
    return Centreon(CentreonSettings.model_validate({**own, "discover_every": "0s", **settings}), around, now=Clock(now))


def two_hosts(storage: Storage) -> tuple[int, int]:
    first, second = storage.host("srv-1"), storage.host("srv-2")
    storage.metric(storage.service(first, "Cpu"), "cpu")
    storage.metric(storage.service(first, "Disk-/"), "/var#used")
    storage.metric(storage.service(second, "Cpu"), "cpu")
    return first, second


def a_park(storage: Storage, hosts: int, until: int = START + 3600, poller: int = 1) -> None:
    for number in range(hosts):
        service = storage.service(storage.host(f"srv-{poller}-{number:03}", poller), "Cpu", poller=poller)
        storage.values(storage.metric(service, "cpu"), [(when + number, 1.0) for when in range(START - 1200, until, 300)])
