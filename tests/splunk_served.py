"""A port that answers HTTP as it is told to, well and badly: what the fakes of Splunk stand on."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    """What goes over the wire. `cut` breaks the connection after so many bytes of the body, `drip` sends it that slowly."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "text/xml; charset=UTF-8"
    cut: int | None = None
    drip: float = 0.0
    wait: float = 0.0


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0
    client: int = 0


class Served:
    """Something of Splunk's behind a port. `faults` make it misbehave; `asked` is what was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.faults: list[list[Any]] = []
        self.keep_alive = True
        self._context, self._lock = context, threading.RLock()

    def fault(
        self,
        pattern: str,
        answer: Answer | Callable[[Asked, Answer], Answer],
        times: int = 1_000_000,
        when: Callable[[Asked], bool] = lambda asked: True,
    ) -> None:
        """From now on this answers what fits the pattern (and `when`), so many times."""
        self.faults.append([re.compile(pattern), answer, times, when])

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serves on a free port of this machine until the end of the block; gives the port."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        if self._context is not None:
            server.socket = self._context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.hang_up()
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, asked: Asked) -> Answer:
        """One request. A fault that is a function sees what was honestly answered; one that is an answer stands for it."""
        with self._lock:
            self.asked.append(asked)
            for entry in self.faults:
                pattern, made, left, when = entry
                if left > 0 and pattern.search(f"{asked.method} {asked.path}") and when(asked):
                    entry[2] -= 1
                    return made if isinstance(made, Answer) else made(asked, self._answer(asked))
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Answer:
        raise NotImplementedError


# --- the wire -----------------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stopping = threading.Event()
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the conversations that go on, as a server that dies does."""
        self.stopping.set()
        for request in list(self.open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are no news here."""


def _handler(fake: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "Splunkd", ""
        timeout = 10
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            form = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            if self.headers.get("content-type", "application/x-www-form-urlencoded").startswith("application/x-www"):
                form |= {
                    key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()
                }
            headers = {key.lower(): value for key, value in self.headers.items()}
            asked = Asked(self.command, parts.path, form, headers, body, client=self.client_address[1])
            answer = fake.answer(asked)
            asked.size = len(answer.body)
            if answer.wait:
                self.server.stopping.wait(answer.wait)  # type: ignore[attr-defined]
            with suppress(OSError):
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status, HTTPStatus(answer.status).phrase)
            close = not fake.keep_alive or answer.cut is not None or answer.drip > 0
            fixed = {
                "Expires": "Thu, 26 Oct 1978 00:00:00 GMT",
                "Cache-Control": "no-store, no-cache, must-revalidate, max-age=0",
                "Content-Type": answer.kind,
                "X-Content-Type-Options": "nosniff",
                "Content-Length": str(len(answer.body)),
                "Vary": "Cookie, Authorization",
                "Connection": "Close" if close else "Keep-Alive",
            }
            for key, value in {**fixed, **answer.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.close_connection = close
            if answer.drip:
                for byte in answer.body:
                    self.wfile.write(bytes([byte]))
                    if self.server.stopping.wait(answer.drip):  # type: ignore[attr-defined]
                        return
                return
            self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    return Handler
