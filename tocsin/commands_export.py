"""`tocsin export`: what was learnt, for Centreon's own engine and for people."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.errors import ConfigError
from tocsin.options import ConfigOption

if TYPE_CHECKING:
    from tocsin.forecast import Bands
    from tocsin.shard import Shard

app = typer.Typer(
    help="""What was learnt, for Centreon's own engine and for people.

    `thresholds` is the engine's anomaly-detection file: it judges by it between two ticks, and draws the band. It needs
    anomaly-detection services, which only Centreon's licensed module or a hand-written object makes, and knows OK and
    CRITICAL only.

    `matrix` is what is normal per half-hour and kind of day, as CSV: for every edition, for reading and spreadsheets.

    `macros` is one range per service as custom macros (CLAPI), for static checks: a macro cannot know the hour, so the range
    is the widest of the week.
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)

TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="The component type.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output by default.")]


@app.command()
def thresholds(
    component_type: TypeArgument,
    targets: Annotated[
        Path, typer.Option(help="CSV with component, metric, host_id, service_id and perhaps metric_name: the services to feed.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The engine's thresholds file; replaced as a whole.")],
    hours: Annotated[int, typer.Option(min=2, max=24 * 14, help="How far ahead; run it again well before they are over.")] = 48,
    command_file: Annotated[
        Path | None, typer.Option(metavar="FIFO", help="Tell the engine through its command file (NEW_THRESHOLDS_FILE).")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the thresholds file of Centreon's engine: lower, upper and fit per point.

    Example: tocsin export thresholds web --targets web.csv -o /etc/centreon-engine/anomaly/web.json
    """
    from tocsin import export

    wanted = export.read_targets(targets)
    now = time.time()
    shard, bands = _bands(config, component_type, now, hours * 3600)
    document, left_out = export.thresholds(bands, wanted, shard.metrics)
    for sentence in left_out:
        print(f"left out: {sentence}", file=sys.stderr)
    if not document:
        raise ConfigError(f"{targets}: none of its {len(wanted)} services can be fed; nothing was written")
    export.write_thresholds(output, document)
    if command_file is not None:
        export.tell_engine(command_file, output, now)
    told = " and told the engine" if command_file is not None else ""
    print(f"wrote {output}: {len(document)} services, {hours} h ahead{told}")


@app.command()
def matrix(component_type: TypeArgument, output: OutputOption = None, config: ConfigOption = None) -> None:
    """Write what is normal per series, kind of day and half-hour as CSV: expected, lower, upper.

    Example: tocsin export matrix web -o web.csv
    """
    from tocsin import export
    from tocsin.timegrid import DAY

    shard, bands = _bands(config, component_type, time.time(), 8 * DAY)
    _write(output, "".join(export.matrix_csv(export.matrix(bands, shard.calendar))))


@app.command()
def macros(component_type: TypeArgument, output: OutputOption = None, config: ConfigOption = None) -> None:
    """Write one range per series as custom macros of its service, as lines for `centreon -i`.

    Example: tocsin export macros web -o macros.clapi && centreon -u admin -p … -i macros.clapi
    """
    from tocsin import export
    from tocsin.timegrid import DAY

    shard, bands = _bands(config, component_type, time.time(), 8 * DAY)
    found = export.ranges(export.matrix(bands, shard.calendar))
    _write(output, "".join(export.macro_lines(found, shard.kind.alert.to, shard.kind.name)))


def _bands(config: Path | None, component_type: str, now: float, ahead: int) -> tuple[Shard, Bands]:
    """What the version in force says of the time from an hour ago to `ahead` seconds from now."""
    from tocsin import learning
    from tocsin.export import BEHIND
    from tocsin.forecast import forecast
    from tocsin.model import Window
    from tocsin.options import load_config, open_state
    from tocsin.shard import Shard
    from tocsin.store import baselines
    from tocsin.store.history import History

    loaded = load_config(config)
    kind = next((one for one in loaded.types if one.name == component_type), None)
    if kind is None:
        raise ConfigError(f'no component type "{component_type}"; there are: {", ".join(one.name for one in loaded.types)}')
    with open_state(loaded) as state:
        active = state.active_model(component_type)
        if active is None:
            raise ConfigError(f"{component_type}: nothing was learnt yet: run `tocsin train --type {component_type}` first")
        models = learning.to_models(baselines.load(loaded.state / active.path, active.sha256))
    shard = Shard.of(kind, ())
    start = Window.ending(now - BEHIND, shard.span).end
    window = Window(start, start + -(-(ahead + BEHIND) // shard.span) * shard.span, shard.span)
    with History(loaded.state / "history") as history:
        recent = history.read(component_type, Window(start, start, shard.span).reaching_back(max(shard.lookback, shard.span)))
    if not len(recent.index):
        raise ConfigError(f"{component_type}: nothing was measured lately: is the daemon running?")
    return shard, forecast(recent, window, shard.detectors, models)


def _write(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error
    print(f"wrote {output}: {text.count(chr(10))} lines")
