"""`tocsin score`: row for row, nothing of the future, never the label, and one sentence for what cannot be read."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin.model import Floats, Ints
from tocsin.score import Done, score_path
from tocsin.verdict import COLUMNS, FIRST_ROWS, Verdict, score_rows, span_of

T0 = 1_760_000_400 // 3600 * 3600
HOUR = 3600
ROOT = Path(__file__).resolve().parents[2]
NAB = ROOT.parent / "shared" / "data" / "nab"
HEADER = ["timestamp", *COLUMNS]


def series(rows: int, seed: int = 0, *, metrics: int = 1) -> Floats:
    """A daily season with noise, hour after hour."""
    random = np.random.default_rng(seed)
    season = 20 * np.sin(2 * np.pi * np.arange(rows) / 24)
    return np.round(100 + season[:, None] + random.standard_normal((rows, metrics)), 3)


def write(
    path: Path, values: Floats, *, names: str = "cpu", step: int = HOUR, labels: list[str] | None = None, start: int = T0
) -> Path:
    lines = [f"timestamp,{names}" + (",label" if labels is not None else "")]
    for row, cells in enumerate(values.tolist()):
        text = ",".join("" if np.isnan(cell) else f"{cell:g}" for cell in cells)
        lines.append(f"{start + row * step},{text}" + (f",{labels[row]}" if labels is not None else ""))
    data = ("\n".join(lines) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def column(path: Path, name: str) -> list[str]:
    header, rows = read(path)
    return [row[header.index(name)] for row in rows]


def problems(*args: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        score_path(*args, **options)  # type: ignore[arg-type]
    return caught.value.problems


# --- what comes out -----------------------------------------------------------------------------------------------------


def test_one_row_comes_out_per_row_that_goes_in(tmp_path: Path) -> None:
    values = series(200)
    values[150] += 300
    done = score_path(write(tmp_path / "disk.csv", values), tmp_path / "said.csv")
    header, rows = read(tmp_path / "said.csv")
    assert header == HEADER
    assert [int(row[0]) for row in rows] == [T0 + row * HOUR for row in range(200)]
    surprise = [float(row[1]) if row[1] else None for row in rows]
    assert surprise[:FIRST_ROWS] == [None] * FIRST_ROWS
    assert surprise[150] is not None and surprise[150] > 3
    assert surprise[150] == max(one for one in surprise if one is not None)
    assert rows[150][HEADER.index("onset")] == rows[150][1]
    lower, upper = (float(rows[149][HEADER.index(name)]) for name in ("lower", "upper"))
    assert lower < float(rows[149][HEADER.index("expected")]) < upper < values[150, 0]
    assert set(column(tmp_path / "said.csv", "alert")) <= {"", "0", "1"}
    assert done == Done(files=1, rows=200, judged=sum(one is not None for one in surprise), output=tmp_path / "said.csv")
    assert done.judged > 100
    assert done.sentence(0.1) == f"1 file, 200 rows, {done.judged} of them judged, 2000 rows a second: {tmp_path / 'said.csv'}"


def test_a_lasting_trouble_is_an_alert_and_its_first_row_the_onset(tmp_path: Path) -> None:
    values = series(400)
    values[300:312] += 400
    score_path(write(tmp_path / "disk.csv", values), tmp_path / "said.csv")
    alert = column(tmp_path / "said.csv", "alert")
    assert "1" in alert[300:312]
    assert "1" not in alert[:300]
    assert float(column(tmp_path / "said.csv", "onset")[300]) > 3


def test_a_row_without_value_has_no_surprise(tmp_path: Path) -> None:
    values = series(200)
    values[[120, 121, 150]] = np.nan
    score_path(write(tmp_path / "disk.csv", values), tmp_path / "said.csv")
    surprise = column(tmp_path / "said.csv", "surprise")
    assert [row for row in range(100, 200) if not surprise[row]] == [120, 121, 150]


def test_rows_to_train_on_are_not_judged(tmp_path: Path) -> None:
    source = write(tmp_path / "disk.csv", series(200))
    score_path(source, tmp_path / "all.csv")
    score_path(source, tmp_path / "some.csv", train_rows=130)
    whole, part = read(tmp_path / "all.csv")[1], read(tmp_path / "some.csv")[1]
    assert all(row[1:] == [""] * 6 for row in part[:130])
    assert part[130:] == whole[130:]


def test_several_metrics_are_one_component_and_can_be_seen_one_by_one(tmp_path: Path) -> None:
    values = series(250, metrics=3)
    values[200, 1] += 300
    source = write(tmp_path / "web1.csv", values, names="load,cpu,a.io")
    score_path(source, tmp_path / "said.csv")
    score_path(source, tmp_path / "each.csv", per_metric=True)
    header, rows = read(tmp_path / "each.csv")
    parts = ("surprise", "expected", "lower", "upper")
    assert header == HEADER + [f"{metric}.{part}" for metric in ("load", "cpu", "a.io") for part in parts]
    assert [row[:7] for row in rows] == read(tmp_path / "said.csv")[1]
    of = {metric: float(rows[200][header.index(f"{metric}.surprise")]) for metric in ("load", "cpu", "a.io")}
    assert of["cpu"] > 4 > max(of["load"], of["a.io"])
    assert rows[200][header.index("expected")] == rows[200][header.index("cpu.expected")]
    assert float(rows[200][1]) > 2


def test_one_detector_can_be_asked_alone(tmp_path: Path) -> None:
    score_path(write(tmp_path / "disk.csv", series(200)), tmp_path / "said.csv", detectors=("silence",))
    assert set(column(tmp_path / "said.csv", "expected")) == {""}
    assert float(column(tmp_path / "said.csv", "surprise")[-1]) == 0


def test_a_file_of_a_few_rows_is_answered_with_empty_rows(tmp_path: Path) -> None:
    for rows in (1, 5):
        score_path(write(tmp_path / "disk.csv", series(rows)), tmp_path / "said.csv")
        assert [row[1:] for row in read(tmp_path / "said.csv")[1]] == [[""] * 6] * rows


# --- the label ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["1", "", "disk full", "nan", "-1e300"])
def test_the_label_is_never_read(tmp_path: Path, other: str) -> None:
    values = series(150)
    score_path(write(tmp_path / "without.csv", values), tmp_path / "said" / "without.csv")
    score_path(write(tmp_path / "zero.csv", values, labels=["0"] * 150), tmp_path / "said" / "zero.csv")
    labels = ["0" if row % 3 else other for row in range(150)]
    score_path(write(tmp_path / "other.csv", values, labels=labels), tmp_path / "said" / "other.csv")
    without, zero, garbage = ((tmp_path / "said" / f"{name}.csv").read_bytes() for name in ("without", "zero", "other"))
    assert without == zero == garbage


# --- nothing of the future ----------------------------------------------------------------------------------------------


def hostile(seed: int, step: int) -> tuple[Ints, Floats]:
    """Rows with gaps, duplicates, late rows, times beside the grid, empty cells and wild values."""
    random = np.random.default_rng(seed)
    rows = 170
    steps = np.full(rows, step)
    steps[random.random(rows) < 0.05] = random.integers(2, 30) * step
    times = T0 + np.cumsum(steps) + (random.random(rows) < 0.3) * random.integers(-step // 3, step // 3, rows)
    again = random.random(rows) < 0.06
    times[1:] = np.where(again[1:], times[:-1], times[1:])
    late = random.random(rows) < 0.05
    times -= late * random.integers(1, 9, rows) * step
    values = series(rows, seed, metrics=2)
    values[random.random(values.shape) < 0.05] = np.nan
    values[random.random(rows) < 0.03] = np.nan
    values[random.random(values.shape) < 0.02] *= random.choice([-1e6, 50, 1e12])
    return times.astype(np.int64), values


def same_beginning(part: Verdict, whole: Verdict, rows: int) -> None:
    """But for the last digit: what is judged together is not always added up in the same order."""
    for name in COLUMNS:
        np.testing.assert_allclose(part.columns[name], whole.columns[name][:rows], 1e-12, 1e-12, err_msg=name)
    np.testing.assert_allclose(part.metrics, whole.metrics[:, :, :rows], 1e-12, 1e-12)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from([HOUR, HOUR // 2]), st.lists(st.integers(1, 169), min_size=3, max_size=3))
def test_cutting_the_input_at_any_row_leaves_what_was_said_before_it(seed: int, step: int, cuts: list[int]) -> None:
    times, values = hostile(seed, step)
    whole = score_rows(times, values, ("a", "b"), per_metric=True)
    for cut in cuts:
        same_beginning(score_rows(times[:cut], values[:cut], ("a", "b"), per_metric=True), whole, cut)


def test_cutting_a_file_leaves_the_beginning_of_its_output(tmp_path: Path) -> None:
    times, values = hostile(3, HOUR)
    lines = ["timestamp,a,b", *(f"{t},{a},{b}" for t, (a, b) in zip(times, values.tolist(), strict=True))]
    text = [line.replace("nan", "") + "\n" for line in lines]
    (tmp_path / "web1.csv").write_text("".join(text))
    score_path(tmp_path / "web1.csv", tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_text().splitlines()
    assert any(line.split(",")[1] for line in whole[1:])
    for cut in (45, 100, 133):
        (tmp_path / "web1.csv").write_text("".join(text[: cut + 1]))
        score_path(tmp_path / "web1.csv", tmp_path / "part.csv")
        assert (tmp_path / "part.csv").read_text().splitlines() == whole[: cut + 1]


def test_weeks_without_a_row_change_nothing_before_and_forget_everything_after() -> None:
    times = T0 + HOUR * np.r_[0:150, 5000:5150].astype(np.int64)
    values = np.concatenate([series(150), series(150, 1)])
    whole = score_rows(times, values, ("a",))
    same_beginning(score_rows(times[:150], values[:150], ("a",)), whole, 150)
    surprise = whole.columns["surprise"]
    assert np.isfinite(surprise[149])
    assert np.isnan(surprise[150:170]).all()
    assert np.isfinite(surprise[299])


def test_the_length_of_a_bucket_is_read_off_the_first_rows_only() -> None:
    hourly = T0 + HOUR * np.arange(FIRST_ROWS)
    assert span_of(hourly) == HOUR
    assert span_of(np.r_[hourly, hourly[-1] + 60 * np.arange(1, 5000)]) == HOUR
    assert span_of(T0 + 301 * np.arange(100)) == 300
    assert span_of(T0 + 299 * np.arange(100)) == 300
    assert span_of(np.repeat(hourly, 2)) == HOUR
    assert span_of(np.full(50, T0)) == 60
    assert span_of(np.zeros(0, np.int64)) == 60


def test_a_second_row_of_a_bucket_is_judged_by_its_own_value_and_not_learnt_from() -> None:
    times, values = T0 + HOUR * np.arange(201), series(201)
    usual = score_rows(times, values, ("a",))
    again = score_rows(np.insert(times, 151, times[150] + 60), np.insert(values, 151, values[150] + 300, axis=0), ("a",))
    surprise = again.columns["surprise"]
    assert surprise[151] > 3 > surprise[150]
    np.testing.assert_array_equal(np.delete(surprise, 151), usual.columns["surprise"])


def test_rows_from_before_the_first_one_are_not_judged_and_lend_their_alarm_to_nobody() -> None:
    timestamps = 300 * np.arange(12 * 288)
    values = 100 + 5 * np.sin(timestamps / 86400 * 2 * np.pi) + np.random.default_rng(4).standard_normal(len(timestamps))
    values[3000:3020] += 60
    plain = score_rows(timestamps[600:], values[None, 600:].T, ["a"])
    order = np.r_[np.arange(600, len(timestamps)), np.arange(600)]
    turned = score_rows(timestamps[order], values[order][:, None], ["a"])
    assert np.isnan(turned.columns["surprise"][-600:]).all() and not (turned.columns["alert"][-600:] > 0).any()
    np.testing.assert_allclose(turned.columns["surprise"][:-600], plain.columns["surprise"], rtol=1e-9, atol=1e-12)
    assert (plain.columns["alert"] > 0).any()


@pytest.mark.parametrize("metrics", [1, 2])
def test_late_rows_know_nothing_of_one_another(metrics: int) -> None:
    times, values = T0 + HOUR * np.arange(201), series(201, metrics=metrics)
    after = np.array([60, 148, 150, 150, 151, 180])
    again = (times[after] + 60, values[after] + np.array([[0], [300], [-40], [7], [300], [20]]))
    names = ("a", "b")[:metrics]
    together = score_rows(
        np.insert(times, after + 1, again[0]), np.insert(values, after + 1, again[1], axis=0), names, per_metric=True
    )
    for place, row in enumerate(after):
        alone = score_rows(
            np.insert(times, row + 1, again[0][place]),
            np.insert(values, row + 1, again[1][place], axis=0),
            names,
            per_metric=True,
        )
        for name in COLUMNS:
            np.testing.assert_allclose(together.columns[name][row + 1 + place], alone.columns[name][row + 1], 1e-9, err_msg=name)
        np.testing.assert_allclose(together.metrics[:, :, row + 1 + place], alone.metrics[:, :, row + 1], 1e-9)
    assert np.isfinite(together.columns["surprise"][after + 1]).all()


# --- folders ------------------------------------------------------------------------------------------------------------


def folder(where: Path) -> Path:
    write(where / "web1.csv", series(120, 1))
    write(where / "db" / "disk.csv.gz", series(130, 2))
    write(where / "db" / "deep" / "x.y.csv", series(90, 3))
    (where / "README.txt").write_text("no series")
    return where


def contents(where: Path) -> dict[str, bytes]:
    return {path.relative_to(where).as_posix(): path.read_bytes() for path in sorted(where.rglob("*")) if path.is_file()}


def test_a_folder_of_scores_mirrors_the_folder_of_series(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = score_path(folder(tmp_path / "in"), tmp_path / "out", progress=lambda ready, of: told.append((ready, of)))
    made = contents(tmp_path / "out")
    assert set(made) == {"web1.csv", "db/disk.csv", "db/deep/x.y.csv"}
    assert {name: len(text.splitlines()) - 1 for name, text in made.items()} == {
        "web1.csv": 120,
        "db/disk.csv": 130,
        "db/deep/x.y.csv": 90,
    }
    assert (done.files, done.rows) == (3, 340)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_two_workers_write_what_one_writes(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    score_path(source, tmp_path / "one")
    score_path(source, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_files_of_a_folder_know_nothing_of_one_another(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    score_path(source, tmp_path / "together")
    score_path(source / "db" / "disk.csv.gz", tmp_path / "alone.csv")
    write(source / "web1.csv", series(120, 9) * 1000)
    score_path(source, tmp_path / "again")
    alone = (tmp_path / "alone.csv").read_bytes()
    assert (
        alone == (tmp_path / "together" / "db" / "disk.csv").read_bytes() == (tmp_path / "again" / "db" / "disk.csv").read_bytes()
    )
    assert (tmp_path / "again" / "web1.csv").read_bytes() != (tmp_path / "together" / "web1.csv").read_bytes()


def test_scores_that_lie_inside_the_folder_are_not_scored_again(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    score_path(source, source / "scores")
    before = contents(source)
    assert score_path(source, source / "scores").files == 3
    assert contents(source) == before


def test_one_file_goes_into_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    score_path(write(tmp_path / "disk.csv.gz", series(60)), tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {"disk.csv"}


# --- what a person must mend --------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    told = problems(tmp_path / "nothing.csv", tmp_path / "out")
    assert told == (f"{tmp_path / 'nothing.csv'}: is not there; a file or a folder was expected",)
    assert not (tmp_path / "out").exists()


def test_a_cell_that_is_no_number_is_told_with_its_place_and_the_other_files_are_scored(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    (source / "bad.csv").write_text(f"timestamp,cpu,io\n{T0},1,2\n{T0 + HOUR},1,n/a\n{T0 + 2 * HOUR},oops,2\n")
    told = problems(source, tmp_path / "out")
    assert told == (f'{source / "bad.csv"}:3: io: "n/a" is not a number', f'{source / "bad.csv"}:4: cpu: "oops" is not a number')
    assert set(contents(tmp_path / "out")) == {"web1.csv", "db/disk.csv", "db/deep/x.y.csv"}


def test_a_detector_that_does_not_exist_is_told_with_the_nearest(tmp_path: Path) -> None:
    source = write(tmp_path / "disk.csv", series(60))
    (told,) = problems(source, tmp_path / "said.csv", detectors=("seasnal",))
    assert told == '--detectors: no detector "seasnal" (did you mean "seasonal"?)'
    assert "at least one" in problems(source, tmp_path / "said.csv", detectors=())[0]
    assert not (tmp_path / "said.csv").exists()


def test_a_time_zone_that_does_not_exist(tmp_path: Path) -> None:
    (told,) = problems(write(tmp_path / "disk.csv", series(60)), tmp_path / "said.csv", timezone="Europe/Pariss")
    assert told.startswith("--timezone: ") and "Europe/Pariss" in told


def test_a_folder_without_series(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("nothing")
    (told,) = problems(tmp_path, tmp_path / "out")
    assert told.startswith(f"{tmp_path}: ") and ".csv" in told


def test_two_files_that_would_become_the_same_scores(tmp_path: Path) -> None:
    for name in ("disk.csv", "disk.csv.gz"):
        write(tmp_path / "in" / name, series(60))
    (told,) = problems(tmp_path / "in", tmp_path / "out")
    assert "disk.csv.gz" in told and str(tmp_path / "in" / "disk.csv") in told


@pytest.mark.parametrize(
    ("text", "word"), [("", "empty"), ("timestamp,label\n1760000400,1\n", "no metric"), ("cpu\n1\n", "time")]
)
def test_a_file_that_holds_no_series(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "disk.csv").write_text(text)
    (told,) = problems(tmp_path / "disk.csv", tmp_path / "said.csv")
    assert told.startswith(f"{tmp_path / 'disk.csv'}") and word in told


def test_scores_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (told,) = problems(write(tmp_path / "disk.csv", series(60)), tmp_path / "file" / "said.csv")
    assert str(tmp_path / "file") in told


def test_the_command_says_one_sentence_per_problem_and_ends_with_two(tmp_path: Path) -> None:
    (tmp_path / "disk.csv").write_text(f"timestamp,cpu\n{T0},1\n{T0 + HOUR},x\n{T0 + 2 * HOUR},y\n")
    command = [sys.executable, "-m", "tocsin", "score", str(tmp_path / "disk.csv"), "-o", str(tmp_path / "said.csv")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 2
    for line, place in zip(lines, ('disk.csv:3: cpu: "x" is not a number', 'disk.csv:4: cpu: "y" is not a number'), strict=True):
        assert line.endswith(place)


# --- real measurements --------------------------------------------------------------------------------------------------


def test_real_measurements_are_judged_from_their_third_day_on(tmp_path: Path) -> None:
    found = sorted(NAB.glob("realKnownCause/*"), key=lambda path: path.stat().st_size) if NAB.is_dir() else []
    found = [path for path in found if path.name.endswith((".csv", ".csv.gz"))]
    if not found:
        pytest.skip("the shared data sets are not here")
    done = score_path(found[0], tmp_path / "said.csv")
    assert done.judged > 0.5 * done.rows > 0
    surprise = np.array([float(cell) for cell in column(tmp_path / "said.csv", "surprise") if cell])
    assert np.mean(surprise >= 3) < 0.05
    assert datetime.fromtimestamp(int(column(tmp_path / "said.csv", "timestamp")[0]), UTC).year > 2000
