"""Plugins of nobody, as small as they can be, and a way to install them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tocsin.ports import Plugin
from tocsin.settings import Duration, SecretRef, Settings


class Columns(Settings):
    time: str = "timestamp"
    label: str | None = None
    names: Path | None = None


class SheetSettings(Settings):
    path: Path
    format: Literal["csv", "parquet"] = "csv"
    columns: Columns = Columns()
    token: SecretRef | None = None
    rows: int = Field(default=100, ge=1, le=1000)
    fields: dict[str, str] = Field(default_factory=dict)


class TapeSettings(Settings):
    path: Path


class PlainSettings(Settings):
    half_life: Duration = 3600


class BoxSettings(Settings):
    path: Path = Path("box")


def _nothing(_settings: Any, _surroundings: Any) -> Any:
    return None


SHEET = Plugin(name="sheet", summary="A sheet of paper.", settings=SheetSettings, build=_nothing)
TAPE = Plugin(name="tape", summary="Knows nothing of other names.", settings=TapeSettings, build=_nothing)
PLAIN = Plugin(name="plain", summary="Finds nothing.", settings=PlainSettings, build=_nothing)
OTHER = Plugin(name="other", summary="Finds nothing else.", settings=PlainSettings, build=_nothing)
BOX = Plugin(name="box", summary="Keeps everything.", settings=BoxSettings, build=_nothing)
NO_PLUGIN = "a word"

ENTRY_POINTS = """
[tocsin.collectors]
sheet = tests.fake_plugins:SHEET
tape = tests.fake_plugins:TAPE

[tocsin.detectors]
plain = tests.fake_plugins:PLAIN
other = tests.fake_plugins:OTHER
broken = tests.no_such_module:PLUGIN
word = tests.fake_plugins:NO_PLUGIN
misnamed = tests.fake_plugins:PLAIN

[tocsin.sinks]
box = tests.fake_plugins:BOX
"""


def install(folder: Path, entry_points: str = ENTRY_POINTS, name: str = "fake-plugins") -> None:
    """Make a distribution of that name in `folder`, which has to be on `sys.path`."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
