"""What the fake Centreon answers on its older API: v1, CLAPI over REST, and gorgone's own HTTP server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.centreon_said import Said, as_json

if TYPE_CHECKING:
    from tests.centreon_fake import Fake

WORDS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3, "up": 0, "down": 1}
PERFDATA = re.compile(r"[^=]+=-?[0-9.]+[A-Za-z%/]*(?:;[0-9.\-]*){0,4}|^$|~:\S+")
FORBIDDEN = set("~!$%^&*\"|'<>?,()=`")


class V1:
    """`index.php`, told apart by its query."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def answer(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Said:
        fake = self.fake
        if query.get("action") == "authenticate":
            given = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
            if (given.get("username"), given.get("password")) != (fake.USER, fake.PASSWORD) or fake.password_expired:
                return as_json("Invalid credentials", 403)
            token = f"{fake.random.getrandbits(128):032x}"
            fake.tokens[token] = fake.now() + fake.session_seconds
            return as_json({"authToken": token})
        if "centreon-auth-token" not in headers:
            return as_json("Unauthorized", 401)
        # Versions before 23 say 403 to a token they do not know.
        if not fake.alive(headers["centreon-auth-token"]):
            return as_json("Forbidden", 403 if fake.version < "23" else 401)
        if query.get("action") == "submit" and query.get("object") == "centreon_submit_results":
            return self._submit(body) if fake.admin or fake.reach_realtime else as_json("Forbidden", 403)
        if query.get("action") == "action" and query.get("object") == "centreon_clapi":
            return fake.clapi.answer(body) if fake.admin or fake.reach_configuration else as_json("Forbidden", 403)
        return as_json("Method not found", 404)

    def _submit(self, body: bytes) -> Said:
        try:
            results = json.loads(body).get("results")
        except (ValueError, AttributeError):
            results = None
        if not isinstance(results, list):
            return as_json("Bad arguments - Cannot find result list", 400)
        said = [self._one(item) for item in results]
        status = 200 if all(code == 202 for code, _ in said) else 206
        return as_json({"results": [{"code": code, "message": message} for code, message in said]}, status)

    def _one(self, item: Mapping[str, Any]) -> tuple[int, str]:
        fake = self.fake
        if any(item.get(name) in (None, "") for name in ("host", "status", "updatetime", "output")):
            return 400, "Missing argument."
        if not re.fullmatch(r"[0-9]+", str(item["updatetime"])):
            return 400, "The timestamp is not a integer."
        word = str(item["status"]).lower()
        code = int(word) if word in ("0", "1", "2", "3") else WORDS.get(word)
        if code is None:
            return 400, "Bad status word."
        perfdata = str(item.get("perfdata") or "")
        if perfdata and not PERFDATA.search(perfdata):
            return 400, "The format of performance data is not valid."
        host, service = str(item["host"]), str(item.get("service") or "")
        if not any(one.name == host and one.enabled for one in fake.hosts.values()):
            return 404, "The host is not present."
        if service and fake.named(host, service) is None:
            return 404, "The service is not present."
        poller = next(one.poller for one in fake.hosts.values() if one.name == host)
        name = f"PROCESS_SERVICE_CHECK_RESULT;{host};{service}" if service else f"PROCESS_HOST_CHECK_RESULT;{host}"
        fake.command(poller, f"[{item['updatetime']}] {name};{code};{item['output']}|{perfdata}")
        return 202, "The status send to the engine"


class Clapi:
    """Objects of the configuration. They reach the engine, and the real-time tables, only with APPLYCFG."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake
        self.commands: dict[str, dict[str, str]] = {}
        self.templates: dict[str, dict[str, str]] = {}
        self.services: dict[tuple[str, str], dict[str, str]] = {}
        self.categories: dict[str, set[tuple[str, str]]] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.applied = 0

    def answer(self, body: bytes) -> Said:
        try:
            given = json.loads(body)
        except ValueError:
            return as_json("Bad parameters", 400)
        action, kind = str(given.get("action", "")).upper(), str(given.get("object", "")).upper()
        values = str(given.get("values", "")).split(";") if given.get("values") else []
        if action == "APPLYCFG":
            return self._apply(values)
        handler = getattr(self, f"_{kind.lower()}", None)
        if handler is None:
            return as_json(f"Object {kind} not found in Centreon API.", 404)
        result: Said = handler(action, values)
        return result

    def _host(self, action: str, values: list[str]) -> Said:
        hosts = [one for one in self.fake.hosts.values() if not values or values[0] in one.name]
        if action == "SHOW":
            return _rows({"id": str(one.id), "name": one.name, "address": one.address, "activate": "1"} for one in hosts)
        return as_json("Method not found", 400)

    def _instance(self, action: str, values: list[str]) -> Said:
        if action == "SHOW":
            return _rows({"id": str(one["id"]), "name": str(one["name"]), "activate": "1"} for one in self.fake.pollers.values())
        return as_json("Method not found", 400)

    def _cmd(self, action: str, values: list[str]) -> Said:
        if action == "SHOW":
            return _rows({"name": name, **known} for name, known in self.commands.items() if not values or values[0] in name)
        if action == "ADD":
            return _added(self.commands, values[0], {"type": values[1], "line": ";".join(values[2:])})
        if action == "SETPARAM" and values[0] in self.commands:
            self.commands[values[0]][values[1]] = ";".join(values[2:])
            return _rows([])
        return _removed(self.commands, values[0]) if action == "DEL" else as_json("Object not found", 404)

    def _stpl(self, action: str, values: list[str]) -> Said:
        if action == "SHOW":
            return _rows(
                {"description": name, **known} for name, known in self.templates.items() if not values or values[0] in name
            )
        if action == "ADD":
            return _added(self.templates, values[0], {"alias": values[1], "template": values[2] if len(values) > 2 else ""})
        if action == "DEL":
            return _removed(self.templates, values[0])
        if values[0] not in self.templates:
            return as_json("Object not found", 404)
        if action == "SETPARAM":
            self.templates[values[0]][values[1]] = ";".join(values[2:])
            return _rows([])
        if action == "GETPARAM":
            known = self.templates[values[0]]
            return _rows([{name: known.get(name, "") for name in values[1].split("|")}])
        return as_json("Method not found", 400)

    def _service(self, action: str, values: list[str]) -> Said:
        if action == "SHOW":
            found = [(key, known) for key, known in self.services.items() if not values or values[-1] in key[1]]
            return _rows(_service_row(host, name, known) for (host, name), known in found)
        key = (values[0], values[1])
        if action == "ADD":
            if not any(one.name == values[0] for one in self.fake.hosts.values()):
                return as_json(f"Object not found:{values[0]}", 404)
            clean = "".join(letter for letter in values[1] if letter not in FORBIDDEN)
            return _added(self.services, (values[0], clean), {"template": values[2]})
        if action == "DEL":
            self.deleted.add(key)
            return _removed(self.services, key)
        if key not in self.services:
            return as_json("Object not found", 404)
        if action in ("SETPARAM", "SETMACRO"):
            self.services[key][values[2]] = ";".join(values[3:])
            return _rows([])
        if action == "GETPARAM":
            return _rows([{name: self.services[key].get(name, "") for name in values[2].split("|")}])
        return as_json("Method not found", 400)

    def _sc(self, action: str, values: list[str]) -> Said:
        if action == "SHOW":
            return _rows({"name": name} for name in self.categories)
        if action == "ADD":
            return _added(self.categories, values[0], set())
        if action == "ADDSERVICE" and values[0] in self.categories:
            host, _, name = values[1].partition(",")
            self.categories[values[0]].add((host, name))
            return _rows([])
        return as_json("Object not found", 404)

    def _hc(self, action: str, values: list[str]) -> Said:
        names = sorted({name for host in self.fake.hosts.values() for name in host.categories})
        return _rows({"name": name} for name in names) if action == "SHOW" else as_json("Method not found", 400)

    def _apply(self, values: list[str]) -> Said:
        poller = next((one for one in self.fake.pollers.values() if values and values[0] in (one["name"], str(one["id"]))), None)
        if poller is None:
            return as_json("Object not found", 404)
        for (host_name, name), known in self.services.items():
            host = next(one for one in self.fake.hosts.values() if one.name == host_name)
            effective = {**self.templates.get(known.get("template", ""), {}), **known}
            if self.fake.named(host_name, name) is None:
                self.fake.service(host, name)
            self.fake.engine.add(
                host_name,
                name,
                passive=effective.get("passive_checks_enabled", "1") != "0",
                active=effective.get("active_checks_enabled", "1") != "0",
                attempts=int(effective.get("max_check_attempts") or 3),
            )
        for host_name, name in self.deleted - set(self.services):
            gone = self.fake.named(host_name, name)
            if gone is not None:
                del self.fake.services[gone.id]
                self.fake.engine.checked.pop((host_name, name), None)
        self.applied += 1
        return _rows([])


def _service_row(host: str, name: str, known: Mapping[str, str]) -> dict[str, str]:
    """The columns of `SERVICE show`; a switch that is left to the template is 2, a number is empty."""
    return {
        "host name": host,
        "description": name,
        "check command": known.get("check_command", ""),
        "max check attempts": known.get("max_check_attempts", ""),
        "active checks enabled": known.get("active_checks_enabled", "2"),
        "passive checks enabled": known.get("passive_checks_enabled", "2"),
        "activate": known.get("activate", "1"),
    }


def _rows(rows: Any) -> Said:
    return as_json({"result": list(rows)})


def _added(there: dict[Any, Any], name: Any, known: Any) -> Said:
    if name in there:
        return as_json(f"Object already exists ({name if isinstance(name, str) else ';'.join(name)})", 409)
    there[name] = known
    return _rows([])


def _removed(there: dict[Any, Any], name: Any) -> Said:
    if name not in there:
        return as_json("Object not found", 404)
    del there[name]
    return _rows([])


class Gorgone:
    """The command endpoint of gorgone's httpserver module, and the log of what became of it."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake
        self._done: dict[str, int] = {}

    def answer(self, method: str, path: str, body: bytes) -> Said:
        found = re.fullmatch(r"/api(?:/nodes/(\d+))?/centreon/engine/command", path)
        if method == "POST" and found:
            try:
                commands = json.loads(body)["commands"]
            except (ValueError, KeyError, TypeError):
                return as_json({"error": "decode_error", "message": "Cannot decode parameters"})
            poller = int(found[1] or 1)
            if poller not in self.fake.pollers:
                return as_json({"error": "unknown_node", "message": f"unknown node {poller}"})
            for command in commands:
                self.fake.command(poller, str(command))
            token = f"{self.fake.random.getrandbits(256):064x}"
            self._done[token] = len(commands)
            return as_json({"token": token})
        found = re.fullmatch(r"/api(?:/nodes/\d+)?/log/([0-9a-f]+)", path)
        if method == "GET" and found:
            if found[1] not in self._done:
                return as_json({"error": "no_log", "message": "No log found for token", "data": [], "token": found[1]})
            now = self.fake.now()
            data = [
                {"code": 0, "etime": now, "data": '{"message":"commands processing has started"}'},
                {"code": 2, "etime": now, "data": '{"message":"commands processing has finished"}'},
            ]
            return as_json({"message": "Logs found", "token": found[1], "data": data})
        return as_json({"error": "endpoint_unknown", "message": "endpoint not implemented"}, 404)
