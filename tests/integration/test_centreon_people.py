"""What a person who looks at the source is told, and what Centreon knows of hosts and people."""

from __future__ import annotations

import pytest

from collectors.centreon.supervision import DatabaseSupervision, SupervisionSettings
from tests.integration.centreon_park import START, Clock, a_park, collector, two_hosts
from tests.integration.mariadb import Storage
from tocsin.model import HostFacts, SeriesIndex, Window

pytestmark = pytest.mark.integration


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
