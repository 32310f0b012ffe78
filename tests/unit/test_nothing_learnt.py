"""A baseline that knows no series at all, and a component whose every series is new: nothing is judged, nothing breaks."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.change import Change
from detectors.fuse import Fusion
from detectors.level import Level
from detectors.novelty import Novelty
from detectors.seasonal import Seasonal
from detectors.silence import Silence
from tocsin.model import Frame, Scores, SeriesIndex, SeriesKey, Window
from tocsin.ports import Detector
from tocsin.timegrid import DAY, Calendar

SPAN = 1800
NOBODY = SeriesIndex([])
SOMEBODY = SeriesIndex([SeriesKey("web", "cpu"), SeriesKey("web", "io")])
DETECTORS: dict[str, Detector] = {
    "seasonal": Seasonal(calendar=Calendar("UTC"), span=SPAN),
    "change": Change(span=SPAN),
    "level": Level(calendar=Calendar("UTC"), span=SPAN),
    "novelty": Novelty(calendar=Calendar("UTC"), span=SPAN),
    "silence": Silence(span=SPAN),
}


def frame(index: SeriesIndex, days: int = 9) -> Frame:
    window = Window(0, days * DAY, SPAN)
    return Frame.of(index, window, np.ones((len(index), len(window))))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_baseline_without_series_judges_none(name: str) -> None:
    baseline = DETECTORS[name].fit(frame(NOBODY)).baseline
    said = DETECTORS[name].score(frame(SOMEBODY), baseline)
    assert said.surprise.shape == (2, len(said.window))
    assert np.isnan(said.surprise).all()


def test_a_fusion_that_knows_no_component_judges_none() -> None:
    window = Window(0, 3 * SPAN, SPAN)
    learnt = Fusion().fit([empty(NOBODY, window)])
    fused = Fusion().fuse([empty(SOMEBODY, window)], learnt)
    assert np.isnan(fused.surprise).all()
    assert (fused.share == 0).all()


def test_a_window_of_no_buckets_is_fused_to_nothing() -> None:
    window = Window(0, 0, SPAN)
    learnt = Fusion().fit([empty(SOMEBODY, window)])
    assert Fusion().fuse([empty(SOMEBODY, window)], learnt).surprise.shape == (1, 0)


def empty(index: SeriesIndex, window: Window) -> Scores:
    nothing = np.ones((len(index), len(window)))
    return Scores(index=index, window=window, surprise=nothing, expected=nothing, lower=nothing, upper=nothing)
