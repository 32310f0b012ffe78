"""Chat and mail through apprise: a message for each result that is not OK, and one when it is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from tocsin.errors import ConfigError, PermanentError, TransientError
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Severity, Shown
from tocsin.ports import Plugin
from tocsin.settings import SecretRef, Settings

_KIND = {Severity.OK: "success", Severity.WARNING: "warning", Severity.CRITICAL: "failure", Severity.UNKNOWN: "info"}


class NotifySettings(Settings):
    """`use: notify`; needs the extra: pip install 'tocsin[notify]'."""

    targets: tuple[SecretRef, ...] = Field(min_length=1, description="apprise addresses by reference; they hold passwords")
    per_pass: int = Field(20, ge=1, le=500, description="messages per pass of the deliver loop; more wait for the next")


class Notify:
    """Sends to every target; "yes" when all took it. Apprise does not tell which did not, so a retry goes to all."""

    reads_back = False

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises."""
        if not results:
            return []
        try:
            targets = self._targets()
        except (ValueError, ConfigError) as error:
            return [Outcome(sent=Sent.NO, why=str(error))] * len(results)
        outcomes: list[Outcome] = []
        for result in results[: self._settings.per_pass]:
            title = f"{result.code.name} {result.service.host} / {result.service.service}"
            taken = targets.notify(
                body=result.text,
                title=title,
                notify_type=_KIND[result.code],
                body_format="text",
                interpret_escapes=False,
                timeout=5,
            )
            outcomes.append(
                Outcome(sent=Sent.YES) if taken else Outcome(sent=Sent.UNKNOWN, why="a target did not take the message")
            )
            if not taken:
                break
        return [*outcomes, *[Outcome(sent=Sent.NO, why="not sent yet")] * (len(results) - len(outcomes))]

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: understands the addresses, and sends nothing."""
        try:
            self._targets()
        except ValueError as error:
            raise PermanentError(str(error)) from error
        promise = '"yes" means: every target took it; nothing can be read back; after a failure all targets get it again'
        return Probe(version=f"{len(self._settings.targets)} targets of apprise", rights=(promise,))

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("chat and mail cannot tell what is shown")

    def _targets(self) -> Any:
        try:
            import apprise  # noqa: PLC0415  (an extra)
        except ImportError:
            raise ConfigError("use: notify needs apprise: pip install 'tocsin[notify]'") from None
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its log lines hold addresses with passwords
        # Nothing on this machine is attached or read because an address says so.
        targets = apprise.Apprise(asset=apprise.AppriseAsset(plugin_paths=[], storage_mode="memory"))
        for place, reference in enumerate(self._settings.targets):
            if not targets.add(reference.reveal()):
                raise ConfigError(f"targets[{place}]: {reference.reference} holds no address that apprise understands")
        return targets


PLUGIN = Plugin(
    name="notify",
    summary="chat and mail through apprise, beside Centreon",
    settings=NotifySettings,
    build=lambda settings, _surroundings: Notify(settings),
)
