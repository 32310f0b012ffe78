"""What holds incidents back, as it is written: what fits together, and what a mistake is told like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tocsin.config_shapes import Alert
from tocsin.config_stages import DependsOn
from tocsin.model import utc
from tocsin.staging import allowance_of, planned


def alert(**parts: Any) -> Alert:
    return Alert.model_validate(parts)


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        ({"name": "x"}, "expected either at (with until or lasts), or from and to"),
        ({"name": "x", "at": "22:00"}, "expected either until or lasts beside at"),
        ({"name": "x", "at": "22:00", "until": "06:00", "lasts": "1h"}, "expected either until or lasts beside at"),
        ({"name": "x", "at": "25:00", "until": "06:00"}, 'expected a time of the local clock, such as "22:30"'),
        ({"name": "x", "at": "22:00", "until": "06:00", "rule": "every sunday"}, "is no rule of recurrence"),
        ({"name": "x", "at": "22:00", "until": "06:00", "from": "2026-01-01 10:00"}, "expected either at"),
        ({"name": "x", "from": "2026-01-01 10:00"}, "expected from and to, the earlier one first"),
        ({"name": "x", "from": "2026-01-02 10:00", "to": "2026-01-01 10:00"}, "the earlier one first"),
        ({"name": "x", "from": "tomorrow", "to": "2026-01-01 10:00"}, 'such as "2026-03-28 22:00"'),
        ({"name": "x", "from": "2026-01-01T10:00Z", "to": "2026-01-02 10:00"}, "expected a local time"),
        ({"at": "22:00", "until": "06:00"}, "Field required"),
    ],
)
def test_planned_work_that_cannot_be_is_refused(work: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=".") as refused:
        alert(maintenance=[work])
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "parts",
    [
        {"quiet": [{"at": "22:00"}]},
        {"quiet": [{"at": "22:00", "until": "06:00", "up_to": "OK"}]},
        {"budget": {}},
        {"budget": {"alerts": 0}},
        {"budget": {"alerts": 5, "every": "1m"}},
        {"group": {"behind": 1}},
        {"group": {"within": "2h"}},
        {"flapping": {"times": 0}},
        {"promise": 0.0},
        {"promise": "little"},
        {"hand_back": "maybe"},
    ],
)
def test_bounds_are_held(parts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        alert(**parts)


def test_planned_work_is_in_the_time_zone_of_the_component_type() -> None:
    written = alert(
        maintenance=[
            {"name": "batch", "at": "01:00", "lasts": "2h", "components": ["db-*"]},
            {"name": "move", "from": "2026-03-28 22:00", "to": "2026-03-29 09:00"},
        ]
    )
    batch, move = planned(written, "Europe/Paris")
    assert move.once is not None
    assert utc(move.once.start).isoformat() == "2026-03-28T21:00:00+00:00"
    assert (move.once.end - move.once.start) / 3600 == 10
    assert batch.at_instant("web-1", move.once.start) is None
    assert batch.at_instant("db-1", move.once.start) is None
    assert [(one.end - one.start) / 3600 for one in batch.spans(move.once.start, move.once.end)] == [2]


def test_a_budget_is_the_types_or_its_teams() -> None:
    assert allowance_of("web", alert()) is None
    own = allowance_of("web", alert(budget={"alerts": 5}, open={"surprise": 5.0}))
    shared = allowance_of("web", alert(budget={"alerts": 5, "team": "shop"}))
    assert own is not None
    assert shared is not None
    assert (own.name, own.floor, own.top, own.every) == ("web", 5.0, 9.0, 7 * 86_400)
    assert shared.name == "team shop"


def test_what_a_type_depends_on_is_a_list_or_by_pattern() -> None:
    shape = TypeAdapter(DependsOn)
    assert shape.validate_python(["db-1"]) == {"*": ("db-1",)}
    assert shape.validate_python({"web-*": ["db-1", "lb-1"]}) == {"web-*": ("db-1", "lb-1")}
    for wrong in ("db-1", {"web-*": []}, {"web-*": "db-1"}, [1]):
        with pytest.raises(ValidationError):
            shape.validate_python(wrong)


def test_an_unknown_supervising_system_is_told_with_its_place(tmp_path: Path) -> None:
    from tests.unit.test_oversight import configured
    from tocsin.config import load
    from tocsin.errors import ConfigError

    configured(tmp_path, "{}")
    (tmp_path / "tocsin.yaml").write_text("state: var\nsupervision: {use: centroen, every: 5s}\n")
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "tocsin.yaml", environment={})
    told = " ".join(refused.value.problems)
    assert '2:20: supervision.use: no supervision "centroen"' in told
    assert "supervision.every: 5s is out of range; expected 10s to 1h" in told
