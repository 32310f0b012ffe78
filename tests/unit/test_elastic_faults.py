"""Whatever a cluster does, its state is told truly, memory and requests stay bounded, and all is well again afterwards."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from collectors.elastic import ElasticCollector, ElasticSettings
from collectors.elastic.answers import rows, trust
from collectors.elastic.queries import Ask
from tests.elastic_fake import (
    Answer,
    Asked,
    FakeElastic,
    Fault,
    bomb,
    failed_shards,
    failed_shards_with_too_many_buckets,
    forbidden,
    no_shards,
    page,
    raw,
    rejected,
    skipped_cluster,
    status,
    timed_out,
    too_many_buckets,
)
from tests.elastic_servers import KEYWORD, NUMBER, fill, small_server
from tocsin.elastic.answers import error_for
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Aggregate, Frame, Metric, SeriesIndex, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

WORDS = [
    "type",
    "reason",
    "error",
    "caused_by",
    "root_cause",
    "failed_shards",
    "failures",
    "_shards",
    "_clusters",
    "total",
    "failed",
    "key",
    "t",
]
WORDS += [
    "c0",
    "by",
    "m0",
    "m1",
    "v",
    "value",
    "values",
    "hits",
    "fields",
    "doc_count",
    "timed_out",
    "details",
    "skipped",
    "partial",
    "buckets",
]
SPAN, BUCKETS, HOSTS = 60, 60, ("web1", "web2", "web3", "web4")
START = 1_795_200_000
WINDOW = Window(START, START + BUCKETS * SPAN, SPAN)
NOW = WINDOW.end + 5
METRICS = {"cpu": Metric(name="cpu"), "requests": Metric(name="requests", aggregate=Aggregate.COUNT)}


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    with small_server() as server:
        documents = [
            {"@timestamp": time_ * 1000, "host": {"name": host}, "cpu": place + bucket / 100}
            for place, host in enumerate(HOSTS)
            for bucket, time_ in enumerate(WINDOW.starts.tolist())
        ]
        fill(server.url, "metrics-a", documents, {"cpu": NUMBER, "label": KEYWORD})
        yield server.url


@pytest.fixture(params=["elasticsearch", pytest.param("opensearch", marks=pytest.mark.integration)])
def flavour(request: pytest.FixtureRequest) -> str:
    """Both client libraries; the second not in a hurry."""
    made: str = request.param
    return made


@pytest.fixture
def fake(behind: str, flavour: str) -> Iterator[FakeElastic]:
    with FakeElastic(behind, flavour=flavour) as running:
        yield running


@pytest.fixture
def collect(fake: FakeElastic, tmp_path: Path) -> Iterator[Callable[..., ElasticCollector]]:
    made: list[ElasticCollector] = []

    def make(*, limits: dict[str, Any] | None = None, **settings: Any) -> ElasticCollector:
        bounds = {"retries": 0, "per_second": 1000, "timeout": 10, "page": 100, "max_bytes": 1_000_000} | (limits or {})
        written = {
            "hosts": fake.url,
            "flavour": fake.flavour,
            "index": "metrics-*",
            "fields": {"cpu": "cpu", "requests": "*"},
            "limits": bounds,
        } | settings
        around = Surroundings(component_type="web", calendar=Calendar("UTC"), span=SPAN, metrics=METRICS, folder=tmp_path)
        collector = ElasticCollector(ElasticSettings.model_validate(written), around, clock=lambda: NOW)
        made.append(collector)
        return collector

    yield make
    for collector in made:
        collector.close()


def whole(frame: Frame) -> bool:
    wanted = np.array([place + np.arange(BUCKETS) / 100 for place in range(len(HOSTS))])
    return bool(frame.known.all() and np.allclose(frame.values[::2], wanted) and (frame.values[1::2] == 1).all())


# --- no answer that can be used ---------------------------------------------------------------------------------------

NOTHING: dict[str, tuple[Fault, type[Exception], str]] = {
    "a full queue": (status(429, rejected()), TransientError, "answered 429: rejected execution of TimedRunnable"),
    "an error of the server": (
        status(500, {"error": {"type": "x", "reason": "NullPointer"}}),
        TransientError,
        "500: NullPointer",
    ),
    "a proxy without a server": (page(502, "<html>Bad Gateway</html>"), TransientError, "answered 502"),
    "a proxy that is polite": (page(200, "<html>Please log in</html>"), TransientError, "does a proxy answer"),
    "an error that is a bare string": (
        status(500, {"error": "IndexOutOfBounds", "status": 500}),
        TransientError,
        "IndexOutOfBounds",
    ),
    "no rights": (
        status(403, forbidden()),
        PermanentError,
        "not allowed (403): action [indices:data/read/search] is unauthorized",
    ),
    "an expired key": (
        status(401, {"error": {"type": "security_exception", "reason": "api key is expired"}}),
        PermanentError,
        "expired",
    ),
    "malformed JSON": (raw(b'{"took": 1, "aggregations": {'), TransientError, "is no JSON"),
    "an empty body": (raw(b""), TransientError, "http"),
    "JSON nested without end": (raw(b'{"a":' + b"[" * 100_000), TransientError, "http"),
    "a list": (raw(b"[1, 2]"), TransientError, "no JSON object"),
    "a body that is cut": (raw(b'{"took": 1, "aggregations": {}}', cut=12), TransientError, "http"),
    "a connection that is cut": (raw(b"{}", cut=0), TransientError, "http"),
    "an answer that takes too long": (raw(b"{}", wait=2.3), TransientError, "no whole answer within"),
    "an answer that drips": (raw(b" " * 20_000, pace=0.2), TransientError, "no whole answer within"),
    "a redirect": (status(302, Location="https://elsewhere/?token=x"), PermanentError, "write the final address in hosts"),
    "a server that is too old": (
        status(406, {"error": "Content-Type header [application/vnd.elasticsearch+json; compatible-with=8] is not supported"}),
        PermanentError,
        "try flavour: opensearch",
    ),
    "full text": (
        status(400, {"error": {"type": "illegal_argument_exception", "reason": "Text fields are not optimised for operations"}}),
        PermanentError,
        "keyword",
    ),
}


@pytest.mark.parametrize("what", NOTHING)
def test_no_answer_is_not_known_and_says_why(what: str, fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    fault, kind, sentence = NOTHING[what]
    collector = collect(limits={"timeout": 2 if what.startswith("an answer that") else 10})
    index = SeriesIndex(collector.discover())
    fake.always = fault
    before = len(fake.asked)
    with pytest.raises(kind) as told:
        collector.collect(index, WINDOW)
    assert sentence in str(told.value)
    assert fake.url in str(told.value)
    assert "\n" not in str(told.value)
    assert len(fake.asked) - before <= 2
    assert collector.manners.state.kind == "degraded"
    fake.always = None
    assert whole(collector.collect(index, WINDOW))


def test_it_is_asked_again_after_a_pause_as_long_as_the_server_wants(
    fake: FakeElastic, collect: Callable[..., ElasticCollector]
) -> None:
    collector = collect(limits={"retries": 2, "page": 5000})
    index = SeriesIndex(collector.discover())
    fake.then(status(429, rejected(), Retry_After="1"), status(503, {"error": "unavailable"}))
    began, before = time.monotonic(), len(fake.asked)
    assert whole(collector.collect(index, WINDOW))
    assert time.monotonic() - began > 1
    assert len(fake.asked) - before == 3
    assert "answered only after 2 failed tries" in collector.manners.state.reason


def test_after_three_failures_the_server_is_left_alone(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    fake.always = status(500)
    for _ in range(3):
        with pytest.raises(TransientError):
            collector.collect(index, WINDOW)
    before = len(fake.asked)
    with pytest.raises(TransientError, match="left alone"):
        collector.collect(index, WINDOW)
    assert len(fake.asked) == before
    assert collector.manners.state.kind == "down"


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9: no connection: refused: .* is the port right"),
        ("http://nowhere.invalid:9200", r"nowhere\.invalid:9200: no connection: the name is not known"),
        ("https", r"no connection: .* is no TLS: .* write http:// in hosts"),
    ],
)
@pytest.mark.parametrize("told", ["auto", "of its kind"])
def test_who_cannot_be_reached_is_told_why_and_by_us_alone(
    hosts: str,
    sentence: str,
    told: str,
    flavour: str,
    fake: FakeElastic,
    collect: Callable[..., ElasticCollector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("elastic_transport", "opensearch"):  # as in a new process
        logging.getLogger(name).setLevel(logging.NOTSET)
    address = fake.url.replace("http:", "https:") if hosts == "https" else hosts
    collector = collect(hosts=address, flavour="auto" if told == "auto" else flavour)
    with pytest.raises(TransientError, match=sentence):
        collector.discover()
    assert [one.name for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_server_that_hangs_up_on_plain_words_may_want_tls(collect: Callable[..., ElasticCollector]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.close()

        one = threading.Thread(target=hang_up)
        one.start()
        with pytest.raises(TransientError, match=r"hung up without an answer; if it speaks TLS, write https:// in hosts"):
            collect(hosts=f"http://127.0.0.1:{listening.getsockname()[1]}").discover()
        one.join()


# --- answers that are not what they look like -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (failed_shards, r"1 of 2 shards failed: \[es2\]\[10.0.0.2:9300\] Node not connected"),
        (timed_out, "the search timed out at the server"),
    ],
)
def test_a_part_of_the_documents_is_not_known(
    spoil: Callable[[Any], Any], sentence: str, fake: FakeElastic, collect: Callable[..., ElasticCollector]
) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    fake.spoil = spoil
    frame = collector.collect(index, WINDOW)
    assert not frame.known.any()
    assert np.isnan(frame.values).all()
    assert collector.manners.state.kind == "degraded"
    assert __import__("re").search(sentence, collector.manners.state.reason)
    with pytest.raises(TransientError, match=sentence):
        collector.discover()
    fake.spoil = None
    assert whole(collector.collect(index, WINDOW))


def test_a_cluster_that_was_skipped_makes_holes_not_known_and_leaves_the_rest(
    fake: FakeElastic, collect: Callable[..., ElasticCollector]
) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())

    def without_web4(answer: Any) -> Any:
        if rows := answer["aggregations"].get("rows"):
            rows["buckets"] = [row for row in rows["buckets"] if row["key"]["c0"] != "web4"]
        return skipped_cluster(answer)

    fake.spoil = without_web4
    frame = collector.collect(index, WINDOW)
    here = np.array([key.component != "web4" for key in index])
    assert frame.known[here].all()
    assert not np.isnan(frame.values[here]).any()
    assert not frame.known[~here].any()
    assert collector.manners.state.reason == f"{fake.url}: 1 of 2 clusters skipped (lyon)"
    assert len(collector.discover()) == len(index)
    fake.spoil = None
    assert whole(collector.collect(index, WINDOW))


def test_a_pattern_that_matches_nothing_is_no_empty_answer(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    fake.spoil = no_shards
    for ask in (collector.discover, collector.reach, lambda: collector.collect(index, WINDOW)):
        with pytest.raises(TransientError, match=r"no index that we may read matches metrics-\*: is `index` right"):
            ask()
    fake.spoil = None
    assert whole(collector.collect(index, WINDOW))


@pytest.mark.parametrize("code", [400, 503])
def test_too_many_buckets_is_asked_again_in_smaller_pages(
    code: int, fake: FakeElastic, collect: Callable[..., ElasticCollector]
) -> None:
    collector = collect(limits={"page": 1000})
    index = SeriesIndex(collector.discover())

    def no_more_than_120(asked: Asked) -> Answer | None:
        big = b'"composite"' in asked.body and asked.json["aggs"]["rows"]["composite"]["size"] > 120
        return Answer(status=code, body=json.dumps(too_many_buckets()).encode()) if big else None

    fake.always = no_more_than_120
    before = len(fake.searches)
    assert whole(collector.collect(index, WINDOW))
    sizes = [one.json["aggs"]["rows"]["composite"]["size"] for one in fake.searches[before:]]
    assert sizes == [1000, 500, 250, 125, 62, 62, 62, 62]
    fake.always = None
    for _ in range(6):
        assert whole(collector.collect(index, WINDOW))
    assert fake.searches[-1].json["aggs"]["rows"]["composite"]["size"] > 62


def test_too_many_buckets_inside_an_answer_is_no_answer(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect(limits={"page": 400})
    index = SeriesIndex(collector.discover())
    fake.spoil = failed_shards_with_too_many_buckets
    before = len(fake.asked)
    with pytest.raises(TransientError, match="pages of 50 rows are still too much"):
        collector.collect(index, WINDOW)
    assert len(fake.asked) - before == 4
    fake.spoil = None
    assert whole(collector.collect(index, WINDOW))


def test_an_answer_that_unfolds_without_end_is_not_unfolded(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    fake.always = bomb(50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TransientError, match="larger than 1000000 bytes"):
            collector.collect(index, WINDOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    fake.always = None
    assert whole(collector.collect(index, WINDOW))


def test_what_came_before_paging_broke_off_is_kept(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())
    fake.then(lambda _: None, lambda _: None, status(500, {"error": "gone"}))
    frame = collector.collect(index, WINDOW)
    # Two pages of 100 rows of 4 hosts: 50 buckets; the last of them may go on on the page that did not come.
    assert frame.known[:, :49].all()
    assert not frame.known[:, 49:].any()
    assert np.allclose(frame.values[0, :49], np.arange(49) / 100)
    assert np.isnan(frame.values[:, 49:]).all()
    assert "gone" in collector.manners.state.reason
    assert whole(collector.collect(index, WINDOW))


def test_what_is_cut_by_a_cap_is_not_known(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect(limits={"max_rows": 1000})
    index = SeriesIndex(collector.discover())
    long = Window(WINDOW.start, WINDOW.start + 400 * SPAN, SPAN)
    tenfold = [
        {"key": {"t": (START + bucket * SPAN) * 1000, "c0": f"w{n}"}, "doc_count": 1} for bucket in range(4) for n in range(25)
    ]

    def many(answer: Any) -> Any:
        rows = answer["aggregations"]["rows"]
        many.page += 1
        rows["buckets"] = [{**row, "key": {**row["key"], "t": row["key"]["t"] + many.page * 4 * SPAN * 1000}} for row in tenfold]
        rows["after_key"] = rows["buckets"][-1]["key"]
        return answer

    many.page = -1
    fake.spoil = many
    before = len(fake.asked)
    frame = collector.collect(index, long)
    assert len(fake.asked) - before == 10
    assert frame.known[:, :39].all()
    assert not frame.known[:, 39:].any()
    assert "cut after 1000 rows (limits.max_rows)" in collector.manners.state.reason


def test_the_same_page_again_and_again_ends(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())

    def stuck(answer: Any) -> Any:
        answer["aggregations"]["rows"]["after_key"] = {"t": START * 1000, "c0": "web1"}
        return answer

    fake.spoil = stuck
    before = len(fake.asked)
    with pytest.raises(TransientError, match="the same page again and again"):
        collector.collect(index, WINDOW)
    assert len(fake.asked) - before == 2


# --- values that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [b"null", b'"NaN"', b'"Infinity"', b"NaN", b"-Infinity", b"1e400", b"3.5e38", b'"12"', b"true", b"[1]", b"{}", b"1" * 400],
)
def test_what_is_no_number_is_no_value(value: bytes, fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect()
    index = SeriesIndex(collector.discover())

    def odd(asked: Asked) -> Answer:
        key = {"t": (START + SPAN) * 1000, "c0": "web1"}
        rows = [{"key": key, "doc_count": 1, "m0": {"value": "HERE"}}]
        body = json.dumps({"_shards": {"total": 1, "failed": 0}, "timed_out": False, "aggregations": {"rows": {"buckets": rows}}})
        return Answer(body=body.encode().replace(b'"HERE"', value))

    fake.always = odd
    frame = collector.collect(index, WINDOW)
    assert np.isnan(frame.values[0]).all()
    assert frame.known.all()


@pytest.mark.parametrize(
    "row",
    [
        7,
        {},
        {"key": 1, "doc_count": 1},
        {"key": {"c0": "web1"}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": "x", "c0": "web1"}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": START * 1000, "c0": None}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": START * 1000, "c0": "a\nb"}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": START * 1000, "c0": "x" * 1000}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": (START - 5) * 1000, "c0": "web1"}, "doc_count": 1, "m0": {"value": 9}},
        {"key": {"t": 10**40, "c0": "web1"}, "doc_count": 1, "m0": {"value": 9}},
    ],
)
def test_a_row_that_is_none_costs_itself_only(row: Any, fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect(limits={"page": 5000})
    index = SeriesIndex(collector.discover())

    def with_it(answer: Any) -> Any:
        answer["aggregations"]["rows"]["buckets"].insert(3, row)
        return answer

    fake.spoil = with_it
    assert whole(collector.collect(index, WINDOW))


def test_rows_twice_and_in_any_order_are_the_same_rows(fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect(limits={"page": 5000})
    index = SeriesIndex(collector.discover())

    def shuffled(answer: Any) -> Any:
        rows = answer["aggregations"]["rows"]
        rows["buckets"] = [*reversed(rows["buckets"]), *rows["buckets"][:50]]
        return answer

    fake.spoil = shuffled
    assert whole(collector.collect(index, WINDOW))


@pytest.mark.parametrize("body", ["aggregations", "rows", "buckets", "_shards", "everything"])
def test_an_answer_without_a_part_is_not_known(body: str, fake: FakeElastic, collect: Callable[..., ElasticCollector]) -> None:
    collector = collect(limits={"page": 5000})
    index = SeriesIndex(collector.discover())

    def without(answer: Any) -> Any:
        if body == "everything":
            return {}
        for part in (answer, answer.get("aggregations"), answer.get("aggregations", {}).get("rows")):
            if isinstance(part, dict) and body in part:
                part[body] = None if body != "_shards" else {"total": "x", "failed": "y"}
        return answer

    fake.spoil = without
    frame = collector.collect(index, WINDOW)
    assert whole(frame) if body == "_shards" else not frame.known.any()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)


@given(JSON, st.sampled_from([200, 302, 400, 401, 403, 406, 429, 500]))
def test_whatever_the_server_says_is_understood_as_something(body: Any, code: int) -> None:
    error = error_for(code, body, {"retry-after": "7"}, "http://es")
    assert isinstance(error, TransientError | PermanentError)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    if isinstance(body, dict):
        assert trust(body).kind in ("whole", "holes", "part", "less", "nothing")
    asks = [
        Ask(metric="a", field="a", aggregate=kind) for kind in (Aggregate.MEAN, Aggregate.P95, Aggregate.LAST, Aggregate.COUNT)
    ]
    found = rows(body if isinstance(body, list) else [body, {"key": {"t": 60_000, "c0": "a"}, "m0": body, "m1": body}], 1, asks)
    assert len(found.components) == len(found.times) == len(found.documents) == len(found.values[0])


# --- who is there -----------------------------------------------------------------------------------------------------


def test_a_key_that_was_renewed_is_used_at_once(
    behind: str, flavour: str, collect: Callable[..., ElasticCollector], tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text("b2xkOmtleQ==")
    with FakeElastic(behind, flavour=flavour, key="b2xkOmtleQ==") as fake:
        collector = collect(hosts=fake.url, auth={"api_key": f"file:{secret}"})
        index = SeriesIndex(collector.discover())
        assert whole(collector.collect(index, WINDOW))
        fake.key = "bmV3OmtleQ=="
        with pytest.raises(PermanentError, match="credentials are refused") as told:
            collector.collect(index, WINDOW)
        assert "b2xk" not in str(told.value)
        secret.write_text("bmV3OmtleQ==")
        assert whole(collector.collect(index, WINDOW))
        fake.key = "dGhpcmQ6a2V5"
        secret.write_text("dGhpcmQ6a2V5")
        assert whole(collector.collect(index, WINDOW))
        assert {one.headers["x-opaque-id"] for one in fake.asked} == {"tocsin/web"}
        collector.close()


def test_a_certificate_nobody_vouches_for_is_refused(
    behind: str, flavour: str, collect: Callable[..., ElasticCollector], tmp_path: Path
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    fingerprint = __import__("hashlib").sha256(der).hexdigest()
    elsewhere = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("es.example.org").configure_cert(elsewhere)
    with FakeElastic(behind, flavour=flavour, tls=elsewhere) as fake:
        collector = collect(hosts=fake.url, tls={"ca": str(tmp_path / "ca.pem")})
        with pytest.raises(PermanentError, match="its certificate is not trusted here: IP address mismatch"):
            collector.discover()
    with FakeElastic(behind, flavour=flavour, tls=context) as fake:
        for tls, sentence in (
            ({}, "its certificate is not trusted here"),
            ({"ca": str(tmp_path / "other.pem")}, "its certificate is not trusted here"),
            ({"fingerprint": "0" * 64}, "not the one in tls.fingerprint"),
        ):
            collector = collect(hosts=fake.url, tls=tls)
            with pytest.raises(PermanentError, match=sentence):
                collector.discover()
        assert fake.asked == []
        for tls in ({"ca": str(tmp_path / "ca.pem")}, {"fingerprint": fingerprint}, {"verify": False}):
            collector = collect(hosts=fake.url, tls=tls)
            assert whole(collector.collect(SeriesIndex(collector.discover()), WINDOW))
            assert bool(collector.check()) is (tls == {"verify": False})
            collector.close()
