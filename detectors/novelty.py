"""A value that was not seen before: not at this time of day, or not at all.

Idea and formulas: docs/detection/novelty.md. Two distances, each with its own calibration, speak with one voice, their average:
to the second nearest value within half an hour of the same time of day on the seven days before, and to the third nearest of all
values of those days. What happens every night is not new at night. Second and third, because one earlier incident shall not make
the next one usual. Fails on series that wander (everything is new), and while a lasting shift is younger than two days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.learnt import agreed, learnt_of
from detectors.scales import facts_of, scales
from tocsin.calibration import Tails
from tocsin.model import Baseline, Fitted, Floats, Frame, Ints, Metric, Scores, Window
from tocsin.ports import Plugin, Surroundings
from tocsin.settings import Settings
from tocsin.timegrid import DAY, Calendar

REHEARSAL = 14
DAYS = 7
"""Days that are remembered. Fourteen are no better."""
STEP = 300
"""Seconds between the values that are remembered, where buckets are shorter."""
NEAR = 1800
"""How far from the same time of day a value may be to count as of the same time."""
KEPT = 32
"""Of all values of those days so many are kept: half of them even in rank, half even in value."""
AHEAD = 1.2
"""Days to come are that much further from those remembered than the days of the rehearsal were from theirs."""
AHEAD_OF_COUNTS = 1.6
"""The same where most distances are 0, because values repeat: what was seen of the others is a few steps, and days to come
bring the next."""
LEAST_DAYS = 2
LEAST_VALUES = 40
"""Nothing is judged before a series had values on two days, and that many."""
ROWS = 64
"""Series worked on together, so that the arrays stay in the cache."""
LARGEST_KEPT = 6e4
"""Spreads from the centre; what is further away is remembered as this far."""
_NEVER = np.float32(1e30)
_FAR = np.float32(1e29)

Small = NDArray[np.float32]


class NoveltySettings(Settings):
    """Nothing needs to be set."""


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """See the module. Metrics not named in `metrics` are judged on both sides."""

    calendar: Calendar
    span: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "novelty"

    @property
    def signature(self) -> str:
        return "anomaly"

    @property
    def lookback(self) -> int:
        return 0

    @property
    def _each(self) -> int:
        """Buckets in a step."""
        return -(-STEP // self.span)

    @property
    def _step(self) -> int:
        return self._each * self.span

    @property
    def _slots(self) -> int:
        """Steps in a day."""
        return -(-DAY // self._step)

    @property
    def _reach(self) -> int:
        """Steps to either side that are of the same time of day."""
        return NEAR // self._step

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(self, history: Frame) -> Fitted:
        """Learn from the last three weeks; the rehearsal covers the last two, each day judged by the days before it."""
        facts = facts_of(history.index, self.metrics)
        steps = self._grid(history.window)
        rehearsal = min(REHEARSAL, max(0, len(steps) // self._slots - 1))
        window = Window(int(steps[len(steps) - rehearsal * self._slots]), history.window.end, self.span) if rehearsal else None
        window = window or Window(history.window.end, history.window.end, self.span)
        parts, surprises = [], []
        for first in range(0, max(1, len(history.index)), ROWS):
            rows = slice(first, first + ROWS)
            own = {name: each[rows] for name, each in facts.items()}
            learnt, surprise = self._fit(history.values[rows], history.window, steps, rehearsal, own)
            parts.append(learnt)
            surprises.append(surprise)
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        unknown = np.broadcast_to(np.nan, (len(history.index), len(window)))
        return Fitted(
            baseline=Baseline(
                detector=self.name,
                index=history.index,
                trained_on=history.window,
                arrays={**facts, **arrays},
                facts={"format": 1, "span": self.span, "step": self._step, "days": DAYS, "calendar": repr(self.calendar)},
            ),
            rehearsal=Scores(
                index=history.index,
                window=window,
                surprise=np.concatenate(surprises),
                expected=unknown,
                lower=unknown,
                upper=unknown,
            ),
        )

    def _grid(self, window: Window) -> Ints:
        """Start of each whole step of the last three weeks, the last one ending with the window."""
        most = min(len(window) // self._each, (REHEARSAL + DAYS + 1) * self._slots)
        return window.end - self._step * np.arange(most, 0, -1)

    def _fit(
        self, values: Floats, window: Window, steps: Ints, rehearsal: int, facts: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[np.generic]], Floats]:
        rows, count = len(values), len(steps)
        cut = values[:, len(window) - count * self._each :]
        centre, scale = scales(cut[:, :: self._each])
        scale = np.where(np.isfinite(scale), scale, np.maximum(1e-9 * np.abs(centre), 1e-9))
        x = self._small(cut, centre, scale).reshape(rows, count, self._each)
        remembered = np.where(np.isnan(x[:, :, 0]), _NEVER, x[:, :, 0])
        ring = np.full((rows, self._slots, DAYS), np.nan, np.float16)
        for day in range(min(DAYS, -(-count // self._slots))):
            stop = count - day * self._slots
            start = max(0, stop - self._slots)
            ring[:, self._slot(steps[start:stop]), day] = x[:, start:stop, 0]
        first = count - rehearsal * self._slots
        seen = remembered[:, max(0, count - DAYS * self._slots) :]
        arrays: dict[str, NDArray[np.generic]] = {"centre": centre, "scale": scale, "ring": ring, "seen": _thinned(seen)}
        asked = x[:, first:]
        far = {"hour": self._nearest_at_hour(asked, remembered, first), "ever": self._nearest_ever(asked, remembered, first)}
        days_seen = sum(
            (~np.isnan(x[:, max(0, count - (day + 1) * self._slots) : count - day * self._slots]).all(axis=(1, 2))).astype(int)
            for day in range(-(-count // self._slots))
        )
        enough = (np.asarray(days_seen) >= LEAST_DAYS) if count else np.zeros(rows, np.bool_)
        said, width = [], asked.shape[1] * self._each
        for voice, distance in far.items():
            flat = self._mattering(distance, asked, facts, scale).reshape(rows, width)
            tails = Tails.fit(np.where(enough[:, None], flat, np.float32(np.nan)), LEAST_VALUES)
            tails = tails.widened(np.where(tails.common > 0, AHEAD, AHEAD_OF_COUNTS))
            arrays[f"tails_{voice}"] = tails.to_array()
            said.append(tails.surprise(flat))
        judged = ~np.isnan(asked).reshape(rows, width) & ~np.isnan(arrays["tails_ever"][:, 2].astype(np.float64))[:, None]
        return arrays, agreed(said, judged)

    def _small(self, values: Floats, centre: Floats, scale: Floats) -> Small:
        """Values in spreads from the centre, as they are remembered: equal ones stay equal."""
        with np.errstate(over="ignore"):
            small = np.clip((values - centre[:, None]) / scale[:, None], -LARGEST_KEPT, LARGEST_KEPT).astype(np.float16)
        return small.astype(np.float32)

    def _slot(self, starts: Ints) -> Ints:
        return self.calendar.local_seconds(starts) % DAY // self._step

    def _nearest_at_hour(self, asked: Small, remembered: Small, first: int) -> Small:
        """Distance of each value (n, steps from `first`, buckets in one) to the second nearest of the same time on the days
        before; NaN where there were not two."""
        one, two = np.full(asked.shape, _NEVER), np.full(asked.shape, _NEVER)
        for day in range(1, DAYS + 1):
            for aside in range(-self._reach, self._reach + 1):
                shift = first - day * self._slots + aside
                start = max(0, -shift)
                if start >= asked.shape[1]:
                    continue
                other = remembered[:, start + shift : asked.shape[1] + shift, None]
                distance = np.abs(asked[:, start:] - other)
                np.minimum(two[:, start:], np.maximum(one[:, start:], distance), out=two[:, start:])
                np.minimum(one[:, start:], distance, out=one[:, start:])
        return np.where(two < _FAR, two, np.float32(np.nan))

    def _nearest_ever(self, asked: Small, remembered: Small, first: int) -> Small:
        """Distance of each value to the third nearest of those kept of the seven days before its day."""
        result = np.full(asked.shape, np.nan, np.float32)
        for start in range(0, asked.shape[1], self._slots):
            stop = first + start
            kept = _thinned(remembered[:, max(0, stop - DAYS * self._slots) : stop])
            day = asked[:, start : start + self._slots]
            result[:, start : start + self._slots] = _third(day.reshape(len(day), day.shape[1] * day.shape[2]), kept).reshape(
                day.shape
            )
        return result

    def _mattering(self, distance: Small, x: Small, facts: Mapping[str, NDArray[Any]], scale: Floats) -> Small:
        """Distances in spreads where they matter, else 0: on a side that is watched, and at least as large as a person wants."""
        more = (slice(None), *(None,) * (distance.ndim - 1))
        least = (facts["least"] / scale)[more]
        watched = np.where(x >= 0, facts["up"][more], facts["down"][more])
        return np.where(np.isnan(distance) | (watched & (distance >= least)), distance, np.float32(0))

    # --- judging ------------------------------------------------------------------------------------------------------

    def score(self, frame: Frame, baseline: Baseline, window: Window | None = None) -> Scores:
        """Judge every bucket by the days that were learnt from."""
        own, there = learnt_of(frame.index, baseline, besides="ring")
        same = len(own["ring"]) == len(own["centre"]) and there.all()
        rows = np.arange(len(there)) if same else frame.index.rows_in(baseline.index)
        window = window or frame.window
        values = frame.values[:, window.columns_in(frame.window)]
        x = self._small(values, own["centre"], own["scale"])
        slots = self._slot(window.starts)
        hour = np.empty(x.shape, np.float32)
        reach = np.arange(-self._reach, self._reach + 1)
        for slot in np.unique(slots):
            columns = np.flatnonzero(slots == slot)
            wanted = (slot + reach) % self._slots
            for first in range(0, len(x), ROWS * 8):
                part = slice(first, first + ROWS * 8)
                ring = own["ring"][part] if same else own["ring"][rows[part]]
                near = ring[:, wanted] if wanted[0] > wanted[-1] else ring[:, wanted[0] : wanted[-1] + 1]
                hour[part, columns] = _second(
                    x[part][:, columns], near.reshape(len(near), near.shape[1] * near.shape[2]).astype(np.float32)
                )
        ever = _third(x, own["seen"])
        said = [
            Tails.from_array(own[f"tails_{voice}"]).surprise(self._mattering(distance, x, own, own["scale"]))
            for voice, distance in (("hour", hour), ("ever", ever))
        ]
        judged = ~np.isnan(x) & (~np.isnan(own["tails_ever"][:, 2]) & there)[:, None]
        unknown = np.broadcast_to(np.nan, x.shape)
        return Scores(
            index=frame.index, window=window, surprise=agreed(said, judged), expected=unknown, lower=unknown, upper=unknown
        )


def _second(x: Small, near: Small) -> Small:
    """Distance of each of x (n, k) to the second nearest of its row's values (n, m), NaN ones left out; NaN without two."""
    result = np.empty(x.shape, np.float32)
    near = np.where(np.isnan(near), _NEVER, near)
    for column in range(x.shape[1]):
        distance = np.abs(near - x[:, column, None])
        nearest = distance.argmin(axis=1)[:, None]
        np.put_along_axis(distance, nearest, _NEVER, axis=1)
        result[:, column] = distance.min(axis=1)
    return np.where(result < _FAR, result, np.float32(np.nan))


def _thinned(remembered: Small) -> NDArray[np.float16]:
    """What decides the distance to the third nearest of many values (n, m): middle and half length of the shortest stretches
    that hold three of them, `KEPT` of them, (n, 2, KEPT). NaN where a row has not three values."""
    rows, count = remembered.shape
    if count < 3:
        return np.full((rows, 2, KEPT), np.nan, np.float16)
    rising = np.sort(remembered, axis=1)
    many = np.count_nonzero(rising < _FAR, axis=1) - 2
    low, high = rising[:, :-2], rising[:, 2:]
    last = np.maximum(many - 1, 0)
    half = KEPT // 2
    ranks = np.round(np.linspace(0.0, 1.0, half) * last[:, None]).astype(np.int64)
    lowest, highest = low[:, 0], np.take_along_axis(high, last[:, None], axis=1)[:, 0]
    wanted = lowest[:, None] + (highest - lowest)[:, None] * (np.arange(half) + 0.5) / half
    middle = (low + high) / 2
    # Where in the sorted values each wanted one would be: counted, because rows cannot be searched together.
    found_at = [np.searchsorted(row[: max(1, m)], value) for row, value, m in zip(middle, wanted, many, strict=True)]
    by_value = np.reshape(found_at, (rows, half)).astype(np.int64)
    places = np.concatenate([ranks, np.minimum(by_value, last[:, None])], axis=1)
    found = np.stack([np.take_along_axis(middle, places, axis=1), np.take_along_axis(high - low, places, axis=1) / 2], axis=1)
    kept: NDArray[np.float16] = np.clip(found, -LARGEST_KEPT, LARGEST_KEPT).astype(np.float16)
    kept[many < 1] = np.nan
    return kept


def _third(x: Small, kept: NDArray[np.float16]) -> Small:
    """Distance of each of x (n, k) to the third nearest of the values that `kept` was made of, about."""
    middle, half = kept[:, 0].astype(np.float32), kept[:, 1].astype(np.float32)
    result = np.full(x.shape, _NEVER)
    for place in range(KEPT):
        np.minimum(result, np.abs(x - middle[:, place, None]) + half[:, place, None], out=result)
    return np.where(result < _FAR, result, np.float32(np.nan))


def _build(_settings: NoveltySettings, surroundings: Surroundings) -> Novelty:
    return Novelty(calendar=surroundings.calendar, span=surroundings.span, metrics=surroundings.metrics)


PLUGIN = Plugin(name="novelty", summary="A value that was not seen before", settings=NoveltySettings, build=_build)
