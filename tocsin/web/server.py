"""`/-/healthy`, `/-/ready`, `/metrics` and the pages for people, served from a thread of the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tocsin.errors import ConfigError


def application(registry: CollectorRegistry, why_not_ready: Callable[[], str], pages: Sequence[Route] = ()) -> Starlette:
    """The pages. `why_not_ready` answers an empty string when everything works, else the reason in words."""

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("Tocsin is alive.\n")

    async def ready(_request: Request) -> Response:
        reason = why_not_ready()
        return PlainTextResponse(f"Not ready: {reason}\n", 503) if reason else PlainTextResponse("Tocsin is ready.\n")

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    own = [Route("/-/healthy", healthy), Route("/-/ready", ready), Route("/metrics", metrics)]
    return Starlette(routes=[*own, *pages])


class Server:
    """Serves an application until `stop`; an address that cannot be bound is a ConfigError."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._where = f"{host}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        try:
            socket = self._server.config.bind_socket()
        except (OSError, SystemExit) as error:
            raise ConfigError(f"http.listen: cannot listen on {self._where}: the address is taken or not ours") from error
        self._thread = threading.Thread(target=self._server.run, args=([socket],), name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=3)
