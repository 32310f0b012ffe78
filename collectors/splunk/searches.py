"""Searches as jobs of Splunk: started under a name of our own, waited for, read page by page, and always cancelled.

A search that we leave behind keeps a place of the role's small quota until Splunk forgets it. So the name is ours: even when
the answer to its start is lost, it can be cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import uuid4

from collectors.manners import Manners
from collectors.splunk.answers import Job, Verdict, ended, failure, job_in, judged, messages_in, page_in
from collectors.splunk.places import Places
from collectors.splunk.session import Path, Session
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Refused, Unanswered

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two looks at a search that runs."""
TO_CANCEL = 5.0
"""Seconds for the request that cancels a search, also when all other time is used up."""
KEPT = 120
"""Seconds after which Splunk forgets a search of ours that nobody asks about any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search over `[earliest, latest)`: its text, or the name of a saved one. Times as Splunk takes them.

    `most` rows are read, in pages of `page` (else as configured).
    """

    text: str = ""
    saved: str = ""
    earliest: str
    latest: str
    most: int
    what: str = "search"
    page: int | None = None


class Searches:
    """Runs searches. Threads may share it."""

    def __init__(self, session: Session, manners: Manners, places: Places, *, page: int) -> None:
        self._session, self._manners, self._places, self._page = session, manners, places, page
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._running: dict[str, Path] = {}

    def rows(self, query: Query, take: Callable[[Sequence[Mapping[str, Any]]], None], fresh: Callable[[], None]) -> Verdict:
        """Run it and hand over its rows, a page at a time; `fresh` is called before each try, to forget the rows of the last.

        The verdict is `whole`, `partial` or `too many` (then no row was handed over). Raises `TransientError` or
        `PermanentError`. The search is cancelled whatever happens.
        """

        def work(deadline: float) -> Verdict:
            fresh()
            most, place = self._manners.settings.concurrency, f"{self._session.place}: {query.what}"
            room = self._places.taken(most, lambda: self._manners.left(deadline), place)
            with room, self._started(query, deadline) as path:
                job = self._wait(path, query, deadline)
                verdict = ended(job, query.most)
                if verdict.kind == "failed":
                    raise self._failed(query, verdict.reason)
                if verdict.kind == "too many":
                    return verdict
                return self._read(path, job, verdict, query, take, deadline)

        return self._manners.call(work)

    def close(self) -> None:
        """Cancel what runs and start nothing more."""
        self._closed.set()
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
        for path in left:
            self._cancel(path)
        self._session.close()

    @contextmanager
    def _started(self, query: Query, deadline: float) -> Iterator[Path]:
        """The search, running; gives its path, and cancels it in the end."""
        base, _ = self._session.jobs_path(self._manners.left(deadline))
        name = f"tocsin_{uuid4().hex}"
        if not query.saved:
            self._remember(name, (*base, name))
        try:
            reply = self._start(base, name, query, deadline)
            given = reply.get("sid") if isinstance(reply, dict) else None
            if not isinstance(given, str) or not given.isprintable() or not 0 < len(given) < 300:
                self._look(reply, query)
                raise TransientError(f"{self._session.place}: {query.what}: it did not say under which name the search runs")
            if given != name:
                self._forget(name)
                name = given
                self._remember(name, (*base, name))
            yield (*base, name)
        finally:
            if (path := self._forget(name)) is not None:
                self._cancel(path)

    def _start(self, base: Path, name: str, query: Query, deadline: float) -> Any:
        """Ask for the start. When Splunk itself says no, there is nothing to cancel."""
        seconds = max(1, int(self._manners.left(deadline)))
        if query.saved:
            start: Path = ("saved", "searches", query.saved, "dispatch")
            options: dict[str, str | int] = {"dispatch.max_time": seconds, "dispatch.ttl": KEPT, "trigger_actions": 0}
            options |= {"dispatch.earliest_time": query.earliest, "dispatch.latest_time": query.latest}
        else:
            start, options = base, {"search": query.text, "id": name, "exec_mode": "normal", "adhoc_search_level": "fast"}
            options |= {"earliest_time": query.earliest, "latest_time": query.latest, "preview": 0, "status_buckets": 0}
            options |= {"max_time": seconds, "auto_cancel": KEPT, "timeout": KEPT, "max_count": query.most + 1}
        try:
            return self._ask("POST", start, query, deadline, **options)
        except (Unanswered, Refused):
            raise  # it may run all the same
        except (TransientError, PermanentError):
            self._forget(name)
            raise

    def _wait(self, path: Path, query: Query, deadline: float) -> Job:
        pause, state = FIRST_PAUSE, "QUEUED"
        while True:
            found = self._ask("GET", path, query, deadline)  # None: 204, not ready yet
            job = job_in(found)
            if job is not None and job.done:
                return job
            if found is not None and job is None:
                self._look(found, query)
                raise TransientError(f"{self._session.place}: {query.what}: it does not tell the state of the search")
            state = job.state if job else state
            # What is left must do for reading the rows, too.
            if self._manners.left(deadline) <= max(pause, 0.2):
                raise TransientError(f"{self._session.place}: {query.what}: {_late(state, self._manners.settings.timeout)}")
            if self._closed.wait(pause):
                raise PermanentError(f"{self._session.place}: {query.what}: given up, Tocsin leaves")
            pause = min(pause * 1.6, LONGEST_PAUSE)

    def _read(
        self,
        path: Path,
        job: Job,
        verdict: Verdict,
        query: Query,
        take: Callable[[Sequence[Mapping[str, Any]]], None],
        deadline: float,
    ) -> Verdict:
        """All pages. A search that is done and gives fewer rows than it has is not whole."""
        _, second = self._session.jobs_path(self._manners.left(deadline))
        got, asked, size = 0, 0, query.page or self._page
        while asked < max(job.rows, 1):
            found = self._ask(
                "POST" if second else "GET",
                (*path, "results"),
                query,
                deadline,
                count=size,
                offset=asked,
                segmentation="none",
            )
            page = page_in(found)
            if page is None:
                self._look(found, query)
                if found is None and job.rows == 0:
                    break
                raise TransientError(f"{self._session.place}: {query.what}: {job.rows} rows are promised and none are given")
            if (said := judged(page.messages)).kind == "failed":
                raise self._failed(query, said.reason)
            if said.kind == "partial" and verdict.kind == "whole":
                verdict = said
            if len(page.rows) > size:
                raise TransientError(f"{self._session.place}: {query.what}: it gives more rows than were asked for")
            take(page.rows)
            self._manners.got(rows=len(page.rows))
            got, asked = got + len(page.rows), asked + size
        if got != job.rows and verdict.kind == "whole":
            verdict = Verdict("partial", f"{job.rows} rows are promised and {got} given")
        return verdict

    def _ask(self, method: str, path: Path, query: Query, deadline: float, **options: str | int) -> Any:
        if self._closed.is_set():
            raise PermanentError(f"{self._session.place}: {query.what}: given up, Tocsin leaves")
        return self._session.ask(method, path, query.what, self._manners.left(deadline), **options).found

    def _look(self, found: Any, query: Query) -> None:
        """Raise when an answer that is not what was asked for says why."""
        verdict = judged(messages_in(found))
        if verdict.kind == "failed":
            raise self._failed(query, verdict.reason)

    def _failed(self, query: Query, reason: str) -> TransientError | PermanentError:
        return failure(reason, f"{self._session.place}: {query.what}")

    def _cancel(self, path: Path) -> None:
        with suppress(TransientError, PermanentError):  # it is gone already, or Splunk forgets it by itself (auto_cancel)
            self._session.ask("POST", (*path, "control"), "cancel", TO_CANCEL, action="cancel")

    def _remember(self, name: str, path: Path) -> None:
        with self._lock:
            self._running[name] = path

    def _forget(self, name: str) -> Path | None:
        with self._lock:
            return self._running.pop(name, None)


def _late(state: str, seconds: int) -> str:
    if state in ("QUEUED", "PARSING"):
        return f"still waiting for its turn ({state}) after {seconds} s: all places for searches are taken; lower the load there"
    return f"not done ({state}) after {seconds} s: make the window or the index smaller, or limits.timeout larger"


class Over(TypedDict):
    """From when to when a search looks."""

    earliest: str
    latest: str


def times(start: int, end: int) -> Over:
    """A half-open window as Splunk takes it: epoch seconds, the latest not included."""
    return {"earliest": str(start), "latest": str(end)}


def lately(seconds: int) -> Over:
    """The last so many seconds by Splunk's own clock."""
    return {"earliest": f"-{seconds}s", "latest": "now"}
