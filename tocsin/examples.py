"""The configuration that is shipped: what `tocsin init` writes.

In an installed package it lies in `tocsin/_config`, in a checkout in `config/`.
"""

from __future__ import annotations

from pathlib import Path

from tocsin.errors import ConfigError


def folder() -> Path:
    """Where the shipped configuration lies."""
    here = Path(__file__).parent
    installed = here / "_config"
    return installed if installed.is_dir() else here.parent / "config"


def write_examples(target: Path) -> list[Path]:
    """Copy the shipped configuration into `target`, made if need be; the files written, in order.

    Refuses (`ConfigError`) before the first file when one of them is there already: nothing a person wrote is overwritten.
    """
    source = folder()
    names = sorted(path.relative_to(source) for path in source.rglob("*") if path.suffix in (".yaml", ".json"))
    for name in names:
        if (target / name).exists():
            raise ConfigError(f"{target / name}: is there already, and nothing is overwritten; give another folder")
    try:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((source / name).read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename or target}: cannot be written: {error.strerror}") from error
    return [target / name for name in names]
