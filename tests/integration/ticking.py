"""A process that ticks, delivers, learns and compacts until it is killed; prints what it was told is safe.

`python -m tests.integration.ticking FOLDER`: every line is written after the store said that it is committed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tocsin.model import (
    Baseline,
    Desired,
    Frame,
    Incident,
    Phase,
    SeriesIndex,
    SeriesKey,
    ServiceKey,
    Severity,
    Transition,
    Window,
)
from tocsin.store import baselines
from tocsin.store.history import History
from tocsin.store.lock import StateLock
from tocsin.store.state import State

SPAN, START = 3600, 20_000 * 86_400
INDEX = SeriesIndex([SeriesKey("web-01", "cpu"), SeriesKey("web-02", "cpu")])


def tick(state: State, number: int) -> None:
    """Everything a tick writes says the same number, so that a torn one shows."""
    incident = Incident(
        id="abc",
        component_type="web",
        component="web-01",
        signature="anomaly",
        phase=Phase.OPEN,
        severity=Severity.CRITICAL,
        since=0,
        opened=0,
        last_bad=number,
        surprise=7.0,
        peak=7.0,
        version=number,
    )
    rows = [
        Desired(
            service=ServiceKey(f"web-{host:02}", "Anomaly"),
            code=Severity.OK,
            text=str(number),
            changed_at=number,
            version=number,
            valid_until=1 << 40,
        )
        for host in range(50)
    ]
    with state.tick("web") as one:
        one.set_watermark("files", number)
        one.set_judge_state({"number": np.full(100, number)})
        one.put_incidents([incident])
        one.put_transitions([Transition(incident="abc", at=number, kind="update", reason="", severity=Severity.CRITICAL)])
        one.want(rows)


def frame(number: int) -> Frame:
    start = START + number * SPAN
    return Frame.of(INDEX, Window(start, start + SPAN, SPAN), np.full((2, 1), float(number)))


def live(folder: Path) -> None:
    with StateLock(folder), State.open(folder / "tocsin.db", owner=True) as state, History(folder / "history") as history:
        number = max(state.watermarks().values(), default=0)
        while True:
            number += 1
            history.append("web", frame(number))
            tick(state, number)
            print("tick", number, flush=True)
            due = state.due(1.0, 50)
            state.record(due, [replace(row, last_sent_at=float(number), attempts=row.attempts + 1) for row in due])
            print("record", number, flush=True)
            if number % 4 == 0:
                learnt = Baseline(
                    detector="x", index=INDEX, trained_on=Window(0, 300, 300), arrays={"number": np.full(2, number)}
                )
                saved = baselines.save({"x": learnt}, folder / "models")
                version = state.add_model(
                    "web", path=saved.path.name, sha256=saved.sha256, trained_on=learnt.trained_on, created_at=number, facts={}
                )
                print("model", version.version, flush=True)
                state.backup(number)
            if number % 30 == 0:
                history.compact(START + (number - 2) * SPAN)


if __name__ == "__main__":
    live(Path(sys.argv[1]))
