"""What a person asks of a source: does it answer, what does it let us see, how late is it, what would a tick cost; and which
components and metrics it has, which of them are new, gone, cut or left out by a rule."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tocsin.config import ComponentType, Config
from tocsin.errors import ConfigError, PermanentError, TransientError, did_you_mean
from tocsin.intake import MAX_SERIES, Intake, Source
from tocsin.model import Probe, SeriesIndex, SeriesKey, Window
from tocsin.ports import Collector, RemoteCollector
from tocsin.samples import samples
from tocsin.settings import Settings, spell_duration
from tocsin.shard import Shard
from tocsin.store.history import History
from tocsin.timegrid import DAY

KNOWN_FOR = DAY
"""Seconds for which the history is looked at for what was known before."""


# --- does it answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of asking one source. `verdict` is 0 when it answers, 1 when it may answer later, 2 when a person must act."""

    component_type: str
    source: str
    verdict: int
    sentence: str
    probe: Probe | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "probe": None if self.probe is None else asdict(self.probe)}


def check(config: Config, name: str, now: float) -> list[Checked]:
    """Ask every source of a component type, or every source of a kind (`elasticsearch`), as the configuration has them.

    Raises ConfigError for a name that is neither.
    """
    checked = []
    for kind, source in _named(config, name):
        try:
            checked.append(_check(kind, source, now))
        finally:
            if isinstance(source.collector, RemoteCollector):
                source.collector.close()
    return checked


def _named(config: Config, name: str) -> Iterator[tuple[ComponentType, Source]]:
    kinds = [kind for kind in config.types if kind.name == name]
    plugins = {entry.plugin.name for kind in config.types for entry in kind.collect}
    if not kinds and name not in plugins:
        known = [*(kind.name for kind in config.types), *plugins]
        raise ConfigError(f'no component type and no source "{name}"{did_you_mean(name, known)}')
    for kind in kinds or config.types:
        for entry, source in zip(kind.collect, Shard.of(kind, ()).intake.sources, strict=True):
            if kinds or entry.plugin.name == name:
                yield kind, source


def _check(kind: ComponentType, source: Source, now: float) -> Checked:
    def came_of(verdict: int, sentence: str, probe: Probe | None = None) -> Checked:
        return Checked(component_type=kind.name, source=source.name, verdict=verdict, sentence=sentence, probe=probe)

    try:
        remote = isinstance(source.collector, RemoteCollector)
        probe = (
            source.collector.probe(now) if isinstance(source.collector, RemoteCollector) else looked(kind, source.collector, now)
        )
        warnings = probe.warnings if remote else (*probe.warnings, *source.collector.check())
    except TransientError as error:
        return came_of(1, str(error))
    except (PermanentError, ConfigError) as error:
        return came_of(2, str(error))
    except Exception as error:  # noqa: BLE001  (a fault in a collector is told like any other trouble, not as a trace)
        return came_of(2, f"{type(error).__name__}: {error}")
    if not probe.samples and not warnings:  # else they say why
        warnings = ("it answers, and has no values now",)
    probe = Probe(**{**asdict(probe), "warnings": tuple(dict.fromkeys(warnings))})
    return came_of(1 if warnings else 0, "; ".join(probe.warnings) if warnings else "answers", probe)


def looked(kind: ComponentType, collector: Collector, now: float) -> Probe:
    """The same of a source that is no server: read what it has now, and measure that."""
    began, used = time.perf_counter(), time.process_time()
    index = SeriesIndex(list(collector.discover())[:MAX_SERIES])
    reach = collector.reach()
    last = now if reach is None else min(now, reach[1] + kind.every)
    frame = collector.collect(index, Window.ending(last, kind.every, 3))
    took = f"{time.perf_counter() - began:.1f} s, {time.process_time() - used:.1f} s of CPU for {len(index)} series"
    return Probe(
        version=f"{kind.collect[0].plugin.name if len(kind.collect) == 1 else type(collector).__name__}, no server",
        rights=(),
        lag=None if reach is None else max(0.0, now - reach[1]),
        samples=samples(frame),
        cost=took,
    )


# --- what is there -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """What the sources of a component type have. `new` and `vanished` are against the last day of the history, None when there
    is none; `left_out` are components that only include and exclude keep away; `notes` say what caps cut."""

    component_type: str
    index: SeriesIndex
    owners: Mapping[str, Sequence[SeriesKey]]
    new: Sequence[SeriesKey] | None
    vanished: Sequence[SeriesKey] | None
    left_out: Sequence[str]
    notes: Sequence[str]
    failures: Mapping[str, str]

    @property
    def emptied(self) -> bool:
        """Whether a source that answers has nothing any more, and series are gone."""
        return bool(self.vanished) and any(not keys and name not in self.failures for name, keys in self.owners.items())

    @property
    def metrics(self) -> Mapping[str, int]:
        """How many components have each metric, by name."""
        counts: dict[str, int] = {}
        for key in self.index:
            counts[key.metric] = counts.get(key.metric, 0) + 1
        return dict(sorted(counts.items()))

    def document(self) -> dict[str, Any]:
        """As JSON."""

        def spelt(keys: Sequence[SeriesKey] | None) -> list[dict[str, str]] | None:
            return None if keys is None else [{"component": key.component, "metric": key.metric} for key in keys]

        return {
            "component_type": self.component_type,
            "components": list(self.index.components),
            "metrics": self.metrics,
            "series": len(self.index),
            "sources": {name: len(keys) for name, keys in self.owners.items()},
            "new": spelt(self.new),
            "vanished": spelt(self.vanished),
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "failures": dict(self.failures),
        }


def discover(config: Config, component_type: str, now: float) -> Discovered:
    """Ask the sources of a component type what they have, and compare it with what was known."""
    kind = next((kind for kind in config.types if kind.name == component_type), None)
    if kind is None:
        raise ConfigError(
            f'no component type "{component_type}"{did_you_mean(component_type, [one.name for one in config.types])}'
        )
    shard = Shard.of(kind, ())
    try:
        index = shard.intake.discover()
        known = _known(config, kind, now)
        return Discovered(
            component_type=kind.name,
            index=index,
            owners={source.name: shard.intake.known(source.name) for source in shard.intake.sources},
            new=None if known is None else sorted(set(index) - known),
            vanished=None if known is None else sorted(known - set(index)),
            left_out=sorted(_kept_away(kind, shard.intake) - set(index.components)),
            notes=shard.intake.notes(),
            failures={name: state.reason for name, state in shard.intake.states.items() if not state.up},
        )
    finally:
        shard.intake.close()


def _known(config: Config, kind: ComponentType, now: float) -> set[SeriesKey] | None:
    folder = config.state / "history"
    if not folder.is_dir():
        return None
    with History(folder) as history:
        index = history.index(kind.name, Window.ending(now, kind.every, KNOWN_FOR // kind.every))
    return set(index.keys) or None


def _kept_away(kind: ComponentType, intake: Intake) -> set[str]:
    """The components that the sources would have without include and exclude."""
    found: set[str] = set()
    for entry, source in zip(kind.collect, intake.sources, strict=True):
        open_to_all = loosened(entry.settings)
        if open_to_all is not None and intake.states[source.name].up:
            collector: Collector = entry.plugin.build(open_to_all, kind.surroundings())
            try:
                found |= {key.component for key in collector.discover()}
            except (TransientError, PermanentError):
                continue  # what was asked for first is told all the same
            finally:
                if isinstance(collector, RemoteCollector):
                    collector.close()
    return found


def loosened(settings: Settings) -> Settings | None:
    """The settings without any include or exclude, their own or one level below; None when there was none to begin with."""
    changed: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in ("include", "exclude") and value:
            changed[name] = field.get_default(call_default_factory=True)
        elif isinstance(value, Settings) and set(type(value).model_fields) == {"include", "exclude"}:
            inner = loosened(value)
            if inner is not None:
                changed[name] = inner
    return settings.model_copy(update=changed) if changed else None


# --- told to a person ------------------------------------------------------------------------------------------------------


def plain(line: str) -> str:
    """Fit for a terminal: names come from outside, and could hold what a terminal obeys."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def lines_of(one: Checked) -> Iterator[str]:
    """What came of asking a source, for a terminal."""
    mark = ("ok", "!", "✗")[one.verdict]
    yield f"{mark} {one.component_type}: {one.source}: {one.sentence}"
    probe = one.probe
    if probe is None:
        return
    yield f"    version   {probe.version}"
    for right in probe.rights:
        yield f"    right     {right}"
    if probe.lag is not None:
        yield f"    newest    {spell_duration(probe.lag)} old"
    for sample in probe.samples:
        yield f"    sample    {sample}"
    if probe.cost:
        yield f"    one tick  {probe.cost}"


def told(found: Discovered, most: int = 20) -> Iterator[str]:
    """What was discovered, for a terminal; long lists are cut, and say so."""
    yield f"{found.component_type}: {len(found.index.components)} components, {len(found.index)} series"
    for name, reason in found.failures.items():
        yield f"! {name} does not answer: {reason}"
    for name, count in found.metrics.items():
        yield f"    {name:<40} {count:>7} components"
    parts: list[tuple[str, Sequence[str]]] = [("left out by include and exclude", found.left_out)]
    if found.new is None:
        yield "  nothing was known before: there is no history yet"
    for title, keys in (("new", found.new), ("vanished", found.vanished)):
        parts.append((title, [f"{key.component} {key.metric}" for key in keys or ()]))
    for title, names in parts:
        if names:
            rest = f" … and {len(names) - most} more" if len(names) > most else ""
            yield f"  {len(names)} {title}: {', '.join(names[:most])}{rest}"
    for note in found.notes:
        yield f"! {note}"
