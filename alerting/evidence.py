"""Which metrics an incident consists of, and how each looked in its worst bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tocsin.model import Anomaly, Frame, Fused, Ints, Metric, Scores, SeriesIndex, SeriesKey

MOST = 10
"""At most this many metrics are kept of one incident, the worst ones."""

GOOD_PART = 0.1
"""A metric with this share of its component's surprise took part, however unsurprising it is alone."""


class Evidence:
    """What the detectors said, ready to be asked about the few components that have an incident.

    `series` holds, for each detector of the signature, the frame it saw and what it said of it. The frames may reach
    further back than `fused.window`, and a row may be missing in any of them. `example` gives a log line behind a series.
    """

    def __init__(
        self,
        fused: Fused,
        series: Sequence[tuple[Frame, Scores]],
        metrics: Mapping[str, Metric],
        part_surprise: float,
        example: Callable[[SeriesKey], str] | None = None,
    ) -> None:
        self._fused, self._series, self._metrics, self._part = fused, series, metrics, part_surprise
        self._example = example
        self._ends = np.r_[fused.index.component_starts, len(fused.index)]

    def of(self, component: int, columns: Sequence[int]) -> tuple[Anomaly, ...]:
        """The metrics that took part in these columns of `fused.window`, each in its worst bucket.

        A metric takes part in a bucket when it is surprising itself, caused a good part of the component's surprise, or
        caused more of it than any other.
        """
        if not self._series or not len(columns):
            return ()
        rows = slice(int(self._ends[component]), int(self._ends[component + 1]))
        keys, wanted = self._fused.index.keys[rows], np.asarray(columns, np.int64)
        shares = self._fused.share[rows][:, wanted]
        guilty = (shares >= GOOD_PART) | ((shares == shares.max(axis=0)) & (shares > 0))
        worst: dict[int, tuple[tuple[float, float, int], Scores, Frame, int]] = {}
        for frame, scores in self._series:
            theirs = self._rows_in(scores.index, rows)
            here = np.flatnonzero(theirs >= 0)
            surprise = scores.surprise[theirs[here][:, None], wanted + self._columns_before(scores)]
            took_part = (guilty[here] | (surprise >= self._part)) & ~np.isnan(surprise)
            for place in np.flatnonzero(took_part.any(axis=1)).tolist():
                number = int(here[place])
                looks = np.flatnonzero(took_part[place])
                seen = looks[0]
                if len(looks) > 1:
                    seen = looks[np.lexsort((-looks, shares[number, looks], surprise[place, looks]))[-1]]
                badness = float(surprise[place, seen]), float(shares[number, seen]), -int(wanted[seen])
                if number not in worst or badness > worst[number][0]:
                    worst[number] = badness, scores, frame, int(theirs[number])
        # Only of those that are kept everything is asked.
        kept = sorted(sorted(worst), key=lambda number: worst[number][0], reverse=True)[:MOST]
        return tuple(self._anomaly(keys[number], *worst[number]) for number in kept)

    def _rows_in(self, other: SeriesIndex, rows: slice) -> Ints:
        """Where our rows lie in another index, -1 where they do not."""
        if other is self._fused.index:
            return np.arange(rows.start, rows.stop)
        return np.array([other.rows.get(key, -1) for key in self._fused.index.keys[rows]], np.int64)

    def _columns_before(self, other: Frame | Scores) -> int:
        return (self._fused.window.start - other.window.start) // self._fused.window.span

    def _anomaly(self, key: SeriesKey, badness: tuple[float, float, int], scores: Scores, frame: Frame, at: int) -> Anomaly:
        surprise, share, column = badness[0], badness[1], -badness[2]
        band, place, then = self._band(key, column, (scores, at, column + self._columns_before(scores)))
        seen = at if frame.index is scores.index else frame.index.rows.get(key, -1)
        return Anomaly(
            metric=key.metric,
            unit=self._metrics[key.metric].unit if key.metric in self._metrics else "",
            value=float(frame.values[seen, column + self._columns_before(frame)]) if seen >= 0 else float("nan"),
            expected=float(band.expected[place, then]),
            lower=float(band.lower[place, then]),
            upper=float(band.upper[place, then]),
            surprise=surprise,
            share=share,
            at=self._fused.window.start + column * self._fused.window.span,
            example=self._example(key) if self._example is not None else "",
            own=1.0 if band.own is None else float(band.own[place]),
        )

    def _band(self, key: SeriesKey, column: int, own: tuple[Scores, int, int]) -> tuple[Scores, int, int]:
        """Who says what would have been normal: the detector itself, or the first other one that expects something."""
        scores, at, said = own
        if np.isnan(scores.expected[at, said]):
            for _, other in self._series:
                place = at if other.index is scores.index else other.index.rows.get(key, -1)
                then = column + self._columns_before(other)
                if place >= 0 and 0 <= then < len(other.window) and not np.isnan(other.expected[place, then]):
                    return other, place, then
        return own


def worst_of(anomalies: Iterable[Anomaly]) -> tuple[Anomaly, ...]:
    """Each metric once in its worst bucket, worst metric first, at most `MOST`.

    Feeding the answer back in together with later anomalies gives the same as asking once with all of them.
    """
    by_metric: dict[str, Anomaly] = {}
    for anomaly in anomalies:
        known = by_metric.get(anomaly.metric)
        if known is None or _badness(anomaly) > _badness(known):
            by_metric[anomaly.metric] = anomaly
    ranked = sorted(by_metric.values(), key=lambda anomaly: anomaly.metric)
    return tuple(sorted(ranked, key=_badness, reverse=True)[:MOST])


def _badness(anomaly: Anomaly) -> tuple[float, float, int]:
    """Compares two looks at a metric: the more surprising one, then the larger share, then the earlier."""
    return anomaly.surprise, anomaly.share, -anomaly.at
