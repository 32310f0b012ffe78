"""The connections under both client libraries: what they leave open is bounded here, once.

Both ask a urllib3 pool for a response and then take all of its `data`, however much that is and however slowly it comes.
"""

from __future__ import annotations

import ssl
import time
import zlib
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.util import Timeout

from tocsin.elastic.bounds import Bounds, TooLarge, TooSlow

_PIECE = 65_536
_CONNECT = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """As much of urllib3's response as the two libraries look at."""

    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes


class _Quiet(urllib3.HTTPSConnectionPool):
    """Says nothing about certificates that are not verified: we have said it ourselves, once and louder."""

    def _validate_conn(self, conn: Any) -> None:
        if isinstance(conn, HTTPSConnection) and conn.is_closed:
            conn.connect()


class Pool:
    """A urllib3 pool for one host; `bounds` may change between two requests."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, bounds: Bounds, size: int) -> None:
        self._bounds = bounds
        named: dict[str, Any] = {"maxsize": size, "block": True, "retries": False}
        self._pool = (
            urllib3.HTTPConnectionPool(host, port, **named)
            if context is None
            else _Quiet(host, port, ssl_context=context, **named)
        )

    def urlopen(self, method: str, url: str, body: bytes | None = None, **named: Any) -> Response:
        """As urllib3's, the answer read within the bounds. Raises `TooLarge`, `TooSlow` and what urllib3 raises."""
        wait = named.get("timeout")
        seconds = float(wait) if isinstance(wait, int | float) else self._bounds.timeout
        deadline = time.monotonic() + seconds
        given = {name.lower(): value for name, value in dict(named.get("headers") or {}).items()}
        headers = given | {"accept-encoding": "gzip"} | dict(self._bounds.headers())
        response = self._pool.urlopen(
            method,
            url,
            body=body,
            headers=headers,
            timeout=Timeout(connect=min(_CONNECT, seconds), read=seconds),
            pool_timeout=int(seconds) + 1,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        whole = False
        try:
            data = self._whole(response, deadline)
            whole = True
        finally:
            if not whole:  # half an answer is left in it: it is of no use to the next request
                response.close()
            response.release_conn()
        # Deprecation warnings of the server would become Python warnings, one for each request.
        kept = urllib3.HTTPHeaderDict(
            {name: value for name, value in response.headers.items() if name.lower() not in ("warning", "content-encoding")}
        )
        return Response(status=response.status, headers=kept, data=data)

    def _whole(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        unpack = zlib.decompressobj(31) if "gzip" in response.headers.get("content-encoding", "") else None
        data, cap = bytearray(), self._bounds.max_bytes
        while piece := response.read1(_PIECE, decode_content=False):
            with self._bounds.lock:
                self._bounds.read += len(piece)
            data += piece if unpack is None else unpack.decompress(piece, cap + 1 - len(data))
            if len(data) > cap:
                raise TooLarge(f"the answer is larger than {cap} bytes")
            if time.monotonic() > deadline:
                raise TooSlow(f"only {len(data)} bytes of the answer came in time")
        if unpack is not None and not unpack.eof:
            raise urllib3.exceptions.IncompleteRead(len(data), -1)
        return bytes(data)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
