"""From lines to entries with a template each: join, mask, mine, and remember who showed what."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from collectors.logs import state
from collectors.logs.join import join
from collectors.logs.known import Registry
from collectors.logs.levels import level_in, level_of
from collectors.logs.mask import mask
from collectors.logs.mine import Miner, Rewrite, Template
from collectors.logs.settings import LogSettings
from collectors.logs.tally import Seen
from collectors.logs.text import harmless, unpack
from tocsin.model import LogBatch

log = structlog.get_logger()

SAVE_EVERY = 300
"""Seconds of log time between two writes of what was learnt, while no template is new."""
MOST_EXAMPLES = 20_000
EXAMPLE = 300
"""Bytes of a line that are kept as an example."""
MOST_REWRITES = 100
NEW = "log.new"


@dataclass(kw_only=True, slots=True)
class _Met:
    """An entry on its way: which template it has, before that has a name."""

    at: int
    component: str
    level: str
    template: Template | None
    masked: str
    lines: Sequence[int]


class Learner:
    """The memory of one log source. `problem` says when what was remembered is lost, `rewrites` which lines were reworded."""

    def __init__(self, settings: LogSettings, path: Path | None, component_type: str) -> None:
        self._settings, self._path, self._type = settings, path, component_type
        self.registry = Registry(
            most_components=settings.max_components, most_templates=settings.templates, forget=settings.forget
        )
        self.problem = ""
        self.rewrites: list[Rewrite] = []
        self._examples: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._saved = 0
        self._miner = Miner(settings.max_templates, settings.similar, self._remembered())

    def understand(self, batch: LogBatch) -> list[Seen]:
        """Learn from a batch; the order of its lines does not matter."""
        registry, end = self.registry, batch.window.end
        for component, (first, last) in sorted(_spans(batch).items()):
            registry.meet(component, first, last)
        met = self._mined(batch)
        changed = self._follow(met)
        fresh = [one for one in met if one.template is not None and not one.template.name]
        where = {one.template.number: one for one in reversed(fresh) if one.template is not None}
        rewrites = self._miner.name_new(lambda template, name: self._fell_silent(where[template.number], name))
        for rewrite in rewrites:
            log.info(
                "logs.template_rewritten",
                component_type=self._type,
                template=rewrite.name,
                before=rewrite.before,
                after=rewrite.after,
            )
        self.rewrites = [*self.rewrites, *rewrites][-MOST_REWRITES:]
        changed |= self._follow(fresh)
        registry.stretches.add_window(batch.window, batch.known)
        self._save(end, changed)
        return [self._seen(one) for one in met]

    def example(self, component: str, what: str) -> str:
        """A recent masked line of this component and template name or level; of any component where it has none."""
        return self._examples.get((component, what)) or self._examples.get(("", what), "")

    def text_of(self, name: str) -> str:
        """A template as text, empty when it is not known any more."""
        # A copy: whoever reads the past may be adding templates meanwhile.
        return next((one.text for one in list(self._miner.templates.values()) if one.name == name), "")

    def groups(self) -> dict[str, set[str]]:
        """The levels under which the source counts the lines of each template, by its name."""
        found: dict[str, set[str]] = {}
        for one in self._miner.templates.values():
            found.setdefault(one.name, set()).update(one.groups)
        return found

    def save(self) -> None:
        """Write what is known now."""
        self._save(self._saved + SAVE_EVERY, changed=True)

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _mined(self, batch: LogBatch) -> list[_Met]:
        lines, limit = batch.lines, self._settings.max_line
        order: dict[str, list[int]] = {}
        for place in sorted(range(len(lines)), key=lambda place: (lines[place].at, lines[place].text, lines[place].level)):
            order.setdefault(lines[place].component, []).append(place)
        entries = [(component, entry) for component, places in order.items() for entry in join(lines, places)]
        entries.sort(key=lambda pair: (lines[pair[1].lines[0]].at, pair[0], pair[1].text))
        memo: dict[str, tuple[str, str]] = {}
        met = []
        for component, entry in entries:
            first = lines[entry.lines[0]]
            if entry.text not in memo:
                memo[entry.text] = understood(entry.text, limit)
            masked, told = memo[entry.text]
            group = level_of(first.level)
            template = self._miner.add(masked, int(first.at))
            if template is not None:
                template.groups.add(group)
            met.append(
                _Met(
                    at=int(first.at),
                    component=component,
                    level=group or told,
                    template=template,
                    masked=masked,
                    lines=entry.lines,
                )
            )
        return met

    def _follow(self, met: Iterable[_Met]) -> bool:
        """Note who showed which named template; True when something was seen that never was before."""
        new = False
        for one in met:
            known = self.registry.components.get(one.component)
            if known is not None and (name := self._name_of(one)):
                new |= name not in known.templates
                self.registry.follow(known, name, one.at)
        return new

    def _name_of(self, one: _Met) -> str:
        """Empty where the template was dropped again to make room, in the same batch."""
        template = one.template
        return template.name if template is not None and self._miner.templates.get(template.number) is template else ""

    def _fell_silent(self, one: _Met, name: str) -> bool:
        """Whether the component that first showed a new line knew the old one, and has not shown it since."""
        known = self.registry.components.get(one.component)
        times = known.templates.get(name) if known is not None else None
        return times is not None and times[1] < one.at

    def _seen(self, one: _Met) -> Seen:
        name = self._name_of(one)
        known = self.registry.components.get(one.component)
        followed = known is not None and name in known.templates
        # In a young component only what is new to all of them counts: one more web server says nothing new.
        if known is not None and followed and one.at - known.first >= self._settings.settle:
            first = known.templates[name][0]
        else:
            first = one.template.first if one.template is not None else one.at
        new = one.at - first < max(1, self._settings.fresh)
        for what in (one.level, name, NEW if new else ""):
            if what:
                self._keep(one.component, what, one.masked)
        return Seen(component=one.component, level=one.level, template=name if followed else "", new=new, lines=one.lines)

    def _keep(self, component: str, what: str, masked: str) -> None:
        for key in ((component, what), ("", what)):
            self._examples[key] = masked[:EXAMPLE]
            self._examples.move_to_end(key)
        while len(self._examples) > MOST_EXAMPLES:
            self._examples.popitem(last=False)

    def _remembered(self) -> list[Template]:
        if self._path is None:
            return []
        try:
            return state.read(self._path, self.registry, self._settings.max_templates)
        except (state.Unbelievable, OSError) as error:
            why = str(error) if isinstance(error, state.Unbelievable) else f"cannot be read: {error.strerror}"
            self.problem = f"{self._path} {why}: log templates are learnt anew"
            log.warning("logs.memory_lost", component_type=self._type, path=str(self._path), error=why)
            return []

    def _save(self, now: int, changed: bool) -> None:
        if self._path is None or not (changed or abs(now - self._saved) >= SAVE_EVERY):
            return
        try:
            state.write(self._path, self._miner.templates, self.registry)
        except OSError as error:
            # A full disk must not stop the counting; the next change tries again.
            self.problem = f"{self._path} cannot be written: {error.strerror}"
            log.warning("logs.memory_not_written", component_type=self._type, path=str(self._path), error=str(error.strerror))
        else:
            self._saved = now


def _spans(batch: LogBatch) -> dict[str, tuple[int, int]]:
    """When each component logged first and last in the batch, to the bucket."""
    window = batch.window
    found: dict[str, list[int]] = {}
    for (component, _), numbers in batch.counts.items():
        found.setdefault(component, []).extend(np.flatnonzero(numbers).tolist())
    for line in batch.lines:
        found.setdefault(line.component, []).append((int(line.at) - window.start) // window.span)
    return {
        component: (window.start + min(buckets) * window.span, window.start + (max(buckets) + 1) * window.span)
        for component, buckets in found.items()
        if buckets
    }


def understood(text: str, limit: int) -> tuple[str, str]:
    """(masked line, level it tells) of an entry's text."""
    message, word = unpack(text)
    line = harmless(message, limit)
    return harmless(mask(line), limit), level_of(word) or level_in(line)
