"""One HTTP client for every server that has no client package of its own, and how a server proves who it is.

What holds for all of them: certificates are verified, nothing is taken from the environment (no proxy, no .netrc), redirects
are never followed (a token would travel along), answers are read up to a cap of bytes and a limit of time, and no error
text holds a secret, a query or a path.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlsplit

import structlog

import tocsin
from tocsin.errors import PermanentError, TransientError
from tocsin.tls import Tls, distrust

if TYPE_CHECKING:
    import httpx2

log = structlog.get_logger("tocsin.http")

MIB = 1 << 20
_LONGEST_WAIT = 3600.0


# --- what can go wrong ----------------------------------------------------------------------------------------------


class Unanswered(TransientError):
    """The server did not answer, or said it cannot now. `retry_after` is the wait it asked for, in seconds."""

    def __init__(self, sentence: str, *, status: int | None = None, retry_after: float | None = None, body: bytes = b"") -> None:
        super().__init__(sentence, retry_after=retry_after)
        self.status, self.body = status, body


class Refused(PermanentError):
    """The server answered, and will answer like this again. `status` is None when no answer was asked for."""

    def __init__(self, sentence: str, *, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(sentence)
        self.status, self.body = status, body


# --- asking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the server said, read to its end. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str

    def json(self) -> Any:
        """The body as JSON. Raises `Unanswered` when it is none: a proxy's page, a cut body, an endless nesting."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            kind = self.headers.get("content-type", "no content type").partition(";")[0][:60]
            raise Unanswered(
                f"{self.place}: answered {self.status} with {len(self.body)} bytes of {kind} that are no JSON: "
                "is this address really the server's, or does a proxy answer?",
                status=self.status,
                body=self.body,
            ) from error


@dataclass(slots=True)
class Usage:
    """How much was asked for and read so far."""

    requests: int = 0
    sent: int = 0
    read: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, requests: int = 0, sent: int = 0, read: int = 0) -> None:
        """Threads may call it at the same time."""
        with self.lock:
            self.requests += requests
            self.sent += sent
            self.read += read


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Seconds to connect, for each piece of the answer to come, and for all of it; its bytes; connections kept open."""

    connect: float = 5.0
    read: float = 20.0
    total: float = 60.0
    bytes: int = 32 * MIB
    connections: int = 4


class Details(TypedDict, total=False):
    """What goes along with a question, and what may come back.

    `hide` are texts that never come out in an error (a password in `json`); the values of `headers` never do anyway.
    `accept` are the statuses that are no error (2xx), `total` and `most_bytes` replace the client's own limits.
    """

    params: Mapping[str, str | int]
    json: Any
    form: Mapping[str, str]
    content: bytes
    headers: Mapping[str, str]
    hide: Sequence[str]
    accept: Container[int]
    total: float
    most_bytes: int


class Http:
    """A server, from its base address on. Connects at the first question; threads may share it.

    `proxy` is an address given by a person; the environment's is never used. The time for all of an answer is held while its
    body comes, and for what comes before the body each piece has `limits.read`.
    """

    def __init__(
        self,
        base: str,
        *,
        tls: Tls | None = None,
        limits: Limits | None = None,
        proxy: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = _place(base)
        self._base, self._tls, self._limits, self._proxy = base.rstrip("/"), tls or Tls(), limits or Limits(), proxy
        self._clock, self._lock, self.usage = clock, threading.Lock(), Usage()
        self._client: httpx2.Client | None = None

    def ask(self, method: str, path: str, what: str, **details: Unpack[Details]) -> Answer:
        """One question and its whole answer; `what` names it in error texts.

        Raises `Unanswered` (time-out, connection, 429, 5xx, cut) or `Refused` (any other status outside `accept`, a
        certificate that is not trusted, more bytes than the cap).
        """
        with self.stream(method, path, what, **details) as (answer, pieces):
            body = b"".join(pieces)
        return Answer(status=answer.status, headers=answer.headers, body=body, place=answer.place)

    @contextmanager
    def stream(self, method: str, path: str, what: str, **details: Unpack[Details]) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """The same, the body in pieces as they come; leaving early closes the connection. Errors also come while iterating."""
        import httpx2  # noqa: PLC0415  # `tocsin --help` does not wait for it

        place = f"{self.place}: {what}"
        seconds, cap = details.get("total", self._limits.total), details.get("most_bytes", self._limits.bytes)
        accept = details.get("accept", range(200, 300))
        wait = httpx2.Timeout(
            connect=min(self._limits.connect, seconds), read=min(self._limits.read, seconds), write=seconds, pool=seconds
        )
        try:
            client = self._open()
            deadline = self._clock() + seconds
            request = client.build_request(
                method,
                self._base + path,
                params=details.get("params"),
                json=details.get("json"),
                data=details.get("form"),
                content=details.get("content"),
                headers=details.get("headers"),
                timeout=wait,
            )
            self.usage.add(requests=1, sent=int(request.headers.get("content-length", 0)))
            response = client.send(request, stream=True)
            try:
                answer = Answer(status=response.status_code, headers=_lower(response.headers), body=b"", place=place)
                if response.status_code in accept:
                    yield answer, self._pieces(response, deadline, cap, place)
                else:
                    body = self._beginning(response, deadline, place)
                    raise _refusal(answer, body, [*details.get("hide", ()), *details.get("headers", {}).values()])
            finally:
                response.close()
        except httpx2.TimeoutException as error:
            raise Unanswered(f"{place}: no answer within {round(min(wait.read or seconds, seconds), 2):g} s") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise Refused(f"{place}: this is no address that can be asked") from error
        except httpx2.TransportError as error:
            raise _broken(error, place) from error

    def _pieces(self, response: httpx2.Response, deadline: float, cap: int, place: str) -> Iterator[bytes]:
        got = 0
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unanswered(f"{place}: the answer is compressed although that was not asked for; is there a proxy between?")
        for piece in response.iter_raw():
            got += len(piece)
            self.usage.add(read=len(piece))
            if got > cap:
                raise Refused(
                    f"{place}: the answer is larger than {cap} bytes and was not read to its end", status=response.status_code
                )
            if self._clock() > deadline:
                raise Unanswered(f"{place}: the answer came too slowly: {got} bytes when its time was over")
            yield piece

    def _beginning(self, response: httpx2.Response, deadline: float, place: str) -> bytes:
        """As much of an error's page as is worth reading."""
        import httpx2  # noqa: PLC0415

        body = b""
        try:
            for piece in self._pieces(response, deadline, MIB, place):
                body += piece
        except (httpx2.TransportError, Unanswered, Refused):
            pass  # the status says enough
        return body

    def _open(self) -> httpx2.Client:
        import httpx2  # noqa: PLC0415

        with self._lock:
            if self._client is None:
                if self.warnings:
                    log.warning("http.not_protected", server=self.place, why=" ".join(self.warnings))
                several = httpx2.Limits(
                    max_connections=self._limits.connections,
                    max_keepalive_connections=self._limits.connections,
                    keepalive_expiry=30,
                )
                # Uncompressed: the cap on bytes holds for what is in memory, and no answer unfolds to a thousand times its size.
                named = {"user-agent": f"tocsin/{tocsin.__version__}", "accept-encoding": "identity", "accept": "*/*"}
                self._client = httpx2.Client(
                    # Nothing follows a redirect, so behind http: there is no TLS to set up.
                    verify=self._tls.context() if self._base.startswith("https:") else False,
                    limits=several,
                    headers=named,
                    trust_env=False,
                    follow_redirects=False,
                    proxy=self._proxy,
                )
            return self._client

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not safe about the way to this server, in sentences."""
        plain = self._base.startswith("http:") and not _local(self._base)
        return (*self._tls.warnings, *((f"{self.place}: http sends the password in the clear; use https",) if plain else ()))

    def close(self) -> None:
        """Give back all connections; the next question opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def _place(base: str) -> str:
    """The part of an address that may stand in an error text. Raises ValueError for what cannot be asked or holds a secret."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected an address such as https://central.example.org, not {parts.scheme or 'something'} alone")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no user and no password: give them by reference, env:NAME or file:/path")
    port = f":{parts.port}" if parts.port else ""
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{port}"


def web_address(base: str) -> str:
    """The address itself, for validators of settings. Raises ValueError with one sentence for what is none."""
    _place(base)
    return base.rstrip("/")


def _local(base: str) -> bool:
    return urlsplit(base).hostname in ("127.0.0.1", "::1", "localhost")


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _refusal(answer: Answer, body: bytes, hide: Sequence[str]) -> Unanswered | Refused:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "no known status"
    said = _said(body, hide)
    sentence = f"{answer.place}: {answer.status} {phrase}" + (f": {said}" if said else "")
    if answer.status in (408, 425, 429) or answer.status >= 500:
        return Unanswered(sentence, status=answer.status, retry_after=_retry_after(answer.headers.get("retry-after")), body=body)
    if 300 <= answer.status < 400:
        target = urlsplit(answer.headers.get("location", ""))
        # Only scheme and host: a place to go to may carry a token in its path or query.
        there = f"{target.scheme}://{target.hostname}" if target.hostname else "another path"
        sentence = f"{answer.place}: it sends us to {there}, and we never follow: write the final address as url"
    return Refused(sentence, status=answer.status, body=body)


def _said(body: bytes, hide: Sequence[str]) -> str:
    """The server's own message when it sent one as JSON, short, on one line, without what must not be seen."""
    try:
        found = json.loads(body[:65_536])
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict):
        found = next((found[name] for name in ("message", "error", "detail", "text") if isinstance(found.get(name), str)), "")
    text = found if isinstance(found, str) else ""
    return clean(text, hide)


def clean(text: str, hide: Sequence[str] = (), longest: int = 200) -> str:
    """Foreign text for an error sentence: printable, one line, bounded, and without the texts in `hide`."""
    for secret in hide:
        if secret:
            text = text.replace(secret, "***")
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _retry_after(text: str | None) -> float | None:
    """`120` or an HTTP date → seconds, at most an hour; None for anything else."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return min(float(text), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware.timestamp() - time.time(), 0.0), _LONGEST_WAIT)


def _broken(error: Exception, place: str) -> Unanswered | Refused:
    """No answer at all: was it the certificate, which a person has to mend, or the network?"""
    if why := distrust(error):
        return Refused(f"{place}: {why}")
    return Unanswered(f"{place}: no connection, or it broke: {clean(str(error)) or type(error).__name__}")
