"""Which services must show what after a tick: the components that something happened to, and in turn the quiet ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alerting import say
from alerting.line import check_name
from tocsin.config import ComponentType
from tocsin.handback import template_of, verdict
from tocsin.model import OWN, CheckResult, Floats, Frame, Incident, Metric, SeriesIndex, ServiceKey, Window
from tocsin.scoring import Evaluation
from tocsin.sight import Sight, Standing
from tocsin.thresholds import Template
from tocsin.timegrid import Calendar

MOST_READINGS = 5
"""Metrics whose band is sent for the graph; more would not fit the engine's line."""


class Services:
    """Which service shows which components. Made anew when a component type's series change."""

    def __init__(self, kind: ComponentType, index: SeriesIndex, signatures: Iterable[str]) -> None:
        self.index = index
        self.components_of: dict[ServiceKey, list[int]] = {}
        self.of_component: list[list[ServiceKey]] = []
        self.unnameable: list[str] = []
        self.signatures_of: dict[ServiceKey, set[str]] = {}
        for place, component in enumerate(index.components):
            keys: list[ServiceKey] = []
            for signature in signatures:
                key = kind.alert.to.key(component, kind.name, signature)
                try:
                    check_name(key.host)
                    check_name(key.service)
                except ValueError as error:
                    self.unnameable.append(str(error))
                    break
                self.signatures_of.setdefault(key, set()).add(signature)
                if key not in keys:
                    keys.append(key)
                    self.components_of.setdefault(key, []).append(place)
            self.of_component.append(keys)

    def of(self, components: Iterable[int]) -> list[ServiceKey]:
        """The services that show any of these components, each once."""
        return list(dict.fromkeys(key for place in components for key in self.of_component[place]))


@dataclass(frozen=True, kw_only=True)
class View:
    """The end of the last judged window, from which any service can be said anew."""

    window: Window
    index: SeriesIndex
    values: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    own: Floats
    surprise: Floats
    tail: Floats
    sight: Sight

    @classmethod
    def of(cls, frame: Frame, evaluation: Evaluation, sight: Sight) -> View:
        """The last bucket of a frame: its values, the first band that any detector gives and how much of it is the series' own,
        and the components' surprise."""
        # Copied, because what is remembered goes on without us.
        values = frame.values[:, -1].copy()
        expected, lower, upper = (np.full(len(frame.index), np.nan) for _ in range(3))
        own = np.ones(len(frame.index))
        for scores in evaluation.scores.values():
            first = np.isnan(expected) & ~np.isnan(scores.expected[:, -1])
            if first.any():
                np.copyto(expected, scores.expected[:, -1], where=first)
                np.copyto(lower, scores.lower[:, -1], where=first)
                np.copyto(upper, scores.upper[:, -1], where=first)
                if scores.own is not None:
                    np.copyto(own, scores.own, where=first)
        surprise = np.full(len(frame.index.components), np.nan)
        for fused in evaluation.fused.values():
            surprise = np.fmax(surprise, fused.surprise[:, -1])
        return cls(
            window=frame.window,
            index=frame.index,
            values=values,
            expected=expected,
            lower=lower,
            upper=upper,
            own=own,
            surprise=surprise,
            tail=frame.values[:, -Template.attempts :].copy(),
            sight=sight,
        )


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Says services of one component type."""

    kind: ComponentType
    calendar: Calendar
    metrics: Mapping[str, Metric]
    patience: int

    def results(
        self, keys: Sequence[ServiceKey], services: Services, view: View, incidents: Mapping[str, Sequence[Incident]], why: str
    ) -> list[CheckResult]:
        """What each of these services must show. `incidents` are those worth telling, by component."""
        sight, index = view.sight, view.index
        standings, judged = sight.standings(self.patience), sight.judged_now(self.patience)
        last_data, last_judged = sight.last_data(), sight.last_judged()
        borrowed = (view.own < OWN) & (sight.judged > sight.until - self.patience)
        ends = np.r_[index.component_starts[1:], len(index)]
        results = []
        for key in keys:
            places = services.components_of[key]
            rows = [row for place in places for row in range(int(index.component_starts[place]), int(ends[place]))]
            signatures = services.signatures_of[key]
            told = [one for place in places for one in incidents.get(index.components[place], ()) if one.signature in signatures]
            newest = int(last_data[places].max())
            standing = Standing(int(standings[places].min()))
            blind = standing in (Standing.NO_DATA, Standing.NOT_KNOWN)
            watched = say.Watched(
                metrics=len(rows),
                judged=int(judged[places].sum()),
                borrowed=int(np.count_nonzero(borrowed[rows])),
                components=len(places),
                last_data=newest or None,
                blind_since=(int(last_judged[places].max()) or newest or view.window.start) if blind else None,
                why=why if standing is Standing.NOT_KNOWN else "",
                static=self._static(rows, view) if not judged[places].any() else None,
            )
            perf = say.perf(self._readings(rows, view), _highest(view.surprise[places]))
            results.append(
                say.result(
                    key, told, watched, view.window.end, calendar=self.calendar, language=self.kind.alert.language, perf=perf
                )
            )
        return results

    def _static(self, rows: Sequence[int], view: View) -> say.Static | None:
        """What the static template says while nothing can be judged, where the component type is handed back to it."""
        if self.kind.alert.hand_back != "static":
            return None
        return verdict(view.index, rows, view.tail, template_of(self.kind.static), self.metrics)

    def _readings(self, rows: Sequence[int], view: View) -> list[say.Reading]:
        chosen = [row for row in rows if np.isfinite(view.values[row])][:MOST_READINGS]
        return [
            say.Reading(
                metric=view.index[row].metric,
                unit=self.metrics[view.index[row].metric].unit if view.index[row].metric in self.metrics else "",
                value=float(view.values[row]),
                expected=float(view.expected[row]),
                lower=float(view.lower[row]),
                upper=float(view.upper[row]),
            )
            for row in chosen
        ]


def _highest(surprise: Floats) -> float:
    return float(np.fmax.reduce(surprise)) if len(surprise) else float("nan")
