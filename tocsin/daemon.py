"""The tick loop, the deliver loop and the timed jobs of one process; signals in, exit code out.

Beats run on the monotonic clock, one a second; at each beat every component type whose next bucket is over is ticked.
Trainings and housekeeping run beside it, so that nothing slow ever delays a verdict.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler

from alerting.line import readable
from tocsin.app import App
from tocsin.config import Config
from tocsin.errors import ConfigError
from tocsin.shard import Shard
from tocsin.store.lock import StateLock
from tocsin.telemetry import Metrics, tell_systemd
from tocsin.web.pages import routes
from tocsin.web.server import Server, application

log = structlog.get_logger()

BEAT = 1.0
PATIENCE = 9.0
"""Seconds that a running tick gets to finish after SIGTERM; then the process leaves and the tick is rolled back."""
SUPERVISE_EVERY = 60
"""Seconds between two looks at budgets and promises where no supervising system is named."""
WATCH_EVERY = 30.0
"""Seconds between two looks at ourselves."""
FIRST_DELIVERY = 10.0
"""Seconds that `run --once` waits for the far side to show what it was sent."""


class Daemon:
    """One Tocsin process. `reload` reads the configuration again, for SIGHUP."""

    def __init__(self, config: Config, reload: Callable[[], Config], *, dry_run: bool = False) -> None:
        self._config, self._reload, self._dry_run = config, reload, dry_run
        self._metrics = Metrics()
        self._stop, self._hup = threading.Event(), threading.Event()
        self._app: App
        self._last_beat = self._watched_at = -float("inf")

    # --- the two ways to run -----------------------------------------------------------------------------------

    def run_once(self) -> int:
        """Learn what was never learnt, tick every component type, deliver, leave. In a dry run, print what every service shows.

        1 when a type could not be ticked, or one of its sources did not answer.
        """
        with ExitStack() as stack:
            stack.enter_context(StateLock(self._state_folder()))
            self._app = stack.enter_context(App(self._config, metrics=self._metrics, dry_run=self._dry_run))
            failed = False
            self._app.supervise(time.time())
            for shard in self._app.shards:
                if self._app.needs_training(shard, time.time()):
                    self._train(shard)
                self._tick(shard)
                for why in filter(None, (shard.fault, shard.intake.why())):
                    failed = True
                    sys.stderr.write(f"tocsin: {shard.name}: {why}\n")
            self._app.watch(time.time())
            if self._dry_run:
                self._show()
                return int(failed)
            deadline = time.monotonic() + FIRST_DELIVERY
            self._app.deliver_step(time.time())
            while not self._app.delivered(time.time()) and time.monotonic() < deadline:
                time.sleep(1.0)
                self._app.deliver_step(time.time())
            self._app.elsewhere.step(time.time())
            return int(failed)

    def _show(self) -> None:
        """What would be sent now, all of it: that an earlier dry run printed it too is of no interest."""
        for shard in self._app.shards:
            if not self._app.oversight.sends(shard.kind):
                sys.stderr.write(f"tocsin: {shard.name}: ladder {shard.kind.alert.ladder}: nothing is sent\n")
            self._app.refresh(shard, time.time(), everything=True)
        for row in self._app.state.all_desired():
            if row.valid_until > time.time():
                sys.stdout.write(f"{readable(row)}\n")

    def run_forever(self) -> int:
        """Run until SIGTERM or SIGINT; 0 when it ended in order."""
        with ExitStack() as stack:
            stack.enter_context(StateLock(self._state_folder()))
            self._app = App(self._config, metrics=self._metrics, dry_run=self._dry_run)
            stack.callback(lambda: self._app.close())  # noqa: PLW0108  (a reload replaces the app)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_stop)
            signal.signal(signal.SIGHUP, lambda *_: self._hup.set())
            self._loaded_now()
            if self._config.http.listen is not None:
                host, port = self._config.http.address()
                pages = routes(lambda: self._config, lambda: self._app.state)
                server = Server(application(self._metrics.registry, self._why_not_ready, pages), host, port)
                server.start()
                stack.callback(server.stop)
            deliverer = threading.Thread(target=self._deliver_loop, name="deliver", daemon=True)
            deliverer.start()
            stack.callback(deliverer.join, 2.0)
            teller = threading.Thread(target=self._tell_loop, name="tell", daemon=True)
            teller.start()
            stack.callback(teller.join, 2.0)
            scheduler = self._schedule()
            stack.callback(lambda: scheduler.shutdown(wait=False))
            log.info("daemon.started", pid=os.getpid(), types=[shard.name for shard in self._app.shards])
            tell_systemd("READY=1")
            self._beat_until_stopped()
            tell_systemd("STOPPING=1")
        log.info("daemon.stopped")
        return 0

    # --- the tick loop -------------------------------------------------------------------------------------------

    def _beat_until_stopped(self) -> None:
        origin, beat = time.monotonic(), 0
        while not self._stop.is_set():
            if self._hup.is_set():
                self._hup.clear()
                self._reload_config()
            for shard in self._app.shards:
                if self._stop.is_set():
                    return
                if shard.due(time.time()):
                    self._tick(shard)
            self._quiet_work()
            self._last_beat = time.monotonic()
            tell_systemd("WATCHDOG=1")
            # The next beat is counted from the origin: a slow tick delays one beat and shifts none.
            beat = max(beat + 1, int((time.monotonic() - origin) / BEAT))
            self._stop.wait(max(0.0, origin + beat * BEAT - time.monotonic()))

    def _tick(self, shard: Shard) -> bool:
        """One component type's fault never reaches another: everything is caught here and shown by `tocsin-sources`."""
        began = time.thread_time()
        try:
            self._app.tick(shard, time.time())
        except Exception as error:
            shard.fault = f"{type(error).__name__}: {error}"
            self._metrics.tick_failures.labels(shard.name).inc()
            log.exception("tick.failed", component_type=shard.name)
            return False
        shard.fault = ""
        self._metrics.tick_seconds.labels(shard.name).observe(time.thread_time() - began)
        return True

    def _quiet_work(self) -> None:
        """What no verdict waits for: say quiet services anew, a few a beat, and look at ourselves now and then."""
        try:
            for shard in self._app.shards:
                self._app.refresh(shard, time.time())
            if time.monotonic() - self._watched_at >= WATCH_EVERY:
                self._watched_at = time.monotonic()
                self._app.watch(time.time())
        except Exception:
            log.exception("watch.failed")

    def _deliver_loop(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                self._app.deliver_step(time.time())
            except Exception:
                log.exception("deliver.failed")

    def _tell_loop(self) -> None:
        while not self._stop.wait(BEAT):
            self._app.elsewhere.step(time.time())

    # --- timed jobs ----------------------------------------------------------------------------------------------

    def _schedule(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        scheduler.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
        scheduler.add_job(self._train_what_is_due, "interval", seconds=15, id="train", next_run_time=datetime.now(UTC))
        scheduler.add_job(self._housekeeping, "interval", minutes=10, id="housekeeping")
        every = self._config.supervision.every if self._config.supervision is not None else SUPERVISE_EVERY
        scheduler.add_job(self._supervise, "interval", seconds=every, id="supervise", next_run_time=datetime.now(UTC))
        scheduler.start()
        return scheduler

    def _train_what_is_due(self) -> None:
        for shard in self._app.shards:
            if not self._stop.is_set() and self._app.needs_training(shard, time.time()):
                self._train(shard)

    def _train(self, shard: Shard) -> None:
        try:
            outcome = self._app.train(shard, time.time(), stopped=self._stop.is_set)
        except Exception:
            self._metrics.trainings.labels(shard.name, "failed").inc()
            log.exception("train.failed", component_type=shard.name)
        else:
            self._metrics.trainings.labels(shard.name, outcome.kind).inc()
            log.info("train.done", component_type=shard.name, outcome=outcome.kind, message=outcome.sentence)

    def _housekeeping(self) -> None:
        self._app.housekeeping(time.time())

    def _supervise(self) -> None:
        self._app.supervise(time.time())

    def _missed(self, event: JobEvent) -> None:
        self._metrics.missed_runs.labels(event.job_id).inc()
        log.warning("job.missed", job=event.job_id)

    # --- signals --------------------------------------------------------------------------------------------------

    def _on_stop(self, *_: object) -> None:
        self._stop.set()
        # A tick that hangs in a source must not hold the machine's shutdown: leaving rolls its transaction back.
        last_resort = threading.Timer(PATIENCE, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()

    def _reload_config(self) -> None:
        """The new configuration, or the old one and the reason: a mistake never stops a running daemon."""
        tell_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config = self._reload()
            if (config.state, config.database_url()) != (self._config.state, self._config.database_url()):
                raise ConfigError(f"{config.path}: state: cannot change while the daemon runs: restart it")
            fresh = App(config, metrics=self._metrics, dry_run=self._dry_run)
        except ConfigError as error:
            self._metrics.reload_ok.set(0)
            log.error("config.refused", problems=list(error.problems), kept="the configuration in force")
        else:
            old, self._app, self._config = self._app, fresh, config
            old.close()
            self._loaded_now()
        tell_systemd("READY=1")

    def _loaded_now(self) -> None:
        self._metrics.reload_ok.set(1)
        self._metrics.reload_at.set(time.time())
        log.info("config.loaded", path=str(self._config.path))

    def _state_folder(self) -> Path:
        return self._config.state / "dry-run" if self._dry_run else self._config.state

    def _why_not_ready(self) -> str:
        if time.monotonic() - self._last_beat > 60:
            return "the tick loop does not advance"
        return self._app.why_not_ready()
