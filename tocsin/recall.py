"""What a restart finds: component types remember from what was committed, and what the configuration dropped is closed."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from alerting.judge import JudgeState
from alerting.retired import retire
from tocsin.errors import PermanentError, TransientError
from tocsin.late import Past, merged
from tocsin.memory import Memory
from tocsin.model import SeriesIndex, Window, utc
from tocsin.shard import CATCH_UP, MENTIONED, STREAM, Shard
from tocsin.store.history import History
from tocsin.store.state import State
from tocsin.timegrid import DAY

log = structlog.get_logger()


def recall(shard: Shard, state: State, history: History) -> None:
    """Rebuild what a component type remembers from what was committed."""
    read_to = {source: at for (_, source), at in state.watermarks(shard.name).items()}
    shard.watermark = read_to.get(STREAM)
    try:
        arrays = state.judge_state(shard.name) or {}
        names = {detector.signature for detector in shard.detectors}
        shard.states = {signature: JudgeState.from_arrays(arrays, f"{signature}/") for signature in names}
        if shard.kind.replay:
            shard.past = Past.from_arrays(arrays)
    except (PermanentError, ValueError, KeyError) as error:
        log.error("judge_state.lost", component_type=shard.name, error=str(error))
    lately = None if shard.watermark is None else float(shard.watermark - max(MENTIONED, 2 * shard.kind.replay))
    known = state.incidents(component_type=shard.name, since=lately, open_only=lately is None)
    shard.incidents = {one.id: one for one in known}
    if shard.watermark is not None:
        remember(shard, history, shard.watermark)
        shard.intake.restore(_series(shard, history, shard.watermark), read_to)
        shard.restarted = shard.recent is not None and bool(shard.past.checkpoints)


def _series(shard: Shard, history: History, end: int) -> SeriesIndex:
    """The series there were when something was last read: of the day before `end`, or, where a source was down for longer, of
    the month."""
    for length in (DAY, 30 * DAY):
        try:
            found = history.index(shard.name, Window(end, end, shard.span).reaching_back(length))
        except (OSError, TransientError, PermanentError) as error:
            log.error("history.failed", component_type=shard.name, error=str(error))
            break
        if len(found):
            return found
    return SeriesIndex([])


def remember(shard: Shard, history: History, end: int) -> None:
    """What was measured before `end`, as far back as anything is judged from: also what only a training has read.

    So a running process sees no less of the past than one that was started again.
    """
    window = Window(end, end, shard.span).reaching_back(shard.lookback + 2 * shard.kind.replay)
    try:
        past = history.read(shard.name, window)
    except (OSError, TransientError, PermanentError) as error:
        log.error("history.failed", component_type=shard.name, error=str(error))
        return
    shard.memory = Memory(past if shard.recent is None else merged(past, shard.recent, window, window.start)[0])


def make_good(shard: Shard, history: History, since: int, until: int, judged_to: int | None) -> int:
    """Read what a source did not answer before `until`, too long ago to be judged again, into the history: six hours of it, the
    rest is read by the next training. How many buckets before `judged_to` were judged without it.

    As a question about the past: what is lacking of it says nothing of today, and other ticks go first.
    """
    since = max(since // shard.span * shard.span, until - CATCH_UP // shard.span * shard.span)
    if since >= until:
        return 0
    known = 0
    try:
        for part in shard.parts(Window(since, until, shard.span)):
            frame = shard.intake.collect(shard.index, part, past=True)
            history.append(shard.name, frame)
            known += int(frame.known.any(axis=0).sum())
    except (OSError, TransientError, PermanentError) as error:
        log.error("history.failed", component_type=shard.name, error=str(error))
    remember(shard, history, shard.watermark or until)
    log.info("source.made_good", component_type=shard.name, since=utc(since).isoformat(), buckets=known)
    return max(0, min(until, judged_to or 0) - since) // shard.span


def retire_what_left(state: State, named: Collection[str]) -> None:
    """Incidents and services of component types that are not `named` any more are closed and taken down, with the reason."""
    for gone in state.desired_component_types():
        if gone not in named:
            _close_all(state, gone)
            state.forget_desired([row.service for row in state.all_desired(gone)])


def _close_all(state: State, component_type: str) -> None:
    arrays = state.judge_state(component_type) or {}
    for prefix in sorted({key.partition("/")[0] for key in arrays if not key.startswith("@")}):
        remembered = JudgeState.from_arrays(arrays, f"{prefix}/")
        closed = retire(remembered, remembered.live, remembered.until, "the component type is no longer configured")
        with state.tick(component_type) as tick:
            tick.put_incidents(closed.incidents)
            tick.put_transitions(closed.transitions)
            tick.set_judge_state(closed.state.to_arrays(f"{prefix}/"))
