"""What Splunk's answers mean: decisions on values, without a connection.

Splunk says that something is wrong in four ways: by a status, by messages inside a 200, by the state of a job, and by simply
giving fewer rows. All four are read here.

    {"messages":[{"type":"FATAL","text":"Error in 'mstats' command: ..."}]}
    {"preview":false,"init_offset":0,"messages":[],"fields":[{"name":"host"}],"results":[{"host":"web1","m0":"12.5"}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Literal

from tocsin.errors import PermanentError, TransientError
from tocsin.http import Unanswered, clean

QUOTA_PAUSE = 5.0
"""Seconds to leave a Splunk alone that has no place for another search."""
CAP = 50_000
"""Rows after which Splunk itself cuts, unless its administrator changed limits.conf."""
LONGEST_READ = 65_536

_XML_MESSAGE = re.compile(r"""<msg [^<>]{0,200}?type=["']([A-Za-z]{1,10})["'][^<>]{0,200}>([^<]{0,4000})</msg>""")
_QUOTA = re.compile(r"(?i)maximum number of (?:concurrent|historical)|concurrency[ _]limit|concurrency_category|quota")
_USAGE = re.compile(r"current_concurrency=(\d+).*?concurrency_limit=(\d+)|usage=(\d+)(?:MB)?,\s*quota=(\d+)(?:MB)?", re.DOTALL)
_PARTIAL = re.compile(
    r"(?i)truncat|\blimit\b.*\b(?:reached|exceeded)|(?:reached|exceeded).*\blimit\b|incomplete|partial|peer|"
    r"auto-?finali[sz]ed|timed? ?out|max_time|unable to distribute|could not (?:be )?(?:search|read|open)|failed to|"
    r"unexpectedly|time ?range was substituted|restrict\w* (?:your|the) search"
)


_FOR_GOOD = re.compile(
    r"(?i)error in '|unknown search command|privilege|permission|not permitted|capabilit|"
    r"does ?n[o']t exist|could not find|invalid|parse"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A line Splunk wrote to whoever searches. `kind` is FATAL, ERROR, WARN, INFO or DEBUG."""

    kind: str
    text: str


def messages_in(found: Any) -> list[Message]:
    """The messages of an answer or of a job's content, whichever of the three shapes they have; at most 100."""
    entries = found.get("messages") if isinstance(found, dict) else None
    if isinstance(entries, dict):
        pairs = [(kind, text) for kind, texts in entries.items() for text in (texts if isinstance(texts, list) else [texts])]
    elif isinstance(entries, list):
        pairs = [(entry.get("type"), entry.get("text")) for entry in entries if isinstance(entry, dict)]
    else:
        pairs = []
    return [Message(str(kind).upper(), clean(str(text), longest=400)) for kind, text in pairs[:100]]


def messages_of(body: bytes) -> list[Message]:
    """The messages of an error's body, JSON or XML; none when it is neither."""
    start = body[:LONGEST_READ]
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        try:
            return messages_in(json.loads(start.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            return []
    # Looked for and not parsed: Splunk sends a second prologue when a search fails after its first byte, and no parser takes it.
    found = _XML_MESSAGE.findall(start.decode("utf-8", "replace"))
    return [Message(kind.upper(), clean(unescape(text), longest=400)) for kind, text in found[:100]]


# --- verdicts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth: `whole`, `partial` (values are missing or wrong), `too many` rows to be read, or `failed`."""

    kind: Literal["whole", "partial", "too many", "failed"]
    reason: str = ""


def judged(messages: Iterable[Message]) -> Verdict:
    """The worst that the messages say. A warning that does not touch the values is none."""
    verdict = Verdict("whole")
    for message in messages:
        if message.kind in ("FATAL", "ERROR"):
            return Verdict("failed", message.text)
        if message.kind in ("WARN", "INFO") and verdict.kind == "whole" and _PARTIAL.search(message.text):
            verdict = Verdict("partial", message.text)
    return verdict


def about_quota(texts: Iterable[str]) -> str | None:
    """One sentence when Splunk says that no further search may run now."""
    for text in texts:
        if _QUOTA.search(text):
            found = _USAGE.search(text)
            used = f"{found[1] or found[3]} of {found[2] or found[4]} are used" if found else clean(text)
            if "disk" in text.lower():
                return f"the disk quota for search results of this account is used up ({used}): raise the role's srchDiskQuota"
            if "this instance" in text or ("instance-wide" in text and "user" not in text):
                return f"the whole instance runs as many searches as it may ({used}): others have to finish first"
            return (
                f"this account runs as many searches as its role may ({used}): raise srchJobsQuota, or lower limits.concurrency"
            )
    return None


def failure(reason: str, place: str) -> TransientError | PermanentError:
    """The error for a search that ran and failed: for good when the search or the rights are wrong, else for now."""
    if (quota := about_quota([reason])) is not None:
        return TransientError(f"{place}: {quota}", retry_after=QUOTA_PAUSE)
    return (PermanentError if _FOR_GOOD.search(reason) else TransientError)(f"{place} failed: {reason}")


def refusal(status: int, messages: Sequence[Message], retry_after: float | None, place: str) -> TransientError | PermanentError:
    """The error for a status of 400 and more, with place, cause and remedy."""
    texts = [message.text for message in messages]
    said = f": {texts[0]}" if texts else ""
    if (quota := about_quota(texts)) is not None and status in (400, 403, 429, 503):
        return TransientError(f"{place}: no search may start now: {quota}", retry_after=retry_after or QUOTA_PAUSE)
    match status:
        case 401:
            return PermanentError(f"{place}: the token or password is not accepted (expired or revoked?): issue a new one{said}")
        case 403:
            return PermanentError(f"{place}: the account may not do this: give its role the capability{said}")
        case 404 if any("sid" in text.lower() for text in texts):
            return TransientError(
                f"{place}: it no longer knows the search it just started: is a load balancer before several search heads? "
                "Name one search head, or make the balancer sticky"
            )
        case 404:
            return PermanentError(f"{place}: there is no such thing (saved search, app or path){said}")
        case 429:
            return TransientError(f"{place}: too many requests{said}", retry_after=retry_after or QUOTA_PAUSE)
        case 400 | 402 | 405 | 409 | 413 | 414 | 422:
            return PermanentError(f"{place}: the search is refused{said or f' with {status}'}")
    if not texts and (status >= 500 or status == 408):
        why = "without a word of Splunk's own: a proxy before it may be answering"
        return Unanswered(f"{place}: answered {status} {why}", status=status, retry_after=retry_after)
    if status >= 500 or status == 408:
        return TransientError(f"{place}: answered {status}{said}", retry_after=retry_after)
    return PermanentError(f"{place}: answered {status}{said}")


# --- jobs --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Where a search stands."""

    state: str
    done: bool
    failed: bool
    finalized: bool
    rows: int
    messages: tuple[Message, ...]


def _true(value: object) -> bool:
    return value is True or value in ("1", 1, "true", "True")


def _whole(value: object) -> int:
    try:
        return max(0, int(float(str(value))))
    except (ValueError, OverflowError):
        return 0


def job_in(found: Any) -> Job | None:
    """The job of `GET …/jobs/SID`; None when the answer holds none."""
    entries = found.get("entry") if isinstance(found, dict) else None
    entry = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else None
    content = entry.get("content") if entry else None
    if not isinstance(content, dict) or "dispatchState" not in content:
        return None
    state = str(content["dispatchState"])
    return Job(
        state=state,
        done=_true(content.get("isDone")) or state in ("DONE", "FAILED"),
        failed=_true(content.get("isFailed")) or state == "FAILED",
        finalized=_true(content.get("isFinalized")),
        rows=_whole(content.get("resultCount")),
        messages=tuple(messages_in(content)),
    )


def ended(job: Job, most: int) -> Verdict:
    """What a job that is done is worth before its rows are read."""
    if job.failed:
        reason = next((message.text for message in job.messages if message.kind in ("FATAL", "ERROR")), "it gives no reason")
        return Verdict("failed", reason)
    if job.finalized:
        return Verdict("partial", "it was stopped before its end (time or disk quota of the role)")
    if job.rows > most or job.rows >= CAP:
        return Verdict("too many", f"{job.rows} rows, more than the {min(most, CAP - 1)} that are read at once")
    return judged(job.messages)


# --- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of an answer."""

    rows: list[Mapping[str, Any]]
    messages: tuple[Message, ...]


def page_in(found: Any) -> Page | None:
    """The rows of `…/results`; None when it is no such answer or only a preview. What is no object is left out."""
    if isinstance(found, list):  # Splunk 4
        return Page([row for row in found if isinstance(row, dict)], ())
    if not isinstance(found, dict) or not isinstance(found.get("results"), list) or _true(found.get("preview")):
        return None
    return Page([row for row in found["results"] if isinstance(row, dict)], tuple(messages_in(found)))
