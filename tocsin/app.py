"""The composition root: a configuration becomes component types, a store, a history, a sink and a deliver loop.

What happens at a certain time is called from outside with that time: the daemon's clock, or a simulated one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import structlog

from alerting.deliver import Deliver, Delivered
from alerting.desired import UNDELIVERABLE, Pace, Reason, want, was_seen
from alerting.line import readable
from alerting.selfwatch import Pulse, delivery, heartbeat, sources
from alerting.sinks.recording import Recording
from alerting.stages import run
from tocsin import failpoints, learning
from tocsin.config import Config
from tocsin.elsewhere import Elsewhere
from tocsin.errors import ConfigError, PermanentError, TransientError
from tocsin.late import Late
from tocsin.model import (
    CheckResult,
    Desired,
    Downtime,
    Frame,
    Incident,
    Outcome,
    Phase,
    Sent,
    SeriesIndex,
    ServiceKey,
    Window,
    utc,
)
from tocsin.oversight import Oversight
from tocsin.ports import Closable, Executor, Sink, Supervision
from tocsin.recall import make_good, recall, remember, retire_what_left
from tocsin.scale.local import ProcessPool
from tocsin.scoring import Evaluation
from tocsin.shard import MENTIONED, STREAM, Shard
from tocsin.sight import Standing
from tocsin.speak import View
from tocsin.store import baselines
from tocsin.store.accounts import sources_of
from tocsin.store.history import History
from tocsin.store.lock import prepare
from tocsin.store.state import State
from tocsin.telemetry import Metrics
from tocsin.telling import count_late, tell
from tocsin.timegrid import DAY
from tocsin.training import Trainer
from tocsin.wellbeing import Wellbeing, notes

log = structlog.get_logger()

OWN = "tocsin"
"""The component type under which Tocsin's own services are kept."""
OWN_VALID = 900.0
HEARTBEAT_VALID = 120.0
"""A heartbeat older than this is not sent again: the freshness check of the far side shall notice."""
KEEP_INCIDENTS = 400 * DAY
KEEP_RUNS = 30 * DAY


class App:
    """A wired Tocsin. One per state directory; the caller holds the lock."""

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics | None = None,
        dry_run: bool = False,
        sink: Sink | None = None,
        executor: Executor | None = None,
        started: float | None = None,
        observe: Callable[[str, Evaluation], None] = lambda _component_type, _evaluation: None,
    ) -> None:
        self.config, self._dry_run, self._observe = config, dry_run, observe
        self.metrics = metrics or Metrics()
        self.folder = prepare(config.state / "dry-run" if dry_run else config.state)
        self.state = State.open(f"sqlite:///{self.folder / 'tocsin.db'}" if dry_run else config.database_url(), owner=True)
        try:
            self.history = History(self.folder / "history")
            self.sink = sink or self._build_sink(dry_run)
            self.supervision = self._build_supervision()
            self.oversight = Oversight(config, self.state, self.supervision)
            self.shards = tuple(
                Shard.of(kind, self.oversight.stages(kind), memory=self.folder / "sources" / kind.name) for kind in config.types
            )
            pace = Pace(
                reassert=float(config.deliver.reassert),
                read_back=float(config.deliver.read_back),
                rate=float(config.deliver.rate),
            )
            self._deliver = Deliver(self.state, self.sink, pace, self._on_send)
            also = () if dry_run else config.deliver.also
            self.elsewhere = Elsewhere(also, self.state, self.metrics, float(config.deliver.reassert))
            self._started = time.time() if started is None else started
            self._ticked: dict[str, float] = {}
            self._wellbeing = Wellbeing()
            self._delivery_error = ""
            for shard in self.shards:
                recall(shard, self.state, self.history)
                self.oversight.saw(shard.name, shard.incidents.values())
            retire_what_left(self.state, {shard.name for shard in self.shards} | {OWN})
            # A training needs hundreds of megabytes for a while: never in the process that ticks.
            trainer = Trainer(
                folder=self.folder,
                state=self.state,
                history=self.history,
                executor=executor or ProcessPool(config.train.workers),
                settings=config.train,
                metrics=self.metrics,
                planned=self._planned,
            )
            self.train, self.needs_training = trainer.train, trainer.due
        except BaseException:
            self.state.close()
            raise
        for problem in self.state.problems:
            log.error("state.problem", problem=problem)

    def _build_sink(self, dry_run: bool) -> Sink:
        if dry_run:
            return Recording()
        entry = self.config.deliver.sink
        sink: Sink = entry.plugin.build(entry.settings, None)
        return sink

    def _build_supervision(self) -> Supervision | None:
        entry = self.config.supervision
        if entry is None:
            return None
        supervision: Supervision = entry.plugin.build(entry.settings, None)
        return supervision

    def __enter__(self) -> App:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.elsewhere.close()
        self.oversight.overseen.close()
        if isinstance(self.sink, Closable):
            self.sink.close()
        for shard in self.shards:
            shard.intake.close()
        self.history.close()
        self.state.close()

    def shards_named(self, name: str | None) -> Sequence[Shard]:
        """The component type of that name, or all of them."""
        if name is None:
            return self.shards
        found = [shard for shard in self.shards if shard.name == name]
        if not found:
            known = ", ".join(shard.name for shard in self.shards)
            raise ConfigError(f'no component type "{name}"; there are: {known}')
        return found

    # --- one tick ---------------------------------------------------------------------------------------------------

    def tick(self, shard: Shard, now: float) -> int:
        """Judge every bucket that is over and was not judged yet; the number of them.

        Each part is one transaction: watermark, judgement, incidents, transitions and what the services must show are
        committed together or not at all.
        """
        if now - shard.discovered_at >= shard.discover_every:
            shard.index, shard.discovered_at = shard.intake.discover(now=now), now
            self.metrics.series.labels(shard.name).set(len(shard.index))
            self.metrics.components.labels(shard.name).set(len(shard.index.components))
        taken_over = self._hand_over(shard)
        self.oversight.look(now)
        judged_to = shard.watermark
        window, too_old = shard.pending(now)
        if taken_over:
            remember(shard, self.history, window.start)
        if too_old:
            self.metrics.skipped.labels(shard.name).inc(too_old)
            log.warning("tick.too_late", component_type=shard.name, buckets=too_old, judged_from=utc(window.start).isoformat())
        for part in shard.parts(window):
            self._tick_part(shard, part, shard.reading(part), now)
        # Only after what is new was told: reading much of the past again can take a while.
        missed = shard.intake.missed()
        back = shard.looking_back(returned=missed is not None)
        if missed is not None:
            until = window.start if back is None else min(window.start, back.start)
            self.metrics.skipped.labels(shard.name).inc(make_good(shard, self.history, missed, until, judged_to))
        if back is not None and shard.view is not None:
            self._tick_part(shard, Window(back.end, back.end, back.span), back, now)
            shard.looked_back = back.end
        self._ticked[shard.name] = now
        return len(window)

    def _tick_part(self, shard: Shard, window: Window, reading: Window, now: float) -> None:
        """Read, judge and commit; `window` is what is new in `reading`, and may be empty."""
        fresh = shard.intake.collect(shard.index, reading)
        with shard.taking_in(fresh, window) as (memory, late):
            # As it is remembered: a value that its source lost since stays in the history too.
            self._keep(shard, memory.within(fresh.window))
            self._judge_part(shard, window, memory, late, now)

    def _judge_part(self, shard: Shard, window: Window, memory: Frame, late: Late, now: float) -> None:
        again = shard.judged_again(memory, late)
        if not len(window) and not again.checkpoints:
            count_late(self.metrics, shard, late, window, now)
            shard.restarted = False
            return
        assessment = shard.judge.assess(memory, window, again.states)
        states = {**again.states, **assessment.states}
        changed = {one.id: one for one in (*again.incidents, *assessment.incidents)}
        before = {one.id: one.held_by for one in shard.incidents.values()}
        leading = {one.id for one in shard.incidents.values() if one.folded}
        staged = run(shard.stages, list(changed.values()), utc(now), before, leading)
        incidents = {**shard.incidents, **{one.id: one for one in (*staged.incidents, *again.taken_back)}}
        kept = max(MENTIONED, 2 * shard.kind.replay)
        incidents = {name: one for name, one in incidents.items() if one.recovered is None or window.end - one.recovered <= kept}
        transitions = (*again.transitions, *assessment.transitions, *staged.transitions)
        past = shard.remembered(again, window.end, states)
        view = shard.view if shard.view is not None and not len(window) else _seen(shard, memory, window, assessment.evaluation)
        standings = dict(zip(view.index.components, view.sight.standings(shard.patience).tolist(), strict=True))
        rows = self._touched(shard, view, standings, incidents, {step.incident for step in transitions}, now)
        with self.state.tick(shard.name) as tick:
            tick.set_watermark(STREAM, window.end)
            for source in shard.intake.states.values():
                if source.read_to:
                    tick.set_watermark(source.name, min(source.read_to, window.end))
            arrays = {key: array for name, state in states.items() for key, array in state.to_arrays(f"{name}/").items()}
            tick.set_judge_state({**arrays, **past.to_arrays()})
            tick.put_incidents((*staged.incidents, *again.taken_back))
            tick.put_transitions(transitions)
            tick.want(rows)
        # Only now: a tick that was rolled back is done again from the same memory.
        count_late(self.metrics, shard, late, window, now)
        shard.incidents = incidents
        self.oversight.saw(shard.name, shard.incidents.values(), len(view.index.components))
        shard.watermark, shard.states, shard.standings, shard.past = window.end, states, standings, past
        shard.view, shard.restarted = view, False
        if len(window):
            self._observe(shard.name, assessment.evaluation)
        steps = (*(step for step in again.transitions if step.at == window.start), *assessment.transitions)
        tell(self.metrics, shard, window, steps)

    def _touched(
        self,
        shard: Shard,
        view: View,
        standings: Mapping[str, int],
        incidents: Mapping[str, Incident],
        stepped: set[str],
        now: float,
    ) -> list[Desired]:
        """The rows of services to which something happened: a step of an incident, an open one, another standing."""
        if not self.oversight.sends(shard.kind):
            return []
        services = shard.services_of(view.index)
        places, before = view.index.places, shard.standings
        changed = [] if standings == before else [at for name, at in places.items() if standings[name] != before.get(name)]
        concerned = [one for one in incidents.values() if one.phase is Phase.OPEN or one.id in stepped]
        changed += [places[one.component] for one in concerned if one.component in places]
        if shard.kind.alert.hand_back == "static":
            changed += [place for component, place in places.items() if standings[component] != Standing.JUDGED]
        told: dict[str, list[Incident]] = {}
        for one in incidents.values():
            told.setdefault(one.component, []).append(one)
        keys = self.oversight.spoken(shard.kind, services.of(changed), services)
        results = shard.speaker.results(keys, services, view, told, shard.why_blind)
        steps = set(services.of(places[one.component] for one in concerned if one.id in stepped and one.component in places))
        return self._rows(shard, results, steps, now)

    def refresh(self, shard: Shard, now: float, *, everything: bool = False) -> int:
        """Say the next few quiet services anew, so that each is said once per re-assertion period, or all; how many were."""
        if (
            not self.oversight.sends(shard.kind)
            or shard.view is None
            or shard.services is None
            or shard.services.index is not shard.view.index
        ):
            return 0
        every, keys = self.config.deliver.reassert, list(shard.services.components_of)
        first, last = shard.refreshed, now / every * len(keys)
        shard.refreshed = last
        count = len(keys) if everything else min(len(keys), int(last) - int(first)) if first else 0
        turn = [keys[place % len(keys)] for place in range(int(last) - count, int(last))]
        spoken = self.oversight.spoken(shard.kind, turn, shard.services)
        if not spoken:
            return 0
        results = shard.speaker.results(spoken, shard.services, shard.view, shard.told_of(shard.view.window.end), shard.why_blind)
        rows = self._rows(shard, results, set(), now)
        with self.state.tick(shard.name) as tick:
            tick.want(rows)
        return len(rows)

    def _rows(self, shard: Shard, results: Sequence[CheckResult], steps: set[ServiceKey], now: float) -> list[Desired]:
        # A service that nobody says anew is not sent for ever: when the ticks stop, Centreon's freshness check must tell.
        valid_for = 3.0 * max(shard.span, self.config.deliver.reassert) + shard.delay.seconds
        current = {row.service: row for row in self.state.desired_rows([result.service for result in results])}
        return [want(current.get(result.service), result, now, valid_for, changed=result.service in steps) for result in results]

    def _keep(self, shard: Shard, frame: Frame) -> None:
        """Into the history. Its loss costs learning, so its failure costs no alert."""
        try:
            self.history.append(shard.name, frame)
        except (OSError, TransientError, PermanentError) as error:
            log.error("history.failed", component_type=shard.name, error=str(error))

    # --- memory --------------------------------------------------------------------------------------------------------

    def _hand_over(self, shard: Shard) -> bool:
        """Take the baselines in force, if they are not those in use. A damaged file leaves the former ones in use.

        Whether there were any to take.
        """
        active = self.state.active_model(shard.name)
        if active is None or active.version == shard.model_version:
            return False
        try:
            shard.models = learning.to_models(baselines.load(self.folder / active.path, active.sha256))
        except PermanentError as error:
            if shard.fault != str(error):
                log.error("model.refused", component_type=shard.name, version=active.version, error=str(error))
            shard.fault = str(error)
            return False
        shard.model_version, shard.fault = active.version, ""
        self.metrics.model_trained.labels(shard.name).set(active.trained_on.end)
        log.info(
            "model.in_force", component_type=shard.name, version=active.version, trained_to=utc(active.trained_on.end).isoformat()
        )
        return True

    # --- learning ----------------------------------------------------------------------------------------------------------

    def _planned(self, shard: Shard, index: SeriesIndex, window: Window) -> Sequence[Downtime]:
        """Planned work in the window, as far as somebody knows. What cannot be asked now is learnt from as it is."""
        ours = self.oversight.planned_work(shard.kind, index.components, window)
        if self.supervision is None:
            return ours
        try:
            return [*self.supervision.downtimes(window.start, window.end), *ours]
        except (TransientError, PermanentError) as error:
            log.warning("train.downtimes_unknown", error=str(error))
            return ours

    # --- delivery and ourselves ----------------------------------------------------------------------------------------------

    def deliver_step(self, now: float) -> Delivered:
        """One pass of the deliver loop."""
        done = self._deliver.step(now)
        if done.read_back or done.why:
            self._delivery_error = "" if done.read_back else done.why
        if done.read_back:
            self.metrics.undelivered.set(done.unconfirmed)
            self.metrics.undeliverable.set(done.undeliverable)
        for answer, count in ((Sent.YES, done.accepted), (Sent.NO, done.refused), (Sent.UNKNOWN, done.unanswered)):
            self.metrics.sent.labels(answer.value).inc(count)
        return done

    def delivered(self, now: float) -> bool:
        """Whether every service that can be shown is shown as it should be."""
        return all(row.error == UNDELIVERABLE or row.valid_until <= now or was_seen(row) for row in self.state.all_desired())

    def _on_send(self, reason: Reason, result: CheckResult, outcome: Outcome) -> None:
        failpoints.reached("after_send")
        if self._dry_run:
            sys.stdout.write(f"{readable(result)}\n")
        if reason not in (Reason.AGAIN, Reason.RETRY):
            log.info(
                "result.sent",
                host=result.service.host,
                service=result.service.service,
                code=result.code.name,
                reason=reason.value,
                answer=outcome.sent.value,
                why=outcome.why,
            )

    def watch(self, now: float) -> None:
        """Say our own services: heartbeat, sources, delivery, alerting. The heartbeat is only valid for two minutes."""
        self._watched_at = now
        host = self.config.deliver.host
        pulses = [
            Pulse(
                component_type=shard.name,
                every=max(shard.span, 60),
                last_tick=self._ticked.get(shard.name),
                error=shard.fault,
            )
            for shard in self.shards
        ]
        health = [one for shard in self.shards for one in self._wellbeing.look(shard, now)]
        told = [note for shard in self.shards for note in notes(shard, now)]
        for shard in self.shards:
            self.state.accounts.set_snapshot(sources_of(shard.name), now, self._wellbeing.facts(shard, now))
        own = [
            (heartbeat(host, pulses, now, self._started), HEARTBEAT_VALID),
            (sources(host, health, now, notes=told), OWN_VALID),
            (delivery(host, self.state.all_desired(), now, error=self._delivery_error), OWN_VALID),
            (self.oversight.result(host, now), OWN_VALID),
        ]
        current = {row.service: row for row in self.state.all_desired(OWN)}
        with self.state.tick(OWN) as tick:
            tick.want([want(current.get(result.service), result, now, valid) for result, valid in own])

    def why_not_ready(self) -> str:
        """Empty when every component type can be judged, else the first reason why not."""
        for shard in self.shards:
            if shard.fault:
                return f"{shard.name}: {shard.fault}"
            if shard.watermark is None:
                return f"{shard.name}: nothing was judged yet"
        return ""

    def supervise(self, now: float) -> None:
        """Read the supervising system, move the alert budgets, see whether promises are kept. May wait for a server."""
        for shard in self.shards:
            if shard.model_version is not None and shard.watermark is not None:
                self.oversight.watched(shard.name, now)
        self.oversight.supervise(now)

    def housekeeping(self, now: float) -> None:
        """Compact and prune the history, copy the database once an hour, forget what is long over."""
        self.history.compact(now)
        longest = max(kind.learns_from(self.config.train.history) for kind in self.config.types)
        self.history.prune(now - longest - 2 * DAY)
        self.state.forget_incidents(now - KEEP_INCIDENTS)
        self.state.forget_runs(now - KEEP_RUNS)
        hour = f"{utc(now):%Y-%m-%dT%H}"
        if self.state.claim_run("backup", hour, now):
            self.state.backup(now)
            if (head := self.state.accounts.journal_head()) is not None:
                log.info("journal.head", line=head.seq, digest=head.digest)
            self.state.finish_run("backup", hour, now)


def _seen(shard: Shard, memory: Frame, window: Window, evaluation: Evaluation) -> View:
    """What is seen of every component at the end of the window."""
    frame = memory.within(window.reaching_back(shard.lookback))
    sight = shard.view.sight if shard.view else shard.sight_before(memory, window)
    return View.of(frame, evaluation, sight.after(frame, evaluation))
