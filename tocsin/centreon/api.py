"""A session with Centreon's Web API: the current one (v2), and the older one (v1) for what only it can do.

    url: https://central.example.org/centreon     +  /api/latest/…        (v2)
                                                  +  /api/index.php?…     (v1, CLAPI over REST)

A session begins at the first question, by an API token or by user and password, and is renewed once when it has ended. An answer
of 2xx tells that Centreon took a question, never that an engine acted on it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from tocsin.errors import PermanentError
from tocsin.http import Answer, Http, Limits, Refused, Unanswered, clean, web_address
from tocsin.settings import Duration, SecretRef, Settings
from tocsin.tls import Tls

MOST_PAGES = 2_000


class ApiSettings(Settings):
    """Centreon's Web API. `url` is what people open in their browser, such as https://central.example.org/centreon.

    Either `token` (an API token, the better way: it does not end while nobody looks) or `user` and `password`.
    """

    url: Annotated[str, AfterValidator(web_address)]
    token: SecretRef | None = None
    user: str = Field("", max_length=255)
    password: SecretRef | None = None
    version: Annotated[str, Field(pattern=r"^(latest|beta|v[0-9]{2}\.[0-9]{2})$")] = "latest"
    tls: Tls = Field(default_factory=Tls)
    timeout: Annotated[Duration, Field(ge=1, le=600)] = 30
    page: Annotated[int, Field(strict=True, ge=1, le=5000)] = 500

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.token is None) == (self.password is None) or bool(self.user) != (self.password is not None):
            raise ValueError("expected token, or user and password")
        return self


class Api:
    """The session. Threads may share it."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        limits = Limits(read=settings.timeout, total=settings.timeout)
        self._http = Http(settings.url, tls=settings.tls, limits=limits)
        self._lock, self._token = threading.Lock(), ""
        self.place, self.usage = self._http.place, self._http.usage

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not safe about the way to it."""
        return tuple(f"api.{warning}" if warning.startswith("tls.") else warning for warning in self._http.warnings)

    def close(self) -> None:
        """Give back the connections. The session itself ends at Centreon when it was not used for two hours."""
        self._http.close()

    # --- v2 ---------------------------------------------------------------------------------------------------------

    def get(self, path: str, what: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The answer's JSON. Raises `Unanswered` or `Refused`."""
        return self.ask("GET", path, what, params=params).json()

    def ask(
        self, method: str, path: str, what: str, *, params: Mapping[str, str | int] | None = None, body: Any = None
    ) -> Answer:
        """One question to v2, with a session that lives."""
        return self._in_session(
            lambda token: self._http.ask(
                method,
                f"/api/{self._settings.version}{path}",
                what,
                params=params or {},
                **({} if body is None else {"json": body}),
                headers={"x-auth-token": token},
            ),
            ended=(401,),
        )

    def pages(
        self,
        path: str,
        what: str,
        *,
        search: Mapping[str, Any] | None = None,
        sort_by: str = "",
        filters: Mapping[str, Sequence[str | int]] | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of a listing, page after page, at most `limit`. Items that moved from one page to the next come twice.

        Sort by something that is different for each item: what only has a resolution of a second (states' and checks' times) is
        sorted differently for each page, and items fall between two pages.
        """
        params: dict[str, str | int] = {"limit": self._settings.page}
        if search:
            params["search"] = json.dumps(search)
        if sort_by:
            params["sort_by"] = json.dumps({sort_by: "ASC"})
        params |= {name: json.dumps(list(values)) for name, values in (filters or {}).items()}
        came = 0
        for page in range(1, MOST_PAGES + 1):
            answer = self.get(path, what, params | {"page": page})
            items, total = _page(answer, f"{self.place}: {what}")
            for item in items:
                yield item
                came += 1
                if limit is not None and came >= limit:
                    return
            if not items or page * self._settings.page >= total:
                return

    def version(self) -> str:
        """`24.10.1`, or what there is instead. Old ones that cannot tell are told as such."""
        try:
            found = self.get("/platform/versions", "version")
        except Refused as error:
            if error.status == 404:
                return "before 21.10"
            raise
        web = found.get("web") if isinstance(found, dict) else None
        return clean(str(web.get("version", ""))) if isinstance(web, dict) else "unknown"

    # --- v1 ---------------------------------------------------------------------------------------------------------

    def ask_v1(self, what: str, params: Mapping[str, str | int], body: Any) -> Answer:
        """One question to v1, which takes the same token under another name; 206 is an answer, too."""
        return self._in_session(
            lambda token: self._http.ask(
                "POST", "/api/index.php", what, params=params, json=body, headers={"centreon-auth-token": token}
            ),
            # Versions differ in what they say to a token they do not know.
            ended=(401, 403),
        )

    def clapi(self, action: str, kind: str, values: Sequence[str] = (), *, what: str = "") -> list[dict[str, str]]:
        """A command of CLAPI over REST: `clapi("show", "HOST", ["srv-1"])`. Values are joined by `;`, so none may hold one.

        Raises `Refused` with the status Centreon gave (404 not there, 409 there already) and its own words.
        """
        if wrong := [value for value in values if ";" in value or not value.isprintable()]:
            raise Refused(
                f"{self.place}: CLAPI {kind} {action}: {clean(wrong[0], longest=40)!r} holds a character it cannot take"
            )
        body: dict[str, Any] = {"action": action} | ({"object": kind} if kind else {})
        if values:
            body["values"] = ";".join(values)
        asked = what or f"CLAPI {kind} {action}".replace("  ", " ")
        found = self.ask_v1(asked, {"action": "action", "object": "centreon_clapi"}, body).json()
        rows = found.get("result") if isinstance(found, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    # --- the session ------------------------------------------------------------------------------------------------

    def _in_session(self, ask: Callable[[str], Answer], ended: Sequence[int]) -> Answer:
        token = self._alive("")
        try:
            return _asked(ask, token)
        except Refused as error:
            if error.status not in ended:
                raise
            if self._settings.token is not None:
                why = "the API token is unknown, has expired, or its user lacks a right for this"
                raise Refused(f"{error}; {why}", status=error.status, body=error.body) from error
        token = self._alive(token)
        try:
            return _asked(ask, token)
        except Refused as error:
            if error.status not in ended:
                raise
            why = f"the session is new, so {self._settings.user} lacks a right for this"
            raise Refused(f"{error}; {why}", status=error.status, body=error.body) from error

    def _alive(self, dead: str) -> str:
        """A token other than the dead one; one thread logs in, the others wait for it."""
        with self._lock:
            if self._token in ("", dead):
                self._token = self._revealed("token", self._settings.token) if self._settings.token else self._log_in()
            return self._token

    def _revealed(self, name: str, secret: Any) -> str:
        try:
            return str(secret.reveal())
        except ValueError as error:
            raise PermanentError(f"{self.place}: api.{name}: {error}") from error

    def _log_in(self) -> str:
        user, password = self._settings.user, self._revealed("password", self._settings.password)
        body = {"security": {"credentials": {"login": user, "password": password}}}
        try:
            answer = self._http.ask("POST", f"/api/{self._settings.version}/login", "login", json=body, hide=[password])
        except Refused as error:
            raise self._refused(error) from error
        found = answer.json()
        token = found.get("security", {}).get("token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{8,512}", token):
            raise Unanswered(f"{self.place}: login: the answer holds no token", status=answer.status)
        return token

    def _refused(self, error: Refused) -> Refused:
        user = self._settings.user
        if b"expired" in error.body.lower():
            why = f"the password of {user} has expired: renew it and take the account out of expiration, or use an API token"
        elif b"block" in error.body.lower() or b"too many" in error.body.lower():
            why = f"the account {user} is locked for a while after too many wrong passwords"
        elif error.status in (401, 403):
            why = f"the account {user} is refused: is the password right, and may it reach the API?"
        else:
            return error
        return Refused(f"{self.place}: login: {error.status}: {why}", status=error.status, body=error.body)


def _page(answer: Any, place: str) -> tuple[list[dict[str, Any]], int]:
    """Items and total of a page; `search` and `sort_by` in its `meta` may be {} or [] and are not looked at."""
    items = answer.get("result") if isinstance(answer, dict) else None
    meta = answer.get("meta") if isinstance(answer, dict) else None
    total = meta.get("total") if isinstance(meta, dict) else None
    if not isinstance(items, list) or not isinstance(total, int):
        raise Unanswered(f"{place}: the answer is no page of a listing")
    return [item for item in items if isinstance(item, dict)], total


def _asked(ask: Callable[[str], Answer], token: str) -> Answer:
    """Centreon says 500 where it means 400: what names a property of ours will be refused again."""
    try:
        return ask(token)
    except Unanswered as error:
        if error.status == 500 and _SCHEMA_FAULT.search(error.body):
            raise Refused(f"{error} (Centreon says 500 to what it does not understand)", status=500, body=error.body) from error
        raise


_SCHEMA_FAULT = re.compile(rb'"message"\s*:\s*"(?:Error when decoding|\[[A-Za-z_.\[\]0-9]+\] )')
