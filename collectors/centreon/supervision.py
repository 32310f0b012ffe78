"""What Centreon knows of hosts and of what people did there: the supervising system, through either door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from collectors.centreon.settings import Glob
from collectors.manners import Manners, MannersSettings
from tocsin.centreon import people, seen
from tocsin.centreon.api import Api, ApiSettings
from tocsin.centreon.database import Database, DatabaseSettings
from tocsin.model import Downtime, HostFacts, Remark
from tocsin.ports import Plugin
from tocsin.settings import Settings


class SupervisionSettings(Settings):
    """Centreon as the supervising system: hosts, downtimes, acknowledgements, comments, closings by hand.

    `closings` are the services of which a change to OK by hand is told, such as those that Tocsin writes to. Parents of hosts
    are known to the database only.
    """

    database: DatabaseSettings | None = None
    api: ApiSettings | None = None
    closings: Annotated[tuple[Glob, ...], Field(max_length=50)] = ("Anomaly-*",)
    limits: MannersSettings = Field({}, validate_default=True)

    @model_validator(mode="after")
    def _one_door(self) -> Self:
        if (self.database is None) == (self.api is None):
            raise ValueError("expected database or api: one of the two doors into Centreon")
        return self


class DatabaseSupervision:
    """Through the database: a few statements for everything."""

    def __init__(self, settings: SupervisionSettings) -> None:
        assert settings.database is not None
        self._settings, self._database = settings, Database(settings.database)
        self.manners = Manners(settings.limits)

    def hosts(self) -> Mapping[str, HostFacts]:
        """Every host by name."""
        return self.manners.call(lambda _: people.hosts(self._database))

    def downtimes(self, start: float, end: float) -> Sequence[Downtime]:
        """Downtimes in effect within [start, end)."""
        return self.manners.call(lambda _: list(people.downtimes(self._database, int(start), int(end))))

    def remarks(self, since: float) -> Sequence[Remark]:
        """What people did since then."""
        return self.manners.call(lambda _: people.remarks(self._database, int(since), self._settings.closings))

    def close(self) -> None:
        """Give back the connection."""
        self._database.close()


class ApiSupervision:
    """Through the Web API: a request per page, per host group and per service that somebody may have touched."""

    def __init__(self, settings: SupervisionSettings) -> None:
        assert settings.api is not None
        self._settings, self._api = settings, Api(settings.api)
        self.manners = Manners(settings.limits)

    def hosts(self) -> Mapping[str, HostFacts]:
        """Every host by name; without parents, which the API does not tell."""
        return self.manners.call(lambda _: seen.hosts(self._api))

    def downtimes(self, start: float, end: float) -> Sequence[Downtime]:
        """Downtimes in effect within [start, end)."""
        return self.manners.call(lambda _: seen.downtimes(self._api, start, end))

    def remarks(self, since: float) -> Sequence[Remark]:
        """What people did since then."""
        return self.manners.call(lambda _: seen.remarks(self._api, since, self._settings.closings))

    def close(self) -> None:
        """Give back the connections."""
        self._api.close()


def build(settings: SupervisionSettings, surroundings: None) -> DatabaseSupervision | ApiSupervision:
    """The supervising system behind the door that was written."""
    del surroundings
    return DatabaseSupervision(settings) if settings.database is not None else ApiSupervision(settings)


PLUGIN = Plugin(
    name="centreon",
    summary="hosts, downtimes, acknowledgements and comments of Centreon, from its database or its Web API",
    settings=SupervisionSettings,
    build=build,
)
