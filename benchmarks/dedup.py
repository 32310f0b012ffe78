"""What deduplication saves, and that it loses nothing: the same replay of the simulated park, told with more and more of it.

The park's live week, with its incidents, and two things a monitoring team knows well on top: a storm (everything behind one
switch goes wrong for 45 minutes) and a component that comes and goes for five hours. Every row judges the same surprises; what
differs is what is told. "alerts" is how often somebody is told something new (a service that starts to show trouble), "incidents"
how many different ones, "at once" how many services showed trouble at the worst moment. An event counts as found when somebody is
told of its component during it or half an hour after it, on its own service or among the members of another.

    ./dev bench dedup
    ./dev bench dedup --data FOLDER      measured services, as timestamp,m00..mNN,label
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alerting.judge import JudgeState, Rules, judge
from alerting.stages import run, visible
from tocsin import registry
from tocsin.config_shapes import Alert
from tocsin.demo.park import Park
from tocsin.demo.simulator import simulate
from tocsin.evaluation import Label
from tocsin.model import Frame, Fused, HostFacts, Incident, Metric, Phase, SeriesIndex, SeriesKey, ServiceKey, Window, utc
from tocsin.ports import Surroundings
from tocsin.scoring import Evaluation, walk
from tocsin.staging import World, stages_of
from tocsin.timegrid import Calendar

SWITCH = "sw-1"
BEFORE = Rules(reopen=0, flap_times=1000)
"""Every opening is an incident of its own."""


@dataclass(frozen=True)
class Told:
    """What one way of telling made of the week."""

    alerts: int
    incidents: int
    at_once: int
    found: int
    missed: tuple[str, ...]


def with_storm(park: Park) -> tuple[Park, tuple[Label, ...], Mapping[str, HostFacts]]:
    """The park with a storm and a flapping component, and where its hosts stand."""
    types, labels, hosts = {}, [], {}
    storm = park.live.start + 2 * 86_400 + 11 * 3600
    for name, kind in park.types.items():
        values = kind.frame.values.copy()
        columns = (kind.frame.window.starts >= storm) & (kind.frame.window.starts < storm + 2700)
        components = kind.frame.index.components
        behind = components[: max(1, len(components) * 3 // 4)]
        rows = np.array([key.component in behind for key in kind.frame.index])
        values[np.ix_(rows, columns)] = values[np.ix_(rows, columns)] * 5 + 1
        for component in components:
            hosts[component] = HostFacts(host=component, parents=(SWITCH,) if component in behind else ())
        labels += [Label(component=component, start=storm, end=storm + 2700, kind="storm") for component in behind]
        if name == next(iter(park.types)):
            shaky, begin = components[-1], park.live.start + 4 * 86_400 + 9 * 3600
            mine = np.array([key.component == shaky for key in kind.frame.index])
            times = kind.frame.window.starts
            bad = (times >= begin) & (times < begin + 5 * 3600) & ((times - begin) % 2100 < 600)
            values[np.ix_(mine, bad)] = values[np.ix_(mine, bad)] * 5 + 1
            labels.append(Label(component=shaky, start=begin, end=begin + 5 * 3600, kind="flapping"))
        types[name] = replace(kind, frame=replace(kind.frame, values=values))
    return replace(park, types=types), tuple(labels), hosts


def surprises(
    frame: Frame, start: int, calendar: Calendar, metrics: Mapping[str, Metric], name: str
) -> tuple[Evaluation, Window]:
    """What is from `start` on, judged by what was learnt from all before it."""
    around = Surroundings(component_type=name, calendar=calendar, span=frame.window.span, metrics=metrics, folder=None)
    detectors = []
    for detector in ("seasonal", "silence"):
        plugin = registry.find("detectors", detector)
        detectors.append(plugin.build(plugin.settings(), around))
    ((window, evaluation),) = walk(frame, detectors, train=start - frame.window.start, every=400 * 86_400, start=start)
    return evaluation, window


def measured(folder: Path, train_rows: int = 5760) -> tuple[Frame, int, tuple[Label, ...]]:
    """Files of `timestamp,m00..mNN,label`, a component each: the frame, where its judged part begins, the labelled events."""
    columns: dict[SeriesKey, list[float]] = {}
    labels, times = [], []
    for path in sorted(folder.glob("*.csv.gz")):
        component = path.name.removesuffix(".csv.gz")
        with gzip.open(path, "rt") as file:
            header, *rows = list(csv.reader(file))
        times = [int(float(row[0])) for row in rows]
        for place, metric in enumerate(header[1:-1], 1):
            columns[SeriesKey(component, metric)] = [float(row[place] or "nan") for row in rows]
        bad = [time for time, row in zip(times, rows, strict=True) if row[-1] == "1"]
        for first in [time for n, time in enumerate(bad) if not n or time - bad[n - 1] > 1800]:
            last = next(time for n, time in enumerate(bad) if time >= first and (n + 1 == len(bad) or bad[n + 1] - time > 1800))
            labels.append(Label(component=component, start=first, end=last + times[1] - times[0], kind="event"))
    span, length = times[1] - times[0], min(map(len, columns.values()))
    index = SeriesIndex(columns)
    values = np.array([columns[key][:length] for key in index])
    start = train_rows * span
    return Frame.of(index, Window(0, length * span, span), values), start, tuple(one for one in labels if one.start >= start)


def every_bucket(
    evaluations: Mapping[str, tuple[Evaluation, Window]], rules: Rules, labels: Sequence[Label], *, series: bool
) -> Told:
    """One alert per anomalous bucket, of each series or of each component."""
    count, peak, told = 0, np.zeros(0), []
    for evaluation, window in evaluations.values():
        if series:
            count += sum(int((scores.surprise >= rules.open_surprise).sum()) for scores in evaluation.scores.values())
        for fused in evaluation.fused.values():
            bad = fused.surprise >= rules.open_surprise
            count += 0 if series else int(bad.sum())
            peak = bad.sum(axis=0) if not len(peak) else peak + bad.sum(axis=0)
            for row, component in enumerate(fused.index.components):
                told += [(component, int(window.starts[column]) + window.span) for column in np.flatnonzero(bad[row])]
    return Told(count, count, int(peak.max()), *held_against(labels, told))


def lived(
    calendar: Calendar,
    evaluations: Mapping[str, tuple[Evaluation, Window]],
    labels: Sequence[Label],
    hosts: Mapping[str, HostFacts],
    alert: Alert,
    rules: Rules,
    leave_out: Sequence[str] = (),
) -> Told:
    """Bucket by bucket through judge and stages, as the daemon does."""
    incidents: dict[str, Incident] = {}
    counts = {name: len(next(iter(one.fused.values())).index.components) for name, (one, _) in evaluations.items()}
    world = World(
        hosts=lambda: hosts,
        counts=counts,
        spent=lambda types, since: sum(
            one.opened >= since and one.component_type in types and visible(one.held_by) for one in incidents.values()
        ),
    )
    stages = {
        name: [
            stage
            for stage in stages_of(name, alert, calendar, world, lambda one: ServiceKey(one.component, "Anomaly"))
            if type(stage).__name__ not in leave_out
        ]
        for name in evaluations
    }
    states: dict[tuple[str, str], JudgeState] = {}
    told: list[tuple[str, int]] = []
    seen: set[str] = set()
    everyone: set[str] = set()
    alerts, most = 0, 0
    (_, whole), *_ = evaluations.values()
    for column, start in enumerate(whole.starts):
        window, now = Window(int(start), int(start) + whole.span, whole.span), int(start) + whole.span
        for name, (evaluation, _) in evaluations.items():
            changed: dict[str, Incident] = {}
            for signature, fused in evaluation.fused.items():
                bucket = Fused(
                    index=fused.index,
                    window=window,
                    surprise=fused.surprise[:, column : column + 1],
                    share=fused.share[:, column : column + 1],
                )
                judged = judge(bucket, (), states.get((name, signature), JudgeState()), rules, name, signature)
                states[name, signature] = judged.state
                changed |= {one.id: one for one in judged.incidents}
            if not changed:
                continue
            staged = run(stages[name], list(changed.values()), utc(now), {one.id: one.held_by for one in incidents.values()})
            incidents |= {one.id: one for one in staged.incidents}
            world.incidents[name] = [
                one for one in incidents.values() if one.component_type == name and (one.recovered or now) >= now - 3600
            ]
        open_now = {one.id for one in incidents.values() if one.phase is Phase.OPEN and visible(one.held_by)}
        for identity in open_now - seen:
            alerts += 1
            told.append((incidents[identity].component, now))
        told += [(member, now) for identity in open_now for member in incidents[identity].folded]
        everyone |= open_now
        seen, most = open_now, max(most, len(open_now))
    return Told(alerts, len(everyone), most, *held_against(labels, told))


def held_against(labels: Sequence[Label], told: Sequence[tuple[str, int]]) -> tuple[int, tuple[str, ...]]:
    """How many events somebody was told of during them, or within half an hour, and which ones nobody was told of."""
    by: dict[str, list[int]] = {}
    for component, at in told:
        by.setdefault(component, []).append(at)
    missed = [one for one in labels if not any(one.start <= at <= one.end + 1800 for at in by.get(one.component, ()))]
    return len(labels) - len(missed), tuple(sorted(f"{one.kind} of {one.component}" for one in missed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="a folder of files `timestamp,m00..mNN,label` instead of the park")
    arguments = parser.parse_args()
    hosts: Mapping[str, HostFacts] = {}
    if arguments.data is not None:
        frame, start, labels = measured(arguments.data)
        calendar = Calendar()
        evaluations = {"measured": surprises(frame, start, calendar, {}, "measured")}
        what = (
            f"{len(frame.index.components)} components of {arguments.data.name}, {(frame.window.end - start) / 86_400:.0f} days"
        )
    else:
        park, extra, hosts = with_storm(simulate(arguments.seed))
        labels, calendar = (*park.incidents, *extra), park.calendar
        evaluations = {
            name: surprises(kind.frame, park.live.start, calendar, kind.metrics, name) for name, kind in park.types.items()
        }
        what = f"{park.components} components, {len(park.live) * park.live.span / 86_400:.0f} days, seed {arguments.seed}"
    alert = Alert.model_validate({"ladder": "status"})
    quiet = Alert.model_validate({"ladder": "status", "quiet": [{"at": "22:00", "until": "06:00"}]})
    tight = Alert.model_validate({"ladder": "status", "budget": {"alerts": 10, "every": "7d"}})
    rules, grouping = alert.rules(), ("Grouping",)

    def told(how: Alert, rules: Rules, leave_out: Sequence[str] = ()) -> Told:
        return lived(calendar, evaluations, labels, hosts, how, rules, leave_out)

    rows = [
        ("each series, each anomalous bucket", every_bucket(evaluations, rules, labels, series=True)),
        ("each component, each anomalous bucket", every_bucket(evaluations, rules, labels, series=False)),
        ("incidents: k of n opens, its own rule closes", told(alert, BEFORE, grouping)),
        ("what comes back within two hours goes on", told(alert, replace(rules, flap_times=1000), grouping)),
        ("flapping is one state", told(alert, rules, grouping)),
        ("storms fold", told(alert, rules)),
        ("and quiet hours, WARNING waits for 06:00", told(quiet, rules)),
        ("and a budget of 10 a week and type", told(tight, rules)),
    ]
    print(f"{what}, {len(labels)} events")
    print(f"{'told':<48} {'alerts':>8} {'incidents':>10} {'at once':>8} {'found':>6}")
    for name, one in rows:
        print(f"{name:<48} {one.alerts:>8} {one.incidents:>10} {one.at_once:>8} {one.found:>6}")
    lost = set(rows[5][1].missed) - set(rows[2][1].missed)
    print(f"events lost between the incidents and the folded storms: {', '.join(sorted(lost)) or 'none'}")
    print(f"never found: {', '.join(rows[2][1].missed) or 'none'}")


if __name__ == "__main__":
    main()
