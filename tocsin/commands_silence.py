"""`tocsin silence`: not see some incidents for a while."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from tocsin.errors import ConfigError
from tocsin.options import ByOption, ConfigOption, JsonOption, emit, load_config, open_state, user

app = typer.Typer(
    help="Not see some incidents for a while. They are recorded, and shown when the silence ends and they are still there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class UpTo(StrEnum):
    """A severity as people write it."""

    WARNING = "warning"
    CRITICAL = "critical"


@app.command("add")
def silence_add(
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; people read it beside the service.")],
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long from now, such as 30m, 4h or 2d.")],
    component_type: Annotated[str, typer.Option("--type", "-t", metavar="PATTERN", help="Component types; * and ? fit.")] = "",
    component: Annotated[str, typer.Option("--component", metavar="PATTERN", help="Components; * and ? fit.")] = "",
    metric: Annotated[
        str, typer.Option("--metric", metavar="PATTERN", help="Incidents in which only such metrics take part.")
    ] = "",
    severity: Annotated[UpTo | None, typer.Option("--severity", help="Only up to this; what gets worse is shown.")] = None,
    by: ByOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Silence incidents that meet every pattern given, from now on. The daemon follows within a tick.

    Examples:

      tocsin silence add --component "web-*" --for 2h -m "load test"

      tocsin silence add --type db --severity warning --for 12h -m "known, ticket 4711"
    """
    import secrets

    from tocsin.model import Severity, utc
    from tocsin.records import Matcher, Silence
    from tocsin.settings import parse_duration

    loaded, now = load_config(config), int(time.time())
    try:
        seconds = parse_duration(lasts)
    except ValueError as error:
        raise ConfigError(f"--for: {error}") from error
    if not 0 < seconds <= 366 * 86_400:
        raise ConfigError("--for: a silence lasts at most a year; ended ones are forgotten problems")
    if not comment.strip():
        raise ConfigError("--comment: say why, people will read it")
    matcher = Matcher(
        component_type=component_type,
        component=component,
        metric=metric,
        severity=None if severity is None else Severity[severity.value.upper()],
    )
    if not any((component_type, component, metric)):
        raise ConfigError("a silence names at least a --type, a --component or a --metric; '*' is every one")
    one = Silence(
        id=secrets.token_hex(6),
        matcher=matcher,
        start=now,
        end=now + seconds,
        author=by or user(),
        comment=comment.strip(),
        created_at=now,
    )
    with open_state(loaded) as state:
        state.accounts.add_silence(one)
        meant = [it for it in state.incidents(open_only=True, limit=10_000) if matcher.matches(it)]
    if as_json:
        emit(_silence_document(one) | {"open_incidents": [it.id for it in meant]})
        return
    print(f"silence {one.id}: {matcher.words}, until {utc(one.end):%Y-%m-%d %H:%M} UTC")
    print(f"{len(meant)} open incident{'' if len(meant) == 1 else 's'} meant now")


@app.command("list")
def silence_list(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended ones too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the silences in force: what they mean, until when, by whom and why.

    Example: tocsin silence list --all
    """
    from tocsin.model import utc

    with open_state(load_config(config)) as state:
        found = state.accounts.silences(at=None if everything else time.time())
    if as_json:
        emit([_silence_document(one) for one in found])
        return
    if not found:
        print("no silence is in force" if not everything else "nothing was ever silenced")
    for one in found:
        ended = f", ended early by {one.expired_by}" if one.expired_by else ""
        print(f"{one.id}  until {utc(one.end):%Y-%m-%d %H:%M} UTC  {one.matcher.words}  by {one.author}: {one.comment}{ended}")


@app.command("expire")
def silence_expire(
    silence: Annotated[str, typer.Argument(help="Its id; the first characters are enough.")],
    by: ByOption = None,
    config: ConfigOption = None,
) -> None:
    """End a silence now. What it held back and is still there is shown at the next tick.

    Example: tocsin silence expire 3fa9c1
    """
    with open_state(load_config(config)) as state:
        one = state.accounts.expire_silence(silence, time.time(), by or user())
    print(f"silence {one.id} ({one.matcher.words}) has ended")


def _silence_document(one: Any) -> dict[str, Any]:
    severity = one.matcher.severity
    return {
        "id": one.id,
        "component_type": one.matcher.component_type,
        "component": one.matcher.component,
        "metric": one.matcher.metric,
        "severity": None if severity is None else severity.name,
        "start": _iso(one.start),
        "end": _iso(one.end),
        "author": one.author,
        "comment": one.comment,
        "expired_by": one.expired_by,
    }


def _iso(seconds: float) -> str:
    from tocsin.model import utc

    return utc(seconds).isoformat().replace("+00:00", "Z")
