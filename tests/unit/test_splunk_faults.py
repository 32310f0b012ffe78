"""What Splunk can do wrong: the state is right, memory bounded, no search left behind, one true sentence, full recovery."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from collectors.manners import Manners
from collectors.splunk import Splunk, SplunkSettings
from tests import splunk_fake
from tests.splunk_fake import Fake, Job, xml_messages
from tests.splunk_served import Answer, Asked
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Frame, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

NOON = 1_790_812_800
WINDOW = Window(NOON, NOON + 300, 60)
INDEX = SeriesIndex([SeriesKey("web1", "cpu"), SeriesKey("web2", "cpu")])
TRUTH = np.array([[0.0, 1, 2, 3, 4], [10, 11, 12, 13, 14]])
SECRET = "good-token"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("SPLUNK_TOKEN", SECRET)
    made = Fake()
    made.now, made.states = NOON + 600, ["DONE"]
    for minute in range(5):
        made.samples.point(NOON + 60 * minute, "cpu.util", float(minute), host="web1")
        made.samples.point(NOON + 60 * minute, "cpu.util", 10.0 + minute, host="web2")
    return made


@pytest.fixture
def port(fake: Fake) -> Iterator[int]:
    with fake.running() as port:
        yield port


def built(port: int, *, settings: dict[str, Any] | None = None, sleep: Callable[[float], None] | None = None) -> Splunk:
    given = {"host": "127.0.0.1", "port": port, "scheme": "http", "auth": {"token": "env:SPLUNK_TOKEN"}, "index": "em_metrics"}
    given |= {"fields": {"cpu": "cpu.util"}} | (settings or {})
    given["limits"] = {"per_second": 100, "retries": 0, "timeout": "30s"} | given.get("limits", {})
    around = Surroundings(component_type="web", calendar=Calendar("Europe/Paris"), span=60, metrics={}, folder=Path())
    checked = SplunkSettings.model_validate(given)
    manners = Manners(checked.limits, sleep=sleep or (lambda seconds: None), random=lambda: 0.0)
    return Splunk(checked, around, manners=manners)


@pytest.fixture
def splunk(port: int) -> Iterator[Splunk]:
    made = built(port)
    yield made
    made.close()


def healed(splunk: Splunk, fake: Fake) -> Frame:
    """The trouble is over: everything is there again."""
    fake.faults.clear()
    fake.messages, fake.states, fake.others, fake.change = [], ["DONE"], 0, lambda job: None
    fake.token = SECRET
    frame = splunk.collect(INDEX, WINDOW)
    np.testing.assert_array_equal(frame.values, TRUTH)
    assert frame.known.all()
    return frame


def says(status: int, text: str, kind: str = "ERROR", **headers: str) -> Answer:
    return Answer(status, json.dumps({"messages": [{"type": kind, "text": text}]}).encode(), headers, "application/json")


JOBS, JOB, RESULTS = r"POST .*/jobs$", r"GET .*/jobs/[^/]+$", r"/results$"
HTML = Answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", kind="text/html")

NO_ANSWER = [
    (
        JOBS,
        says(401, "call not properly authenticated", "WARN"),
        PermanentError,
        "is not accepted .expired or revoked.*issue a new one",
    ),
    (
        JOBS,
        says(403, "insufficient permission to access this resource"),
        PermanentError,
        "may not do this: give its role the capability",
    ),
    (JOBS, says(429, "slow down"), TransientError, "too many requests"),
    (JOBS, says(500, "Server Error"), TransientError, "answered 500: Server Error"),
    (
        JOBS,
        says(503, splunk_fake.OVER_ROLE.format(3, 3)),
        TransientError,
        "this account runs as many searches as its role may .3 of 3",
    ),
    (JOBS, says(503, splunk_fake.OVER_ROLE_NEW), TransientError, "as its role may .3 of 3 are used.: raise srchJobsQuota"),
    (JOBS, says(503, splunk_fake.OVER_INSTANCE), TransientError, "the whole instance runs as many searches as it may .10 of 10"),
    (JOBS, says(503, splunk_fake.OVER_DISK), TransientError, "disk quota for search results.*101 of 100 are used.*srchDiskQuota"),
    (JOBS, Answer(503, xml_messages(("WARN", splunk_fake.OVER_INSTANCE))), TransientError, "the whole instance"),
    (JOBS, HTML, TransientError, "answered 502 without a word of Splunk's own: a proxy before it may be answering"),
    (JOBS, says(400, "Error in 'mstats' command: x", "FATAL"), PermanentError, "is refused: Error in 'mstats'"),
    (JOBS, lambda asked, honest: HTML, TransientError, "answered 502 without a word"),
    (JOBS, Answer(200, b'{"what": 1}'), TransientError, "did not say under which name"),
    (JOBS, Answer(200, b'{"sid": ["a"]}'), TransientError, "did not say under which name"),
    (JOBS, Answer(200, b"[" * 100_000), TransientError, "something else than JSON"),
    (JOB, says(404, "Unknown sid.", "FATAL"), TransientError, "a load balancer before several search heads"),
    (JOB, Answer(200, b"\x00\xff not json"), TransientError, "something else than JSON, or cut short"),
    (JOB, Answer(200, b'{"entry": [{"content": 3}]}'), TransientError, "does not tell the state"),
    (JOB, Answer(200, b'{"entry": {}, "messages": [{"type": "FATAL", "text": "gone mad"}]}'), TransientError, "failed: gone mad"),
    (JOB, HTML, TransientError, "answered 502"),
    (RESULTS, Answer(200, b'{"results": "none"}'), TransientError, "rows are promised and none are given"),
    (RESULTS, Answer(200, b'{"preview": true, "results": []}'), TransientError, "rows are promised and none are given"),
    (RESULTS, Answer(204), TransientError, "rows are promised and none are given"),
    (RESULTS, Answer(200, b'{"results": [{"host": "web1"'), TransientError, "cut short"),
    (
        RESULTS,
        Answer(
            200,
            b"<?xml version='1.0'?>\n\n<?xml version='1.0'?>\n<response><messages><msg type='FATAL'>no right</msg></messages>",
        ),
        PermanentError,
        "no right",
    ),
    (RESULTS, says(404, "Unknown sid.", "FATAL"), TransientError, "load balancer"),
]


@pytest.mark.parametrize(("where", "answer", "kind", "sentence"), NO_ANSWER)
def test_without_an_answer_nothing_is_known_and_one_sentence_says_why(
    splunk: Splunk, fake: Fake, where: str, answer: Answer, kind: type[Exception], sentence: str
) -> None:
    healed(splunk, fake)
    fake.fault(where, answer)
    with pytest.raises(kind, match=sentence) as told:
        splunk.collect(INDEX, WINDOW)
    text = str(told.value)
    assert text.startswith("splunk http://127.0.0.1:")
    assert "\n" not in text
    assert SECRET not in text
    assert len(text) < 500
    assert fake.left() == []
    healed(splunk, fake)


def cut(asked: Asked, honest: Answer) -> Answer:
    return Answer(honest.status, honest.body, honest.headers, honest.kind, cut=len(honest.body) // 2)


def slow(asked: Asked, honest: Answer) -> Answer:
    return Answer(honest.status, honest.body, honest.headers, honest.kind, drip=0.05)


def late(asked: Asked, honest: Answer) -> Answer:
    return Answer(honest.status, honest.body, honest.headers, honest.kind, wait=2.0)


@pytest.mark.parametrize("where", [JOBS, JOB, RESULTS])
def test_a_body_that_is_cut_is_not_half_an_answer(splunk: Splunk, fake: Fake, where: str) -> None:
    fake.fault(where, cut)
    with pytest.raises(TransientError):
        splunk.collect(INDEX, WINDOW)
    assert fake.left() == []
    healed(splunk, fake)


HURRIED = {"limits": {"timeout": "1s"}}


@pytest.mark.parametrize(("where", "how"), [(JOBS, late), (RESULTS, slow), (RESULTS, late)])
def test_nobody_waits_longer_than_the_time_out(
    port: int, splunk: Splunk, fake: Fake, where: str, how: Callable[..., Answer]
) -> None:
    hurried = built(port, settings=HURRIED)
    fake.fault(where, how)
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no answer within|too slowly"):
        hurried.collect(INDEX, WINDOW)
    assert time.monotonic() - started < 3
    assert fake.left() == [], "a search whose start was never confirmed is cancelled, too"
    hurried.close()
    healed(splunk, fake)


def test_who_asks_by_hand_waits_no_longer_and_is_told_whole_seconds(port: int, fake: Fake) -> None:
    hurried = built(port, settings=HURRIED)
    fake.fault("server/info", late)
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no answer within 1 s|too slowly"):
        hurried.probe(0.0)
    assert time.monotonic() - started < 3
    hurried.close()


@pytest.mark.parametrize(("state", "sentence"), [("QUEUED", "waiting for its turn"), ("RUNNING", "not done"), ("204", "waiting")])
def test_a_search_that_never_ends_is_cancelled_by_us(port: int, splunk: Splunk, fake: Fake, state: str, sentence: str) -> None:
    hurried = built(port, settings=HURRIED)
    fake.states = [state]
    with pytest.raises(TransientError, match=sentence):
        hurried.collect(INDEX, WINDOW)
    assert fake.left() == []
    hurried.close()
    healed(splunk, fake)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Search process did not exit cleanly, exit_code=-1", TransientError),
        ("Error in 'mstats' command: You have insufficient privileges", PermanentError),
        ("role-based disk usage quota of search artifacts has been reached (usage=101MB, quota=100MB)", TransientError),
    ],
)
def test_a_failed_search_says_done_and_is_no_answer(splunk: Splunk, fake: Fake, text: str, kind: type[Exception]) -> None:
    fake.states, fake.messages = ["FAILED"], [("FATAL", text)]
    with pytest.raises(kind):
        splunk.collect(INDEX, WINDOW)
    assert fake.left() == []
    healed(splunk, fake)


def test_a_fatal_after_the_first_rows_takes_them_back(port: int, fake: Fake) -> None:
    for place in range(150):
        fake.samples.point(NOON, "cpu.util", 1.0, host=f"other{place}")
    splunk = built(port, settings={"limits": {"page_rows": 100}})

    def second(asked: Asked, honest: Answer) -> Answer:
        found = json.loads(honest.body)
        if asked.form["offset"] != "0":
            found["messages"] = [{"type": "FATAL", "text": "JournalSliceDirectory: Cannot seek to 0"}]
        return Answer(200, json.dumps(found).encode(), kind="application/json")

    fake.fault(RESULTS, second)
    with pytest.raises(TransientError, match="Cannot seek to 0"):
        splunk.collect(INDEX, WINDOW)
    assert fake.left() == []
    healed(splunk, fake)
    splunk.close()


PARTIAL = [
    (
        "WARN",
        "The search results might be incomplete: the search peer idx3 ended prematurely. Reason: Unable to distribute to peer",
    ),
    ("WARN", "Search auto-finalized after time limit (55 seconds) reached."),
    ("WARN", "The results were truncated because stats reached the limit of 50000 rows"),
    ("INFO", "Your timerange was substituted based on your search string"),
    ("ERROR", "[idx3] Search peer timed out"),
]


@pytest.mark.parametrize("message", PARTIAL)
def test_half_an_answer_is_not_known(splunk: Splunk, fake: Fake, message: tuple[str, str]) -> None:
    fake.messages = [message]
    if message[0] == "ERROR":
        with pytest.raises(TransientError, match="timed out"):
            splunk.collect(INDEX, WINDOW)
    else:
        frame = splunk.collect(INDEX, WINDOW)
        assert not frame.known.any()
        assert np.isnan(frame.values).all()
        assert message[1][:20] in splunk.manners.state.reason
        assert splunk.manners.state.kind == "degraded"
    assert fake.left() == []
    healed(splunk, fake)


def test_a_warning_about_something_else_is_none(splunk: Splunk, fake: Fake) -> None:
    fake.messages = [("INFO", "No matching fields exist."), ("DEBUG", "base lispy: [ AND ]"), ("WARN", "Configuration reloaded")]
    assert splunk.collect(INDEX, WINDOW).known.all()


def test_a_search_stopped_before_its_end_is_not_known(splunk: Splunk, fake: Fake) -> None:
    def stopped(job: Job) -> None:
        job.finalized = True

    fake.change = stopped
    assert not splunk.collect(INDEX, WINDOW).known.any()
    assert "stopped before its end" in splunk.manners.state.reason
    healed(splunk, fake)


def test_fewer_rows_than_were_promised_are_not_known(splunk: Splunk, fake: Fake) -> None:
    def fewer(asked: Asked, honest: Answer) -> Answer:
        found = json.loads(honest.body)
        return Answer(200, json.dumps(found | {"results": found["results"][:-1]}).encode(), kind="application/json")

    fake.fault(RESULTS, fewer)
    assert not splunk.collect(INDEX, WINDOW).known.any()
    assert "10 rows are promised and 9 given" in splunk.manners.state.reason
    healed(splunk, fake)


def test_a_part_of_the_window_that_fails_leaves_the_rest(port: int, fake: Fake) -> None:
    splunk = built(port, settings={"limits": {"max_rows": 1000, "page_rows": 1000}})
    for place in range(600):
        fake.samples.point(NOON + 240, "cpu.util", 1.0, host=f"other{place}")
    index = SeriesIndex([*INDEX, *(SeriesKey(f"other{place}", "cpu") for place in range(600))])
    fake.fault(JOBS, says(500, "boom"), when=lambda asked: asked.form["earliest_time"] == str(NOON + 120))
    frame = splunk.collect(index, WINDOW)
    rows = [index.rows[key] for key in INDEX]
    np.testing.assert_array_equal(frame.known[rows], [[True, True, False, False, False]] * 2)
    np.testing.assert_array_equal(frame.values[rows][:, :2], TRUTH[:, :2])
    assert splunk.manners.state.kind == "degraded"
    assert fake.left() == []
    splunk.close()


def test_cells_that_are_no_numbers_are_no_data(splunk: Splunk, fake: Fake) -> None:
    odd = deque([["1", "2"], "NaN", "inf", "-Infinity", "1e400", "twelve", "", None, {"a": 1}, True])

    def strange(asked: Asked, honest: Answer) -> Answer:
        found = json.loads(honest.body)
        for row, cell in zip(found["results"], odd, strict=True):
            row["m0"] = cell
        return Answer(200, json.dumps(found).encode(), kind="application/json")

    fake.fault(RESULTS, strange)
    frame = splunk.collect(INDEX, WINDOW)
    assert frame.known.all()
    assert np.isnan(frame.values).sum() >= 9
    assert splunk.bad == 3
    healed(splunk, fake)


def test_rows_without_name_or_time_are_counted_and_left_out(splunk: Splunk, fake: Fake) -> None:
    def strange(asked: Asked, honest: Answer) -> Answer:
        found = json.loads(honest.body)
        rows: list[Any] = found["results"]
        rows[0]["epoch"] = "yesterday"
        rows[1]["host"] = ["web2", "web2"]
        rows[2]["host"] = "web1\u202e"
        rows[3] = 7
        return Answer(200, json.dumps(found).encode(), kind="application/json")

    fake.fault(RESULTS, strange)
    frame = splunk.collect(INDEX, WINDOW)
    assert not frame.known.any(), "a row that is no row is missing"
    assert splunk.bad == 3


def test_of_two_rows_for_one_cell_the_last_holds(splunk: Splunk, fake: Fake) -> None:
    def twice(job: Job) -> None:
        job.rows = [row | {"m0": "99"} for row in job.rows] + job.rows

    fake.change = twice
    frame = splunk.collect(INDEX, WINDOW)
    np.testing.assert_array_equal(frame.values, TRUTH)


def test_ten_times_the_components_are_read_in_smaller_pieces(port: int, fake: Fake) -> None:
    splunk = built(port, settings={"limits": {"max_rows": 1000, "page_rows": 500}})
    for minute in range(20):
        for place in range(150):
            fake.samples.point(NOON + 60 * minute, "cpu.util", 1.0, host=f"new{place}")
    window = Window(NOON, NOON + 1200, 60)
    frame = splunk.collect(INDEX, window)
    assert frame.known.all()
    np.testing.assert_array_equal(frame.values[:, :5], TRUTH)
    assert splunk.manners.state.kind == "ok"
    asked = len(fake.jobs)
    splunk.collect(INDEX, window)
    assert len(fake.jobs) - asked <= 4, "the second time it is known how many there are"
    splunk.close()


def test_more_rows_in_one_bucket_than_are_read_are_not_known(port: int, fake: Fake) -> None:
    splunk = built(port, settings={"limits": {"max_rows": 1000, "page_rows": 1000}})
    for place in range(1100):
        fake.samples.point(NOON + 60, "cpu.util", 1.0, host=f"new{place}")
    frame = splunk.collect(INDEX, WINDOW)
    np.testing.assert_array_equal(frame.known[0], [True, False, True, True, True])
    assert "one bucket alone has 1102 rows" in splunk.manners.state.reason
    splunk.close()


def test_an_answer_of_any_size_is_not_read_to_its_end(port: int, fake: Fake) -> None:
    splunk = built(port, settings={"limits": {"max_bytes": 1_000_000}})
    fake.fault(RESULTS, Answer(200, b'{"results": [' + b" " * 30_000_000, kind="application/json"))
    with pytest.raises(PermanentError, match="larger than 1000000 bytes"):
        splunk.collect(INDEX, WINDOW)
    assert fake.left() == []
    healed(splunk, fake)
    splunk.close()


def test_a_new_token_is_read_without_a_restart(port: int, fake: Fake, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(SECRET)
    splunk = built(port, settings={"auth": {"token": f"file:{secret}"}})
    healed(splunk, fake)
    fake.token = "newer-token"
    secret.write_text("newer-token")
    assert splunk.collect(INDEX, WINDOW).known.all()
    secret.write_text("wrong")
    fake.token = "newest-token"
    asked = len(fake.asked)
    with pytest.raises(PermanentError, match="issue a new one"):
        splunk.collect(INDEX, WINDOW)
    assert len(fake.asked) - asked == 2, "it is read again once, and not for ever"
    splunk.close()


def test_a_session_that_expired_is_renewed(port: int, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_PASSWORD", "good-password")
    splunk = built(port, settings={"auth": {"username": "tocsin", "password": "env:SPLUNK_PASSWORD"}})
    healed(splunk, fake)
    fake.sessions.clear()
    assert splunk.collect(INDEX, WINDOW).known.all()
    fake.password = "changed"
    fake.sessions.clear()
    with pytest.raises(PermanentError, match="the token or password is not accepted") as told:
        splunk.collect(INDEX, WINDOW)
    assert "good-password" not in str(told.value)
    splunk.close()


def test_a_full_quota_is_waited_out_with_the_pause_it_needs(port: int, fake: Fake) -> None:
    slept: list[float] = []
    splunk = built(port, settings={"limits": {"retries": 2, "timeout": "60s"}}, sleep=slept.append)
    fake.fault(JOBS, says(503, splunk_fake.OVER_ROLE.format(3, 3)), times=2)
    assert splunk.collect(INDEX, WINDOW).known.all()
    assert [pause for pause in slept if pause >= 1] == [5.0, 5.0]
    assert splunk.manners.state.kind == "degraded"
    assert "its role may (3 of 3 are used)" in splunk.manners.state.reason
    splunk.close()


def test_others_searches_take_our_place_until_they_end(splunk: Splunk, fake: Fake) -> None:
    fake.others = 3
    with pytest.raises(TransientError, match="no search may start now"):
        splunk.collect(INDEX, WINDOW)
    healed(splunk, fake)


def test_a_cookie_of_a_stranger_does_not_log_us_out(splunk: Splunk, fake: Fake) -> None:
    for cookie in ("splunkd_8089=evil; Path=/", "BIGipServer=1.2.3; Path=/; HttpOnly", "=;;;\x01", "a=" + "x" * 3000):
        fake.fault(
            "",
            lambda asked, honest, cookie=cookie: Answer(
                honest.status, honest.body, honest.headers | {"Set-Cookie": cookie}, honest.kind
            ),
        )
        assert splunk.collect(INDEX, WINDOW).known.all()
        fake.faults.clear()
    splunk.collect(INDEX, WINDOW)
    assert "BIGipServer=1.2.3" in fake.asked[-1].headers.get("cookie", ""), "a balancer gets its cookie back"


def test_a_source_that_fails_again_and_again_is_left_alone(splunk: Splunk, fake: Fake) -> None:
    fake.fault("", HTML)
    for _ in range(3):
        with pytest.raises(TransientError, match="502"):
            splunk.collect(INDEX, WINDOW)
    asked = len(fake.asked)
    with pytest.raises(TransientError, match="left alone for another"):
        splunk.collect(INDEX, WINDOW)
    assert len(fake.asked) == asked
    assert splunk.manners.state.kind == "down"


def test_leaving_cancels_what_runs(port: int, fake: Fake) -> None:
    splunk = built(port, settings={"limits": {"timeout": "20s", "retries": 3}})
    fake.states = ["RUNNING"]
    told: list[Exception] = []

    def reads() -> None:
        try:
            splunk.collect(INDEX, WINDOW)
        except PermanentError as error:
            told.append(error)

    reader = threading.Thread(target=reads)
    reader.start()
    while not fake.jobs:
        time.sleep(0.01)
    started = time.monotonic()
    splunk.close()
    reader.join(5)
    assert time.monotonic() - started < 3
    assert not reader.is_alive()
    assert fake.left() == []
    assert "Tocsin leaves" in str(told[0])


def test_nothing_that_answers_no_is_there(port: int, fake: Fake) -> None:
    splunk = built(1)
    with pytest.raises(TransientError, match="no connection"):
        splunk.collect(INDEX, WINDOW)
    splunk.close()
    fake.fault("server/info", Answer(200, b'{"hello": "I am a router"}', kind="application/json"))
    other = built(port)
    with pytest.raises(TransientError, match="what answers there is no Splunk"):
        other.collect(INDEX, WINDOW)
    other.close()


def test_certificates_are_verified_by_authority_or_fingerprint(fake: Fake, tmp_path: Path) -> None:
    import hashlib

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    print_of = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())).hexdigest()
    over = Fake(context=context)
    over.samples, over.now, over.states = fake.samples, fake.now, fake.states
    with ExitStack() as stack:
        port = stack.enter_context(over.running())

        def tried(tls: dict[str, Any]) -> Frame:
            splunk = built(port, settings={"scheme": "https", "tls": tls})
            stack.callback(splunk.close)
            return splunk.collect(INDEX, WINDOW)

        for good in ({"ca": str(ca)}, {"fingerprint": print_of}, {"verify": False}):
            np.testing.assert_array_equal(tried(good).values, TRUTH)
        with pytest.raises(PermanentError, match="certificate is not trusted"):
            tried({})
        with pytest.raises(PermanentError, match="fingerprint"):
            tried({"fingerprint": "0" * 64})
    assert all(asked.path != "/services/auth/login" for asked in over.asked)


def test_how_late_metrics_come_is_seen_from_buckets_that_grow(port: int, fake: Fake) -> None:
    splunk = built(port)
    now = [float(NOON + 300)]
    splunk._clock = lambda: now[0]
    for round_ in range(40):
        start = NOON + 60 * round_
        for place in range(20):
            fake.samples.point(start, "cpu.util", 1.0, host=f"h{place}")
    for round_ in range(40):
        start = NOON + 60 * round_
        now[0] = start + 60 + 30.0
        splunk.collect(INDEX, Window(start, start + 60, 60))
        for place in range(5):
            fake.samples.point(start, "cpu.util", 1.0, host=f"late{place}")
        now[0] = start + 60 + 90.0
        splunk.collect(INDEX, Window(start, start + 60, 60))
    assert splunk.lag() == pytest.approx(90, rel=0.12)
    splunk.close()


def test_all_entries_of_one_account_share_its_few_searches(port: int, fake: Fake) -> None:
    fake.states = ["RUNNING", "RUNNING", "DONE"]
    entries = [built(port, settings={"limits": {"concurrency": 2}}) for _ in range(6)]
    frames: list[Frame] = []
    readers = [threading.Thread(target=lambda one=one: frames.append(one.collect(INDEX, WINDOW))) for one in entries]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert fake.peak == 2
    assert len(frames) == 6
    assert all(frame.known.all() for frame in frames)
    for entry in entries:
        entry.close()


def test_who_finds_no_place_until_the_time_is_up_says_so(port: int, fake: Fake) -> None:
    fake.states = ["RUNNING"]
    long, short = built(port, settings={"limits": {"timeout": "20s"}}), built(port, settings=HURRIED)

    def reads() -> None:
        with pytest.raises(PermanentError):
            long.collect(INDEX, WINDOW)

    reader = threading.Thread(target=reads)
    reader.start()
    while not fake.jobs:
        time.sleep(0.01)
    with pytest.raises(TransientError, match=r"search: no place for a search of this account .limits.concurrency: 1. was free"):
        short.collect(INDEX, WINDOW)
    long.close()
    reader.join()
    short.close()


def test_an_answer_that_is_small_on_the_wire_and_large_in_memory_is_not_taken_apart(splunk: Splunk, fake: Fake) -> None:
    fake.fault(RESULTS, Answer(200, b'{"results": [' + b"{}," * 600_000 + b"{}]}", kind="application/json"))
    with pytest.raises(TransientError, match="more than 500000 parts"):
        splunk.collect(INDEX, WINDOW)
    assert fake.left() == []
    healed(splunk, fake)


def test_after_leaving_nothing_is_asked_any_more(splunk: Splunk, fake: Fake) -> None:
    healed(splunk, fake)
    splunk.close()
    asked = len(fake.asked)
    with pytest.raises(PermanentError, match="Tocsin leaves"):
        splunk.collect(INDEX, WINDOW)
    with pytest.raises(PermanentError, match="Tocsin leaves"):
        splunk.discover()
    assert len(fake.asked) == asked
