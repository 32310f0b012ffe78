"""What the state database promises, whatever it is made of. A subclass says how to open one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.contracts.accounts import AccountsContract
from tests.naive import NaiveDesired
from tocsin.errors import ConfigError, PermanentError
from tocsin.model import Anomaly, Desired, Incident, Perf, Phase, ServiceKey, Severity, Transition, Window
from tocsin.store import tables
from tocsin.store.state import State
from tocsin.store.told import Told

Open = Callable[[], State]
OPENING = Transition(incident="abc1", at=300, kind="open", reason="3 of 5 buckets", severity=Severity.WARNING)


def an_incident(name: str = "abc1", **changes: Any) -> Incident:
    anomaly = Anomaly(
        metric="latency", unit="ms", value=840.0, expected=float("nan"), lower=60.0, upper=180.0, surprise=7.2, share=0.6, at=300
    )
    incident = Incident(
        id=name,
        component_type="web",
        component="web-01",
        signature="anomaly",
        phase=Phase.OPEN,
        severity=Severity.WARNING,
        since=0,
        opened=300,
        last_bad=300,
        surprise=6.5,
        peak=7.2,
        version=1,
        anomalies=(anomaly,),
        held_by=(("ladder", "learn: nothing is shown"),),
    )
    return replace(incident, **changes)


def a_row(service: str = "Anomaly-web", host: str = "web-01", **changes: Any) -> Desired:
    row = Desired(
        service=ServiceKey(host, service), code=Severity.OK, text="OK: nothing unusual", changed_at=300, valid_until=10_000
    )
    return replace(row, **changes)


class StateContract(AccountsContract):
    @pytest.fixture
    def open_state(self) -> Open | Iterator[Open]:
        raise NotImplementedError

    @pytest.fixture
    def state(self, open_state: Open) -> Iterator[State]:
        with open_state() as state:
            yield state

    # --- ticks ---------------------------------------------------------------------------------------------------

    def test_a_tick_is_there_after_a_restart(self, open_state: Open) -> None:
        kept = {
            "run": np.array([[1.5, np.nan]]),
            "bad": np.array([3, 4]),
            "names": np.array(["web-01", "wéb-02"]),
            "none": np.zeros((0, 4)),
        }
        with open_state() as state, state.tick("web") as tick:
            assert tick.watermark("files") is None
            assert tick.judge_state() is None
            tick.set_watermark("files", 600)
            tick.set_judge_state(kept)
            tick.put_incidents([an_incident()])
            tick.put_transitions([OPENING])
            tick.want([a_row(perf=(Perf(label="latency", value=840.0, unit="ms"),))])
        with open_state() as state, state.tick("web") as tick:
            assert tick.watermark("files") == 600
            assert tick.watermark("other") is None
            read = tick.judge_state()
            assert read is not None
            assert read.keys() == kept.keys()
            for name, array in kept.items():
                np.testing.assert_array_equal(read[name], array)
            incident, steps = state.incident("abc1")
            assert np.isnan(incident.anomalies[0].expected)
            assert repr(incident) == repr(an_incident())
            assert list(steps) == [OPENING]
            assert state.all_desired("web") == [a_row(perf=(Perf(label="latency", value=840.0, unit="ms"),))]
            assert state.all_desired("db") == []
            assert state.desired_component_types() == ["web"]

    def test_a_tick_that_fails_never_happened(self, state: State) -> None:
        def fail() -> None:
            with state.tick("web") as tick:
                tick.set_watermark("files", 600)
                tick.put_incidents([an_incident()])
                tick.want([a_row()])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert not state.watermarks()
        assert not state.incidents()
        assert not state.all_desired()

    def test_a_tick_that_cannot_be_written_as_a_whole_is_not_written_at_all(self, state: State) -> None:
        def fail() -> None:
            with state.tick("web") as tick:
                tick.set_watermark("files", 600)
                tick.want([a_row()])
                tick.put_transitions([replace(OPENING, incident="nobody put this one")])

        with pytest.raises(PermanentError):
            fail()
        assert not state.watermarks()
        assert not state.all_desired()

    def test_the_same_tick_again_changes_nothing(self, state: State) -> None:
        for _ in range(2):
            with state.tick("web") as tick:
                tick.put_incidents([an_incident(), an_incident()])
                tick.put_transitions([OPENING, OPENING])
                tick.want([a_row(), a_row()])
        assert len(state.incidents()) == len(state.incident("abc1")[1]) == len(state.all_desired()) == 1

    def test_an_array_of_objects_is_refused(self, state: State) -> None:
        with pytest.raises(ValueError, match="cannot be kept"), state.tick("web") as tick:
            tick.set_judge_state({"open": np.array([{"id": "abc"}], dtype=object)})

    def test_what_the_judge_changes_after_handing_it_over_is_not_kept(self, state: State) -> None:
        array = np.zeros(3)
        with state.tick("web") as tick:
            tick.set_judge_state({"a": array})
            array[:] = 9
        read = state.judge_state("web")
        assert read is not None
        assert read["a"].tolist() == [0, 0, 0]

    def test_hostile_text_is_kept_as_text(self, state: State) -> None:
        hostile = "a\x00b\ud800c'; DROP TABLE incident; --\n\u202e%s{}é"
        with state.tick(hostile) as tick:
            tick.put_incidents([an_incident(component_type=hostile, component=hostile)])
            tick.want([a_row(service=hostile, text=hostile, perf=(Perf(label=hostile, value=1.0),))])
        cleaned = hostile.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
        (row,) = state.due(0.0, 10)
        assert (row.text, row.service.service, row.perf[0].label) == (cleaned, cleaned, hostile)
        state.record([row], [replace(row, error=hostile)])
        assert state.all_desired()[0].error == cleaned
        assert state.incidents(component_type=hostile)[0].component == cleaned

    def test_ticks_of_different_types_and_delivery_do_not_hinder_one_another(self, state: State) -> None:
        failures: list[BaseException] = []

        def live(name: str) -> None:
            try:
                for at in range(15):
                    with state.tick(name) as tick:
                        tick.set_watermark("files", at)
                        tick.want([a_row(host=name, version=at + 1, text=str(at))])
                    due = state.due(0.0, 100)
                    state.record(due, [replace(row, attempts=row.attempts + 1) for row in due])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=live, args=(f"type{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert set(state.watermarks().values()) == {14}
        assert {(row.text, row.version) for row in state.all_desired()} == {("14", 15)}

    # --- incidents -----------------------------------------------------------------------------------------------

    def test_incidents_are_found_by_what_is_known_of_them(self, state: State) -> None:
        past = an_incident("abd2", since=-500, phase=Phase.RECOVERED, recovered=100, component="web-02")
        other = an_incident("f00", component_type="db", since=50)
        with state.tick("web") as tick:
            tick.put_incidents([an_incident(), past, other])
        assert [incident.id for incident in state.incidents()] == ["f00", "abc1", "abd2"]
        assert [incident.id for incident in state.incidents(open_only=True)] == ["f00", "abc1"]
        assert [incident.id for incident in state.incidents(component_type="web")] == ["abc1", "abd2"]
        assert [incident.id for incident in state.incidents(component="web-02")] == ["abd2"]
        assert [incident.id for incident in state.incidents(since=101)] == ["f00", "abc1"]
        assert [incident.id for incident in state.incidents(limit=1)] == ["f00"]

    def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one(self, state: State) -> None:
        with state.tick("web") as tick:
            tick.put_incidents([an_incident("abc1"), an_incident("abd2"), an_incident("abd23"), an_incident("x%y")])
        assert state.incident("abc")[0].id == "abc1"
        assert state.incident("abd2")[0].id == "abd2"
        with pytest.raises(ConfigError, match="several incidents: abc1, abd2, abd23"):
            state.incident("ab")
        for unknown in ("q", "%", "a_c"):
            with pytest.raises(ConfigError, match="no incident"):
                state.incident(unknown)

    def test_old_incidents_go_with_their_steps(self, state: State) -> None:
        with state.tick("web") as tick:
            tick.put_incidents([an_incident(), an_incident("old", phase=Phase.RECOVERED, recovered=100)])
            tick.put_transitions([OPENING, replace(OPENING, incident="old")])
        assert state.forget_incidents(100) == 0
        assert state.forget_incidents(101) == 1
        assert [incident.id for incident in state.incidents()] == ["abc1"]

    # --- desired state -------------------------------------------------------------------------------------------

    def test_delivery_and_ticks_write_only_what_is_theirs(self, state: State) -> None:
        with state.tick("web") as tick:
            tick.want([a_row(code=Severity.CRITICAL, must_show=Severity.CRITICAL)])
        before = state.all_desired()[0]
        with state.tick("web") as tick:  # a new version comes while delivery is sending the old one
            tick.want(
                [
                    a_row(
                        code=Severity.OK, text="over", version=2, must_show=Severity.CRITICAL, next_due_at=5.0, valid_until=20_000
                    )
                ]
            )
        seen = replace(
            before, last_seen_code=Severity.CRITICAL, last_seen_at=7.0, must_show=None, next_due_at=900.0, text="never written"
        )
        state.record([before], [seen])
        (row,) = state.all_desired()
        assert (row.code, row.text, row.version, row.valid_until) == (Severity.OK, "over", 2, 20_000)
        assert (row.must_show, row.next_due_at) == (Severity.CRITICAL, 5.0)  # the new version's
        assert (row.last_seen_code, row.last_seen_at) == (Severity.CRITICAL, 7.0)
        state.record([row], [replace(row, must_show=None, next_due_at=300.0)])
        with state.tick("web") as tick:  # the tick knows an older row; the version has not changed
            tick.want([replace(row, text="over since 10:21", valid_until=30_000)])
        (row,) = state.all_desired()
        assert (row.must_show, row.next_due_at, row.text, row.valid_until) == (None, 300.0, "over since 10:21", 30_000)
        assert row.last_seen_at == 7.0

    def test_a_service_that_was_forgotten_does_not_come_back_by_a_late_answer(self, state: State) -> None:
        with state.tick("web") as tick:
            tick.want([a_row(), a_row(host="web-02")])
        rows = state.all_desired()
        assert state.forget_desired([rows[0].service, ServiceKey("nobody", "nothing")]) == 1
        state.record(rows, [replace(row, attempts=1) for row in rows])
        assert [(row.service.host, row.attempts) for row in state.all_desired()] == [("web-02", 1)]

    def test_changed_services_are_due_first_then_the_worst_then_the_oldest(self, state: State) -> None:
        def shown(row: Desired, code: Severity) -> Desired:
            return replace(row, last_seen_code=code, last_seen_at=400.0)

        names = ["shown", "worse", "unseen ok", "unseen critical", "unseen unknown", "late", "holds back", "expired", "later"]
        rows = {name: a_row(host=name) for name in names}
        rows |= {name: replace(rows[name], code=Severity.CRITICAL) for name in ("shown", "unseen critical", "late")}
        rows["unseen unknown"] = replace(rows["unseen unknown"], code=Severity.UNKNOWN)
        rows["holds back"] = replace(rows["holds back"], must_show=Severity.CRITICAL, next_due_at=1.5)
        rows["worse"] = replace(rows["worse"], code=Severity.WARNING)
        rows["late"] = replace(rows["late"], next_due_at=1.0)
        rows["expired"] = replace(rows["expired"], valid_until=500)
        rows["later"] = replace(rows["later"], next_due_at=501.0)
        with state.tick("web") as tick:
            tick.want(rows.values())
        state.record([rows["shown"]], [shown(rows["shown"], Severity.CRITICAL)])
        state.record([rows["worse"]], [shown(rows["worse"], Severity.OK)])
        order = [row.service.host for row in state.due(500.0, 100)]
        assert order == ["unseen critical", "late", "holds back", "worse", "unseen unknown", "unseen ok", "shown"]
        assert [row.service.host for row in state.due(500.0, 2)] == order[:2]

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
    @given(data=st.data())
    def test_the_desired_state_is_what_a_plain_dictionary_would_hold(self, state: State, data: st.DataObject) -> None:
        state.forget_desired([row.service for row in state.all_desired()])
        plain = NaiveDesired()
        codes = st.sampled_from(Severity)
        known: list[Desired] = []
        for _ in range(data.draw(st.integers(1, 12))):
            act = data.draw(st.sampled_from(["want", "read", "record", "due", "forget"]))
            if act == "want":
                wanted = [
                    a_row(
                        host=data.draw(st.sampled_from("abc")),
                        code=data.draw(codes),
                        version=data.draw(st.integers(1, 3)),
                        must_show=data.draw(st.none() | codes),
                        next_due_at=data.draw(st.sampled_from([0.0, 5.0, 9.5])),
                        valid_until=data.draw(st.sampled_from([4, 100])),
                    )
                    for _ in range(data.draw(st.integers(0, 3)))
                ]
                with state.tick("web") as tick:
                    tick.want(wanted)
                plain.want(wanted)
            elif act == "read":
                known = list(state.all_desired())
            elif act == "record":
                learnt = [
                    replace(
                        row,
                        must_show=data.draw(st.none() | codes),
                        next_due_at=data.draw(st.sampled_from([1.0, 20.0])),
                        last_sent_at=2.0,
                        last_seen_code=data.draw(st.none() | codes),
                        last_seen_at=data.draw(st.sampled_from([None, 3.0, 400.0])),
                        last_check_time=data.draw(st.integers(0, 9)),
                        attempts=row.attempts + 1,
                        error=data.draw(st.text(max_size=3).filter(lambda word: "\x00" not in word)),
                    )
                    for row in known
                ]
                state.record(known, learnt)
                plain.record(known, learnt)
            elif act == "due":
                limit = data.draw(st.integers(1, 3))
                assert list(state.due(8.0, limit)) == list(plain.due(8.0, limit))
            else:
                state.forget_desired([ServiceKey("a", "Anomaly-web")])
                plain.rows.pop(ServiceKey("a", "Anomaly-web"), None)
            assert list(state.all_desired()) == list(plain.all_desired())

    # --- models --------------------------------------------------------------------------------------------------

    def test_the_newest_baselines_are_in_force_until_somebody_rolls_back(self, state: State) -> None:
        def learn(at: int, **changes: Any) -> int:
            return state.add_model(
                "web",
                path=f"web/{at}.npz",
                sha256=f"{at:064x}",
                trained_on=Window(at - 600, at, 300),
                created_at=at + 0.9,
                facts={"series": 3},
                **changes,
            ).version

        def in_force() -> tuple[int, bool]:
            active = state.active_model("web")
            assert active is not None
            return active.version, active.pinned

        assert state.active_model("web") is None
        assert [learn(600), learn(1200)] == [1, 2]
        assert in_force() == (2, False)
        rolled_back = state.activate_model("web", 1)
        assert (rolled_back.version, rolled_back.pinned, rolled_back.trained_on) == (1, True, Window(0, 600, 300))
        assert learn(1800) == 3
        assert in_force() == (1, True)  # a scheduled training does not undo what a person decided
        state.activate_model("web", 1, pinned=False)
        assert in_force() == (1, False)
        assert learn(2400) == 4
        assert in_force() == (4, False)
        state.activate_model("web", 2)
        assert learn(3000, unpin=True) == 5
        assert in_force() == (5, False)
        assert [model.version for model in state.models("web") if model.active] == [5]
        assert state.models("db") == []
        with pytest.raises(ConfigError, match="no model version 9"):
            state.activate_model("web", 9)
        assert in_force() == (5, False)

    def test_old_versions_go_but_never_the_one_in_force(self, state: State) -> None:
        for at in range(5):
            path = "web/same.npz" if at in {1, 4} else f"web/{at}.npz"
            state.add_model("web", path=path, sha256="0" * 64, trained_on=Window(0, 300, 300), created_at=at, facts={})
        state.activate_model("web", 1)
        assert state.prune_models("web", 2) == ["web/2.npz"]  # version 2 shares its file with version 5
        assert [model.version for model in state.models("web")] == [5, 4, 1]
        assert state.prune_models("web", 2) == []
        assert (
            state.add_model("web", path="p", sha256="0" * 64, trained_on=Window(0, 300, 300), created_at=9, facts={}).version == 6
        )

    # --- runs ----------------------------------------------------------------------------------------------------

    def test_a_job_is_done_once_per_period_however_many_ask(self, state: State) -> None:
        answers: list[bool] = []
        threads = [
            threading.Thread(target=lambda: answers.append(state.claim_run("train:web", "2026-10-25T00", 1.0))) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False] * 5 + [True]
        assert state.claim_run("train:web", "2026-10-25T06", 2.0)

    def test_a_job_that_was_cut_off_can_be_done_again_after_a_restart(self, open_state: Open) -> None:
        with open_state() as state:
            assert state.claim_run("train", "done", 1.0)
            assert state.claim_run("train", "cut off", 1.0)
            state.finish_run("train", "done", 2.0, "version 3")
        with open_state() as state:
            assert not state.claim_run("train", "done", 3.0)
            assert state.claim_run("train", "cut off", 3.0)
            assert state.forget_runs(2.5) == 1
            assert state.claim_run("train", "done", 4.0)

    # --- sinks beside Centreon -------------------------------------------------------------------------------------

    def test_a_sink_beside_centreon_is_told_of_changes_until_it_takes_them(self, state: State) -> None:
        chat, pager = Told(state, "chat"), Told(state, "pager")

        def untold(told: Told, now: float, again_before: float | None = None) -> list[tuple[str, Severity]]:
            return [(one.row.service.service, one.row.code) for one in told.untold(now, 10, again_before)]

        def want(**changes: Any) -> None:
            with state.tick("web") as tick:
                tick.want([a_row(**changes)])

        want(service="quiet", code=Severity.OK)
        want(service="a", code=Severity.WARNING)
        want(service="b", code=Severity.CRITICAL)
        assert untold(chat, 10) == [("b", Severity.CRITICAL), ("a", Severity.WARNING)]
        b, a = chat.untold(10, 10, None)
        chat.record([replace(b, told_at=10.0), replace(a, attempts=1, next_due_at=20.0, error="down")])
        assert untold(chat, 10) == []
        assert untold(chat, 20) == [("a", Severity.WARNING)]
        assert [one.attempts for one in chat.untold(20, 10, None)] == [1]
        assert len(untold(pager, 10)) == 2
        want(service="b", code=Severity.OK, version=2)
        assert untold(chat, 20) == [("a", Severity.WARNING), ("b", Severity.OK)]
        chat.record([replace(one, told_at=20.0, next_due_at=0.0, error="") for one in chat.untold(20, 10, None)])
        assert untold(chat, 30) == []
        assert untold(chat, 400, again_before=100.0) == [("a", Severity.WARNING)]
        state.forget_desired([a.row.service])
        chat.record([a])
        want(service="a", code=Severity.CRITICAL)
        assert untold(chat, 500) == [("a", Severity.CRITICAL)]

    # --- tables --------------------------------------------------------------------------------------------------

    def test_the_migrations_make_exactly_the_tables_the_program_knows(self, state: State) -> None:
        with state._read.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
            assert compare_metadata(context, tables.metadata) == []
            assert context.get_current_revision() == tables.HEAD

    def test_a_database_of_a_newer_program_is_refused_in_one_sentence(self, open_state: Open) -> None:
        with open_state() as state, state._write.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigError, match="has tables of version 9999") as refused:
            open_state()
        assert len(refused.value.problems) == 1
