"""An engine in memory: it reads external command lines exactly as Centreon Engine does, bad manners included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST = 8190
"""Bytes of a line that are read, its line break among them; the rest of a longer line is read as another line."""


@dataclass
class Checked:
    """A service (or host) as the engine has it."""

    host: str
    service: str
    passive: bool = True
    active: bool = False
    attempts: int = 1
    code: int | None = None
    output: str = ""
    long_output: str = ""
    perfdata: str = ""
    last_check: int = 0
    attempt: int = 1
    hard: bool = True
    changed_at: int = 0


@dataclass
class Engine:
    """`history` is everything it ever showed, as (time, host, service, code); `log` what it complained about."""

    checked: dict[tuple[str, str], Checked] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    accept_passive: bool = True
    up: bool = True
    log: list[str] = field(default_factory=list)
    history: list[tuple[int, str, str, int]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add(self, host: str, service: str = "", **known: object) -> Checked:
        self.checked.setdefault((host, ""), Checked(host, ""))
        made = self.checked.setdefault((host, service), Checked(host, service))
        for name, value in known.items():
            setattr(made, name, value)
        return made

    def read(self, text: bytes) -> None:
        """What somebody wrote into the command file."""
        for line in text.split(b"\n"):
            rest = line
            while rest:
                piece, rest = rest[: MOST - 1], rest[MOST - 1 :]
                self._line(piece.decode("utf-8", "replace"))

    def _line(self, line: str) -> None:
        found = re.match(r"\[(-?[0-9]+)\] ([A-Z_]+)(?:;(.*))?$", line, re.DOTALL)
        if found is None:
            self.log.append(f"Warning: unrecognized external command -> {line[:80]}")
            return
        at, name, arguments = int(found[1]), found[2], found[3] or ""
        if name == "PROCESS_SERVICE_CHECK_RESULT":
            parts = arguments.split(";", 3)
            if len(parts) == 4:
                self._result(at, parts[0], parts[1], parts[2], parts[3])
        elif name == "PROCESS_HOST_CHECK_RESULT":
            parts = arguments.split(";", 2)
            if len(parts) == 3:
                self._result(at, parts[0], "", parts[1], parts[2])
        else:
            self.ignored.append(line)

    def _result(self, at: int, host: str, service: str, code: str, text: str) -> None:
        if (host, "") not in self.checked:
            host = next((name for name, address in self.addresses.items() if address == host), host)
        target = self.checked.get((host, service))
        if target is None:
            self.log.append(
                f"Warning: Passive check result was received for service '{service}' on host '{host}', "
                "but the service could not be found!"
            )
            return
        if not re.fullmatch(r"\s*[-+]?[0-9]+\s*", code) or not self.accept_passive or not target.passive:
            return
        number = int(code)
        # Four blind replacements in this order: doubling a backslash does not protect what follows it.
        for written, meant in (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\\\", "\\")):
            text = text.replace(written, meant)
        first, *more = text.split("\n")
        output, pipe, perfdata = first.rpartition("|")
        if not pipe:
            output, perfdata = first, ""
        long_output = []
        for line in more:
            before, mark, after = line.rpartition("|")
            if pipe:
                perfdata += line
            elif mark:
                long_output.append(before)
                perfdata, pipe = perfdata + after, mark
            else:
                long_output.append(line)
        self._show(target, at, number if 0 <= number <= 3 else 3, output.replace(";", ":"), "\n".join(long_output), perfdata)

    def _show(self, target: Checked, at: int, code: int, output: str, long_output: str, perfdata: str) -> None:
        if code == 0:
            target.attempt, target.hard = 1, True
        elif target.code in (0, None):
            target.attempt, target.hard = 1, target.attempts <= 1
        elif not target.hard:
            target.attempt += 1
            target.hard = target.attempt >= target.attempts
        if code != target.code:
            target.changed_at = at
        target.code, target.output, target.long_output, target.perfdata, target.last_check = (
            code,
            output,
            long_output,
            perfdata,
            at,
        )
        self.history.append((at, target.host, target.service, code))

    def die(self) -> None:
        """Killed without having kept anything."""
        self.up = False
        for one in self.checked.values():
            one.code, one.output, one.long_output, one.perfdata, one.last_check = None, "", "", "", 0
