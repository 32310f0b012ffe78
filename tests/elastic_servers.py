"""Real servers that answer like Elasticsearch, for the tests; and how documents get into them."""

from __future__ import annotations

import atexit
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from osmem_server import OsmemClone, OsmemServer

KEYWORD, DATE, NUMBER, TEXT = ({"type": kind} for kind in ("keyword", "date", "double", "text"))
HOSTS = {"@timestamp": DATE, "host": {"properties": {"name": KEYWORD}}, "event": {"properties": {"ingested": DATE}}}


def small_server() -> OsmemClone:
    """An empty OpenSearch-like server of our own, in memory, there in no time. Close it."""
    return _base().clone()


@cache
def _base() -> OsmemServer:
    server = OsmemServer.start(japanese=False)
    atexit.register(_stop, server)
    server.freeze()
    return server


def _stop(server: OsmemServer) -> None:
    server.close(grace=0.2)
    for pipe in (server.process.stdin, server.process.stdout):
        if pipe is not None:
            pipe.close()


def call(
    url: str, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, ca: Path | None = None
) -> Any:
    """One request, for setting things up."""
    lines = isinstance(body, list)
    data = None if body is None else "".join(json.dumps(one) + "\n" for one in (body if lines else [body])).encode()
    kind = "application/x-ndjson" if lines else "application/json"
    request = urllib.request.Request(url + path, data, {"content-type": kind, **(headers or {})}, method=method)
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return json.loads(answer.read())


def fill(
    url: str,
    index: str,
    documents: Iterable[Mapping[str, Any]],
    properties: Mapping[str, Any] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    ca: Path | None = None,
) -> None:
    """Create the index where it is not there yet and put documents into it."""
    try:
        call(url, "PUT", f"/{index}", {"mappings": {"properties": {**HOSTS, **(properties or {})}}}, headers=headers, ca=ca)
    except urllib.error.HTTPError as error:
        error.close()
    lines: list[Any] = []
    for document in documents:
        lines += [{"index": {"_index": index}}, dict(document)]
    for start in range(0, len(lines), 4000):
        answer = call(url, "POST", "/_bulk?refresh=true", lines[start : start + 4000], headers=headers, ca=ca)
        assert not answer["errors"], str(answer)[:500]
