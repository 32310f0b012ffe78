"""A Splunk that is logged in: the SDK's own paths, logins and encodings over our own connections.

The SDK as it comes verifies no certificate, waits for ever, opens a connection for each request and reads answers of any
size. It lets one function do the sending, and here that function is `tocsin.http`: verified, timed, pooled and bounded.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any, TypeAlias
from xml.etree.ElementTree import ParseError

from collectors.splunk.answers import messages_of, refusal
from collectors.splunk.settings import SplunkSettings
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Http, Limits, Unanswered, clean

Path: TypeAlias = tuple[str, ...]
"""Below the namespace of owner and app."""

MOST_NODES = 500_000
"""Objects and lists of one answer: what is small on the wire can be large in memory."""
EVERY_STATUS = range(100, 600)
V2_SINCE, V2_SINCE_CLOUD = (9, 0, 2), (9, 0, 2209)
"""Versions from which searches have their second address, as the SDK has it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer below 400: its status, and its JSON (None when there is no body)."""

    status: int
    found: Any


class Session:
    """Asks Splunk and sorts what goes wrong. Threads may share it; nothing connects before the first question.

    An error that is no `Unanswered` or `Refused` is Splunk's own word; those two come from the way to it.
    """

    def __init__(self, settings: SplunkSettings, *, connections: int, counted: Callable[[int], None]) -> None:
        self.place = f"splunk {settings.place}"
        self._settings, self._counted = settings, counted
        limits = Limits(bytes=settings.limits.max_bytes, connections=connections + 1, total=float(settings.limits.timeout))
        self.http = Http(settings.place, tls=settings.tls, limits=limits)
        self._lock, self._asked = threading.Lock(), threading.local()
        self._service: Any = None
        self._facts: dict[str, Any] | None = None
        self._closed = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not safe about the way to this Splunk."""
        return self.http.warnings

    def ask(self, method: str, path: Path, what: str, seconds: float, **query: str | int) -> Reply:
        """One question; each part of the path is encoded. Raises `TransientError` or `PermanentError`.

        A refused secret is read again, once.
        """
        from splunklib.binding import AuthenticationError, HTTPError, UrlEncoded  # noqa: PLC0415  # `--help` does not wait

        self._asked.seconds, self._asked.what = seconds, what
        encoded = UrlEncoded("/".join(UrlEncoded(part, encode_slash=True) for part in path), skip_encode=True)
        for again in (True, False):
            try:
                service = self._login()
                asked = service.get if method == "GET" else service.post
                response = asked(encoded, output_mode="json", **query)
            except (AuthenticationError, HTTPError) as error:
                if error.status == HTTPStatus.UNAUTHORIZED and again:
                    self.forget()  # the secret may have been replaced since it was read
                    continue
                raise self._sorted(error, what) from None  # the SDK's own text may quote what was sent
            except ParseError as error:
                raise Unanswered(f"{self.place}: {what}: the login is answered by something that is no Splunk") from error
            return Reply(response.status, self._read(response.status, response.body.read(), what))
        raise AssertionError("the second try returns or raises")

    def facts(self, seconds: float) -> Mapping[str, Any]:
        """What the server says of itself (version, instance type), asked once."""
        if self._facts is None:
            found = self.ask("GET", ("server", "info"), "its version", seconds).found
            try:
                content = found["entry"][0]["content"]
                self._facts = {str(key): value for key, value in content.items()}
            except (TypeError, LookupError, AttributeError):
                raise TransientError(f"{self.place}: what answers there is no Splunk: no version in server/info") from None
        return self._facts

    def jobs_path(self, seconds: float) -> tuple[Path, bool]:
        """Where searches are started, and whether that is the second version, whose results are asked for by POST."""
        facts = self.facts(seconds)
        try:
            version = tuple(int(part) for part in str(facts.get("version")).split("."))
        except ValueError:
            version = ()
        since = V2_SINCE_CLOUD if facts.get("instance_type") == "cloud" else V2_SINCE
        return (("search", "v2", "jobs"), True) if version >= since else (("search", "jobs"), False)

    def forget(self) -> None:
        """Log in anew at the next question."""
        with self._lock:
            self._service, self._facts = None, None
            self.http.close()  # and with the connections whatever cookies came along

    def close(self) -> None:
        """Give back all connections; whoever asks afterwards is told so."""
        self._closed = True
        self.forget()

    def _login(self) -> Any:
        from splunklib.client import Service  # noqa: PLC0415

        with self._lock:
            if self._service is None:
                auth, settings = self._settings.auth, self._settings
                try:
                    secret = (auth.token or auth.password).reveal()  # type: ignore[union-attr]  # the settings hold one of them
                except ValueError as error:
                    raise PermanentError(f"{self.place}: auth: {error}") from error
                way = {"splunkToken": secret} if auth.token else {"username": auth.username, "password": secret}
                service = Service(
                    handler=self._send,
                    scheme=settings.scheme,
                    host=settings.host.strip("[]"),
                    port=settings.port,
                    owner=settings.owner,
                    app=settings.app,
                    **way,
                )
                service.login()
                self._service = service
            return self._service

    def _send(self, url: str, message: Mapping[str, Any], **_: object) -> dict[str, Any]:
        """The SDK's handler: one request, its answer read to its end and bounded."""
        if self._closed:
            raise PermanentError(f"{self.place}: {self._asked.what}: given up, Tocsin leaves")
        body = message.get("body") or b""
        headers = {key: value for key, value in message["headers"] if key.lower() not in ("content-length", "host", "connection")}
        if message["method"] == "POST":
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        path = "/" + str(url).partition("://")[2].partition("/")[2]
        answer = self.http.ask(
            message["method"],
            path,
            self._asked.what,
            content=body.encode() if isinstance(body, str) else body,
            headers=headers,
            accept=EVERY_STATUS,
            total=self._asked.seconds,
        )
        self._counted(len(answer.body))
        # Cookies (of a balancer, to come back to the same search head) are kept by the connections, out of reach of the SDK,
        # which would send nothing else any more once a cookie looks like a session.
        kept = [(key, value) for key, value in answer.headers.items() if key != "set-cookie"]
        return {"status": answer.status, "reason": "", "headers": kept, "body": BytesIO(answer.body)}

    def _sorted(self, error: Any, what: str) -> TransientError | PermanentError:
        headers = {key.lower(): value for key, value in error.headers}
        pause = str(headers.get("retry-after", ""))
        retry_after = min(float(pause), 3600.0) if pause.isascii() and pause.isdigit() else None
        return refusal(error.status, messages_of(error.body), retry_after, f"{self.place}: {what}")

    def _read(self, status: int, body: bytes, what: str) -> Any:
        if status == HTTPStatus.NO_CONTENT or not body.strip():
            return None
        if body.count(b"{") + body.count(b"[") > MOST_NODES:
            raise Unanswered(f"{self.place}: {what}: the answer has more than {MOST_NODES} parts and was not taken apart")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
        if texts := [message for message in messages_of(body) if message.kind in ("FATAL", "ERROR")]:
            raise PermanentError(f"{self.place}: {what}: {texts[0].text}")
        beginning = clean(body[:60].decode("utf-8", "replace"))
        raise Unanswered(f"{self.place}: {what}: answered with something else than JSON, or cut short: {beginning!r}")
