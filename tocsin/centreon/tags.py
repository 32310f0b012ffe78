"""Groups, categories and severities as Centreon's database keeps them: tags on resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.centreon.database import Database

SERVICE_GROUP, HOST_GROUP, SERVICE_CATEGORY, HOST_CATEGORY = range(4)
OF_SERVICE, OF_HOST = 0, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """What a host or service must be marked with; of several names of one kind one is enough. Levels: at most this one."""

    host_groups: Sequence[str] = ()
    service_groups: Sequence[str] = ()
    host_categories: Sequence[str] = ()
    service_categories: Sequence[str] = ()
    host_severity: int | None = None
    service_severity: int | None = None

    @property
    def any(self) -> bool:
        """Whether anything is asked."""
        return bool(self.of_hosts or self.of_services or self.host_severity is not None or self.service_severity is not None)

    @property
    def of_hosts(self) -> list[tuple[int, Sequence[str]]]:
        """Kinds of tags on hosts, and the names of which one is needed."""
        return [(kind, names) for kind, names in ((HOST_GROUP, self.host_groups), (HOST_CATEGORY, self.host_categories)) if names]

    @property
    def of_services(self) -> list[tuple[int, Sequence[str]]]:
        """The same for services."""
        both = ((SERVICE_GROUP, self.service_groups), (SERVICE_CATEGORY, self.service_categories))
        return [(kind, names) for kind, names in both if names]


@dataclass(frozen=True, slots=True)
class Marked:
    """The hosts and services that carry all of the marks; None where none was asked."""

    hosts: frozenset[int] | None
    services: frozenset[tuple[int, int]] | None

    def fits(self, host: int, service: int) -> bool:
        """Whether this service of this host does."""
        return (self.hosts is None or host in self.hosts) and (self.services is None or (host, service) in self.services)


def marks(database: Database, wanted: Marks) -> Marked:
    """Who carries what is wanted: one statement for each kind of mark that is."""
    hosts: set[int] | None = None
    services: set[tuple[int, int]] | None = None
    for kind, names in wanted.of_hosts:
        found = {host for host, _ in _tagged(database, kind, names, OF_HOST)}
        hosts = found if hosts is None else hosts & found
    for kind, names in wanted.of_services:
        pairs = {(host, service) for service, host in _tagged(database, kind, names, OF_SERVICE)}
        services = pairs if services is None else services & pairs
    if wanted.host_severity is not None:
        found = {host for host, _ in _severe(database, wanted.host_severity, OF_HOST)}
        hosts = found if hosts is None else hosts & found
    if wanted.service_severity is not None:
        pairs = {(host, service) for service, host in _severe(database, wanted.service_severity, OF_SERVICE)}
        services = pairs if services is None else services & pairs
    return Marked(None if hosts is None else frozenset(hosts), None if services is None else frozenset(services))


def _tagged(database: Database, kind: int, names: Sequence[str], of: int) -> set[tuple[int, int]]:
    sql = (
        "SELECT r.id, r.parent_id FROM tags t JOIN resources_tags rt ON rt.tag_id = t.tag_id"  # noqa: S608
        " JOIN resources r ON r.resource_id = rt.resource_id"
        f" WHERE t.type = %s AND t.name IN ({','.join(['%s'] * len(names))}) AND r.type = %s AND r.enabled = 1"
    )
    return {(int(own), int(parent)) for own, parent in database.rows("groups and categories", sql, (kind, *names, of))}


def _severe(database: Database, level: int, of: int) -> set[tuple[int, int]]:
    sql = (
        "SELECT r.id, r.parent_id FROM resources r JOIN severities s ON s.severity_id = r.severity_id"
        " WHERE r.type = %s AND r.enabled = 1 AND s.level <= %s"
    )
    return {(int(own), int(parent)) for own, parent in database.rows("severities", sql, (of, level))}
