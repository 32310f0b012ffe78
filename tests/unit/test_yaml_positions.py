from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.yaml_positions import MAX_BYTES, MAX_DEPTH, Document, read, spell


def reading(folder: Path, text: str | bytes) -> Document:
    path = folder / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def told(document: Document) -> list[str]:
    return [str(problem).removeprefix(str(document.path)) for problem in document.problems]


def test_values_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    document = reading(
        tmp_path, "{at: 22:30, land: NO, really: true, n: 012, x: 1e3, none: , text: '5', date: 2026-12-24, low: -.inf}"
    )
    assert document.data == {
        "at": "22:30",
        "land": "NO",
        "really": True,
        "n": 12,
        "x": 1000.0,
        "none": None,
        "text": "5",
        "date": "2026-12-24",
        "low": float("-inf"),
    }


def test_every_key_and_value_knows_its_place(tmp_path: Path) -> None:
    document = reading(tmp_path, "a:\n  - b: 1\n    c.d: x\n")
    assert document.keys["a", 0, "c.d"] == (3, 5)
    assert document.values["a", 0, "c.d"] == (3, 10)
    assert spell(("a", 0, "c.d")) == 'a[0]["c.d"]'


def test_a_place_that_was_not_written_has_the_position_of_what_is_around_it(tmp_path: Path) -> None:
    document = reading(tmp_path, "a:\n  b:\n    c: 1\n")
    assert str(document.problem(("a", "b", "d", "e"), "is required")) == f"{document.path}:2:3: a.b.d.e: is required"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert reading(tmp_path, b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_a_duplicate_key_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    document = reading(tmp_path, "a: 1\nb: 2\na: {b: 3}\nb: 4\n")
    assert told(document) == [":3:1: a: is there twice, first in line 1", ":4:1: b: is there twice, first in line 2"]
    assert document.data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1:1: is empty"),
        ("# nothing\n---\n", ":1:1: is empty"),
        ("a: &x 1", ":1:4: a: anchors (&) are not read here; write it out where it is needed"),
        ("a: 1\nb: [*x]", ":2:5: b[0]: aliases (*) are not read here; write it out"),
        ("a: !!python/object:os.system x", ':1:4: a: tags such as "tag:yaml.org,2002:python/object:os.system" are not read here'),
        ("a: 1\n---\nb: 1", ":2:1: a second document begins here; one file holds one"),
        ("a:\n\tb: 1", ":2:1: a tab cannot indent YAML; use spaces"),
        (b"a: 1\nb: caf\xe9", ":2:7: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("a: x\x07", ":1:5: character U+0007 has no place in YAML"),
        ('a: "\\0"', ":1:4: a: control character U+0000 has no place here"),
        ('a: "\\ud800"', ":1:4: a: control character U+D800 has no place here"),
        ("? [a]\n: 1", ":1:3: a key must be text"),
        (": 1", ":1:1: a key is missing here"),
        ("a: [1\nb: 2", ":2:2: is no YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ('a: "\\UFFFFFFFF"', ':1:1: is no YAML: OverflowError: "Python int too large to convert to C int"'),
        ("[" * (MAX_DEPTH + 2), f":1:{MAX_DEPTH + 2}: more than {MAX_DEPTH} levels"),
        ("- a\n" * 30_000, ":20000:3: more than 20,000 values"),
        ("a: " + "!" * 20_000, ":1:1: a line of more than 10,000 characters; a configuration is written by people"),
        ("#" * (MAX_BYTES + 1), ": more than 1 MiB; a configuration is written by people"),
    ],
)
def test_what_a_configuration_does_not_need_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    document = reading(tmp_path, text)
    assert told(document) == [sentence]
    assert document.data is None


def test_a_million_nested_lists_cost_no_time(tmp_path: Path) -> None:
    assert "levels" in told(reading(tmp_path, "[\n" * 500_000))[0]


def test_a_missing_file_a_folder_and_a_device_are_told_apart(tmp_path: Path) -> None:
    assert told(read(tmp_path / "none.yaml")) == [": no such file"]
    assert told(read(tmp_path)) == [": is a folder; name a file in it, such as tocsin.yaml"]
    assert told(read(Path("/dev/null"))) == [": is no regular file"]
    assert told(read(Path("a\0b"))) == ["a\\x00b: is no file name: embedded null byte"]


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert told(read(tmp_path / "loop.yaml")) == [": cannot be read: Too many levels of symbolic links"]
