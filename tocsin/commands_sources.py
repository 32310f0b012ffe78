"""`tocsin check-source` and `tocsin discover`: what a source says when a person asks."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tocsin.options import ConfigOption, JsonOption, emit, load_config

app = typer.Typer()


@app.command("check-source")
def check_source(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A component type, or a kind of source: elasticsearch, splunk, …")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect to a source as the configuration has it, and say what it answers.

    Shows its version, the rights we have, how late its newest data are, a few values, and what one tick costs it.
    Nothing is written anywhere. Exit code 0: all is well; 1: it does not answer now, or something should be seen to;
    2: it will never answer like this (rights, names, secrets).

    Example: tocsin check-source linux-host
    """
    from tocsin.sources import check, lines_of, plain

    checked = check(load_config(config), name, time.time())
    if as_json:
        emit([one.document() for one in checked])
    else:
        for one in checked:
            for line in lines_of(one):
                print(plain(line))
    raise typer.Exit(max((one.verdict for one in checked), default=0))


@app.command()
def discover(
    component_type: Annotated[str, typer.Argument(metavar="TYPE", help="The component type.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the components and metrics that the sources of a component type have now.

    Says which series are new and which vanished since yesterday, which components include and exclude keep away, and what
    a cap cut. Exit code 1 when a source did not answer, or has nothing any more.

    Example: tocsin discover linux-host --json
    """
    from tocsin import sources

    found = sources.discover(load_config(config), component_type, time.time())
    if as_json:
        emit(found.document())
    else:
        for line in sources.told(found):
            print(sources.plain(line))
    raise typer.Exit(1 if found.failures or found.emptied else 0)
