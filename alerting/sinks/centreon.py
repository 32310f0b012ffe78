"""Centreon's Web API, from anywhere: v2 by ids and without a time, v1 by names and with one.

Both only spool: Centreon writes what it was given into a folder of the central server, and says yes also to what the
engine will drop. So what is shown is read back, from the listing of resources, and that alone confirms.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import Field

from alerting.line import result_fields
from tocsin.centreon.api import Api, ApiSettings
from tocsin.centreon.resources import Resource, resources
from tocsin.centreon.submit import ById, ByName, submit, submit_v1
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Refused
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Severity, Shown
from tocsin.ports import Plugin
from tocsin.settings import Settings

MOST_SECONDS = 5.0
"""How long one pass may send; what is left comes again in the next."""
FORGET_ABSENT = 60.0
"""Seconds after which a service that did not exist is looked for again."""
_NAMES_AT_ONCE = 20
_NAMES_WORTH_NAMING = 200
"""More distinct service names than this, and the whole listing is read."""
_TAKEN = 202


class CentreonSettings(Settings):
    """`use: centreon-api` (v2) or `use: centreon-api-v1`."""

    api: ApiSettings
    batch: int = Field(100, ge=1, le=1000, description="results per request")


class _WebApi:
    """What both have in common: the session, cleaning, what to do with a refused batch, and reading back."""

    reads_back = True

    def __init__(
        self, settings: CentreonSettings, clock: Callable[[], float] = time.time, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock, self._timer = settings, clock, timer
        self._api = Api(settings.api)
        self._ids: dict[ServiceKey, tuple[int, int]] = {}
        self._absent: dict[ServiceKey, float] = {}

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes" means: in the spool of the central server."""
        outcomes: list[Outcome | None] = [None] * len(results)
        going: list[int] = []
        said: dict[int, tuple[str, str]] = {}
        for place, result in enumerate(results):
            try:
                text, perf = result_fields(result)
                said[place] = text.replace("\\n", " / "), perf  # the API takes no backslash, so no second line
                going.append(place)
            except ValueError as error:
                outcomes[place] = Outcome(sent=Sent.NO, why=str(error))
        begin, trouble = self._timer(), ""
        for first in range(0, len(going), self._settings.batch):
            part = going[first : first + self._settings.batch]
            if trouble or self._timer() - begin > MOST_SECONDS:
                why = trouble or "not sent yet: Centreon is slow"
                outcomes = [Outcome(sent=Sent.NO, why=why) if outcome is None else outcome for outcome in outcomes]
                break
            answers = self._batch({place: (results[place], *said[place]) for place in part}, begin)
            for place, answer in answers.items():
                outcomes[place] = answer
            # A server that does not answer one batch is not asked for the next: the rest would wait as long.
            trouble = next((answer.why for answer in answers.values() if answer.sent is Sent.UNKNOWN), "")
        return [outcome or Outcome(sent=Sent.NO, why="not sent yet") for outcome in outcomes]

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """As `Sink` promises. Times are told as ages, so they are ours whatever Centreon's clock says."""
        if not services:
            return []
        wanted = set(services)
        try:
            found = dict(self._listed(wanted))
        except PermanentError as error:
            raise TransientError(str(error)) from error
        now = int(self._clock())
        return [_shown(key, one, now) for key, one in found.items()]

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: logs in and lists, sends nothing."""
        version = self._api.version()
        listed = list(resources(self._api, limit=3))
        samples = tuple(f"{one.host} / {one.service}: {one.text}"[:120] for one in listed)
        rights = [self._promise(), "may list resources"]
        warnings = list(self._api.warnings)
        if not listed:
            warnings.append("no service is listed: the account needs access to the hosts' resources (ACL), or there is none yet")
        if any(not one.passive for one in listed):
            warnings.append("some services do not accept passive checks: `tocsin provision audit` tells which of ours")
        return Probe(
            version=f"Centreon {version} at {self._api.place}", rights=tuple(rights), samples=samples, warnings=tuple(warnings)
        )

    def close(self) -> None:
        """Give back the connections."""
        self._api.close()

    @abstractmethod
    def _promise(self) -> str: ...

    @abstractmethod
    def _batch(self, part: Mapping[int, tuple[CheckResult, str, str]], begin: float) -> dict[int, Outcome]:
        """What became of each result (by its place): result, output, perfdata."""

    def _listed(self, wanted: set[ServiceKey]) -> Iterator[tuple[ServiceKey, Resource]]:
        """The services among those wanted that exist; what is learnt of their ids on the way is kept."""
        names = sorted({key.service for key in wanted})
        if len(names) > _NAMES_WORTH_NAMING:
            searches: list[Mapping[str, object] | None] = [None]
        else:
            groups = [names[first : first + _NAMES_AT_ONCE] for first in range(0, len(names), _NAMES_AT_ONCE)]
            searches = [{"$or": [{"s.description": {"$eq": name}} for name in group]} for group in groups]
        for search in searches:
            for one in resources(self._api, search=search):
                key = ServiceKey(one.host, one.service)
                if key in wanted and one.service_id is not None:
                    self._ids[key] = one.host_id, one.service_id
                    self._absent.pop(key, None)
                    yield key, one


class CentreonApi(_WebApi):
    """v2. One unknown service ends a batch in its middle, and which one is not told: the batch is halved until it is found."""

    def _promise(self) -> str:
        return '"yes" means: spooled on the central server; what is shown is read back; Centreon\'s clock dates the results'

    def _batch(self, part: Mapping[int, tuple[CheckResult, str, str]], begin: float) -> dict[int, Outcome]:
        try:
            self._resolve({result.service for result, _, _ in part.values()})
        except PermanentError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.NO, why=str(error)))
        except TransientError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.UNKNOWN, why=str(error)))
        there = {place: one for place, one in part.items() if one[0].service in self._ids}
        absent = Outcome(sent=Sent.NO, why="Centreon lists no such service: does it exist, and may the account see it?")
        return {**dict.fromkeys(part, absent), **self._submit(there, begin)}

    def _resolve(self, services: set[ServiceKey]) -> None:
        now = self._timer()
        unknown = {key for key in services - self._ids.keys() if now - self._absent.get(key, -FORGET_ABSENT) >= FORGET_ABSENT}
        if unknown:
            found = {key for key, _ in self._listed(unknown)}
            self._absent.update(dict.fromkeys(unknown - found, now))

    def _submit(self, part: Mapping[int, tuple[CheckResult, str, str]], begin: float) -> dict[int, Outcome]:
        if not part:
            return {}
        items = [
            ById(
                host_id=self._ids[result.service][0],
                service_id=self._ids[result.service][1],
                code=int(result.code),
                output=text,
                perfdata=perf,
            )
            for result, text, perf in part.values()
        ]
        try:
            submit(self._api, items)
        except Refused as error:
            return self._refused(part, error, begin)
        except PermanentError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.NO, why=str(error)))
        except TransientError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.UNKNOWN, why=str(error)))
        return dict.fromkeys(part, Outcome(sent=Sent.YES))

    def _refused(self, part: Mapping[int, tuple[CheckResult, str, str]], error: Refused, begin: float) -> dict[int, Outcome]:
        # 401 and 403 hold for the account; 404 and what the schema does not like hold for one of the batch.
        if error.status in (401, 403) or self._timer() - begin > MOST_SECONDS:
            return dict.fromkeys(part, Outcome(sent=Sent.NO, why=str(error)))
        if len(part) == 1:
            for result, _, _ in part.values():
                self._ids.pop(result.service, None)  # its id may be that of a service that was made anew
            return dict.fromkeys(part, Outcome(sent=Sent.NO, why=str(error)))
        places = list(part)
        middle = len(places) // 2
        halves = ({place: part[place] for place in some} for some in (places[:middle], places[middle:]))
        return {place: outcome for half in halves for place, outcome in self._submit(half, begin).items()}


class CentreonApiV1(_WebApi):
    """v1. Each result is answered by itself, and keeps its own time."""

    def _promise(self) -> str:
        return '"yes" means: spooled on the central server; what is shown is read back; results keep their own time'

    def _batch(self, part: Mapping[int, tuple[CheckResult, str, str]], begin: float) -> dict[int, Outcome]:
        items = [
            ByName(
                host=result.service.host,
                service=result.service.service,
                code=int(result.code),
                output=text,
                perfdata=perf,
                at=result.at,
            )
            for result, text, perf in part.values()
        ]
        try:
            answers = submit_v1(self._api, items)
        except PermanentError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.NO, why=str(error)))
        except TransientError as error:
            return dict.fromkeys(part, Outcome(sent=Sent.UNKNOWN, why=str(error)))
        return {
            place: Outcome(sent=Sent.YES) if code == _TAKEN else Outcome(sent=Sent.NO, why=f"Centreon refused it: {code} {words}")
            for place, (code, words) in zip(part, answers, strict=True)
        }


def _shown(key: ServiceKey, one: Resource, now: int) -> Shown:
    checked = one.age is not None and 0 <= one.code <= 3
    return Shown(
        service=key,
        code=Severity(one.code) if checked else None,
        text=one.text,
        last_check=now - one.age if one.age is not None else 0,
    )


V2 = Plugin(
    name="centreon-api",
    summary="Centreon's Web API v2; ids, read back, Centreon's clock",
    settings=CentreonSettings,
    build=lambda settings, _surroundings: CentreonApi(settings),
)
V1 = Plugin(
    name="centreon-api-v1",
    summary="Centreon's older API; names, own time stamps, an answer for each result, read back through v2",
    settings=CentreonSettings,
    build=lambda settings, _surroundings: CentreonApiV1(settings),
)
