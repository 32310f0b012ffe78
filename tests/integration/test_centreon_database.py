"""The collector and a real MariaDB with Centreon's tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.centreon import Centreon, CentreonSettings
from tests.integration import mariadb
from tests.integration.mariadb import DAY, MariaDB, Storage
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

pytestmark = pytest.mark.integration

TODAY = 20_500
START = TODAY * DAY


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with mariadb.server() as running:
        yield running


@pytest.fixture
def storage(maria: MariaDB) -> Iterator[Storage]:
    with maria.schema("centreon_storage", TODAY - 3, TODAY + 1) as made:
        yield made


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


def test_what_is_checked_is_discovered(storage: Storage) -> None:
    host = storage.host("srv-1")
    cpu = storage.service(host, "Cpu")
    storage.metric(cpu, "cpu.utilization.percentage")
    disk = storage.service(host, "Disk-/")
    storage.metric(disk, "/var#storage.space.usage.bytes")
    source = collector(storage)
    assert sorted(source.discover()) == [
        SeriesKey("srv-1", "Cpu cpu.utilization.percentage"),
        SeriesKey("srv-1", "Disk-/ /var#storage.space.usage.bytes"),
    ]
    source.close()


def test_every_check_lands_in_its_bucket(storage: Storage) -> None:
    service = storage.service(storage.host("srv-1"), "Cpu")
    metric = storage.metric(service, "cpu")
    storage.values(metric, [(START + 300 * i + 17, float(i)) for i in range(10)])
    source = collector(storage, metrics={"cpu": Metric(name="cpu")})
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 3000, 300))
    np.testing.assert_array_equal(frame.values[0], np.arange(10.0))
    assert frame.known.all()
    source.close()
