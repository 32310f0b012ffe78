"""What was refused, left out or cut, counted: bad data never stops the daemon, and is never silent either."""

from __future__ import annotations

from collections import Counter

MAX_REMEMBERED = 100_000


class Tally:
    """`counts` says how often each kind of problem was met, `examples` the latest sentence about each kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()

    def say(self, kind: str, count: int, example: str, *, once: str | None = None) -> None:
        """`count` more of this kind; with `once`, only the first time for this thing."""
        if once is not None:
            if (kind, once) in self._said or len(self._said) >= MAX_REMEMBERED:
                return
            self._said.add((kind, once))
        if count > 0:
            self.counts[kind] += count
            self.examples[kind] = example

    def hold(self, kind: str, count: int, example: str = "") -> None:
        """There are `count` of this kind now; 0 when it is over."""
        if count > 0:
            self.counts[kind], self.examples[kind] = count, example
        else:
            self.counts.pop(kind, None)
            self.examples.pop(kind, None)
