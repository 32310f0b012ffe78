"""Executors of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

J = TypeVar("J")
D = TypeVar("D")


class InProcess:
    """One job after the other, in the caller's thread."""

    def map(self, work: Callable[[J], D], jobs: Iterable[J]) -> Iterator[D]:
        return map(work, jobs)


class ProcessPool:
    """Worker processes that live as long as one `map`, so that their memory is given back.

    Workers are spawned, never forked: the daemon has threads. A worker that dies raises `BrokenProcessPool`.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, work: Callable[[J], D], jobs: Iterable[J]) -> Iterator[D]:
        with ProcessPoolExecutor(self._workers, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(work, job) for job in jobs]):
                yield done.result()
