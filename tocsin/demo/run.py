"""`tocsin demo`: a simulated park's fifth week through the real engine, store, deliver loop and sink, in fast motion."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from rich.text import Text

from tocsin.app import App
from tocsin.backtest import Comparison, Past, bands_of, compare, our_episodes, static_episodes
from tocsin.config import Config, load
from tocsin.demo.folder import write
from tocsin.demo.park import Park
from tocsin.demo.simulator import simulate
from tocsin.demo.source import WHERE, ParkSource
from tocsin.errors import ConfigError
from tocsin.explain import gather, story
from tocsin.findings import document, report_data, sides
from tocsin.intake import Intake, Source
from tocsin.model import Incident, Transition, Window
from tocsin.report import comparison_table, render
from tocsin.scale.local import InProcess
from tocsin.scoring import Evaluation
from tocsin.show import Progress, console, emit
from tocsin.store.lock import StateLock
from tocsin.store.state import State

PROTOCOL = (
    "Both sides read the same values. Tocsin learned on the four weeks before, and learns again every day.",
    "It lived the week on a fast clock, through the engine, store, deliver loop and sink of the product.",
)

STEP = 1_800
"""Seconds of the simulated clock between two ticks; each judges the buckets in between one by one."""


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What the live week left behind."""

    comparison: Comparison
    stories: Sequence[tuple[Incident, Sequence[Transition]]]
    ticks: int
    results: int


def run_demo(*, seed: int, folder: Path | None, as_json: bool) -> int:
    """Live through the park of a seed and tell how it went. 0 when it worked; what Tocsin missed is told, not hidden."""
    began = time.monotonic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    place = _place(folder)
    out = console()
    with Progress() as progress:
        step = progress.reporter("making a park")
        park = simulate(seed)
        main = write(park, place)
        step(1, 1)
        config = load(main)
        with StateLock(config.state):
            lived = _live(config, park, progress)
    comparison = lived.comparison
    lead = (
        f"A simulated park of {park.components} components (seed {seed}): four weeks to learn from, then one week with "
        f"{len(park.incidents)} incidents, lived through the real engine, store, deliver loop and sink."
    )
    facts = (
        ("seed", str(seed)),
        ("components", str(park.components)),
        ("ticks", f"{lived.ticks:,}"),
        ("passive results sent", f"{lived.results:,}"),
    )
    report = place / "report.html"
    report.write_text(
        render(report_data(comparison, title="Tocsin demo", lead=lead, made_at=time.time(), facts=facts, protocol=PROTOCOL)),
        encoding="utf-8",
    )
    files = {"folder": place, "report": report, "passive_results": place / "passive-results.jsonl", "configuration": main}
    if as_json:
        paths = {name: str(path) for name, path in files.items()}
        emit({**document(comparison), "seed": seed, "seconds": round(time.monotonic() - began, 1), **paths})
        return 0
    out.print(Text(lead), "")
    out.print(comparison_table(sides(comparison), labelled=True))
    for match in comparison.ours.matches:
        if match.episode is None:
            out.print(Text(f"missed: {match.label.kind} on {match.label.component}", style="yellow"))
    chosen = _most_telling(lived)
    if chosen is not None:
        out.print("", "One incident in full, as `tocsin explain` tells it:", "")
        with State.open(config.database_url()) as state:
            out.print(Text(story(config, *chosen, gather(config, state, chosen[0]))))
    if across := _across(lived):
        out.print("")
        out.print(Text(across))
    out.print("")
    out.print(Text(f"Report:          {report}"))
    out.print(Text(f"Passive results: {files['passive_results']} ({lived.results:,} sent)"))
    out.print(Text(f"Look around:     tocsin incidents --all -c {main}"))
    out.print(Text(f"Took {time.monotonic() - began:.0f} s for five weeks."))
    return 0


def _place(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: is not empty, and nothing is overwritten; name a new folder")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used: {error.strerror}") from error
    return folder.resolve()


def _sources(park: Park, component_type: str) -> list[Source]:
    """One source, or several of which each knows some of the metrics: a verdict is made of all of them."""
    parts = WHERE.get(component_type, {"park": None})
    return [Source(name=name, collector=ParkSource(park, component_type, metrics)) for name, metrics in parts.items()]


def _across(lived: Lived) -> str:
    """A sentence about the incident to which the most sources contributed."""
    found: list[tuple[int, float, str]] = []
    for one, _ in lived.stories:
        owners = {metric: name for name, metrics in WHERE.get(one.component_type, {}).items() for metric in metrics}
        by_source = {owners[part.metric]: part.metric for part in reversed(one.anomalies) if part.metric in owners}
        told = ", ".join(f"{by_source[name]} ({name})" for name in WHERE.get(one.component_type, {}) if name in by_source)
        found.append((len(by_source), one.peak, f"One verdict of {len(by_source)} sources, on {one.component}: {told}."))
    return max(found)[2] if found and max(found)[0] > 1 else ""


def _live(config: Config, park: Park, progress: Progress) -> Lived:
    kept: dict[str, list[Evaluation]] = {name: [] for name in park.types}

    def keep(component_type: str, evaluation: Evaluation) -> None:
        kept[component_type].append(evaluation)

    with App(config, executor=InProcess(), started=park.live.start, observe=keep) as app:
        for shard in app.shards:
            # Fast motion reads a week 336 times: from memory, where the product reads the files beside it.
            shard.intake = Intake(_sources(park, shard.name), shard.metrics)
            delay = shard.kind.delay
        learning = progress.reporter("learning four weeks")
        for place, shard in enumerate(app.shards):
            app.train(shard, park.live.start + delay)
            learning(place + 1, len(app.shards))
        living = progress.reporter("living the fifth week")
        clock = range(park.live.start + STEP, park.live.end + STEP, STEP)
        for turn, instant in enumerate(clock):
            now = min(instant, park.live.end) + delay
            for shard in app.shards:
                if app.needs_training(shard, now):
                    app.train(shard, now)
                app.tick(shard, now)
                app.refresh(shard, now)
            app.watch(now)
            app.deliver_step(now)
            living(turn + 1, len(clock))
        sent = sum(1 for _ in (config.path.parent / "passive-results.jsonl").open("rb"))
        stories = [app.state.incident(one.id) for one in app.state.incidents()]
        pasts = [_past(app, park, name, stories, kept[name]) for name in park.types]
    return Lived(
        comparison=compare(pasts, park.incidents, park.changes), stories=stories, ticks=len(clock) * len(pasts), results=sent
    )


def _past(
    app: App, park: Park, name: str, stories: Sequence[tuple[Incident, Sequence[Transition]]], evaluations: Sequence[Evaluation]
) -> Past:
    kind = park.types[name]
    mine = [(incident, steps) for incident, steps in stories if incident.component_type == name]
    incidents = tuple(incident for incident, _ in mine)
    seen = Window(park.live.start - 2 * 86_400, park.live.end, park.live.span)
    frame = kind.frame.within(seen)
    shard = app.shards_named(name)[0]
    return Past(
        component_type=name,
        frame=frame,
        judged=park.live,
        calendar=park.calendar,
        metrics=kind.metrics,
        template=kind.template,
        static=static_episodes(kind.frame, kind.template),
        ours=our_episodes(
            incidents, [step for _, steps in mine for step in steps], frame, shard.calendar, reopen=kind.template.reopen
        ),
        incidents=incidents,
        bands=bands_of(frame.index, park.live, evaluations),
    )


def _most_telling(lived: Lived) -> tuple[Incident, Sequence[Transition]] | None:
    """The found incident with the most metrics that the static template missed; else the most surprising one."""
    missed = {match.label.component for match in lived.comparison.static.matches if match.episode is None}
    found = {match.label.component: match.label for match in lived.comparison.ours.matches if match.episode is not None}

    def rank(story: tuple[Incident, Any]) -> tuple[bool, bool, int, float]:
        one = story[0]
        label = found.get(one.component)
        true = label is not None and one.since < label.end and one.last_bad >= label.start
        return true, one.component in missed, len(one.anomalies), one.peak

    return max(lived.stories, key=rank, default=None)
