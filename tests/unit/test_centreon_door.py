"""The collector and the supervising system through Centreon's Web API, traps and faults included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.centreon import Centreon, CentreonSettings, asked
from collectors.centreon.supervision import PLUGIN as SUPERVISION
from collectors.centreon.supervision import ApiSupervision, SupervisionSettings
from tests.centreon_fake import PASSWORD, USER, Fake, Service, centreon
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, Frame, HostFacts, Metric, SeriesIndex, SeriesKey, Window
from tocsin.ports import RemoteCollector, Supervision, Surroundings
from tocsin.timegrid import Calendar

Make = Callable[..., Centreon]
START = 1_772_323_200
NOW = START + 3600
WINDOW = Window(START, NOW, 300)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    with centreon(now=lambda: NOW) as running:
        yield running
        assert running.request_faults == []


@pytest.fixture
def collector(fake: Fake) -> Iterator[Callable[..., Centreon]]:
    made: list[Centreon] = []

    def make(**settings: object) -> Centreon:
        around = Surroundings(component_type="host", calendar=Calendar("UTC"), span=300, metrics={}, folder=Path("/"))
        own = {
            "api": {"url": fake.url, "user": USER, "password": "env:TOCSIN_TEST_PASSWORD", "timeout": "2s"},
            "limits": {"retries": 0, "per_second": 1000},
            "discover_every": "0s",
        }
        made.append(Centreon(CentreonSettings.model_validate({**own, **settings}), around, now=lambda: NOW))
        return made[-1]

    yield make
    for one in made:
        one.close()


def a_service(fake: Fake, host: str = "srv-1", name: str = "Cpu", metric: str = "cpu") -> Service:
    found = next((one for one in fake.hosts.values() if one.name == host), None) or fake.host(host)
    service = fake.service(found, name)
    service.samples[metric] = {START + 300 * step: 1.0 + step for step in range(12)}
    return service


def collected(source: Centreon) -> Frame:
    return source.collect(SeriesIndex(source.discover()), WINDOW)


def test_checks_are_collected_and_named(fake: Fake, collector: Make) -> None:
    a_service(fake)
    a_service(fake, "srv-2")
    source = collector(fields={"cpu": "cpu"})
    frame = collected(source)
    assert list(frame.index) == [SeriesKey("srv-1", "cpu"), SeriesKey("srv-2", "cpu")]
    np.testing.assert_array_equal(frame.values, [np.arange(12) + 1.0] * 2)
    assert isinstance(source, RemoteCollector)


def test_groups_and_levels_are_asked_of_centreon_itself(fake: Fake, collector: Make) -> None:
    a_service(fake)
    fake.hosts[a_service(fake, "srv-2").host.id].groups = ("Linux",)
    a_service(fake, "srv-3").severity = 7
    one = collector(host_groups=["Linux"])
    assert {key.component for key in one.discover()} == {"srv-2"}
    other = collector(service_severity=9, hosts=["srv-*"], services={"exclude": ["Disk*"]})
    assert {key.component for key in other.discover()} == {"srv-3"}


def test_a_zero_that_stands_for_nothing_is_no_value(fake: Fake, collector: Make) -> None:
    service = a_service(fake)
    service.samples["errors"] = {START + 300 * step: 0.0 if step != 5 else 2.0 for step in range(12) if step < 8}
    frame = collected(collector(valid_for="0s"))
    errors = frame.values[frame.index.rows[SeriesKey("srv-1", "Cpu errors")]]
    np.testing.assert_array_equal(errors[:8], [0, 0, 0, 0, 0, 2, 0, 0])
    assert np.isnan(errors[9:]).all()
    assert frame.known.all()


def test_zeros_that_were_true_are_not_doubted_for_an_hour(fake: Fake, collector: Make) -> None:
    a_service(fake).samples["errors"] = {START + 300 * step: 0.0 for step in range(12)}
    source = collector()
    for _ in range(3):
        collected(source)
    assert sum(path.endswith("/performance") for _, path, _ in fake.asked) == 1


def test_an_empty_answer_is_not_known_unless_the_graph_knows_better(fake: Fake, collector: Make) -> None:
    service = a_service(fake, metric="/var#storage.space")
    source = collector()
    index = SeriesIndex(source.discover())
    fake.unquoted_columns = True
    drawn = source.collect(index, WINDOW)
    np.testing.assert_array_equal(drawn.values[0], np.arange(12) + 1.0)
    service.samples["/var#storage.space"].clear()
    with pytest.raises(TransientError, match="an empty answer"):
        source.collect(index, WINDOW)


def test_one_service_that_cannot_be_read_is_not_known_and_the_others_are(fake: Fake, collector: Make) -> None:
    first, _ = a_service(fake), a_service(fake, "srv-2")
    source = collector()
    index = SeriesIndex(source.discover())
    fake.fail(f"/services/{first.id}/metrics/performance/download")
    frame = source.collect(index, WINDOW)
    assert frame.known.tolist() == [[False] * 12, [True] * 12]
    assert np.isnan(frame.values[0]).all()
    assert source.manners.state.kind == "degraded"
    assert source.collect(index, WINDOW).known.all()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"retry-after": "5"}},
        {"status": 500},
        {"status": 503},
        {"status": 0, "wait": 2.5},
        {"status": 0, "hang_up": True},
        {"status": 200, "body": b"time;humantime;cpu\n1772323200;x;1.0\n17723", "cut": 25},
        {"status": 200, "body": b"time;humantime;cpu\n1772323200;x\n"},
        {"status": 200, "body": b"<html>log in</html>"},
        {"status": 302, "headers": {"location": "https://elsewhere/"}},
    ],
    ids=["429", "500", "503", "slow", "hangs up", "cut", "half a row", "a page", "redirect"],
)
def test_a_fault_is_not_known_and_over_when_it_is_over(fake: Fake, fault: dict[str, object], collector: Make) -> None:
    a_service(fake)
    source = collector()
    index = SeriesIndex(source.discover())
    fake.fail("/download", **fault)
    with pytest.raises((TransientError, PermanentError)) as caught:
        source.collect(index, WINDOW)
    assert str(caught.value).startswith("http://127.0.0.1")
    assert "\n" not in str(caught.value)
    frame = source.collect(index, WINDOW)
    assert frame.known.all()
    np.testing.assert_array_equal(frame.values[0], np.arange(12) + 1.0)


def test_a_session_that_ends_in_the_middle_is_renewed(fake: Fake, collector: Make) -> None:
    a_service(fake)
    source = collector()
    index = SeriesIndex(source.discover())
    fake.expire_tokens()
    assert source.collect(index, WINDOW).known.all()
    assert source.manners.usage.failures == 0


def test_too_many_services_are_sent_to_the_other_door(fake: Fake, monkeypatch: pytest.MonkeyPatch, collector: Make) -> None:
    monkeypatch.setattr(asked, "MOST_SERVICES", 3)
    for number in range(4):
        a_service(fake, f"srv-{number}")
    source = collector()
    with pytest.raises(PermanentError, match=r"4 services fit.*at most 3.*database:"):
        source.discover()
    fewer = collector(hosts={"exclude": ["srv-0"]})
    assert len(fewer.discover()) == 3


def test_the_metrics_of_a_service_are_listed_once_and_again_when_one_turns_up(fake: Fake, collector: Make) -> None:
    service = a_service(fake)
    source = collector()
    for _ in range(3):
        source.discover()
    assert sum(path.endswith("/metrics") for _, path, _ in fake.asked) == 1
    service.samples["steal"] = {START + 300 * step: 2.0 for step in range(12)}
    assert len(source.discover()) == 1
    collected(source)
    assert source.discover() == (SeriesKey("srv-1", "Cpu cpu"), SeriesKey("srv-1", "Cpu steal"))


def test_an_old_centreon_that_lists_no_metrics_is_read_by_its_rows(fake: Fake, collector: Make) -> None:
    a_service(fake)
    fake.version = "22.10.2"
    source = collector()
    assert source.discover() == (SeriesKey("srv-1", "Cpu cpu"),)
    assert source.thresholds() == {}


def test_static_thresholds_come_along(fake: Fake, collector: Make) -> None:
    a_service(fake).metrics["cpu"] = {"warning_high_threshold": 80.0, "warning_low_threshold": 0.0, "critical_low_threshold": 5.0}
    source = collector()
    assert source.thresholds() == {SeriesKey("srv-1", "Cpu cpu"): ("80", "5:")}


def test_a_stopped_engine_makes_the_time_since_unknown(fake: Fake, collector: Make) -> None:
    a_service(fake).samples["cpu"] = {START: 1.0}
    fake.pollers[1] |= {"is_running": False, "last_alive": START + 1500}
    frame = collected(collector())
    assert frame.known[0].tolist() == [True] * 5 + [False] * 7


def test_a_probe_tells_what_a_tick_costs(fake: Fake, collector: Make) -> None:
    a_service(fake)
    a_service(fake, "srv-2")
    source = collector()
    probe = source.probe(NOW)
    assert "Centreon Web 24.10.1" in probe.version
    assert "2 series" in probe.cost
    assert probe.lag == 300
    late = source.probe(NOW + 7200)
    assert late.samples == ()
    assert "no check had a value in the last three buckets" in late.warnings


def test_a_field_that_fits_several_checks_is_told_before_the_first_tick(fake: Fake) -> None:
    around = Surroundings(
        component_type="host",
        calendar=Calendar("UTC"),
        span=300,
        metrics={"in": Metric(name="in", aggregate=Aggregate.LAST, counter=True)},
        folder=Path("/"),
    )
    settings = {"api": {"url": fake.url, "token": "env:X"}, "fields": {"in": "*#traffic.in"}}
    (told,) = Centreon(CentreonSettings.model_validate(settings), around).check()
    assert told.startswith("metrics.in: several checks of a host may match")
    assert fake.asked == []


# --- the supervising system ---------------------------------------------------------------------------------------------------


def supervision(fake: Fake) -> ApiSupervision:
    api = {"url": fake.url, "user": USER, "password": "env:TOCSIN_TEST_PASSWORD"}
    made = SUPERVISION.build(SupervisionSettings.model_validate({"api": api, "limits": {"per_second": 1000}}), None)
    assert isinstance(made, ApiSupervision)
    checked: Supervision = made
    assert checked is made
    return made


def test_hosts_come_with_groups_and_severities(fake: Fake) -> None:
    fake.host("srv-1", groups=("Linux", "Paris"), severity=1)
    fake.host("srv-2", groups=("Linux",), categories=("prod",))
    seen = supervision(fake)
    assert seen.hosts() == {
        "srv-1": HostFacts(host="srv-1", groups=("Linux", "Paris"), severity=1, poller="Central"),
        "srv-2": HostFacts(host="srv-2", groups=("Linux",), categories=("prod",), poller="Central"),
    }
    seen.close()


def test_downtimes_and_acknowledgements_come_with_names(fake: Fake) -> None:
    service = a_service(fake, name="Anomaly-web")
    common = {"author_id": 3, "author_name": "jdoe", "comment": "work", "entry_time": "2026-03-01T01:00:00+01:00"}
    fake.downtimes += [
        {
            **common, "id": 5, "host_id": service.host.id, "service_id": None, "duration": 3600,
            "start_time": "2026-03-01T01:00:00+01:00", "end_time": "2026-03-01T02:00:00+01:00", "deletion_time": None,
            "actual_start_time": "2026-03-01T01:00:05+01:00",
            "actual_end_time": None, "is_started": True, "is_cancelled": False, "is_fixed": True,
        },
        {**common, "id": 6, "host_id": 9999, "service_id": None, "start_time": "x", "end_time": "y"},
    ]  # fmt: skip
    fake.acknowledgements.append(
        {
            **common,
            "id": 9,
            "host_id": service.host.id,
            "service_id": service.id,
            "deletion_time": None,
            "is_sticky": True,
            "state": 2,
        }
    )
    seen = supervision(fake)
    (downtime,) = seen.downtimes(START, NOW)
    assert (downtime.host, downtime.service, downtime.start, downtime.end) == ("srv-1", "", START + 5, START + 3600)
    (remark,) = seen.remarks(START - 60)
    assert (remark.kind, remark.host, remark.service, remark.at, remark.author) == (
        "acknowledgement",
        "srv-1",
        "Anomaly-web",
        START,
        "jdoe",
    )
    assert seen.remarks(START + 60) == []
    seen.close()


def test_comments_and_closings_by_hand_are_read_from_the_timeline(fake: Fake) -> None:
    service = a_service(fake, name="Anomaly-web")
    fake.engine.read(f"[{START + 50}] PROCESS_SERVICE_CHECK_RESULT;srv-1;Anomaly-web;2;CRITICAL\n".encode())
    calm = "7 metrics within their learned bands, last data 10:31"
    ok = {"code": 0, "name": "OK", "severity_code": 5}
    fine = [
        {
            "id": 3,
            "type": "event",
            "date": "2026-03-01T01:03:00+01:00",
            "content": "closed by jdoe",
            "status": ok,
            "contact": None,
        },
        {
            "id": 2,
            "type": "comment",
            "date": "2026-03-01T01:02:00+01:00",
            "content": "!noise",
            "status": None,
            "contact": {"id": 3, "name": "jdoe"},
        },
        {"id": 1, "type": "event", "date": "2026-03-01T01:01:00+01:00", "content": calm, "status": ok, "contact": None},
    ]
    service.events = [{"start_date": None, "end_date": None, "tries": 1, **event} for event in fine]
    seen = supervision(fake)
    assert [(one.kind, one.at - START, one.author, one.text) for one in seen.remarks(START)] == [
        ("comment", 120, "jdoe", "!noise"),
        ("close", 180, "", "closed by jdoe"),
    ]
    seen.close()
