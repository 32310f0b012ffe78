"""The session with Centreon's Web API, against a Centreon over real sockets that has all the bad manners of the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from tests.centreon_fake import API_TOKEN, PASSWORD, USER, Fake, centreon
from tocsin.centreon.api import Api, ApiSettings
from tocsin.centreon.resources import download, duration, metrics, moment, performance, raw_values, resources
from tocsin.centreon.submit import ById, ByName, submit, submit_v1
from tocsin.errors import PermanentError
from tocsin.http import Refused, Unanswered

START = 1_772_323_200


@pytest.fixture
def fake() -> Iterator[Fake]:
    with centreon() as running:
        yield running


@pytest.fixture
def api(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    session = Api(settings(fake))
    yield session
    session.close()
    assert fake.request_faults == []


def settings(fake: Fake, **changes: object) -> ApiSettings:
    return ApiSettings.model_validate(
        {"url": fake.url, "user": USER, "password": "env:TOCSIN_TEST_PASSWORD", "page": 7, **changes}
    )


def logins(fake: Fake) -> int:
    return [path for _, path, _ in fake.asked].count("/centreon/api/latest/login")


# --- the session -------------------------------------------------------------------------------------------------------


def test_one_session_serves_many_questions(fake: Fake, api: Api) -> None:
    assert [api.version() for _ in range(3)] == ["24.10.1"] * 3
    assert logins(fake) == 1


def test_a_session_that_ended_is_begun_again_once(fake: Fake, api: Api) -> None:
    api.version()
    fake.expire_tokens()
    assert api.version() == "24.10.1"
    assert logins(fake) == 2


def test_an_expired_password_is_told_as_such(fake: Fake, api: Api) -> None:
    fake.password_expired = True
    with pytest.raises(PermanentError, match=r"password of tocsin has expired.*or use an API token"):
        api.version()


def test_a_locked_account_and_a_wrong_password_are_told_apart(fake: Fake, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.locked = True
    with pytest.raises(PermanentError, match="locked for a while"):
        api.version()
    fake.locked = False
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "wr0ng-password")
    with pytest.raises(PermanentError, match="is the password right") as caught:
        api.version()
    assert "wr0ng-password" not in str(caught.value)


def test_a_password_that_was_mended_is_read_again(fake: Fake, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_TEST_PASSWORD")
    with pytest.raises(PermanentError, match="TOCSIN_TEST_PASSWORD is not set"):
        api.version()
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    assert api.version() == "24.10.1"


def test_an_api_token_needs_no_login_and_its_end_is_told(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TEST_TOKEN", API_TOKEN)
    session = Api(ApiSettings(url=fake.url, token="env:TOCSIN_TEST_TOKEN"))
    assert session.version() == "24.10.1"
    assert not any(path.endswith("/login") for _, path, _ in fake.asked)
    fake.expire_tokens()
    with pytest.raises(PermanentError, match="the API token is unknown, has expired") as caught:
        session.version()
    assert API_TOKEN not in str(caught.value)
    session.close()


def test_a_user_without_rights_is_told_and_not_asked_for_ever(fake: Fake, api: Api) -> None:
    fake.admin, fake.may_submit = False, False
    with pytest.raises(PermanentError, match="lacks a right"):
        submit(api, [ById(host_id=1, service_id=2, code=0, output="OK")])
    assert logins(fake) == 2


def test_a_server_that_is_down_may_be_up_later(fake: Fake, api: Api) -> None:
    api.version()
    fake.fail("/platform/versions", status=503, headers={"retry-after": "3"})
    with pytest.raises(Unanswered) as caught:
        api.version()
    assert caught.value.retry_after == 3
    assert api.version() == "24.10.1"


def test_a_page_of_a_proxy_is_no_answer(fake: Fake, api: Api) -> None:
    fake.fail("/login", status=200, body=b"<html>please log in</html>")
    with pytest.raises(Unanswered, match="no JSON"):
        api.version()


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "x"},
        {"password": "env:X"},
        {"token": "env:X", "user": "x", "password": "env:X"},
        {"token": "env:X", "version": "../x"},
    ],
)
def test_half_a_login_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApiSettings.model_validate({"url": "https://central.example.org/centreon", **wrong})


# --- listings ------------------------------------------------------------------------------------------------------------


def test_a_listing_is_read_page_by_page_and_nothing_twice(fake: Fake, api: Api) -> None:
    for number in range(5):
        host = fake.host(f"srv-{number}")
        for name in range(6):
            fake.service(host, f"Check-{name}")
    found = list(resources(api))
    assert len(found) == 30
    assert {(one.host, one.service) for one in found} == {(f"srv-{n}", f"Check-{m}") for n in range(5) for m in range(6)}
    assert sum(path.endswith("/monitoring/resources") for _, path, _ in fake.asked) == 5


def test_a_search_finds_what_it_says(fake: Fake, api: Api) -> None:
    for name in ("srv-1", "srv-2", "db-1"):
        fake.service(fake.host(name), "Cpu")
    found = resources(api, search={"$and": [{"h.name": {"$lk": "srv-%"}}, {"s.description": "Cpu"}]})
    assert sorted(one.host for one in found) == ["srv-1", "srv-2"]
    assert [one.host for one in resources(api, types=["host"], search={"name": {"$in": ["db-1"]}})] == ["db-1"]


@pytest.mark.parametrize("old", [False, True])
def test_both_spellings_of_renamed_keys_are_read(fake: Fake, api: Api, old: bool) -> None:
    service = fake.service(fake.host("srv-1"), "Cpu", passive=True)
    service.acknowledged = True
    fake.old_spelling = old
    (found,) = resources(api)
    assert (found.acknowledged, found.passive, found.active) == (True, True, False)


def test_what_a_service_shows_is_read_back(fake: Fake, api: Api) -> None:
    fake.service(fake.host("srv-1"), "Cpu")
    (before,) = resources(api)
    assert (before.code, before.age) == (4, None)
    fake.engine.read(f"[{int(fake.now()) - 65}] PROCESS_SERVICE_CHECK_RESULT;srv-1;Cpu;2;CRITICAL: too much|a=1\n".encode())
    (after,) = resources(api)
    assert (after.code, after.text, after.hard) == (2, "CRITICAL: too much", True)
    assert after.age is not None
    assert 64 <= after.age <= 67


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1m 5s", 65),
        ("2h 3m", 7380),
        ("0s", 0),
        ("1d", 86400),
        ("1M 2w", 3839344),
        ("", None),
        (None, None),
        ("soon", None),
        ("-5s", None),
    ],
)
def test_how_long_ago_is_read_from_its_text(text: object, told: object) -> None:
    assert duration(text) == told


def test_times_without_an_offset_are_not_guessed() -> None:
    assert moment("2026-03-01T00:00:00+01:00") == START - 3600
    assert moment("2026-03-01T00:00:00") is None
    assert moment("yesterday") is None


def test_an_answer_that_is_no_page_is_told(fake: Fake, api: Api) -> None:
    for body in (b"[]", b'{"result": 5, "meta": {"total": 1}}', b'{"result": []}'):
        fake.fail("/monitoring/resources", status=200, body=body)
        with pytest.raises(Unanswered, match="no page of a listing"):
            list(resources(api))


def test_items_nobody_understands_are_left_out(fake: Fake, api: Api) -> None:
    orphan = b'{"type": "service", "id": 1, "name": "x", "status": {}, "parent": null}'
    body = b'{"result": [1, {"type": "host"}, ' + orphan + b'], "meta": {"total": 3}}'
    fake.fail("/monitoring/resources", status=200, body=body)
    assert list(resources(api)) == []


# --- values ----------------------------------------------------------------------------------------------------------------


def test_raw_rows_come_sorted_and_in_epoch_seconds(fake: Fake, api: Api) -> None:
    service = fake.service(fake.host("srv-1"), "Cpu")
    service.samples["cpu"] = {START + 300 * step: step / 4 for step in range(50)}
    found = download(api, service.host.id, service.id, "2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00")
    assert found is not None
    times, values = found["cpu"]
    np.testing.assert_array_equal(times, START + 300 * np.arange(50))
    np.testing.assert_array_equal(values, np.arange(50) / 4)


def test_an_empty_download_is_not_known_and_no_rows_is_no_data(fake: Fake, api: Api) -> None:
    service = fake.service(fake.host("srv-1"), "Disk")
    service.samples["/var#storage.space.usage.bytes"] = {}
    ask = ("2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00")
    found = download(api, service.host.id, service.id, *ask)
    assert found is not None
    assert len(found["/var#storage.space.usage.bytes"][0]) == 0
    fake.unquoted_columns = True
    assert download(api, service.host.id, service.id, *ask) is None


@pytest.mark.parametrize(
    "body", [b"<html></html>", b"time;humantime;a\n1;x\n", b"time;humantime;a\nx;y;1\n", b"time;a\n1772323200;1\n17723"]
)
def test_a_download_that_was_cut_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unanswered):
        raw_values(body, "here")


def test_averages_know_what_is_missing(fake: Fake, api: Api) -> None:
    service = fake.service(fake.host("srv-1"), "Cpu")
    service.samples["cpu"] = {START + 60 * step: 1.0 for step in range(10)}
    found = performance(api, service.host.id, service.id, "2026-03-01T00:00:00+00:00", "2026-03-01T01:00:00+00:00")
    times, values = found["cpu"]
    assert times[0] == START
    assert np.isfinite(values).sum() == 10
    assert np.isnan(values[-1])


def test_thresholds_come_with_the_metrics(fake: Fake, api: Api) -> None:
    service = fake.service(fake.host("srv-1"), "Cpu")
    service.samples["cpu"], service.metrics["cpu"] = {}, {"warning_high_threshold": 80.0}
    assert metrics(api, service.host.id, service.id)[0]["warning_high_threshold"] == 80.0
    fake.version = "22.10.2"
    with pytest.raises(Refused) as caught:
        metrics(api, service.host.id, service.id)
    assert caught.value.status == 404


# --- results for Centreon ---------------------------------------------------------------------------------------------------


def shown(fake: Fake, host: str, service: str) -> tuple[int | None, str]:
    one = fake.engine.checked[host, service]
    return one.code, one.output


def test_accepted_means_that_it_lies_in_a_folder(fake: Fake, api: Api) -> None:
    service = fake.service(fake.host("srv-1"), "Anomaly-web")
    submit(api, [ById(host_id=service.host.id, service_id=service.id, code=2, output="CRITICAL: x", perfdata="a=1")])
    assert shown(fake, "srv-1", "Anomaly-web") == (None, "")
    fake.work()
    assert shown(fake, "srv-1", "Anomaly-web") == (2, "CRITICAL: x")


def test_an_unknown_service_stops_the_batch_in_the_middle(fake: Fake, api: Api) -> None:
    host = fake.host("srv-1")
    first, last = fake.service(host, "a"), fake.service(host, "b")
    batch = [ById(host_id=host.id, service_id=ident, code=1, output="WARNING") for ident in (first.id, 9999, last.id)]
    with pytest.raises(Refused) as caught:
        submit(api, batch)
    assert caught.value.status == 404
    fake.work()
    assert (shown(fake, "srv-1", "a")[0], shown(fake, "srv-1", "b")[0]) == (1, None)


def test_a_request_that_is_not_understood_is_not_sent_again(fake: Fake, api: Api) -> None:
    with pytest.raises(Refused, match="Centreon says 500"):
        submit(api, [ById(host_id=1, service_id=2, code=7, output="x")])
    assert fake.request_faults or fake.contract is None
    fake.request_faults.clear()


def test_names_and_times_go_through_v1_with_an_answer_for_each(fake: Fake, api: Api) -> None:
    fake.service(fake.host("srv-1"), "Anomaly-web")
    results = [
        ByName(host="srv-1", service="Anomaly-web", code=1, output="WARNING: y", perfdata="'a'=1;;;0;", at=START),
        ByName(host="srv-1", service="nobody", code=1, output="x", at=START),
        ByName(host="nobody", service="", code=0, output="x", at=START),
    ]
    assert submit_v1(api, results) == [
        (202, "The status send to the engine"),
        (404, "The service is not present."),
        (404, "The host is not present."),
    ]
    fake.work()
    assert fake.engine.checked["srv-1", "Anomaly-web"].last_check == START


@pytest.mark.parametrize("version", ["22.10.2", "24.10.1"])
def test_v1_renews_a_session_whatever_status_says_that_it_ended(fake: Fake, api: Api, version: str) -> None:
    fake.version = version
    fake.service(fake.host("srv-1"), "Anomaly-web")
    one = [ByName(host="srv-1", service="Anomaly-web", code=0, output="OK", at=START)]
    submit_v1(api, one)
    fake.expire_tokens()
    assert submit_v1(api, one)[0][0] == 202


def test_clapi_makes_what_only_an_export_brings_to_the_engine(fake: Fake, api: Api) -> None:
    fake.host("srv-1")
    api.clapi("add", "STPL", ["Passive-Anomaly", "Passive-Anomaly", ""])
    api.clapi("setparam", "STPL", ["Passive-Anomaly", "max_check_attempts", "1"])
    api.clapi("add", "SERVICE", ["srv-1", "Anomaly-web", "Passive-Anomaly"])
    assert fake.named("srv-1", "Anomaly-web") is None
    with pytest.raises(Refused, match="already exists") as caught:
        api.clapi("add", "SERVICE", ["srv-1", "Anomaly-web", "Passive-Anomaly"])
    assert caught.value.status == 409
    api.clapi("APPLYCFG", "", ["Central"])
    assert fake.named("srv-1", "Anomaly-web") is not None
    assert api.clapi("show", "SERVICE", ["Anomaly-web"])[0]["host name"] == "srv-1"


def test_a_value_that_would_be_two_never_leaves(fake: Fake, api: Api) -> None:
    with pytest.raises(PermanentError, match="character it cannot take"):
        api.clapi("add", "SERVICE", ["srv-1", "a;b", "t"])
    assert not any(path.endswith("index.php") for _, path, _ in fake.asked)


# --- the fake is as bad as the real one ---------------------------------------------------------------------------------------


def test_a_line_break_in_a_text_is_a_second_command(fake: Fake, api: Api) -> None:
    host = fake.host("srv-1")
    one, other = fake.service(host, "a"), fake.service(host, "b")
    forged = f"x\n[{START}] PROCESS_SERVICE_CHECK_RESULT;srv-1;b;2;forged"
    submit(api, [ById(host_id=host.id, service_id=one.id, code=0, output=forged)])
    fake.work()
    assert shown(fake, "srv-1", other.name) == (2, "forged")
    fake.request_faults.clear()  # the contract forbids what the real one lets through


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("2;a|b|c=1", (2, "a|b", "c=1")),
        ("1;see 10;40", (1, "see 10:40", "")),
        ("7;x", (3, "x", "")),
        ("two;x", (None, "", "")),
        ("0;C:\\new", (0, "C:", "")),
        ("0;" + "x" * 9000 + "|a=1", (0, "x" * 8131, "")),
    ],
)
def test_the_engine_reads_a_line_as_the_real_one(line: str, seen: tuple[int | None, str, str]) -> None:
    with centreon() as fake:
        fake.service(fake.host("srv-1"), "Cpu")
        fake.engine.read(f"[{START}] PROCESS_SERVICE_CHECK_RESULT;srv-1;Cpu;{line}\n".encode())
        one = fake.engine.checked["srv-1", "Cpu"]
        assert (one.code, one.output[:8131], one.perfdata) == seen


def test_the_same_page_sorted_by_second_comes_in_another_order() -> None:
    with centreon() as fake:
        host = fake.host("srv-1")
        for number in range(20):
            fake.service(host, f"s{number}")
        path = '/centreon/api/latest/monitoring/resources?types=["service"]&limit=10&page='
        headers = {"x-auth-token": API_TOKEN}
        first, second = (json.loads(fake.answer("GET", path + page, headers, b"")[1])["result"] for page in "12")
        assert len({item["id"] for item in first + second}) < 20
