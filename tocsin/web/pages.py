"""What a person finds behind a service in Centreon: its state, its incidents, and each one's story. Every page has a JSON twin.

/services/HOST/SERVICE          /services/HOST/SERVICE.json
/incidents/ID                   /incidents/ID.json
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tocsin.config import Config
from tocsin.errors import ConfigError
from tocsin.explain import document, gather, story
from tocsin.model import Incident, ServiceKey
from tocsin.store.state import State

MOST = 50
"""Incidents of a service on one page, newest first."""
_SEARCHED = 5000

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_PAGE = _ENVIRONMENT.from_string("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
pre { background: #f5f5f2; padding: 1rem; overflow-x: auto; white-space: pre-wrap }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } pre { background: #262626 } a { color: #8ab4f8 } }
</style></head><body>
<h1>{{ title }}</h1>
{% if lead %}<p>{{ lead }}</p>{% endif %}
{% for story in stories %}
<section id="{{ story.id }}"><pre>{{ story.text }}</pre></section>
{% endfor %}
{% if not stories %}<p>{{ nothing }}</p>{% endif %}
</body></html>
""")


def routes(config: Callable[[], Config], state: Callable[[], State]) -> list[Route]:
    """The pages; both are asked for anew by every request, because a reload replaces them."""

    async def service(request: Request) -> Response:
        name, as_json = _plain(request.path_params["service"])
        return await run_in_threadpool(_service, config(), state(), ServiceKey(request.path_params["host"], name), as_json)

    async def incident(request: Request) -> Response:
        name, as_json = _plain(request.path_params["incident"])
        return await run_in_threadpool(_incident, config(), state(), name, as_json)

    return [Route("/services/{host}/{service:path}", service), Route("/incidents/{incident}", incident)]


def _plain(name: str) -> tuple[str, bool]:
    return (name.removesuffix(".json"), True) if name.endswith(".json") else (name, False)


def _service(config: Config, state: State, key: ServiceKey, as_json: bool) -> Response:
    rows = state.desired_rows([key])
    if not rows:
        return _nothing(f"no service {key.host} / {key.service} is shown by Tocsin", as_json)
    row = rows[0]
    told = [one for one in state.incidents(open_only=False, limit=_SEARCHED) if _behind(config, one, key)][:MOST]
    if as_json:
        facts = {
            "host": key.host,
            "service": key.service,
            "code": int(row.code),
            "state": row.code.name,
            "text": row.text,
            "changed_at": row.changed_at,
            "incidents": [document(*state.incident(one.id)) for one in told],
        }
        return JSONResponse(facts, headers=_HEADERS)
    stories = [{"id": one.id, "text": story(config, *state.incident(one.id))} for one in told]
    return _page(f"{key.host} / {key.service}", f"{row.code.name}: {row.text}", stories, "No incident so far.")


def _behind(config: Config, incident: Incident, key: ServiceKey) -> bool:
    kind = next((one for one in config.types if one.name == incident.component_type), None)
    return kind is not None and kind.alert.to.key(incident.component, kind.name, incident.signature) == key


def _incident(config: Config, state: State, name: str, as_json: bool) -> Response:
    try:
        found, steps = state.incident(name)
    except ConfigError as error:
        return _nothing(str(error), as_json)
    around = gather(config, state, found)
    if as_json:
        return JSONResponse(document(found, steps, around), headers=_HEADERS)
    told = {"id": found.id, "text": story(config, found, steps, around)}
    return _page(f"Incident of {found.component}", "", [told], "")


def _nothing(why: str, as_json: bool) -> Response:
    if as_json:
        return JSONResponse({"error": why}, 404, headers=_HEADERS)
    return _page("Not found", why, [], "", 404)


def _page(title: str, lead: str, stories: list[dict[str, Any]], nothing: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.render(title=title, lead=lead, stories=stories, nothing=nothing), status, headers=_HEADERS)
