"""How long requests wait: the time from one line of a request to its next, of the same component or of the one it went on to.

A line that tells its request (a trace id, a correlation id) is a time stamp of where the request was. A component that answers
late does not write another number of lines; the pauses before and after its lines grow. Pauses are told apart by who wrote the
line before and who the one after, because a call of a database and one of a cache take their usual time each, whichever is more
frequent just now. Each such kind of step counts once, with its median, for both who are part of it: a component all of whose
steps are slow stands out among its neighbours, of whose steps a few are.

Fails where components have different clocks (a wait is then what the clocks differ by, and constant), and where a request's lines
are written by several threads at once.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from tocsin.model import Bools, Floats, LogBatch


def waits(batch: LogBatch) -> dict[str, Floats]:
    """Seconds of wait in the steps of each component that has any, (n_buckets,): the mean, over kinds of steps, of their medians.

    A step counts in the bucket that has both its lines, so that it does not matter which buckets are read together; waits longer
    than a bucket are not seen. NaN where there was no step, or not all lines came as text: between those of a sample there are
    others.
    """
    if not any(line.request for line in batch.lines):
        return {}
    window = batch.window
    complete = _complete(batch)
    at: dict[tuple[int, str], list[tuple[float, str]]] = defaultdict(list)
    for line in batch.lines:
        bucket = (int(line.at) - window.start) // window.span
        if line.request and complete[bucket]:
            at[bucket, line.request].append((line.at, line.component))
    steps: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for (bucket, _), lines in at.items():
        lines.sort()
        for (before, sender), (after, receiver) in pairwise(lines):
            steps[bucket, sender, receiver].append(after - before)
    usual: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (bucket, sender, receiver), pauses in steps.items():
        for component in {sender, receiver}:
            usual[component][bucket].append(median(pauses))
    found = {}
    for component, buckets in usual.items():
        found[component] = np.full(len(window), np.nan)
        for bucket, pauses in buckets.items():
            found[component][bucket] = fmean(pauses)
    return found


def _complete(batch: LogBatch) -> Bools:
    """In which buckets every entry came as text, (n_buckets,)."""
    window = batch.window
    there = np.bincount([(int(line.at) - window.start) // window.span for line in batch.lines], minlength=len(window))
    total = sum((np.asarray(numbers, np.int64) for numbers in batch.counts.values()), np.zeros(len(window), np.int64))
    return np.asarray((there >= total) & batch.known, np.bool_)
