"""A folder with `tocsin.yaml` and component files, made for one test, and plugins of nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fake_plugins
from tests.unit.config.samples import MAIN
from tocsin.config import Config, load
from tocsin.errors import ConfigError

Loads = Callable[..., Config]


@pytest.fixture(autouse=True, scope="module")
def _plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site")
    fake_plugins.install(folder)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Write the files and load them; the environment is empty."""

    def loaded(main: str = MAIN, environment: dict[str, str] | None = None, **components: str) -> Config:
        (tmp_path / "components").mkdir(exist_ok=True)
        (tmp_path / "tocsin.yaml").write_text(main)
        for name, text in components.items():
            (tmp_path / f"components/{name}.yaml").write_text(text)
        return load(tmp_path / "tocsin.yaml", environment=environment or {})

    return loaded


@pytest.fixture
def told(loads: Loads, tmp_path: Path) -> Callable[..., list[str]]:
    """What is wrong with files, without the folder they are in."""

    def mistakes(*args: Any, **components: str) -> list[str]:
        with pytest.raises(ConfigError) as error:
            loads(*args, **components)
        assert str(error.value) == "\n".join(error.value.problems)
        return [problem.replace(f"{tmp_path}/", "") for problem in error.value.problems]

    return mistakes
