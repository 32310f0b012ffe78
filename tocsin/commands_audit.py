"""`tocsin audit`: the journal of what happened and who decided, and whether it is whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.errors import ConfigError
from tocsin.options import ConfigOption, JsonOption, emit, load_config, open_state

app = typer.Typer(
    help="The journal: each step of each incident and each decision of a person, a line of JSON each, chained by digests.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(help="A file that `tocsin audit export` wrote; the database by default.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no line of the journal was changed, taken out or put in. Exit code 1 with the place when one was.

    The digest of the last line stands for all of them: write it down elsewhere, and nobody can write the journal anew.

    Example: tocsin audit verify
    """
    from tocsin import chain

    links = _links(config, file)
    fault = chain.first_break(links)
    if as_json:
        emit({"lines": len(links), "whole": not fault, "fault": fault, "last": links[-1].digest if links else None})
    elif fault:
        print(f"tocsin: journal: {fault}", file=sys.stderr)
    else:
        print(f"{len(links)} lines, whole; the last digest is {links[-1].digest if links else 'none yet'}")
    if fault:
        raise typer.Exit(1)


@app.command("export")
def audit_export(
    incident: Annotated[
        str, typer.Option("--incident", metavar="ID", help="Only this incident's life; the chain is left out.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Print the journal as JSON lines: what happened, with its number and digest. `tocsin audit verify FILE` checks it.

    Example: tocsin audit export > journal.jsonl
    """
    import json

    with open_state(load_config(config)) as state:
        whole = state.incident(incident)[0].id if incident else ""
        after = 0
        while links := state.accounts.journal(after, 10_000):
            for link in links:
                if whole and json.loads(link.line).get("incident") != whole:
                    continue
                facts = (
                    link.line
                    if whole
                    else json.dumps({"seq": link.seq, "line": link.line, "digest": link.digest}, ensure_ascii=False)
                )
                print(facts)
            after = links[-1].seq


def _links(config: Path | None, file: Path | None) -> list[Any]:
    import json

    from tocsin.chain import Link

    if file is None:
        with open_state(load_config(config)) as state:
            return list(state.accounts.journal())
    try:
        with file.open(encoding="utf-8") as lines:
            return [Link(**json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: cannot be read as an exported journal: {error}") from error
