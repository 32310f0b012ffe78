"""Executors of one machine."""

from __future__ import annotations

import os
import threading
import time
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

    Workers are spawned, never forked: the daemon has threads. A worker that dies raises `BrokenProcessPool`; one whose
    parent died (kill -9) ends within two seconds.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, work: Callable[[J], D], jobs: Iterable[J]) -> Iterator[D]:
        with ProcessPoolExecutor(self._workers, get_context("spawn"), _end_with, (os.getpid(),)) as pool:
            for done in as_completed([pool.submit(work, job) for job in jobs]):
                yield done.result()


def _end_with(parent: int) -> None:
    """Leave when the parent is gone: an orphan would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
