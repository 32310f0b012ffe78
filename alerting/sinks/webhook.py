"""A webhook: one signed request per result, its body written by a template."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, field_validator

from alerting.sinks.recording import spelled
from tocsin.errors import PermanentError, TransientError
from tocsin.http import Http, Limits, Refused, web_address
from tocsin.model import CheckResult, Outcome, Probe, Sent, ServiceKey, Severity, Shown
from tocsin.ports import Plugin
from tocsin.settings import SecretRef, Settings
from tocsin.tls import Tls

_MOST_BODY = 65_536
_ENVIRONMENT = ImmutableSandboxedEnvironment(autoescape=False, undefined=jinja2.StrictUndefined)
_EXAMPLE = CheckResult(service=ServiceKey("web-1", "Anomaly-web"), code=Severity.CRITICAL, text="CRITICAL: an example", at=1)


class WebhookSettings(Settings):
    """`use: webhook`.

    The template knows `host`, `service`, `code` (0 to 3), `state` (OK, WARNING, …), `text`, `at` (epoch seconds), `perf` and
    `id`, which is the same when the same result is sent again. Texts come from outside: write them as `{{ text | tojson }}`.
    """

    url: str = Field(description="where to; a secret in its path belongs into `headers`, or use `url_secret`")
    url_secret: SecretRef | None = Field(None, description="a path with a secret in it, put behind `url`")
    template: str | None = Field(None, max_length=20_000, description="Jinja2; without it a JSON object of all that is known")
    content_type: str = Field("application/json", pattern=r"^[\w.+-]+/[\w.+-]+(; ?charset=[\w-]+)?$")
    headers: dict[str, SecretRef] = Field(default_factory=dict, description='by reference: {"authorization": "env:HOOK_TOKEN"}')
    signature: SecretRef | None = Field(None, description="key of an HMAC-SHA256 in the header x-tocsin-signature")
    tls: Tls = Field(default_factory=Tls)
    per_pass: int = Field(50, ge=1, le=1000, description="requests per pass of the deliver loop")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return web_address(url)

    @field_validator("template")
    @classmethod
    def _can_be_filled(cls, template: str | None) -> str | None:
        if template is not None:
            try:
                _ENVIRONMENT.from_string(template).render(_facts(_EXAMPLE))
            except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
                raise ValueError(f"the template cannot be filled in: {error}") from None
        return template


class Webhook:
    """Sends each result alone; the receiver can tell a repetition by its `id`.

    With `signature`, `x-tocsin-signature: t=<epoch seconds>,v1=<hex>` is the HMAC-SHA256 of `<epoch seconds>.<body>`: the
    receiver can tell that it came from us, and refuse what is old.
    """

    reads_back = False

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._template = None if settings.template is None else _ENVIRONMENT.from_string(settings.template)
        self._http = Http(settings.url, tls=settings.tls, limits=Limits(connect=2.0, read=5.0, total=5.0, bytes=1 << 20))

    def send(self, results: Sequence[CheckResult]) -> Sequence[Outcome]:
        """As `Sink` promises. "Yes" is an answer 200 to 299."""
        outcomes: list[Outcome] = []
        for result in results[: self._settings.per_pass]:
            outcome = self._one(result)
            outcomes.append(outcome)
            if outcome.sent is Sent.UNKNOWN:  # it does not answer: the rest would wait as long
                break
        later = outcomes[-1] if outcomes and outcomes[-1].sent is Sent.UNKNOWN else Outcome(sent=Sent.NO, why="not sent yet")
        return [*outcomes, *[Outcome(sent=Sent.NO, why=later.why)] * (len(results) - len(outcomes))]

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def probe(self, now: float) -> Probe:
        """As `ProbingSink` promises: shows what would be sent, and sends nothing."""
        text = json.dumps(_facts(_EXAMPLE)) if self._template is None else self._template.render(_facts(_EXAMPLE))
        promise = '"yes" means: answered 200 to 299; nothing can be read back'
        return Probe(
            version=f"webhook at {self._http.place}", rights=(promise,), samples=(text[:300],), warnings=self._http.warnings
        )

    def read_back(self, services: Sequence[ServiceKey]) -> Sequence[Shown]:
        """Never possible."""
        raise TransientError("a webhook cannot tell what is shown")

    def _one(self, result: CheckResult) -> Outcome:
        settings = self._settings
        hide: list[str] = []
        try:
            facts = _facts(result)
            text = json.dumps(facts) if self._template is None else self._template.render(facts)
            body = text.encode(errors="replace")
            if len(body) > _MOST_BODY:
                return Outcome(sent=Sent.NO, why=f"the template made {len(body)} bytes; the most is {_MOST_BODY}")
            headers = {"content-type": settings.content_type}
            for name, reference in settings.headers.items():
                hide.append(reference.reveal())
                headers[name] = hide[-1]
            if settings.signature is not None:
                headers["x-tocsin-signature"] = signed(settings.signature.reveal(), int(self._clock()), body)
            path = "" if settings.url_secret is None else settings.url_secret.reveal()
            self._http.ask("POST", path, "webhook", content=body, headers=headers, hide=[*hide, path])
        except (jinja2.TemplateError, ValueError, TypeError, ArithmeticError) as error:
            return Outcome(sent=Sent.NO, why=f"webhook: {error}")
        except Refused as error:
            return Outcome(sent=Sent.NO, why=str(error))
        except (TransientError, PermanentError) as error:
            return Outcome(sent=Sent.UNKNOWN, why=str(error))
        return Outcome(sent=Sent.YES)


def signed(key: str, at: int, body: bytes) -> str:
    """The value of the header x-tocsin-signature."""
    return f"t={at},v1={hmac.new(key.encode(), b'%d.%s' % (at, body), hashlib.sha256).hexdigest()}"


def _facts(result: CheckResult) -> dict[str, object]:
    name = f"{result.service.host}\0{result.service.service}\0{int(result.code)}\0{result.at}"
    return {**spelled(result), "state": result.code.name, "id": hashlib.sha256(name.encode(errors="replace")).hexdigest()[:24]}


PLUGIN = Plugin(
    name="webhook",
    summary="one signed HTTP request per result, its body from a template",
    settings=WebhookSettings,
    build=lambda settings, _surroundings: Webhook(settings),
)
