"""What was learnt, one file per version: an uncompressed `.npz` that is never changed once it is there.

The file is named by its own SHA-256, holds plain arrays only and a header that says what they are: format, detectors,
series, the window they were learnt on, facts, and the libraries that wrote it. Nothing is compressed: a save of 100,000
series of 4 kB costs 1.3 s of CPU, and zlib's fastest level would add 7 to 12 s to it to save 4 to 40 % of the disk.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tocsin
from tocsin import failpoints
from tocsin.errors import PermanentError, TransientError
from tocsin.model import Baseline, SeriesIndex, SeriesKey, Window
from tocsin.store import arrays
from tocsin.store.files import sync_folder, write_whole

FORMAT = 2
"""Grows when detectors keep something else than before: what an older program learnt is then refused as a whole."""
LARGEST = 8 << 30
"""Bytes; a larger file is refused before it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A file of baselines: its path and the SHA-256 of its contents."""

    path: Path
    sha256: str
    size: int


def save(baselines: Mapping[str, Baseline], folder: Path) -> Saved:
    """Write baselines, each under its name, as one new file in the folder. The same baselines give the same file.

    ValueError for arrays of objects or with another first axis than the series; TransientError when the disk refuses.
    """
    header, members = _spell(baselines)
    sums = []

    def fill(file: BufferedRandom) -> None:
        arrays.write(file, members, header)
        file.seek(0)
        sums.append((hashlib.file_digest(file, "sha256").hexdigest(), file.tell()))

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unnamed = folder / "unnamed.npz"
        write_whole(unnamed, fill)
        (sha256, size), path = sums[0], folder / f"{sums[0][0][:20]}.npz"
        unnamed.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise TransientError(f"baselines cannot be kept in {folder}: {error.strerror}") from error
    failpoints.reached("after_model_save")
    return Saved(path=path, sha256=sha256, size=size)


def load(path: Path, sha256: str) -> dict[str, Baseline]:
    """The baselines in a file. PermanentError when it is not there or not exactly what was saved."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > LARGEST:
                raise PermanentError(f"{size} bytes are more than was ever saved")
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise PermanentError("the file is not the one that was saved")
            file.seek(0)
            return _understand(*arrays.read(file, size))
    except OSError as error:
        raise PermanentError(f"baselines {path}: {error.strerror}") from error
    except PermanentError as error:
        raise PermanentError(f"baselines {path}: {error}") from error


def remove(paths: Sequence[str | Path], root: Path) -> None:
    """Delete the files of versions nobody refers to any more; `paths` are relative to `root`. A file that is gone is fine."""
    for path in paths:
        try:
            (root / path).unlink(missing_ok=True)
        except OSError as error:
            raise TransientError(f"baselines {path} cannot be removed: {error.strerror}") from error


def _spell(baselines: Mapping[str, Baseline]) -> tuple[bytes, dict[str, NDArray[Any]]]:
    indexes: dict[str, SeriesIndex] = {}
    members, described = {}, []
    for number, (name, baseline) in enumerate(baselines.items()):
        indexes[baseline.index.digest] = baseline.index
        for key, array in baseline.arrays.items():
            if array.shape[:1] != (len(baseline.index),):
                raise ValueError(f"baseline {name!r}: array {key!r} has shape {array.shape}, expected {len(baseline.index)} rows")
            members[f"{number}/{key}"] = array
        window = baseline.trained_on
        described.append(
            {
                "name": name,
                "detector": baseline.detector,
                "index": list(indexes).index(baseline.index.digest),
                "trained_on": [window.start, window.end, window.span],
                "facts": dict(baseline.facts),
                "arrays": list(baseline.arrays),
            }
        )
    header = {
        "format": FORMAT,
        "libraries": {"tocsin": tocsin.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "indexes": [
            [[component, [key.metric for key in keys]] for component, keys in groupby(index, key=lambda key: key.component)]
            for index in indexes.values()
        ],
        "baselines": described,
    }
    return json.dumps(header).encode(), members


def readable(path: Path, sha256: str) -> bool:
    """Whether `load` would give something."""
    try:
        load(path, sha256)
    except PermanentError:
        return False
    return True


def _understand(header: bytes, members: Mapping[str, NDArray[Any]]) -> dict[str, Baseline]:
    try:
        facts = json.loads(header)
        if facts["format"] != FORMAT:
            raise PermanentError(f"format {facts['format']} of another tocsin, this one reads {FORMAT} and learns anew")
        indexes = [
            SeriesIndex(SeriesKey(component, metric) for component, metrics in index for metric in metrics)
            for index in facts["indexes"]
        ]
        found = {}
        for number, one in enumerate(facts["baselines"]):
            index = indexes[one["index"]]
            mine = {key: members[f"{number}/{key}"] for key in one["arrays"]}
            for key, array in mine.items():
                if array.shape[:1] != (len(index),):
                    raise PermanentError(f"array {key!r} has shape {array.shape}, expected {len(index)} rows")
            found[str(one["name"])] = Baseline(
                detector=str(one["detector"]),
                index=index,
                trained_on=Window(*(int(number) for number in one["trained_on"])),
                arrays=mine,
                facts=dict(one["facts"]),
            )
    except PermanentError:
        raise
    except Exception as error:  # foreign bytes: whatever is wrong with them means the same
        raise PermanentError(f"its header cannot be understood: {type(error).__name__}: {error}") from error
    return found
