"""Plugins by name. Built-in parts and other people's come in by the same door: an entry point whose value is a `Plugin`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from tocsin.errors import did_you_mean
from tocsin.ports import Plugin

GROUPS = ("collectors", "detectors", "sinks", "supervisions")


def names(group: str) -> tuple[str, ...]:
    """Every name of a group, sorted. Nothing is imported, so a broken plugin is listed too."""
    return tuple(sorted(_declared(group, tuple(sys.path))))


def find(group: str, name: str) -> Plugin:
    """The plugin of that name; only its own module is imported.

    Raises ValueError with one sentence when there is none, when it does not load, or when it is not a `Plugin`.
    """
    what = group.removesuffix("s")
    declared = _declared(group, tuple(sys.path))
    if not declared:
        raise ValueError(f'no {what} "{name[:80]}": none is installed; install tocsin with pip, or run ./dev setup in a checkout')
    if name not in declared:
        raise ValueError(f'no {what} "{name[:80]}"{did_you_mean(name, declared)}')
    entries = declared[name]
    if len(entries) > 1:
        raise ValueError(
            f'{what} "{name}" is declared more than once, by {" and by ".join(map(_origin, entries))}: uninstall all but one'
        )
    try:
        plugin = entries[0].load()
    except (Exception, SystemExit) as error:  # other people's code: whatever it does, one sentence tells
        raise ValueError(f'{what} "{name}" of {_origin(entries[0])} does not load: {type(error).__name__}: {error}') from error
    if not isinstance(plugin, Plugin) or plugin.name != name:
        raise ValueError(f'{what} "{name}" of {_origin(entries[0])} is broken: {entries[0].value} is no Plugin of that name')
    return plugin


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


@lru_cache(maxsize=16)
def _declared(group: str, _path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    # Cached by sys.path: what is installed does not change under a running process unless the path does.
    if group not in GROUPS:
        raise ValueError(f"no group {group!r}: expected one of {', '.join(GROUPS)}")
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=f"tocsin.{group}"):
        # The same declaration can be seen twice, through an editable install and the checkout it points to.
        if entry.value not in {other.value for other in found.get(entry.name, ())}:
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found
