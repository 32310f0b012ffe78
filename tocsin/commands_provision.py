"""`tocsin provision`: the services that Centreon must have before a result can be shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from tocsin.errors import ConfigError
from tocsin.options import ConfigOption, TypeOption

if TYPE_CHECKING:
    from tocsin.centreon.api import Api
    from tocsin.config import Config
    from tocsin.provision import Step, Wanted

app = typer.Typer(
    help="""The services that Centreon must have before a result can be shown.

    A passive result never makes a service: it has to exist, and be configured so that results are kept. One template carries the
    settings, each service names it. Needs an account of Centreon that may use CLAPI (an administrator, or "Reach API
    Configuration"); it is used for nothing else.

      tocsin provision centreon                 say what would be done

      tocsin provision centreon --apply         do it

      tocsin provision audit                    say where settings would break a promise
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)

UrlOption = Annotated[str | None, typer.Option("--url", help="Centreon's address; that of the sink or supervision by default.")]
TokenOption = Annotated[
    str | None, typer.Option("--token", metavar="REF", help="API token by reference: env:NAME or file:/path.")
]
JOURNAL = "provisioned.jsonl"


@app.command()
def centreon(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it the plan is only said.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was applied from here, newest first.")] = False,
    export: Annotated[
        str | None, typer.Option("--export", metavar="POLLER", help="Then generate and reload that poller's configuration.")
    ] = None,
    notes_url: Annotated[str, typer.Option(help="Page that explains a service; {host} and {service} are filled in.")] = "",
    url: UrlOption = None,
    token: TokenOption = None,
    component_type: TypeOption = None,
    config: ConfigOption = None,
) -> None:
    """Plan, or with --apply make, the passive template and one service per component. Safe to run again at any time.

    Example: tocsin provision centreon --apply --export Central
    """
    from tocsin import provision
    from tocsin.options import load_config
    from tocsin.show import Progress

    loaded = load_config(config)
    journal = loaded.state / JOURNAL
    with _api(loaded, url, token) as api:
        if undo:
            _undo(api, journal)
        else:
            wanted = _wanted(loaded, component_type, notes_url)
            plan = provision.plan(wanted, provision.look(api.clapi, [key.service for key in wanted.services]))
            for problem in plan.problems:
                print(f"! {problem}", file=sys.stderr)
            for step in plan.steps:
                print(step.says)
            hint = "" if apply or not plan.steps else "; --apply takes them"
            print(f"{len(plan.steps)} steps, {plan.unchanged} services are there already{hint}")
            if apply and plan.steps:
                with Progress() as progress, journal.open("a", encoding="utf-8") as lines:
                    done = provision.apply(
                        plan.steps, api.clapi, lambda step: _remember(lines, step), progress.reporter("provision")
                    )
                for problem in done.failed:
                    print(f"! {problem}", file=sys.stderr)
                print(f"{len(done.steps)} of {len(plan.steps)} steps taken; `tocsin provision centreon --undo` takes them back")
                if done.failed:
                    raise typer.Exit(1)
        if export is not None and (apply or undo):
            api.clapi("applycfg", "", [export], what=f"export to {export}")
            print(f"the configuration of {export} was generated and reloaded")
        elif apply or undo:
            print("Centreon's engines know nothing of it until the configuration is exported (--export POLLER, or in the web)")


@app.command()
def audit(
    url: UrlOption = None, token: TokenOption = None, component_type: TypeOption = None, config: ConfigOption = None
) -> None:
    """Say where a service's settings would break a promise: results dropped, a state that takes three results, no freshness.

    Exit code 0 when nothing would, 1 when something does.

    Example: tocsin provision audit --type web
    """
    from tocsin import provision
    from tocsin.options import load_config

    loaded = load_config(config)
    with _api(loaded, url, token) as api:
        wanted = _wanted(loaded, component_type, "")
        told = provision.audit(wanted, provision.look(api.clapi, [key.service for key in wanted.services]))
    for sentence in told:
        print(sentence)
    print(f"{len(wanted.services)} services looked at, {len(told)} findings")
    raise typer.Exit(1 if told else 0)


@contextmanager
def _api(loaded: Config, url: str | None, token: str | None) -> Iterator[Api]:
    from tocsin.centreon.api import Api, ApiSettings
    from tocsin.errors import PermanentError

    settings = [loaded.deliver.sink.settings, loaded.supervision.settings if loaded.supervision else None]
    known = next((one for entry in settings if isinstance(one := getattr(entry, "api", None), ApiSettings)), None)
    if url is not None:
        try:
            known = ApiSettings.model_validate({"url": url, "token": token or "env:CENTREON_TOKEN"})
        except ValueError as error:
            raise ConfigError(f"--url, --token: {error}") from error
    if known is None:
        raise ConfigError("which Centreon? Give --url and --token, or configure deliver.sink with use: centreon-api")
    api = Api(known)
    try:
        yield api
    except PermanentError as error:
        raise ConfigError(str(error)) from error
    finally:
        api.close()


def _wanted(loaded: Config, component_type: str | None, notes_url: str) -> Wanted:
    """The services of every component that the sources have, and our own."""
    from alerting.selfwatch import OWN_SERVICES
    from tocsin import provision
    from tocsin.model import ServiceKey
    from tocsin.shard import Shard

    kinds = [kind for kind in loaded.types if component_type in (None, kind.name)]
    if not kinds:
        raise ConfigError(f'no component type "{component_type}"; there are: {", ".join(kind.name for kind in loaded.types)}')
    keys: dict[ServiceKey, None] = {}
    for kind in kinds:
        shard = Shard.of(kind, ())
        index = shard.intake.discover()
        if not len(index):
            print(f"! {kind.name}: its sources have no component now: {shard.why_blind or 'they are empty'}", file=sys.stderr)
        keys |= dict.fromkeys(shard.services_of(index).components_of)
    if component_type is None:
        keys |= {ServiceKey(loaded.deliver.host, name): None for name in OWN_SERVICES}
    try:
        pages = {key: notes_url.format(host=quote(key.host, safe=""), service=quote(key.service, safe="")) for key in keys}
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(f"--notes-url: {notes_url}: only {{host}} and {{service}} can be filled in") from error
    return provision.Wanted(settings=provision.settings(loaded.deliver.reassert), services=pages)


def _remember(lines: object, step: Step) -> None:
    import os

    for one in step.undo:
        print(json.dumps(one), file=lines, flush=True)  # type: ignore[call-overload]
    os.fsync(lines.fileno())  # type: ignore[attr-defined]


def _undo(api: Api, journal: Path) -> None:
    """Take back, newest first; what is taken back is struck from the journal at once."""
    from tocsin.errors import PermanentError
    from tocsin.http import Refused

    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    if not lines:
        raise ConfigError(f"{journal}: nothing was applied from here")
    taken = 0
    while lines:
        kind, action, values = json.loads(lines[-1])
        try:
            api.clapi(action, kind, values)
            taken += 1
            print(f"- {kind} {action} {' / '.join(values)}")
        except Refused as error:
            if error.status != 404:
                raise
            print(f"- {kind} {action} {' / '.join(values)}: was gone already")
        except PermanentError as error:
            raise ConfigError(str(error)) from error
        lines.pop()
        journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{taken} steps taken back")
