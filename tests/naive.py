"""The definitions, slow and plain: what the fast versions must agree with."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from detectors import change
from tocsin import calibration
from tocsin.model import Aggregate, Desired, Fitted, Floats, Frame, Scores, SeriesIndex, SeriesKey, ServiceKey, Window

# --- alerting -----------------------------------------------------------------------------------------------------------


def naive_judge(values: list[float], rules: Any, span: int = 60) -> tuple[list[bool], list[tuple[int, str, int]]]:
    """One component's buckets, one after the other, as the rules are written: (is it open?, [(bucket end, kind, code)])."""
    alert: list[bool] = []
    steps: list[tuple[int, str, int]] = []
    severity, calm, count_from = 0, 0, 0
    recovered: int | None = None
    last, last_bad, flapping = 0, 0, False
    returns: list[int] = []
    for now, value in enumerate(values):
        if severity == 0:
            recent = [b for b in range(count_from, now + 1) if b > now - rules.open_of and values[b] >= rules.open_surprise]
            if value >= rules.open_surprise and len(recent) >= rules.open_buckets:
                severity = 2 if max(values[b] for b in recent) >= rules.critical_surprise else 1
                again = recovered is not None and (recent[0] - recovered) * span <= rules.reopen
                returns = [one for one in returns if (now + 1 - one) * span < rules.flap_within] + [now + 1] if again else []
                flapping = len(returns) >= rules.flap_times
                severity = max(severity, last) if flapping else severity
                steps.append((now + 1, "flapping" if flapping else "reopened" if again else "opened", severity))
                calm, count_from, last_bad = 0, now + 1, now
        elif not math.isnan(value):
            calm = 0 if value >= rules.critical_surprise else calm + 1
            last_bad = now if value >= rules.open_surprise else last_bad
            good = [b for b in range(count_from, now + 1) if b > now - rules.close_of and values[b] < rules.close_surprise]
            quiet = not flapping or (now - last_bad) * span >= rules.flap_calm
            if value < rules.close_surprise and len(good) >= rules.close_buckets and quiet:
                last, severity, recovered, count_from = severity, 0, now + 1, now + 1
                steps.append((now + 1, "recovered", 0))
            elif calm == 0 and severity < 2:
                severity = 2
                steps.append((now + 1, "worse", 2))
            elif calm >= rules.better_buckets and severity == 2 and not flapping:
                severity = 1
                steps.append((now + 1, "better", 1))
        alert.append(severity > 0)
    return alert, steps


def naive_onset(values: list[float], recent: int, calm: float, calm_for: int) -> list[float]:
    """Each value that is higher than all known ones of the `recent` before it, and than all of the trouble it belongs to: those
    that reached `calm`, back to where no more than `calm_for` lie between two of them. 0 for the others, NaN stays NaN."""
    told = []
    for now, value in enumerate(values):
        before = [other for other in values[max(0, now - recent) : now] if not math.isnan(other)]
        first = now
        for then in range(now - 1, -1, -1):
            if value >= calm and values[then] >= calm and first - then <= calm_for:
                before.append(values[then])
                first = then
        told.append(value if math.isnan(value) or all(value > other for other in before) else 0.0)
    return told


def naive_rates(values: Floats, span: int) -> Floats:
    """Growth per second of a counter, bucket by bucket; what it shows after a reset is what it grew."""
    rates = []
    for before, after in zip(values, values[1:], strict=False):
        rates.append((after if after < before else after - before) / span)
    return np.array(rates)


def naive_engine(stream: bytes) -> list[tuple[str, ...]]:
    """What a monitoring engine makes of the bytes in its command file: (command, host, service, code, text, perfdata).

    Reads as the engine does: 8,190 bytes at a time at most, the rest of a longer line is a line of its own; a name up to
    the first `;`, three more fields; the escapes taken out by four blind replacements; perfdata after the last `|`.
    """
    commands: list[tuple[str, ...]] = []
    while stream:
        end = stream.find(b"\n")
        size = min(8190, end + 1 if end >= 0 else len(stream))
        raw, stream = stream[:size], stream[size:]
        line = raw.split(b"\0")[0].decode(errors="replace").rstrip("\n")
        for escape, char in (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\\\", "\\")):
            line = line.replace(escape, char)
        stamp, _, rest = line.partition("] ")
        if not (stamp.startswith("[") and stamp[1:].isdigit()):
            commands.append(("junk", line))
            continue
        name, *arguments = rest.split(";", 4)
        output, _, perf = arguments[3].rpartition("|") if len(arguments) == 4 and "|" in arguments[3] else (arguments[-1], "", "")
        commands.append((name, *arguments[:3], output, perf))
    return commands


# --- files --------------------------------------------------------------------------------------------------------------


def naive_files(
    paths: list[Path], keys: list[SeriesKey], window: Window, aggregates: dict[str, str], zone: str = "UTC", shift: int = 0
) -> Floats:
    """CSV files read cell by cell: every sample in a dict, then every bucket from its samples."""
    samples: dict[tuple[str, str], dict[int, float]] = {}
    for path in sorted(paths, key=str):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        whole = data if path.suffix == ".gz" else data[: data.rfind(b"\n") + 1]
        for row in csv.DictReader(io.StringIO(whole.decode("utf-8-sig"), newline="")):
            if None in row or None in row.values():
                continue  # more or fewer cells than the header
            cell = row["timestamp"]
            try:
                time = int(Decimal(cell).scaleb(6 - shift).to_integral_value())
            except InvalidOperation:
                moment = datetime.fromisoformat(cell)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
                time = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            if "value" in row:
                found = {(row["component"], row["metric"]): row["value"]}
            else:
                stem = path.name.removesuffix(".gz").removesuffix(".csv")
                found = {
                    (row.get("component", stem), name): text
                    for name, text in row.items()
                    if name not in ("timestamp", "label", "component")
                }
            for key, text in found.items():
                try:
                    value = float(text)
                except ValueError:
                    continue
                if math.isfinite(value):
                    samples.setdefault(key, {})[time] = value
    values = np.full((len(keys), len(window)), np.nan)
    for line, key in enumerate(keys):
        mine = samples.get((key.component, key.metric), {})
        for column, start in enumerate(window.starts.tolist()):
            inside = [mine[time] for time in sorted(mine) if start * 10**6 <= time < (start + window.span) * 10**6]
            if inside:
                how = aggregates.get(key.metric, "mean")
                values[line, column] = {
                    "mean": sum(inside) / len(inside),
                    "sum": sum(inside),
                    "min": min(inside),
                    "max": max(inside),
                    "last": inside[-1],
                    "count": len(inside),
                }[how]
    return values


# --- store --------------------------------------------------------------------------------------------------------------


class NaiveDesired:
    """The desired state as a dictionary: what the port DesiredStore says, and what a tick may write."""

    def __init__(self) -> None:
        self.rows: dict[ServiceKey, Desired] = {}

    def want(self, wanted: list[Desired]) -> None:
        for row in {row.service: row for row in wanted}.values():
            old = self.rows.get(row.service)
            if old is None:
                self.rows[row.service] = row
                continue
            new = replace(
                old, code=row.code, text=row.text, perf=row.perf, changed_at=row.changed_at, valid_until=row.valid_until
            )
            if row.version != old.version:
                new = replace(new, version=row.version, must_show=row.must_show, next_due_at=row.next_due_at)
            self.rows[row.service] = new

    def due(self, now: float, limit: int) -> list[Desired]:
        def order(row: Desired) -> tuple[bool, int, float, ServiceKey]:
            shown = row.last_seen_at is not None and row.last_seen_at >= row.changed_at and row.last_seen_code in (None, row.code)
            worst = row.code if row.must_show is None else row.must_show
            return shown, [2, 1, 3, 0].index(worst), row.next_due_at, row.service

        return sorted((row for row in self.rows.values() if row.next_due_at <= now < row.valid_until), key=order)[:limit]

    def all_desired(self) -> list[Desired]:
        return [self.rows[service] for service in sorted(self.rows)]

    def record(self, before: list[Desired], after: list[Desired]) -> None:
        for old, new in zip(before, after, strict=True):
            row = self.rows.get(old.service)
            if row is None:
                continue
            mine = ("last_sent_at", "last_check_time", "last_seen_code", "last_seen_at", "attempts", "error")
            row = replace(row, **{name: getattr(new, name) for name in mine})
            if row.version == old.version:
                row = replace(row, must_show=new.must_show, next_due_at=new.next_due_at)
            self.rows[old.service] = row


class NaiveHistory:
    """The history as a dictionary: (component type, span, series, bucket) → value, for every cell that is known."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int, SeriesKey, int], float] = {}

    def append(self, component_type: str, frame: Frame) -> None:
        for row, key in enumerate(frame.index):
            for column, start in enumerate(frame.window.starts.tolist()):
                if frame.known[row, column]:
                    self.cells[component_type, frame.window.span, key, start] = frame.values[row, column]

    def prune(self, before: float) -> None:
        edge = before // 86_400 * 86_400
        self.cells = {place: value for place, value in self.cells.items() if place[3] >= edge}

    def read(self, component_type: str, window: Window, index: SeriesIndex) -> Frame:
        frame = Frame.unknown(index, window)
        for row, key in enumerate(index):
            for column, start in enumerate(window.starts.tolist()):
                if (place := (component_type, window.span, key, start)) in self.cells:
                    frame.values[row, column], frame.known[row, column] = self.cells[place], True
        return frame


# --- detectors ----------------------------------------------------------------------------------------------------------


def naive_gaps(there: list[bool], known: list[bool], most: int, weights: list[float], *, from_start: bool) -> list[float]:
    """One series' buckets without value among the last `most`, after the last one with a value; what is not known is not
    counted. Nothing is known of a gap that began before the series did, unless it is counted `from_start`."""
    gaps = []
    for now, (here, asked) in enumerate(zip(there, known, strict=True)):
        past = range(max(0, now - most + 1), now + 1)
        after = max((at for at in range(now + 1) if there[at]), default=-1)
        gap = float(sum(weights[at] for at in past if at > after and known[at] and not there[at]))
        gaps.append(gap if (here or asked) and (from_start or after >= 0) else math.nan)
    return gaps


def naive_fused_mean(surprises: list[float], top: int = 6, cap: float = 12.0) -> float:
    """The mean of the largest sixth of a component's surprises in one bucket, three at least; NaN when none is judged."""
    judged = sorted((min(one, cap) for one in surprises if not math.isnan(one)), reverse=True)
    most = min(len(surprises), max(3, len(surprises) // top))
    return sum(judged[:most]) / most if judged else math.nan


def naive_path_length(nodes: list[list[int]], leaves: list[list[int]], row: list[int]) -> float:
    """Mean path length of one row in full binary trees of `feature << 8 | threshold`, leaves in sixteenths of a level."""
    total = 0
    for tree, ends in zip(nodes, leaves, strict=True):
        at = 1
        while at < len(tree):
            feature, threshold = divmod(tree[at], 256)
            at = 2 * at + (row[feature] > threshold)
        total += ends[at - len(tree)]
    return total / len(nodes) / 16


def naive_chernoff(count: float, rate: float, clump: float, alike: float) -> float:
    """-log10 of the smallest bound exp(-t * count) * E[exp(t * X)] on a tail of a negative binomial X of that mean whose variance
    is rate * (clump + alike * rate), t searched for on a grid; towards `count` from the mean."""
    size = rate / (clump - 1 + alike * rate)
    odds = rate / (rate + size)
    best = 0.0
    for step in range(1, 20_001):
        t = -math.log(odds) * step / 20_001 if count > rate else -step / 1000
        moment = size * (math.log(1 - odds) - math.log(1 - odds * math.exp(t)))
        best = max(best, t * count - moment)
    return best / math.log(10)


# --- calibration --------------------------------------------------------------------------------------------------------


def naive_tail(past: list[float], least: int, deviation: float) -> float:
    """Surprise of a deviation after these past ones (NaN = none), as the definition reads.

    The deviation exceeded with chance p is the ceil(p * (n + 1))-th largest of n. Between 0 and the ones of 0.3, 0.1 and
    0.05 surprise is linear; beyond the last goes an exponential tail. Its scale is the mean excess over the last one, the
    largest share of the excesses cut down to the largest of the others, with three more excesses of the size that an
    exponential body has.
    """
    seen = sorted((value for value in past if not math.isnan(value)), reverse=True)
    n = len(seen)
    if n < least or math.isnan(deviation):
        return math.nan
    some = sum(value > 0 for value in seen)
    common, rare, far = (seen[min(n, math.ceil(chance * (n + 1))) - 1] for chance in (0.3, 0.1, 0.05))
    last = -math.log10(0.05 if far > 0 else min(0.05, (some + 1) / (n + 1)))
    excesses = [value - far for value in seen[: min(math.floor(0.05 * (n + 1)), some)]]
    cut = int(calibration.WINSOR * len(excesses))
    excesses = [min(excess, excesses[cut]) for excess in excesses]
    total = sum(excesses) / (1 - calibration.WINSOR if len(excesses) >= 1 / calibration.WINSOR else 1)
    body = far / -math.log(0.05) if far > 0 else 1.0
    mean = max((total + calibration.PRIOR * body) / (len(excesses) + calibration.PRIOR), far / calibration.STEEPEST, 1e-12)
    surprise = 0.0
    for before, after, low, high in (
        (0.0, common, 0.0, -math.log10(0.3)),
        (common, rare, -math.log10(0.3), 1.0),
        (rare, far, 1.0, last),
    ):
        if deviation >= after and deviation > before:
            surprise = high
        elif deviation > before:
            return low + (high - low) * (deviation - before) / (after - before)
    if deviation <= far or not some:
        return surprise
    return surprise + (deviation - far) / mean / math.log(10)


# --- checks -------------------------------------------------------------------------------------------------------------


def checks_in_buckets(checks: Sequence[tuple[int, float]], window: Window, aggregate: Aggregate, stands: int) -> list[float]:
    """What the results of one series of checks (time, value; NaN for one without a value) say of each bucket of a window."""
    by_time: dict[int, list[float]] = {}
    for when, value in checks:
        by_time.setdefault(when, []).append(value)
    once = []
    for when in sorted(by_time):
        numbers = [value for value in by_time[when] if abs(value) <= 1e30]
        once.append((when, sum(numbers) / len(numbers) if numbers else math.nan))
    result = []
    for start in range(window.start, window.end, window.span):
        own = [value for when, value in once if start <= when < start + window.span]
        numbers = [value for value in own if not math.isnan(value)]
        before = [(when, value) for when, value in once if when < start]
        if numbers:
            result.append(_aggregate_of(numbers, aggregate))
        elif not own and before and start < before[-1][0] + stands and aggregate not in (Aggregate.SUM, Aggregate.COUNT):
            result.append(before[-1][1])
        else:
            result.append(math.nan)
    return result


def _aggregate_of(numbers: Sequence[float], aggregate: Aggregate) -> float:
    """`numbers` in order of time, at least one."""
    if aggregate.value.startswith("p"):
        return float(np.percentile(numbers, int(aggregate.value[1:])))
    return {
        Aggregate.MEAN: lambda: sum(numbers) / len(numbers),
        Aggregate.SUM: lambda: sum(numbers),
        Aggregate.MIN: lambda: min(numbers),
        Aggregate.MAX: lambda: max(numbers),
        Aggregate.LAST: lambda: numbers[-1],
        Aggregate.COUNT: lambda: float(len(numbers)),
    }[aggregate]()


def naive_aggregate(samples: list[tuple[int, float]], start: int, span: int, buckets: int, kind: str) -> list[float]:
    """Samples (time, value) in any order → one value per bucket, NaN where there is none."""
    found: list[float] = []
    for bucket in range(buckets):
        inside = sorted((time, value) for time, value in samples if start + bucket * span <= time < start + (bucket + 1) * span)
        values = [value for _, value in inside]
        made = {"mean": lambda v: sum(v) / len(v), "sum": sum, "min": min, "max": max, "last": lambda v: v[-1], "count": len}[
            kind
        ]
        found.append(float(made(values)) if values else math.nan)
    return found


def naive_recent_mean(values: list[float], at: int) -> float:
    """The exponentially weighted mean of the values before the one at `at`, as far as the memory goes; the value itself where
    none of them is known."""
    total = weight = 0.0
    for back in range(1, change.MEMORY + 1):
        if at - back >= 0 and not math.isnan(values[at - back]):
            total += (1 - change.FORGET) ** (back - 1) * values[at - back]
            weight += (1 - change.FORGET) ** (back - 1)
    return total / weight if weight else values[at]


def naive_trailing_mean(values: list[float], at: int, width: int) -> float:
    """The mean of the known ones of the value at `at` and the `width - 1` before it."""
    known = [values[place] for place in range(max(0, at - width + 1), at + 1) if not math.isnan(values[place])]
    return sum(known) / len(known) if known else math.nan


def naive_half_hour(values: list[float], start: int, span: int, first: int) -> tuple[float, int]:
    """Sum and number of the known buckets (the first begins at `start`) whose centre lies in the half-hour from `first` on, or,
    where buckets are longer than that, of the one that holds the half-hour's centre."""
    known = []
    for place, value in enumerate(values):
        begin = start + place * span
        here = first <= begin + span // 2 < first + 1800 if span <= 1800 else begin <= first + 900 < begin + span
        known += [value] if here and not math.isnan(value) else []
    return sum(known), len(known)


def naive_nearest(values: list[float], asked: float, nth: int) -> float:
    """Distance to the nth nearest of the known values."""
    distances = sorted(abs(value - asked) for value in values if not math.isnan(value))
    return distances[nth - 1] if len(distances) >= nth else math.nan


# --- the same to rounding -----------------------------------------------------------------------------------------------


def same_scores(one: Scores, other: Scores) -> None:
    """Two ways to the same judgement, to rounding."""
    assert (one.index, one.window) == (other.index, other.window)
    for name in ("surprise", "expected", "lower", "upper"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9, err_msg=name)


def same_fitted(one: Fitted, other: Fitted) -> None:
    """Two ways to the same knowledge, to rounding."""
    mine, theirs = one.baseline, other.baseline
    assert (mine.detector, mine.index, mine.trained_on) == (theirs.detector, theirs.index, theirs.trained_on)
    assert dict(mine.facts) == dict(theirs.facts)
    assert set(mine.arrays) == set(theirs.arrays)
    for name, array in theirs.arrays.items():
        assert mine.arrays[name].dtype == array.dtype
        np.testing.assert_allclose(mine.arrays[name], array, rtol=1e-5, atol=1e-9, err_msg=name)
    same_scores(one.rehearsal, other.rehearsal)


def naive_at_hour(values: list[float], locals_: list[datetime], a_day: int, before: int) -> list[float]:
    """How far each value, but those of the first `before` days of so many buckets, is outside the second nearest of the ranges of
    the values that those days before its own had in its half-hour of the local day."""
    seen: dict[tuple[int, int], list[float]] = {}
    found = []
    for bucket, (value, local) in enumerate(zip(values, locals_, strict=True)):
        day, half = bucket // a_day, (local.hour * 60 + local.minute) // 30
        if not math.isnan(value):
            seen.setdefault((day, half), []).append(value)
        if day >= before:
            near = [seen[earlier, half] for earlier in range(day - before, day) if (earlier, half) in seen]
            outside = sorted(max(min(one) - value, value - max(one), 0.0) for one in near)
            found.append(math.nan if math.isnan(value) or len(outside) < 2 else outside[1])
    return found


def naive_between_centres(table: list[float], start: int, span: int, first: int) -> float:
    """What a value per half-hour from `first` says of the bucket at `start`: linear between their centres, constant beyond."""
    place = min(max((start + span / 2 - first) / 1800 - 0.5, 0.0), len(table) - 1.0)
    below = min(int(place), max(0, len(table) - 2))
    return table[below] + (place - below) * (table[min(below + 1, len(table) - 1)] - table[below])


# --- jumps --------------------------------------------------------------------------------------------------------------


def naive_told(surprises: list[float], at: int, span: int) -> float:
    """What `change` tells of a bucket: half the mean of its surprise and the two before it, half the largest of its own and the
    news of the last ten minutes, which fades to half in 400 seconds. None counts more than 12, unknown ones nothing."""
    if math.isnan(surprises[at]):
        return math.nan
    lately = [0.0 if math.isnan(one) else min(one, 12.0) for one in surprises[: at + 1]][::-1]
    held = [one * 0.5 ** (back * span / 400) for back, one in enumerate(lately) if back * span <= 600 and one >= 3]
    return (sum(lately[:3]) / 3 + max([lately[0], *held])) / 2


def naive_noise(past: list[float], slots: list[int], span: int) -> list[float]:
    """Square root of how much each local half-hour and its two neighbours move in proportion to all, 0.3 at least; what is more
    than four times the mean counts as that, and the mean is taken twice so. 1 with less than a day of known values."""
    known = [value for value in past if not math.isnan(value)]
    if span > 1800 or len(known) < 86_400 // span or not any(known):
        return [1.0] * 48
    ceiling = math.inf
    for _ in range(2):
        ceiling = 4 * sum(min(value, ceiling) for value in known) / len(known)
    overall = sum(min(value, ceiling) for value in known) / len(known)
    means = []
    for slot in range(48):
        here = [min(value, ceiling) for value, of in zip(past, slots, strict=True) if of == slot and not math.isnan(value)]
        means.append(sum(here) / len(here) if here else overall)
    near = [(means[slot - 1] + means[slot] + means[(slot + 1) % 48]) / 3 for slot in range(48)]
    return [max(0.3, math.sqrt(one / overall)) for one in near]


def naive_jump(past: list[float], slots: list[int], span: int, distance: float, slot: int) -> float:
    """Surprise of a distance in a local half-hour, for a series that stands alone, after these distances in these half-hours."""
    noise = naive_noise(past, slots, span)
    past = [value / noise[of] for value, of in zip(past, slots, strict=True)]
    distance /= noise[slot]
    known = sorted((value for value in past if not math.isnan(value)), reverse=True)
    n, some = len(known), sum(value > 0 for value in known)
    if n < 40 or math.isnan(distance):
        return math.nan
    far = known[min(n, math.ceil(0.05 * (n + 1))) - 1]
    if distance <= far:
        return naive_tail(past, 40, distance)
    last = -math.log10(0.05 if far > 0 else min(0.05, (some + 1) / (n + 1)))
    pooled = 2 * (naive_tail(past, 40, far + 1) - naive_tail(past, 40, far + 0.5))
    blocks = [past[max(0, end - 150) : end] for end in range(len(past), 0, -150)]
    for each in (4, 3, 2, 1):
        largest, sizes = [], []
        for first in range(0, len(blocks) - each + 1, each):
            parts = [[value for value in block if not math.isnan(value)] for block in blocks[first : first + each]]
            if min(map(len, parts)) >= 75:
                largest.append(max(map(max, parts)))
                sizes.append(sum(map(len, parts)))
        if len(largest) >= 4 and some and median(largest) > far:
            orders = max(0.3, math.log10(sum(sizes) / len(sizes) / math.log(2)) - last)
            return min(300.0, last + orders * (distance - far) / max(median(largest) - far, far / 12))
    body = sum(min(value, far) for value in known) / n
    outright = max(pooled, 1 / (math.log(10) * body) if body else 0.0)
    limit = far + (max(0.0, 3 - last) / pooled if pooled else math.inf)
    return min(300.0, last + pooled * (distance - far) + (outright - pooled) * max(0.0, distance - limit))
