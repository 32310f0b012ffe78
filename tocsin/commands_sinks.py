"""`tocsin check-sink`: whether results can reach Centreon, and what an answer from there is worth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import PermanentError, TransientError
from tocsin.options import ConfigOption, JsonOption, emit, load_config

app = typer.Typer()


@app.command("check-sink")
def check_sink(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A transport: say what it is and its settings, and connect to nothing.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect to where results go: what a "yes" means there, what can be read back, what is in the way. Sends nothing.

    Exit code 0 when results can be delivered, 1 when not now, 2 when something must be put right first.

    Example: tocsin check-sink -c /etc/tocsin/tocsin.yaml
    """
    from tocsin.errors import ConfigError
    from tocsin.ports import Closable, ProbingSink
    from tocsin.registry import find

    if name is not None:
        try:
            plugin = find("sinks", name)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        print(f"{plugin.name}: {plugin.summary}")
        for key, field in plugin.settings.model_fields.items():
            default = field.get_default(call_default_factory=True)
            usual = "required" if field.is_required() else f"default: {default}" if isinstance(default, str | int | Path) else ""
            print(f"  {key}: {', '.join(filter(None, (field.description, usual))) or 'a section'}")
        return
    loaded = load_config(config)
    entry = loaded.deliver.sink
    sink = entry.plugin.build(entry.settings, None)
    try:
        if not isinstance(sink, ProbingSink):
            raise ConfigError(f"{entry.plugin.name}: this transport cannot be looked at without sending something")
        probe = sink.probe(time.time())
    except PermanentError as error:
        raise ConfigError(f"{entry.plugin.name}: {error}") from error
    except TransientError as error:
        raise TransientError(f"{entry.plugin.name}: {error}") from error
    finally:
        if isinstance(sink, Closable):
            sink.close()
    if as_json:
        emit(
            {
                "sink": entry.plugin.name,
                "version": probe.version,
                "reads_back": sink.reads_back,
                "rights": probe.rights,
                "samples": probe.samples,
                "warnings": probe.warnings,
            }
        )
        return
    print(f"{entry.plugin.name}: {probe.version}")
    print(f"  read back: {'yes' if sink.reads_back else 'no'}")
    for word, sentences in (("", probe.rights), ("for example: ", probe.samples), ("warning: ", probe.warnings)):
        for sentence in sentences:
            print(f"  {word}{sentence}")
