"""The door to Elasticsearch 8.x and 9.x: the official client of version 8, which both majors understand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from elastic_transport import BaseNode, NodeConfig, Transport, Urllib3HttpNode
from elasticsearch import ApiError, Elasticsearch

from tocsin.elastic.bounds import Bounds
from tocsin.elastic.client import Reply
from tocsin.elastic.pool import Pool
from tocsin.elastic.settings import Server

_MANNERS: Mapping[str, Any] = {"max_retries": 0, "retry_on_status": (), "retry_on_timeout": False}


class ElasticsearchDoor:
    """Says in its headers that it speaks version 8, and refuses products that are not Elasticsearch."""

    def __init__(self, server: Server, bounds: Bounds, size: int) -> None:
        nodes = _nodes(server, bounds.timeout, size)
        self._client = Elasticsearch(nodes, node_class=_node_class(server, bounds), http_compress=True, **_MANNERS)

    def ask(
        self, method: str, path: str, *, params: Mapping[str, str], headers: Mapping[str, str], body: Any, timeout: float
    ) -> Reply:
        """As `Door` promises."""
        client = self._client.options(request_timeout=timeout)
        try:
            answer = client.perform_request(method, path, params=params or None, headers=headers, body=body)
        except ApiError as error:
            return Reply(status=error.meta.status, headers=error.meta.headers, body=error.body)
        return Reply(status=answer.meta.status, headers=answer.meta.headers, body=answer.body)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


class PlainDoor:
    """The transport below that client: no version in the headers, and no opinion about products."""

    def __init__(self, server: Server, bounds: Bounds, size: int) -> None:
        nodes = _nodes(server, bounds.timeout, size)
        self._transport = Transport(nodes, node_class=_node_class(server, bounds), **_MANNERS)

    def ask(
        self, method: str, path: str, *, params: Mapping[str, str], headers: Mapping[str, str], body: Any, timeout: float
    ) -> Reply:
        """As `Door` promises."""
        target = f"{path}?{urlencode(params)}" if params else path
        meta, answer = self._transport.perform_request(method, target, headers=headers, body=body, request_timeout=timeout)
        return Reply(status=meta.status, headers=meta.headers, body=answer)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


def _nodes(server: Server, timeout: float, size: int) -> list[NodeConfig]:
    from elastic_transport.client_utils import url_to_node_config  # noqa: PLC0415

    # What fails is told by who asks, once and in our words.
    logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"request_timeout": timeout, "connections_per_node": size, "http_compress": True}
    return [url_to_node_config(address).replace(**options) for address in server.addresses]


def _node_class(server: Server, bounds: Bounds) -> type[BaseNode]:
    class Node(Urllib3HttpNode):
        """A node whose connections are ours: bounded, and verified as the settings say."""

        def __init__(self, config: NodeConfig) -> None:
            # Their own pool would trust certifi's authorities besides ours.
            BaseNode.__init__(self, config)
            context = server.tls.context() if config.scheme == "https" else None
            self.pool = Pool(config.host, config.port, context, bounds, config.connections_per_node)  # type: ignore[assignment]

    return Node
