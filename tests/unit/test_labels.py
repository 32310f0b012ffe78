"""What people wrote down of the past is read, or refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin.evaluation import Label
from tocsin.labels import parse_labels, read_labels


def test_times_are_iso_or_epoch_and_local_where_they_name_no_zone(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffcomponent, start ,end,kind,who\n"
        "web-1,2026-05-27T09:00:00+02:00,2026-05-27T07:30:00Z,slow,me\n"
        "web-2,2026-05-27 09:00,2026-05-27 09:30,\n"
        "\n"
        '"web,3",1779865200,1779867000\n',
        encoding="utf-8",
    )
    start, end = 1_779_865_200, 1_779_867_000
    assert read_labels(path, timezone="Europe/Paris") == (
        Label(component="web-1", start=start, end=end, kind="slow"),
        Label(component="web-2", start=start, end=end),
        Label(component="web,3", start=start, end=end),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: no column component, start, end"),
        ("component,from,end\n", "1: no column start"),
        ("component,start,end\nweb-1,10,", "2: end is empty"),
        ("component,start,end\nweb-1,10", "2: end is empty"),
        ("component,start,end\n\nweb-1,yesterday,20", "3: start 'yesterday' is no time: write 2026-05-27T09:00:00"),
        ("component,start,end\nweb-1,20,10", "2: end 10 is not after start 20"),
        ("component,start,end\nweb-1,nan,10", "2: start nan is no time"),
        ("component,start,end\nweb-1,1e300,2e300", "2: start 1e300 is no time"),
        ("component,start,end\nweb-11,10,20", '2: no component "web-11" (did you mean "web-1"?)'),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    labels, problems = parse_labels(text, known=["web-1", "db-1"])
    assert labels == ()
    assert len(problems) == 1
    assert problems[0].startswith(told)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("component,start,end\n" + "web-1,20,10\n" * 25)
    with pytest.raises(ConfigError) as refused:
        read_labels(path)
    assert refused.value.problems[0] == f"{path}:2: end 10 is not after start 20"
    assert refused.value.problems[-1] == f"{path}: 5 more mistakes"


@pytest.mark.parametrize("content", [None, b"component,start,end\n\xff,1,2\n"])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"labels\.csv: (cannot be read: No such file|is not UTF-8 text: byte 20)"):
        read_labels(path)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    labels, problems = parse_labels("component,start,end\n" + text)
    assert all(label.start < label.end for label in labels)
    assert all(problem.split(":")[0].isdigit() for problem in problems)
