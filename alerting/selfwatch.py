"""What Tocsin shows about itself, through the same door as everything else: four services on one host.

The engine's freshness check is what notices when nothing arrives any more; these services tell the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alerting.desired import UNDELIVERABLE, worse
from tocsin.model import CheckResult, Desired, Perf, ServiceKey, Severity
from tocsin.settings import spell_duration

HEARTBEAT, SOURCES, DELIVERY, ALERTING = "tocsin-heartbeat", "tocsin-sources", "tocsin-delivery", "tocsin-alerting"
OWN_SERVICES = (HEARTBEAT, SOURCES, DELIVERY, ALERTING)
_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """When a component type was last judged, and how long that took; `error` when its last tick failed."""

    component_type: str
    every: int
    last_tick: float | None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceHealth:
    """How a source of a component type is doing; `error` says why when it is failing, or only degraded.

    `late` is how far behind `now` its last value lies, None when it has none.
    """

    name: str
    component_type: str
    failing_since: float | None = None
    degraded_since: float | None = None
    error: str = ""
    late: float | None = None


def heartbeat(host: str, pulses: Sequence[Pulse], now: float, started: float) -> CheckResult:
    """WARNING when a component type missed two ticks or failed, CRITICAL when it missed ten."""
    code, told = Severity.OK, []
    for pulse in pulses:
        age = now - (pulse.last_tick if pulse.last_tick is not None else started)
        missed = age > 3 * pulse.every
        if missed or pulse.error:
            code = _worst(code, Severity.CRITICAL if age > 11 * pulse.every else Severity.WARNING)
            what = f"{pulse.component_type} was last judged {spell_duration(age)} ago"
            told.append(f"{what}: {pulse.error}" if pulse.error else what)
    ages = [now - pulse.last_tick for pulse in pulses if pulse.last_tick is not None]
    calm = f"alive, {_count(len(pulses), 'component type')}, up for {spell_duration(now - started)}"
    perf = [Perf(label="tocsin.tick.age.seconds", value=max(ages), unit="s")] if ages else []
    perf += [Perf(label="tocsin.tick.duration.seconds", value=sum(pulse.seconds for pulse in pulses), unit="s")]
    return _result(host, HEARTBEAT, code, told or [calm], perf, now)


def sources(
    host: str, health: Sequence[SourceHealth], now: float, critical_after: float = 900.0, notes: Sequence[str] = ()
) -> CheckResult:
    """WARNING while a source cannot be asked, or not wholly, CRITICAL when it did not answer for `critical_after` seconds.

    `notes` are sentences about what else a person should see to: series that are cut, data that come too late.
    """
    code, told = Severity.OK, []
    for source in health:
        if source.failing_since is not None:
            lasted = now - source.failing_since
            code = _worst(code, Severity.CRITICAL if lasted >= critical_after else Severity.WARNING)
            since = f"has not answered for {spell_duration(lasted)}" if lasted >= 1 else "does not answer"
            told.append(f"{source.name} ({source.component_type}) {since}: {source.error}")
    failing = len(told)
    for source in health:
        if source.failing_since is None and source.degraded_since is not None:
            code = _worst(code, Severity.WARNING)
            lasted = now - source.degraded_since
            since = f"degraded for {spell_duration(lasted)}" if lasted >= 1 else "degraded"
            told.append(f"{source.name} ({source.component_type}) {since}: {source.error}")
    if notes:
        code = _worst(code, Severity.WARNING)
        told += notes
    late = [source.late for source in health if source.late is not None]
    perf = [Perf(label="tocsin.sources.failing.count", value=float(failing))]
    perf += [Perf(label="tocsin.sources.late.seconds", value=max(late), unit="s")] if late else []
    return _result(host, SOURCES, code, told or [f"{_count(len(health), 'source')} answering"], perf, now)


def delivery(host: str, rows: Sequence[Desired], now: float, *, error: str = "", settle: float = 300.0) -> CheckResult:
    """CRITICAL when a service does not exist on the far side, WARNING when something waits longer than `settle`.

    `error` is why the last look at the far side failed, if it did.
    """
    live = [row for row in rows if row.valid_until > now]
    gone = [row for row in live if row.error == UNDELIVERABLE]
    stuck = [row for row in live if row not in gone and row.attempts and now - (row.last_sent_at or row.changed_at) > settle]
    code, told = Severity.OK, []
    if stuck:
        code, why = Severity.WARNING, stuck[0].error
        told.append(f"{_count(len(stuck), 'service')} waiting for more than {spell_duration(settle)}: {why}")
    if error:
        code = Severity.WARNING
        told.append(f"cannot read back: {error}")
    if gone:
        code = Severity.CRITICAL
        named = ", ".join(f"{row.service.host}/{row.service.service}" for row in gone[:_NAMED])
        rest = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        told.insert(0, f"{_count(len(gone), 'service')} unknown on the far side: {named}{rest}")
    waiting = sum(row.next_due_at <= now for row in live)
    perf = [
        Perf(label="tocsin.delivery.services.count", value=float(len(live))),
        Perf(label="tocsin.delivery.waiting.count", value=float(waiting)),
        Perf(label="tocsin.delivery.undeliverable.count", value=float(len(gone))),
    ]
    return _result(host, DELIVERY, code, told or [f"{_count(len(live), 'service')} kept up to date"], perf, now)


def alerting(host: str, troubles: Sequence[str], held: Mapping[str, int], shown: int, now: float) -> CheckResult:
    """WARNING while something about alerting itself needs a look; else how many incidents are shown, and held by which stage."""
    calm = f"{_count(shown, 'incident')} shown" + "".join(
        f", {count} held back by {stage}" for stage, count in sorted(held.items())
    )
    perf = [Perf(label="tocsin.incidents.shown.count", value=float(shown))]
    perf += [Perf(label="tocsin.incidents.held.count", value=float(sum(held.values())))]
    return _result(host, ALERTING, Severity.WARNING if troubles else Severity.OK, [*troubles, calm], perf, now)


def _worst(a: Severity, b: Severity) -> Severity:
    return a if worse(a, b) else b


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _result(host: str, service: str, code: Severity, told: Sequence[str], perf: Iterable[Perf], now: float) -> CheckResult:
    text = "\n".join(" ".join(part.split()) for part in told)
    return CheckResult(service=ServiceKey(host, service), code=code, text=text, perf=tuple(perf), at=int(now))
