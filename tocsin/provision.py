"""The services that Centreon must have for us: what is there, what is to be done, and how to take it back. Pure, but for `look`.

A passive result never makes a service. One template carries what all of them need, each service only names it: so a
site changes one place, and `audit` has one place to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from alerting.line import check_name
from tocsin.errors import PermanentError
from tocsin.model import ServiceKey

Clapi: TypeAlias = Callable[[str, str, Sequence[str]], Sequence[Mapping[str, str]]]
"""Action, object and values → the rows of the answer."""

TEMPLATE = "Passive-Tocsin"
COMMAND = "tocsin-no-result"

INHERITED = "2"
"""What Centreon stores where an object leaves a switch to its template."""

PROMISES: Mapping[str, tuple[str, str]] = {
    "active_checks_enabled": ("0", "the engine would run the dummy command instead of waiting for us"),
    "passive_checks_enabled": ("1", "results would be dropped without a word"),
    "max_check_attempts": ("1", "every change would take several results; Tocsin has waited already"),
    "is_volatile": ("0", "every re-assertion would notify"),
    "flap_detection_enabled": ("0", "notifications would be muted during a real incident"),
    "check_freshness": ("1", "a dead Tocsin would leave every service at its last state for ever"),
    "freshness_threshold": ("", "the check for freshness would come too soon or never"),
    "check_period": ("24x7", "nothing would be said outside that period"),
    "notification_interval": ("0", "a reminder would be sent every interval"),
}
"""Each setting of the template, what it must be, and what else would happen. The threshold depends on `deliver.reassert`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command for CLAPI, what it does in words, and the commands that take it back."""

    object: str
    action: str
    values: tuple[str, ...]
    says: str
    undo: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        for value in self.values:
            if ";" in value or not value.isprintable():
                raise ValueError(
                    f"{value[:60]!r} cannot be a value in a command: it has a ; or a character that cannot be printed"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be there: the template's settings, and each service with the page that explains it (may be empty)."""

    settings: Mapping[str, str]
    services: Mapping[ServiceKey, str]
    dummy: str = "$USER1$/check_centreon_dummy -s 3 -o 'no result from Tocsin'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """What is there. `template` is None where there is none; `services` maps each service to its row of `SERVICE show`."""

    hosts: Collection[str]
    command: bool
    template: Mapping[str, str] | None
    services: Mapping[ServiceKey, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Steps in the order they must be taken; `problems` are sentences about what a person has to do first."""

    steps: tuple[Step, ...]
    problems: tuple[str, ...] = ()
    unchanged: int = 0


def settings(reassert: int) -> dict[str, str]:
    """What the template must say when every service is sent again each `reassert` seconds."""
    return {name: value or str(3 * reassert + 60) for name, (value, _) in PROMISES.items()} | {"check_command": COMMAND}


def look(clapi: Clapi, descriptions: Iterable[str]) -> Present:
    """Read what is there: one question per distinct service name, not one per service."""
    found: dict[ServiceKey, Mapping[str, str]] = {}
    for text in dict.fromkeys(descriptions):
        for row in clapi("show", "SERVICE", [text]):
            key = ServiceKey(row.get("host name", ""), row.get("description", ""))
            found[key] = row
    templates = {row.get("description") for row in clapi("show", "STPL", [TEMPLATE])}
    template: Mapping[str, str] | None = None
    if TEMPLATE in templates:
        rows = clapi("getparam", "STPL", [TEMPLATE, "|".join([*PROMISES, "check_command"])])
        template = rows[0] if rows else {}
    return Present(
        hosts={row.get("name", "") for row in clapi("show", "HOST", ())},
        command=any(row.get("name") == COMMAND for row in clapi("show", "CMD", [COMMAND])),
        template=template,
        services=found,
    )


def plan(wanted: Wanted, present: Present) -> Plan:
    """What has to be done. Doing it and planning again gives no steps: it is safe to run at any time."""
    steps: list[Step] = []
    problems: list[str] = []
    if not present.command:
        undo = (("CMD", "del", (COMMAND,)),)
        steps.append(
            Step(object="CMD", action="add", values=(COMMAND, "check", wanted.dummy), says=f"+ command {COMMAND}", undo=undo)
        )
    if present.template is None:
        undo = (("STPL", "del", (TEMPLATE,)),)
        steps.append(Step(object="STPL", action="add", values=(TEMPLATE, TEMPLATE, ""), says=f"+ template {TEMPLATE}", undo=undo))
    for name, value in wanted.settings.items():
        before = (present.template or {}).get(name, "")
        if before != value:
            back = (("STPL", "setparam", (TEMPLATE, name, before)),) if present.template is not None and before else ()
            says = f"~ template {TEMPLATE}: {name} {before or '(unset)'} → {value}"
            steps.append(Step(object="STPL", action="setparam", values=(TEMPLATE, name, value), says=says, undo=back))
    missing: dict[str, int] = {}
    unchanged = 0
    for key, page in wanted.services.items():
        try:
            check_name(key.host), check_name(key.service)
        except ValueError as error:
            problems.append(str(error))
            continue
        if key.host not in present.hosts:
            missing[key.host] = missing.get(key.host, 0) + 1
        elif key not in present.services:
            steps += _service(key, page)
        else:
            unchanged += 1
    problems += [f"no host {host} in Centreon: {count} services of it wait" for host, count in missing.items()]
    return Plan(steps=tuple(steps), problems=tuple(problems), unchanged=unchanged)


def _service(key: ServiceKey, page: str) -> list[Step]:
    name = (key.host, key.service)
    steps = [
        Step(
            object="SERVICE",
            action="add",
            values=(*name, TEMPLATE),
            says=f"+ service {key.host} / {key.service}",
            undo=(("SERVICE", "del", name),),
        )
    ]
    if page:
        says = f"  its page {page}"
        steps.append(Step(object="SERVICE", action="setparam", values=(*name, "notes_url", page), says=says))
    return steps


def audit(wanted: Wanted, present: Present) -> list[str]:
    """Where what is there would break a promise, a sentence each: `host / service: max_check_attempts is 3: …`."""
    told: list[str] = []
    if present.template is None:
        told.append(f"there is no template {TEMPLATE}: run `tocsin provision centreon`")
    for name, (_, otherwise) in PROMISES.items():
        is_set, must = (present.template or {}).get(name, ""), wanted.settings[name]
        if present.template is not None and is_set != must:
            told.append(f"template {TEMPLATE}: {name} is {is_set or 'not set'} and must be {must}: {otherwise}")
    for key in wanted.services:
        row = present.services.get(key)
        if row is None:
            told.append(f"{key.host} / {key.service} does not exist: its results are dropped")
            continue
        if row.get("activate", "1") == "0":
            told.append(f"{key.host} / {key.service} is disabled: its results are dropped")
        for name in ("active_checks_enabled", "passive_checks_enabled", "max_check_attempts"):
            is_set, must = row.get(name.replace("_", " "), ""), wanted.settings[name]
            if is_set not in ("", INHERITED if name != "max_check_attempts" else "", must):
                told.append(f"{key.host} / {key.service}: {name} is {is_set} and must be {must}: {PROMISES[name][1]}")
    return told


# --- doing it, and taking it back ------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class Done:
    """How far an application got."""

    steps: list[Step] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def apply(
    steps: Sequence[Step],
    clapi: Clapi,
    remember: Callable[[Step], None],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Done:
    """Take the steps; a service that fails does not stop the others, a failed command or template stops all.

    `remember` is told of each step before the next one is taken, so that it can be taken back.
    """
    done, skipped = Done(), set[tuple[str, ...]]()
    for number, step in enumerate(steps):
        progress(number, len(steps))
        if step.object == "SERVICE" and step.values[:2] in skipped:
            continue
        try:
            clapi(step.action, step.object, step.values)
        except PermanentError as error:
            done.failed.append(f"{step.says.strip('+~ ')}: {error}")
            if step.object != "SERVICE":
                break
            skipped.add(step.values[:2])
            continue
        remember(step)
        done.steps.append(step)
    progress(len(steps), len(steps))
    return done
