"""With the plugins that are built in, and no others: `config/` and its page are what `tocsin init` gives to a person."""

from __future__ import annotations

import json
from pathlib import Path

from tocsin.config import json_schema, load

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_configuration_has_no_mistake() -> None:
    config = load(ROOT / "config/tocsin.yaml", environment={})
    assert {kind.name for kind in config.types} == {"web", "host"}


def test_the_committed_schema_is_current() -> None:
    fresh = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert (ROOT / "config/schema.json").read_text(encoding="utf-8") == fresh, "run: tocsin schema > config/schema.json"


def test_every_key_is_on_the_page() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for name, shape in json_schema()["$defs"].items():
        for key in shape.get("properties", {}) if "." not in name else ():
            assert f"`{key}`" in page or f"{key}:" in page, f"{name}.{key} is not on the page"
