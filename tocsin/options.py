"""What the commands share: their common options, and how they find the configuration and the state."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.errors import ConfigError

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.store.state import State

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="tocsin.yaml; else $TOCSIN_CONFIG, ./tocsin.yaml, /etc/tocsin/tocsin.yaml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for machines.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides; you, when it is not given.")]
TypeOption = Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this component type.")]


def emit(document: object) -> None:
    """Print a JSON document."""
    from tocsin.show import emit as emit_json

    emit_json(document)


def load_config(path: Path | None) -> Config:
    """The configuration named, or the first of the usual places that exists."""
    from tocsin.config import load

    usual = (
        [Path(os.environ["TOCSIN_CONFIG"])]
        if "TOCSIN_CONFIG" in os.environ
        else [Path("tocsin.yaml"), Path("/etc/tocsin/tocsin.yaml")]
    )
    found = path or next((place for place in usual if place.exists()), None)
    if found is None:
        looked = ", ".join(map(str, usual))
        raise ConfigError(f"no configuration: looked for {looked}; name one with --config, or write one with `tocsin init`")
    return load(found)


def open_state(config: Config) -> State:
    """The state of an installation, for looking at it; works while the daemon runs."""
    from tocsin.store.state import State

    return State.open(config.database_url())


def user() -> str:
    """The person at the keyboard."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
