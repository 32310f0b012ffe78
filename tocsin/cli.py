"""The command `tocsin`. Commands say what to do; each door's module does it. Heavy imports stay inside the commands."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tocsin import (
    __version__,
    commands_alerting,
    commands_audit,
    commands_export,
    commands_provision,
    commands_silence,
    commands_sinks,
    commands_sources,
)
from tocsin.errors import ConfigError, TransientError
from tocsin.options import ConfigOption, JsonOption, TypeOption, emit, load_config, open_state

app = typer.Typer(
    name="tocsin",
    help="""Learns what is normal for every component, and shows what is not as passive checks in Centreon.

    First steps:

      tocsin demo                     see it work, no configuration needed

      tocsin init my-site             write a first configuration

      tocsin check-config -c my-site/tocsin.yaml

      tocsin run -c my-site/tocsin.yaml --once --dry-run
    """,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(
    help="Learned baselines: every version is kept as it was, and any can be put back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
app.add_typer(commands_alerting.app)
app.add_typer(commands_silence.app, name="silence")
app.add_typer(commands_audit.app, name="audit")
app.add_typer(commands_export.app, name="export")
app.add_typer(commands_sinks.app)
app.add_typer(commands_provision.app, name="provision")
app.add_typer(commands_sources.app)


def main() -> None:
    """Run the command line; a person's mistake ends with exit code 2 and one sentence on stderr."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(f"tocsin: {problem}", file=sys.stderr)
        sys.exit(2)
    except TransientError as error:
        print(f"tocsin: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")] = False,
) -> None:
    pass


# --- configuration ------------------------------------------------------------------------------------------------


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write tocsin.yaml and components/; must not hold one yet.")] = Path(),
) -> None:
    """Write a first configuration, with comments.

    Example: tocsin init /etc/tocsin
    """
    from tocsin.examples import write_examples

    written = write_examples(folder)
    for path in written:
        print(f"wrote {path}")
    print(f"Next: edit {folder / 'components'}, then: tocsin check-config -c {folder / 'tocsin.yaml'}")


@app.command("check-config")
def check_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read the configuration, look at its sources, and say every mistake with its place. Exit code 2 when there is one.

    Example: tocsin check-config -c /etc/tocsin/tocsin.yaml
    """
    from tocsin.config import describe
    from tocsin.shard import Shard

    loaded = load_config(config)
    problems = [f"{kind.path}: {kind.name}: {problem}" for kind in loaded.types for problem in Shard.of(kind, ()).intake.check()]
    if problems:
        raise ConfigError(*problems)
    facts = describe(loaded)
    if as_json:
        emit(facts)
        return
    from tocsin.show import configuration

    configuration(facts)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Put this line on top of a YAML file: # yaml-language-server: $schema=schema.json
    """
    from tocsin.config import json_schema

    emit(json_schema())


# --- running -------------------------------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="One tick per component type, deliver, then leave.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the passive checks instead of sending them; the state is kept apart.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the daemon: collect, judge and deliver until SIGTERM. SIGHUP reloads the configuration.

    Examples:

      tocsin run                      as the service does

      tocsin run --once --dry-run     see what it would send now
    """
    from tocsin.daemon import Daemon
    from tocsin.telemetry import set_up_logging

    set_up_logging(verbose=verbose)
    loaded = load_config(config)
    daemon = Daemon(loaded, lambda: load_config(config), dry_run=dry_run)
    raise typer.Exit(daemon.run_once() if once else daemon.run_forever())


@app.command()
def train(config: ConfigOption = None, component_type: TypeOption = None) -> None:
    """Learn new baselines from the history now, and put them in force.

    Reads from the sources what the history lacks, oldest first; an interrupted training goes on where it stopped.
    Exit code 1 when a component type could not learn now, 2 when its source will never answer like this.

    Example: tocsin train --type web
    """
    from tocsin.app import App
    from tocsin.show import Progress
    from tocsin.store.lock import StateLock
    from tocsin.telemetry import set_up_logging
    from tocsin.training import interrupted

    set_up_logging()
    loaded, verdict = load_config(config), 0
    with StateLock(loaded.state), App(loaded) as product, Progress() as progress:
        for shard in product.shards_named(component_type):
            try:
                outcome = product.train(shard, time.time(), progress=progress.reporter(f"train {shard.name}"), by_hand=True)
            except KeyboardInterrupt:
                print(f"tocsin: {interrupted(shard.name)}", file=sys.stderr)
                raise typer.Exit(130) from None
            print(outcome.sentence)
            verdict = max(verdict, outcome.verdict)
    raise typer.Exit(verdict)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say how the installation is: what runs, what is learnt, what is open, what was not delivered.

    Exit code 0 when all is well, 1 when something needs a look.
    """
    from tocsin.show import status_report

    loaded = load_config(config)
    with open_state(loaded) as state:
        facts = status_report(loaded, state, time.time())
    if as_json:
        emit(facts)
    else:
        from tocsin.show import status_table

        status_table(facts)
    raise typer.Exit(1 if facts["problems"] else 0)


# --- incidents -----------------------------------------------------------------------------------------------------


@app.command()
def incidents(
    config: ConfigOption = None,
    component_type: TypeOption = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Recovered ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List incidents, the open ones unless --all is given.

    Example: tocsin incidents --all --type web
    """
    from tocsin.explain import document
    from tocsin.show import incident_table

    loaded = load_config(config)
    with open_state(loaded) as state:
        found = state.incidents(open_only=not everything, component_type=component_type, limit=limit)
    if as_json:
        emit([document(incident, ()) for incident in found])
    else:
        incident_table(loaded, found, everything)


@app.command()
def explain(
    incident: Annotated[str, typer.Argument(help="Its id; the first characters are enough.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell one incident's whole story: what was seen, what was expected, how it was before, what people said, each step and why.

    Example: tocsin explain 3fa9c1
    """
    from tocsin.explain import document, gather, story

    loaded = load_config(config)
    with open_state(loaded) as state:
        found, transitions = state.incident(incident)
        around = gather(loaded, state, found)
    if as_json:
        emit(document(found, transitions, around))
    else:
        print(story(loaded, found, transitions, around))


# --- models ---------------------------------------------------------------------------------------------------------


@models_app.command("list")
def models_list(config: ConfigOption = None, component_type: TypeOption = None, as_json: JsonOption = False) -> None:
    """List the versions that are kept; the star marks the one in force.

    Example: tocsin models list --type web
    """
    from tocsin.show import model_document, model_table

    loaded = load_config(config)
    wanted = [component_type] if component_type else [kind.name for kind in loaded.types]
    with open_state(loaded) as state:
        found = [model for name in wanted for model in state.models(name)]
    if as_json:
        emit([model_document(model) for model in found])
    else:
        model_table(found)


@models_app.command("rollback")
def models_rollback(
    component_type: Annotated[str, typer.Argument(help="The component type.")],
    version: Annotated[
        int | None, typer.Argument(help="The version to put in force; the one before the present one by default.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put an earlier version in force. It stays until `tocsin train` is run by hand; nightly trainings only store theirs.

    Example: tocsin models rollback web 12
    """
    from tocsin.learning import roll_back

    loaded = load_config(config)
    with open_state(loaded) as state:
        print(roll_back(state, component_type, version))


# --- measuring -------------------------------------------------------------------------------------------------------


@app.command()
def score(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A CSV, CSV.gz or Parquet file, or a folder of them (folders below it too).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A CSV file, or the folder that mirrors INPUT.")],
    timezone: Annotated[str, typer.Option(help="Where the seasons are local.")] = "UTC",
    train_rows: Annotated[int, typer.Option(min=0, help="Learn from the first N rows without judging them.")] = 0,
    detectors: Annotated[
        str, typer.Option(help="Which detectors, separated by commas.")
    ] = "seasonal,novelty,change,level,silence",
    per_metric: Annotated[bool, typer.Option("--per-metric", help="Each metric's own columns too.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 is one per core.")] = 0,
) -> None:
    """Score series with the daemon's own engine, row by row, using nothing of the future.

    INPUT has the columns `timestamp` and one per metric; a column named `label` is never read. OUTPUT has one row per
    input row: timestamp, surprise, onset, alert, expected, lower, upper. Empty means: not judged yet.

    Example: tocsin score measurements/ -o scores/ --timezone Europe/Paris
    """
    from tocsin.score import score_path
    from tocsin.show import Progress

    began = time.monotonic()
    with Progress() as progress:
        done = score_path(
            source,
            output,
            timezone=timezone,
            train_rows=train_rows,
            detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
            per_metric=per_metric,
            workers=workers or os.cpu_count() or 1,
            progress=progress.reporter("score"),
        )
    print(done.sentence(time.monotonic() - began))


@app.command()
def backtest(
    config: ConfigOption = None,
    component_type: TypeOption = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="ISO 8601; the start of what is known by default.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="ISO 8601; the end of what is known by default.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV with component,start,end of known incidents.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML report here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the past through the same engine, beside the static thresholds of the YAML.

    Example: tocsin backtest --type web --from 2026-10-01 --to 2026-11-01 --html report.html
    """
    from tocsin.replaying import run_backtest
    from tocsin.show import Progress

    loaded = load_config(config)
    with Progress() as progress:
        result = run_backtest(loaded, component_type, start, end, labels, progress=progress.reporter("backtest"))
    if html is not None:
        result.write_html(html)
    if as_json:
        emit(result.document())
    else:
        result.print()
        if html is not None:
            print(f"Report: {html}")


@app.command()
def scenario(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Stories in YAML: what happens, and what must be shown.")
    ],
) -> None:
    """Play stories of what happens and say where something else is shown than what they want. Exit code 1 when it is.

    docs/scenarios.md tells how to write them. Example: tocsin scenario tests/scenarios/*.yaml
    """
    from tocsin.scenario import play

    failed = 0
    for path in files:
        played = play(path)
        failed += bool(played.failures)
        print(f"{path}: {'failed' if played.failures else 'as wanted'}")
        for failure in played.failures:
            print(f"  {failure}")
    raise typer.Exit(1 if failed else 0)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed makes another park.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write everything here; a new temporary folder by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch Tocsin live through a week of a simulated park, beside the static template a team would deploy.

    Needs no network and no configuration.
    """
    from tocsin.demo.run import run_demo

    raise typer.Exit(run_demo(seed=seed, folder=keep, as_json=as_json))


@app.command()
def bench(
    series: Annotated[int, typer.Option(min=1, max=200_000, help="How many series.")] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure one tick on this machine: score, fuse, judge and commit, in CPU time, and the memory it needs.

    Example: tocsin bench --series 100000
    """
    from tocsin.bench import measure, report

    figures = measure(series)
    if as_json:
        emit(figures)
    else:
        print(report(figures))
