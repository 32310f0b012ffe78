"""Whatever Splunk, or what stands before it, sends: it is understood or left out, and never raised."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.splunk.answers import (
    Message,
    Verdict,
    about_quota,
    ended,
    failure,
    job_in,
    judged,
    messages_in,
    messages_of,
    page_in,
    refusal,
)
from collectors.splunk.reading import Chooser, Rows, numbers
from tests import splunk_fake
from tocsin.errors import PermanentError, TransientError

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["1e300", "nan", "-inf", "1790812800.000", "2026-10-01T00:00:00.000-07:00", "2026-10-01", "9" * 400, "0x1f", "１２"]
    ),
)
NAMES = st.one_of(
    st.sampled_from(["epoch", "_time", "host", "m0", "indexed", "metric_name", "results", "messages", "entry"]), st.text()
)
JSON = st.recursive(
    CELLS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)), max_leaves=20
)


@settings(max_examples=100)
@given(JSON)
def test_no_json_upsets_what_reads_it(found: Any) -> None:
    for message in messages_in(found):
        assert message.text.isprintable()
    job_in(found)
    job_in({"entry": [{"content": found}]})
    job_in({"entry": [{"content": {"dispatchState": found, "isDone": found, "resultCount": found, "messages": found}}]})
    page_in(found)
    page_in({"results": found, "messages": found})


@settings(max_examples=40)
@given(st.lists(st.dictionaries(NAMES, JSON, max_size=6), max_size=5), st.booleans())
def test_no_row_upsets_what_gathers_them(rows: list[dict[str, Any]], named: bool) -> None:
    wants = Chooser(include=("*",), exclude=("db*",)).remembering()
    gathered = Rows(("host",), ("m0",), "metric_name" if named else "", "", wants=wants)
    gathered.take(rows)
    (page,) = gathered.pages
    assert len(page.components) == len(page.times) == len(page.values["m0"]) == len(page.indexed) <= len(rows)
    assert all(name.isprintable() and name.strip() for name in page.components)
    assert not np.isinf(page.values["m0"]).any()
    assert page.times.dtype == np.int64


@given(st.binary(max_size=300))
def test_no_body_upsets_the_search_for_messages(body: bytes) -> None:
    messages_of(body)
    messages_of(b"<response><messages><msg type='FATAL'>" + body + b"</msg></messages>")
    messages_of(b'{"messages": ' + body)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12.5", 12.5),
        (7, 7.0),
        ("1e3", 1000.0),
        (" 4 ", 4.0),
        ("", np.nan),
        (None, np.nan),
        ("NaN", np.nan),
        ("inf", np.nan),
        ("1e300", np.nan),
        (["1", "2"], np.nan),
        ({"a": "1"}, np.nan),
        ("12,5", np.nan),
        ("0x10", np.nan),
    ],
)
def test_a_cell_is_a_number_or_nothing(cell: object, value: float) -> None:
    for beside in ([], ["1"], [["1", "2"]]):
        found, _ = numbers([cell, *beside])
        np.testing.assert_array_equal(found[0], value)


@pytest.mark.parametrize(
    ("messages", "verdict"),
    [
        ([], "whole"),
        ([("DEBUG", "partial limit reached truncated")], "whole"),
        ([("INFO", "No matching fields exist")], "whole"),
        ([("WARN", "Unable to distribute to the peer named idx3 at uri https://idx3:8089")], "partial"),
        ([("WARN", "The search auto-finalized after disk usage limit (100MB) reached.")], "partial"),
        ([("WARN", "Some events may be truncated")], "partial"),
        ([("WARN", "Search results might be incomplete")], "partial"),
        ([("WARN", "x"), ("FATAL", "Error in 'mstats' command")], "failed"),
        ([("ERROR", "[idx3] Streamed search execute failed")], "failed"),
    ],
)
def test_messages_make_an_answer_whole_partial_or_none(messages: list[tuple[str, str]], verdict: str) -> None:
    assert judged([Message(*message) for message in messages]).kind == verdict


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        ({"dispatchState": "DONE", "isDone": True, "resultCount": 10}, "whole"),
        ({"dispatchState": "DONE", "isDone": "1", "isFailed": "1"}, "failed"),
        ({"dispatchState": "FAILED", "isDone": True}, "failed"),
        ({"dispatchState": "DONE", "isDone": True, "isFinalized": True}, "partial"),
        ({"dispatchState": "DONE", "isDone": True, "resultCount": "101"}, "too many"),
        ({"dispatchState": "DONE", "isDone": True, "resultCount": 50_000}, "too many"),
        ({"dispatchState": "DONE", "isDone": True, "messages": {"warn": ["results are incomplete"]}}, "partial"),
    ],
)
def test_a_job_that_is_done_is_worth_what_it_says(content: dict[str, Any], verdict: str) -> None:
    job = job_in(json.loads(json.dumps({"entry": [{"content": content}]})))
    assert job is not None
    assert job.done
    assert ended(job, 100).kind == verdict


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (splunk_fake.OVER_ROLE.format(3, 3), "its role may (3 of 3 are used)"),
        (splunk_fake.OVER_ROLE_NEW, "its role may (3 of 3 are used)"),
        (splunk_fake.OVER_INSTANCE, "whole instance runs as many searches as it may (10 of 10 are used)"),
        (splunk_fake.OVER_DISK, "disk quota"),
        ("The maximum number of concurrent running jobs for this historical search has been reached", "its role may"),
    ],
)
def test_every_way_to_say_that_there_is_no_place_is_understood(text: str, words: str) -> None:
    told = about_quota([text])
    assert told is not None
    assert words in told
    error = refusal(503, [Message("WARN", text)], None, "splunk")
    assert isinstance(error, TransientError)
    assert error.retry_after == 5.0
    assert isinstance(failure(text, "splunk"), TransientError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, PermanentError) for status in (400, 401, 403, 404, 405, 418)],
        *[(status, TransientError) for status in (408, 429, 500, 502, 503, 504, 599)],
    ],
)
def test_every_status_has_one_meaning(status: int, kind: type[Exception]) -> None:
    for messages in ([], [Message("ERROR", "words of Splunk")]):
        error = refusal(status, messages, 7.0, "splunk https://s:8089: search")
        assert type(error) is kind or (isinstance(error, kind) and not messages)
        assert str(error).startswith("splunk https://s:8089: search: ")
    assert judged([]) == Verdict("whole")
