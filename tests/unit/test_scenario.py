"""Scenarios written in YAML, and that a scenario that is not true says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin.scenario import play

SCENARIOS = sorted((Path(__file__).resolve().parents[1] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    assert play(path).failures == ()


STORY = """\
scenario: a story
steps:
  - {at: 0m, component: web-1, surprise: 1}
  - {at: 10m, component: web-1, surprise: 9}
want:
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("want", "failure"),
    [
        ("between: [1m, 9m], component: web-1, shows: CRITICAL", "did not show CRITICAL: at 9m it showed OK"),
        ("throughout: [8m, 20m], component: web-1, shows: OK", "did not show OK: at 12m it showed CRITICAL"),
        ("throughout: [0m, 5m], component: web-1, shows: OK", "did not show OK: at 0s it showed nothing"),
        ("between: [12m, 20m], component: web-1, shows: CRITICAL, saying: disk", "did not show CRITICAL saying 'disk'"),
    ],
)
def test_a_want_that_does_not_come_true_is_told_with_its_place(tmp_path: Path, want: str, failure: str) -> None:
    (told,) = play(written(tmp_path, f"{STORY}  - {{{want}}}\n")).failures
    assert told.startswith(f"{tmp_path}/story.yaml:6:5: want[0]: web-1 ")
    assert failure in told


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (STORY + "  - {between: [1m, 2m], component: web-9, shows: OK}\n", "6:36: want[0].component: no step speaks of 'web-9'"),
        (STORY + "  - {betwen: [1m, 2m], component: web-1, shows: OK}\n", "no such key (did you mean"),
        (STORY + "  - {between: [2m, 1m], component: web-1, shows: OK}\n", "before it begins"),
        (STORY + "  - {component: web-1, shows: OK}\n", "expected either between or throughout"),
        (STORY + "  - {between: [1m, 2 parsecs], component: web-1, shows: OK}\n", "2 parsecs"),
        (STORY + "  - {between: [1m, 9w], component: web-1, shows: OK}\n", "at most 15d"),
        (
            STORY.replace("surprise: 9", "") + "  - {between: [1m, 2m], component: web-1, shows: OK}\n",
            "expected either component and",
        ),
        ("start: yesterday\n" + STORY + "  - {between: [1m, 2m], component: web-1, shows: OK}\n", "is no local time"),
        ("a: [", "story.yaml"),
    ],
)
def test_a_mistake_in_a_scenario_is_told_with_its_place(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as refused:
        play(written(tmp_path, text))
    assert mistake in str(refused.value)
    assert "story.yaml" in str(refused.value)
