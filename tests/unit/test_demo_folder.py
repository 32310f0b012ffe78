"""The simulated park, written down, is what the product reads."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tocsin.config import load
from tocsin.demo.folder import write
from tocsin.demo.park import Park
from tocsin.demo.simulator import simulate
from tocsin.demo.source import ParkSource
from tocsin.model import SeriesIndex


@cache
def park() -> Park:
    return simulate(7)


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(park(), tmp_path_factory.mktemp("park"))


def test_the_configuration_it_writes_is_the_park(main: Path) -> None:
    types = {kind.name: kind for kind in load(main).types}
    assert set(types) == set(park().types)
    for name, kind in park().types.items():
        around = types[name].surroundings()
        assert (around.metrics, around.calendar, around.span) == (kind.metrics, park().calendar, park().live.span)
        assert {metric: (limits.warning, limits.critical) for metric, limits in types[name].static.items()} == {
            metric: (str(limits.warning), str(limits.critical)) for metric, limits in kind.template.thresholds.items()
        }


@pytest.mark.parametrize("component_type", ["web", "database", "host", "queue"])
def test_the_files_hold_what_the_source_in_memory_says(main: Path, component_type: str) -> None:
    kind = next(kind for kind in load(main).types if kind.name == component_type)
    collect = kind.collect[0]
    collector = collect.plugin.build(collect.settings, kind.surroundings())
    index, source = SeriesIndex(collector.discover()), ParkSource(park(), component_type)
    assert index == SeriesIndex(source.discover())
    assert collector.reach() == source.reach()
    window = park().types[component_type].raw.window
    read, told = collector.collect(index, window), source.collect(index, window)
    assert np.allclose(read.values, told.values, rtol=1e-14, equal_nan=True)


def test_what_really_happened_is_written_beside(main: Path) -> None:
    with (main.parent / "incidents.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["component"], row["kind"]) for row in rows] == [(label.component, label.kind) for label in park().incidents]
