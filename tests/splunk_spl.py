"""A small, slow reading of Splunk's search language, for the fake: what our searches use of it, computed over samples in memory.

Written from Splunk's own descriptions of its commands, not from our builder: `search` compares without case and with stars,
`stats` leaves out rows without one of the BY fields, a bucket without data is absent, and every value comes out as a string.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
TOKEN = re.compile(
    r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|==|!=|>=|<=|[|()\[\],=<>/*+-](?=\s|[^\w])|[=<>]|[|()\[\],]|[^\s|()\[\],=<>"'!]+)"""
)
WORDS = re.compile(r'"(?:[^"\\]|\\.)*"')


class SplError(Exception):
    """What splunkd would answer with FATAL."""


@dataclass
class Samples:
    """What the fake holds. A point is (time, value, metric, dimensions); an event is a dict with `_time`, `_raw`, `index` …"""

    events: list[Row] = field(default_factory=list)
    points: dict[int, list[tuple[float, Any, str, Row]]] = field(default_factory=lambda: defaultdict(list))

    def point(self, time: float, metric: str, value: Any, index: str = "em_metrics", **dimensions: Any) -> None:
        self.points[int(time // 60)].append((time, value, metric, {"index": index, **dimensions}))

    def event(self, time: float, raw: str = "", *, index: str = "web", indexed: float | None = None, **fields: Any) -> None:
        late = time + 2 if indexed is None else indexed
        self.events.append({"_time": time, "_indextime": int(late), "_raw": raw, "index": index, **fields})

    def points_between(self, start: float, end: float) -> Iterable[tuple[float, Any, str, Row]]:
        minutes = sorted(minute for minute in self.points if minute * 60 < end and (minute + 1) * 60 > start)
        return (point for minute in minutes for point in self.points[minute] if start <= point[0] < end)


# --- words ------------------------------------------------------------------------------------------------------------


def pipeline(text: str) -> list[list[str]]:
    """The commands, each as its words; a bar inside quotes is no bar."""
    if "`" in text:
        raise SplError("Error in 'SearchParser': The search specifies a macro that cannot be found.")
    commands: list[list[str]] = [[]]
    place = 0
    while place < len(text.rstrip()):
        found = TOKEN.match(text, place)
        if found is None:
            raise SplError(f"Error in 'SearchParser': Mismatched quotes and/or parenthesis near {text[place : place + 20]!r}")
        place = found.end()
        if found[1] == "|":
            commands.append([])
        else:
            commands[-1].append(found[1])
    if text.lstrip().startswith("|"):
        commands = commands[1:]
    if any(word in "[]" for command in commands for word in command):
        raise SplError("Error in 'SearchParser': Subsearches are not served here")
    return commands


def bare(word: str) -> str:
    if word.startswith('"'):
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return word[1:-1] if word.startswith("'") else word


def number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def spelled(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    return [str(entry) for entry in value] if isinstance(value, list) else str(value)


# --- conditions ---------------------------------------------------------------------------------------------------------

Test = Callable[[Row], bool]


class Condition:
    """A recursive descent over `a=1 (b="x*" OR NOT c>2) word`."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.at = list(words), 0

    def whole(self) -> Test:
        if not self.words:
            return lambda row: True
        test = self.either()
        if self.at != len(self.words):
            raise SplError(f"Error in 'search' command: Unable to parse the search: unexpected {self.words[self.at]!r}")
        return test

    def either(self) -> Test:
        parts = [self.both()]
        while self.peek() == "OR":
            self.at += 1
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def both(self) -> Test:
        parts = [self.one()]
        while self.peek() not in (None, ")", "OR"):
            if self.peek() == "AND":
                self.at += 1
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def one(self) -> Test:
        word = self.next()
        if word == "NOT":
            inner = self.one()
            return lambda row: not inner(row)
        if word == "(":
            inner = self.either()
            if self.next() != ")":
                raise SplError("Error in 'search' command: Unable to parse the search: unbalanced parentheses")
            return inner
        if self.peek() in ("=", "==", "!=", "<", ">", "<=", ">="):
            return comparison(bare(word), self.next(), bare(self.next()))
        text = bare(word).lower()
        shape = star(text)
        return lambda row: text in str(row.get("_raw", "")).lower() or bool(shape.search(str(row.get("_raw", "")).lower()))

    def peek(self) -> str | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def next(self) -> str:
        if self.at >= len(self.words):
            raise SplError("Error in 'search' command: Unable to parse the search: it ends too early")
        self.at += 1
        return self.words[self.at - 1]


def star(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.IGNORECASE | re.DOTALL)


def comparison(name: str, operator: str, value: str) -> Test:
    shape = star(value)
    if operator in ("=", "=="):
        return lambda row: any(shape.fullmatch(str(each)) for each in several(row.get(name)))
    if operator == "!=":
        return lambda row: name in row and not any(shape.fullmatch(str(each)) for each in several(row.get(name)))
    limit = number(value)
    compare = {"<": float.__lt__, ">": float.__gt__, "<=": float.__le__, ">=": float.__ge__}[operator]
    return lambda row: limit is not None and (mine := number(row.get(name))) is not None and bool(compare(mine, limit))


def several(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


# --- functions and expressions -------------------------------------------------------------------------------------------


def expression(words: list[str]) -> Callable[[Row], Any]:
    """`'status'>=500`, `lower(coalesce('a', "x"))`, `floor(_time/60)`, `_time`."""
    tree, rest = _compared(words)
    if rest:
        raise SplError(f"Error in 'eval' command: The expression is malformed near {rest[0]!r}")
    return tree


def _compared(words: list[str]) -> tuple[Callable[[Row], Any], list[str]]:
    left, rest = _divided(words)
    if rest and rest[0] in ("==", "!=", "<", ">", "<=", ">="):
        operator = rest[0]
        right, rest = _divided(rest[1:])

        def compare(row: Row) -> bool | None:
            one, other = left(row), right(row)
            if one is None or other is None:
                return None
            if (a := number(one)) is not None and (b := number(other)) is not None:
                one, other = a, b
            else:
                one, other = str(one), str(other)
            return {
                "==": one == other,
                "!=": one != other,
                "<": one < other,
                ">": one > other,
                "<=": one <= other,
                ">=": one >= other,
            }[operator]

        return compare, rest
    return left, rest


def _divided(words: list[str]) -> tuple[Callable[[Row], Any], list[str]]:
    left, rest = _atom(words)
    if rest and rest[0] == "/":
        right, rest = _atom(rest[1:])
        return (lambda row: left(row) / right(row)), rest
    return left, rest


def _atom(words: list[str]) -> tuple[Callable[[Row], Any], list[str]]:
    if not words:
        raise SplError("Error in 'eval' command: The expression is malformed.")
    word, rest = words[0], words[1:]
    if rest and rest[0] == "(" and word in ("lower", "upper", "coalesce", "floor", "substr", "mvindex"):
        arguments: list[Callable[[Row], Any]] = []
        rest = rest[1:]
        while True:
            argument, rest = _compared(rest)
            arguments.append(argument)
            if rest[:1] == [","]:
                rest = rest[1:]
                continue
            if rest[:1] != [")"]:
                raise SplError("Error in 'eval' command: The expression is malformed.")
            break
        calls: dict[str, Callable[[Row], Any]] = {
            "lower": lambda row: None if isinstance(text := arguments[0](row), list) else str(text).lower(),
            "upper": lambda row: str(arguments[0](row)).upper(),
            "mvindex": lambda row: several(arguments[0](row))[int(arguments[1](row))],
            "substr": lambda row: str(arguments[0](row))[int(arguments[1](row)) - 1 :][: int(arguments[2](row))],
            "floor": lambda row: math.floor(arguments[0](row)),
            "coalesce": lambda row: next((value for each in arguments if (value := each(row)) is not None), None),
        }
        return calls[word], rest[1:]
    if word.startswith('"'):
        return (lambda row: bare(word)), rest
    if number(word) is not None:
        return (lambda row: number(word)), rest
    return (lambda row: row.get(bare(word))), rest


@dataclass
class Call:
    """`avg("x") AS m0`."""

    kind: str
    argument: str
    alias: str
    test: Callable[[Row], Any] | None = None

    def of(self, rows: Sequence[Row]) -> Any:
        if self.test is not None:
            return sum(1 for row in rows if self.test(row))
        if self.kind == "count" and not self.argument:
            return len(rows)
        cells = [(row.get("(at)", row["_time"]), value) for row in rows for value in several(row.get(self.argument))]
        if self.kind == "count":
            return len(cells)
        if not cells:
            return None
        if self.kind == "latest":
            return max(cells, key=lambda cell: cell[0])[1]
        values = [value for _, cell in cells if (value := number(cell)) is not None]
        if not values:
            return None
        if self.kind.startswith("perc"):
            return sorted(values)[max(0, math.ceil(int(self.kind[4:]) / 100 * len(values)) - 1)]
        return {"avg": lambda v: sum(v) / len(v), "sum": sum, "min": min, "max": max}[self.kind](values)


def calls(words: list[str], command: str) -> tuple[list[Call], list[str]]:
    """The functions at the start, and what follows them."""
    found: list[Call] = []
    while words and words[0].upper() not in ("WHERE", "BY"):
        kind, words, argument, test = words[0], words[1:], "", None
        if not re.fullmatch(r"count|avg|sum|min|max|latest|perc\d{1,2}", kind):
            raise SplError(f"Error in '{command}' command: The argument '{kind}' is invalid.")
        if words[:1] == ["("]:
            depth, end = 1, 1
            while depth:
                depth += {"(": 1, ")": -1}.get(words[end], 0)
                end += 1
            inside, words = words[1 : end - 1], words[end:]
            if inside[:2] == ["eval", "("]:
                test = expression(inside[2:-1])
            elif len(inside) == 1:
                argument = bare(inside[0])
            else:
                raise SplError(f"Error in '{command}' command: The argument '{' '.join(inside)}' is invalid.")
        alias = f"{kind}({argument})" if argument else kind
        if words[:1] == ["AS"]:
            alias, words = bare(words[1]), words[2:]
        found.append(Call(kind, argument, alias, test))
        words = words[1:] if words[:1] == [","] else words
    return found, words


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)(s|m|h|d)", text)
    if found is None:
        raise SplError(f"Error in 'bin' command: The value for option span ({text}) is invalid.")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def tail(words: list[str]) -> tuple[list[str], int | None]:
    """`BY _time span=60s host` → the fields, the span."""
    names, span = [], None
    words = [word for word in words if word.upper() != "BY" and word != ","]
    while words:
        if words[:2] == ["span", "="]:
            span, words = seconds(words[2]), words[3:]
        else:
            names.append(bare(words[0]))
            words = words[1:]
    return names, span


def grouped(rows: Iterable[Row], names: Sequence[str], functions: Sequence[Call]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        keys: list[tuple[Any, ...]] = [()]
        for name in names:
            keys = [(*key, value) for key in keys for value in several(row.get(name))]
        for key in keys:
            groups[key].append(row)
    if not names and not groups:
        groups[()] = []
    made = []
    for key in sorted(groups, key=lambda key: tuple(str(part) for part in key)):
        answer = dict(zip(names, key, strict=True))
        answer |= {call.alias: value for call in functions if (value := call.of(groups[key])) is not None}
        made.append(answer)
    return made


# --- commands -------------------------------------------------------------------------------------------------------------


def run(text: str, samples: Samples, start: float, end: float) -> list[Row]:
    """The rows of a search over `[start, end)`, values as Splunk spells them (`_time` still a number)."""
    rows: list[Row] = []
    for place, words in enumerate(pipeline(text)):
        if not words:
            raise SplError("Error in 'SearchParser': Missing a search command before '|'.")
        command, rest = words[0], words[1:]
        if place == 0 and command not in ("search", "mstats", "tstats"):
            raise SplError(f"Unknown search command '{command}'.")
        rows = _command(command, rest, rows, samples, start, end, first=place == 0)
    return [{key: value if key == "_time" else spelled(value) for key, value in row.items() if value is not None} for row in rows]


def _command(
    command: str, words: list[str], rows: list[Row], samples: Samples, start: float, end: float, *, first: bool
) -> list[Row]:
    match command:
        case "search" if first:
            test = Condition(words).whole()
            found = [event for event in samples.events if start <= event["_time"] < end and test(event)]
            return [dict(event) for event in sorted(found, key=lambda event: -event["_time"])]
        case "search" | "where":
            test = Condition(words).whole()
            return [row for row in rows if test(row)]
        case "mstats" | "tstats":
            return _from_index(command, words, samples, start, end)
        case "stats":
            functions, rest = calls(words, command)
            return grouped(rows, tail(rest)[0], functions)
        case "bin":
            named, span = tail(words)
            assert span is not None
            assert named[0] == "_time"
            target = named[2] if named[1:2] == ["AS"] else "_time"  # without AS, what `latest` goes by is lost
            return [{**row, target: row["_time"] // span * span} for row in rows]
        case "eval":
            return _eval(words, rows)
        case "fields":
            drop = words[:1] == ["-"]
            words = [word for word in words if word not in (",", "-")]
            names = {key for row in rows for key in row if any(star(bare(word)).fullmatch(key) for word in words)}
            return [
                {key: value for key, value in row.items() if (key in names) != drop or (not drop and key[0] == "_")}
                for row in rows
            ]
        case "dedup":
            return _dedup(int(words[0]), bare(words[1]), rows)
        case "head":
            return rows[: int(words[0])]
    raise SplError(f"Unknown search command '{command}'.")


def _from_index(command: str, words: list[str], samples: Samples, start: float, end: float) -> list[Row]:
    functions, rest = calls(words, command)
    stop = next((place for place, word in enumerate(rest) if word.upper() == "BY"), len(rest))
    stop = min(stop, next((place for place, word in enumerate(rest) if word == "span"), len(rest)))
    if rest[:1] != ["WHERE"]:
        raise SplError(f"Error in '{command}' command: This command must have a WHERE clause.")
    test, (names, span) = Condition(rest[1:stop]).whole(), tail(rest[stop:])
    if command == "tstats":
        rows = [event for event in samples.events if start <= event["_time"] < end and test(event)]
    else:
        rows = []
        wanted = {call.argument for call in functions} - {"_value", ""}
        passes: dict[tuple[int, str], bool] = {}
        for time, value, metric, dimensions in samples.points_between(start, end):
            key = id(dimensions), metric
            if key not in passes:
                passes[key] = test({**dimensions, "metric_name": metric})
            if passes[key] and (metric in wanted or "_value" in {call.argument for call in functions}):
                rows.append({"_time": time, "_value": value, metric: value, "metric_name": metric, **dimensions})
    if span is not None:
        rows = [{**row, "_time": row["_time"] // span * span, "(at)": row["_time"]} for row in rows]
        names = names if "_time" in names else ["_time", *names]
    return grouped(rows, names, functions)


def _eval(words: list[str], rows: list[Row]) -> list[Row]:
    parts: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(word)
    for part in parts:
        name, compute = bare(part[0]), expression(part[2:])
        rows = [{**row, name: compute(row)} for row in rows]
    return rows


def _dedup(most: int, name: str, rows: list[Row]) -> list[Row]:
    seen: dict[Any, int] = defaultdict(int)
    kept = []
    for row in rows:
        if name in row:
            seen[row[name]] += 1
            if seen[row[name]] <= most:
                kept.append(row)
    return kept
