"""What people did in the supervising system, read as verdicts on incidents: it is kept where each is known from.

acknowledged                     useful: somebody took it on
closed by hand within minutes    noise; later: useful
a downtime opened on it          known: it was planned after all
a comment                        nothing, unless it has a mark: !useful, !noise, !known
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tocsin.model import Downtime, Incident, Phase, Remark, ServiceKey, Severity, Transition
from tocsin.records import Verdict

QUICK = 15 * 60
"""Seconds after the opening within which a closing by hand says that it was nothing."""
_MARK = re.compile(r"!(useful|noise|known|false|normal|expected)\b", re.IGNORECASE)
_MEANS = {"false": "noise", "normal": "noise", "expected": "known"}


def verdicts_of(
    remarks: Iterable[Remark],
    downtimes: Iterable[Downtime],
    incidents: Mapping[ServiceKey, Sequence[Incident]],
    steps: Mapping[str, Sequence[Transition]],
    source: str,
) -> list[Verdict]:
    """One verdict per act and incident it fell on; `incidents` by the service that shows them, `steps` by incident."""
    found: list[Verdict] = []
    for one in remarks:
        for incident in incidents.get(ServiceKey(one.host, one.service), ()):
            word = _word(one, incident)
            if word and _open_at(incident, one.at):
                severity = severity_at(incident, steps.get(incident.id, ()), one.at)
                found.append(_verdict(incident, one, source, word, severity))
    for work in downtimes:
        for key, several in incidents.items():
            if key.host != work.host or work.service not in ("", key.service):
                continue
            for incident in several:
                # Only work that began after the trouble says anything: what was planned before holds it back anyway.
                if incident.opened <= work.start and _open_at(incident, work.start):
                    told = Remark(
                        id=work.id,
                        kind="downtime",
                        host=work.host,
                        at=work.start,
                        until=work.end,
                        author=work.author,
                        text=work.comment,
                    )
                    found.append(_verdict(incident, told, source, "known", incident.severity))
    return found


def severity_at(incident: Incident, steps: Sequence[Transition], at: int) -> Severity:
    """How bad an incident was then, by its judgement."""
    judged = [one.severity for one in steps if one.at <= at and one.kind in ("opened", "reopened", "flapping", "worse", "better")]
    return judged[-1] if judged else incident.severity


def mark_in(text: str) -> str:
    """`!noise` and the like, as a verdict; empty when there is none."""
    mark = _MARK.search(text)
    return "" if mark is None else _MEANS.get(mark[1].lower(), mark[1].lower())


def _word(remark: Remark, incident: Incident) -> str:
    said = mark_in(remark.text)
    if said or remark.kind == "comment":
        return said
    if remark.kind == "close":
        return "noise" if remark.at - incident.opened <= QUICK else "useful"
    return "useful"


def _open_at(incident: Incident, at: int) -> bool:
    if incident.phase is Phase.WITHDRAWN or at < incident.since:
        return False
    return incident.recovered is None or at <= incident.recovered


def _verdict(incident: Incident, remark: Remark, source: str, word: str, severity: Severity) -> Verdict:
    return Verdict(
        id=f"{source}:{remark.kind}:{remark.id}:{incident.id}",
        incident=incident.id,
        component_type=incident.component_type,
        component=incident.component,
        verdict=word,
        source=source,
        kind=remark.kind,
        at=remark.at,
        author=remark.author,
        text=remark.text,
        until=remark.until,
        severity=severity,
    )
