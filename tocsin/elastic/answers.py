"""What a server's answer means: go on, ask for less, come back later, or tell a person."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.errors import PermanentError, TransientError
from tocsin.http import clean


class TooMuch(TransientError):
    """It would answer if less were asked for at once: asking the same again is of no use."""


_TOO_MUCH = (
    "too_many_buckets_exception",
    "circuit_breaking_exception",
    "circuit_breaker_exception",
    "too_complex_to_determinize",
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_NOT_OURS = ("media_type_header_exception", "not supported", "must be either version")


def error_for(status: int, body: Any, headers: Mapping[str, str], place: str) -> Exception:
    """The error that an answer with this status is, with one sentence: place, cause, remedy."""
    kinds, reason = set(_kinds(body)), said(body)
    what = f"{place}: answered {status}" + (f": {reason}" if reason else "")
    # 503 before Elasticsearch 8.7 and in OpenSearch, 400 since then.
    if kinds & set(_TOO_MUCH):
        return TooMuch(f"{place}: too much for one answer: {reason}")
    match status:
        case 401:
            return PermanentError(
                f"{place}: the credentials are refused (401): {reason or 'no reason given'}; renew what `auth` refers to, "
                "it is read again at the next try"
            )
        case 403:
            return PermanentError(
                f"{place}: not allowed (403): {reason or 'no reason given'}; give this user `read` and `view_index_metadata` "
                "on the index"
            )
        case 406:
            return PermanentError(f"{what}; the server is older than 8 or another product: try flavour: opensearch")
        case 400 if any(word in reason or word in kinds for word in _NOT_OURS):
            return PermanentError(f"{what}; the server is older than 8 or another product: try flavour: opensearch")
        case 400 if "ext fields are not optimised" in reason or "Fielddata is disabled" in reason:
            return PermanentError(f"{what}; the field is full text: name its keyword field, often NAME.keyword")
        case 413:
            return TooMuch(f"{what}; it is too large for the server")
        case 408 | 425 | 429:
            return TransientError(f"{what}; it has too much to do", retry_after=_pause(headers.get("retry-after")))
        case _ if status >= 500:
            return TransientError(what, retry_after=_pause(headers.get("retry-after")))
        case _ if 300 <= status < 400:
            return PermanentError(f"{what}; it sends us elsewhere, and we never follow: write the final address in hosts")
        case _:
            return PermanentError(what)


def unreachable(error: BaseException, place: str) -> TransientError:
    """No answer at all: is nobody there, is the name unknown, or does one side speak TLS and the other does not?

    The libraries say no more than that a connection failed; the first cause knows why.
    """
    first = error
    while (before := first.__cause__ or first.__context__) is not None:
        first = before
    said = clean(str(first), longest=160) or type(first).__name__
    if isinstance(first, ConnectionRefusedError):
        why = "no connection: refused: nothing listens there; is the port right, and is the server up?"
    elif isinstance(first, socket.gaierror):
        why = f"no connection: the name is not known here ({first.strerror}); is it written right in hosts?"
    elif isinstance(first, ssl.SSLError) and first.reason in _NO_TLS:
        why = "no connection: what answers there is no TLS: if the server has none, write http:// in hosts"
    elif isinstance(first, ConnectionError | http.client.BadStatusLine) and place.startswith("http:"):
        why = "it hung up without an answer; if it speaks TLS, write https:// in hosts"
    else:
        why = f"no connection, or it broke: {said}"
    return TransientError(f"{place}: {why}")


def too_much(body: Any) -> bool:
    """Whether some shards gave up because too much was asked for at once, although the answer as a whole is a 200."""
    return bool(set(_kinds(body)) & set(_TOO_MUCH))


def said(body: Any) -> str:
    """The server's own reason, cleaned and short; empty when it gave none. Its `error` may be a bare string."""
    if not isinstance(body, dict):
        return clean(body) if isinstance(body, str) and not body.lstrip().startswith("<") else ""
    error = body.get("error", body)
    if isinstance(error, str):
        return clean(error)
    parts = list(dict.fromkeys(text for text in _reasons(error, 0) if text))
    return clean("; ".join(parts[:2]))


def _reasons(error: Any, depth: int) -> Iterator[str]:
    """The deepest cause says most, the outermost says what was tried."""
    if not isinstance(error, dict) or depth > 6:
        return
    yield from _reasons(error.get("caused_by"), depth + 1)
    for name in ("failed_shards", "root_cause"):
        several = error.get(name)
        for one in several[:1] if isinstance(several, list) else ():
            yield from _reasons(one.get("reason") if name == "failed_shards" and isinstance(one, dict) else one, depth + 1)
    if isinstance(error.get("reason"), str):
        yield error["reason"]
    elif isinstance(error.get("type"), str):
        yield error["type"]


def _kinds(body: Any, depth: int = 0) -> Iterator[str]:
    """Every `type` of an error, wherever it stands in it."""
    if depth > 8:
        return
    if isinstance(body, dict):
        if isinstance(body.get("type"), str):
            yield body["type"]
        for name in ("error", "caused_by", "reason", "root_cause", "failed_shards", "failures", "_shards"):
            if isinstance(body.get(name), dict | list):
                yield from _kinds(body[name], depth + 1)
    elif isinstance(body, list):
        for one in body[:20]:
            yield from _kinds(one, depth + 1)


def _pause(text: str | None) -> float | None:
    return min(float(text), 3600.0) if text is not None and re.fullmatch(r"[0-9]{1,9}", text.strip()) else None
