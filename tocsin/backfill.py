"""Reading the past: what the history lacks is read from the sources, oldest first, in pieces that never hold up a tick.

A piece is as long as the sources can answer in a few seconds. A tick that waits for a source goes before the next piece, and
the source's own limits hold for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from tocsin.intake import Intake
from tocsin.model import SeriesIndex, Window, utc
from tocsin.ports import RemoteCollector
from tocsin.settings import spell_duration
from tocsin.store.history import History
from tocsin.timegrid import DAY

log = structlog.get_logger()

FIRST_PIECE = 3600
"""Seconds of the past that a server is asked for at first; a file is read by the day."""
QUICK, SLOW = 1.0, 4.0
"""Seconds: a piece that took less is doubled, one that took more is halved."""
PIECE_CELLS = 4_000_000
"""Values of one piece, at most: 36 MB."""
GIVE_UP = 3
"""Pieces in a row that nobody answered after which the rest is left for the next training."""
SAY_EVERY = 30.0
"""Seconds between two lines in the log."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfilled:
    """How far a backfill came: seconds of the window that are read, of `total`; `why` it ended early, empty when it did not."""

    done: int
    total: int
    why: str = ""


def backfill(
    intake: Intake,
    history: History,
    component_type: str,
    index: SeriesIndex,
    window: Window,
    *,
    progress: Progress,
    stopped: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> Backfilled:
    """Read from the sources what the history does not hold of `window`.

    A piece is asked for only for series of which some bucket in it was never read, so an interrupted backfill goes on where
    it stopped and a new component brings its own past.
    """
    total, began, said = window.end - window.start, clock(), clock()
    remote = any(isinstance(source.collector, RemoteCollector) for source in intake.sources)
    length, unanswered, read = FIRST_PIECE if remote else DAY, 0, 0
    for day in days_of(window):
        lacking = history.lacking(component_type, day, index)
        start = day.start
        while len(lacking) and start < day.end:
            if stopped():
                return Backfilled(done=start - window.start, total=total, why="stopped")
            piece = Window(start, min(day.end, start + _fitting(length, len(lacking), day.span)), day.span)
            wanted = lacking if len(piece) == len(day) else history.lacking(component_type, piece, lacking)
            start = piece.end
            if not len(wanted):
                continue
            asked = clock()
            frame = intake.collect(wanted, piece, past=True)
            took = clock() - asked
            unanswered = 0 if frame.known.any() else unanswered + 1
            if unanswered == GIVE_UP:
                why = intake.why(past=True) or "nothing is known of it"
                log.warning("backfill.given_up", component_type=component_type, at=utc(piece.start).isoformat(), why=why)
                return Backfilled(done=piece.start - window.start, total=total, why=why)
            history.append(component_type, frame)
            length, read = next_length(length, took), read + 1
            progress(piece.end - window.start, total)
            if clock() - said >= SAY_EVERY:
                said = clock()
                _say(component_type, piece.end - window.start, total, said - began)
        if read and history.compact(window.end):
            log.debug("history.compacted", component_type=component_type)
        progress(day.end - window.start, total)
    return Backfilled(done=total, total=total)


def next_length(length: int, took: float) -> int:
    """How much of the past to ask for after a piece of `length` seconds that took that long: an hour's half to a day."""
    if took > SLOW:
        return max(FIRST_PIECE // 2, length // 2)
    return min(DAY, 2 * length) if took < QUICK else length


def _fitting(length: int, series: int, span: int) -> int:
    """As much of it as fits into memory, in whole buckets, one at least."""
    return max(1, min(length // span, PIECE_CELLS // max(1, series))) * span


def _say(component_type: str, done: int, total: int, elapsed: float) -> None:
    left = elapsed * (total - done) / done if done else 0.0
    log.info("backfill.progress", component_type=component_type, done=f"{done / total:.0%}", left=spell_duration(left))


def days_of(window: Window) -> Iterator[Window]:
    """The window cut at UTC days, in whole buckets."""
    span = window.span
    start = window.start
    while start < window.end:
        stop = min(window.end, (start // DAY + 1) * DAY)
        stop = max(start + span, stop // span * span)
        yield Window(start, stop, span)
        start = stop
