"""Baselines on disk: exactly what was saved, or a refusal."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import no_room
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Baseline, SeriesIndex, SeriesKey, Window
from tocsin.store import arrays, baselines
from tocsin.store.files import file_name

INDEX = SeriesIndex(SeriesKey(component, metric) for component in ("web-01", "wéb|02\n") for metric in ("cpu", "latency.p95"))
TRAINED = Window(0, 86_400, 300)


def learnt() -> dict[str, Baseline]:
    numbers = np.random.default_rng(0)
    shapes = {"center": numbers.normal(size=(4, 5, 48)), "rows": np.arange(4), "known": np.array([True, False, True, True])}
    shapes["center"][0] = np.nan
    fused = SeriesIndex(SeriesKey(component, "") for component in INDEX.components)
    return {
        "seasonal": Baseline(
            detector="seasonal", index=INDEX, trained_on=TRAINED, arrays=shapes, facts={"format": 1, "kinds": ["working"]}
        ),
        "silence": Baseline(detector="silence", index=INDEX, trained_on=TRAINED, arrays={"unit": np.array(["ms", "%", "", "é"])}),
        "fusion:anomaly": Baseline(
            detector="fuse",
            index=fused,
            trained_on=TRAINED,
            arrays={"tail": np.zeros((2, 0), np.float32), "flags": np.ones((2, 3), np.uint8)},
        ),
    }


def assert_same(one: dict[str, Baseline], other: dict[str, Baseline]) -> None:
    assert list(one) == list(other)
    for name, baseline in one.items():
        twin = other[name]
        assert (baseline.detector, baseline.index, baseline.trained_on, dict(baseline.facts)) == (
            twin.detector,
            twin.index,
            twin.trained_on,
            dict(twin.facts),
        )
        assert list(baseline.arrays) == list(twin.arrays)
        for key, array in baseline.arrays.items():
            assert array.dtype == twin.arrays[key].dtype
            np.testing.assert_array_equal(array, twin.arrays[key])


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = baselines.save(learnt(), tmp_path / "models" / "web")
    assert_same(baselines.load(saved.path, saved.sha256), learnt())
    assert saved.sha256 == hashlib.sha256(saved.path.read_bytes()).hexdigest()
    assert saved.size == saved.path.stat().st_size
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    assert list(saved.path.parent.iterdir()) == [saved.path]
    assert baselines.save(learnt(), tmp_path / "models" / "web") == saved  # the same baselines are the same file
    np.testing.assert_array_equal(np.load(saved.path)["0/center"], learnt()["seasonal"].arrays["center"])


def test_nothing_learnt_is_a_file_too(tmp_path: Path) -> None:
    empty = Baseline(detector="silence", index=SeriesIndex([]), trained_on=TRAINED, arrays={"a": np.zeros((0, 3))})
    for what in ({}, {"silence": empty}):
        saved = baselines.save(what, tmp_path)
        assert_same(baselines.load(saved.path, saved.sha256), what)


def test_only_plain_arrays_with_a_row_per_series_are_kept(tmp_path: Path) -> None:
    for array, problem in (
        (np.array([{}] * 4, dtype=object), "cannot be kept"),
        (np.zeros(3), "expected 4 rows"),
        (np.array(1.0), "4 rows"),
    ):
        with pytest.raises(ValueError, match=problem):
            baselines.save({"x": Baseline(detector="x", index=INDEX, trained_on=TRAINED, arrays={"a": array})}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_passing_trouble(tmp_path: Path) -> None:
    with no_room(), pytest.raises(TransientError, match=str(tmp_path)):
        baselines.save(learnt(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_changed_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = baselines.save(learnt(), tmp_path)
    for sha256 in ("0" * 64, ""):
        with pytest.raises(PermanentError, match="not the one that was saved"):
            baselines.load(saved.path, sha256)
    with pytest.raises(PermanentError, match="No such file"):
        baselines.load(tmp_path / "gone.npz", saved.sha256)
    monkeypatch.setattr(baselines, "LARGEST", 100)
    with pytest.raises(PermanentError, match="more than was ever saved"):
        baselines.load(saved.path, saved.sha256)
    baselines.remove([saved.path.name, saved.path.name], tmp_path)
    assert list(tmp_path.iterdir()) == []


def understood(path: Path, data: bytes) -> dict[str, Baseline] | None:
    """What is made of a forged file whose checksum is right; None when it is refused. Anything else is a failure."""
    path.write_bytes(data)
    try:
        return baselines.load(path, hashlib.sha256(data).hexdigest())
    except PermanentError:
        return None


def test_a_mutated_file_is_refused_even_when_its_checksum_was_forged(tmp_path: Path) -> None:
    saved = baselines.save(learnt(), tmp_path)
    good = saved.path.read_bytes()
    dice = random.Random(2)
    for _ in range(1500):
        bad = bytearray(good)
        act = dice.randrange(4)
        place = dice.randrange(len(bad))
        if act == 0:
            bad[place] ^= 1 << dice.randrange(8)
        elif act == 1:
            bad[place : place + 4] = struct.pack("<I", dice.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF]))
        elif act == 2:
            del bad[place:]
        else:
            bad[place:place] = bad[dice.randrange(len(bad)) :][: dice.randrange(1, 200)]
        found = understood(tmp_path / "bad.npz", bytes(bad))
        if found is not None:  # what changed was not part of the contents, such as a time stamp in the archive
            assert_same(found, learnt())
        if bytes(bad) != good:
            with pytest.raises(PermanentError, match="not the one that was saved"):
                baselines.load(tmp_path / "bad.npz", saved.sha256)


def forged(header: object, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("header.json", header if isinstance(header, bytes) else json.dumps(header))
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(array: object, version: tuple[int, int] = (2, 0), *, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version=version, allow_pickle=pickled)
    return file.getvalue()


def with_header(text: str) -> bytes:
    raw = text.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(raw)) + raw


ONE = {"name": "x", "detector": "x", "index": 0, "trained_on": [0, 300, 300], "facts": {}, "arrays": ["a"]}
HEADER = {"format": baselines.FORMAT, "indexes": [[["web", ["cpu"]]]], "baselines": [ONE]}
FORGERIES = {
    "zip bomb": forged(HEADER, {"0/a.npy": npy(np.zeros((1, 1_000_000)))}, zipfile.ZIP_DEFLATED),
    "huge shape": forged(
        HEADER, {"0/a.npy": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 999999999999), }")}
    ),
    "negative shape": forged(
        HEADER, {"0/a.npy": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8), }") + bytes(64)}
    ),
    "deep header": forged(HEADER, {"0/a.npy": with_header("(" * 9000 + ")" * 9000)}),
    "long header": forged(HEADER, {"0/a.npy": with_header(" " * 100_000)}),
    "pickled": forged(HEADER, {"0/a.npy": npy(np.array([{}], dtype=object), pickled=True)}),
    "records": forged(HEADER, {"0/a.npy": npy(np.zeros(1, [("a", "f8")]))}),
    "times": forged(HEADER, {"0/a.npy": npy(np.zeros(1, "M8[s]"))}),
    "other version": forged(HEADER, {"0/a.npy": npy(np.zeros(1), (1, 0))}),
    "other rows": forged(HEADER, {"0/a.npy": npy(np.zeros(2))}),
    "missing array": forged(HEADER, {}),
    "other format": forged(HEADER | {"format": baselines.FORMAT + 1}, {"0/a.npy": npy(np.zeros(1))}),
    "no header": forged([], {"0/a.npy": npy(np.zeros(1))}),
    "deep json": forged(b"[" * 100_000, {"0/a.npy": npy(np.zeros(1))}),
    "bad window": forged(HEADER | {"baselines": [ONE | {"trained_on": [0, 301, 300]}]}, {"0/a.npy": npy(np.zeros(1))}),
    "doubled series": forged(HEADER | {"indexes": [[["web", ["cpu", "cpu"]]]]}, {"0/a.npy": npy(np.zeros(2))}),
    "not an archive": b"PK\x05\x06" + bytes(18),
    "empty": b"",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused(name: str, tmp_path: Path) -> None:
    assert understood(tmp_path / "bad.npz", FORGERIES[name]) is None
    assert understood(tmp_path / "good.npz", forged(HEADER, {"0/a.npy": npy(np.zeros(1))})) is not None


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_no_bytes_make_unpacking_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(PermanentError):
        arrays.unpack(data)


@given(st.text(max_size=8), st.text(max_size=8))
def test_distinct_names_are_distinct_files_that_stay_in_their_folder(one: str, other: str) -> None:
    for name in (one, other):
        assert "/" not in file_name(name)
        assert "\0" not in file_name(name)
        assert file_name(name) not in {"", ".", ".."}
    assert (file_name(one) == file_name(other)) == (one == other)
