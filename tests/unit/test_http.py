"""The HTTP client against real sockets: servers that are slow, wrong, huge, rude or somebody else."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from tocsin.errors import PermanentError, TransientError
from tocsin.http import Http, Limits, Refused, Unanswered, web_address
from tocsin.tls import Tls

Answering = Callable[[BaseHTTPRequestHandler], None]
LIMITS = Limits(connect=1, read=0.5, total=1, bytes=100_000)


class Server:
    """A server whose answer is a function of the request; `seen` are the requests' lines and headers."""

    def __init__(self, answer: Answering, certificate: trustme.LeafCert | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.seen.append((self.requestline, {k.lower(): v for k, v in self.headers.items()}, body))
                answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def says(status: int, body: bytes = b"", **headers: str) -> Answering:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Answering, certificate: trustme.LeafCert | None = None) -> Server:
        servers.append(Server(answer, certificate))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def ask(server: Server, tls: Tls | None = None, path: str = "/api", **details: object) -> object:
    client = Http(server.url, tls=tls, limits=LIMITS)
    try:
        return client.ask("GET", path, "list of things", **details)  # type: ignore[arg-type]
    finally:
        client.close()


# --- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_read_whole_and_counted(serve: Callable[..., Server]) -> None:
    server = serve(says(200, b'{"a": [1, null]}'))
    client = Http(server.url, limits=LIMITS)
    answer = client.ask("POST", "/api", "things", json={"b": 1}, params={"limit": 5})
    assert (answer.status, answer.json()) == (200, {"a": [1, None]})
    assert server.seen[0][0] == "POST /api?limit=5 HTTP/1.1"
    assert json.loads(server.seen[0][2]) == {"b": 1}
    assert (client.usage.requests, client.usage.read) == (1, 16)
    client.close()


def test_one_connection_serves_many_questions(serve: Callable[..., Server]) -> None:
    ports: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        says(200, b"{}")(handler)

    client = Http(serve(answer).url, limits=LIMITS)
    for _ in range(5):
        client.ask("GET", "/", "things")
    client.close()
    assert len(set(ports)) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_cannot_now_is_asked_again_later(serve: Callable[..., Server], status: int) -> None:
    with pytest.raises(Unanswered) as caught:
        ask(serve(says(status, b'{"message": "busy"}', retry_after="7")))
    assert isinstance(caught.value, TransientError)
    assert (caught.value.status, caught.value.retry_after) == (status, 7.0)
    assert "list of things" in str(caught.value)
    assert "busy" in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_final(serve: Callable[..., Server], status: int) -> None:
    with pytest.raises(Refused) as caught:
        ask(serve(says(status, b'"no such thing"')))
    assert isinstance(caught.value, PermanentError)
    assert caught.value.status == status
    assert "no such thing" in str(caught.value)


def test_a_redirect_is_never_followed(serve: Callable[..., Server]) -> None:
    other = serve(says(200, b"{}"))
    server = serve(says(302, b"", location=f"{other.url}/take?token=abc"))
    with pytest.raises(Refused, match="write the final address as url") as caught:
        ask(server, headers={"x-auth-token": "abc"})
    assert "abc" not in str(caught.value)
    assert other.seen == []


def test_what_is_no_json_is_told_as_such(serve: Callable[..., Server]) -> None:
    for body in (b"<html>log in</html>", b'{"a": [1, 2', b"[" * 50_000, b""):
        answer = ask(serve(says(200, body, content_type="text/html; charset=utf-8")))
        with pytest.raises(Unanswered, match="no JSON"):
            answer.json()  # type: ignore[attr-defined]


def test_a_secret_never_comes_out_in_an_error(serve: Callable[..., Server]) -> None:
    server = serve(says(403, b'{"message": "wrong password hunter22 for token T0kenT0ken"}'))
    with pytest.raises(Refused) as caught:
        ask(server, hide=["hunter22"], headers={"x-auth-token": "T0kenT0ken"}, path="/hook/T0kenT0ken?x=hunter22")
    assert "hunter22" not in str(caught.value)
    assert "T0kenT0ken" not in str(caught.value)


def test_what_a_server_says_stays_on_one_line(serve: Callable[..., Server]) -> None:
    with pytest.raises(Refused) as caught:
        ask(serve(says(400, json.dumps({"message": "a\nb\x1b[31m" + "x" * 5000}).encode())))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# --- bounds --------------------------------------------------------------------------------------------------------------


def test_an_answer_of_any_size_takes_bounded_memory(serve: Callable[..., Server]) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(10**12))
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65_536)

    with pytest.raises(Refused, match="larger than 100000 bytes"):
        ask(serve(endless))


def test_a_compressed_answer_nobody_asked_for_is_not_unfolded(serve: Callable[..., Server]) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with pytest.raises(Unanswered, match="compressed"):
        ask(serve(says(200, bomb, content_encoding="gzip")))


def test_a_server_that_says_nothing_is_left_after_the_time_for_reading(serve: Callable[..., Server]) -> None:
    began = time.monotonic()
    with pytest.raises(Unanswered, match=r"no answer within 0\.3 s"):
        ask(serve(lambda handler: time.sleep(1.5)), total=0.299995)
    assert time.monotonic() - began < 1.2


def test_an_answer_that_drips_is_left_when_its_time_is_over(serve: Callable[..., Server]) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        for _ in range(15):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    with pytest.raises(Unanswered, match="too slowly"):
        ask(serve(drip))


def test_a_cut_answer_is_no_answer(serve: Callable[..., Server]) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"[1, 2")
        handler.close_connection = True

    with pytest.raises(Unanswered, match="broke"):
        ask(serve(cut))


def test_a_port_where_nobody_listens_is_told_as_such() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = Http(f"http://127.0.0.1:{port}", limits=LIMITS)
    with pytest.raises(Unanswered, match="no connection"):
        client.ask("GET", "/", "things")


# --- who it is ------------------------------------------------------------------------------------------------------------


def test_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent(
    serve: Callable[..., Server], authority: trustme.CA
) -> None:
    server = serve(says(200, b"{}"), authority.issue_cert("127.0.0.1"))
    with pytest.raises(Refused, match="not trusted here"):
        ask(server, headers={"x-auth-token": "T0kenT0ken"})
    assert server.seen == []


def test_a_given_authority_is_trusted(serve: Callable[..., Server], authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = Tls(ca=tmp_path / "ca.pem")
    assert ask(serve(says(200, b"{}"), authority.issue_cert("127.0.0.1")), trusting).status == 200  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="not trusted here"):
        ask(serve(says(200, b"{}"), authority.issue_cert("other.example.org")), trusting)


def test_a_fingerprint_trusts_this_certificate_and_no_other(serve: Callable[..., Server], authority: trustme.CA) -> None:
    ours, other = authority.issue_cert("whatever.example.org"), authority.issue_cert("127.0.0.1")
    shown = ssl.PEM_cert_to_DER_cert(ours.cert_chain_pems[0].bytes().decode())
    digest = sha256(shown).hexdigest()
    pinned = Tls(fingerprint=":".join(digest[i : i + 2] for i in range(0, 64, 2)).upper())
    assert ask(serve(says(200, b"{}"), ours), pinned).status == 200  # type: ignore[attr-defined]
    stranger = serve(says(200, b"{}"), other)
    with pytest.raises(Refused, match="not the one in tls.fingerprint"):
        ask(stranger, pinned, headers={"x-auth-token": "T0kenT0ken"})
    assert stranger.seen == []


def test_trusting_everybody_has_to_be_written_and_is_warned_of(serve: Callable[..., Server], authority: trustme.CA) -> None:
    server = serve(says(200, b"{}"), authority.issue_cert("other.example.org"))
    blind = Tls(verify=False)
    assert ask(server, blind).status == 200  # type: ignore[attr-defined]
    assert "password" in " ".join(Http(server.url, tls=blind).warnings)
    assert Http(server.url).warnings == ()


def test_a_password_sent_in_the_clear_is_warned_of() -> None:
    assert "in the clear" in Http("http://central.example.org").warnings[0]
    assert Http("http://127.0.0.1:8080").warnings == ()


def test_a_missing_authority_file_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("absent.pem", "empty.pem"):
        with pytest.raises(PermanentError, match=name):
            Tls(ca=tmp_path / name).context()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ca": "relative.pem"},
        {"fingerprint": "abc"},
        {"fingerprint": "0" * 64, "ca": "/etc/ca.pem"},
        {"verify": False, "ca": "/etc/ca.pem"},
    ],
)
def test_contradictions_about_trust_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Tls.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong", ["central", "ftp://central", "https://me:secret1@central", "https://", "https://c/?token=secret1"]
)
def test_an_address_that_cannot_be_asked_or_holds_a_secret_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        web_address(wrong)
    assert "secret1" not in str(caught.value)


def test_the_environment_has_no_say(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert ask(serve(says(200, b"{}"))).status == 200  # type: ignore[attr-defined]
