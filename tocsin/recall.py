"""What a restart finds: component types remember from what was committed, and what the configuration dropped is closed."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from alerting.judge import JudgeState
from alerting.retired import retire
from tocsin.errors import PermanentError, TransientError
from tocsin.late import Past, merged
from tocsin.model import Window
from tocsin.shard import MENTIONED, STREAM, Shard
from tocsin.store.history import History
from tocsin.store.state import State

log = structlog.get_logger()


def recall(shard: Shard, state: State, history: History) -> None:
    """Rebuild what a component type remembers from what was committed."""
    shard.watermark = state.watermarks(shard.name).get((shard.name, STREAM))
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
        shard.restarted = shard.recent is not None and bool(shard.past.checkpoints)


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
    shard.recent = past if shard.recent is None else merged(past, shard.recent, window, window.start)[0]


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
