"""Data that come late end in the same incidents as data in time, and what comes too late is counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st

from tests.crash import HISTORY, SPAN, START, TICKS, make
from tocsin.app import App
from tocsin.config import load
from tocsin.errors import TransientError
from tocsin.intake import Intake, Source
from tocsin.late import Past, delay_of, merged
from tocsin.model import Frame, Incident, Phase, Probe, SeriesIndex, SeriesKey, Severity, Window
from tocsin.scale.local import InProcess
from tocsin.show import status_report

pytestmark = pytest.mark.timeout(170)

REPLAY = 12
"""Buckets that can be judged again in these tests."""
SEEN = TICKS - REPLAY // 2 - 2
"""The last bucket whose late values are still looked for before the story ends."""


FIGURES = ("value", "expected", "lower", "upper", "surprise", "share")


class Arrivals:
    """A source whose values come some buckets after their time; `now` is how far its clock has come."""

    def __init__(self, values: np.ndarray, index: SeriesIndex, late: np.ndarray) -> None:
        self.values, self.index, self.late = values, index, late
        self.now, self.down = 0, False

    def discover(self) -> list[SeriesKey]:
        return list(self.index)

    def collect(self, index: SeriesIndex, window: Window) -> Frame:
        if self.down:
            raise TransientError("down")
        rows = index.rows_in(self.index)
        buckets = (window.starts - START) // SPAN
        inside = (buckets >= 0) & (buckets < TICKS)
        places = np.clip(buckets, 0, TICKS - 1)
        there = inside & (buckets + 1 + self.late[rows][:, places] <= self.now)
        return Frame.of(index, window, np.where(there, self.values[rows][:, places], np.nan))

    def check(self) -> list[str]:
        return []

    def reach(self) -> tuple[int, int] | None:
        return None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that has learnt and judged nothing yet."""
    config = make(tmp_path_factory.mktemp("late") / "site")
    kind = config.parent / "components/web.yaml"
    kind.write_text(kind.read_text() + f"replay: {REPLAY * SPAN}s\n")
    with App(load(config), executor=InProcess(), started=START) as app:
        app.train(app.shards[0], START)
    return config.parent


def measured(site: Path) -> tuple[SeriesIndex, np.ndarray]:
    """What the files hold from START on."""
    keys = [SeriesKey(name, metric) for name in ("web-1", "web-2", "web-3") for metric in ("latency", "requests")]
    tables = [np.loadtxt(site / f"data/web-{number}.csv", delimiter=",", skiprows=1) for number in (1, 2, 3)]
    rows = [table[HISTORY:, column] for table in tables for column in (1, 2)]
    return SeriesIndex(keys), np.array(rows)


def live(
    site: Path, folder: Path, late: np.ndarray, *, restarts: set[int] = frozenset(), downs: set[int] = frozenset()
) -> tuple[App, Arrivals]:
    config = shutil.copytree(site, folder) / "tocsin.yaml"
    index, values = measured(site)
    source = Arrivals(values, index, late)

    def opened() -> App:
        app = App(load(config), executor=InProcess(), started=START)
        app.shards[0].intake = Intake([Source(name="late", collector=source)], app.shards[0].metrics)
        return app

    app = opened()
    for turn in range(1, TICKS + 1):
        if turn in restarts:
            app.close()
            app = opened()
        source.now, source.down = turn, turn in downs
        app.tick(app.shards[0], START + turn * SPAN)
    return app, source


def told(app: App) -> list[Incident]:
    """What happened, as a person reads it: not what was taken back, nor last digits: they depend on what is added up at once."""
    return sorted((rounded(one) for one in app.state.incidents() if one.phase is not Phase.WITHDRAWN), key=lambda one: one.id)


def rounded(incident: Incident) -> Incident:
    figures: list[dict[str, Any]] = [{name: nine(getattr(one, name)) for name in FIGURES} for one in incident.anomalies]
    anomalies = tuple(replace(one, **mine) for one, mine in zip(incident.anomalies, figures, strict=True))
    return replace(incident, surprise=nine(incident.surprise), peak=nine(incident.peak), anomalies=anomalies)


def nine(figure: float) -> float:
    """To nine digits."""
    return float(f"{figure:.9g}")


@pytest.fixture(scope="module")
def in_time(template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Incident]:
    app, _ = live(template, tmp_path_factory.mktemp("time") / "site", np.zeros((6, TICKS), int))
    with app:
        return told(app)


# Shrinking replays whole stories for minutes; the seed is told.
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phases.explicit, Phases.reuse, Phases.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# The source knows nothing before START: what it "lost" since the training must not be lost to a restart.
@example(seed=648, part=1.0, most=7, restarts={3, 12, 25}, down=(8, 6))
@given(
    seed=st.integers(0, 2**32 - 1),
    part=st.sampled_from([0.02, 0.2, 0.7, 1.0]),
    most=st.integers(1, REPLAY),
    restarts=st.sets(st.integers(2, TICKS), max_size=3),
    down=st.tuples(st.integers(2, SEEN - REPLAY), st.integers(0, REPLAY - 2)),
)
def test_in_whatever_order_data_come_within_the_replay_window_the_incidents_are_those_of_data_in_time(
    template: Path,
    in_time: list[Incident],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    part: float,
    most: int,
    restarts: set[int],
    down: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    late = np.where(rng.random((6, TICKS)) < part, rng.integers(0, most + 1, (6, TICKS)), 0)
    late = np.minimum(late, np.maximum(0, SEEN - 1 - np.arange(TICKS)))
    downs = set(range(down[0], down[0] + down[1]))
    app, _ = live(template, tmp_path_factory.mktemp("late") / "site", late, restarts=restarts, downs=downs)
    with app:
        assert told(app) == in_time


def test_the_story_in_time_has_two_incidents(in_time: list[Incident]) -> None:
    assert [(one.component, one.phase) for one in sorted(in_time, key=lambda one: one.component)] == [
        ("web-1", Phase.RECOVERED),
        ("web-2", Phase.OPEN),
    ]


def test_an_incident_that_late_data_unmake_is_taken_back_and_says_so(template: Path, tmp_path: Path) -> None:
    late = np.zeros((6, TICKS), int)
    late[4, 4:9] = 8  # the values of a healthy server are stuck on their way: its silence is an incident for a while
    late[5, 4:9] = 8
    app, _ = live(template, tmp_path / "site", late)
    with app:
        taken = [one for one in app.state.incidents() if one.phase is Phase.WITHDRAWN]
        if not taken:
            pytest.skip("the silence was too short to open an incident")
        steps = app.state.incident(taken[0].id)[1]
        assert steps[-1].kind == "withdrawn" and "came late: it did not happen" in steps[-1].reason
        assert app.shards[0].incidents[taken[0].id].phase is Phase.WITHDRAWN
        shown = next(row for row in app.state.all_desired("web") if row.service.host == "web-3")
        assert shown.code is Severity.OK
        assert app.metrics.late_values.labels("web", "judged again")._value.get() >= 5


def test_what_comes_after_the_replay_window_is_counted_and_changes_nothing(
    template: Path, tmp_path: Path, in_time: list[Incident]
) -> None:
    late = np.zeros((6, TICKS), int)
    late[4, 2] = REPLAY * 2 - 2
    app, _ = live(template, tmp_path / "site", late)
    with app:
        assert app.metrics.late_values.labels("web", "too late")._value.get() == 1
        assert {one.id for one in told(app)} == {one.id for one in in_time}


def test_without_replay_late_data_are_only_counted(template: Path, tmp_path: Path) -> None:
    site = shutil.copytree(template, tmp_path / "template")
    kind = site / "components/web.yaml"
    kind.write_text(kind.read_text().replace(f"replay: {REPLAY * SPAN}s", "replay: 0s").replace("delay: 0s", "delay: 0s"))
    late = np.zeros((6, TICKS), int)
    late[4, 2:12] = 1
    app, _ = live(site, tmp_path / "site", late)
    with app:
        assert app.shards[0].past == Past()
        assert app.metrics.late_values.labels("web", "too late")._value.get() == 10


def test_buckets_are_not_judged_again_by_what_did_not_judge_them(template: Path, tmp_path: Path) -> None:
    app, _ = live(template, tmp_path / "site", np.zeros((6, TICKS), int))
    with app:
        shard = app.shards[0]
        before = shard.past.by
        assert shard.past.start <= START + (TICKS - REPLAY) * SPAN
        shard.model_version = 99
        assert shard.judged_by() != before
        frame = shard.recent
        assert frame is not None
        _, late = merged(shard.recent, Frame.of(frame.index, frame.window, frame.values + 1), frame.window, frame.window.end)
        assert late.changed.any()
        assert shard.judged_again(frame, late).checkpoints == ()


class Slow(Arrivals):
    """The same, from a server that knows how late it is."""

    lateness: float | None = None

    def lag(self) -> float | None:
        return self.lateness

    def probe(self, now: float) -> Probe:
        return Probe(version="1")

    def close(self) -> None:
        """Nothing to give back."""


def test_what_the_sources_need_is_waited_for_and_said(template: Path, tmp_path: Path) -> None:
    config = load(shutil.copytree(template, tmp_path / "site") / "tocsin.yaml")
    index, values = measured(template)
    source = Slow(values, index, np.zeros((6, TICKS), int))
    with App(config, executor=InProcess(), started=START) as app:
        shard = app.shards[0]
        shard.intake = Intake([Source(name="slow", collector=source)], shard.metrics)
        source.now = 4
        app.tick(shard, START + 4 * SPAN)
        assert shard.watermark == START + 4 * SPAN
        source.lateness = 400.0
        assert not shard.due(START + 5 * SPAN), "the fifth bucket is over, and its data are not there yet"
        app.tick(shard, START + 5 * SPAN)
        assert shard.watermark == START + 4 * SPAN, "what was judged stays judged"
        source.now = 7
        app.tick(shard, START + 7 * SPAN)
        assert shard.watermark == START + 5 * SPAN
        assert app.metrics.delay.labels("web")._value.get() == 400
        source.lateness = 3_000.0
        app.watch(START + 7 * SPAN)
        status = status_report(config, app.state, START + 7 * SPAN)
        (kind,) = status["types"]
        assert (kind["delay"], kind["delay_reason"]) == (600, "the sources need 50m, more than delay_max")
        assert kind["sources"][0]["name"] == "slow" and kind["sources"][0]["kind"] == "ok"
        assert any("its data come 50m late; delay_max waits 10m" in problem for problem in status["problems"])
        own = next(row for row in app.state.all_desired("tocsin") if row.service.service == "tocsin-sources")
        assert own.code is Severity.WARNING and "its data come 50m late" in own.text


# --- what is late -------------------------------------------------------------------------------------------------------


INDEX = SeriesIndex([SeriesKey("a", "x"), SeriesKey("b", "x")])
WINDOW = Window(0, 300, 60)


def frame(*rows: list[float], known: Callable[[np.ndarray], np.ndarray] = lambda values: np.ones(values.shape, bool)) -> Frame:
    values = np.array(rows)
    return Frame(index=INDEX, window=WINDOW, values=values, known=known(values))


NAN = float("nan")


def test_a_value_does_not_unhappen_because_its_source_lost_it() -> None:
    before = frame([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    now = frame([1, NAN, 3, 4, 5], [NAN] * 5, known=lambda values: np.array([[True] * 5, [False] * 5]))
    joined, late = merged(before, now, WINDOW, 300)
    np.testing.assert_array_equal(joined.values, before.values)
    assert joined.known.all() and not late.changed.any()


def test_new_and_changed_values_of_judged_buckets_are_late_and_those_of_the_next_are_not() -> None:
    before = frame([1, 2, NAN, 4, NAN], [1, 2, 3, 4, NAN])
    now = frame([1, 2, 3, 4, 5], [1, 2.5, 3 + 1e-12, 4, 5])
    joined, late = merged(before, now, WINDOW, 240)
    assert late.values.tolist() == [0, 1, 1, 0, 0]
    assert late.since(0) == 60 and late.since(61) == 120 and late.since(121) is None
    assert joined.values[1].tolist() == [1, 2.5, 3, 4, 5]


def test_that_there_was_no_data_can_come_late_too() -> None:
    before = frame([1, NAN, 3, 4, 5], [1, 2, 3, 4, 5], known=lambda values: ~np.isnan(values))
    now = frame([1, NAN, 3, 4, 5], [1, 2, 3, 4, 5])
    _, late = merged(before, now, WINDOW, 300)
    assert late.changed.tolist() == [False, True, False, False, False] and late.values.sum() == 0


def test_what_nobody_could_or_did_ask_for_before_is_judged_again_but_did_not_come_late() -> None:
    before = frame([NAN, 2, 3, 4, 5], [NAN, 2, NAN, 4, 5], known=lambda values: np.array([[False] + [True] * 4] * 2))
    joined, late = merged(before, frame([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), WINDOW, 300)
    assert late.values.tolist() == [0, 0, 1, 0, 0]
    assert late.changed.tolist() == [True, False, True, False, False]
    assert joined.known.all()


def test_a_new_series_is_not_late() -> None:
    before = Frame.of(SeriesIndex([INDEX[0]]), WINDOW, np.ones((1, 5)))
    _, late = merged(before, frame([1] * 5, [1] * 5), WINDOW, 300)
    assert not late.changed.any()


@given(st.integers(0, 3600), st.one_of(st.none(), st.floats(0, 10_000)), st.integers(0, 3600))
def test_nobody_waits_less_than_configured_nor_more_than_allowed(configured: int, lag: float | None, most: int) -> None:
    delay = delay_of(configured, lag, most)
    assert configured <= delay.seconds <= max(configured, most)
    assert delay.reason
    if lag is not None and lag <= max(configured, most):
        assert delay.seconds >= lag
