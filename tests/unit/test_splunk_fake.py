"""The fake splunkd is what the unmodified SDK takes for a Splunk, in both generations of its addresses."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme
from splunklib import binding, client, results

from tests.splunk_fake import Fake

NOON = 1_790_812_800


@pytest.fixture(params=["9.4.1", "8.2.0"])
def fake(request: pytest.FixtureRequest) -> Fake:
    made = Fake(version=request.param)
    made.now, made.keep_alive = NOON + 600, False  # the SDK leaves connections open that it was invited to keep
    for minute in range(5):
        for host, value in (("web1", 10.0), ("web2", 20.0)):
            made.samples.point(NOON + 60 * minute, "cpu.util", value + minute, host=host)
            made.samples.event(NOON + 60 * minute, f"GET /{minute}", host=host, sourcetype="access", status="200")
    made.saved["errors by host"] = "search index=web | stats count AS n BY host"
    return made


@pytest.fixture
def port(fake: Fake) -> Iterator[int]:
    with fake.running() as port:
        yield port


def sdk(port: int, **how: Any) -> client.Service:
    return client.connect(host="127.0.0.1", port=port, scheme="http", **({"splunkToken": "good-token"} | how))


def rows_of(stream: Any) -> list[dict[str, Any]]:
    return [row for row in results.JSONResultsReader(stream) if isinstance(row, dict)]


def waited(job: client.Job) -> client.Job:
    while not job.is_done():
        time.sleep(0.01)
    return job


def test_the_sdk_logs_in_with_a_password_and_goes_on_with_a_session(port: int, fake: Fake) -> None:
    service = sdk(port, splunkToken="", username="tocsin", password="good-password")
    assert service.splunk_version == tuple(int(part) for part in fake.version.split("."))
    assert "splunkd_8089" in service.get_cookies()


def test_the_sdk_knows_every_refusal_as_one(port: int) -> None:
    with pytest.raises(binding.AuthenticationError, match="Login failed"):
        sdk(port, splunkToken="", username="tocsin", password="wrong")
    with pytest.raises(binding.AuthenticationError, match="not logged in"):
        sdk(port, splunkToken="expired").get("/services/server/info")
    with pytest.raises(binding.HTTPError, match="Unknown search command 'foo'") as refused:
        sdk(port).jobs.create("foo index=web")
    assert refused.value.status == 400


def test_the_sdk_runs_a_job_waits_for_it_reads_it_and_cancels_it(port: int, fake: Fake) -> None:
    job = sdk(port).jobs.create(
        '| mstats avg("cpu.util") AS m0 WHERE index="em_metrics" BY host span=60s | eval epoch=_time | fields - _time',
        earliest_time=NOON,
        latest_time=NOON + 120,
    )
    assert not job.is_ready()  # 204
    waited(job)
    assert job["isFailed"] == "0"
    assert job["resultCount"] == "4"
    assert rows_of(job.results(output_mode="json", count=0)) == [
        {"host": "web1", "m0": "10", "epoch": str(NOON)},
        {"host": "web2", "m0": "20", "epoch": str(NOON)},
        {"host": "web1", "m0": "11", "epoch": str(NOON + 60)},
        {"host": "web2", "m0": "21", "epoch": str(NOON + 60)},
    ]
    job.cancel()
    assert fake.left() == []


def test_the_sdk_reads_by_pages_of_a_hundred_unless_told_otherwise(port: int, fake: Fake) -> None:
    for number in range(150):
        fake.samples.event(NOON, "x", index="many", host=f"h{number:03}")
    job = waited(sdk(port).jobs.create("search index=many | stats count AS n BY host"))
    assert len(rows_of(job.results(output_mode="json"))) == 100
    assert len(rows_of(job.results(output_mode="json", count=100, offset=100))) == 50


def test_the_sdk_reads_xml_too(port: int) -> None:
    job = waited(sdk(port).jobs.create("search index=web | stats count AS n BY host"))
    with pytest.warns(DeprecationWarning, match="JSONResultsReader"):
        reader = results.ResultsReader(job.results())
    found = [dict(row) for row in reader]
    assert found == [{"host": "web1", "n": "5"}, {"host": "web2", "n": "5"}]


def test_the_sdk_runs_blocking_and_oneshot_searches(port: int) -> None:
    service = sdk(port)
    assert service.jobs.create("search index=web | stats count AS n", exec_mode="blocking").is_done()
    found = rows_of(service.jobs.oneshot("search index=web | stats count AS n", output_mode="json"))
    assert found == [{"n": "10"}]


def test_an_export_repeats_its_rows_as_previews_unless_told_not_to(port: int) -> None:
    service, query = sdk(port), "search index=web | stats count AS n BY host"
    assert len(rows_of(service.jobs.export(query, output_mode="json"))) == 3
    assert len(rows_of(service.jobs.export(query, output_mode="json", preview=False))) == 2


def test_the_sdk_dispatches_a_saved_search(port: int, fake: Fake) -> None:
    fake.states = ["204", "QUEUED", "RUNNING", "DONE"]
    saved = sdk(port).saved_searches["errors by host"]
    job = waited(saved.dispatch(**{"dispatch.earliest_time": NOON, "dispatch.latest_time": NOON + 60}))
    assert rows_of(job.results(output_mode="json")) == [{"host": "web1", "n": "1"}, {"host": "web2", "n": "1"}]
    with pytest.raises(KeyError):
        _ = sdk(port).saved_searches["nobody's"]


def test_the_fourth_search_of_an_account_finds_no_place(port: int, fake: Fake) -> None:
    service, fake.states = sdk(port), ["RUNNING"]
    jobs = [service.jobs.create("search index=web | stats count AS n") for _ in range(3)]
    with pytest.raises(binding.HTTPError, match="role quota") as refused:
        service.jobs.create("search index=web | stats count AS n")
    assert refused.value.status == 503
    jobs[0].cancel()
    service.jobs.create("search index=web | stats count AS n")


def test_a_job_that_failed_says_that_it_is_done(port: int, fake: Fake) -> None:
    fake.states, fake.messages = ["FAILED"], [("FATAL", "it broke")]
    job = waited(sdk(port).jobs.create("search index=web | stats count AS n"))
    assert (job["isDone"], job["isFailed"], job["messages"]["fatal"]) == ("1", "1", ["it broke"])


def test_it_speaks_tls_with_its_own_authority(fake: Fake) -> None:
    authority, trusts = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ExitStack() as stack:
        over = Fake(context=context)
        over.keep_alive = False
        port = stack.enter_context(over.running())
        service = client.connect(host="127.0.0.1", port=port, splunkToken="good-token", verify=True, context=trusts)
        assert service.splunk_version == (9, 4, 1)
        with pytest.raises(ssl.SSLCertVerificationError):
            client.connect(host="127.0.0.1", port=port, splunkToken="x", verify=True).get("/services/server/info")
