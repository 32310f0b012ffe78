"""nsca-ng: results over TLS to another machine, where its server writes them into the engine's command file.

The protocol's authentication (TLS with a pre-shared key) is spoken by nsca-ng's own client, `send_nsca`, which also keeps
the password in its configuration file; we start it, without a shell, and give it whole command lines.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from alerting.line import result_line
from tocsin.errors import PermanentError, TransientError
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Shown
from tocsin.ports import Plugin
from tocsin.settings import Duration, Settings

_MOST_SAID = 300


class NscaNgSettings(Settings):
    """`use: nsca-ng`. Server, identity and password stand in send_nsca's own file (mode 600)."""

    config: Path = Field(Path("/etc/send_nsca.cfg"), description="send_nsca's configuration: server, identity, password")
    program: str = Field("send_nsca", min_length=1, description="the client of nsca-ng; the older NSCA's will not do")
    server: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$", description="instead of the server in `config`")
    port: int | None = Field(None, ge=1, le=65535)
    timeout: Duration = Field(5, description="how long one connection may take")
    batch: int = Field(500, ge=1, le=5000, description="results per connection")


class NscaNg:
    """Sends batches through `send_nsca -C`.

    The server answers each command; the client only tells whether all were taken. So a batch that failed is "unknown",
    and is taken apart: the next results go one by one, as many as a second allows, so that one service the server does
    not let us write cannot hold up the others.
    """

    reads_back = False

    def __init__(self, settings: NscaNgSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._one_by_one = 0

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes" means that the server has it in its queue, not that the engine has."""
        outcomes: list[Outcome | None] = [None] * len(results)
        lines: list[tuple[int, bytes]] = []
        for place, result in enumerate(results):
            try:
                lines.append((place, result_line(result)))
            except ValueError as error:
                outcomes[place] = Outcome(sent=Sent.NO, why=str(error))
        program = shutil.which(self._settings.program)
        if program is None:
            why = f"{self._settings.program} is not installed: on Debian, apt install nsca-ng-client"
            return [outcome or Outcome(sent=Sent.NO, why=why) for outcome in outcomes]
        begin = self._clock()
        while lines:
            size = 1 if self._one_by_one else self._settings.batch
            part, lines = lines[:size], lines[size:]
            outcome = self._transmit(program, [line for _, line in part])
            for place, _ in part:
                outcomes[place] = outcome
            if len(part) > 1 and outcome.sent is not Sent.YES:
                self._one_by_one = len(part)
                break
            self._one_by_one = max(0, self._one_by_one - 1)
            if self._clock() - begin > 1.0:
                break
        later = Outcome(sent=Sent.NO, why="not sent yet: the server is slow or refused a batch")
        return [outcome or later for outcome in outcomes]

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: sends an empty batch, which needs the right password."""
        settings = self._settings
        program = shutil.which(settings.program)
        if program is None:
            raise PermanentError(f"{settings.program} is not installed: on Debian, apt install nsca-ng-client")
        if not settings.config.exists():
            raise PermanentError(f"{settings.config} is not there: it names the server, the identity and the password")
        version = subprocess.run([program, "-V"], capture_output=True, timeout=5, check=False, env={"LC_ALL": "C"})
        outcome = self._transmit(program, [])
        if outcome.sent is not Sent.YES:
            raise TransientError(outcome.why)
        promise = (
            '"yes" means: the server has it in its queue; what the engine shows cannot be read back; results keep their own time'
        )
        open_to_all = settings.config.stat().st_mode & 0o077
        warnings = (f"{settings.config} holds a password and others may read it: chmod 600",) if open_to_all else ()
        said = (version.stdout + version.stderr).decode(errors="replace").strip()
        return Probe(version=said.splitlines()[0][:80] if said else "nsca-ng", rights=(promise,), warnings=warnings)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("nsca-ng cannot tell what the engine shows")

    def _transmit(self, program: str, lines: Sequence[bytes]) -> Outcome:
        settings = self._settings
        command = [program, "-C", "-c", str(settings.config), "-o", str(settings.timeout)]
        command += ["-H", settings.server] if settings.server else []
        command += ["-p", str(settings.port)] if settings.port else []
        try:
            done = subprocess.run(
                command,
                input=b"".join(lines),
                capture_output=True,
                timeout=settings.timeout + 1,
                check=False,
                env={"LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            return Outcome(sent=Sent.UNKNOWN, why=f"the nsca-ng server gave no answer within {settings.timeout} s")
        except OSError as error:
            return Outcome(sent=Sent.NO, why=f"{program}: {error.strerror}")
        if done.returncode == 0:
            return Outcome(sent=Sent.YES)
        said = " ".join(done.stderr.decode(errors="replace").split())[:_MOST_SAID]
        return Outcome(sent=Sent.UNKNOWN, why=said or f"{program} ended with {done.returncode}")


PLUGIN = Plugin(
    name="nsca-ng",
    summary="an nsca-ng server in front of the engine, through its client send_nsca; TLS, rights per service",
    settings=NscaNgSettings,
    build=lambda settings, _surroundings: NscaNg(settings),
)
