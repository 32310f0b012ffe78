"""CPU of each detector, to learn and to judge one bucket, beside libraries that do something alike, in the same run.

Ours are measured over all components at once (`--components` of ten metrics); a library is asked component by component (or
series by series), on a few of them, and extrapolated, because each call costs the same. A library that is not installed is
skipped with a sentence. CPU time, best of three.

    ./dev bench detection
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from detectors.change import Change
from detectors.forest import Forest
from detectors.level import Level
from detectors.logs import Logs
from detectors.novelty import Novelty
from detectors.outliers import Outlier
from detectors.pca import Pca
from detectors.peers import Peers
from detectors.seasonal import Seasonal
from detectors.silence import Silence
from tocsin.model import Baseline, Floats, Frame, Ints, Scores, SeriesIndex, SeriesKey, Window
from tocsin.timegrid import DAY, Calendar

SPAN, DAYS, METRICS = 300, 28, 10
BUCKETS = DAYS * DAY // SPAN
FEW = 10
"""Components that are learnt by us, and asked one by one of the libraries."""


def cpu(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of CPU, the best of several."""
    best = np.inf
    for _ in range(times):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best


def index_of(components: int, metric: str = "m") -> SeriesIndex:
    return SeriesIndex(SeriesKey(f"c{place:06}", f"{metric}{row}") for place in range(components) for row in range(METRICS))


def spread_out(baseline: Baseline, index: SeriesIndex, rows: Ints) -> Baseline:
    """What was learnt of a few, as if it were learnt of many."""
    return Baseline(
        detector=baseline.detector,
        index=index,
        trained_on=baseline.trained_on,
        arrays={name: array[rows] for name, array in baseline.arrays.items()},
        facts=baseline.facts,
    )


def surprises(index: SeriesIndex, buckets: int, start: int = 0) -> Scores:
    surprise = np.random.default_rng(0).exponential(1 / np.log(10), (len(index), buckets))
    unknown = np.broadcast_to(np.nan, surprise.shape)
    window = Window(start, start + buckets * SPAN, SPAN)
    return Scores(index=index, window=window, surprise=surprise, expected=unknown, lower=unknown, upper=unknown)


def of_series(name: str, detector: Any, components: int, values: Floats, metric: str) -> tuple[str, float, float]:
    """Milliseconds to learn a series, and to judge one bucket of all of them."""
    few, many = index_of(FEW, metric), index_of(components, metric)
    history = Frame.of(few, Window(0, DAYS * DAY, SPAN), values)
    learnt = detector.fit(history).baseline
    learning = cpu(lambda: detector.fit(history)) / len(few)
    rows = np.arange(len(many)) % len(few)
    one = Window(DAYS * DAY, DAYS * DAY + SPAN, SPAN)
    frame = one.reaching_back(detector.lookback)
    # As a shard remembers them: each bucket in one piece.
    ahead = Frame.of(many, frame, np.asfortranarray(values[rows][:, : len(frame)]))
    baseline = spread_out(learnt, many, rows)
    detector.score(ahead, baseline, one)
    return name, learning * 1e3, cpu(lambda: detector.score(ahead, baseline, one)) * 1e3


def of_components(name: str, detector: Any, components: int) -> tuple[str, float, float]:
    """Milliseconds to learn a component, and to judge one bucket of all of them."""
    few, many = index_of(FEW), index_of(components)
    rehearsal = surprises(few, BUCKETS)
    learnt = detector.fit([rehearsal]).baseline
    learning = cpu(lambda: detector.fit([rehearsal])) / FEW
    baseline = spread_out(learnt, many.by_component, np.arange(components) % FEW)
    now = surprises(many, 1, DAYS * DAY)
    detector.score([now], baseline)
    return name, learning * 1e3, cpu(lambda: detector.score([now], baseline)) * 1e3


# --- libraries ------------------------------------------------------------------------------------------------------------


def scikit_learn(rows: Floats) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    forest = importlib.import_module("sklearn.ensemble").IsolationForest
    return (lambda: forest(random_state=0).fit(rows)), lambda one: one.score_samples(rows[:1])


def scikit_learn_64(rows: Floats) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    forest = importlib.import_module("sklearn.ensemble").IsolationForest
    return (lambda: forest(n_estimators=64, random_state=0).fit(rows)), lambda one: one.score_samples(rows[:1])


def pyod(name: str) -> Callable[[Floats], tuple[Callable[[], Any], Callable[[Any], Any]]]:
    def build(rows: Floats) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        kind = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)
        return (lambda: kind().fit(rows)), lambda one: one.decision_function(rows[:1])

    return build


def river(rows: Floats) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    trees = importlib.import_module("river.anomaly").HalfSpaceTrees
    told = [{str(place): float(value) for place, value in enumerate(row)} for row in rows / 12]

    def learn() -> Any:
        one = trees(seed=0)
        for row in told[:500]:
            one.learn_one(row)
        return one

    return learn, lambda one: (one.score_one(told[0]), one.learn_one(told[0]))


def statsmodels(rows: Floats) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    stl = importlib.import_module("statsmodels.tsa.seasonal").STL
    return (lambda: stl(rows[:, 0], period=DAY // SPAN).fit()), lambda one: one.resid[-1]


LIBRARIES: dict[str, tuple[Callable[[Floats], Any], int, str]] = {
    "scikit-learn IsolationForest": (scikit_learn, 1, "defaults: 100 trees"),
    "scikit-learn, 64 trees": (scikit_learn_64, 1, "as many as ours"),
    "PyOD IForest": (pyod("IForest"), 1, "defaults"),
    "PyOD ECOD": (pyod("ECOD"), 1, "sorts all it learnt from at each call"),
    "PyOD HBOS": (pyod("HBOS"), 1, ""),
    "PyOD KNN": (pyod("KNN"), 1, ""),
    "PyOD LOF": (pyod("LOF"), 1, ""),
    "PyOD PCA": (pyod("PCA"), 1, ""),
    "river HalfSpaceTrees": (river, 1, "learnt 500 rows; scores and learns one"),
    "statsmodels STL": (statsmodels, METRICS, "a series at a time; judging is a look at its residual, refitted each time"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--components", type=int, default=10_000)
    components = parser.parse_args().components
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    values = 100 + 20 * np.sin(np.arange(BUCKETS) * 2 * np.pi * SPAN / DAY) + rng.standard_normal((FEW * METRICS, BUCKETS))
    counts = rng.poisson(3.0, values.shape).astype(float)
    calendar = Calendar("Europe/Paris")
    series = [
        of_series("seasonal", Seasonal(calendar=calendar, span=SPAN), components, values, "m"),
        of_series("novelty", Novelty(calendar=calendar, span=SPAN), components, values, "m"),
        of_series("change", Change(calendar=calendar, span=SPAN), components, values, "m"),
        of_series("level", Level(calendar=calendar, span=SPAN), components, values, "m"),
        of_series("silence", Silence(span=SPAN, calendar=calendar), components, values, "m"),
        of_series("pca", Pca(span=SPAN), components, values, "m"),
        of_series("peers", Peers(span=SPAN), components, values, "m"),
        of_series("logs", Logs(span=SPAN, calendar=calendar), components, counts, "log.template."),
    ]
    print(f"{components:,} components of {METRICS} metrics, {DAYS} days of {SPAN // 60} minutes learnt from\n")
    print(f"{'':30} {'learning, ms a series':>24} {'judging one bucket of all, ms':>32}")
    for name, learning, judging in series:
        print(f"{name:30} {learning:24.2f} {judging:32.1f}")
    ours = {"forest": of_components("forest", Forest(), components)}
    for method in ("ecod", "hbos", "knn", "lof", "pca"):
        ours[method] = of_components(f"outlier ({method})", Outlier(method=method), components)  # type: ignore[arg-type]
    print(f"\n{'':30} {'learning, ms a component':>24} {'judging one bucket of all, ms':>32} {'times ours':>12}")
    for name, learning, judging in ours.values():
        print(f"{name:30} {learning:24.1f} {judging:32.1f}")
    rows = surprises(index_of(1), BUCKETS).surprise.T
    for name, (build, each, note) in LIBRARIES.items():
        try:
            learn, judge = build(rows)
            learnt = learn()
        except ImportError as error:
            print(f"{name}: not installed ({error.name}), left out")
            continue
        learning = cpu(learn, 1) * each
        # What STL says of one more bucket is known only when it is fitted again.
        once = learning if name.startswith("statsmodels") else min(cpu(lambda: judge(learnt), 5) for _ in range(FEW))  # noqa: B023
        beside = ours.get(name.split()[-1].lower(), ours["forest"])
        ratio = once * 1e3 * components / beside[2]
        print(f"{name:30} {learning * 1e3:24.1f} {once * 1e3 * components:32.0f} {ratio:12.0f}  {note}")


if __name__ == "__main__":
    main()
