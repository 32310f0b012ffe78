"""One client for both products: what is asked and what comes back are the same, whichever library carries it.

The libraries' own habits are replaced: no retries (who asks decides), no sniffing (it goes around proxies), time-outs, the
machine's trust store, answers of bounded size, and secrets that are read again when they are refused.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

import tocsin
from tocsin.elastic.answers import TooMuch, error_for, said, unreachable
from tocsin.elastic.bounds import Bounds, TooLarge, TooSlow
from tocsin.elastic.settings import Server
from tocsin.errors import PermanentError, TransientError
from tocsin.http import clean

log = structlog.get_logger("tocsin.elastic")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer that was read to its end: its JSON, and its size on the wire."""

    status: int
    headers: Mapping[str, str]
    body: Any
    size: int = 0


class Door(Protocol):
    """A client library, reduced to one question. Raises what the library raises when there is no answer at all."""

    def ask(
        self, method: str, path: str, *, params: Mapping[str, str], headers: Mapping[str, str], body: Any, timeout: float
    ) -> Reply: ...

    def close(self) -> None: ...


class Elastic:
    """A cluster. Connects at the first question; threads may share it.

    `agent` tells the cluster's operators who asks: it stands in slow logs and task lists as `X-Opaque-Id: tocsin/…`.
    """

    def __init__(
        self, server: Server, *, agent: str, timeout: float = 60.0, max_bytes: int = 32_000_000, connections: int = 2
    ) -> None:
        self._server, self._agent, self._connections = server, agent, connections
        self._bounds = Bounds(max_bytes=max_bytes, timeout=timeout, headers=self._headers)
        self._lock, self._authorization = threading.Lock(), ""
        self._door: Door | None = None
        self._flavour: str = "" if server.flavour == "auto" else server.flavour

    @property
    def place(self) -> str:
        """How error texts call it."""
        return self._server.place

    @property
    def flavour(self) -> str:
        """`elasticsearch` or `opensearch`; asks the server when nobody said it."""
        self._open()
        return self._flavour

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float | None = None,
        accept: tuple[int, ...] = (),
    ) -> Reply:
        """One question, and its answer when its status is 2xx or in `accept`.

        Raises `TooMuch` when less should be asked for at once, `TransientError` or `PermanentError`. After a 401 the secret
        is read again, and the question asked once more.
        """
        for last in (False, True):
            door = self._open()
            reply = self._once(door, method, path, params or {}, body, timeout or self._bounds.timeout)
            if reply.status == 401 and not last and self._server.auth is not None:
                before, self._authorization = self._authorization, ""
                if self._headers().get("authorization") != before:
                    continue
            if 200 <= reply.status < 300 or reply.status in accept:
                if not isinstance(reply.body, dict):
                    raise TransientError(f"{self.place}: answered with something that is no JSON object: does a proxy answer?")
                return reply
            raise error_for(reply.status, reply.body, reply.headers, self.place)
        raise AssertionError("the second round returns or raises")

    def close(self) -> None:
        """Give back all connections; the next question opens new ones, with secrets read anew."""
        with self._lock:
            door, self._door, self._authorization = self._door, None, ""
        if door is not None:
            door.close()

    def _open(self) -> Door:
        with self._lock:
            if self._door is None:
                if self._server.tls.warnings:
                    log.warning("elastic.not_protected", server=self.place, why=" ".join(self._server.tls.warnings))
                if not self._flavour:
                    self._flavour = self._find_out()
                self._door = self._make(self._flavour)
            return self._door

    def _make(self, flavour: str) -> Door:
        # Heavy imports: only who connects pays for them.
        if flavour == "opensearch":
            try:
                from tocsin.elastic.opensearch import OpenSearchDoor  # noqa: PLC0415
            except ImportError as error:
                raise PermanentError(
                    f"{self.place} is OpenSearch, which needs an extra package: pip install 'tocsin[opensearch]'"
                ) from error
            return OpenSearchDoor(self._server, self._bounds, self._connections)
        from tocsin.elastic.elasticsearch import ElasticsearchDoor  # noqa: PLC0415

        return ElasticsearchDoor(self._server, self._bounds, self._connections)

    def _find_out(self) -> str:
        """Which product this is, by a question every version of both understands: plain JSON, no version in the headers."""
        from tocsin.elastic.elasticsearch import PlainDoor  # noqa: PLC0415

        plain = PlainDoor(self._server, self._bounds, 1)
        try:
            reply = self._once(plain, "GET", "/", {}, None, self._bounds.timeout)
        finally:
            plain.close()
        if reply.status == 401:
            self._authorization = ""
        flavour = flavour_of(reply)
        if flavour is None:
            raise error_for(reply.status, reply.body, reply.headers, self.place)
        return flavour

    def _once(self, door: Door, method: str, path: str, params: Mapping[str, str], body: Any, timeout: float) -> Reply:
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json" if isinstance(body, dict) else "application/x-ndjson"
        before = self._bounds.read
        try:
            reply = door.ask(method, path, params=params, headers=headers, body=body, timeout=timeout)
        except (TransientError, PermanentError):
            raise
        except Exception as error:
            raise self._translated(error, timeout) from error
        return Reply(status=reply.status, headers=reply.headers, body=reply.body, size=self._bounds.read - before)

    def _headers(self) -> Mapping[str, str]:
        """What goes with every request, below the libraries: who asks, and who we are."""
        named = {"x-opaque-id": f"tocsin/{self._agent}", "user-agent": f"tocsin/{tocsin.__version__}"}
        if self._server.auth is not None:
            if not self._authorization:
                self._authorization = self._server.auth.header()
            named["authorization"] = self._authorization
        return named

    def _translated(self, error: Exception, timeout: float) -> Exception:
        """What a library raised when there was no answer it could use. The secret is read anew for the next connection."""
        self._authorization = ""
        cause: BaseException | None = error
        while cause is not None:
            kind, text = type(cause).__name__, clean(str(cause), longest=160)
            if isinstance(cause, TransientError | PermanentError):
                return cause
            if isinstance(cause, TooLarge):
                return TooMuch(f"{self.place}: {text}")
            if isinstance(cause, TooSlow) or "Timeout" in kind:
                return TransientError(f"{self.place}: no whole answer within {round(timeout, 2):g} s")
            if kind == "WrongCertificate":
                return PermanentError(f"{self.place}: {text}, not the one in tls.fingerprint")
            if kind == "SSLCertVerificationError":
                why = getattr(cause, "verify_message", text)
                return PermanentError(
                    f"{self.place}: its certificate is not trusted here: {why}; give the authority as tls.ca, or the "
                    "certificate's SHA-256 as tls.fingerprint"
                )
            if kind == "UnsupportedProductError":
                return PermanentError(
                    f"{self.place}: the answer lacks the header X-Elastic-Product: a proxy takes it away, or this is another "
                    "product (try flavour: opensearch)"
                )
            if kind in ("SerializationError", "RecursionError", "JSONDecodeError"):
                return TransientError(f"{self.place}: the answer is no JSON: cut short, or does a proxy answer?")
            cause = cause.__cause__ or cause.__context__
        return unreachable(error, self.place)


def flavour_of(reply: Reply) -> str | None:
    """Which product answered to `GET /`; None when it said nothing that tells.

    Who may not ask (403) is told apart by the words of the refusal; a 401 tells nothing.
    """
    version = reply.body.get("version") if isinstance(reply.body, dict) else None
    if isinstance(version, dict) and version.get("distribution") == "opensearch":
        return "opensearch"
    if "x-elastic-product" in {name.lower() for name in reply.headers} or isinstance(version, dict):
        return "elasticsearch"
    if reply.status == 403:
        return "opensearch" if said(reply.body).startswith("no permissions for") else "elasticsearch"
    return None
