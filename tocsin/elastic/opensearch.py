"""The door to OpenSearch: its own client, an optional extra."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch, Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as NoConnection

from tocsin.elastic.bounds import Bounds
from tocsin.elastic.client import Reply
from tocsin.elastic.pool import Pool
from tocsin.elastic.settings import Server


class OpenSearchDoor:
    """As `Door` promises."""

    def __init__(self, server: Server, bounds: Bounds, size: int) -> None:
        # What fails is told by who asks, once and in our words.
        logging.getLogger("opensearch").setLevel(logging.CRITICAL)
        hosts = [_host(address) for address in server.addresses]
        self._client = OpenSearch(
            hosts,
            connection_class=_connection_class(server, bounds, size),
            http_compress=True,
            timeout=bounds.timeout,
            max_retries=0,
        )

    def ask(
        self, method: str, path: str, *, params: Mapping[str, str], headers: Mapping[str, str], body: Any, timeout: float
    ) -> Reply:
        """As `Door` promises.

        The library's transport keeps status and headers of an answer to itself, so its connections are asked one by one.
        """
        transport = self._client.transport
        several = body if isinstance(body, list) else () if body is None else (body,)
        sent = "".join(json.dumps(one) + "\n" for one in several).encode() or None
        connection = transport.get_connection()
        try:
            status, found, text = connection.perform_request(
                method, path, params=dict(params), body=sent, timeout=timeout, ignore=range(300, 600), headers=dict(headers)
            )
        except NoConnection:
            transport.mark_dead(connection)
            raise
        transport.connection_pool.mark_live(connection)
        named = {str(name).lower(): str(value) for name, value in found.items()}
        if "json" not in named.get("content-type", "json"):
            return Reply(status=status, headers=named, body=text)
        return Reply(status=status, headers=named, body=json.loads(text) if text else None)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


def _host(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    return {"host": parts.hostname, "port": parts.port, "use_ssl": parts.scheme == "https", "url_prefix": parts.path}


def _connection_class(server: Server, bounds: Bounds, size: int) -> type[Urllib3HttpConnection]:
    class Connection(Urllib3HttpConnection):
        """Connections that are ours: bounded, and verified as the settings say."""

        def __init__(self, **named: Any) -> None:
            self._context = server.tls.context() if named.get("use_ssl") else None
            super().__init__(**named, ssl_context=self._context)

        def _create_urllib3_pool(self) -> None:
            self.pool = Pool(self.hostname, int(self.port or 0), self._context, bounds, size)

    return Connection
