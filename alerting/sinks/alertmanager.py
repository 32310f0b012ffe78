"""Alertmanager: each service that is not OK is a firing alert, re-sent with every re-assertion; OK resolves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pydantic import Field, field_validator

from tocsin.errors import PermanentError, TransientError
from tocsin.http import Http, Limits, Refused, web_address
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Severity, Shown, utc
from tocsin.ports import Plugin
from tocsin.settings import Duration, SecretRef, Settings
from tocsin.tls import Tls

_SEVERITY = {Severity.WARNING: "warning", Severity.CRITICAL: "critical", Severity.UNKNOWN: "unknown"}
_CODES = {name: code for code, name in _SEVERITY.items()}
_MOST_TEXT = 4000


class AlertmanagerSettings(Settings):
    """`use: alertmanager`."""

    url: str = Field("http://127.0.0.1:9093", description="its address, without /api/v2")
    token: SecretRef | None = Field(None, description="bearer token of a proxy in front of it")
    labels: dict[str, str] = Field(default_factory=dict, description="put on every alert: {team: web}")
    lasts: Duration = Field(900, description="an alert that is not sent again for so long resolves; keep it above 2 x reassert")
    tls: Tls = Field(default_factory=Tls)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return web_address(url)


class Alertmanager:
    """Alerts are labelled alertname=TocsinAnomaly, host, service and severity. A change of severity resolves the former."""

    reads_back = True

    def __init__(self, settings: AlertmanagerSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._http = Http(settings.url, tls=settings.tls, limits=Limits(connect=2.0, read=5.0, total=5.0, bytes=16 << 20))

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises; one request for the whole batch."""
        if not results:
            return []
        now = self._clock()
        alerts = [alert for result in results for alert in self._alerts(result, now)]
        try:
            self._http.ask("POST", "/api/v2/alerts", "alerts", json=alerts, headers=self._headers())
        except (Refused, ValueError) as error:
            return [Outcome(sent=Sent.NO, why=str(error))] * len(results)
        except (TransientError, PermanentError) as error:
            return [Outcome(sent=Sent.UNKNOWN, why=str(error))] * len(results)
        return [Outcome(sent=Sent.YES)] * len(results)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises."""
        try:
            status = self._http.ask("GET", "/api/v2/status", "status", headers=self._headers()).json()
        except ValueError as error:
            raise PermanentError(str(error)) from error
        info = status.get("versionInfo") if isinstance(status, dict) else None
        version = str(info.get("version", "?"))[:40] if isinstance(info, dict) else "?"
        promise = '"yes" means: Alertmanager has it; firing alerts are read back'
        return Probe(version=f"Alertmanager {version}", rights=(promise,), warnings=self._http.warnings)

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """As `Sink` promises: a service without a firing alert is OK; every service exists there."""
        try:
            answer = self._http.ask(
                "GET", "/api/v2/alerts", "alerts", params={"filter": 'alertname="TocsinAnomaly"'}, headers=self._headers()
            )
            found = answer.json()
        except (PermanentError, ValueError) as error:
            raise TransientError(str(error)) from error
        now = int(self._clock())
        shown = {key: Shown(service=key, code=Severity.OK, text="", last_check=now) for key in services}
        for alert in found if isinstance(found, list) else []:
            labels = alert.get("labels") if isinstance(alert, dict) else None
            if not isinstance(labels, dict):
                continue
            key = ServiceKey(str(labels.get("host", "")), str(labels.get("service", "")))
            code = _CODES.get(str(labels.get("severity", "")))
            if key in shown and code is not None:
                notes = alert.get("annotations")
                text = str(notes.get("description", "")) if isinstance(notes, dict) else ""
                shown[key] = Shown(service=key, code=code, text=text, last_check=now)
        return list(shown.values())

    def _alerts(self, result: CheckResult, now: float) -> list[dict[str, object]]:
        """The present state as an alert, and an end for each other severity it may have had."""
        alerts: list[dict[str, object]] = []
        for code, severity in _SEVERITY.items():
            labels = {
                **self._settings.labels,
                "alertname": "TocsinAnomaly",
                "host": result.service.host,
                "service": result.service.service,
                "severity": severity,
            }
            firing = code is result.code
            ends = now + self._settings.lasts if firing else now - 1
            text = result.text[:_MOST_TEXT] if firing else "over"
            alerts.append(
                {
                    "labels": labels,
                    "annotations": {"description": text},
                    "startsAt": _iso(min(result.at, ends)),
                    "endsAt": _iso(ends),
                }
            )
        return alerts

    def _headers(self) -> dict[str, str]:
        token = self._settings.token
        return {} if token is None else {"authorization": f"Bearer {token.reveal()}"}


def _iso(seconds: float) -> str:
    return utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


PLUGIN = Plugin(
    name="alertmanager",
    summary="Alertmanager's API v2: alerts that fire while a service is not OK",
    settings=AlertmanagerSettings,
    build=lambda settings, _surroundings: Alertmanager(settings),
)
