"""What the accounts of a state database promise: silences, verdicts, rungs, bars, and a journal that cannot be altered unseen."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tocsin import chain
from tocsin.errors import ConfigError
from tocsin.model import Incident, Phase, Severity, Transition
from tocsin.records import Bar, Matcher, Promotion, Silence, Verdict

if TYPE_CHECKING:
    from tocsin.store.state import State


def incident(name: str, **changes: Any) -> Incident:
    one = Incident(
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
    )
    return replace(one, **changes)


SILENCE = Silence(
    id="abc123",
    matcher=Matcher(component="web-*", severity=Severity.WARNING),
    start=100,
    end=200,
    author="anna",
    comment="load test",
    created_at=100,
)
VERDICT = Verdict(
    id="centreon:acknowledgement:7:one",
    incident="one",
    component_type="web",
    component="web-01",
    verdict="useful",
    source="centreon",
    kind="acknowledgement",
    at=400,
    author="anna",
    text="on it",
    severity=Severity.CRITICAL,
    detectors=("seasonal", "change"),
    model_version=3,
)
PROMOTION = Promotion(
    component_type="web",
    rung="status",
    written="show",
    at=500,
    by="anna",
    reason="proved",
    figures={"days": 20.5, "static": None},
)


class AccountsContract:
    def test_an_incident_keeps_who_it_stands_for_and_that_it_flaps(self, state: State) -> None:
        one = incident("one", folded=("web-02", "wéb-03"), behind="sw-1", flapping_since=900)
        with state.tick("web") as tick:
            tick.put_incidents([one, incident("two", phase=Phase.WITHDRAWN, recovered=400)])
        assert state.incident("one")[0] == one
        assert [other.id for other in state.incidents(open_only=True)] == ["one"]

    def test_a_silence_is_in_force_until_it_ends_or_is_ended(self, state: State) -> None:
        state.accounts.add_silence(SILENCE)
        state.accounts.add_silence(replace(SILENCE, id="abd999", end=900))
        assert state.accounts.silences(at=99) == []
        assert [one.id for one in state.accounts.silences(at=100)] == ["abd999", "abc123"]
        assert state.accounts.silences(at=199)[1] == SILENCE
        assert [one.id for one in state.accounts.silences(at=200)] == ["abd999"]
        with pytest.raises(ConfigError, match="several silences: abc123, abd999"):
            state.accounts.expire_silence("ab", 300, "paul")
        with pytest.raises(ConfigError, match="is over already"):
            state.accounts.expire_silence("abc", 300, "paul")
        with pytest.raises(ConfigError, match="no silence"):
            state.accounts.expire_silence("%", 300, "paul")
        assert state.accounts.expire_silence("abd", 300, "paul").id == "abd999"
        assert state.accounts.silences(at=300) == []
        assert {one.id: (one.end, one.expired_by) for one in state.accounts.silences()}["abd999"] == (300, "paul")

    def test_what_was_said_is_kept_once_and_the_latest_word_counts(self, state: State) -> None:
        assert state.accounts.add_verdicts([VERDICT, replace(VERDICT, id="other", incident="two", at=300)]) == 2
        assert state.accounts.add_verdicts([VERDICT]) == 0
        assert state.accounts.add_verdicts([]) == 0
        assert state.accounts.add_verdicts([replace(VERDICT, until=450)]) == 1
        assert state.accounts.verdicts(incident_id="one") == [replace(VERDICT, until=450)]
        assert [one.id for one in state.accounts.verdicts()] == ["other", VERDICT.id]
        assert [one.id for one in state.accounts.verdicts(since=400)] == [VERDICT.id]

    def test_only_open_incidents_are_acknowledged(self, state: State) -> None:
        with state.tick("web") as tick:
            tick.put_incidents([incident("one"), incident("two", phase=Phase.RECOVERED, recovered=500)])
        verdicts = [VERDICT, replace(VERDICT, id="b", incident="two"), replace(VERDICT, id="c", kind="comment")]
        state.accounts.add_verdicts([*verdicts, replace(VERDICT, id="d", at=450, author="paul", severity=Severity.WARNING)])
        (taken,) = state.accounts.acknowledged().values()
        assert (taken.incident, taken.author, taken.severity, taken.until) == ("one", "paul", Severity.WARNING, None)

    def test_the_last_word_on_a_rung_counts(self, state: State) -> None:
        state.accounts.promote(PROMOTION)
        state.accounts.promote(replace(PROMOTION, component="web-7", rung="notify", forced=True))
        assert state.accounts.promotions("web") == [PROMOTION, replace(PROMOTION, component="web-7", rung="notify", forced=True)]
        state.accounts.promote(replace(PROMOTION, rung="show", by="tocsin"))
        assert state.accounts.promotions()[0].rung == "show"
        assert state.accounts.promotions("db") == []

    def test_bars_and_what_was_read_elsewhere_are_replaced(self, state: State) -> None:
        assert state.accounts.bars() == {}
        state.accounts.set_bar("web", Bar(value=4.0, at=1, reason="x", used=0))
        state.accounts.set_bar("web", Bar(value=8.0, at=2, reason="y", used=5))
        assert state.accounts.bars() == {"web": Bar(value=8.0, at=2, reason="y", used=5)}
        assert state.accounts.snapshot("hosts") is None
        state.accounts.set_snapshot("hosts", 1.5, [{"host": "é"}])
        state.accounts.set_snapshot("hosts", 2.5, [])
        assert state.accounts.snapshot("hosts") == (2.5, [])

    def test_what_opened_is_told_with_what_held_it(self, state: State) -> None:
        held = (("silence", "abc by anna: why"),)
        gone = incident("three", phase=Phase.WITHDRAWN)
        with state.tick("web") as tick:
            tick.put_incidents([incident("one"), incident("two", opened=100), incident("four", held_by=held, peak=9.0), gone])
        assert sorted(state.accounts.opened(["web", "db"], 200)) == [(7.2, ()), (9.0, held)]
        assert state.accounts.opened(["db"], 0) == []

    # --- the journal ---------------------------------------------------------------------------------------------

    def test_every_step_and_every_act_is_a_line_once(self, state: State) -> None:
        step = Transition(incident="one", at=300, kind="opened", reason="3 of 5\x00 buckets é", severity=Severity.WARNING)
        for _ in range(2):
            with state.tick("web") as tick:
                tick.put_incidents([incident("one")])
                tick.put_transitions([step])
        with state.tick("web") as tick:
            tick.put_transitions([replace(step, at=400, kind="worse", severity=Severity.CRITICAL)])
        state.accounts.add_silence(SILENCE)
        state.accounts.promote(replace(PROMOTION, forced=True))
        state.accounts.add_verdicts([VERDICT])
        links = state.accounts.journal()
        assert [json.loads(link.line)["what"] for link in links] == ["incident", "incident", "silence-added", "rung", "verdict"]
        assert [link.seq for link in links] == [1, 2, 3, 4, 5]
        second = json.loads(links[1].line)
        assert (second["component"], second["severity"], second["kind"]) == ("web-01", "CRITICAL", "worse")
        assert chain.first_break(links) == ""
        assert [link.seq for link in state.accounts.journal(after=3, limit=1)] == [4]
        assert [one.kind for one in state.incident("one")[1]] == ["opened", "worse"]

    @pytest.mark.parametrize(
        ("tampering", "fault"),
        [
            ("UPDATE journal SET line = replace(line, 'anna', 'paul') WHERE seq = 2", "line 2 is not what was written"),
            ("DELETE FROM journal WHERE seq = 2", "line 2 is missing"),
            ("DELETE FROM journal WHERE seq = 1", "line 1 is missing"),
            ("UPDATE journal SET seq = 7 WHERE seq = 3", "line 3 is missing"),
        ],
    )
    def test_a_journal_that_was_altered_says_where(self, state: State, tampering: str, fault: str) -> None:
        for number in range(3):
            state.accounts.add_silence(replace(SILENCE, id=str(number)))
        with state.writing() as connection:
            connection.execute(text(tampering))
        assert chain.first_break(state.accounts.journal()).startswith(fault)

    def test_the_journal_is_one_chain_however_many_write(self, state: State) -> None:
        failures: list[BaseException] = []

        def act(name: int) -> None:
            try:
                for number in range(8):
                    state.accounts.add_silence(replace(SILENCE, id=f"{name}-{number}"))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=act, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        links = state.accounts.journal()
        assert len(links) == 32
        assert chain.first_break(links) == ""
