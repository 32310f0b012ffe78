"""Splunk's HTTP Event Collector: every result as an event, indexed and acknowledged.

    {"time": 1763779210, "host": "web-1", "source": "tocsin", "sourcetype": "tocsin:result",
     "event": {"service": "Anomaly-web", "code": 2, "state": "CRITICAL", "text": "…", "perf": […], "at": 1763779210},
     "fields": {"tocsin_id": "5e1f…", "tocsin_state": "CRITICAL"}}

The collector takes a batch, and long before it is on disk it says "Success". Only an acknowledgement says that it was indexed;
without one the same event is sent again, and `tocsin_id` tells whoever searches that it is the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

from alerting.sinks.recording import spelled
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Answer, Http, Limits, clean, web_address
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Shown
from tocsin.ports import Plugin
from tocsin.settings import SecretRef, Settings
from tocsin.tls import Tls

EVENT, ACK, HEALTH = "/services/collector/event", "/services/collector/ack", "/services/collector/health"
EVERY_STATUS = range(100, 600)
MOST_BYTES = 900_000
"""Of one batch: the collector of older versions takes a million."""
REFUSALS = 5
"""Events of one batch that may be refused before the rest waits for the next pass."""
REMEMBERED = 10_000
"""Acknowledgements waited for at the same time."""
PATIENCE = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two questions for an acknowledgement, in one pass."""

_OF_ONE = {6, 7, 12, 13, 15}
"""Codes that mean a single event: malformed, index not allowed, no event, empty event, indexed fields."""
_MEANING = {
    1: "the token is disabled: enable it under Settings, Data inputs, HTTP Event Collector",
    2: "the collector wants a token",
    3: "the token is not accepted",
    4: "the token is not known there: was it deleted?",
    5: "it saw no data",
    6: "it finds the event malformed",
    7: "the token may not write to this index",
    8: "it has an internal error",
    9: "it is busy: its queues are full",
    10: "it wants a channel",
    11: "it does not accept the channel",
    12: "it finds no event in it",
    13: "it finds the event empty",
    14: "acknowledgement is not switched on for this token: switch it on there, or write acknowledge: false",
    15: "it does not accept the indexed fields",
}


class HecSettings(Settings):
    """`use: hec`."""

    url: str = Field(description="the collector's address, such as https://splunk.example.org:8088")
    token: SecretRef = Field(description="of the HTTP Event Collector, by reference")
    index: str | None = Field(None, pattern=r"^[a-z0-9_][a-z0-9_-]{0,79}$", description="else the token's own index")
    source: str = Field("tocsin", min_length=1, max_length=100)
    sourcetype: str = Field("tocsin:result", min_length=1, max_length=100)
    acknowledge: bool = Field(True, description="believe only what was indexed; needs indexer acknowledgement on the token")
    batch: int = Field(200, ge=1, le=1000, description="events of one request")
    tls: Tls = Field(default_factory=Tls)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return web_address(url)


@dataclass(frozen=True, slots=True)
class Said:
    """The collector's answer: its status, its own code, the event it does not like, and the receipt for the batch."""

    status: int
    code: int | None = None
    number: int | None = None
    receipt: int | None = None
    text: str = ""


class Hec:
    """Sends results as events. "Yes" means indexed; with `acknowledge: false` it means taken into a queue."""

    reads_back = False

    def __init__(self, settings: HecSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings, self._sleep = settings, sleep
        self._channel = str(uuid.uuid4())
        self._http = Http(settings.url, tls=settings.tls, limits=Limits(connect=2.0, read=3.0, total=3.0, bytes=1 << 20))
        self._waiting: dict[str, int] = {}

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. What was taken before and is acknowledged by now is not sent again."""
        try:
            return self._send(results)
        except (TransientError, PermanentError, ValueError) as error:
            return [Outcome(sent=Sent.UNKNOWN, why=str(error))] * len(results)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("the HTTP Event Collector only takes events: what is shown is seen by searching")

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: asks how the collector is, and sends nothing."""
        answer = self._http.ask("GET", HEALTH, "health", accept=EVERY_STATUS)
        said = understood(answer)
        if answer.status == 503:
            raise TransientError(f"{self._http.place}: the collector is not healthy: {said.text or 'its queues are full'}")
        if answer.status != 200:
            raise PermanentError(
                f"{self._http.place}: answers {answer.status} where a collector tells its health: is this port 8088?"
            )
        promise = '"yes" means: indexed' if self._settings.acknowledge else '"yes" means: in a queue of the collector'
        return Probe(
            version=f"HTTP Event Collector at {self._http.place}: {said.text}", rights=(promise,), warnings=self._http.warnings
        )

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    # --- sending ----------------------------------------------------------------------------------------------------------

    def _send(self, results: Sequence[CheckResult]) -> list[Outcome]:
        names = [identity(result) for result in results]
        outcomes: dict[int, Outcome] = {}
        before = {place: self._waiting[name] for place, name in enumerate(names) if name in self._waiting}
        if before:
            done = self._acknowledged(set(before.values()))
            outcomes |= {place: Outcome(sent=Sent.YES) for place, receipt in before.items() if receipt in done}
            for place in before:  # what is not acknowledged by now is sent again
                del self._waiting[names[place]]
        left = [place for place in range(len(results)) if place not in outcomes]
        receipts: dict[int, int] = {}
        for first in range(0, len(left), self._settings.batch):
            if not self._batch(results, left[first : first + self._settings.batch], outcomes, receipts):
                break
        self._wait(names, receipts, outcomes)
        later = Outcome(sent=Sent.NO, why="not sent yet: an earlier batch was not taken")
        return [outcomes.get(place, later) for place in range(len(results))]

    def _batch(
        self, results: Sequence[CheckResult], places: Sequence[int], outcomes: dict[int, Outcome], receipts: dict[int, int]
    ) -> bool:
        """Send some; an event that is refused is left out and the others sent again. False when nothing more should be sent."""
        lines = {place: self._event(results[place]) for place in places}
        for place in [place for place, line in lines.items() if len(line) > MOST_BYTES]:
            outcomes[place] = Outcome(sent=Sent.NO, why=f"the event has {len(lines.pop(place))} bytes")
        for _ in range(REFUSALS):
            chosen, size = [], 0
            for place, line in lines.items():
                size += len(line)
                if size > MOST_BYTES:
                    break
                chosen.append(place)
            if not chosen:
                return True
            try:
                said = self._post(b"\n".join(lines[place] for place in chosen))
            except (TransientError, PermanentError) as error:
                outcomes |= dict.fromkeys(lines, Outcome(sent=Sent.UNKNOWN, why=str(error)))
                return False
            if said.status == 200 and said.code in (0, None):
                for place in chosen:
                    del lines[place]
                    if said.receipt is not None:
                        receipts[place] = said.receipt
                    elif self._settings.acknowledge:
                        outcomes[place] = Outcome(sent=Sent.UNKNOWN, why=f"{self._http.place}: {_MEANING[14]}")
                    else:
                        outcomes[place] = Outcome(sent=Sent.YES)
            elif said.code in _OF_ONE and said.number is not None and said.number < len(chosen):
                refused = chosen[said.number]
                outcomes[refused] = Outcome(sent=Sent.NO, why=self._why(said))
                del lines[refused]
            else:
                kind = Sent.UNKNOWN if said.status >= 500 and said.code is None else Sent.NO
                outcomes |= dict.fromkeys(lines, Outcome(sent=kind, why=self._why(said)))
                return False
        outcomes |= dict.fromkeys(lines, Outcome(sent=Sent.NO, why="not sent yet: too many neighbours were refused"))
        return True

    def _wait(self, names: Sequence[str], receipts: Mapping[int, int], outcomes: dict[int, Outcome]) -> None:
        """Ask for acknowledgements for a moment; the rest is asked for at the next pass."""
        open_: set[int] = set(receipts.values())
        for pause in PATIENCE:
            if not open_:
                break
            self._sleep(pause)
            open_ -= self._acknowledged(open_)
        for place, receipt in receipts.items():
            if receipt not in open_:
                outcomes[place] = Outcome(sent=Sent.YES)
                continue
            outcomes[place] = Outcome(sent=Sent.UNKNOWN, why=f"{self._http.place}: taken, and not yet acknowledged as indexed")
            self._waiting[names[place]] = receipt
        while len(self._waiting) > REMEMBERED:
            del self._waiting[next(iter(self._waiting))]

    def _acknowledged(self, receipts: set[int]) -> set[int]:
        """Which of the batches are indexed; none when the collector cannot tell now."""
        try:
            answer = self._ask(ACK, json.dumps({"acks": sorted(receipts)}).encode(), "acknowledgement")
            found = answer.json() if answer.status == 200 else {}
        except (TransientError, PermanentError):
            return set()
        acks = found.get("acks") if isinstance(found, dict) else None
        return {receipt for receipt in receipts if isinstance(acks, dict) and acks.get(str(receipt)) is True}

    def _post(self, body: bytes) -> Said:
        return understood(self._ask(EVENT, body, "events"))

    def _ask(self, path: str, body: bytes, what: str) -> Answer:
        token = self._settings.token.reveal()
        headers = {
            "authorization": f"Splunk {token}",
            "x-splunk-request-channel": self._channel,
            "content-type": "application/json",
        }
        return self._http.ask("POST", path, what, content=body, headers=headers, hide=[token], accept=EVERY_STATUS)

    def _event(self, result: CheckResult) -> bytes:
        facts: dict[str, Any] = {key: value for key, value in spelled(result).items() if key != "host"}
        facts["perf"] = [one for one in facts["perf"] if math.isfinite(one["value"])]  # JSON has no NaN
        event = {
            "time": result.at,
            "host": result.service.host,
            "source": self._settings.source,
            "sourcetype": self._settings.sourcetype,
            "event": {**facts, "state": result.code.name},
            "fields": {"tocsin_id": identity(result), "tocsin_state": result.code.name},
        }
        if self._settings.index is not None:
            event["index"] = self._settings.index
        return json.dumps(event, ensure_ascii=True).encode()

    def _why(self, said: Said) -> str:
        meaning = _MEANING.get(said.code) if said.code is not None else None
        if meaning is None:
            meaning = said.text or "without a word of the collector's own: is this its address, port 8088?"
        return f"{self._http.place}: events: answered {said.status}: {meaning}"


def identity(result: CheckResult) -> str:
    """The same for the same result, however often it is sent."""
    parts = (result.service.host, result.service.service, str(int(result.code)), str(result.at), result.text)
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:24]


def understood(answer: Answer) -> Said:
    """`{"text":"Invalid data format","code":6,"invalid-event-number":1}`; a proxy's page has none of it."""
    try:
        found = json.loads(answer.body[:65_536])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return Said(answer.status, None if answer.status != 200 else -1)

    def whole(name: str) -> int | None:
        value = found.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    return Said(answer.status, whole("code"), whole("invalid-event-number"), whole("ackId"), clean(str(found.get("text", ""))))


PLUGIN = Plugin(
    name="hec",
    summary="Splunk's HTTP Event Collector, acknowledged",
    settings=HecSettings,
    build=lambda settings, _surroundings: Hec(settings),
)
