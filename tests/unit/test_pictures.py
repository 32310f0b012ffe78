"""The pictures of the detectors are small, are on their page, and say where they are from."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "docs" / "detection"
PICTURES = sorted((PAGES / "pictures").glob("*.svg"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: str(one.stem))
def test_a_picture_is_a_small_drawing_with_words_for_those_who_cannot_see_it(picture: Path) -> None:
    text = picture.read_text()
    assert len(text.encode()) < 40_000
    names = [element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()]
    assert names[:2] == ["svg", "title"]
    assert not {"script", "image", "foreignObject", "a"} & {*names}
    assert f"(pictures/{picture.name})" in (PAGES / f"{picture.stem}.md").read_text()
    assert picture.stem in (PAGES / "pictures" / "README.md").read_text()


def test_every_picture_that_a_page_shows_is_there() -> None:
    assert {path.stem for path in PICTURES} == {page.stem for page in PAGES.glob("*.md") if "](pictures/" in page.read_text()}
