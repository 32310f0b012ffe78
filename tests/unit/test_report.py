"""The report is one file that needs nothing, shows what was measured, and believes no text it was given."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from tocsin.bandplot import POINTS, Band, Lane, Span, nice_steps, plot, spell
from tocsin.evaluation import Episode, Label, Tally, evaluate
from tocsin.model import Frame, Scores, SeriesIndex, SeriesKey, Window
from tocsin.report import ReportData, Side, Story, around, band_of, comparison, comparison_table, render
from tocsin.thresholds import Thresholds, parse_range
from tocsin.timegrid import Calendar

PARIS = Calendar("Europe/Paris")
DAY = 86_400
MONDAY = 1_779_660_000  # 2026-05-25 00:00 in Paris
HOSTILE = "<script>alert(1)</script>\"'&]]>"


def band(values: list[float] | np.ndarray, *, start: int = MONDAY, span: int = 300, **more: object) -> Band:
    value = np.asarray(values, float)
    facts = {"metric": "latency.p95", "unit": "ms", "expected": value, "lower": value - 1, "upper": value + 1, **more}
    return Band(span=span, starts=start + span * np.arange(len(value)), value=value, **facts)  # type: ignore[arg-type]


def tally(episodes: list[Episode], labels: list[Label]) -> Tally:
    return evaluate(episodes, labels, components=2, start=MONDAY, end=MONDAY + 7 * DAY)


def alert(hour: float, component: str = "web-1", text: str = "CRITICAL: slow") -> Episode:
    at = MONDAY + int(hour * 3600)
    return Episode(component=component, start=at, end=at + 3600, told=(at,), text=text)


LABELS = [Label(component="web-1", start=MONDAY + 10 * 3600, end=MONDAY + 12 * 3600, kind="spike", text="slow")]


def data(name: str = "web-1", text: str = "CRITICAL: slow") -> ReportData:
    static, ours = (
        tally([alert(1, name, text), alert(30, name, text)], LABELS),
        tally([alert(10.25, name, text)], [replace(LABELS[0], component=name)]),
    )
    happened = (Span(start=LABELS[0].start, end=LABELS[0].end),)
    lanes = (Lane(name="happened", style="happened", spans=happened),)
    story = Story(
        component=name,
        component_type=name,
        title=f"Spike {name}",
        start=LABELS[0].start,
        end=LABELS[0].end,
        text=text,
        said=text,
        matches=(static.matches[0], ours.matches[0]),
        bands=(
            band(
                np.sin(np.arange(300)) * 5 + 60,
                metric=name,
                unit=name,
                happened=happened,
                lanes=lanes,
                limits=((name, 64.0), ("critical", 1e6)),
            ),
        ),
    )
    return ReportData(
        title=f"A week of {name}",
        lead=text,
        calendar=PARIS,
        start=MONDAY,
        end=MONDAY + 7 * DAY,
        made_at=MONDAY,
        labelled=True,
        sides=(Side(name="static template", tally=static), Side(name="Tocsin", tally=ours)),
        stories=(story,),
        component_types={name: name},
        facts=((name, name),),
        protocol=(text,),
    )


class Page(HTMLParser):
    """Every tag with its attributes, and whether tags are closed in order."""

    VOID = ("meta", "br", "rect", "line", "path", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_that_asks_nobody_and_runs_nothing() -> None:
    text = render(data())
    page = Page(text)
    assert page.open == []
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)
    assert not re.search(r"https?://|@import|url\(", text)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert all(attributes["href"].startswith("#") for _, attributes in page.tags if attributes.get("href"))  # type: ignore[union-attr]
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy is not None
    assert style is not None
    assert policy.startswith("default-src 'none'")
    assert f"sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}" in policy


def test_hostile_names_stay_text() -> None:
    honest, hostile = Page(render(data())), Page(render(data(HOSTILE, HOSTILE)))
    assert "<script" not in render(data(HOSTILE, HOSTILE))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in honest.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in honest.tags]


def test_every_drawing_has_a_name_and_a_description() -> None:
    text = render(data())
    ids = {a["id"] for _, a in Page(text).tags if "id" in a}
    drawings = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", text, re.DOTALL)
    assert len(drawings) == 1
    drawing = ET.fromstring(drawings[0])  # well-formed by itself
    assert set(drawing.attrib["aria-labelledby"].split()) <= ids
    assert "learned band" in (drawing.findtext("desc") or "")
    assert {"happened", "limit", "band", "expected", "value", "lane-happened"} <= {e.get("class") for e in drawing.iter()}


def test_the_report_says_who_found_what_and_which_alarms_were_false() -> None:
    text = re.sub(r"<[^>]+>", " ", render(data()))
    assert "found, 15m after it began" in text
    assert re.search(r"static template\s+:\s+missed", text)
    assert re.search(r"False alarms: static template\s+2 in 7 days", text)
    assert "Mon 25 May 10:00" in text  # in local time


def test_without_labels_nothing_is_called_true_or_false() -> None:
    text = render(replace(data(), labelled=False, stories=(replace(data().stories[0], matches=()),)))
    assert "no alert is called true or false" in text
    assert "missed" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert "alse alarm" not in text


def test_long_lists_are_cut_and_say_so() -> None:
    many = [alert(h / 4, f"web-{h % 150}") for h in range(400)]
    crowd = replace(
        data(),
        sides=(Side(name="static", tally=tally(many, [])), Side(name="Tocsin", tally=tally([], []))),
        stories=data().stories * 50,
    )
    text = render(crowd)
    assert "10 more are not shown" in text
    assert "The first 60 of 400 are shown" in text
    assert "The loudest 100 are shown" in text
    assert Page(text).open == []


def test_the_table_shows_both_ways_side_by_side() -> None:
    lines = comparison(data().sides, labelled=True)
    assert [(line.name, *line.cells, line.better) for line in lines] == [
        ("incidents found (of 1)", "0", "1", 1),
        ("incidents missed", "1", "0", 1),
        ("false alarms", "2", "0", 1),
        ("median delay", "–", "15m", 1),
        ("alerts", "2", "1", -1),
        ("alerts per component and day", "0.143", "0.071", 1),
    ]
    out = io.StringIO()
    Console(file=out, width=80).print(comparison_table(data().sides, labelled=True))
    assert re.search(r"static template +Tocsin", out.getvalue())
    assert re.search(r"false alarms +2 +0", out.getvalue())


def test_a_band_is_cut_out_of_what_is_known() -> None:
    index = SeriesIndex([SeriesKey("web-1", "cpu"), SeriesKey("web-2", "cpu")])
    window, live = Window(0, 9000, 300), Window(4500, 9000, 300)
    frame = Frame.of(index, window, np.arange(60.0).reshape(2, 30))
    learnt = np.arange(30.0).reshape(2, 15)
    scores = Scores(index=index, window=live, surprise=learnt, expected=learnt, lower=learnt, upper=learnt)
    limits = Thresholds(parse_range("80"), parse_range("@10:20"))
    cut = band_of(frame, scores, SeriesKey("web-2", "cpu"), Window(3900, 99_900, 300), unit="%", thresholds=limits)
    assert cut.starts.tolist() == list(range(3900, 9000, 300))
    assert cut.value.tolist() == list(range(43, 60))
    assert np.isnan(cut.upper[:2]).all()
    assert cut.upper[2:].tolist() == list(range(15, 30))
    assert cut.limits == (("warning", 80.0), ("critical", 10.0), ("critical", 20.0))
    assert np.isnan(band_of(frame, None, SeriesKey("web-1", "cpu"), live).lower).all()


def test_the_view_reaches_well_before_and_after() -> None:
    inside = Window(150, 150 + 300 * 2016, 300)
    view = around(150 + 300 * 1000 + 7, 150 + 300 * 1012, inside)
    assert (view.start - inside.start) % 300 == 0
    assert view.start <= 300 * 1000 - 16 * 3600 and view.end >= 300 * 1012 + 16 * 3600
    assert around(150, 450, inside).start == inside.start
    assert around(inside.end - 300, inside.end, inside).end == inside.end


def test_a_spike_of_one_bucket_survives_being_drawn_small() -> None:
    values = np.full(POINTS * 20, 50.0)
    values[7777] = 99.0
    drawn = plot(band(values, span=60), PARIS)
    assert len(re.findall(r"[ML]", drawn.line)) <= 2 * POINTS
    heights = [float(y) for y in re.findall(r" ([\d.]+)", drawn.line.replace("M", "").replace("L", " "))[::1]]
    assert min(heights) < 30


def test_gaps_are_gaps_and_a_lonely_value_is_a_dot() -> None:
    values = np.full(50, 5.0)
    values[10:20], values[30:40] = np.nan, np.nan
    values[35] = 7
    drawn = plot(band(values), PARIS)
    assert drawn.line.count("M") == 3
    assert len(drawn.dots) == 1
    assert drawn.shade.count("Z") == 4


def test_limits_far_away_are_told_and_not_drawn() -> None:
    drawn = plot(band(np.linspace(10, 60, 50), limits=(("warning", 80.0), ("critical", 1000.0))), PARIS)
    assert [limit.text for limit in drawn.limits] == ["warning 80"]
    assert drawn.beyond == ("critical 1000",)


@pytest.mark.parametrize(("start", "hours"), [(1_774_738_800, 24 * 2 - 1), (1_792_879_200, 24 * 2 + 1)])
def test_the_axis_says_local_time_on_days_of_23_and_25_hours(start: int, hours: int) -> None:
    ticks = plot(band(np.ones(hours * 12), start=start), PARIS).x_ticks
    assert [tick.text for tick in ticks if tick.strong] in (["Sun 29", "Mon 30", "Tue 31"], ["Sun 25", "Mon 26", "Tue 27"])
    places = [tick.at for tick in ticks]
    assert places == sorted(places)


numbers = st.one_of(st.just(math.nan), st.floats(-1e9, 1e9, allow_nan=False))


@example([(5e-324, math.nan, math.nan)], [])
@example([(1e9, 1e9, 1e9 + 1e-6)], [1e9])
@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=60),
    st.lists(st.floats(-1e12, 1e12, allow_nan=False), max_size=3),
)
def test_anything_can_be_drawn_and_stays_inside_the_picture(rows: list[tuple[float, float, float]], limits: list[float]) -> None:
    value, lower, upper = (np.array(column) for column in zip(*rows, strict=True))
    drawn = plot(band(value, lower=lower, upper=upper, limits=tuple(("warning", limit) for limit in limits)), PARIS)
    for path in (drawn.line, drawn.shade, drawn.expected):
        assert "nan" not in path
        assert "inf" not in path
        for x, y in re.findall(r"([-\d.e+]+) ([-\d.e+]+)", path):
            assert 0 <= float(x) <= drawn.width
            assert 0 <= float(y) <= drawn.height
    assert all(0 <= tick.at <= drawn.height for tick in (*drawn.y_ticks, *drawn.limits))
    assert len(drawn.y_ticks) <= 12


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1534, "0.153"),
        (12.34, "12.3"),
        (840, "840"),
        (999.7, "1000"),
        (9876, "9876"),
        (12_400, "12.4k"),
        (3_140_000, "3.14M"),
        (-2e9, "-2G"),
    ],
)
def test_numbers_are_spelled_short(value: float, text: str) -> None:
    assert spell(value) == text


def test_an_axis_has_round_numbers() -> None:
    assert nice_steps(0, 100) == [0, 25, 50, 75, 100]
    assert nice_steps(0.13, 0.34) == [0.2, 0.3]
    assert nice_steps(-3, 17) == [0, 5, 10, 15]
