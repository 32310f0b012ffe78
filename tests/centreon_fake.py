"""A Centreon over real sockets: Web API v2 and v1, CLAPI over REST and gorgone, with their real quirks, an engine behind them.

    with centreon() as fake:
        host = fake.host("srv-1"); service = fake.service(host, "Anomaly-web")
        …                              # talk to fake.url, as user fake.USER with fake.PASSWORD
        fake.work()                    # gorgone and the engine do what lies there
        fake.engine.checked["srv-1", "Anomaly-web"].code

A 204 means that a line lies in the spool folder, nothing more. What a test does wrong on purpose is kept in `request_faults`;
`answer_faults` must stay empty: there the fake itself broke the contract.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.centreon_contract import contract
from tests.centreon_engine import Engine
from tests.centreon_v1 import V1, Clapi, Gorgone
from tests.centreon_web import V2

USER, PASSWORD, API_TOKEN = "tocsin", "s3cret-päss", "tok-" + "a" * 40


@dataclass
class Host:
    id: int
    name: str
    address: str = ""
    poller: int = 1
    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    severity: int | None = None
    enabled: bool = True


@dataclass
class Service:
    id: int
    host: Host
    name: str
    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    severity: int | None = None
    in_downtime: bool = False
    acknowledged: bool = False
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, dict[int, float | None]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Fault:
    """What goes wrong with the next `times` questions whose path holds `path`."""

    path: str
    status: int = 503
    body: bytes = b'{"code":503,"message":"down"}'
    times: int = 1
    wait: float = 0.0
    cut: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


class Fake:
    """The platform. Change its attributes while it runs."""

    USER, PASSWORD, API_TOKEN = USER, PASSWORD, API_TOKEN

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.now, self.engine, self.random = now, Engine(), random.Random(5)
        self.lock = threading.RLock()
        self.contract = contract()
        self.hosts: dict[int, Host] = {}
        self.services: dict[int, Service] = {}
        self.pollers = {1: {"id": 1, "name": "Central", "is_running": True, "last_alive": None}}
        self.downtimes: list[dict[str, Any]] = []
        self.acknowledgements: list[dict[str, Any]] = []
        self.tokens: dict[str, float] = {API_TOKEN: float("inf")}
        self.spool: list[tuple[int, bytes]] = []
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.request_faults: list[str] = []
        self.answer_faults: list[str] = []
        self.version, self.session_seconds, self.timezone = "24.10.1", 7200, "+01:00"
        self.password_expired = self.locked = False
        self.admin, self.may_submit, self.reach_realtime, self.reach_configuration = True, True, True, True
        self.visible: set[int] | None = None
        self.drops = self.gorgone_stopped = False
        self.old_spelling = self.unquoted_columns = False
        self.clapi = Clapi(self)
        self._v2, self._v1, self._gorgone = V2(self), V1(self), Gorgone(self)
        self._ids = 9
        self.url = ""

    # --- what stands there -----------------------------------------------------------------------------------------

    def host(self, name: str, **known: Any) -> Host:
        self._ids += 1
        made = Host(self._ids, name, **known)
        self.hosts[made.id] = made
        self.engine.add(name)
        if made.address:
            self.engine.addresses[name] = made.address
        return made

    def service(self, host: Host, name: str, *, passive: bool = True, attempts: int = 1, **known: Any) -> Service:
        self._ids += 1
        made = Service(self._ids, host, name, **known)
        self.services[made.id] = made
        self.engine.add(host.name, name, passive=passive, attempts=attempts)
        return made

    def named(self, host: str, service: str) -> Service | None:
        return next((one for one in self.services.values() if (one.host.name, one.name) == (host, service)), None)

    def sees(self, host: Host) -> bool:
        return host.enabled and (self.admin or self.visible is None or host.id in self.visible)

    def fail(self, path: str, **known: Any) -> None:
        self.faults.append(Fault(path, **known))

    def expire_tokens(self) -> None:
        """Every session ends; the API token, too."""
        self.tokens.clear()

    def alive(self, token: str) -> bool:
        """Whether a session lives; using it makes it live longer."""
        until = self.tokens.get(token)
        if until is None or until < self.now():
            return False
        if until != float("inf"):
            self.tokens[token] = self.now() + self.session_seconds
        return True

    # --- on the way to the engine ------------------------------------------------------------------------------------

    def command(self, poller: int, line: str) -> None:
        """PHP appends a line to a file in gorgone's folder: whatever breaks in it makes two."""
        with self.lock:
            self.spool.append((poller, line.encode()))

    def work(self) -> None:
        """Gorgone moves what lies in its folder, the engine reads it."""
        with self.lock:
            if self.gorgone_stopped or not self.engine.up:
                return
            lines, self.spool = self.spool, []
            for _, line in lines:
                if not self.drops:
                    self.engine.read(line.replace(b"`", b"") + b"\n")

    # --- answering -----------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self.lock:
            self.asked.append((method, parts.path, query))
            if parts.path == "/centreon/api/index.php":
                return self._v1.answer(method, query, headers, body)
            if parts.path.startswith(("/api/centreon/", "/api/nodes/", "/api/log/")):
                return self._gorgone.answer(method, parts.path, body)
            steps = parts.path.split("/", 4)
            if len(steps) == 5 and steps[1:3] == ["centreon", "api"]:
                return self._checked(method, "/" + steps[4], query, headers, body)
            return 404, b"<html>Not Found</html>", "text/html"

    def _checked(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, str]:
        if self.contract is not None:
            faults = self.contract.request(method, path, query, body, headers)
            self.request_faults += [f"{method} {path}: {fault}" for fault in faults]
        status, said, kind = self._v2.answer(method, path, query, headers, body)
        if self.contract is not None:
            faults = self.contract.answer(method, path, status, said, kind)
            self.answer_faults += [f"{method} {path}: {fault}" for fault in faults]
        return status, said, kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: Fake

    def _go(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fake = self.fake
        with fake.lock:
            fault = next((one for one in fake.faults if one.path in self.path), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    fake.faults.remove(fault)
        if fault is not None:
            time.sleep(fault.wait)
            if fault.hang_up:
                self.close_connection = True
                return
        if fault is not None and fault.status:
            status, said, kind, extra = fault.status, fault.body, "application/json", fault.headers
        else:
            status, said, kind = fake.answer(self.command, self.path, headers, body)
            extra = {}
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(said)))
        self.end_headers()
        if status != 204:
            if fault is not None and fault.cut is not None:
                self.wfile.write(said[: fault.cut])
                self.close_connection = True
            else:
                self.wfile.write(said)

    do_GET = do_POST = do_DELETE = do_PUT = _go  # noqa: N815

    def log_message(self, *args: object) -> None: ...


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that a server that is gone is gone for those who were connected, too."""

    def __init__(self, *args: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are wanted here."""


@contextmanager
def centreon(*, now: Callable[[], float] = time.time) -> Iterator[Fake]:
    """A running fake, gone afterwards."""
    fake = Fake(now=now)
    handler = type("Handler", (_Handler,), {"fake": fake})
    with _Server(("127.0.0.1", 0), handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}/centreon"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            server.hang_up()
            thread.join()
    assert fake.answer_faults == [], "the fake broke the contract itself"
