"""Which alerts are true, which are false, and which incidents were found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.evaluation import Episode, Label, Tally, evaluate, total

HOUR = 3600
DAY = 24 * HOUR


def label(start: int, end: int, component: str = "web") -> Label:
    return Label(component=component, start=start, end=end)


def alert(start: int, end: int, *worse: int, component: str = "web") -> Episode:
    return Episode(component=component, start=start, end=end, told=(start, *worse))


def tally(episodes: list[Episode], labels: list[Label], **rules: object) -> Tally:
    return evaluate(episodes, labels, components=2, start=0, end=DAY, **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("episodes", "found", "false", "delay"),
    [
        ([], 0, 0, None),
        ([alert(10 * HOUR + 600, 11 * HOUR)], 1, 0, 600),
        ([alert(10 * HOUR, 10 * HOUR + 1)], 1, 0, 0),
        ([alert(11 * HOUR + 1799, 13 * HOUR)], 1, 0, HOUR + 1799),  # late, within the grace after the end
        ([alert(11 * HOUR + 1800, 13 * HOUR)], 0, 1, None),
        ([alert(10 * HOUR + 600, 10 * HOUR + 900), alert(10 * HOUR + 1200, 11 * HOUR)], 1, 0, 600),  # twice about one incident
        ([alert(10 * HOUR + 600, 11 * HOUR, component="db")], 0, 1, None),  # another component's incident
        ([alert(8 * HOUR, 12 * HOUR)], 0, 1, None),  # red since the morning: told nobody of it
        ([alert(8 * HOUR, 12 * HOUR, 10 * HOUR + 300)], 1, 0, 300),  # but it got worse, and somebody was told
    ],
)
def test_an_incident_is_found_when_somebody_is_told_during_it(
    episodes: list[Episode], found: int, false: int, delay: float | None
) -> None:
    got = tally(episodes, [label(10 * HOUR, 11 * HOUR)])
    assert (got.found, got.missed, len(got.false), got.median_delay) == (found, 1 - found, false, delay)


def test_labels_that_people_set_late_may_be_found_early() -> None:
    episodes, labels = [alert(10 * HOUR - 300, 11 * HOUR)], [label(10 * HOUR, 11 * HOUR)]
    assert tally(episodes, labels).found == 0
    early = tally(episodes, labels, early=600)
    assert (early.found, early.median_delay) == (1, 0)


def test_one_alert_about_a_deployment_is_excused_and_a_second_is_not() -> None:
    episodes = [alert(5 * HOUR, 6 * HOUR), alert(7 * HOUR, 8 * HOUR), alert(20 * HOUR, 21 * HOUR)]
    got = tally(episodes, [], excused=[label(4 * HOUR, 12 * HOUR)])
    assert [e.start for e in got.excused] == [5 * HOUR]
    assert [e.start for e in got.false] == [7 * HOUR, 20 * HOUR]


def test_an_incident_after_a_deployment_does_not_use_up_the_excuse() -> None:
    episodes = [alert(5 * HOUR, 6 * HOUR), alert(9 * HOUR, 10 * HOUR)]
    got = tally(episodes, [label(5 * HOUR, 6 * HOUR)], excused=[label(4 * HOUR, 12 * HOUR)])
    assert (got.found, len(got.excused), len(got.false)) == (1, 1, 0)


def test_only_what_is_told_in_the_period_counts() -> None:
    got = tally([alert(-HOUR, HOUR), alert(DAY, DAY + HOUR)], [label(-2 * HOUR, -HOUR), label(DAY, DAY + HOUR)])
    assert (got.alerts, got.matches) == (0, ())


def test_rates_are_per_component_and_day() -> None:
    got = evaluate([alert(HOUR, 2 * HOUR), alert(3 * HOUR, 4 * HOUR)], [], components=4, start=0, end=DAY // 2)
    assert got.per_component_day(got.alerts) == 1.0
    assert evaluate([], [], components=0, start=0, end=0).per_component_day(0) == 0.0


def test_the_delay_is_the_median_over_what_was_found() -> None:
    labels = [label(h * HOUR, (h + 1) * HOUR) for h in (2, 6, 10, 14)]
    got = tally([alert(2 * HOUR + 300, 3 * HOUR), alert(6 * HOUR + 600, 7 * HOUR), alert(10 * HOUR + 1500, 11 * HOUR)], labels)
    assert (got.found, got.missed, got.median_delay) == (3, 1, 600)


def test_several_component_types_are_one_park() -> None:
    web = evaluate([alert(HOUR, 2 * HOUR)], [label(HOUR, 2 * HOUR)], components=3, start=0, end=DAY)
    db = evaluate([alert(0, HOUR, component="db")], [label(5, 10, "other")], components=1, start=0, end=3 * DAY)
    park = total([web, db])
    assert (park.components, park.component_days, park.alerts, park.found, park.missed, len(park.false)) == (4, 6, 2, 1, 1, 1)
    assert [episode.component for episode in park.episodes] == ["db", "web"]
    assert total([]).per_component_day(1) == 0


spans = st.tuples(st.integers(0, 300), st.integers(1, 60), st.sampled_from(["web", "db"]))


@given(st.lists(spans, max_size=12), st.lists(spans, max_size=6), st.lists(spans, max_size=2), st.randoms(use_true_random=False))
def test_every_alert_is_true_false_or_excused_and_order_does_not_matter(
    alerts: list[tuple[int, int, str]], labels: list[tuple[int, int, str]], excuses: list[tuple[int, int, str]], random: object
) -> None:
    episodes = [alert(s, s + n, component=c) for s, n, c in alerts]
    happened, pardons = ([label(s, s + n, c) for s, n, c in several] for several in (labels, excuses))
    one = evaluate(episodes, happened, components=2, start=0, end=400, excused=pardons, grace=10)
    random.shuffle(episodes)  # type: ignore[attr-defined]
    two = evaluate(episodes, happened[::-1], components=2, start=0, end=400, excused=pardons, grace=10)
    assert (one.alerts, one.found, one.missed, len(one.false), len(one.excused), one.median_delay) == (
        two.alerts, two.found, two.missed, len(two.false), len(two.excused), two.median_delay,
    )  # fmt: skip
    assert one.found + one.missed == len(happened)
    assert len(one.false) + len(one.excused) <= one.alerts == len(episodes)
    about = [e for e in one.episodes if any(lb.component == e.component and lb.start <= e.start < lb.end + 10 for lb in happened)]
    assert len(one.false) + len(one.excused) + len(about) == one.alerts
