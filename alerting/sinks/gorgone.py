"""gorgone, Centreon's message bus: results as engine commands, with their own time and for the right poller.

Two doors. The spool folder on the central server takes files and never answers. The HTTP server takes a request and
answers with a token; that too only means that the command is on its way.
"""

from __future__ import annotations

import base64
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, field_validator

from alerting.line import result_line
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Http, Limits, Refused, web_address
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Shown
from tocsin.ports import Plugin
from tocsin.settings import Duration, SecretRef, Settings
from tocsin.tls import Tls

_OURS = "tocsin-"


class _ForPollers(Settings):
    poller: int = Field(1, ge=1, description="id of the poller that watches the hosts; 1 is the central server")
    pollers: dict[str, int] = Field(
        default_factory=dict, description='other pollers by host name: {"par-*": 2}; the first that fits'
    )

    @field_validator("pollers")
    @classmethod
    def _ids(cls, pollers: dict[str, int]) -> dict[str, int]:
        for pattern, poller in pollers.items():
            if not pattern or poller < 1:
                raise ValueError(f"{pattern!r}: {poller} is no poller: write a host pattern and the poller's id, 1 or more")
        return pollers

    def of(self, host: str) -> int:
        """The poller of a host."""
        return next((poller for pattern, poller in self.pollers.items() if fnmatchcase(host, pattern)), self.poller)


class GorgoneSpoolSettings(_ForPollers):
    """`use: gorgone-spool`, on the central server."""

    folder: Path = Field(Path("/var/lib/centreon/centcore"), description="gorgone's spool folder; must be writable for us")
    patience: Duration = Field(60, description="a file that gorgone has not taken by then is taken back")


class GorgoneHttpSettings(_ForPollers):
    """`use: gorgone-http`."""

    url: str = Field("http://127.0.0.1:8085", description="gorgone's httpserver module")
    user: str | None = None
    password: SecretRef | None = None
    tls: Tls = Field(default_factory=Tls)
    command_file: str = Field("/var/lib/centreon-engine/rw/centengine.cmd", pattern=r"^/[\w./-]+$", description="on the poller")
    batch: int = Field(100, ge=1, le=1000, description="results per request")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return web_address(url)


class GorgoneSpool:
    """One file a batch, written under a hidden name and renamed: gorgone never sees half of one.

    A gorgone that stands still leaves files lying, and would later replay what is no longer true over what is. So what it
    did not take in time is taken back, and "no" is answered until a file of ours is taken again.
    """

    reads_back = False

    def __init__(self, settings: GorgoneSpoolSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock, self._count = settings, clock, itertools.count()

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes" means: in the spool."""
        lines, outcomes = _lines(results, self._settings)
        if not lines:
            return outcomes
        folder = self._settings.folder
        try:
            why = self._take_back()
            if not why:
                self._write(b"".join(b"EXTERNALCMD:%d:%s" % (poller, line) for poller, line in lines.values()))
        except OSError as error:
            why = f"{folder}: {error.strerror}; gorgone's spool must be there and writable for us (group centreon-gorgone)"
        answer = Outcome(sent=Sent.NO, why=why) if why else Outcome(sent=Sent.YES)
        return [answer if place in lines else outcome for place, outcome in enumerate(outcomes)]

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises."""
        folder = self._settings.folder
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermanentError(f"{folder}: gorgone's spool must be there and writable for us (group centreon-gorgone)")
        waiting = len(list(folder.glob(f"{_OURS}*.cmd")))
        warnings = (f"{waiting} files of ours wait to be taken: is gorgone running?",) if waiting else ()
        promise = '"yes" means: in the spool; what the engine shows cannot be read back; results keep their own time'
        return Probe(version=f"gorgone's spool {folder}", rights=(promise,), warnings=warnings)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("gorgone's spool cannot tell what the engine shows")

    def _take_back(self) -> str:
        late = []
        for path in self._settings.folder.glob(f"{_OURS}*.cmd"):
            try:
                age = self._clock() - path.stat().st_mtime
            except FileNotFoundError:  # taken just now
                continue
            if age > self._settings.patience:
                path.unlink(missing_ok=True)
                late.append(age)
        if not late:
            return ""
        return f"{self._settings.folder}: gorgone took no file for {max(late):.0f} s: is it running? ({len(late)} taken back)"

    def _write(self, content: bytes) -> None:
        name = f"{_OURS}{int(self._clock() * 1000):x}-{os.getpid()}-{next(self._count)}.cmd"
        hidden = self._settings.folder / f".{name}"
        with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o664), "wb") as file:
            file.write(content)
        hidden.rename(hidden.with_name(name))


class GorgoneHttp:
    """A request per poller and batch."""

    reads_back = False

    def __init__(self, settings: GorgoneHttpSettings) -> None:
        self._settings = settings
        self._http = Http(settings.url, tls=settings.tls, limits=Limits(connect=2.0, read=5.0, total=5.0, bytes=1 << 20))

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes" means that gorgone gave a token for it."""
        lines, outcomes = _lines(results, self._settings)
        answers: dict[int, Outcome] = {}
        by_poller: defaultdict[int, list[int]] = defaultdict(list)
        for place, (poller, _) in lines.items():
            by_poller[poller].append(place)
        down: Outcome | None = None
        for poller, places in by_poller.items():
            for first in range(0, len(places), self._settings.batch):
                part = places[first : first + self._settings.batch]
                answer = down or self._ask(poller, [lines[place][1] for place in part])
                if answer.sent is not Sent.YES:
                    down = answer  # one refused connection is enough for one pass
                answers.update(dict.fromkeys(part, answer))
        return [answers.get(place, outcome) for place, outcome in enumerate(outcomes)]

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises."""
        try:
            self._http.ask("GET", "/api/internal/information", "information", headers=self._authorization())
        except ValueError as error:
            raise PermanentError(str(error)) from error
        promise = (
            '"yes" means: gorgone gave a token for it; what the engine shows cannot be read back; results keep their own time'
        )
        return Probe(version=f"gorgone at {self._http.place}", rights=(promise,), warnings=self._http.warnings)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("gorgone cannot tell what the engine shows")

    def _ask(self, poller: int, lines: Sequence[bytes]) -> Outcome:
        settings = self._settings
        try:
            answer = self._http.ask(
                "POST",
                f"/api/nodes/{quote(str(poller))}/centreon/engine/command",
                "engine commands",
                json={"command_file": settings.command_file, "commands": [line.decode().rstrip("\n") for line in lines]},
                headers=self._authorization(),
            )
            said = answer.json()
        except Refused as error:
            return Outcome(sent=Sent.NO, why=str(error))
        except (TransientError, PermanentError) as error:
            return Outcome(sent=Sent.UNKNOWN, why=str(error))
        except ValueError as error:  # a secret that is not there
            return Outcome(sent=Sent.NO, why=str(error))
        if isinstance(said, dict) and isinstance(said.get("token"), str):
            return Outcome(sent=Sent.YES)
        what = said.get("error") if isinstance(said, dict) else None
        return Outcome(sent=Sent.NO, why=f"{self._http.place}: gorgone gave no token: {str(what)[:100] if what else 'no reason'}")

    def _authorization(self) -> dict[str, str]:
        settings = self._settings
        if settings.user is None or settings.password is None:
            return {}
        plain = f"{settings.user}:{settings.password.reveal()}".encode()
        return {"authorization": "Basic " + base64.b64encode(plain).decode()}


def _lines(results: Sequence[CheckResult], pollers: _ForPollers) -> tuple[Mapping[int, tuple[int, bytes]], list[Outcome]]:
    """Poller and command line by the result's place, and the outcomes of those that cannot be said."""
    lines: dict[int, tuple[int, bytes]] = {}
    outcomes = [Outcome(sent=Sent.YES)] * len(results)
    for place, result in enumerate(results):
        try:
            lines[place] = pollers.of(result.service.host), result_line(result)
        except ValueError as error:
            outcomes[place] = Outcome(sent=Sent.NO, why=str(error))
    return lines, outcomes


SPOOL = Plugin(
    name="gorgone-spool",
    summary="gorgone's spool folder on the central server; own time stamps, any poller, no answer",
    settings=GorgoneSpoolSettings,
    build=lambda settings, _surroundings: GorgoneSpool(settings),
)
HTTP = Plugin(
    name="gorgone-http",
    summary="gorgone's HTTP server; own time stamps, any poller",
    settings=GorgoneHttpSettings,
    build=lambda settings, _surroundings: GorgoneHttp(settings),
)
