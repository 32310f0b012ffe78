"""Elasticsearch as its users meet it: the manners of the real one at the door, the answers of a small real server behind it, and
every fault on demand.

    with FakeElastic(small_server().url) as fake:
        fake.then(status(503, too_many_buckets()))      the next answer is this one
        fake.spoil = failed_shards                      every answer of a search is changed

At the door: versioned media types are checked as Elasticsearch checks them, 401 and 403 come without its product header, points
in time have its spelling. Behind the door the small server does the searching.
"""

from __future__ import annotations

import gzip
import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Json: TypeAlias = Any
_COMPATIBLE = re.compile(r"application/vnd\.elasticsearch\+(json|x-ndjson); ?compatible-with=(\d+)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it came; `key` is what it authenticated with."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back. `cut` sends only so many bytes and hangs up, `pace` waits after each kilobyte, `wait` before all."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    pace: float = 0.0
    wait: float = 0.0


Fault: TypeAlias = Callable[[Asked], Answer | None]


class FakeElastic:
    """A server on a port of its own. `asked` are all requests, `faults` what happens to the next ones, `spoil` changes answers
    of searches, `key` is the only API key that is let in."""

    def __init__(
        self, behind: str, *, flavour: str = "elasticsearch", major: int = 9, key: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.behind, self.flavour, self.major, self.key = behind, flavour, major, key
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.spoil: Callable[[Json], Json] | None = None
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FakeElastic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def then(self, *faults: Fault) -> None:
        """These happen to the next requests, one each."""
        self.faults.extend(faults)

    @property
    def searches(self) -> list[Asked]:
        """The searches asked so far."""
        return [one for one in self.asked if one.path.partition("?")[0].endswith("/_search")]

    def answer(self, asked: Asked) -> Answer:
        """The fault whose turn it is, or what the door says, or what stands behind it."""
        self.asked.append(asked)
        fault = self.faults.popleft() if self.faults else self.always
        told = fault(asked) if fault is not None else None
        if told is None:
            told = self._door(asked) or self._search(asked)
        named = {"content-type": "application/json"}
        if self.flavour == "elasticsearch" and told.status not in (401, 403):
            named["X-Elastic-Product"] = "Elasticsearch"
        return replace(told, headers={**named, **told.headers})

    def _door(self, asked: Asked) -> Answer | None:
        if self.key and asked.headers.get("authorization") != f"ApiKey {self.key}":
            return no_entry()
        if asked.path == "/_security/user/_has_privileges":
            may = {name: dict.fromkeys(one["privileges"], False) for one in asked.json["index"] for name in one["names"]}
            return Answer(body=json.dumps({"username": "tocsin", "has_all_requested": False, "index": may}).encode())
        versions = [found for name in ("accept", "content-type") if (found := _COMPATIBLE.match(asked.headers.get(name, "")))]
        if versions and self.flavour != "elasticsearch":
            error = f"Content-Type header [{asked.headers.get('content-type')}] is not supported"
            return Answer(status=406, body=json.dumps({"error": error, "status": 406}).encode())
        if any(int(found[2]) not in (self.major, self.major - 1) for found in versions):
            return Answer(status=400, body=json.dumps(media_type(self.major, int(versions[0][2]))).encode())
        return None

    def _search(self, asked: Asked) -> Answer:
        """What the small server says, in Elasticsearch's spelling."""
        method, path, body = asked.method, asked.path, asked.body
        if self.flavour == "elasticsearch":
            if path.partition("?")[0].endswith("/_pit") and method == "POST":
                path = re.sub(r"/_pit.*", "/_search/point_in_time?keep_alive=1m", path)
            elif path == "/_pit":
                path, body = "/_search/point_in_time", json.dumps({"pit_id": [asked.json["id"]]}).encode()
        headers = {name: value for name, value in asked.headers.items() if name in ("content-type", "accept")}
        headers = {name: _COMPATIBLE.sub(r"application/\1", value) for name, value in headers.items()}
        request = urllib.request.Request(self.behind + path, body or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found, status = json.loads(answer.read()), answer.status
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=error.read())
        if self.flavour == "elasticsearch" and path.endswith("point_in_time?keep_alive=1m"):
            found = {"id": found["pit_id"], "_shards": found["_shards"]}
        if path == "/" and self.flavour == "elasticsearch":
            found["version"] = {"number": f"{self.major}.3.0", "build_flavor": "default"}
        if self.spoil is not None and "/_search" in path:
            found = self.spoil(found)
        return Answer(status=status, body=json.dumps(found).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hung up is what many of the tests are about."""


def _handler(fake: FakeElastic) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            named = {name.lower(): value for name, value in self.headers.items()}
            answer = fake.answer(Asked(method=self.command, path=self.path, headers=named, body=body))
            try:
                self._send(answer, packed="gzip" in named.get("accept-encoding", ""))
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

        def _send(self, answer: Answer, *, packed: bool) -> None:
            time.sleep(answer.wait)
            body, headers = answer.body, dict(answer.headers)
            if packed and answer.cut is None and not answer.pace and "content-encoding" not in headers:
                body, headers["content-encoding"] = gzip.compress(body), "gzip"
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            sent = body if answer.cut is None else body[: answer.cut]
            for start in range(0, len(sent), 1000 if answer.pace else len(sent) or 1):
                self.wfile.write(sent[start : start + 1000] if answer.pace else sent)
                self.wfile.flush()
                time.sleep(answer.pace)
            if answer.cut is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    return Handler


# --- what may be answered instead -------------------------------------------------------------------------------------


def status(code: int, body: Json = None, **headers: str) -> Fault:
    """An error, as JSON; `retry_after="3"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status=code, body=json.dumps(body or {"error": "x", "status": code}).encode(), headers=named)


def page(code: int, text: str) -> Fault:
    """A page of HTML, as proxies send them."""
    return lambda _: Answer(status=code, body=text.encode(), headers={"content-type": "text/html"})


def raw(body: bytes, **more: Any) -> Fault:
    """These bytes, whatever they are."""
    return lambda _: Answer(body=body, **more)


def bomb(size: int) -> Fault:
    """So many bytes that travel as a thousandth of them."""
    packed = gzip.compress(b'{"a":"' + b" " * size + b'"}')
    return lambda _: Answer(body=packed, headers={"content-encoding": "gzip"})


def no_entry(reason: str = "missing authentication credentials for REST request [/_search]") -> Answer:
    """401 as Elasticsearch says it: without its product header."""
    error = {"type": "security_exception", "reason": reason}
    body = {"error": {"root_cause": [error], **error}, "status": 401}
    return Answer(status=401, body=json.dumps(body).encode(), headers={"WWW-Authenticate": 'Basic realm="security", ApiKey'})


def forbidden() -> Json:
    """What a user without rights is told."""
    reason = (
        "action [indices:data/read/search] is unauthorized for API key id [abc] on indices [metrics-a], this action is granted"
    )
    error = {"type": "security_exception", "reason": reason}
    return {"error": {"root_cause": [error], **error}, "status": 403}


def media_type(major: int, found: int) -> Json:
    """What an Elasticsearch says to a client that is too new or too old for it."""
    cause = {
        "type": "status_exception",
        "reason": f"Accept version must be either version {major} or {major - 1}, but found {found}. Accept=application/vnd…",
    }
    error = {"type": "media_type_header_exception", "reason": "Invalid media-type value on headers [Accept, Content-Type]"}
    return {"error": {"root_cause": [error], **error, "caused_by": cause}, "status": 400}


def too_many_buckets() -> Json:
    """More buckets than `search.max_buckets`."""
    reason = "Trying to create too many buckets. Must be less than or equal to: [65536] but was [65537]."
    cause = {"type": "too_many_buckets_exception", "reason": reason, "max_buckets": 65536}
    error = {"type": "search_phase_execution_exception", "reason": "all shards failed", "phase": "query", "grouped": True}
    failed = [{"shard": 0, "index": "metrics-a", "node": "n", "reason": cause}]
    return {"error": {"root_cause": [cause], **error, "failed_shards": failed, "caused_by": cause}, "status": 400}


def rejected() -> Json:
    """A full queue."""
    reason = "rejected execution of TimedRunnable on QueueResizingEsThreadPoolExecutor[name = node/search, queue capacity = 1000]"
    error = {"type": "es_rejected_execution_exception", "reason": reason}
    return {"error": {"root_cause": [error], **error}, "status": 429}


def failed_shards(answer: Json) -> Json:
    """One of two shards did not answer; the rest comes as success."""
    reason = {"type": "node_not_connected_exception", "reason": "[es2][10.0.0.2:9300] Node not connected"}
    failures = [{"shard": 1, "index": "metrics-a", "node": "es2", "reason": reason}]
    return answer | {"_shards": {"total": 2, "successful": 1, "skipped": 0, "failed": 1, "failures": failures}}


def failed_shards_with_too_many_buckets(answer: Json) -> Json:
    """The same, because of what was asked."""
    reason = too_many_buckets()["error"]["failed_shards"][0]["reason"]
    failures = [{"shard": 1, "index": "metrics-a", "node": "es2", "reason": reason}]
    return answer | {"_shards": {"total": 2, "successful": 1, "skipped": 0, "failed": 1, "failures": failures}}


def timed_out(answer: Json) -> Json:
    """The server stopped in the middle and says so in passing."""
    return answer | {"timed_out": True}


def no_shards(answer: Json) -> Json:
    """The pattern matches nothing that may be read."""
    return answer | {"_shards": {"total": 0, "successful": 0, "skipped": 0, "failed": 0}, "aggregations": {}}


def skipped_cluster(answer: Json) -> Json:
    """A remote cluster is away, and `skip_unavailable` is on."""
    details = {"(local)": {"status": "successful"}, "lyon": {"status": "skipped"}}
    return answer | {
        "_clusters": {"total": 2, "successful": 1, "skipped": 1, "running": 0, "partial": 0, "failed": 0, "details": details}
    }
