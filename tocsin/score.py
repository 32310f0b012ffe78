"""`tocsin score`: whole files judged row by row by the daemon's own engine, with nothing of the future.

A file is one component. Its rows are put into buckets; the length of a bucket is read off the first rows, so that what
comes later cannot change it. Each six hours everything is learnt again from the four weeks before. A row that is late, or
second in its bucket, is judged by its own value and not learnt from. A row without any value has no surprise.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from alerting.judge import JudgeState, Rules, judge, onset
from collectors.files import read_table
from tocsin.errors import ConfigError
from tocsin.model import LARGEST, Bools, Floats, Frame, Ints, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.registry import find
from tocsin.scale.local import InProcess, ProcessPool
from tocsin.scoring import AnyDetector, Evaluation, Models, evaluate, of_series, relearn
from tocsin.timegrid import DAY, Calendar

FIRST_ROWS = 40
"""Rows the length of a bucket is read off. Nothing is judged before them."""
TRAIN = 28 * DAY
EVERY = 6 * 3600
KNOWN = 12 * 3600
DETECTORS = ("seasonal", "novelty", "change", "level", "silence")
SPANS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)
"""Lengths a bucket can have: all tile a day."""
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
COLUMNS = ("surprise", "onset", "alert", "expected", "lower", "upper")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What was scored."""

    files: int
    rows: int
    judged: int
    output: Path

    @property
    def sentence(self) -> str:
        """For the person who asked."""
        files = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{files}, {self.rows} rows, {self.judged} of them judged: {self.output}"


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
        )
        _write(job.output, table.timestamps, verdict, table.metrics if job.per_metric else ())
    except ConfigError as error:
        return Outcome(problems=error.problems)
    except OSError as error:
        return Outcome(problems=(f"{error.filename or job.output}: {error.strerror or error}",))
    return Outcome(rows=len(table.timestamps), judged=int(np.count_nonzero(~np.isnan(verdict.columns["surprise"]))))


# --- the rows of one file -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One value per row, (n,), NaN = not judged: `columns` by the names of `COLUMNS`, `metrics` (n_metrics, 4, n) of each
    metric's own surprise, expected, lower and upper."""

    columns: Mapping[str, Floats]
    metrics: Floats


def score_rows(
    timestamps: Ints,
    values: Floats,
    metrics: Sequence[str],
    *,
    timezone: str = "UTC",
    train_rows: int = 0,
    detectors: Sequence[str] = DETECTORS,
    component: str = "",
    rules: Rules | None = None,
) -> Verdict:
    """Judge rows (n,) with `values` (n, n_metrics) in the order given; each only from itself and the rows before it.

    The first `train_rows`, and the first `FIRST_ROWS`, are learnt from and not judged.
    """
    rules = rules or Rules()
    rows = _Rows.of(timestamps, values, metrics, component)
    columns = {name: np.full(len(timestamps), np.nan) for name in COLUMNS}
    own = np.full((len(metrics), 4, len(timestamps)), np.nan)
    around = Surroundings(component_type="score", calendar=Calendar(timezone), span=rows.span, metrics={}, folder=Path())
    built = [_built(name, around) for name in detectors]
    for part in rows.parts():
        _judge_part(part, built, rules, columns, own)
    hidden = max(train_rows, FIRST_ROWS)
    for column in columns.values():
        column[:hidden] = np.nan
    own[:, :, :hidden] = np.nan
    return Verdict(columns=columns, metrics=own)


def _built(name: str, around: Surroundings) -> AnyDetector:
    plugin = find("detectors", name)
    detector: AnyDetector = plugin.build(plugin.settings(), around)
    return detector


def known_for(span: int) -> int:
    """Seconds for which a surprise counts as told, so that only a larger one is an onset: half a day, less where buckets are
    shorter than five minutes and none in buckets of a minute, whose incidents are minutes long and come one after another."""
    return int(KNOWN * min(1.0, max(0.0, (span - 60) / 240)))


def span_of(timestamps: Ints) -> int:
    """The length of a bucket: the median step between the first rows, down to the next length that tiles a day."""
    steps = np.diff(timestamps[:FIRST_ROWS])
    steps = steps[steps > 0]
    usual = float(np.median(steps)) if len(steps) else 60.0
    return max((span for span in SPANS if span <= usual * 1.02), default=SPANS[0])


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows and the bucket of each; `first` marks those that were the first of their bucket and not late."""

    index: SeriesIndex
    order: Ints
    span: int
    values: Floats
    buckets: Ints
    first: Bools
    numbers: Ints

    @classmethod
    def of(cls, timestamps: Ints, values: Floats, metrics: Sequence[str], component: str) -> _Rows:
        index = SeriesIndex(SeriesKey(component, metric) for metric in metrics)
        order = np.array([index.rows[SeriesKey(component, metric)] for metric in metrics])
        span = span_of(timestamps)
        buckets = timestamps // span
        newest = np.maximum.accumulate(buckets) if len(buckets) else buckets
        first = np.ones(len(buckets), np.bool_)
        first[1:] = buckets[1:] > newest[:-1]
        by_row = np.empty((len(metrics), len(timestamps)))
        by_row[order] = np.where(np.abs(values) <= LARGEST, values, np.nan).T
        return cls(
            index=index, order=order, span=span, values=by_row, buckets=buckets, first=first, numbers=np.arange(len(buckets))
        )

    def parts(self) -> Iterator[_Rows]:
        """Cut where nothing came for so long that all of it is forgotten."""
        newest = np.maximum.accumulate(self.buckets) if len(self.buckets) else self.buckets
        cuts = np.flatnonzero(np.diff(newest) * self.span > TRAIN) + 1
        for numbers in np.split(np.arange(len(self.buckets)), cuts):
            if len(numbers):
                yield replace(
                    self,
                    values=self.values[:, numbers],
                    buckets=self.buckets[numbers],
                    first=self.first[numbers],
                    numbers=self.numbers[numbers],
                )

    @property
    def frame(self) -> Frame:
        """The rows that were first in their bucket."""
        buckets = self.buckets[self.first]
        window = Window(int(buckets[0]) * self.span, (int(buckets[-1]) + 1) * self.span, self.span)
        values = np.full((len(self.index), len(window)), np.nan)
        values[:, buckets - buckets[0]] = self.values[:, self.first]
        return Frame.of(self.index, window, values)


@dataclass
class _Memory:
    """What judging remembers from window to window."""

    states: dict[str, JudgeState] = field(default_factory=dict)
    recent: Floats = field(default_factory=lambda: np.empty(0))


def _judge_part(part: _Rows, detectors: Sequence[AnyDetector], rules: Rules, columns: Mapping[str, Floats], own: Floats) -> None:
    """Fill in what is said of the rows of `part`."""
    frame, memory = part.frame, _Memory()
    remembered = known_for(part.span) // part.span
    places = part.buckets - frame.window.start // part.span
    ordered = np.argsort(places, kind="stable")
    for window, models in relearn(frame, detectors, train=TRAIN, every=EVERY):
        inside = window.columns_in(frame.window)
        here = ordered[
            np.searchsorted(places, inside.start, sorter=ordered) : np.searchsorted(places, inside.stop, sorter=ordered)
        ]
        if not len(here) or not models.baselines:
            continue
        evaluation = evaluate(frame, window, detectors, models)
        alert = np.zeros(len(window), np.bool_)
        for signature, fused in evaluation.fused.items():
            judged = judge(fused, (), memory.states.get(signature, JudgeState()), rules, "score", signature)
            memory.states[signature] = judged.state
            alert |= judged.alert[0]
        said = _said(evaluation, detectors)
        # A row without a value says nothing that could be surprising; that it is silent shows in `alert`.
        said[0, np.isnan(frame.values[:, inside]).all(axis=0)] = np.nan
        whole = np.concatenate([memory.recent, said[0]])
        new = onset(whole[None, :], remembered)[0, len(memory.recent) :]
        on_time, late = here[part.first[here]], here[~part.first[here]]
        column = places[on_time] - inside.start
        _fill(columns, part.numbers[on_time], said[:, column], new[column], alert[column])
        own[:, :, part.numbers[on_time]] = _per_metric(evaluation, detectors)[:, :, column][part.order]
        for bucket in np.unique(places[late]):
            rows = late[places[late] == bucket]
            again = _judge_late(part, frame, rows, int(bucket), detectors, models)
            column = np.full(len(rows), bucket - inside.start)
            before = whole[max(0, len(memory.recent) + int(column[0]) - remembered) : len(memory.recent) + int(column[0]) + 1]
            height = np.max(before[~np.isnan(before)], initial=-np.inf)
            said_late = np.stack([_said(one, detectors)[:, 0] for one in again], axis=1)
            said_late[0, np.isnan(part.values[:, rows]).all(axis=0)] = np.nan
            new_late = np.where(np.isnan(said_late[0]), np.nan, np.where(said_late[0] > height, said_late[0], 0.0))
            _fill(columns, part.numbers[rows], said_late, new_late, alert[column])
            for row, one in zip(rows, again, strict=True):
                own[:, :, part.numbers[row]] = _per_metric(one, detectors)[:, :, 0][part.order]
        memory.recent = whole[len(whole) - min(len(whole), remembered) :]


def _judge_late(
    part: _Rows, frame: Frame, rows: Ints, bucket: int, detectors: Sequence[AnyDetector], models: Models
) -> list[Evaluation]:
    """Judge rows of one bucket by their own values, each as if it had been the first there."""
    back = max((detector.lookback for detector in of_series(detectors)), default=0) // part.span
    columns = slice(max(0, bucket - back), bucket + 1)
    starts = frame.window.start + columns.start * part.span, frame.window.start + columns.stop * part.span
    window = Window(*starts, part.span)
    said = []
    for row in rows:
        values = frame.values[:, columns].copy()
        values[:, -1] = part.values[:, row]
        alone = Frame.of(part.index, window, values)
        said.append(evaluate(alone, Window(window.end - part.span, window.end, part.span), detectors, models))
    return said


def _said(evaluation: Evaluation, detectors: Sequence[AnyDetector]) -> Floats:
    """Surprise, expected, lower and upper of the component, (4, n_buckets): the most surprising signature's, and of the
    metric with the greatest share in it."""
    said = np.full((4, 0), np.nan)
    for signature, fused in evaluation.fused.items():
        scores = [
            evaluation.scores[one.name] for one in detectors if one.signature == signature and one.name in evaluation.scores
        ]
        width = fused.surprise.shape[1]
        if said.shape[1] != width:
            said = np.full((4, width), np.nan)
        row = np.argmax(fused.share, axis=0)
        at = np.arange(width)
        bands = _bands(scores)[:, row, at]
        surprise = fused.surprise[0]
        higher = ~np.isnan(surprise) & ~(surprise <= said[0])
        said[0] = np.where(higher, surprise, said[0])
        drawn = ~np.isnan(bands[0]) & (higher | np.isnan(said[1]))
        said[1:] = np.where(drawn, bands, said[1:])
    return said


def _per_metric(evaluation: Evaluation, detectors: Sequence[AnyDetector]) -> Floats:
    """Surprise, expected, lower and upper of each row of the index, (n_series, 4, n_buckets)."""
    scores = [evaluation.scores[one.name] for one in detectors if one.name in evaluation.scores]
    surprise = np.fmax.reduce([one.surprise for one in scores])
    return np.stack([surprise, *_bands(scores)], axis=1)


def _bands(scores: Sequence[Scores]) -> Floats:
    """Expected, lower and upper of each row and bucket, (3, n_series, n_buckets): of the most surprised detector that expects
    something there."""
    said = np.stack([np.where(np.isnan(one.expected) | np.isnan(one.surprise), -1.0, one.surprise) for one in scores])
    strongest = np.argmax(said, axis=0)[None]
    return np.stack(
        [
            np.take_along_axis(np.stack([getattr(one, name) for one in scores]), strongest, axis=0)[0]
            for name in ("expected", "lower", "upper")
        ]
    )


def _fill(columns: Mapping[str, Floats], rows: Ints, said: Floats, new: Floats, alert: Bools) -> None:
    for name, values in zip(("surprise", "expected", "lower", "upper"), said, strict=True):
        columns[name][rows] = values
    columns["onset"][rows] = new
    columns["alert"][rows] = np.where(np.isnan(said[0]) & ~alert, np.nan, alert)


# --- writing ------------------------------------------------------------------------------------------------------------


def _write(path: Path, timestamps: Ints, verdict: Verdict, metrics: Sequence[str]) -> None:
    """One CSV row per input row; what is not judged or not finite is empty."""
    names = ["timestamp", *COLUMNS]
    columns = [timestamps.tolist(), *(_cells(verdict.columns[name], name) for name in COLUMNS)]
    for place, metric in enumerate(metrics):
        for part, name in enumerate(("surprise", "expected", "lower", "upper")):
            names.append(f"{metric}.{name}")
            columns.append(_cells(verdict.metrics[place, part], name))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))
    unfinished.replace(path)


def _cells(values: Floats, name: str) -> list[str]:
    """Numbers as short as they may be: four decimals of a surprise, ten digits of a value."""
    finite = np.isfinite(values)
    if name == "alert":
        return ["" if not known else "1" if one else "0" for one, known in zip(values.tolist(), finite.tolist(), strict=True)]
    spell = "%.4f" if name in ("surprise", "onset") else "%.10g"
    return [spell % one if known else "" for one, known in zip(values.tolist(), finite.tolist(), strict=True)]
