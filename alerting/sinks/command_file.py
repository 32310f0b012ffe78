"""The external command file of Centreon Engine or Nagios on the same machine, and its status file to see what became of it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from alerting.line import result_line
from alerting.sinks.status_data import read_status
from tocsin.errors import PermanentError, TransientError
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Shown
from tocsin.ports import Plugin
from tocsin.settings import Duration, Settings


class CommandFileSettings(Settings):
    """`use: command-file`."""

    command_file: Path = Field(description="the engine's command file, such as /var/lib/centreon-engine/rw/centengine.cmd")
    status_file: Path | None = Field(
        None, description="the engine's status file, such as /var/log/centreon-engine/status.dat; with it results are read back"
    )
    max_status_age: Duration = Field(120, description="a status file older than this is not believed")


class CommandFile:
    """Writes results into the engine's FIFO: one `write` each, never blocking, never creating the file.

    The engine takes a result from the pipe without a word and forgets it when it is killed, so "yes" means: in the pipe.
    """

    def __init__(
        self,
        command_file: Path,
        status_file: Path | None = None,
        max_status_age: float = 120,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._command_file, self._status_file, self._max_age, self._clock = command_file, status_file, max_status_age, clock

    @property
    def reads_back(self) -> bool:
        """With a status file."""
        return self._status_file is not None

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. A pipe that is full or has no reader refuses the rest of the batch too."""
        try:
            pipe = os.open(self._command_file, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            return [Outcome(sent=Sent.NO, why=f"{self._command_file}: {_reason(error)}")] * len(results)
        try:
            if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
                why = f"{self._command_file} is no pipe: remove it and restart the engine, which makes its own"
                return [Outcome(sent=Sent.NO, why=why)] * len(results)
            outcomes: list[Outcome] = []
            for result in results:
                outcome, goes_on = self._write(pipe, result)
                outcomes.append(outcome)
                if not goes_on:
                    break
            return outcomes + [outcomes[-1]] * (len(results) - len(outcomes)) if outcomes else []
        finally:
            os.close(pipe)

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: opens the pipe and writes nothing."""
        warnings = []
        try:
            pipe = os.open(self._command_file, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise TransientError(f"{self._command_file}: {_reason(error)}") from error
        is_pipe = stat.S_ISFIFO(os.fstat(pipe).st_mode)
        os.close(pipe)
        if not is_pipe:
            raise PermanentError(f"{self._command_file} is no pipe: remove it and restart the engine, which makes its own")
        samples: tuple[str, ...] = ()
        if self._status_file is None:
            warnings.append(
                "no status_file: what the engine shows cannot be read back, and a lost result is repeated only after reassert"
            )
        else:
            shown = list(read_status(self._status_file, now, self._max_age))
            samples = tuple(f"{one.service.host} / {one.service.service}: {one.text}" for one in shown[:3])
        promise = '"yes" means: in the engine\'s pipe, which a killed engine loses; results keep their own time'
        return Probe(
            version="an engine that reads its command file", rights=(promise,), samples=samples, warnings=tuple(warnings)
        )

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """As `Sink` promises."""
        if self._status_file is None:
            raise TransientError("no status_file is configured: what the engine shows cannot be read back")
        wanted = set(services)
        return [shown for shown in read_status(self._status_file, self._clock(), self._max_age) if shown.service in wanted]

    def _write(self, pipe: int, result: CheckResult) -> tuple[Outcome, bool]:
        """What became of one result, and whether to go on with the next."""
        try:
            line = result_line(result)
        except ValueError as error:
            return Outcome(sent=Sent.NO, why=str(error)), True
        try:
            written = os.write(pipe, line)
        except OSError as error:
            return Outcome(sent=Sent.NO, why=f"{self._command_file}: {_reason(error)}"), False
        # A pipe takes up to PIPE_BUF bytes whole or not at all; anything else is no pipe we know.
        return (
            (Outcome(sent=Sent.YES), True) if written == len(line) else (Outcome(sent=Sent.UNKNOWN, why="written in part"), False)
        )


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENXIO | errno.EPIPE:
            return "nobody reads it: the engine is down"
        case errno.ENOENT:
            return "not there: the engine is down, or writes its command file elsewhere"
        case errno.EAGAIN:
            return "full: the engine does not keep up"
        case errno.ELOOP:
            return "a symbolic link, which is not followed"
        case _:
            return error.strerror or str(error)


PLUGIN = Plugin(
    name="command-file",
    summary="the external command file (FIFO) of Centreon Engine or Nagios on this machine",
    settings=CommandFileSettings,
    build=lambda settings, _surroundings: CommandFile(settings.command_file, settings.status_file, settings.max_status_age),
)
