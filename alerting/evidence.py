"""Which metrics an incident consists of, and how each looked in its worst bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tocsin.model import Anomaly, Floats, Frame, Fused, Metric, Scores, SeriesKey

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
        wanted = np.asarray(columns, np.int64)
        shares = self._fused.share[rows][:, wanted]
        guilty = (shares >= GOOD_PART) | ((shares == shares.max(axis=0)) & (shares > 0))
        found: list[Anomaly] = []
        for number, key in enumerate(self._fused.index.keys[rows]):
            for frame, scores in self._series:
                at = scores.index.rows.get(key, -1)
                if at < 0:
                    continue
                surprise = scores.surprise[at, wanted + self._columns_before(scores)]
                took_part = np.flatnonzero((guilty[number] | (surprise >= self._part)) & ~np.isnan(surprise))
                if len(took_part):
                    worst = took_part[np.lexsort((-took_part, shares[number, took_part], surprise[took_part]))[-1]]
                    seen = frame.index.rows.get(key, -1)
                    values = frame.values[seen] if seen >= 0 else None
                    found.append(self._anomaly(key, int(wanted[worst]), float(shares[number, worst]), at, scores, frame, values))
        return worst_of(found)

    def _columns_before(self, other: Frame | Scores) -> int:
        return (self._fused.window.start - other.window.start) // self._fused.window.span

    def _anomaly(
        self, key: SeriesKey, column: int, share: float, at: int, scores: Scores, frame: Frame, values: Floats | None
    ) -> Anomaly:
        said = column + self._columns_before(scores)
        band, place, then = self._band(key, column, (scores, at, said))
        return Anomaly(
            metric=key.metric,
            unit=self._metrics[key.metric].unit if key.metric in self._metrics else "",
            value=float("nan") if values is None else float(values[column + self._columns_before(frame)]),
            expected=float(band.expected[place, then]),
            lower=float(band.lower[place, then]),
            upper=float(band.upper[place, then]),
            surprise=float(scores.surprise[at, said]),
            share=share,
            at=self._fused.window.start + column * self._fused.window.span,
            example=self._example(key) if self._example is not None else "",
        )

    def _band(self, key: SeriesKey, column: int, own: tuple[Scores, int, int]) -> tuple[Scores, int, int]:
        """Who says what would have been normal: the detector itself, or the first other one that expects something."""
        scores, at, said = own
        if np.isnan(scores.expected[at, said]):
            for _, other in self._series:
                place, then = other.index.rows.get(key, -1), column + self._columns_before(other)
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
