"""Masked lines → templates, by the tree of Drain (He et al., ICWS 2017) behind an interface of our own.

A template keeps the name that was made of its text at the end of the batch in which it was first met, also when later lines
widen it. The same lines in the same batches lead to the same names in every process. A line whose words are nearly those of a
template that fell silent where the new one appears is that template, rewritten, and keeps its name.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import eq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drain3.drain import Drain

WILD = "<*>"
MOST_WORDS = 60
MOST_CHECKED = 200
"""At most this many new templates of a batch are compared with all others."""
ESTABLISHED = 3
"""A template that was met so often is no accident, and gives way only to others after an hour of silence."""
QUIET = 3600
SIMILARITY = 0.6

_HEADER = re.compile(r"(?:[\[(]?(?:<(?:time|num|id|hex|size)>)[\])]?[:,|-]?\s+)+")
_TURNS = frozenset(
    word
    for line in (
        "fail fails failed failing failure failures success successful successfully succeeded timeout timeouts time-out",
        "timed refused reset denied rejected accepted granted opened closed started stopped starting stopping connected",
        "disconnected up down in out on off login logout begin end enabled disabled lost found not no cannot unable",
        "invalid expired killed created deleted added removed locked unlocked slow full missing unreachable unavailable",
        "available recovered committed rolled retry échec echec échecs échoué échouée réussi réussie refusé refusée",
        "refusés expiré expirée démarré démarrée arrêté arrêtée ouvert ouverte fermé fermée connecté connectée déconnecté",
        "déconnectée perdu perdue trouvé trouvée introuvable impossible invalide indisponible disponible supprimé",
        "supprimée créé créée ajouté ajoutée verrouillé verrouillée lent lente plein pleine saturé saturée dépassé",
        "dépassée accepté acceptée pas non aucun aucune",
    )
    for word in line.split()
)
"""Words that turn a sentence into its opposite: lines that differ in them are never one template."""


@dataclass(kw_only=True, slots=True)
class Template:
    """A kind of line. `first` and `last` are times of lines; `used` orders templates by when they were last met; `groups` are
    the levels under which the source counted such lines."""

    number: int
    words: tuple[str, ...]
    name: str = ""
    seen: int = 0
    used: int = 0
    first: int
    last: int
    groups: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """As a person reads it."""
        return " ".join(self.words[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """A line that was reworded: `name` now counts both."""

    name: str
    before: str
    after: str
    at: int


class Miner:
    """Tells lines apart by template; at most `most` templates at a time. Deterministic."""

    def __init__(self, most: int, similar: float, templates: Iterable[Template] = ()) -> None:
        self._most, self._similar = most, similar
        self._drain = _drain()
        self.templates: dict[int, Template] = {}
        self._young: OrderedDict[int, None] = OrderedDict()
        self._old: OrderedDict[int, None] = OrderedDict()
        self._fresh: list[Template] = []
        self._clock = 0
        self._counter = 0
        for template in sorted(templates, key=lambda one: one.number):
            self._put(template)
        for template in sorted(self.templates.values(), key=lambda one: one.used):
            self._age(template)
            self._clock = max(self._clock, template.used)

    def add(self, masked: str, at: int) -> Template | None:
        """The template of a masked line, met at that time; None when there is no room for one more."""
        line = words_of(masked)
        drain = self._drain
        cluster = drain.tree_search(drain.root_node, line, SIMILARITY, False)
        if cluster is None:
            if len(self.templates) >= self._most and not self._make_room(at):
                return None
            self._counter += 1
            template = Template(number=self._counter, words=tuple(line), first=at, last=at)
            self._put(template)
            self._fresh.append(template)
        else:
            template = self.templates[cluster.cluster_id]
            widened = tuple(drain.create_template(line, template.words))
            if widened != template.words:
                template.words = cluster.log_template_tokens = widened
        self._clock += 1
        template.used = self._clock
        template.seen = min(template.seen + 1, ESTABLISHED)
        template.first, template.last = min(template.first, at), max(template.last, at)
        self._age(template)
        return template

    def name_new(self, silent: Callable[[Template, str], bool]) -> list[Rewrite]:
        """End a batch: every template without a name gets one. `silent(new, name)` tells whether the template of that name
        was known where the new one appeared, and fell silent there."""
        rewrites = []
        fresh = sorted((one for one in self._fresh if one.number in self.templates), key=lambda one: (one.first, one.text))
        self._fresh = []
        texts = {one.text: one.name for one in self.templates.values() if one.name}
        names = {one.name for one in self.templates.values() if one.name}
        by_word = self._by_word() if fresh and names else {}
        for place, template in enumerate(fresh):
            before = self._predecessor(template, by_word, silent) if place < MOST_CHECKED and by_word else None
            if before is not None:
                template.name = before.name
                rewrites.append(Rewrite(name=before.name, before=before.text, after=template.text, at=template.first))
            else:
                template.name = texts.get(template.text) or _name(template.text, names)
            names.add(template.name)
            texts.setdefault(template.text, template.name)
        return rewrites

    def _by_word(self) -> dict[str, list[Template]]:
        found: dict[str, list[Template]] = {}
        for template in self.templates.values():
            if template.name:
                for word in set(_told(template.words)):
                    found.setdefault(word, []).append(template)
        return found

    def _predecessor(
        self, template: Template, by_word: dict[str, list[Template]], silent: Callable[[Template, str], bool]
    ) -> Template | None:
        mine = Counter(_told(template.words))
        if sum(mine.values()) < 3:
            return None
        # The rarest words lead to few candidates, and a near copy shares at least one of them.
        rarest = sorted((word for word in mine if word in by_word), key=lambda word: (len(by_word[word]), word))[:3]
        candidates = {
            other.number: other for word in rarest for other in by_word[word][:100] if other.words[0] == template.words[0]
        }
        best: tuple[float, int, Template] | None = None
        for other in candidates.values():
            theirs = Counter(_told(other.words))
            alike = 2 * sum((mine & theirs).values()) / (sum(mine.values()) + sum(theirs.values()))
            if alike >= self._similar and (best is None or (alike, -other.number) > best[:2]) and silent(template, other.name):
                best = alike, -other.number, other
        return best[2] if best else None

    def _put(self, template: Template) -> None:
        from drain3.drain import LogCluster  # noqa: PLC0415 - only what counts logs pays for loading it

        self._counter = max(self._counter, template.number)
        cluster = LogCluster(template.words, template.number)
        self._drain.id_to_cluster[template.number] = cluster
        self._drain.add_seq_to_prefix_tree(self._drain.root_node, cluster)
        self.templates[template.number] = template

    def _age(self, template: Template) -> None:
        young, old = (self._young, self._old) if template.seen < ESTABLISHED else (self._old, self._young)
        old.pop(template.number, None)
        young[template.number] = None
        young.move_to_end(template.number)

    def _make_room(self, at: int) -> bool:
        """Drop the template that is missed least; False when all of them are well known and alive."""
        queue = self._young or self._old
        number = next(iter(queue))
        if queue is self._old and at - self.templates[number].last < QUIET:
            return False
        del queue[number], self._drain.id_to_cluster[number]
        self._prune(self.templates.pop(number))
        return True

    def _prune(self, template: Template) -> None:
        """Take a dropped template's branch out of the tree, which else fills up with dead ones. One that was widened among its
        first words may stand elsewhere: it goes when its branch is next written to."""
        node, above = self._drain.root_node.key_to_child_node[str(len(template.words))], []
        for word in template.words[: min(self._drain.max_node_depth, len(template.words)) - 1]:
            key = word if word in node.key_to_child_node else WILD
            if key not in node.key_to_child_node:
                return
            above.append((node, key))
            node = node.key_to_child_node[key]
        node.cluster_ids = [number for number in node.cluster_ids if number != template.number]
        while above and not node.cluster_ids and not node.key_to_child_node:
            node, key = above.pop()
            del node.key_to_child_node[key]


def words_of(masked: str) -> list[str]:
    """What the tree sees of a line: first the words that turn its meaning, then the line without its header."""
    header = _HEADER.match(masked)
    rest = masked[header.end() :] if header else masked
    line = rest.split(None, MOST_WORDS)[:MOST_WORDS]
    turns = sorted({word for word in map(_bare, line) if word in _TURNS})[:4]
    return ["=" + "+".join(turns), *line]


def _bare(word: str) -> str:
    return word.lower().strip(".,:;!?()[]{}'\"")


def _told(words: tuple[str, ...]) -> list[str]:
    return [word for word in words[1:] if word != WILD]


def _name(text: str, taken: set[str]) -> str:
    """Eight hexadecimal digits of the text; other ones when another template has them already."""
    salt = 0
    while True:
        name = hashlib.sha256(f"{text}\n{salt}".encode() if salt else text.encode()).hexdigest()[:8]
        if name not in taken:
            return name
        salt += 1


def _drain() -> Drain:
    from drain3.drain import Drain  # noqa: PLC0415 - only what counts logs pays for loading it

    class Worded(Drain):
        """Lines are alike by their words: that both have a number in some place says nothing."""

        def get_seq_distance(self, seq1: Sequence[str], seq2: Sequence[str], include_params: bool) -> tuple[float, int]:
            if len(seq1) > 2 and sum(map(eq, seq1, seq2)) < 2:
                return 0.0, 0  # nothing in common but that nothing turns: most of what is compared in noise
            same = told = wild = 0
            for one, other in zip(seq1, seq2, strict=True):
                if one == WILD:
                    wild += 1
                if one == other and one[0] == "<":
                    continue
                told += 1
                same += one == other
            return (same / told if told else 1.0), wild

    return Worded(depth=5, sim_th=SIMILARITY, max_children=100, param_str=WILD)
