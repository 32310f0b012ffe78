"""Page after page of one answer, at a size the server can bear, until it ends, breaks off or is cut."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collectors.elastic.answers import Trust, trust
from collectors.elastic.queries import parameters
from collectors.elastic.settings import ElasticLimits
from collectors.manners import Manners
from tocsin.elastic import Elastic, Reply, TooMuch
from tocsin.errors import TransientError

SMALLEST = 50
"""Rows of a page: a server that cannot bear this many cannot be asked."""
CALM = 20
"""Pages without complaint after which a shrunken page grows again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page: its buckets, where the next one begins (None: it was the last), and what it is worth."""

    buckets: list[Any]
    after: Mapping[str, Any] | None
    trust: Trust


class Searcher:
    """Asks one cluster, with manners. Threads may share it; the size of a page is learnt once for all."""

    def __init__(self, elastic: Elastic, manners: Manners, limits: ElasticLimits) -> None:
        self.elastic, self.manners, self._limits = elastic, manners, limits
        self.size, self._calm, self._lock = limits.page, 0, threading.Lock()

    def ask(
        self, method: str, path: str, *, body: Any = None, params: Mapping[str, str] | None = None, accept: tuple[int, ...] = ()
    ) -> Reply:
        """One request. Raises `TooMuch`, `TransientError` or `PermanentError`; only the last two count as failures."""

        def work(deadline: float) -> Reply | TooMuch:
            try:
                left = self.manners.left(deadline)
                return self.elastic.ask(method, path, body=body, params=params, timeout=left, accept=accept)
            except TooMuch as error:
                return error  # no fault of the server, and no reason to ask the same again

        answer = self.manners.call(work)
        if isinstance(answer, TooMuch):
            raise answer
        self.manners.got(size=answer.size)
        return answer

    def search(self, path: str, body: dict[str, Any], *, frozen: bool = False) -> tuple[dict[str, Any], Trust]:
        """One search (of a point in time when `frozen`), and what its answer is worth.

        Raises as `ask`, and `TransientError` when nobody was asked.
        """
        seconds = max(1, int(self._limits.timeout * 0.8))
        answer: dict[str, Any] = self.ask(
            "POST", path, body={**body, "timeout": f"{seconds}s"}, params=parameters(frozen=frozen)
        ).body
        worth = trust(answer)
        if worth.kind == "nothing":
            names = path.rpartition("/")[0].strip("/")
            reason = f"{self.elastic.place}: {worth.reason} {names}: is `index` right, and may this user read it?"
            self.manners.partial(reason)
            raise TransientError(reason)
        if worth.kind != "whole":
            worth = Trust(kind=worth.kind, reason=f"{self.elastic.place}: {worth.reason}")
            self.manners.partial(worth.reason)
        return answer, worth

    def pages(self, path: str, body: Callable[[int, Any], dict[str, Any]]) -> Iterator[Page]:
        """All pages of a composite aggregation `rows`; `body(size, after)` makes each request.

        Raises as `ask`, at any page. After `max_rows` rows it stops with a page that says so.
        """
        after: Mapping[str, Any] | None = None
        taken = 0
        while True:
            size = self.size
            try:
                answer, worth = self.search(path, body(size, after))
                if worth.kind == "less":
                    raise TooMuch(worth.reason)
            except TooMuch as error:
                if size <= SMALLEST:
                    reason = f"{error}; pages of {size} rows are still too much: ask for fewer metrics, or a shorter window"
                    self.manners.partial(reason)
                    raise TransientError(reason) from error
                self._shrink(size)
                continue
            self._grow()
            found = answer.get("aggregations")
            rows = found.get("rows") if isinstance(found, dict) else None
            buckets, following = (rows.get("buckets"), rows.get("after_key")) if isinstance(rows, dict) else (None, None)
            if not isinstance(buckets, list):
                worth = worth if worth.reason else Trust(kind="part", reason=f"{self.elastic.place}: the answer holds no rows")
                yield Page(buckets=[], after=None, trust=worth)
                return
            taken += len(buckets)
            self.manners.got(rows=len(buckets))
            # Fewer rows than asked for were the last ones; the server would only tell so once more.
            if not buckets or not isinstance(following, dict) or (len(buckets) < size and worth.kind == "whole"):
                yield Page(buckets=buckets, after=None, trust=worth)
                return
            yield Page(buckets=buckets, after=following, trust=worth)
            if following == after:
                raise TransientError(f"{self.elastic.place}: the server gives the same page again and again")
            if taken >= self._limits.max_rows:
                reason = f"{self.elastic.place}: cut after {taken} rows (limits.max_rows)"
                self.manners.partial(reason)
                raise TransientError(reason)
            after = following

    def _shrink(self, size: int) -> None:
        with self._lock:
            self.size, self._calm = max(SMALLEST, min(self.size, size // 2)), 0

    def _grow(self) -> None:
        with self._lock:
            self._calm += 1
            if self._calm >= CALM and self.size < self._limits.page:
                self.size, self._calm = min(self._limits.page, 2 * self.size), 0
