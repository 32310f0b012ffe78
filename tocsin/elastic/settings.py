"""Where the cluster is, and who we are there."""

from __future__ import annotations

import base64
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tocsin.errors import PermanentError
from tocsin.http import web_address
from tocsin.settings import SecretRef, Settings
from tocsin.tls import Tls

PORT = 9200
"""Where Elasticsearch listens, when an address names no port."""


class Auth(Settings):
    """Who we are: `api_key`, `user` with `password`, or `bearer`; each by reference, `env:NAME` or `file:/path`.

    An API key is what "create API key" calls `encoded`, or `id:api_key`.
    """

    api_key: SecretRef | None = None
    user: str | None = Field(None, min_length=1, max_length=200)
    password: SecretRef | None = None
    bearer: SecretRef | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if sum(way is not None for way in (self.api_key, self.user, self.bearer)) != 1:
            raise ValueError("expected one of api_key, user with password, or bearer")
        return self

    def header(self) -> str:
        """The value of `Authorization`, the secret read anew. Raises `PermanentError` when it is not there."""
        try:
            if self.api_key is not None:
                key = self.api_key.reveal().strip()
                return f"ApiKey {base64.b64encode(key.encode()).decode() if ':' in key else key}"
            if self.bearer is not None:
                return f"Bearer {self.bearer.reveal().strip()}"
            assert self.password is not None
            return "Basic " + base64.b64encode(f"{self.user}:{self.password.reveal()}".encode()).decode()
        except ValueError as error:
            raise PermanentError(f"auth: {error}") from error


class Server(Settings):
    """A cluster: `hosts` (one or several addresses of it; port 9200 where none is written), `auth`, `tls`.

    `flavour: auto` asks the server which of the two it is.
    """

    hosts: str | tuple[str, ...] = Field(min_length=1, description="https://es1.example.org:9200, or a list of such.")
    auth: Auth | None = Field(None, description="{api_key: env:NAME}, {user: …, password: env:NAME} or {bearer: file:/path}.")
    tls: Tls = Field(Tls(), description="{ca: /path.pem} or {fingerprint: SHA-256}; else the machine's trust store.")
    flavour: Literal["auto", "elasticsearch", "opensearch"] = "auto"

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: str | tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_with_port(host) for host in ((hosts,) if isinstance(hosts, str) else hosts))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, its port written out."""
        return (self.hosts,) if isinstance(self.hosts, str) else self.hosts

    @property
    def place(self) -> str:
        """How error texts call the cluster."""
        return self.addresses[0] + ("" if len(self.addresses) == 1 else f" (one of {len(self.addresses)} hosts)")

    def problems(self) -> list[str]:
        """What a person should put right, as far as it can be seen without connecting; a sentence each."""
        found = [f"tls: {warning}" for warning in self.tls.warnings]
        plain = [host for host in self.addresses if host.startswith("http:") and not _here(host)]
        if plain and self.auth is not None:
            found.append(f"hosts: {plain[0]} sends the credentials in the clear; use https")
        if self.auth is not None:
            try:
                self.auth.header()
            except PermanentError as error:
                found.append(str(error))
        if self.tls.ca is not None and not self.tls.ca.is_file():
            found.append(f"tls.ca: there is no file {self.tls.ca}")
        return found


def _with_port(host: str) -> str:
    base = web_address(host)
    parts = urlsplit(base)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{host[:100]!r} has no valid port: write https://es1.example.org:9200") from None
    return base if port else base.replace(parts.netloc, f"{parts.netloc}:{PORT}", 1)


def _here(host: str) -> bool:
    return urlsplit(host).hostname in ("127.0.0.1", "::1", "localhost")
