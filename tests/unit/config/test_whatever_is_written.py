from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.unit.config.samples import MAIN, WEB
from tocsin.config import load
from tocsin.errors import ConfigError

_SYMBOLS = r": - [ ] { } &a *a !t ' # | > ? % @ null true -1 0 1e999 .nan é \ud800 5m env:X {component} all << ~ 0x1F 2026-13-45"
_BLANKS = ["", " ", "\n", "\t", '"', ": ", "- ", "? ", "9" * 30, "x" * 300, "\u202e", "\x85", "---\n", "...\n"]
_PIECES = st.sampled_from([*_SYMBOLS.split(), *_BLANKS])
_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), _PIECES | st.text(max_size=4)), min_size=1, max_size=4)


def _edited(text: str, edits: list[tuple[float, int, str]]) -> str:
    for where, cut, piece in edits:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + cut :]
    return text


def _load_or_mistakes(folder: Path) -> None:
    problems: tuple[str, ...] = ()
    try:
        config = load(folder / "tocsin.yaml", environment={})
        for kind in config.types:
            assert kind.surroundings().span >= 10
            assert kind.alert.rules().open_of >= 1
            assert kind.alert.to.key("c", kind.name, "anomaly").host
    except ConfigError as error:
        problems = error.problems
        assert problems
    assert all(problem.startswith(str(folder)) and problem.isprintable() for problem in problems)


@given(edits=_EDITS, main_edits=st.just([]) | _EDITS)
@examples(max_examples=150)
def test_whatever_is_written_gives_a_configuration_or_its_mistakes(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int, str]], main_edits: list[tuple[float, int, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "whatever"
    (folder / "components").mkdir(parents=True, exist_ok=True)
    main = (
        MAIN + "train: {every: 6h, keep: 3}\nhttp: {listen: '127.0.0.1:1'}\ntimezone: UTC\nstate: var\ndatabase: sqlite:///a.db\n"
    )
    (folder / "tocsin.yaml").write_bytes(_edited(main, main_edits).encode("utf-8", "surrogatepass"))
    (folder / "components/web.yaml").write_bytes(_edited(WEB, edits).encode("utf-8", "surrogatepass"))
    _load_or_mistakes(folder)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5m", "sheet", "plain", "all", "cpu", "FR"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["use", "from", "every", "surprise", "of", "cpu"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = """
component_type timezone calendar calendar.holidays every delay static detect detect.0 detect.1.half_life
alert alert.reopen alert.open alert.open.of alert.close alert.critical alert.to alert.to.host
collect collect.0 collect.0.every collect.0.columns collect.0.metrics collect.0.metrics.hits collect.0.metrics.hits.upper
"""


def _put(holder: Any, steps: list[str], value: Any) -> None:
    """Put a value into nested dicts and lists, where the way there still exists."""
    for step in steps[:-1]:
        if isinstance(holder, list):
            holder = holder[int(step)] if step.isdigit() and int(step) < len(holder) else None
        else:
            holder = holder.get(step) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder[steps[-1]] = value
    elif isinstance(holder, list) and steps[-1].isdigit() and int(steps[-1]) < len(holder):
        holder[int(steps[-1])] = value


@given(changes=st.dictionaries(st.sampled_from(_KEYS.split()), _VALUES, min_size=1, max_size=3))
@examples(max_examples=150)
def test_any_value_at_any_key_gives_a_configuration_or_its_mistakes(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "values"
    (folder / "components").mkdir(parents=True, exist_ok=True)
    (folder / "tocsin.yaml").write_text(MAIN)
    data: Any = {
        "component_type": "web",
        "calendar": {"holidays": "FR"},
        "collect": [{"from": "sheet", "path": "x", "every": "5m", "metrics": {"hits": {"upper": 5}}}],
        "detect": ["other", {"use": "plain", "half_life": "2h"}],
        "alert": {"open": {}, "close": {}, "to": {}, "critical": {}},
    }
    for key, value in changes.items():
        _put(data, key.split("."), value)
    (folder / "components/web.yaml").write_text(
        json.dumps(data).replace("NaN", ".nan").replace("Infinity", ".inf")
    )  # JSON is YAML
    _load_or_mistakes(folder)
