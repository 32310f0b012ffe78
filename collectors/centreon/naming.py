"""What a metric of Centreon is called here, and which ones a person picked.

    host srv-1, service Disk-/, metric /var#storage.space.usage.bytes
    component: host           srv-1           Disk-/ /var#storage.space.usage.bytes   (service and metric, a blank between)
    component: host/service   srv-1/Disk-/    /var#storage.space.usage.bytes
    component: host/instance  srv-1//var      storage.space.usage.bytes

A metric that has a name in the YAML is called by that. Several metrics of one component may share it (`*#core.cpu.usage`):
then their values are combined as the metric's aggregate says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from collectors.centreon.settings import CentreonSettings, Pick
from tocsin.model import SeriesKey

LONGEST_NAME = 255


def globs(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name matches one of the patterns as a whole; only `*` and `?` are special, and case counts."""
    parts = ["".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern) for pattern in patterns]
    compiled = re.compile("|".join(f"(?:{part})" for part in parts), re.DOTALL) if parts else None
    return lru_cache(100_000)(lambda name: compiled is not None and compiled.fullmatch(name) is not None)


def picked(pick: Pick) -> Callable[[str], bool]:
    """Whether a name is included and not excluded."""
    include, exclude = globs(pick.include or ("*",)), globs(pick.exclude)
    return lambda name: include(name) and not exclude(name)


def instance_of(metric: str) -> tuple[str, str]:
    """`eth0#interface.traffic.in.bitspersecond` → its instance and its name; no instance for a name without `#`."""
    instance, mark, name = metric.rpartition("#")
    return (instance, name) if mark else ("", metric)


def is_name(text: str) -> bool:
    """Whether it can name a component or metric: printable, not blank, at most 255 characters."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and not text.isspace()


class Names:
    """How metrics of Centreon become keys."""

    def __init__(self, settings: CentreonSettings) -> None:
        self._component = settings.component
        self._host, self._service = picked(settings.hosts), picked(settings.services)
        self._label = picked(settings.perfdata)
        self._wanted: Mapping[str, str] = settings.fields
        self._fields: Sequence[tuple[str, Callable[[str], bool]]] = [
            (name, globs([field])) for name, field in settings.fields.items()
        ]
        self._named = lru_cache(100_000)(self._name)

    def checks(self, host: str, service: str) -> bool:
        """Whether metrics of this service may be wanted."""
        return self._host(host) and self._service(service)

    def key(self, host: str, service: str, metric: str) -> SeriesKey | None:
        """The key of a metric, None for one that nobody wants or that cannot be named."""
        if not (self.checks(host, service) and self._label(metric)):
            return None
        instance, own = instance_of(metric)
        if self._component == "host/service":
            component, called = f"{host}/{service}", metric
        elif self._component == "host/instance":
            component, called = f"{host}/{instance or service}", own
        else:
            component, called = host, f"{service} {metric}"
        if self._wanted:
            called = self._named(service, metric, own)
        return SeriesKey(component, called) if is_name(component) and is_name(called) else None

    def _name(self, service: str, metric: str, own: str) -> str:
        """The YAML's name for it: the first field that matches the metric, or service and metric, or its name without instance.

        The empty text where there is none.
        """
        tries = (metric, f"{service} {metric}") if self._component != "host/instance" else (metric, f"{service} {metric}", own)
        for name, matches in self._fields:
            if any(matches(attempt) for attempt in tries):
                return name
        return ""
