"""`tocsin score`: whole files judged row by row, each file one component, into CSV files of the same number of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from collectors.files import read_table
from tocsin.errors import ConfigError
from tocsin.model import Floats, Ints
from tocsin.registry import find
from tocsin.scale.local import InProcess, ProcessPool
from tocsin.timegrid import Calendar
from tocsin.verdict import COLUMNS, DETECTORS, OWN, Verdict, score_rows

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
DIGITS = 10
"""Significant digits of a value that is written; surprises have four decimals."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What was scored."""

    files: int
    rows: int
    judged: int
    output: Path

    def sentence(self, seconds: float) -> str:
        """For the person who asked, and waited so long."""
        files = "1 file" if self.files == 1 else f"{self.files} files"
        speed = f"{self.rows / max(seconds, 1e-3):.0f} rows a second"
        return f"{files}, {self.rows} rows, {self.judged} of them judged, {speed}: {self.output}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One file to score."""

    source: Path
    output: Path
    timezone: str
    train_rows: int
    detectors: tuple[str, ...]
    per_metric: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one file."""

    rows: int = 0
    judged: int = 0
    problems: tuple[str, ...] = ()


def score_path(
    source: Path,
    output: Path,
    *,
    timezone: str = "UTC",
    train_rows: int = 0,
    detectors: Sequence[str] = DETECTORS,
    per_metric: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Done:
    """Score a file, or every file of a folder and those below it, into CSV files of the same names.

    Raises `ConfigError` for what cannot be read; the other files of a folder are scored all the same.
    """
    if not detectors:
        raise ConfigError("--detectors: expected at least one name, such as seasonal")
    for name in detectors:
        try:
            find("detectors", name)
        except ValueError as error:
            raise ConfigError(f"--detectors: {error}") from error
    try:
        Calendar(timezone)
    except ValueError as error:
        raise ConfigError(f"--timezone: {error}") from error
    common = partial(Job, timezone=timezone, train_rows=train_rows, detectors=tuple(detectors), per_metric=per_metric)
    jobs = [common(source=one, output=target) for one, target in _files(source, output)]
    executor = ProcessPool(min(workers, len(jobs))) if workers > 1 and len(jobs) > 1 else InProcess()
    outcomes = []
    for outcome in executor.map(score_file, sorted(jobs, key=lambda job: -job.source.stat().st_size)):
        outcomes.append(outcome)
        if progress is not None:
            progress(len(outcomes), len(jobs))
    problems = sorted(problem for outcome in outcomes for problem in outcome.problems)
    if problems:
        raise ConfigError(*problems)
    return Done(
        files=len(jobs), rows=sum(one.rows for one in outcomes), judged=sum(one.judged for one in outcomes), output=output
    )


def _files(source: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Every file to score and where its scores go. Raises `ConfigError` when there is none."""
    if source.is_file():
        yield source, output / f"{_stem(source)}.csv" if output.is_dir() else output
        return
    if not source.is_dir():
        raise ConfigError(f"{source}: is not there; a file or a folder was expected")
    inside = output.resolve()
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.name.lower().endswith(ENDINGS) and path.is_file() and inside not in path.resolve().parents
    ]
    if not found:
        raise ConfigError(f"{source}: has no file that ends in {', '.join(ENDINGS)}")
    targets: dict[Path, Path] = {}
    for path in found:
        target = output / path.parent.relative_to(source) / f"{_stem(path)}.csv"
        if target in targets:
            raise ConfigError(f"{path}: would be scored into the same {target} as {targets[target]}")
        targets[target] = path
        yield path, target


def _stem(path: Path) -> str:
    ending = next((one for one in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(one)), path.suffix)
    return path.name[: len(path.name) - len(ending)] or path.name


def score_file(job: Job) -> Outcome:
    """Score one file; runs in a worker. What a person must repair comes back as problems."""
    try:
        table = read_table(job.source, job.timezone)
        verdict = score_rows(
            table.timestamps,
            table.values,
            table.metrics,
            timezone=job.timezone,
            train_rows=job.train_rows,
            detectors=job.detectors,
            component=_stem(job.source),
            per_metric=job.per_metric,
        )
        _write(job.output, table.timestamps, verdict, table.metrics if job.per_metric else ())
    except ConfigError as error:
        return Outcome(problems=error.problems)
    except OSError as error:
        return Outcome(problems=(f"{error.filename or job.output}: {error.strerror or error}",))
    return Outcome(rows=len(table.timestamps), judged=int(np.count_nonzero(~np.isnan(verdict.columns["surprise"]))))


# --- writing ------------------------------------------------------------------------------------------------------------


def _write(path: Path, timestamps: Ints, verdict: Verdict, metrics: Sequence[str]) -> None:
    """One CSV row per input row; what is not judged or not finite is empty."""
    columns = {name: _rounded(verdict.columns[name], name) for name in COLUMNS}
    for place, metric in enumerate(metrics):
        columns |= {f"{metric}.{name}": _rounded(verdict.metrics[place, part], name) for part, name in enumerate(OWN)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        heading = io.StringIO()
        csv.writer(heading, lineterminator="\n").writerow(["timestamp", *columns])
        file.write(heading.getvalue().encode())
        cells = [_cells(pa.int64(), timestamps), *(_cells(pa.float64(), values) for values in columns.values())]
        table = pa.Table.from_arrays(cells, names=[str(place) for place in range(len(cells))])
        pacsv.write_csv(table, file, pacsv.WriteOptions(include_header=False))
    unfinished.replace(path)


def _cells(kind: Any, values: NDArray[Any]) -> Any:
    """An Arrow column, null where there is no finite number; from buffers, because `pa.array` would import pandas."""
    there = np.packbits(np.isfinite(values), bitorder="little")
    return pa.Array.from_buffers(kind, len(values), [pa.py_buffer(there), pa.py_buffer(np.ascontiguousarray(values))])


def _rounded(values: Floats, name: str) -> Floats:
    """Four decimals of a surprise, `DIGITS` of a value: what is written is as short as that."""
    if name in ("surprise", "onset", "alert"):
        return np.round(values, 4) + 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        digits = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        # Powers of ten up to 22 are exact, so that the result is the number nearest to what is written.
        scale = 10.0 ** np.abs(digits)
        rounded = np.where(digits >= 0, np.rint(values * scale) / scale, np.rint(values / scale) * scale)
        return np.where(np.abs(digits) <= 22, rounded, values) + 0.0
