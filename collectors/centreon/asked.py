"""The door through the Web API: one request per service and tick, for sites that do not let anybody into the database.

The download of raw rows has traps. An empty answer is an error that came too late to be told. A 0 may be none: it stands where
another metric of the service has a row and this one has not. So a 0 beside other values is held against the graph's averages,
for a service at most once an hour as long as none was found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from collectors.centreon.naming import Names
from collectors.centreon.settings import CentreonSettings
from collectors.manners import Manners
from tocsin.centreon.api import Api
from tocsin.centreon.resources import Resource, Series, download, metrics, performance, resources
from tocsin.centreon.storage import DEFAULT_INTERVAL, NO_VALUE, Poller, Samples, StoredMetric, threshold
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Refused
from tocsin.model import Floats, Ints, utc

T = TypeVar("T")

MOST_SERVICES = 300
"""Services that are read through this door: half of what a minute has room for at ten requests per second."""
PER_SERVICE = 1_000
"""Metrics of a service, at most."""
TRUSTED, REMEMBERED = 3_600, 21_600
"""Seconds: how long zeros are believed after they were looked into, and the metrics of a service after they were listed."""
SCOUTS, HISTORY = 3, 190 * 86_400


class ApiDoor:
    """A request at a time, in the manners given."""

    def __init__(self, settings: CentreonSettings, manners: Manners, now: Callable[[], float]) -> None:
        assert settings.api is not None
        self._settings, self._manners, self._now = settings, manners, now
        self._api, self._names = Api(settings.api), Names(settings)
        self.place, self.warnings = self._api.place, self._api.warnings
        self._trusted: dict[tuple[int, int], float] = {}
        self._listed: dict[tuple[int, int], tuple[float, Sequence[StoredMetric]]] = {}
        self._rows = 0

    def metrics(self, wanted: Callable[[StoredMetric], bool]) -> list[StoredMetric]:
        listed = self._ask(lambda: list(self._listing()))
        services = [one for one in listed if one.service_id is not None and self._names.checks(one.host, one.service)]
        if len(services) > MOST_SERVICES:
            raise PermanentError(
                f"{self.place}: {len(services)} services fit, and through the API each costs a request at every tick: at most "
                f"{MOST_SERVICES}; pick fewer with hosts and services, or use the other door, database:"
            )
        numbers = {poller.name: poller.id for poller in self.pollers().values()}
        found: list[StoredMetric] = []
        for place, service in enumerate(sorted(services, key=lambda one: (one.host_id, one.service_id or 0))):
            for number, metric in enumerate(self._remembered(service, numbers.get(service.poller, 0))[:PER_SERVICE]):
                named = replace(metric, id=place * PER_SERVICE + number)
                if wanted(named):
                    found.append(named)
        most = self._settings.limits.max_series
        if len(found) > most:
            self._manners.partial(f"{self.place}: {len(found)} metrics fit, only the first {most} are read (limits.max_series)")
        return found[:most]

    def portions(self, metrics: Sequence[StoredMetric], seconds: int) -> Iterator[slice]:
        edges = [place for place in range(1, len(metrics)) if _service(metrics[place]) != _service(metrics[place - 1])]
        yield from map(slice, [0, *edges], [*edges, len(metrics)])

    def samples(self, metrics: Sequence[StoredMetric], start: int, end: int) -> Samples:
        service = _service(metrics[0])
        series = self._ask(lambda: self._read(service, start, end, metrics[0].interval))
        parts: list[tuple[Ints, Ints, Floats]] = []
        for metric in metrics:
            times, values = series.get(metric.name, (np.zeros(0, np.int64), np.zeros(0)))
            inside = (times >= start) & (times < end)
            parts.append((np.full(int(inside.sum()), metric.id, np.int64), times[inside], values[inside]))
        ids, when, what = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._rows += len(ids)
        self._manners.got(rows=len(ids))
        return Samples(ids, when, np.where(np.isnan(what), NO_VALUE, what))

    def pollers(self) -> Mapping[int, Poller]:
        def read() -> dict[int, Poller]:
            items = self._api.pages("/monitoring/servers", "state of the pollers", sort_by="id", limit=1_000)
            engines = [
                Poller(
                    id=item["id"],
                    name=str(item.get("name") or ""),
                    running=bool(item.get("is_running", item.get("running"))),
                    last_alive=item["last_alive"] if isinstance(item.get("last_alive"), int) else 0,
                )
                for item in items
                if isinstance(item.get("id"), int)
            ]
            return {engine.id: engine for engine in engines}

        return self._ask(read)

    def reach(self, metrics: Sequence[StoredMetric]) -> tuple[int, int] | None:
        """As three of the services have it: more would cost too much."""
        services = sorted({_service(metric) for metric in metrics})
        wanted = {metric.name for metric in metrics}
        now = int(self._now())
        times: list[int] = []
        for service in services[:: max(1, len(services) // SCOUTS)][:SCOUTS]:
            series = self._ask(lambda service=service: self._raw(service, now - HISTORY, now + 1))  # type: ignore[misc]
            for name, (when, values) in (series or {}).items():
                there = when[np.isfinite(values)]
                if name in wanted and len(there):
                    times += [int(there.min()), int(there.max())]
        return (min(times), max(times)) if times else None

    def version(self) -> str:
        return f"Centreon Web {self._ask(self._api.version)} ({self.place})"

    def rights(self) -> tuple[Sequence[str], Sequence[str]]:
        """What can be seen; the API does not tell an account's rights."""
        seen = self._ask(lambda: len(list(resources(self._api, types=("host",), limit=1))))
        blind = "no host can be seen: the account needs access to resources (ACL), and Reach API Realtime"
        return ["resources can be listed"] if seen else [], [] if seen else [blind]

    def clock(self) -> float | None:
        return None

    def usage(self) -> tuple[int, int, int]:
        return self._api.usage.requests, self._rows, self._api.usage.read

    def close(self) -> None:
        self._api.close()

    def _listing(self) -> Iterator[Resource]:
        own = self._settings
        filters: dict[str, Sequence[str | int]] = {
            "hostgroup_names": own.host_groups,
            "servicegroup_names": own.service_groups,
            "host_category_names": own.host_categories,
            "service_category_names": own.service_categories,
            "host_severity_levels": _levels(own.host_severity),
            "service_severity_levels": _levels(own.service_severity),
        }
        search = None
        if own.hosts.include:
            patterns = [pattern.replace("%", r"\%").replace("*", "%").replace("?", "_") for pattern in own.hosts.include]
            search = {"$or": [{"parent_name": {"$lk": pattern}} for pattern in patterns]}
        chosen = {name: values for name, values in filters.items() if values}
        # Two more than may be: enough to count that they are too many for this door.
        return resources(self._api, search=search, filters=chosen, limit=max(20_000, 10 * MOST_SERVICES))

    def _remembered(self, service: Resource, poller: int) -> Sequence[StoredMetric]:
        """The metrics of a service; listed anew when that is long ago, or when its values had one that was not there."""
        key = (service.host_id, service.service_id or 0)
        asked_at, metrics = self._listed.get(key, (-np.inf, ()))
        if self._now() - asked_at >= REMEMBERED:
            metrics = self._of(service, poller)
            self._listed[key] = self._now(), metrics
        return metrics

    def _of(self, service: Resource, poller: int) -> list[StoredMetric]:
        """The metrics of a service: what the last hour's rows hold, with the thresholds the listing gives."""
        assert service.service_id is not None
        key = (service.host_id, service.service_id)
        now = int(self._now())
        raw = self._ask(lambda: self._raw(key, now - 3_600, now + 1)) or {}
        known = {str(item["name"]): item for item in self._ask(lambda: self._thresholds(key))}
        times = np.unique(np.concatenate([np.zeros(0, np.int64), *(when for when, _ in raw.values())]))
        interval = int(np.median(np.diff(times))) if len(times) > 2 else DEFAULT_INTERVAL
        return [
            StoredMetric(
                id=0,
                host=service.host,
                service=service.service,
                name=name,
                host_id=service.host_id,
                service_id=service.service_id,
                poller=poller,
                interval=max(interval, 10),
                unit=str(known.get(name, {}).get("unit") or ""),
                warning=_limit(known.get(name, {}), "warning"),
                critical=_limit(known.get(name, {}), "critical"),
            )
            for name in sorted({*raw, *known})
        ]

    def _thresholds(self, key: tuple[int, int]) -> list[dict[str, object]]:
        try:
            return metrics(self._api, *key)
        except Refused as error:
            if error.status == 404:  # before 24.04
                return []
            raise

    def _raw(self, key: tuple[int, int], start: int, end: int) -> Series | None:
        return download(self._api, *key, _iso(start), _iso(end))

    def _read(self, key: tuple[int, int], start: int, end: int, interval: int) -> Series:
        """Raw rows without the zeros that are none; where there are no rows at all, the graph's averages."""
        raw = self._raw(key, start, end)
        if raw is None:
            drawn = performance(self._api, *key, _iso(start), _iso(end))
            if not any(np.isfinite(values).any() for _, values in drawn.values()):
                raise TransientError(
                    f"{self.place}: raw values of a service: an empty answer, which is how Centreon tells an error"
                )
            return drawn
        if key in self._listed and set(raw) - {metric.name for metric in self._listed[key][1]}:
            del self._listed[key]
        if not _doubtful(raw) or self._now() - self._trusted.get(key, -np.inf) < TRUSTED:
            return raw
        drawn = performance(self._api, *key, _iso(start), _iso(end + interval))
        honest = {
            name: (times, _without_fakes(times, values, drawn.get(name), interval)) for name, (times, values) in raw.items()
        }
        if all(np.array_equal(honest[name][1], raw[name][1], equal_nan=True) for name in raw):
            self._trusted[key] = self._now()
        return honest

    def _ask(self, work: Callable[[], T]) -> T:
        return self._manners.call(lambda _: work())


def _service(metric: StoredMetric) -> tuple[int, int]:
    return metric.host_id, metric.service_id


def _levels(most: int | None) -> Sequence[int]:
    """The API takes a list of levels; Centreon's go from 0 to 100 or so."""
    return () if most is None else range(min(most, 1_000) + 1)


def _limit(item: Mapping[str, object], which: str) -> str:
    low, high = item.get(f"{which}_low_threshold"), item.get(f"{which}_high_threshold")
    return threshold(_float(low), _float(high), inside=False)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _iso(seconds: int) -> str:
    return utc(seconds).isoformat()


def _doubtful(raw: Series) -> bool:
    """Whether a 0 stands at a time at which another metric has another value."""
    if len(raw) < 2:
        return False
    table = np.array([values for _, values in raw.values()])
    zero = table == 0
    return bool((zero.any(axis=0) & ~zero.all(axis=0)).any())


def _without_fakes(times: Ints, values: Floats, drawn: tuple[Ints, Floats] | None, interval: int) -> Floats:
    """Zeros near which the graph has nothing are no values."""
    there = np.zeros(0, np.int64) if drawn is None else np.sort(drawn[0][np.isfinite(drawn[1])])
    reach = max(interval, 60)
    near = np.searchsorted(there, times + reach, side="right") > np.searchsorted(there, times - reach)
    return np.where((values == 0) & ~near, np.nan, values)
