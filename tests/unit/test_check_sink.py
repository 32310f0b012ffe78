"""`tocsin check-sink` says whether results can be delivered, and sends nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

from typer.testing import CliRunner, Result

from tests.receivers import receiver
from tocsin.cli import app
from tocsin.errors import ConfigError, TransientError


def check(folder: Path, sink: str, *more: str) -> Result:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "a.csv").write_text("timestamp,cpu\n2026-11-02T09:00:00Z,1\n")
    (folder / "host.yaml").write_text("component_type: host\nevery: 5m\ncollect: [{from: files, path: data/*.csv}]\n")
    (folder / "tocsin.yaml").write_text(f"components: [host.yaml]\ndeliver:\n  sink: {{{sink}}}\n")
    return CliRunner().invoke(app, ["check-sink", "-c", str(folder / "tocsin.yaml"), *more])


def test_an_engine_that_reads_its_command_file_is_told_with_what_it_shows(tmp_path: Path) -> None:
    fifo, status = tmp_path / "engine.cmd", tmp_path / "status.dat"
    os.mkfifo(fifo)
    block = "host_name=web-1\nservice_description=Disk\ncurrent_state=0\nlast_check=5\nhas_been_checked=1\nplugin_output=OK: 5 %"
    status.write_text(f"info {{\ncreated={int(time.time())}\n}}\nservicestatus {{\n{block}\n}}\n")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        told = check(tmp_path, f"use: command-file, command_file: {fifo}, status_file: {status}")
        assert told.exit_code == 0, told.exception
        assert "read back: yes" in told.stdout
        assert "web-1 / Disk: OK: 5 %" in told.stdout
        assert '"yes" means' in told.stdout
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_an_engine_that_is_down_is_a_fault_of_the_moment(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "engine.cmd")
    told = check(tmp_path, f"use: command-file, command_file: {tmp_path}/engine.cmd")
    assert isinstance(told.exception, TransientError)
    assert "the engine is down" in str(told.exception)


def test_a_file_in_the_place_of_the_pipe_must_be_put_right_first(tmp_path: Path) -> None:
    (tmp_path / "engine.cmd").write_text("")
    told = check(tmp_path, f"use: command-file, command_file: {tmp_path}/engine.cmd")
    assert isinstance(told.exception, ConfigError | TransientError)


def test_a_spool_and_its_waiting_files_are_told(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    told = check(tmp_path, f"use: gorgone-spool, folder: {spool}")
    assert isinstance(told.exception, ConfigError)
    assert "writable for us" in str(told.exception)
    spool.mkdir()
    (spool / "tocsin-1.cmd").write_text("")
    told = check(tmp_path, f"use: gorgone-spool, folder: {spool}")
    assert "1 files of ours wait" in told.stdout


def test_what_a_webhook_would_send_is_shown_and_not_sent(tmp_path: Path) -> None:
    with receiver() as far:
        told = check(tmp_path, f"use: webhook, url: '{far.url}'", "--json")
        assert '"reads_back": false' in told.stdout
        assert "CRITICAL: an example" in told.stdout
        assert far.requests == []


def test_an_alertmanager_tells_its_version(tmp_path: Path) -> None:
    with receiver() as far:
        far.answer = lambda _: (200, {"versionInfo": {"version": "0.28.1"}})
        assert "Alertmanager 0.28.1" in check(tmp_path, f"use: alertmanager, url: '{far.url}'").stdout
        far.answer = lambda _: (503, {})
        assert isinstance(check(tmp_path, f"use: alertmanager, url: '{far.url}'").exception, TransientError)


def test_a_transport_s_settings_can_be_listed_without_a_configuration() -> None:
    told = CliRunner().invoke(app, ["check-sink", "nsca-ng"])
    assert "config: send_nsca's configuration" in told.stdout
    told = CliRunner().invoke(app, ["check-sink", "ncsa-ng"])
    assert 'did you mean "nsca-ng"' in str(told.exception)
