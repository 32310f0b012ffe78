"""Keeps what would have been sent: for dry runs, the demo and tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Shown
from tocsin.ports import Plugin
from tocsin.settings import Settings


class RecordingSettings(Settings):
    """`use: recording`."""

    file: Path | None = Field(
        None, description="append every result to this file, one JSON object per line; without it only memory"
    )


class Recording:
    """A receiver that shows everything it was given at once. `results` are all of them, in order."""

    reads_back = True

    def __init__(self, file: Path | None = None) -> None:
        self.results: list[CheckResult] = []
        self._file = file
        self._shown: dict[ServiceKey, Shown] = {}

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises; a file that cannot be written is a "no"."""
        if self._file is not None:
            try:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.writelines(json.dumps(spelled(result)) + "\n" for result in results)
            except OSError as error:
                return [Outcome(sent=Sent.NO, why=f"{self._file}: {error.strerror}") for _ in results]
        self.results += results
        for one in results:
            self._shown[one.service] = Shown(service=one.service, code=one.code, text=one.text, last_check=one.at)
        return [Outcome(sent=Sent.YES) for _ in results]

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises."""
        where = "in memory" if self._file is None else str(self._file)
        return Probe(version=f"kept {where}", rights=('"yes" means: written; nothing reaches Centreon',))

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """As `Sink` promises: every service exists here."""
        nothing = [Shown(service=key, code=None, text="", last_check=0) for key in services if key not in self._shown]
        return [*(self._shown[key] for key in services if key in self._shown), *nothing]


def spelled(result: CheckResult) -> dict[str, Any]:
    """A result as one JSON object."""
    perf = [{"label": one.label, "value": one.value, "unit": one.unit} for one in result.perf]
    key = result.service
    return {
        "at": result.at,
        "host": key.host,
        "service": key.service,
        "code": int(result.code),
        "text": result.text,
        "perf": perf,
    }


PLUGIN = Plugin(
    name="recording",
    summary="keeps results in memory or appends them to a file; shows them nowhere",
    settings=RecordingSettings,
    build=lambda settings, _surroundings: Recording(settings.file),
)
