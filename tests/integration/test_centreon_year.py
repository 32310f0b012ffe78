"""A year of a park in a real MariaDB: found in it what was put in, at a cost that does not depend on what is not asked for."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.centreon import Centreon, CentreonSettings
from tests.integration import mariadb
from tests.integration.mariadb import DAY, Storage
from tocsin.model import SeriesIndex, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TODAY, DENSE = 20_500, 14
NOW = TODAY * DAY + 43_200


@pytest.fixture(scope="module")
def year() -> Iterator[Storage]:
    """200 metrics: every hour for eleven months and more, every five minutes for the last two weeks."""
    with mariadb.server() as running, running.schema("year", TODAY - 365, TODAY, keyed=False) as storage:
        storage.park(40, 5)
        storage.history((TODAY - 365) * DAY, (TODAY - DENSE) * DAY, 3600)
        storage.history((TODAY - DENSE) * DAY, NOW, 300)
        storage.do("ALTER TABLE data_bin ADD KEY index_metric (id_metric)")
        storage.do("UPDATE instances SET last_alive = %s", (NOW - 5,))
        yield storage
        storage.close()


def collector(storage: Storage, span: int = 300) -> Centreon:
    around = Surroundings(component_type="host", calendar=Calendar("UTC"), span=span, metrics={}, folder=Path("/"))
    database = storage.settings().model_dump() | {"password": "env:TOCSIN_TEST_DATABASE"}
    limits = {"retries": 0, "per_second": 1000}
    return Centreon(CentreonSettings.model_validate({"database": database, "limits": limits}), around, now=lambda: NOW)


def test_the_reach_is_a_year(year: Storage) -> None:
    source = collector(year)
    reach = source.reach()
    assert reach is not None
    first, last = year.all("SELECT MIN(ctime), MAX(ctime) FROM data_bin")[0]
    assert reach == (first, last)
    source.close()


@pytest.mark.parametrize("back", [0, 13, 200, 364])
def test_any_day_of_the_year_is_read_as_it_is_there(year: Storage, back: int) -> None:
    source = collector(year, span=3600)
    index = SeriesIndex(source.discover())
    day = Window((TODAY - back) * DAY, (TODAY - back) * DAY + 43_200, 3600)
    frame = source.collect(index, day)
    rows = year.all(
        "SELECT h.name, s.description, m.metric_name, d.ctime DIV 3600 * 3600, AVG(d.value) FROM data_bin d"
        " JOIN metrics m ON m.metric_id = d.id_metric JOIN index_data i ON i.id = m.index_id"
        " JOIN hosts h ON h.host_id = i.host_id JOIN services s ON s.service_id = i.service_id"
        " WHERE d.ctime >= %s AND d.ctime < %s GROUP BY d.id_metric, 4",
        (day.start, day.end),
    )
    wanted = np.full(frame.values.shape, np.nan)
    names = {(key.component, key.metric): row for row, key in enumerate(index)}
    for host, service, metric, start, value in rows:
        wanted[names[host, f"{service} {metric}"], (start - day.start) // 3600] = value
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(frame.values, wanted, rtol=1e-6)
    assert frame.known.all()
    source.close()


def test_a_tick_asks_as_much_as_it_would_of_a_day(year: Storage) -> None:
    source = collector(year)
    index = SeriesIndex(source.discover())
    before = source._door.usage()
    started = time.monotonic()
    frame = source.collect(index, Window(NOW - 900, NOW, 300))
    took = time.monotonic() - started
    statements, rows, _ = (after - then for after, then in zip(source._door.usage(), before, strict=True))
    assert np.isfinite(frame.values).all()
    assert (statements, rows) == (2, len(index) + 1)  # one of them for the pollers
    assert took < 2
    source.close()


def test_two_weeks_are_read_in_bounded_pieces(year: Storage) -> None:
    source = collector(year)
    index = SeriesIndex(source.discover())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frame = source.collect(index, Window((TODAY - DENSE) * DAY, TODAY * DAY, 300))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert np.isfinite(frame.values).all()
    assert frame.values.nbytes > 6_000_000
    assert grown < 150
    source.close()
