"""Whatever happens on the way, in the end every service shows what it must, and no opening was missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerting.deliver import Deliver
from alerting.desired import Pace, Reason, want
from tests.delivery import CRITICAL, OK, PACE, WARNING, Site, all_is_well_again, half_day
from tocsin.model import CheckResult, ServiceKey

WEB, DB = ServiceKey("web-1", "Anomaly-web"), ServiceKey("db-1", "Anomaly-db")


def test_a_change_is_shown_at_once_and_confirmed() -> None:
    site = Site([WEB])
    site.live(70)
    site.want(WEB, CRITICAL)
    site.live(5)
    assert site.engine.shown[WEB].code is CRITICAL
    site.live(70)
    assert site.store.all_desired()[0].last_seen_code is CRITICAL


def test_an_engine_that_lost_everything_is_put_right_within_a_look() -> None:
    site = Site([WEB, DB])
    site.want(WEB, CRITICAL)
    site.live(100)
    site.engine.die()
    site.engine.up = True
    site.live(PACE.read_back + 10)
    assert site.wrong() == []


def test_without_reading_back_it_is_put_right_within_the_reassertion() -> None:
    site = Site([WEB, DB], reads_back=False)
    site.live(400)
    site.engine.die()
    site.engine.up = True
    site.live(1.1 * PACE.reassert + 5)
    assert site.wrong() == []


def test_a_trouble_that_came_and_went_while_the_engine_was_down_is_still_shown() -> None:
    for reads_back in (True, False):
        site = Site([WEB], reads_back=reads_back)
        site.live(100)
        site.engine.up = False
        site.want(WEB, CRITICAL)
        site.live(300)
        site.want(WEB, OK)
        site.live(300)
        site.engine.up = True
        site.live(400)
        assert [code for _, _, code in site.engine.history[-5:]].count(CRITICAL) >= 1, reads_back
        assert site.wrong() == []


def test_when_the_engine_is_back_nothing_waits_for_its_next_attempt() -> None:
    services = [ServiceKey(f"web-{number}", "Anomaly") for number in range(40)]
    site = Site(services)
    site.live(10)
    site.engine.die()
    for service in services:
        site.want(service, CRITICAL)
    site.live(3600)
    site.engine.up = True
    site.live(15, each=1)
    assert site.wrong() == []


def test_a_service_that_is_unknown_there_is_told_and_heals_when_it_is_made() -> None:
    site = Site([WEB])
    site.engine.services.clear()
    site.live(3 * PACE.read_back)
    assert "no such service" in site.store.all_desired()[0].error
    received = site.engine.received
    site.live(3000)
    assert site.engine.received <= received + 1
    site.engine.services.add(WEB)
    site.live(PACE.read_back + 5)
    assert site.wrong() == []
    assert site.store.all_desired()[0].error == ""


def test_the_worst_and_the_changed_go_first_when_there_is_not_room_for_all() -> None:
    services = [ServiceKey(f"web-{number:02}", "s") for number in range(50)]
    site = Site(services)
    site.live(200)
    site.deliver = Deliver(site.store, site.engine, Pace(rate=5))
    site.want(services[40], CRITICAL)
    site.want(services[41], WARNING)
    site.now += 1000  # everything else is due for its re-assertion
    before = len(site.engine.history)
    site.step()
    assert [key.host for _, key, _ in site.engine.history[before:]][:2] == ["web-40", "web-41"]
    assert len(site.engine.history) - before == 5


def test_a_calm_service_is_written_only_as_its_heartbeat() -> None:
    site = Site([WEB])
    site.live(3600)
    assert site.engine.received <= 3600 / PACE.reassert + 3


def test_what_its_producer_left_alone_is_not_asserted_for_ever() -> None:
    site = Site([])
    result = CheckResult(service=WEB, code=OK, text="text")
    site.store.put([want(None, result, site.now, 600)])
    site.engine.services.add(WEB)
    site.live(3000)
    assert max(time for time, _, _ in site.engine.history) <= 1_000_600


def test_everything_sent_is_told_with_its_reason() -> None:
    told: list[Reason] = []
    site = Site([WEB])
    site.deliver = Deliver(site.store, site.engine, PACE, on_send=lambda reason, _result, _outcome: told.append(reason))
    site.step()
    site.want(WEB, CRITICAL)
    site.live(20)
    assert told == [Reason.FIRST, Reason.CHANGED]


def test_a_pass_tells_what_it_did() -> None:
    site = Site([WEB, DB])
    first = site.deliver.step(site.now)
    assert (first.accepted, first.read_back, first.confirmed, first.unconfirmed) == (2, True, 0, 2)
    site.engine.up = False
    site.want(WEB, CRITICAL)
    site.now += 5
    down = site.deliver.step(site.now)
    assert (down.refused, down.why) == (1, "down")


# --- what must always hold ---------------------------------------------------------------------------------------------

faults = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from([WEB, DB]), st.sampled_from([OK, WARNING, CRITICAL])),
        st.tuples(st.sampled_from(["down", "up", "die", "drop", "keep", "kill due", "kill record", "restart", "unmake", "make"])),
        st.tuples(st.just("live"), st.sampled_from([1, 3, 20, 61, 130, 400])),
        st.tuples(st.just("skew"), st.sampled_from([-3600.0, 0.0, 3600.0])),
    ),
    max_size=30,
)


def play(site: Site, steps: Sequence[tuple[Any, ...]]) -> None:
    for name, *rest in steps:
        match name:
            case "want":
                site.want(*rest)
            case "down":
                site.engine.up = False
            case "up":
                site.engine.up = True
            case "die":
                site.engine.die()
            case "drop" | "keep":
                site.engine.drops = name == "drop"
            case "kill due" | "kill record":
                site.store.kill.add(name.split()[1])
            case "restart":
                site.start()
            case "unmake":
                site.engine.services.discard(DB)
            case "make":
                site.engine.services.add(DB)
            case "live":
                site.live(*rest)
            case "skew":
                (site.skew,) = rest


@settings(max_examples=120)
@given(steps=faults)
def test_after_any_faults_every_service_shows_what_it_must_and_no_opening_was_missed(steps: Sequence[tuple[Any, ...]]) -> None:
    site = Site([WEB, DB])
    play(site, steps)
    all_is_well_again(site)
    assert site.wrong() == []
    assert site.never_shown() == []
    assert [row.must_show for row in site.store.all_desired()] == [None, None]


@settings(max_examples=60)
@example(steps=[("want", WEB, WARNING), ("want", WEB, OK), ("skew", -3600.0)])
@given(steps=faults)
def test_without_reading_back_too_every_service_shows_in_the_end_what_it_must(steps: Sequence[tuple[Any, ...]]) -> None:
    site = Site([WEB, DB], reads_back=False)
    play(site, steps)
    all_is_well_again(site)
    assert site.wrong() == []


@pytest.mark.parametrize("first_seed", range(0, 100, 25))
def test_half_days_of_trouble_lose_nothing(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 25):
        site, longest_hidden = half_day(seed)
        assert site.wrong() == [], seed
        assert site.never_shown() == [], seed
        assert site.too_many_changes() == [], seed
        assert longest_hidden <= 1.1 * PACE.reassert + PACE.read_back, seed
        assert site.engine.received / len(site.services) / 13 < 30, seed
