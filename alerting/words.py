"""The sentences people read beside a service, in each language. Only these; everything that decides is in `say`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """One language. The parts in braces are filled in by `say`."""

    expected: str
    at_most: str
    at_least: str
    about: str
    siblings: str
    since: str
    surprise: str
    of_metrics: str
    no_data_from: str
    no_data: str
    within: str
    within_one: str
    partly: str
    partly_one: str
    last_data: str
    learning: str
    judged: str
    recovered: str
    would_be: str
    held: str
    incidents: str
    more: str
    flapping: str
    acknowledged: str
    folded: str
    of_group: str
    of_type: str
    nothing_common: str
    withdrawn: str
    also: str
    lines_of: str
    new_lines: str
    lines_at: str
    all_lines: str
    static: str
    static_ok: str
    not_judged: str
    quote: str
    days: tuple[str, str, str, str, str, str, str]


ENGLISH = Words(
    expected="expected {lower}..{upper}",
    at_most="expected at most {upper}",
    at_least="expected at least {lower}",
    about="expected about {expected}",
    siblings="{share}% of it learnt from siblings",
    since="since {when}",
    surprise="surprise {surprise}",
    of_metrics="{some} of {all} metrics",
    no_data_from="no data from {metric}",
    no_data="no data for {lasted}",
    within="{some} metrics within their learned bands",
    within_one="its metric within the learned band",
    partly="{some} of them partly learnt from siblings",
    partly_one="partly learnt from siblings",
    last_data="last data {when}",
    learning="still learning, none of {all} metrics can be judged yet",
    judged="{some} of {all} metrics judged",
    recovered="recovered {when} after {lasted}",
    would_be="would be {code}",
    held="held back by {stage} ({why})",
    incidents="{count} incidents",
    more="and {count} more",
    flapping="comes and goes since {when}",
    acknowledged="acknowledged {why}",
    folded="{count} more {behind}: {names}",
    of_group="in group {name}",
    of_type="of type {name}",
    nothing_common="behind {name}",
    withdrawn="withdrawn {when}: late data show that nothing was wrong",
    also="also: {what}",
    lines_of="{count} lines {quoted}",
    new_lines="{count} new {quoted} lines",
    lines_at="{count} lines at level {level} {quoted}",
    all_lines="{count} log lines",
    static="static thresholds: {metric} {value}, allowed {limit}",
    static_ok="within its static thresholds",
    not_judged="shown by the static template: {why}",
    quote="“{text}”",
    days=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
)

FRENCH = Words(
    expected="attendu {lower}..{upper}",
    at_most="attendu au plus {upper}",
    at_least="attendu au moins {lower}",
    about="attendu environ {expected}",
    siblings="appris à {share} % de ses semblables",
    since="depuis {when}",
    surprise="surprise {surprise}",
    of_metrics="{some} métrique(s) sur {all}",
    no_data_from="aucune donnée de {metric}",
    no_data="aucune donnée depuis {lasted}",
    within="{some} métriques dans leurs bandes apprises",
    within_one="sa métrique dans la bande apprise",
    partly="dont {some} en partie apprises de leurs semblables",
    partly_one="en partie apprise de ses semblables",
    last_data="dernières données {when}",
    learning="apprentissage en cours, aucune des {all} métriques ne peut encore être jugée",
    judged="{some} métriques jugées sur {all}",
    recovered="rétabli {when} après {lasted}",
    would_be="serait {code}",
    held="retenu par {stage} ({why})",
    incidents="{count} incidents",
    more="et {count} de plus",
    flapping="va et vient depuis {when}",
    acknowledged="pris en charge {why}",
    folded="{count} de plus {behind} : {names}",
    of_group="dans le groupe {name}",
    of_type="du type {name}",
    nothing_common="derrière {name}",
    withdrawn="retiré {when} : les données arrivées en retard montrent que tout allait bien",
    also="aussi : {what}",
    lines_of="{count} lignes {quoted}",
    new_lines="{count} nouvelles lignes {quoted}",
    lines_at="{count} lignes de niveau {level} {quoted}",
    all_lines="{count} lignes de journal",
    static="seuils statiques : {metric} {value}, permis {limit}",
    static_ok="dans ses seuils statiques",
    not_judged="montré par le modèle statique : {why}",
    quote="« {text} »",
    days=("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."),
)

LANGUAGES: Mapping[str, Words] = {"en": ENGLISH, "fr": FRENCH}
