"""A real Nagios 4 that takes passive results as Centreon Engine does, thrown away after the test.

The program comes from Debian's package (see tests/integration/debian.py); where it cannot be had the tests that want it are
skipped.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from alerting.sinks.status_data import read_status
from tests.integration.debian import program
from tocsin.errors import TransientError
from tocsin.model import ServiceKey, Shown

_CHECK_RESULTS = "spool"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MAIN = """\
log_file={folder}/nagios.log
cfg_file={folder}/objects.cfg
object_cache_file={folder}/objects.cache
precached_object_file={folder}/objects.precache
status_file={folder}/status.dat
status_update_interval=1
command_file={folder}/nagios.cmd
query_socket={folder}/nagios.qh
lock_file={folder}/nagios.lock
temp_file={folder}/nagios.tmp
temp_path={folder}
check_result_path={folder}/{spool}
state_retention_file={folder}/retention.dat
retain_state_information=1
retention_update_interval=60
check_external_commands=1
check_result_reaper_frequency=1
accept_passive_service_checks=1
execute_service_checks=1
execute_host_checks=0
enable_notifications=0
check_service_freshness=1
service_freshness_check_interval={freshness_interval}
additional_freshness_latency=1
use_syslog=0
log_passive_checks=1
illegal_macro_output_chars=`~$&|'"<>
{user}"""

_OBJECTS = """\
define timeperiod {{
  timeperiod_name always
  alias always
{days}
}}
define command {{
  command_name no-result
  command_line {folder}/no-result.sh
}}
define contact {{
  contact_name nobody
  host_notifications_enabled 0
  service_notifications_enabled 0
  host_notification_period always
  service_notification_period always
  host_notification_commands no-result
  service_notification_commands no-result
}}
"""
_HOST = """\
define host {{
  host_name {host}
  address 127.0.0.1
  check_command no-result
  max_check_attempts 1
  active_checks_enabled 0
  check_period always
  notification_period always
  contacts nobody
}}
"""
# What docs/alerting.md asks of the service template.
_SERVICE = """\
define service {{
  host_name {host}
  service_description {service}
  check_command no-result
  active_checks_enabled 0
  passive_checks_enabled 1
  max_check_attempts 1
  check_interval 1
  retry_interval 1
  is_volatile 0
  flap_detection_enabled 0
  check_freshness 1
  freshness_threshold {freshness}
  check_period always
  notification_period always
  contacts nobody
}}
"""


class Nagios:
    """One engine in a folder of its own. `kill` is kill -9 and loses every state; `stop` is an orderly end."""

    def __init__(self, program: Path, folder: Path, services: Sequence[tuple[str, str]], freshness: int = 960) -> None:
        self.folder, self._program, self._freshness = folder, program, freshness
        self.command_file, self.status_file = folder / "nagios.cmd", folder / "status.dat"
        self._process: subprocess.Popen[bytes] | None = None
        user = _ordinary_user()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _CHECK_RESULTS).mkdir(exist_ok=True)
        script = folder / "no-result.sh"
        script.write_text('#!/bin/sh\necho "UNKNOWN: no result from Tocsin"\nexit 3\n')
        script.chmod(0o755)
        (folder / "nagios.cfg").write_text(
            _MAIN.format(
                folder=folder,
                spool=_CHECK_RESULTS,
                freshness_interval=min(60, max(1, freshness // 3)),
                user=f"nagios_user={user.pw_name}\nnagios_group={user.pw_gid}\n" if user else "",
            )
        )
        self.define(services)
        if user is not None:
            for path in (folder, folder / _CHECK_RESULTS):
                os.chown(path, user.pw_uid, user.pw_gid)

    def define(self, services: Sequence[tuple[str, str]]) -> None:
        """The services it knows from its next start on."""
        days = "\n".join(f"  {day} 00:00-24:00" for day in _DAYS)
        objects = [_OBJECTS.format(days=days, folder=self.folder)]
        objects += [_HOST.format(host=host) for host in dict.fromkeys(host for host, _ in services)]
        objects += [_SERVICE.format(host=host, service=service, freshness=self._freshness) for host, service in services]
        (self.folder / "objects.cfg").write_text("".join(objects))

    def start(self) -> None:
        """Start it and wait until it reads its command file."""
        self.command_file.unlink(missing_ok=True)
        self.status_file.unlink(missing_ok=True)
        with (self.folder / "stdout.log").open("ab") as log:
            # Its own process group: a worker of it must not outlive the test.
            self._process = subprocess.Popen(
                [self._program, self.folder / "nagios.cfg"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.wait(lambda: self.status_file.exists() and self._reads(), "start")

    def kill(self) -> None:
        """kill -9, with all its workers; what it knew is gone."""
        self._end(signal.SIGKILL)
        (self.folder / "retention.dat").unlink(missing_ok=True)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def shown(self) -> dict[ServiceKey, Shown]:
        """What it shows now; empty while it cannot tell."""
        try:
            return {one.service: one for one in read_status(self.status_file, time.time(), 600)}
        except TransientError:
            return {}

    def wait(self, until: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Wait for something to come true."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end or (self._process is not None and self._process.poll() is not None):
                logs = [self.folder / "stdout.log", self.folder / "nagios.log"]
                told = "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
                raise AssertionError(f"Nagios did not {what} within {seconds:g} s: {told}")
            time.sleep(0.05)

    def _reads(self) -> bool:
        try:
            os.close(os.open(self.command_file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if how is signal.SIGKILL:
                os.killpg(self._process.pid, how)
            else:
                self._process.send_signal(how)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None


@pytest.fixture(scope="session")
def nagios_program() -> Path:
    """Debian's nagios4; skips where there is none."""
    return program("nagios4", ["nagios4-core"], "usr/sbin/nagios4")


@pytest.fixture
def nagios(nagios_program: Path) -> Iterator[Callable[..., Nagios]]:
    """`nagios(services=[(host, service), …])` makes one, not started yet; all are ended with the test."""
    made: list[Nagios] = []
    # Not in tmp_path: every pytest that starts on this machine closes its parent to the user that Nagios becomes.
    with tempfile.TemporaryDirectory(prefix="tocsin-nagios-", ignore_cleanup_errors=True) as parent:
        Path(parent).chmod(0o755)

        def make(services: Sequence[tuple[str, str]], *, freshness: int = 960) -> Nagios:
            made.append(Nagios(nagios_program, Path(parent) / str(len(made)), services, freshness))
            return made[-1]

        yield make
        for one in made:
            one.stop()


def _ordinary_user() -> pwd.struct_passwd | None:
    """Whom a Nagios started by root becomes (it would want a user `nagios`); None when we are an ordinary user."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else None
