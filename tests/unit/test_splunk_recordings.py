"""What real Splunks were recorded to say, through our client, and beside what the fake says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from splunklib import data

from collectors.splunk import SplunkSettings
from collectors.splunk.answers import Message, judged, messages_of, page_in
from collectors.splunk.reading import Rows, numbers
from collectors.splunk.session import Session
from tests.splunk_fake import Fake, Job
from tests.splunk_served import Answer, Asked, Served
from tocsin.errors import PermanentError, TransientError

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "splunk-recordings"
pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded answers of real Splunks are not here")

CSHARP, JAVA = RECORDINGS / "csharp-sdk", RECORDINGS / "java-sdk"


def recorded(test: str, number: str) -> Answer:
    folder = CSHARP / "recordings" / test
    facts = json.loads((folder / f"{number}.meta.json").read_text())
    headers = {key: value for key, value in facts["headers"].items() if key not in ("Content-Length", "Connection", "Date")}
    return Answer(facts["status"], (folder / f"{number}.xml").read_bytes(), headers)


class Tape(Served):
    """Plays recorded answers, one after the other."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)

    def _answer(self, asked: Asked) -> Answer:
        return self.answers.pop(0)


@pytest.fixture
def session(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("SPLUNK_PASSWORD", "secret")
    tape = Tape(*(recorded(*pair) for pair in request.param))
    with tape.running() as port:
        settings = SplunkSettings.model_validate(
            {
                "host": "127.0.0.1",
                "port": port,
                "scheme": "http",
                "auth": {"username": "a", "password": "env:SPLUNK_PASSWORD"},
                "index": "x",
            }
        )
        made = Session(settings, connections=1, counted=lambda count: None)
        yield made
        made.close()


LOGIN = ("CanLoginAndLogoff", "00_200")


def ask(session: Session) -> Any:
    return session.ask("GET", ("search", "jobs", "x"), "search", 5.0)


@pytest.mark.parametrize("session", [[LOGIN, ("CanDispatchSavedSearch", "02_204")]], indirect=True)
def test_not_ready_yet_is_no_answer_yet(session: Session) -> None:
    reply = ask(session)
    assert (reply.status, reply.found) == (204, None)


@pytest.mark.parametrize("session", [[("CanLoginAndLogoff", "04_401")] * 2], indirect=True)
def test_a_login_that_failed_is_told_as_one(session: Session) -> None:
    with pytest.raises(PermanentError, match="the token or password is not accepted.*Login failed"):
        ask(session)


@pytest.mark.parametrize("session", [[LOGIN, ("CanLoginAndLogoff", "03_401")] * 2], indirect=True)
def test_a_session_that_is_not_accepted_is_told_after_one_renewal(session: Session) -> None:
    with pytest.raises(PermanentError, match="is not accepted.*Unauthorized"):
        ask(session)


@pytest.mark.parametrize("session", [[LOGIN, ("BadOutputMode", "01_400")]], indirect=True)
def test_a_refused_search_is_told_with_splunks_own_words(session: Session) -> None:
    with pytest.raises(PermanentError, match="is refused: Unknown search command 'invalidpartsearch'"):
        ask(session)


@pytest.mark.parametrize("session", [[LOGIN, ("CanSearchOneshot", "02_200")]], indirect=True)
def test_a_fatal_inside_a_success_is_none(session: Session) -> None:
    with pytest.raises(PermanentError, match="insufficient privileges to delete events"):
        ask(session)


@pytest.mark.parametrize("session", [[LOGIN, ("JobExecutionMode", "03_200")]], indirect=True)
def test_an_answer_in_another_language_is_no_answer(session: Session) -> None:
    with pytest.raises(TransientError, match="something else than JSON"):
        ask(session)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("unit/Service.ExportSearchPreviews-failure.xml", Message("FATAL", "JournalSliceDirectory: Cannot seek to 0")),
        ("recordings/JobExecutionMode/10_200.xml", Message("INFO", "Search job cancelled.")),
        ("recordings/CanLoginAndLogoff/03_401.xml", Message("ERROR", "Unauthorized")),
    ],
)
def test_messages_are_found_in_every_shape(path: str, message: Message) -> None:
    assert messages_of((CSHARP / path).read_bytes()) == [message]


@pytest.mark.parametrize("path", sorted(CSHARP.rglob("*.xml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_recorded_body_upsets_the_search_for_messages(path: Path) -> None:
    for message in messages_of(path.read_bytes()):
        assert message.kind in ("FATAL", "ERROR", "WARN", "INFO", "DEBUG")
        assert message.text


@pytest.mark.parametrize(
    ("name", "rows"), [("results5.json", 3), ("results4.json", 3), ("resultsMV5.json", 1), ("resultsMVFuture.json", 1)]
)
def test_rows_of_every_generation_are_read(name: str, rows: int) -> None:
    page = page_in(json.loads((JAVA / "results" / name).read_text("utf-8-sig")))
    assert page is not None
    assert len(page.rows) == rows
    assert judged(page.messages).kind == "whole", "debug messages are no trouble"


def test_numbers_are_strings_there_and_numbers_here() -> None:
    page = page_in(json.loads((JAVA / "results" / "results5.json").read_text("utf-8-sig")))
    assert page is not None
    values, bad = numbers([row["sum(kb)"] for row in page.rows])
    assert values.tolist() == [14372242.758775, 267802.333926, 5979.036338]
    assert bad == 0


def test_times_come_in_the_zone_of_their_user() -> None:
    page = page_in(json.loads((JAVA / "results" / "resultsMVFuture.json").read_text("utf-8-sig")))
    assert page is not None
    rows = Rows(("host",), ("linecount",), wants=bool)
    rows.take(page.rows)
    assert rows.pages[0].times.tolist() == [1354063462]
    assert rows.pages[0].components == ["dfoster-mbp17.local"]


# --- the fake beside the real one ---------------------------------------------------------------------------------------


def content_of(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = data.load(body.decode())
    found = found.get("entry", found.get("feed", {}).get("entry"))
    return dict(found["content"])


def test_the_fakes_job_says_nothing_a_real_one_does_not_say() -> None:
    real = content_of((CSHARP / "recordings" / "JobExecutionMode" / "09_200.xml").read_bytes())
    fake = Fake()
    job = Job("1.1", "search x", [], fake_states(), state="DONE")
    fake.jobs["1.1"] = job
    asked = Asked("GET", "/services/search/jobs/1.1", {}, {"authorization": f"Bearer {fake.token}"})
    mine = content_of(fake.answer(asked).body)
    assert set(mine) <= set(real)
    for key in ("dispatchState", "isDone", "isFailed", "isFinalized", "isPaused"):
        assert type(mine[key]) is type(real[key])
        assert mine[key] == real[key]
    assert set(mine["eai:acl"]) <= set(real["eai:acl"])


def fake_states() -> Any:
    from collections import deque

    return deque(["DONE"])


@pytest.mark.parametrize(
    ("path", "test", "number"),
    [
        ("/services/search/jobs/none/control", "CanLoginAndLogoff", "03_401"),
        ("/services/auth/login", "CanLoginAndLogoff", "04_401"),
    ],
)
def test_the_fakes_refusals_are_those_of_a_real_one(path: str, test: str, number: str) -> None:
    real = recorded(test, number)
    mine = Fake().answer(Asked("POST", path, {"username": "a", "password": "b"}, {}))
    assert mine.status == real.status
    assert mine.body.split() == real.body.split()
    assert mine.headers.get("WWW-Authenticate") == real.headers.get("WWW-Authenticate")


def test_the_fakes_start_and_end_of_a_search_are_those_of_a_real_one() -> None:
    fake = Fake()
    fake.saved["x"] = "search index=web | stats count AS n"
    allowed = {"authorization": f"Bearer {fake.token}"}
    started = fake.answer(Asked("POST", "/services/saved/searches/x/dispatch", {}, allowed))
    real = recorded("CanDispatchSavedSearch", "01_201")
    assert started.status == real.status
    (sid,) = fake.jobs
    theirs = real.body.decode().split("<sid>")[1].split("</sid>")[0]
    assert started.body.split() == real.body.replace(theirs.encode(), sid.encode()).split()
    first = fake.answer(Asked("GET", f"/services/search/jobs/{sid}", {}, allowed))
    assert (first.status, first.body) == (204, recorded("CanDispatchSavedSearch", "02_204").body)
    ended = fake.answer(Asked("POST", f"/services/search/jobs/{sid}/control", {"action": "cancel"}, allowed))
    assert ended.body.split() == recorded("JobExecutionMode", "10_200").body.split()


def test_the_fakes_login_is_that_of_a_real_one() -> None:
    fake = Fake()
    mine = fake.answer(Asked("POST", "/services/auth/login", {"username": fake.user, "password": fake.password}, {}))
    real = recorded(*LOGIN)
    (key,) = fake.sessions
    theirs = real.body.decode().split("<sessionKey>")[1].split("</sessionKey>")[0]
    assert (mine.status, mine.body.split()) == (real.status, real.body.replace(theirs.encode(), key.encode()).split())
