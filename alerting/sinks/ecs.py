"""Results as ECS documents in Elasticsearch or OpenSearch: a record for dashboards and later questions. Nothing is shown by it.

{"@timestamp": "2026-11-22T06:20:10Z", "message": "CRITICAL: latency 840 ms …", "event": {"kind": "alert", …},
 "host": {"name": "web-1"}, "service": {"name": "Anomaly-web", "state": "CRITICAL"}, "tocsin": {"code": 2, "perf": {…}}, …}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from tocsin.elastic import Elastic, Server, said
from tocsin.errors import PermanentError, TransientError
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Severity, Shown, utc
from tocsin.ports import Plugin

ECS = "8.11.0"
AT_ONCE = 500
"""Documents of one request."""
_LONGEST = 8000
_KNOWN = 200_000
"""Services whose last record is remembered; beyond, some records are written twice over, under the same ids."""
_EXAMPLE = CheckResult(service=ServiceKey("web-1", "Anomaly-web"), code=Severity.CRITICAL, text="CRITICAL: an example", at=1)


class EcsSettings(Server):
    """`use: ecs`. `data_stream` is `logs-<dataset>-<namespace>`. Of a service only what changed is written; `all: true` also
    writes every re-assertion."""

    data_stream: Annotated[str, Field(pattern=r"^logs-[a-z0-9_.]{1,100}-[a-z0-9_.]{1,100}$")] = "logs-tocsin.anomaly-default"
    all: bool = False
    timeout: Annotated[float, Field(gt=0, le=30)] = Field(2.0, description="seconds one request may take")


class Ecs:
    """Writes each result once: its id is made of what it says, and one that is there already is as good as written."""

    reads_back = False

    def __init__(self, settings: EcsSettings) -> None:
        self._settings = settings
        self._elastic = Elastic(settings, agent="ecs", timeout=settings.timeout, max_bytes=8_000_000, connections=1)
        self._last: dict[ServiceKey, tuple[Severity, str]] = {}

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes": it is in the data stream, or says nothing new."""
        outcomes: dict[int, Outcome] = {}
        fresh: list[int] = []
        for place, result in enumerate(results):
            if not self._settings.all and self._last.get(result.service) == (result.code, result.text):
                outcomes[place] = Outcome(sent=Sent.YES)
            else:
                fresh.append(place)
        for start in range(0, len(fresh), AT_ONCE):
            places = fresh[start : start + AT_ONCE]
            try:
                items = self._write([results[place] for place in places])
            except PermanentError as error:
                outcomes |= dict.fromkeys(fresh[start:], Outcome(sent=Sent.NO, why=str(error)))
                break
            except TransientError as error:
                # What was asked may have been done; the rest was not asked, and would only wait as long.
                outcomes |= dict.fromkeys(places, Outcome(sent=Sent.UNKNOWN, why=str(error)))
                outcomes |= dict.fromkeys(fresh[start + AT_ONCE :], Outcome(sent=Sent.NO, why=str(error)))
                break
            for place, outcome in zip(places, items, strict=True):
                outcomes[place] = outcome
                if outcome.sent is Sent.YES:
                    self._remember(results[place])
        return [outcomes[place] for place in range(len(results))]

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("a record of results cannot tell what is shown")

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: connects, and writes nothing."""
        reply = self._elastic.ask("GET", "/", accept=(403, 404, 405))
        found = reply.body.get("version")
        number = found.get("number", "") if isinstance(found, dict) else ""
        promise = f'"yes" means: it is in {self._settings.data_stream}; nothing can be read back'
        return Probe(
            version=f"{self._elastic.flavour} {number} at {self._elastic.place}".replace("  ", " "),
            rights=(promise, f"needs the privilege `create_doc` on {self._settings.data_stream}"),
            samples=(str(document(_EXAMPLE, self._settings.data_stream)),),
            warnings=tuple(self._settings.problems()),
        )

    def close(self) -> None:
        """Give back the connections."""
        self._elastic.close()

    def _write(self, results: Sequence[CheckResult]) -> list[Outcome]:
        lines: list[Any] = []
        for result in results:
            lines += [{"create": {"_id": identity(result)}}, document(result, self._settings.data_stream)]
        body = self._elastic.ask("POST", f"/{self._settings.data_stream}/_bulk", body=lines).body
        items = body.get("items")
        if not isinstance(items, list) or len(items) != len(results):
            raise TransientError(f"{self._elastic.place}: the answer does not say what became of each document")
        return [_outcome(item) for item in items]

    def _remember(self, result: CheckResult) -> None:
        if len(self._last) >= _KNOWN:
            self._last.clear()
        self._last[result.service] = result.code, result.text


def identity(result: CheckResult) -> str:
    """The same for the same result, sent by whomever and as often as they like."""
    name = "\0".join((result.service.host, result.service.service, str(int(result.code)), str(result.at), result.text))
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]


def document(result: CheckResult, data_stream: str) -> dict[str, Any]:
    """The result in the Elastic Common Schema."""
    kind, dataset, namespace = data_stream.split("-", 2)
    return {
        "@timestamp": utc(result.at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ecs": {"version": ECS},
        "data_stream": {"type": kind, "dataset": dataset, "namespace": namespace},
        "event": {
            "kind": "alert" if result.code is not Severity.OK else "event",
            "module": "tocsin",
            "dataset": dataset,
            "severity": int(result.code),
            "id": identity(result),
        },
        "message": _text(result.text),
        "host": {"name": _text(result.service.host)},
        "service": {"name": _text(result.service.service), "state": result.code.name},
        "tocsin": {"code": int(result.code), "perf": [dict(_perf(one)) for one in result.perf]},
    }


def _perf(one: Any) -> Iterator[tuple[str, Any]]:
    yield "label", _text(one.label)
    # JSON has neither NaN nor infinity.
    if abs(one.value) < float("inf"):
        yield "value", one.value
    yield "unit", one.unit


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()[:_LONGEST]


def _outcome(item: Any) -> Outcome:
    """What became of one document. 409: it is there already. 429 and 5xx may work later, and so may everything here."""
    made = item.get("create") if isinstance(item, dict) else None
    code = made.get("status") if isinstance(made, dict) else None
    if code in (200, 201, 409):
        return Outcome(sent=Sent.YES)
    return Outcome(sent=Sent.NO, why=f"{code}: {said(made) if isinstance(made, dict) else 'no answer for this document'}")


PLUGIN = Plugin(
    name="ecs",
    summary="ECS documents in Elasticsearch or OpenSearch: a record, shown nowhere by itself",
    settings=EcsSettings,
    build=lambda settings, _surroundings: Ecs(settings),
)
