"""How a server proves who it is: one answer for every library that opens connections."""

from __future__ import annotations

import hmac
import re
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import field_validator, model_validator

from tocsin.errors import PermanentError
from tocsin.settings import Settings


class Tls(Settings):
    """How a server proves who it is: by the authorities this machine trusts, unless said otherwise.

    `ca` is a file of the authorities to trust instead. `fingerprint` is the SHA-256 of the server's own certificate: that
    one is trusted, whoever signed it and whatever name is on it, and no other. `verify: false` trusts everybody.
    """

    ca: Path | None = None
    fingerprint: str | None = None
    verify: bool = True

    @field_validator("ca")
    @classmethod
    def _absolute(cls, ca: Path | None) -> Path | None:
        if ca is not None and not ca.is_absolute():
            raise ValueError(f"{ca} is relative: write the whole path, such as /etc/ssl/our-ca.pem")
        return ca

    @field_validator("fingerprint")
    @classmethod
    def _sha256(cls, fingerprint: str | None) -> str | None:
        plain = re.sub(r"^sha-?256[:=]|[:\s]", "", fingerprint or "", flags=re.IGNORECASE).lower()
        if fingerprint is not None and not re.fullmatch(r"[0-9a-f]{64}", plain):
            raise ValueError("expected the SHA-256 of a certificate: 64 hexadecimal digits, colons allowed")
        return plain or None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ca and self.fingerprint:
            raise ValueError("ca and fingerprint are two ways to trust a server: write one of them")
        if not self.verify and (self.ca or self.fingerprint):
            raise ValueError("verify: false trusts everybody: leave out ca and fingerprint, or leave out verify")
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should be told about it again and again."""
        if self.verify:
            return ()
        danger = "anybody between here and the server can read the password and change the answers"
        return (f"tls.verify is false: {danger}; give ca or fingerprint instead",)

    def context(self) -> ssl.SSLContext:
        """What every library that opens connections is given. Raises `PermanentError` when `ca` cannot be read."""
        context = _Pinned(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.fingerprint is not None or not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.fingerprint = self.fingerprint
            return context
        try:
            if self.ca is None:
                context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            else:
                context.load_verify_locations(self.ca)
        except (OSError, ssl.SSLError) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
                else "it holds no certificate"
            )
            raise PermanentError(f"tls.ca: {self.ca} cannot be used: {why}") from error
        return context


class WrongCertificate(ssl.SSLCertVerificationError):
    """The server showed another certificate than the one we were told to expect."""


class _Pinned(ssl.SSLContext):
    """A context that can be told which certificate the server must show; it looks before anything is sent."""

    fingerprint: str | None = None

    def wrap_socket(self, *args: Any, **named: Any) -> ssl.SSLSocket:
        wrapped = super().wrap_socket(*args, **named)
        try:
            self._look(wrapped.getpeercert(binary_form=True))
        except WrongCertificate:
            wrapped.close()
            raise
        return wrapped

    def _look(self, shown: bytes | None) -> None:
        if self.fingerprint is None:
            return
        found = sha256(shown or b"").hexdigest()
        if not hmac.compare_digest(found, self.fingerprint):
            raise WrongCertificate(f"the server's certificate has the fingerprint {found}")


def distrust(error: BaseException) -> str:
    """What is wrong with the certificate behind a failed connection, and the remedy; empty when it was something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, WrongCertificate):
            return f"{cause.args[0]}, not the one in tls.fingerprint"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted here: {cause.verify_message.rstrip('.')}; "
                "give the authority as tls.ca, or the certificate's SHA-256 as tls.fingerprint"
            )
        cause = cause.__cause__ or cause.__context__
    return ""
