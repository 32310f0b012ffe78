"""What Centreon's database says: which series there are, and what is in the frames."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.integration.centreon_park import START, a_park, collector, two_hosts
from tests.integration.mariadb import DAY, Storage
from tests.naive import checks_in_buckets
from tocsin.centreon.database import Database
from tocsin.centreon.storage import samples
from tocsin.model import Aggregate, Metric, SeriesIndex, SeriesKey, Window

pytestmark = pytest.mark.integration


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


@pytest.mark.parametrize(
    ("component", "keys"),
    [
        ("host/service", {("srv-1/Cpu", "cpu"), ("srv-1/Disk-/", "/var#used"), ("srv-2/Cpu", "cpu")}),
        ("host/instance", {("srv-1/Cpu", "cpu"), ("srv-1//var", "used"), ("srv-2/Cpu", "cpu")}),
    ],
)
def test_components_are_services_or_instances_when_that_is_written(
    storage: Storage, component: str, keys: set[tuple[str, str]]
) -> None:
    two_hosts(storage)
    source = collector(storage, component=component)
    assert {(key.component, key.metric) for key in source.discover()} == keys
    source.close()


@pytest.mark.parametrize(
    ("picked", "hosts"),
    [
        ({"host_groups": ["Linux"]}, {"srv-1"}),
        ({"host_groups": ["Linux", "Windows"]}, {"srv-1", "srv-2"}),
        ({"host_groups": "Linux", "host_categories": ["prod"]}, set()),
        ({"host_categories": ["prod"]}, {"srv-2"}),
        ({"service_groups": ["vital"]}, {"srv-2"}),
        ({"service_categories": ["nobody"]}, set()),
        ({"host_severity": 2}, {"srv-1"}),
        ({"hosts": "srv-*"}, {"srv-1", "srv-2"}),
        ({"hosts": {"exclude": ["srv-1"]}}, {"srv-2"}),
        ({"hosts": "srv_1"}, set()),
        ({"services": ["Disk*"]}, {"srv-1"}),
        ({"perfdata": {"exclude": ["cpu"]}}, {"srv-1"}),
    ],
)
def test_groups_categories_and_severities_pick_hosts(storage: Storage, picked: dict[str, object], hosts: set[str]) -> None:
    first, second = two_hosts(storage)
    storage.tag(1, "Linux", hosts=[first])
    storage.tag(1, "Windows", hosts=[second])
    storage.tag(3, "prod", hosts=[second])
    storage.tag(0, "vital", services=[3])
    storage.do("INSERT INTO severities (severity_id, id, type, name, level) VALUES (1, 1, 1, 'high', 1), (2, 2, 1, 'low', 5)")
    storage.do("UPDATE resources SET severity_id = id WHERE type = 1")
    source = collector(storage, **picked)
    assert {key.component for key in source.discover()} == hosts
    source.close()


def test_what_is_no_longer_checked_is_not_discovered(storage: Storage) -> None:
    host = storage.host("srv-1")
    storage.metric(storage.service(host, "Cpu"), "kept")
    storage.metric(storage.service(host, "Old"), "gone", to_delete=1)
    storage.metric(storage.service(host, "Off"), "off")
    storage.do("UPDATE services SET enabled = 0 WHERE description = 'Off'")
    business = storage.service(host, "ba_1")
    storage.do("UPDATE index_data SET special = '1' WHERE id = %s", (business,))
    storage.metric(business, "BA_Level")
    storage.metric(storage.service(storage.host("_Module_Meta"), "meta_1"), "value")
    off = storage.host("off-host")
    storage.metric(storage.service(off, "Cpu"), "cpu")
    storage.do("UPDATE hosts SET enabled = 0 WHERE host_id = %s", (off,))
    source = collector(storage)
    assert [key.metric for key in source.discover()] == ["Cpu kept"]
    source.close()


def test_a_vanished_series_is_no_data_and_a_new_one_is_found(storage: Storage) -> None:
    service = storage.service(storage.host("srv-1"), "Cpu")
    storage.values(storage.metric(service, "a"), [(START + 10, 1.0)])
    source = collector(storage)
    before = SeriesIndex(source.discover())
    storage.do("UPDATE metrics SET to_delete = 1")
    storage.values(storage.metric(service, "b"), [(START + 10, 2.0)])
    after = SeriesIndex(source.discover())
    assert [key.metric for key in after] == ["Cpu b"]
    window = Window(START, START + 300, 300)
    assert source.collect(after, window).values[0, 0] == 2.0
    gone = source.collect(before, window)
    assert np.isnan(gone.values).all()
    assert gone.known.all()
    source.close()


@pytest.mark.parametrize("aggregate", [Aggregate.MEAN, Aggregate.MAX, Aggregate.LAST, Aggregate.COUNT, Aggregate.P95])
@pytest.mark.parametrize("span", [60, 300, 3600])
def test_frames_agree_with_a_naive_reader(storage: Storage, aggregate: Aggregate, span: int) -> None:
    rng = np.random.default_rng(span)
    ids = []
    for number in range(12):
        service = storage.service(storage.host(f"srv-{number}"), "Cpu", interval=[1, 5, 10][number % 3])
        ids.append(storage.metric(service, "cpu"))
        times = np.sort(rng.integers(START - 1200, START + 7200, 60))
        values = [
            None if draw < 0.05 else 3.4028234e38 if draw < 0.08 else round(float(draw) * 64) / 8 for draw in rng.random(60)
        ]
        rows = list(zip(times.tolist(), values, strict=True))
        storage.values(ids[-1], [*rows, *rows[:3]])
    source = collector(storage, span=span, metrics={"cpu": Metric(name="cpu", aggregate=aggregate)})
    index, window = SeriesIndex(source.discover()), Window(START, START + 7200, span)
    frame = source.collect(index, window)
    for number, ident in enumerate(ids):
        rows = storage.all("SELECT ctime, value FROM data_bin WHERE id_metric = %s", (ident,))
        checks = [(int(when), np.nan if value is None else float(value)) for when, value in rows]
        stands = 0 if aggregate is Aggregate.COUNT else [60, 300, 600][number % 3] * 3 // 2
        wanted = checks_in_buckets(checks, window, aggregate, stands)
        got = frame.values[index.rows[SeriesKey(f"srv-{number}", "cpu")]]
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert frame.known.all()
    source.close()


def test_a_float_keeps_all_the_digits_it_has(storage: Storage) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "bytes")
    storage.values(metric, [(START + 10, 16_777_215.0), (START + 310, 123_456.789)])
    source = collector(storage, span=300, metrics={"bytes": Metric(name="bytes")})
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 600, 300))
    assert frame.values[0].tolist() == [16_777_215.0, float(np.float32(123_456.789))]
    source.close()


def test_a_counter_is_given_as_it_is_and_never_stands_still(storage: Storage) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "If"), "octets", data_source_type="1")
    storage.values(metric, [(START + 60 * step, value) for step, value in enumerate([100.0, 200.0, 5.0, 105.0]) if step != 1])
    source = collector(storage, span=60, metrics={"octets": Metric(name="octets", aggregate=Aggregate.LAST, counter=True)})
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 240, 60))
    np.testing.assert_array_equal(frame.values[0], [100.0, np.nan, 5.0, 105.0])
    source.close()


def test_every_statement_on_samples_reads_only_its_days(storage: Storage) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "cpu")
    storage.values(metric, [(START - 2 * DAY + 300 * step, 1.0) for step in range(800)])
    plans = []

    class Watched(Database):
        def rows(self, what, sql, args=()):  # type: ignore[no-untyped-def]
            if "FROM data_bin" in sql:
                plans.append(list(super().rows("plan", "EXPLAIN PARTITIONS " + sql, args)))
            return super().rows(what, sql, args)

    database = Watched(storage.settings())
    for walk in (False, True):
        found = samples(database, [metric], START - DAY, START, walk=walk)
        assert len(found.ids) == 288
    assert [row[3] for plan in plans for row in plan] == [f"p{time.strftime('%Y%m%d', time.gmtime(START - DAY))}"] * 2
    assert [row[5] for plan in plans for row in plan] == ["index_metric", None]  # keys that it may take
    database.close()


def test_the_reach_is_the_first_and_last_check(storage: Storage) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "cpu")
    source = collector(storage)
    assert source.reach() is None
    storage.values(metric, [(START - 2 * DAY + 5, 1.0), (START + 100, 2.0)])
    assert source.reach() == (START - 2 * DAY + 5, START + 100)
    storage.values(metric, [(START + 400, 2.0)])
    assert source.reach() == (START - 2 * DAY + 5, START + 400)
    source.close()


def test_static_thresholds_come_as_plugins_write_them(storage: Storage) -> None:
    service = storage.service(storage.host("srv-1"), "Cpu")
    storage.metric(service, "cpu", warn=80, warn_low=0, warn_threshold_mode=0, crit=90, crit_low=0, crit_threshold_mode=0)
    storage.metric(service, "free", warn_low=0.1, warn=3.4028234e38, crit_low=None, crit=None)
    storage.metric(service, "plain")
    source = collector(storage)
    assert source.thresholds() == {SeriesKey("srv-1", "Cpu cpu"): ("80", "90"), SeriesKey("srv-1", "Cpu free"): ("0.1:", "")}
    source.close()


def test_twenty_thousand_series_cost_two_statements(storage: Storage) -> None:
    storage.park(2_000, 10)
    storage.history(START, START + 1800, 300)
    storage.do("UPDATE instances SET last_alive = %s", (START + 1790,))
    source = collector(storage, now=START + 1800)
    index = SeriesIndex(source.discover())
    before = source._door.usage()
    frame = source.collect(index, Window(START, START + 1800, 300))
    statements, rows, read = (after - then for after, then in zip(source._door.usage(), before, strict=True))
    assert (len(index), len(index.components)) == (20_000, 2_000)
    assert np.isfinite(frame.values).all()
    assert frame.known.all()
    assert (statements, rows) == (2, 20_001)
    assert read < 10_000_000
    source.close()


def test_more_series_than_allowed_are_cut_and_that_is_said(storage: Storage) -> None:
    a_park(storage, 5)
    limits = {"retries": 0, "per_second": 1000, "max_series": 2}
    source = collector(storage, limits=limits)
    assert [key.component for key in source.discover()] == ["srv-1-000", "srv-1-001"]
    assert "5 metrics fit, only the first 2 are read" in source.manners.state.reason
    source.close()


def test_what_comes_late_and_out_of_order_is_there_when_read_again(storage: Storage) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "cpu")
    storage.values(metric, [(START + 610, 3.0), (START + 10, 1.0)])
    source = collector(storage, valid_for="0s")
    index, window = SeriesIndex(source.discover()), Window(START, START + 900, 300)
    np.testing.assert_array_equal(source.collect(index, window).values[0], [1.0, np.nan, 3.0])
    storage.values(metric, [(START + 310, 2.0), (START + 50_000, 9.0)])
    np.testing.assert_array_equal(source.collect(index, window).values[0], [1.0, 2.0, 3.0])
    source.close()


def test_names_are_data_and_never_part_of_a_statement(storage: Storage) -> None:
    evil = "x'; DROP TABLE metrics; -- "
    storage.values(storage.metric(storage.service(storage.host(evil.strip()), evil.strip()), "a%s'b"), [(START + 10, 1.0)])
    source = collector(storage, hosts=[evil.strip()], services=[evil.strip()], host_groups=[])
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 300, 300))
    assert frame.values.tolist() == [[1.0]]
    assert storage.all("SELECT COUNT(*) FROM metrics") == [(1,)]
    source.close()


def test_the_state_of_each_check_is_a_metric_when_it_is_asked_for(storage: Storage) -> None:
    service = storage.service(storage.host("srv-1"), "Cpu")
    first, second = storage.metric(service, "cpu"), storage.metric(service, "user")
    for step, status in enumerate("0123"):
        storage.values(first, [(START + 300 * step + 5, 50.0 + step)], status)
        storage.values(second, [(START + 300 * step + 5, 1.0)], status)
    storage.values(first, [(START + 1205, None)], "4")
    source = collector(storage, states=True)
    index = SeriesIndex(source.discover())
    assert [key.metric for key in index] == ["Cpu check.state", "Cpu cpu", "Cpu user"]
    frame = source.collect(index, Window(START, START + 1500, 300))
    np.testing.assert_array_equal(frame.values[0], [0.0, 1.0, 2.0, 3.0, np.nan])
    np.testing.assert_array_equal(frame.values[1], [50.0, 51.0, 52.0, 53.0, np.nan])
    assert source.reach() == (START + 5, START + 1205)
    source.close()
