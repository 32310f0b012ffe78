"""What stands above what: parents in the supervising system, `depends_on` of the configuration, and the groups of hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from tocsin.model import HostFacts

PARENT, DEPENDENCY = "inhibit", "dependency"
DEEPEST = 20
"""Steps upwards at most; what was configured in a circle ends here too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Above:
    """Something a component depends on: how many steps up, and the stage that a trouble there is (`inhibit`, `dependency`)."""

    name: str
    steps: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Hosts by name, and per component type what its components (patterns) depend on."""

    hosts: Mapping[str, HostFacts] = field(default_factory=dict)
    depends_on: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = field(default_factory=dict)

    def above(self, component_type: str, component: str, host: str) -> Sequence[Above]:
        """Everything a component depends on, nearest first, each name once; never itself."""
        here = {component, host}
        found: dict[str, Above] = {}
        queue = [(name, 1, DEPENDENCY) for name in self._needs(component_type, component)]
        queue += [(name, 1, PARENT) for name in self._parents(host)]
        for name, steps, stage in queue:  # grows while it is walked through
            if name in here or name in found or steps > DEEPEST:
                continue
            found[name] = Above(name=name, steps=steps, stage=stage)
            queue += [(other, steps + 1, stage) for other in self._parents(name)]
        return sorted(found.values(), key=lambda one: (one.steps, one.name))

    def groups(self, host: str) -> tuple[str, ...]:
        """The groups of a host."""
        facts = self.hosts.get(host)
        return facts.groups if facts is not None else ()

    @cached_property
    def group_sizes(self) -> Mapping[str, int]:
        """How many hosts each group has."""
        sizes: dict[str, int] = {}
        for facts in self.hosts.values():
            for group in facts.groups:
                sizes[group] = sizes.get(group, 0) + 1
        return sizes

    def _parents(self, host: str) -> tuple[str, ...]:
        facts = self.hosts.get(host)
        return facts.parents if facts is not None else ()

    def _needs(self, component_type: str, component: str) -> Iterator[str]:
        for pattern, names in self.depends_on.get(component_type, ()):
            if fnmatchcase(component, pattern):
                yield from names
