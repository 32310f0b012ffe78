"""A splunkd over a real socket: login, tokens, searches as jobs, results by page, saved searches, quotas, and its bad days.

What it answers is computed from samples (see `splunk_spl`), and its shapes follow what real ones were recorded to say; that
it is faithful is tested with the unmodified SDK.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.sax.saxutils import escape

from tests.splunk_served import Answer, Asked, Served
from tests.splunk_spl import Samples, SplError, run

ZONE = timezone(timedelta(hours=-7))
"""The time zone of the fake's user: `_time` comes in it, whatever ours is."""

OVER_ROLE = (
    "Search not executed: The maximum number of concurrent historical searches for this user based on their role quota has been "
    'reached.", concurrency_category="historical", concurrency_context="user_instance-wide", current_concurrency={0}, '
    "concurrency_limit={1}"
)
OVER_INSTANCE = (
    "Search not executed: The maximum number of concurrent historical searches on this instance has been reached., "
    'concurrency_category="historical", concurrency_context="instance-wide", current_concurrency=10, concurrency_limit=10'
)
OVER_ROLE_NEW = (
    'Search not executed: The role-based concurrency limit of historical searches for user "tocsin" has been reached '
    "(usage=3, quota=3)."
)
OVER_DISK = (
    "Search not executed: The maximum disk usage quota for this user has been reached., usage=101MB, quota=100MB, user=tocsin"
)


@dataclass
class Job:
    """A search of the fake. `states` are told one by one; 204 stands for "not ready"."""

    sid: str
    search: str
    rows: list[dict[str, Any]]
    states: deque[str]
    messages: list[tuple[str, str]] = field(default_factory=list)
    state: str = "QUEUED"
    cancelled: bool = False
    finalized: bool = False

    @property
    def over(self) -> bool:
        return self.state in ("DONE", "FAILED") or self.cancelled

    def step(self) -> str:
        if self.states:
            seen = self.states.popleft() if len(self.states) > 1 else self.states[0]
            self.state = "PARSING" if seen == "204" else seen
            return seen
        return self.state


def xml_messages(*messages: tuple[str, str]) -> bytes:
    lines = "".join(f'    <msg type="{kind}">{escape(text)}</msg>\n' for kind, text in messages)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<response>\n  <messages>\n{lines}  </messages>\n</response>\n'.encode()


def atom_dict(values: dict[str, Any]) -> str:
    def spell(value: Any) -> str:
        if isinstance(value, dict):
            return atom_dict(value)
        if isinstance(value, list):
            return "<s:list>" + "".join(f"<s:item>{escape(str(entry))}</s:item>" for entry in value) + "</s:list>"
        return escape(str(int(value) if isinstance(value, bool) else value))

    return (
        "<s:dict>" + "".join(f'<s:key name="{escape(key)}">{spell(value)}</s:key>' for key, value in values.items()) + "</s:dict>"
    )


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, ZONE).isoformat(timespec="milliseconds")


class Fake(Served):
    """A splunkd with `samples`. Everything that may go wrong is an attribute, or an entry of `faults`.

    `faults` maps a pattern of "METHOD path" to what answers instead: an `Answer`, or a function of the request and the honest
    answer; a number in `times` says how often.
    """

    def __init__(self, *, version: str = "9.4.1", context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.samples, self.version, self.instance_type = Samples(), version, "enterprise"
        self.now, self.token, self.user, self.password = time.time(), "good-token", "tocsin", "good-password"
        self.sessions: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.saved: dict[str, str] = {}
        self.states, self.quota, self.others = ["204", "RUNNING", "DONE"], 3, 0
        self.capabilities = ["search", "list_all_roles"]
        self.most = 50_000
        self.change: Callable[[Job], None] = lambda job: None
        self.messages: list[tuple[str, str]] = []
        self._number = self.peak = 0

    def left(self) -> list[Job]:
        """Jobs that nobody cancelled."""
        return [job for job in self.jobs.values() if not job.cancelled]

    def _answer(self, asked: Asked) -> Answer:
        path = re.sub(r"^/servicesNS/[^/]+/[^/]+/", "/services/", asked.path).rstrip("/")
        if path == "/services/auth/login":
            return self._log_in(asked)
        if (refused := self._refused(asked)) is not None:
            return refused
        if path == "/services/server/info":
            return self._entry(asked, "server-info", {"version": self.version, "instance_type": self.instance_type}, feed=True)
        if path == "/services/authentication/current-context":
            facts = {"username": self.user, "roles": ["tocsin"], "capabilities": self.capabilities}
            return self._entry(asked, "context", facts, feed=True)
        if path == "/services/authorization/roles/tocsin":
            return self._entry(
                asked, "tocsin", {"srchJobsQuota": self.quota, "srchDiskQuota": 100, "imported_srchJobsQuota": 0}, feed=True
            )
        if found := re.fullmatch(r"/services/search/(?:v2/)?jobs", path):
            return self._create(asked) if asked.method == "POST" else self._feed(asked)
        if re.fullmatch(r"/services/search/(?:v2/)?jobs/export", path):
            return self._export(asked)
        if found := re.fullmatch(r"/services/saved/searches/([^/]+)(/dispatch)?", path):
            return self._saved(asked, unquote_plus(found[1]), bool(found[2]))
        if found := re.fullmatch(r"/services/search/(?:v2/)?jobs/([^/]+)(?:/(\w+))?", path):
            return self._job(asked, unquote_plus(found[1]), found[2] or "")
        return self._says(asked, 404, "ERROR", "Not Found")

    def _says(self, asked: Asked, status: int, kind: str, text: str, **headers: str) -> Answer:
        if asked.form.get("output_mode") == "json":
            body = json.dumps({"messages": [{"type": kind, "text": text}]}).encode()
            return Answer(status, body, headers, "application/json; charset=UTF-8")
        return Answer(status, xml_messages((kind, text)), headers)

    def _log_in(self, asked: Asked) -> Answer:
        if not {"username", "password"} <= set(asked.form):
            return self._says(asked, 400, "ERROR", "Missing one or more required arguments.")
        if (asked.form["username"], asked.form["password"]) != (self.user, self.password):
            return self._says(asked, 401, "WARN", "Login failed")
        key = secrets.token_hex(16)
        self.sessions.add(key)
        headers = {"Set-Cookie": f"splunkd_8089={key}; Path=/; HttpOnly; Max-Age=3600"} if asked.form.get("cookie") == "1" else {}
        return Answer(200, f"<response>\n  <sessionKey>{key}</sessionKey>\n</response>\n".encode(), headers)

    def _refused(self, asked: Asked) -> Answer | None:
        kind, _, key = asked.headers.get("authorization", "").partition(" ")
        cookie = re.search(r"splunkd_\d+=(\w+)", asked.headers.get("cookie", ""))
        if (kind == "Bearer" and key == self.token) or (kind == "Splunk" and key in self.sessions):
            return None
        if not kind and cookie and cookie[1] in self.sessions:
            return None
        if kind in ("Bearer", "Splunk") or cookie:
            return self._says(asked, 401, "WARN", "call not properly authenticated")
        return self._says(asked, 401, "ERROR", "Unauthorized", **{"WWW-Authenticate": 'Basic realm="/splunk"'})

    def _entry(self, asked: Asked, title: str, content: dict[str, Any], *, feed: bool, status: int = 200) -> Answer:
        if asked.form.get("output_mode") == "json":
            body = json.dumps({"links": {}, "entry": [{"name": title, "content": content}], "messages": []})
            return Answer(status, body.encode(), {}, "application/json; charset=UTF-8")
        names = 'xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest"'
        entry = (
            f"<title>{escape(title)}</title><id>https://fake{escape(asked.path)}</id><updated>{iso(self.now)}</updated>"
            f'<link href="{quote(unquote_plus(asked.path))}" rel="alternate"/><author><name>{self.user}</name></author>'
            f'<content type="text/xml">{atom_dict(content)}</content>'
        )
        text = (
            f"<feed {names}><title>{escape(title)}</title><id>x</id><updated>{iso(self.now)}</updated>"
            f"<entry>{entry}</entry></feed>"
            if feed
            else f"<entry {names}>{entry}</entry>"
        )
        return Answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())

    # --- searches -----------------------------------------------------------------------------------------------------

    def _moment(self, text: str | None, default: float) -> float:
        if text is None or text == "now":
            return default if text is None else self.now
        if found := re.fullmatch(r"-(\d+)(s|m|h|d)", text):
            return self.now - int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
        return float(text)

    def _create(self, asked: Asked) -> Answer:
        search = asked.form.get("search")
        if not search:
            text = "The required 'search' parameter for the Splunk platform REST API search/jobs endpoint is not specified."
            return self._says(asked, 400, "FATAL", text)
        if "search" not in self.capabilities:
            return self._says(asked, 403, "ERROR", "insufficient permission to access this resource")
        start, end = self._moment(asked.form.get("earliest_time"), 0.0), self._moment(asked.form.get("latest_time"), self.now + 1)
        made = self._started(asked, search, start, end, asked.form.get("id"))
        if isinstance(made, Answer):
            return made
        mode = asked.form.get("exec_mode", "normal")
        if mode in ("blocking", "oneshot"):
            made.state, made.states = "DONE", deque()
        if mode == "oneshot":
            made.cancelled = True
            return self._results(asked, made)
        return self._sid(asked, made)

    def _started(self, asked: Asked, search: str, start: float, end: float, sid: str | None = None) -> Job | Answer:
        running = sum(not job.over for job in self.jobs.values()) + self.others
        if running >= self.quota:
            return self._says(asked, 503, "WARN", OVER_ROLE.format(running, self.quota))
        try:
            rows = run(search, self.samples, start, end)
        except SplError as error:
            return self._says(asked, 400, "FATAL", str(error))
        self._number += 1
        sid = sid or f"{int(self.now)}.{self._number}"
        job = Job(sid, search, rows[: self.most], deque(self.states), list(self.messages))
        self.jobs[sid] = job
        self.peak = max(self.peak, len(self.left()))
        self.change(job)
        return job

    def _sid(self, asked: Asked, job: Job) -> Answer:
        headers = {"Location": f"{asked.path.rstrip('/')}/{job.sid}"}
        if asked.form.get("output_mode") == "json":
            return Answer(201, json.dumps({"sid": job.sid}).encode(), headers, "application/json; charset=UTF-8")
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<response>\n  <sid>{escape(job.sid)}</sid>\n</response>\n'
        return Answer(201, body.encode(), headers)

    def _saved(self, asked: Asked, name: str, dispatch: bool) -> Answer:
        if name not in self.saved:
            return self._says(asked, 404, "ERROR", f"Could not find object id={name}")
        if not dispatch:
            acl = {"app": "search", "owner": "nobody", "sharing": "app"}
            return self._entry(asked, name, {"search": self.saved[name], "eai:acl": acl}, feed=True)
        start = self._moment(asked.form.get("dispatch.earliest_time"), 0.0)
        made = self._started(asked, self.saved[name], start, self._moment(asked.form.get("dispatch.latest_time"), self.now))
        return made if isinstance(made, Answer) else self._sid(asked, made)

    def _content(self, job: Job, *, as_json: bool) -> dict[str, Any]:
        kinds: dict[str, list[str]] = {}
        for kind, text in job.messages:
            kinds.setdefault(kind.lower(), []).append(text)
        listed = [{"type": kind, "text": text} for kind, text in job.messages]
        return {
            "dispatchState": job.state,
            "doneProgress": 1 if job.over else 0.5,
            "isDone": job.state in ("DONE", "FAILED"),
            "isFailed": job.state == "FAILED",
            "isFinalized": job.finalized,
            "isPaused": False,
            "eventCount": len(job.rows),
            "resultCount": len(job.rows),
            "scanCount": len(job.rows),
            "runDuration": 0.01,
            "sid": job.sid,
            "ttl": 600,
            "messages": listed if as_json else kinds,
            "eai:acl": {"app": "search", "owner": self.user, "sharing": "global", "ttl": "600"},
        }

    def _feed(self, asked: Asked) -> Answer:
        entries = [{"name": job.search, "content": self._content(job, as_json=True)} for job in self.left()]
        return Answer(200, json.dumps({"entry": entries}).encode(), {}, "application/json; charset=UTF-8")

    def _job(self, asked: Asked, sid: str, part: str) -> Answer:
        job = self.jobs.get(sid)
        if job is None or job.cancelled:
            return self._says(asked, 404, "FATAL", "Unknown sid.")
        if part == "control" or asked.method == "DELETE":
            if asked.method == "DELETE" or asked.form.get("action") == "cancel":
                job.cancelled = True
                return self._says(asked, 200, "INFO", "Search job cancelled.")
            return self._says(asked, 200, "INFO", f"Search job {asked.form.get('action')}.")
        if part == "":
            if job.step() == "204":
                return Answer(204)
            as_json = asked.form.get("output_mode") == "json"
            return self._entry(asked, job.search, self._content(job, as_json=as_json), feed=False)
        if part in ("results", "events", "results_preview"):
            return self._results(asked, job) if job.over or part == "results_preview" else Answer(204)
        return self._says(asked, 404, "ERROR", "Not Found")

    def _rows(self, job: Job) -> list[dict[str, Any]]:
        return [{**row, "_time": iso(row["_time"])} if isinstance(row.get("_time"), (int, float)) else row for row in job.rows]

    def _results(self, asked: Asked, job: Job) -> Answer:
        offset, count = int(asked.form.get("offset", 0)), int(asked.form.get("count", 100))
        rows = self._rows(job)[offset : offset + min(count or self.most, self.most)]
        names = list(dict.fromkeys(key for row in rows for key in row))
        if asked.form.get("output_mode") == "json":
            found = {
                "preview": not job.over,
                "init_offset": offset,
                "messages": [{"type": kind, "text": text} for kind, text in job.messages],
                "fields": [{"name": name} for name in names],
                "results": rows,
                "highlighted": {},
            }
            return Answer(200, json.dumps(found).encode(), {}, "application/json; charset=UTF-8")

        def cell(key: str, value: Any) -> str:
            values = value if isinstance(value, list) else [value]
            return (
                f"<field k='{escape(key)}'>"
                + "".join(f"<value><text>{escape(each)}</text></value>" for each in values)
                + "</field>"
            )

        lines = "".join(
            f"<result offset='{place}'>{''.join(cell(key, value) for key, value in row.items())}</result>"
            for place, row in enumerate(rows, offset)
        )
        order = "".join(f"<field>{escape(name)}</field>" for name in names)
        start = f"<?xml version='1.0' encoding='UTF-8'?>\n<results preview='0'><meta><fieldOrder>{order}</fieldOrder></meta>"
        return Answer(200, f"{start}{lines}</results>".encode())

    def _export(self, asked: Asked) -> Answer:
        start, end = self._moment(asked.form.get("earliest_time"), 0.0), self._moment(asked.form.get("latest_time"), self.now + 1)
        made = self._started(asked, asked.form.get("search", ""), start, end)
        if isinstance(made, Answer):
            return made
        made.cancelled = True
        rows = self._rows(made)
        lines = [json.dumps({"messages": [{"type": kind, "text": text}]}) for kind, text in made.messages]
        if asked.form.get("preview", "1").lower() not in ("0", "false"):
            half = rows[: max(1, len(rows) // 2)]
            lines += [json.dumps({"preview": True, "offset": place, "result": row}) for place, row in enumerate(half)]
        last = {"lastrow": True}
        lines += [
            json.dumps({"preview": False, "offset": place, **(last if place == len(rows) - 1 else {}), "result": row})
            for place, row in enumerate(rows)
        ]
        return Answer(200, ("\n".join(lines) + "\n").encode(), {}, "application/json; charset=UTF-8")


class FakeCollector(Served):
    """An HTTP Event Collector. An event is indexed, and acknowledged, once `index` was called or while `at_once` holds."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.acknowledges, self.at_once, self.healthy = "hec-token", True, True, True
        self.indexes = {"main", "tocsin"}
        self.events: list[dict[str, Any]] = []
        self._receipts: list[bool] = []
        self._queue: list[tuple[int, list[dict[str, Any]]]] = []

    def index(self) -> None:
        """Write what is queued."""
        for receipt, events in self._queue:
            self.events += events
            self._receipts[receipt] = True
        self._queue.clear()

    def _answer(self, asked: Asked) -> Answer:
        if asked.path == "/services/collector/health":
            return (
                self._code(200, 17, "HEC is healthy")
                if self.healthy
                else self._code(503, 18, "HEC is unhealthy, queues are full")
            )
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        if not token:
            return self._code(401, 2, "Token is required")
        if kind != "Splunk":
            return self._code(401, 3, "Invalid authorization")
        if token != self.token:
            return self._code(403, 4, "Invalid token")
        if self.acknowledges and "x-splunk-request-channel" not in asked.headers:
            return self._code(400, 10, "Data channel is missing")
        if asked.path == "/services/collector/ack":
            if not self.acknowledges:
                return self._code(400, 14, "ACK is disabled")
            acks = {str(one): one < len(self._receipts) and self._receipts[one] for one in json.loads(asked.body)["acks"]}
            return Answer(200, json.dumps({"acks": acks}).encode(), {}, "application/json")
        return self._take(asked)

    def _take(self, asked: Asked) -> Answer:
        text, place, events = asked.body.decode(), 0, list[dict[str, Any]]()
        decoder = json.JSONDecoder()
        while place < len(text):
            try:
                event, place = decoder.raw_decode(text, place)
            except ValueError:
                return self._code(400, 6, "Invalid data format", **{"invalid-event-number": len(events)})
            place += len(text[place:]) - len(text[place:].lstrip())
            if not event.get("event"):
                return self._code(400, 12, "Event field is required", **{"invalid-event-number": len(events)})
            if event.get("index", "main") not in self.indexes:
                return self._code(400, 7, "Incorrect index", **{"invalid-event-number": len(events)})
            events.append(event)
        if not events:
            return self._code(400, 5, "No data")
        receipt = len(self._receipts)
        self._receipts.append(False)
        self._queue.append((receipt, events))
        if self.at_once:
            self.index()
        return self._code(200, 0, "Success", **({"ackId": receipt} if self.acknowledges else {}))

    def _code(self, status: int, code: int, text: str, **more: int) -> Answer:
        return Answer(status, json.dumps({"text": text, "code": code} | more).encode(), {}, "application/json; charset=UTF-8")
