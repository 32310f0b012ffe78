"""What a backtest compares with: the YAML's thresholds, and where it is silent those that the source deploys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.fakes import ListCollector
from tocsin.config import load
from tocsin.intake import Intake, Source
from tocsin.model import SeriesKey
from tocsin.replaying import template_in_force
from tocsin.thresholds import Thresholds, parse_range

CPU, LOAD, ODD = SeriesKey("srv-1", "cpu"), SeriesKey("srv-1", "load"), SeriesKey("srv-1", "odd")


class Templated(ListCollector):
    def thresholds(self) -> Mapping[SeriesKey, tuple[str, str]]:
        return {CPU: ("70", "80"), LOAD: ("", "10:20"), ODD: ("20:10", "x")}


def test_the_yaml_goes_before_the_source_and_what_nobody_understands_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "component_type: t\nevery: 5m\ncollect: [{from: files, path: '*.csv'}]\nstatic: {cpu: {warning: 90}}\n"
    )
    (tmp_path / "tocsin.yaml").write_text("components: [t.yaml]\ndeliver: {sink: {use: recording}}\n")
    (kind,) = load(tmp_path / "tocsin.yaml").types
    intake = Intake([Source(name="centreon", collector=Templated({}))], {})
    template = template_in_force(kind, intake)
    assert template.of(CPU) == Thresholds(parse_range("90"))
    assert template.of(LOAD) == Thresholds(None, parse_range("10:20"))
    assert template.of(ODD) is None
