"""What the fake Centreon's Web API v2 answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jsonschema

from tests.centreon_said import Said, as_json, error
from tests.centreon_search import matches
from tests.centreon_values import Values

if TYPE_CHECKING:
    from tests.centreon_fake import Fake, Host, Service

NAMES = {
    "service": ["OK", "WARNING", "CRITICAL", "UNKNOWN", "PENDING"],
    "host": ["UP", "DOWN", "UNREACHABLE", "UNKNOWN", "PENDING"],
}
RENAMED = {
    "is_in_downtime": "in_downtime",
    "is_acknowledged": "acknowledged",
    "has_active_checks_enabled": "active_checks",
    "has_passive_checks_enabled": "passive_checks",
    "is_notification_enabled": "notification_enabled",
}
SUBMITTED = {
    "type": "object",
    "required": ["type", "id", "parent", "status"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["host", "service", "metaservice"]},
        "id": {"type": "integer"},
        "parent": {"type": ["object", "null"], "properties": {"id": {"type": "integer"}}, "required": ["id"]},
        "status": {"type": "integer", "enum": [0, 1, 2, 3]},
        "output": {"type": "string"},
        "performance_data": {"type": "string"},
    },
}
FILTERS = {
    "types",
    "states",
    "statuses",
    "status_types",
    "hostgroup_names",
    "servicegroup_names",
    "host_category_names",
    "service_category_names",
    "host_severity_names",
    "service_severity_names",
    "host_severity_levels",
    "service_severity_levels",
    "monitoring_server_names",
}


def ago(seconds: float) -> str:
    """65 → `1m 5s`, 7385 → `2h 3m`: the two largest units."""
    left, parts = max(0, int(seconds)), []
    for unit, size in (("y", 31_556_926), ("M", 2_629_744), ("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


class V2(Values):
    """Routes of v2."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake
        host, service = r"/monitoring/hosts/(\d+)", r"/monitoring/hosts/(\d+)/services/(\d+)"
        self.routes: list[tuple[str, str, Callable[..., Said]]] = [
            ("GET", "/platform/versions", self.versions),
            ("GET", "/logout", lambda query, body: as_json({"message": "Successful logout"})),
            ("GET", "/monitoring/resources", self.resources),
            ("POST", "/monitoring/resources/submit", self.submit),
            ("POST", f"{service}/submit", self.submit_service),
            ("POST", f"{host}/submit", self.submit_host),
            ("GET", f"{service}/metrics", self.metrics),
            ("GET", f"{service}/metrics/performance", self.performance),
            ("GET", f"{service}/metrics/performance/download", self.download),
            ("GET", f"{service}/timeline", self.timeline),
            ("GET", "/monitoring/downtimes", lambda query, body: self.page(query, self.fake.downtimes)),
            ("GET", "/monitoring/acknowledgements", lambda query, body: self.page(query, self.fake.acknowledgements)),
            ("GET", "/monitoring/servers", self.servers),
            ("GET", "/monitoring/services", self.services),
            ("GET", "/monitoring/hostgroups", lambda query, body: self.tags(query, "groups")),
            ("GET", "/monitoring/hosts/categories", lambda query, body: self.tags(query, "categories")),
            ("POST", "/monitoring/resources/acknowledge", self.acknowledge),
            ("POST", "/monitoring/resources/downtime", self.downtime),
        ]

    def answer(self, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: bytes) -> Said:
        if (method, path) == ("POST", "/login"):
            return self.login(body)
        if not self.fake.alive(headers.get("x-auth-token", "")):
            return as_json(
                {"message": "Authentication credentials not found" if "x-auth-token" not in headers else "Token not found"}, 401
            )
        if not (self.fake.admin or self.fake.reach_realtime):
            return error(403, "You are not allowed to access this resource")
        for verb, pattern, handler in self.routes:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return handler(query, body, *map(int, found.groups()))
        return error(404, f'No route found for "{method} {path}"')

    def login(self, body: bytes) -> Said:
        fake = self.fake
        try:
            given = json.loads(body)["security"]["credentials"]
            user, password = given["login"], given["password"]
        except (ValueError, KeyError, TypeError):
            return error(500, "[security] The property security is required")
        if fake.locked:
            return error(401, "Authentication failed: the account is blocked")
        if (user, password) != (fake.USER, fake.PASSWORD):
            return error(401, "Authentication failed")
        if fake.password_expired:
            return as_json({"code": 401, "message": "Password expired", "password_is_expired": True}, 401)
        token = f"{fake.random.getrandbits(128):032x}"
        fake.tokens[token] = fake.now() + fake.session_seconds
        contact = {"id": 20, "name": user, "alias": user, "email": f"{user}@example.org", "is_admin": fake.admin}
        return as_json({"contact": contact, "security": {"token": token}})

    def versions(self, query: dict[str, str], body: bytes) -> Said:
        major, minor, fix = self.fake.version.split(".")
        return as_json(
            {"web": {"version": self.fake.version, "major": major, "minor": minor, "fix": fix}, "modules": {}, "widgets": {}}
        )

    # --- listings ----------------------------------------------------------------------------------------------------

    def resources(self, query: dict[str, str], body: bytes) -> Said:
        fake = self.fake
        if unknown := set(query) - FILTERS - {"page", "limit", "sort_by", "search"}:
            return error(500, f"The parameter {min(unknown)} is not allowed")
        wanted = {name: json.loads(query[name]) for name in FILTERS if name in query}
        types = wanted.get("types") or ["host", "service", "metaservice"]
        if set(types) - {"host", "service", "metaservice"}:
            return error(500, "[types] the value is not one of the allowed values")
        items = []
        for host in fake.hosts.values():
            if "host" in types and fake.sees(host) and self._marked(host, None, wanted):
                items.append(self._resource(host, None))
        for service in fake.services.values():
            if "service" in types and fake.sees(service.host) and self._marked(service.host, service, wanted):
                items.append(self._resource(service.host, service))
        if "statuses" in wanted:
            items = [item for item in items if item["status"]["name"] in wanted["statuses"]]
        if "acknowledged" in wanted.get("states", []):
            items = [item for item in items if item["is_acknowledged"]]
        if fake.old_spelling:
            items = [{RENAMED.get(key, key): value for key, value in item.items()} for item in items]
        return self.page(query, items, default=("last_status_change",))

    def _marked(self, host: Host, service: Service | None, wanted: Mapping[str, Any]) -> bool:
        checks: list[tuple[str, Any]] = [
            ("hostgroup_names", host.groups),
            ("host_category_names", host.categories),
            ("host_severity_levels", (host.severity,)),
            ("servicegroup_names", service.groups if service else ()),
            ("service_category_names", service.categories if service else ()),
            ("service_severity_levels", (service.severity if service else None,)),
        ]
        return all(not wanted.get(name) or set(wanted[name]) & set(has) for name, has in checks)

    def _resource(self, host: Host, service: Service | None) -> dict[str, Any]:
        fake = self.fake
        shown = fake.engine.checked[host.name, service.name if service else ""]
        kind = "service" if service else "host"
        code = 4 if shown.code is None else shown.code
        severity = service.severity if service else host.severity
        item: dict[str, Any] = {
            "uuid": f"h{host.id}-s{service.id}" if service else f"h{host.id}",
            "type": kind,
            "short_type": kind[0],
            "id": service.id if service else host.id,
            "host_id": host.id,
            "service_id": service.id if service else None,
            "name": service.name if service else host.name,
            "alias": None,
            "fqdn": None if service else host.address or None,
            "monitoring_server_name": fake.pollers[host.poller]["name"],
            "parent": None,
            "status": {"code": code, "name": NAMES[kind][code], "severity_code": [5, 2, 1, 3, 4][code]},
            "is_in_downtime": service.in_downtime if service else False,
            "is_acknowledged": service.acknowledged if service else False,
            "has_active_checks_enabled": shown.active,
            "has_passive_checks_enabled": shown.passive,
            "is_notification_enabled": True,
            "duration": ago(fake.now() - shown.changed_at) if shown.changed_at else None,
            "last_status_change": self._iso(shown.changed_at) if shown.changed_at else None,
            "tries": f"{shown.attempt}/{shown.attempts} ({'H' if shown.hard else 'S'})",
            "last_check": ago(fake.now() - shown.last_check) if shown.last_check else None,
            "information": shown.output,
            "severity": None
            if severity is None
            else {"id": severity, "level": severity, "name": f"level {severity}", "type": kind},
            "links": {},
        }
        if service:
            item["parent"] = {
                "uuid": f"h{host.id}",
                "type": "host",
                "short_type": "h",
                "id": host.id,
                "name": host.name,
                "alias": None,
                "fqdn": host.address or None,
                "status": {"code": 0, "name": "UP", "severity_code": 5},
            }
        return item

    def page(self, query: dict[str, str], items: list[dict[str, Any]], default: tuple[str, ...] = ()) -> Said:
        """Search, sort, cut. Times are compared to the second, and what is equal comes in another order each time."""
        limit, page = int(query.get("limit", 10)), int(query.get("page", 1))
        if query.get("search"):
            try:
                wanted = json.loads(query["search"])
            except ValueError:
                return error(500, "Error when decoding the search parameter")
            items = [item for item in items if matches(item, wanted)]
        order = query.get("sort_by", "")
        fields = list(json.loads(order)) if order.startswith("{") else [order] if order else list(default)
        items = list(items)
        if fields:
            self.fake.random.shuffle(items)
            items.sort(key=lambda item: [str(item.get(field) or "").rjust(20) for field in fields])
        cut = items[(page - 1) * limit : page * limit]
        # PHP writes an empty object as an empty list.
        meta = {"page": page, "limit": limit, "search": [] if not query.get("search") else {}, "sort_by": [], "total": len(items)}
        return as_json({"result": cut, "meta": meta})

    def servers(self, query: dict[str, str], body: bytes) -> Said:
        now = int(self.fake.now())
        return self.page(
            query,
            [
                {**one, "last_alive": now - 5 if one["last_alive"] is None else one["last_alive"]}
                for one in self.fake.pollers.values()
            ],
        )

    def services(self, query: dict[str, str], body: bytes) -> Said:
        found = [
            {"id": one.id, "description": one.name, "host": {"id": one.host.id, "name": one.host.name}}
            for one in self.fake.services.values()
            if self.fake.sees(one.host)
        ]
        return self.page(query, found)

    def tags(self, query: dict[str, str], which: str) -> Said:
        names = sorted({name for host in self.fake.hosts.values() for name in getattr(host, which)})
        return self.page(query, [{"id": place + 1, "name": name} for place, name in enumerate(names)])

    def timeline(self, query: dict[str, str], body: bytes, host: int, service: int) -> Said:
        found = self._service(host, service)
        return self.page(query, found.events) if found else error(404, "Service not found")

    # --- submitting ----------------------------------------------------------------------------------------------------

    def submit(self, query: dict[str, str], body: bytes) -> Said:
        schema = {
            "type": "object",
            "required": ["resources"],
            "additionalProperties": False,
            "properties": {"resources": {"type": "array", "minItems": 1, "items": SUBMITTED}},
        }
        given = self._given(body, schema)
        if isinstance(given, tuple):
            return given
        fake = self.fake
        items = given["resources"]
        if not (fake.admin or fake.may_submit):
            return 401, b"", "application/json"
        for item in items:
            if item["type"] == "metaservice":
                return error(404, f"Metaservice {item['id']} not found")
            host = fake.hosts.get(item["id"] if item["type"] == "host" else (item["parent"] or {}).get("id"))
            service = fake.services.get(item["id"]) if item["type"] == "service" else None
            # What came before was sent already; what comes after never is.
            if host is None or not fake.sees(host):
                return error(404, f"Host {item['id']} not found")
            if item["type"] == "service" and (service is None or service.host is not host):
                return error(404, f"Service {item['id']} not found")
            self._send(host, service, item)
        return 204, b"", ""

    def submit_service(self, query: dict[str, str], body: bytes, host: int, service: int) -> Said:
        found = self._service(host, service)
        return self._single(body, found.host, found) if found else error(404, f"Service {service} not found")

    def submit_host(self, query: dict[str, str], body: bytes, host: int) -> Said:
        found = self.fake.hosts.get(host)
        return self._single(body, found, None) if found else error(404, f"Host {host} not found")

    def _single(self, body: bytes, host: Host, service: Service | None) -> Said:
        properties = {name: SUBMITTED["properties"][name] for name in ("status", "output", "performance_data")}  # type: ignore[index]
        given = self._given(
            body, {"type": "object", "required": ["status"], "additionalProperties": False, "properties": properties}
        )
        if isinstance(given, tuple):
            return given
        if not (self.fake.admin or self.fake.may_submit):
            return 401, b"", "application/json"
        self._send(host, service, given)
        return 204, b"", ""

    def _send(self, host: Host, service: Service | None, item: Mapping[str, Any]) -> None:
        said = f"{item['status']};{item.get('output', '')}|{item.get('performance_data', '')}"
        name = f"PROCESS_SERVICE_CHECK_RESULT;{host.name};{service.name}" if service else f"PROCESS_HOST_CHECK_RESULT;{host.name}"
        self.fake.command(host.poller, f"[{int(self.fake.now())}] {name};{said}")

    def _given(self, body: bytes, schema: Mapping[str, Any]) -> Any:
        """The body, or the 500 that Centreon gives where it means 400."""
        try:
            given = json.loads(body)
        except ValueError:
            return error(500, "Error when decoding sent data")
        faults = sorted(jsonschema.Draft202012Validator(schema).iter_errors(given), key=lambda one: list(map(str, one.path)))
        if faults:
            place = (
                "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in faults[0].path).lstrip(".")
                or "resources"
            )
            return error(500, f"[{place}] {faults[0].message}\n")
        return given

    def acknowledge(self, query: dict[str, str], body: bytes) -> Said:
        given = json.loads(body)
        for item in given["resources"]:
            service = self.fake.services.get(item["id"])
            if item["type"] != "service" or service is None:
                return error(404, "Resource not found")
            service.acknowledged = True
            self.fake.acknowledgements.append(
                {
                    "id": len(self.fake.acknowledgements) + 1,
                    "author_id": 20,
                    "author_name": self.fake.USER,
                    "host_id": service.host.id,
                    "service_id": service.id,
                    "comment": given["acknowledgement"]["comment"],
                    "deletion_time": None,
                    "entry_time": self._iso(self.fake.now()),
                    "is_sticky": True,
                    "is_persistent_comment": True,
                    "state": 2,
                }
            )
        return 204, b"", ""

    def downtime(self, query: dict[str, str], body: bytes) -> Said:
        given = json.loads(body)
        planned = given["downtime"]
        for item in given["resources"]:
            host = item["id"] if item["type"] == "host" else item["parent"]["id"]
            self.fake.downtimes.append(
                {
                    "id": len(self.fake.downtimes) + 1,
                    "author_id": 20,
                    "author_name": self.fake.USER,
                    "host_id": host,
                    "service_id": None if item["type"] == "host" else item["id"],
                    "comment": planned["comment"],
                    "duration": planned["duration"],
                    "entry_time": self._iso(self.fake.now()),
                    "start_time": planned["start_time"],
                    "end_time": planned["end_time"],
                    "deletion_time": None,
                    "actual_start_time": None,
                    "actual_end_time": None,
                    "is_started": False,
                    "is_cancelled": False,
                    "is_fixed": planned["is_fixed"],
                }
            )
        return 204, b"", ""
