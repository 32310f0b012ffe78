"""Splunk's search language, built from parts that were looked at one by one. Nothing anybody wrote is pasted in.

    | mstats avg("cpu.util") AS m0 WHERE index="em_metrics" AND host="web*" BY host span=60s | eval epoch=_time | fields - _time

Every function returns text that is safe where it is meant to stand, or raises ValueError with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tocsin.model import Aggregate

Value: TypeAlias = str | int | float | bool
Kind: TypeAlias = Literal["metrics", "events", "tstats", "saved"]

LONGEST = 300
"""Letters of one name or value."""
EPOCH = "epoch"
"""The field of an answer that holds the start of the bucket in epoch seconds."""
LATEST_INDEXED = "indexed"
"""The field that holds when the latest of a bucket's events was written into its index."""

_NAME = re.compile(r"[A-Za-z_%][A-Za-z0-9_.:%/@{}#-]*(?: [A-Za-z0-9_.:%/@{}#-]+)*")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"as", "by", "where", "and", "or", "not", "xor", "in", "over", "span", "true", "false", "null", "output"})
_INDEX = re.compile(r"[a-z0-9_*][a-z0-9_*-]{0,79}")
_CONDITION = re.compile(r"(?P<name>.+?)\s*(?P<operator>>=|<=|!=|==|=|>|<)\s*(?P<value>.+)")
_OPERATORS = {"=": "==", "==": "==", "!=": "!=", ">": ">", "<": "<", ">=": ">=", "<=": "<="}
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")
_FUNCTIONS = {
    Aggregate.MEAN: "avg",
    Aggregate.SUM: "sum",
    Aggregate.MIN: "min",
    Aggregate.MAX: "max",
    Aggregate.LAST: "latest",
    Aggregate.COUNT: "count",
}
_PERCENTILE = re.compile(r"p(\d{1,2})")


def checked_name(text: str) -> str:
    """The name of a field or metric, as it is. Quotes, brackets, bars, stars and operators are in no name we read."""
    if len(text) > LONGEST or _NAME.fullmatch(text) is None:
        raise ValueError(f"{text[:60]!r} is no name of a field: letters, digits, blanks inside and . _ - : % / @ # {{ }}")
    return text


def name(text: str) -> str:
    """A field where a command names it: `host`, `"cpu.util"`."""
    checked_name(text)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else f'"{text}"'


def eval_name(text: str) -> str:
    """A field inside `eval`, where a plain one would be read as an expression: `'http.status'`."""
    return f"'{checked_name(text)}'"


def quoted(value: str) -> str:
    """A value in quotes: no bar, bracket or comment inside them means anything to Splunk."""
    if not value or len(value) > LONGEST:
        raise ValueError(f"a value has 1 to {LONGEST} letters, not {len(value)}")
    if not value.isprintable() or "`" in value:
        raise ValueError(f"{value[:60]!r} holds a back-quote (a macro to Splunk), a line break or a control character")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(value: Value) -> str:
    """A value of the YAML, in quotes; a number or a truth value as Splunk writes it in an event."""
    if isinstance(value, bool):
        return quoted("true" if value else "false")
    return quoted(value if isinstance(value, str) else repr(value))


def index_named(text: str) -> str:
    """The name of an index, with stars at most."""
    if _INDEX.fullmatch(text) is None:
        raise ValueError(f"{text[:60]!r} is no name of an index: small letters, digits, _ and -, with * for any letters")
    return text


def one_of(field: str, values: Sequence[Value]) -> str:
    """`host="a*"`, or `(host="a*" OR host="b")`; a star stands for any letters, as Splunk has it."""
    parts = [f"{name(field)}={literal(value)}" for value in values]
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"


def plain_search(text: str) -> str:
    """The search a person gives by hand: words and comparisons only.

    Refused are a second command (`|`), a search inside it (`[`), a macro or comment (back-quote), times (they are ours to
    set) and quotes that do not close. What stands in quotes may hold bars and brackets.
    """
    if not text.strip() or len(text) > 4000:
        raise ValueError("expected words and comparisons such as: status>=500 uri=/api/*, at most 4000 letters")
    if not text.isprintable():
        raise ValueError("holds a line break or a control character: write it on one line")
    if "`" in text:
        raise ValueError("holds a back-quote: macros and comments are not run from here; write out what they stand for")
    outside, depth = _outside_quotes(text), 0
    for letter, why in (
        ("|", "one search without a second command: we do the counting; or save it in Splunk, and use kind: saved"),
        ("[", "a search inside a search is not run from here; save it in Splunk, and use kind: saved"),
        ("]", "it closes what was never opened"),
    ):
        if letter in outside:
            raise ValueError(f"holds {letter!r}: {why}")
    for letter in outside:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
    if depth:
        raise ValueError("its brackets do not match")
    if found := re.search(r"(?i)\b_?(?:index_)?(?:earliest|latest)(?:time)?\s*=|\b(?:start|end)time(?:u)?\s*=", outside):
        raise ValueError(f"holds {found[0]}…: the times are ours to set")
    return re.sub(r"(?i)^\s*search\s+", "", text).strip()


def _outside_quotes(text: str) -> str:
    """What does not stand in quotes, each quoted piece replaced by a blank."""
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', " ", text)
    if '"' in rest:
        raise ValueError("a quote does not close")
    if "\\" in rest:
        raise ValueError("holds a backslash outside quotes, where it may or may not mean something: put it in quotes")
    return rest


# --- functions ------------------------------------------------------------------------------------------------------


def condition(text: str) -> str | None:
    """`status>=500` as an expression of `eval`; None for a plain name."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        return None
    value = found["value"].strip().strip('"')
    right = value if _NUMBER.fullmatch(value) else quoted(value)
    return f"{eval_name(found['name'].strip())}{_OPERATORS[found['operator']]}{right}"


def function(aggregate: Aggregate, field: str, kind: Kind) -> str:
    """`avg("cpu.util")`, `count`, `count(eval('status'>=500))`. `*` counts every event."""
    if aggregate is Aggregate.COUNT:
        if field == "*":
            return "count"
        if kind == "events" and (expression := condition(field)) is not None:
            return f"count(eval({expression}))"
    inner = name(field)
    if inner == field and "." in field:
        inner = f'"{field}"'
    if aggregate in _FUNCTIONS:
        return f"{_FUNCTIONS[aggregate]}({inner})"
    if found := _PERCENTILE.fullmatch(aggregate.value):
        return f"perc{int(found[1])}({inner})"
    raise ValueError(f"Splunk has no aggregate {aggregate.value!r} for {field!r}")


def presence(field: str, kind: Kind) -> str:
    """A function that is above zero where a component has the field; for a comparison, where it could be made at all."""
    found = _CONDITION.fullmatch(field)
    return function(Aggregate.COUNT, found["name"].strip() if found else field, kind)


# --- whole searches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which data are meant: everything in it was checked when the settings were read."""

    kind: Kind
    index: tuple[str, ...] = ()
    sourcetype: tuple[str, ...] = ()
    filter: Mapping[str, Sequence[Value]]
    component: tuple[str, ...] = ("host",)
    include: tuple[str, ...] = ()
    by: str = ""
    search: str = ""

    def conditions(self) -> list[str]:
        """What must hold, one comparison each."""
        parts = [one_of("index", [index_named(entry) for entry in self.index])] if self.index else []
        if self.sourcetype:
            parts.append(one_of("sourcetype", self.sourcetype))
        parts += [one_of(field, values) for field, values in self.filter.items()]
        if self.include and len(self.component) == 1:
            # Splunk knows only the star, and no case: what it lets through is looked at again here.
            parts.append(one_of(self.component[0], [re.sub(r"\?|\[[^]]*\]", "*", glob) for glob in self.include]))
        return parts

    def where(self) -> str:
        """After WHERE of `mstats` and `tstats`."""
        return " AND ".join(self.conditions())

    def events(self) -> str:
        """The `search` command of the events themselves."""
        own = [f"({plain_search(self.search)})"] if self.search else []
        return " ".join(["search", *self.conditions(), *own])


def _listed(parts: Iterable[str]) -> str:
    return " ".join(parts)


def _by(scope: Scope) -> str:
    return " ".join(name(field) for field in (*scope.component, scope.by) if field)


def series(scope: Scope, functions: Mapping[str, str], span: int) -> str:
    """One row per component and bucket. `functions` maps the names of the answer's fields to functions."""
    wanted = _listed(f"{call} AS {name(alias)}" for alias, call in functions.items())
    match scope.kind:
        case "metrics":
            start = f"| mstats {wanted} WHERE {scope.where()} BY {_by(scope)} span={int(span)}s"
        case "tstats":
            late = f"max(_indextime) AS {LATEST_INDEXED}"
            start = f"| tstats {wanted} {late} WHERE {scope.where()} BY _time span={int(span)}s {_by(scope)}"
        case _:
            late = f"max(_indextime) AS {LATEST_INDEXED}"
            # Under a name of its own: `latest` goes by `_time`, which has to stay as it is.
            binned = f"bin span={int(span)}s _time AS {EPOCH}"
            return f"{scope.events()} | {binned} | stats {wanted} {late} BY {EPOCH} {_by(scope)}"
    return f"{start} | eval {EPOCH}=_time | fields - _time"


def every_metric(scope: Scope, span: int) -> str:
    """One row per component, metric and bucket, for all metrics of an index: only where none was named."""
    groups = f"metric_name {_by(scope)}"
    where = f'{scope.where()} AND metric_name="*"'
    return f"| mstats avg(_value) AS m0 WHERE {where} BY {groups} span={int(span)}s | eval {EPOCH}=_time | fields - _time"


def inventory(scope: Scope, functions: Mapping[str, str]) -> str:
    """One row per component: how many values of each metric there are."""
    wanted = _listed(f"{call} AS {name(alias)}" for alias, call in functions.items())
    match scope.kind:
        case "metrics":
            return f"| mstats {wanted} WHERE {scope.where()} BY {_by(scope)}"
        case "tstats":
            return f"| tstats {wanted} WHERE {scope.where()} BY {_by(scope)}"
        case _:
            return f"{scope.events()} | stats {wanted} BY {_by(scope)}"


def metric_names(scope: Scope) -> str:
    """One row per component and metric of an index."""
    return f'| mstats count(_value) AS m0 WHERE {scope.where()} AND metric_name="*" BY metric_name {_by(scope)}'


def extent(scope: Scope, metrics: Sequence[str], span: int) -> str:
    """One row: the first and the last time that hold anything; of metrics the first and last bucket.

    Of events only the index and sourcetype count: a year of them is looked through in the index, and never read.
    """
    if scope.kind == "metrics":
        named = one_of("metric_name", metrics or ["*"])
        start = f"| mstats count(_value) AS m0 WHERE {scope.where()} AND {named} span={int(span)}s"
        return f"{start} | search m0>0 | stats min(_time) AS first max(_time) AS last"
    wide = replace(scope, include=()) if scope.kind == "tstats" else replace(scope, filter={}, include=())
    return f"| tstats min(_time) AS first max(_time) AS last WHERE {wide.where()}"


def anything(scope: Scope) -> str:
    """One row: how many events of any kind the indexes hold, to tell "nothing happened" from "nothing can be seen"."""
    return f"| tstats count AS m0 WHERE {one_of('index', [index_named(entry) for entry in scope.index])}"


LEVEL, TEXT = "tocsin_level", "tocsin_text"
"""Fields of ours: the level of a log entry, and its text."""
NO_LEVEL = "-"
"""The level of an entry that names none; an empty one would drop it from the counts."""
LEVEL_FIELDS = ("log_level", "level", "severity", "log.level")


def _level(levels: Sequence[str]) -> str:
    """The first of the fields that an entry has, in small letters; of a field with several values the first."""
    return f'lower(mvindex(coalesce({", ".join(map(eval_name, levels))}, "{NO_LEVEL}"), 0))'


def log_counts(scope: Scope, levels: Sequence[str], span: int) -> str:
    """How many log entries per component, level and bucket."""
    return (
        f"{scope.events()} | bin span={int(span)}s _time AS {EPOCH} | eval {LEVEL}={_level(levels)} "
        f"| stats count AS m0 max(_indextime) AS {LATEST_INDEXED} BY {EPOCH} {_by(scope)} {LEVEL}"
    )


def log_lines(scope: Scope, levels: Sequence[str], span: int, *, each: int, most: int, letters: int) -> str:
    """The latest `each` entries of every bucket, `most` in all, with the beginning of their text."""
    return (
        f"{scope.events()} | eval {EPOCH}=_time, {LEVEL}={_level(levels)}, tocsin_bucket=floor(_time / {int(span)}) "
        f"| dedup {int(each)} tocsin_bucket | head {int(most)} | eval {TEXT}=substr(_raw, 1, {int(letters)}) "
        f"| fields {EPOCH} {_by(scope)} {LEVEL} {TEXT} | fields - _*"
    )
