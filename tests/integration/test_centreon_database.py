"""The collector and a real MariaDB with Centreon's tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.centreon import Centreon, CentreonSettings
from collectors.centreon.supervision import DatabaseSupervision, SupervisionSettings
from tests.integration import mariadb
from tests.integration.mariadb import DAY, MariaDB, Storage
from tests.naive import checks_in_buckets
from tocsin.centreon.database import Database
from tocsin.centreon.storage import samples
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, HostFacts, Metric, SeriesIndex, SeriesKey, Window
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


def two_hosts(storage: Storage) -> tuple[int, int]:
    first, second = storage.host("srv-1"), storage.host("srv-2")
    storage.metric(storage.service(first, "Cpu"), "cpu")
    storage.metric(storage.service(first, "Disk-/"), "/var#used")
    storage.metric(storage.service(second, "Cpu"), "cpu")
    return first, second


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


# --- what is not known ------------------------------------------------------------------------------------------------------


def a_park(storage: Storage, hosts: int, until: int = START + 3600, poller: int = 1) -> None:
    for number in range(hosts):
        service = storage.service(storage.host(f"srv-{poller}-{number:03}", poller), "Cpu", poller=poller)
        storage.values(storage.metric(service, "cpu"), [(when + number, 1.0) for when in range(START - 1200, until, 300)])


def test_a_stopped_engine_makes_the_time_since_unknown_and_says_so(storage: Storage) -> None:
    a_park(storage, 3, until=START + 1500)
    storage.do("UPDATE instances SET running = 0, last_alive = %s", (START + 1500,))
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 3600, 300))
    assert frame.known[0].tolist() == [True] * 6 + [False] * 6
    assert source.manners.state.kind == "degraded"
    assert "the engine of poller Central is stopped" in source.manners.state.reason
    source.close()


def test_a_broker_that_no_longer_writes_is_no_silence_of_all_hosts(storage: Storage) -> None:
    storage.do("INSERT INTO instances (instance_id, name, running, last_alive) VALUES (2, 'Lyon', 1, %s)", (START + 3590,))
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    a_park(storage, 15, until=START + 1500)
    a_park(storage, 15, poller=2)
    source = collector(storage, now=START + 3600)
    index = SeriesIndex(source.discover())
    frame = source.collect(index, Window(START, START + 3600, 300))
    first, second = (frame.known[[row for row, key in enumerate(index) if f"srv-{poller}" in key.component]] for poller in (1, 2))
    assert second.all()
    assert first[:, :6].all()
    assert not first[:, 8:].any()
    assert "nothing of poller Central arrives" in source.manners.state.reason
    source.close()


def test_one_host_that_is_silent_is_silent(storage: Storage) -> None:
    a_park(storage, 15)
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    storage.do("DELETE FROM data_bin WHERE id_metric = 1 AND ctime >= %s", (START,))
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 3600, 300))
    assert frame.known.all()
    assert np.isnan(frame.values[0, 2:]).all()
    source.close()


def test_before_the_first_check_ever_there_was_nothing(storage: Storage) -> None:
    a_park(storage, 15)
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START - DAY, START - DAY + 3600, 300))
    assert frame.known.all()
    assert np.isnan(frame.values).all()
    source.close()


# --- when the database does not answer ----------------------------------------------------------------------------------------


def test_a_server_killed_while_it_answers_is_down_and_then_back(maria: MariaDB, storage: Storage) -> None:
    a_park(storage, 5)
    source = collector(storage, now=START + 3600)
    index, window = SeriesIndex(source.discover()), Window(START, START + 3600, 300)
    before = source.collect(index, window)
    database = storage.database()
    rows = database.rows("numbers", "SELECT seq, REPEAT('x', 1000) FROM seq_1_to_1000000")
    next(rows)
    maria.kill()
    try:
        with pytest.raises(TransientError):
            list(rows)
        with pytest.raises(TransientError, match="centreon_storage on 127.0.0.1"):
            source.collect(index, window)
    finally:
        maria.start()
        database.close()
    storage.reconnect()
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    after = source.collect(index, window)
    np.testing.assert_array_equal(after.values, before.values)
    source.close()


def test_a_connection_that_was_closed_while_nobody_used_it_is_made_again(storage: Storage) -> None:
    two_hosts(storage)
    source = collector(storage)
    source.discover()
    for (ident,) in storage.all("SELECT id FROM information_schema.processlist WHERE user = 'tocsin'"):
        storage.do("KILL %s", (ident,))
    assert len(source.discover()) == 3
    assert source.manners.usage.failures == 0
    source.close()


def test_a_wrong_password_is_told_without_being_shown(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    database = storage.database()
    monkeypatch.setenv("TOCSIN_TEST_DATABASE", "wr0ng-one")
    with pytest.raises(PermanentError, match="account tocsin is refused; is the password right") as caught:
        list(database.rows("version", "SELECT 1"))
    assert "wr0ng-one" not in str(caught.value)
    monkeypatch.setenv("TOCSIN_TEST_DATABASE", mariadb.PASSWORD)
    assert list(database.rows("version", "SELECT 1")) == [(1,)]
    database.close()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(storage: Storage) -> None:
    database = storage.database(statement_timeout="1s")
    with pytest.raises(TransientError, match="not done in 1 s"):
        list(database.rows("slow", "SELECT COUNT(*) FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b ON a.seq + b.seq < 0"))
    assert list(database.rows("quick", "SELECT 1")) == [(1,)]
    database.close()


def test_nothing_can_be_written_whatever_the_account_may(storage: Storage) -> None:
    storage.do("CREATE USER IF NOT EXISTS mighty@'%' IDENTIFIED BY 'x'")
    storage.do("GRANT ALL ON *.* TO mighty@'%'")
    database = storage.database(user="mighty", password="env:TOCSIN_TEST_MIGHTY")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_TEST_MIGHTY", "x")
        with pytest.raises((TransientError, PermanentError), match="READ ONLY"):
            list(database.rows("write", "DELETE FROM metrics"))
    database.close()


def test_a_missing_right_is_told_with_the_remedy(maria: MariaDB, storage: Storage) -> None:
    storage.do("CREATE DATABASE IF NOT EXISTS elsewhere")
    storage.do("CREATE TABLE IF NOT EXISTS elsewhere.secret (a INT)")
    database = storage.database()
    with pytest.raises(PermanentError, match="GRANT SELECT"):
        list(database.rows("secret", "SELECT * FROM elsewhere.secret"))
    with pytest.raises(PermanentError, match="not the schema we know"):
        list(database.rows("schema", "SELECT nothing FROM metrics"))
    database.close()


def test_the_servers_certificate_is_verified(storage: Storage) -> None:
    stranger = storage.database(tls={})
    with pytest.raises(PermanentError, match="certificate is not trusted here"):
        list(stranger.rows("version", "SELECT 1"))
    pinned = storage.database(tls={"fingerprint": "0" * 64})
    with pytest.raises(PermanentError, match="not the one in database.tls.fingerprint"):
        list(pinned.rows("version", "SELECT 1"))
    ours = storage.database()
    assert next(ours.rows("cipher", "SHOW STATUS LIKE 'Ssl_version'"))[1].startswith("TLS")
    clear = storage.database(tls="off")
    assert next(clear.rows("cipher", "SHOW STATUS LIKE 'Ssl_version'"))[1] == ""
    ours.close()
    clear.close()


def test_a_text_the_server_had_to_cut_is_no_shorter_answer(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "cpu")
    storage.values(metric, [(START + 10 * step, 0.123456) for step in range(200)])
    monkeypatch.setattr("tocsin.centreon.database.PACK_BYTES", 1024)
    database = storage.database()
    with pytest.raises(TransientError, match="the answer was cut"):
        samples(database, [metric], START, START + 3600)
    database.close()


def test_a_part_that_cannot_be_read_is_not_known_and_the_rest_is(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    a_park(storage, 4)
    monkeypatch.setattr("collectors.centreon.doors.IDS", 2)
    source = collector(storage, now=START + 90_000)
    index = SeriesIndex(source.discover())
    door, asked = source._door, []
    read = door.samples

    def sometimes(metrics: object, start: int, end: int) -> object:
        asked.append(metrics)
        if len(asked) == 2:
            raise TransientError("cut")
        return read(metrics, start, end)

    monkeypatch.setattr(door, "samples", sometimes)
    frame = source.collect(index, Window(START, START + 600, 300))
    assert frame.known.tolist() == [[True, True], [True, True], [False, False], [False, False]]
    source.close()


# --- who looks at it ------------------------------------------------------------------------------------------------------------


def test_a_probe_tells_version_rights_lag_and_cost(storage: Storage) -> None:
    a_park(storage, 3)
    source = collector(storage, now=START + 3600, span=60)
    probe = source.probe(START + 3600)
    assert "MariaDB" in probe.version
    assert any("SELECT" in right for right in probe.rights)
    assert probe.lag is not None
    assert 290 <= probe.lag <= 300
    assert len(probe.samples) == 3
    assert "3 series" in probe.cost
    assert any("write every: 5m" in warning for warning in probe.warnings)
    assert not any("more than read" in warning for warning in probe.warnings)
    source.close()


def test_metrics_that_share_a_name_by_accident_are_told_and_those_meant_to_are_not(storage: Storage) -> None:
    host = storage.host("srv-1")
    for service in ("Disk-a", "Disk-b"):
        storage.metric(storage.service(host, service), "used")
    meant = collector(storage, fields={"used": "Disk-* used"})
    assert not any("share a name" in warning for warning in meant.probe(START).warnings)
    meant.close()
    accident = collector(storage, fields={"used": "used"})
    assert any("1 metrics share a name" in warning for warning in accident.probe(START).warnings)
    accident.close()


def test_a_probe_warns_of_an_account_that_may_write(storage: Storage) -> None:
    storage.do("CREATE USER IF NOT EXISTS mighty@'%' IDENTIFIED BY 'x'")
    storage.do("GRANT ALL ON *.* TO mighty@'%'")
    two_hosts(storage)
    source = collector(storage, database=storage.settings(user="mighty", password="env:TOCSIN_TEST_MIGHTY").model_dump())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_TEST_MIGHTY", "x")
        assert any("may do more than read" in warning for warning in source.probe(START).warnings)
    source.close()


def test_how_late_checks_come_is_measured(storage: Storage) -> None:
    a_park(storage, 20, until=START + 600)
    now = Clock(START + 600)
    source = collector(storage)
    source._now = now
    index, window = SeriesIndex(source.discover()), Window(START, START + 600, 300)
    source.collect(index, window)
    assert source.lag() is None
    for number in range(20):
        storage.values(number + 1, [(START + 400 + number, 5.0)])
    now.now = START + 660
    for _ in range(5):
        source.collect(index, window)
    lag = source.lag()
    assert lag is not None
    assert 50 <= lag <= 75
    source.close()


# --- supervision -----------------------------------------------------------------------------------------------------


def supervision(storage: Storage, **given: object) -> DatabaseSupervision:
    own = {"database": storage.settings().model_dump() | {"password": "env:TOCSIN_TEST_DATABASE"}}
    return DatabaseSupervision(SupervisionSettings.model_validate({**own, **given}))


def test_where_hosts_stand(storage: Storage) -> None:
    switch, first, second = storage.host("sw-1"), storage.host("srv-1"), storage.host("srv-2")
    storage.do("INSERT INTO hosts_hosts_parents VALUES (%s, %s), (%s, %s)", (first, switch, second, switch))
    storage.tag(1, "Linux", hosts=[first, second])
    storage.tag(1, "Paris", hosts=[first])
    storage.tag(3, "prod", hosts=[second])
    storage.do("INSERT INTO severities (severity_id, id, type, name, level) VALUES (1, 1, 1, 'high', 1)")
    storage.do("UPDATE resources SET severity_id = 1 WHERE type = 1 AND id = %s", (first,))
    storage.host("_Module_BAM")
    seen = supervision(storage)
    assert seen.hosts() == {
        "sw-1": HostFacts(host="sw-1", poller="Central"),
        "srv-1": HostFacts(host="srv-1", parents=("sw-1",), groups=("Linux", "Paris"), severity=1, poller="Central"),
        "srv-2": HostFacts(host="srv-2", parents=("sw-1",), groups=("Linux",), categories=("prod",), poller="Central"),
    }
    seen.close()


def test_downtimes_are_read_as_they_really_were(storage: Storage) -> None:
    host = storage.host("srv-1")
    service = storage.service(host, "Cpu")
    columns = (
        "downtime_id, host_id, service_id, start_time, end_time, duration, fixed, started, cancelled, actual_start_time,"
        " actual_end_time, deletion_time, author, comment_data"
    )
    storage.many(
        f"INSERT INTO downtimes ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'jdoe', 'work')",
        [
            (1, host, 0, START, START + 3600, 3600, 1, 1, 0, START + 5, None, None),
            (2, host, service, START, START + 3600, 3600, 1, 1, 1, START, START + 600, START + 600),
            (3, host, service, START, START + 3600, 3600, 1, 0, 1, None, None, START - 10),
            (4, host, None, START - 7200, START - 3600, 3600, 1, 1, 0, START - 7200, START - 3600, None),
            (5, host, 999, START, START + 3600, 3600, 1, 1, 0, START, None, None),
            (6, host, None, START + 1800, START + 5400, 3600, 1, 0, 0, -1, 0, None),
        ],
    )
    seen = supervision(storage)
    found = seen.downtimes(START, START + 3600)
    assert [(one.id, one.service, one.start - START, one.end - START) for one in found] == [
        ("1", "", 5, 3600),
        ("2", "Cpu", 0, 600),
        ("6", "", 1800, 5400),
    ]
    assert (found[0].author, found[0].comment, found[0].host) == ("jdoe", "work", "srv-1")
    seen.close()


def test_what_people_did_is_read_oldest_first(storage: Storage) -> None:
    host = storage.host("srv-1")
    service = storage.service(host, "Anomaly-web")
    storage.many(
        "INSERT INTO acknowledgements (entry_time, host_id, service_id, author, comment_data, deletion_time)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [(START + 10, host, service, "jdoe", "I look", START + 50), (START - 500, host, 0, "jdoe", "old", None)],
    )
    storage.many(
        "INSERT INTO comments (entry_time, host_id, service_id, author, data, entry_type) VALUES (%s, %s, %s, %s, %s, %s)",
        [(START + 20, host, service, "jdoe", "!noise again", 1), (START + 21, host, service, "(Centreon)", "flapping", 3)],
    )
    storage.many(
        "INSERT INTO logs (ctime, host_id, host_name, service_id, service_description, msg_type, status, output)"
        " VALUES (%s, %s, 'srv-1', %s, %s, 0, 0, %s)",
        [
            (START + 40, host, service, "Anomaly-web", "closed by jdoe"),
            (START + 41, host, service, "Anomaly-web", "7 metrics within their learned bands, last data 10:31"),
            (START + 42, host, service, "Cpu", "OK - fine"),
        ],
    )
    seen = supervision(storage)
    assert [(one.kind, one.at - START, one.until, one.author, one.text) for one in seen.remarks(START)] == [
        ("acknowledgement", 10, START + 50, "jdoe", "I look"),
        ("comment", 20, None, "jdoe", "!noise again"),
        ("close", 40, None, "", "closed by jdoe"),
    ]
    seen.close()
