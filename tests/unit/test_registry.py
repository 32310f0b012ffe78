from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import fake_plugins
from tocsin import registry


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_plugins.install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_plugin_is_found_by_the_name_of_its_entry_point() -> None:
    assert registry.find("collectors", "sheet") is fake_plugins.SHEET
    assert {"plain", "other", "broken"} <= set(registry.names("detectors"))


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r'^no detector "plian" \(did you mean "plain"\?\)$'):
        registry.find("detectors", "plian")


def test_a_name_near_nothing_is_refused_with_all_there_are() -> None:
    with pytest.raises(ValueError, match=r'^no sink "zzz"; expected one of .*box'):
        registry.find("sinks", "zzz")


def test_a_broken_plugin_is_told_in_one_sentence_and_does_not_hurt_the_others() -> None:
    with pytest.raises(
        ValueError, match=r'^detector "broken" of fake-plugins 1\.0 does not load: ModuleNotFoundError: No module'
    ):
        registry.find("detectors", "broken")
    assert registry.find("detectors", "plain") is fake_plugins.PLAIN


@pytest.mark.parametrize("name", ["word", "misnamed"])
def test_an_entry_point_must_lead_to_a_plugin_of_its_name(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf'^detector "{name}" of fake-plugins 1\.0 is broken: tests\.fake_plugins:\w+ is no Plugin of that name$',
    ):
        registry.find("detectors", name)


def test_two_distributions_cannot_both_bring_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    second.mkdir()
    fake_plugins.install(second, "[tocsin.detectors]\nplain = tests.fake_plugins:OTHER\n", name="rival")
    monkeypatch.syspath_prepend(second)
    with pytest.raises(
        ValueError, match=r'^detector "plain" is declared more than once, by .*(rival 1\.0.*fake-plugins|fake-plugins.*rival)'
    ):
        registry.find("detectors", "plain")


def test_an_installation_without_any_plugin_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ValueError, match=r'^no sink "box": none is installed; install tocsin'):
        registry.find("sinks", "box")


def test_listing_names_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third = tmp_path / "third"
    third.mkdir()
    (third / "tocsin_explodes.py").write_text("raise SystemExit(3)\n")
    fake_plugins.install(third, "[tocsin.sinks]\nexplodes = tocsin_explodes:PLUGIN\n", name="third")
    monkeypatch.syspath_prepend(third)
    assert "explodes" in registry.names("sinks")
    assert "tocsin_explodes" not in sys.modules
    with pytest.raises(ValueError, match=r'^sink "explodes" of third 1\.0 does not load: SystemExit: 3$'):
        registry.find("sinks", "explodes")
