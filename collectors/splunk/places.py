"""The places for searches that one account has at a Splunk: whoever of us searches with it, they are shared.

A role's quota is small (3), and it counts the searches of all component types together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from tocsin.errors import TransientError


class Places:
    """How many searches run at this moment. Safe for many threads."""

    def __init__(self) -> None:
        self._free, self.running = threading.Condition(), 0

    @contextmanager
    def taken(self, most: int, left: Callable[[], float], place: str) -> Iterator[None]:
        """One place, while fewer than `most` are taken; waits for it as long as there is time left."""
        with self._free:
            while self.running >= most:
                patience = left()
                if patience <= 0.1 or not self._free.wait(patience):
                    why = f"no place for a search of this account (limits.concurrency: {most}) was free until the time was up"
                    raise TransientError(f"{place}: {why}")
            self.running += 1
        try:
            yield
        finally:
            with self._free:
                self.running -= 1
                self._free.notify_all()


_lock = threading.Lock()
_known: WeakValueDictionary[tuple[str, str], Places] = WeakValueDictionary()


def places_of(splunk: str, account: str) -> Places:
    """The places of an account (the reference of its token, or its name) at a Splunk, in this process."""
    with _lock:
        found = _known.get((splunk, account))
        if found is None:
            found = _known[splunk, account] = Places()
        return found
