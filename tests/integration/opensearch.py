"""Real servers of our own for the tests: OpenSearch and a stripped Elasticsearch, both from Maven Central.

What is fetched is kept under `.tools/`. Each is started on a free port, in a folder and a process group of its own, and ended by
its id. Where there is no Java, no Maven or no way to the repository, the tests are skipped with one sentence.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import trustme

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
POM = Path(__file__).with_name("opensearch.xml")
NOBODY = 65534
FETCH, START = 420, 240
"""Seconds that fetching, and that starting, may take."""
ELASTICSEARCH = "8.19.0"
"""The newest series of which Maven Central has a distribution: server, transport and x-pack security, nothing else."""
PASSWORD = "only-for-this-test"
_HASH = "$2a$10$EQSpD9Y.HbAparnW65IOTujQNUhN1PBKSjMv33PUr2dVk/OiSILli"
_ROLES = """
tocsin_reader:
  cluster: [monitor]
  indices:
    - names: ["metrics-*", "logs-*"]
      privileges: [read, view_index_metadata]
tocsin_writer:
  indices:
    - names: ["logs-tocsin.anomaly-*"]
      privileges: [create_doc, auto_configure]
"""
USERS = {"admin": "superuser", "reader": "tocsin_reader", "writer": "tocsin_writer", "nobody": "none"}
"""Users of the Elasticsearch and their roles, all with the same password."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that answers at `url`; `headers` let its administrator in, `ca` vouches for it."""

    url: str
    headers: Mapping[str, str]
    ca: Path | None = None


@contextmanager
def opensearch() -> Iterator[Running]:
    """An OpenSearch of one node, without users."""
    java = _java(11)
    version = "3.8.0.0" if _major(java) >= 21 else "2.19.1.0"
    folder = TOOLS / f"opensearch-{version}"
    if not (folder / "complete").exists():
        copy = ["dependency:copy-dependencies", f"-Drunner.version={version}", f"-DoutputDirectory={folder}"]
        _maven([*copy, "-f", str(POM)], f"OpenSearch {version}")
        (folder / "complete").touch()
    home = Path(tempfile.mkdtemp(prefix="tocsin-opensearch-"))
    port = _free(range(9211, 9299))  # its runner looks for no port above 9299
    options = ["--enable-native-access=ALL-UNNAMED", "--add-modules", "jdk.incubator.vector"] if _major(java) >= 21 else []
    command = [str(java), "-Xms512m", "-Xmx1g", *options, "-cp", f"{folder}/*", "org.codelibs.opensearch.runner.OpenSearchRunner"]
    command += ["-basePath", str(home / "node"), "-numOfNode", "1", "-baseHttpPort", str(port - 1), "-clusterName", home.name]
    with _started(command, home, f"http://127.0.0.1:{port}", {}) as url:
        yield Running(url=url, headers={})


@contextmanager
def elasticsearch() -> Iterator[Running]:
    """An Elasticsearch of one node, with `USERS` and TLS."""
    java = _java(17)
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("Elasticsearch refuses to run as root, and there is no setpriv to become somebody else")
    program = _unpacked_elasticsearch()
    home = Path(tempfile.mkdtemp(prefix="tocsin-elasticsearch-"))
    shutil.copytree(program / "config", home / "config")
    for name in ("data", "logs", "tmp"):
        (home / name).mkdir()
    (home / "config" / "users").write_text("".join(f"{user}:{_HASH}\n" for user in USERS))
    (home / "config" / "users_roles").write_text("".join(f"{role}:{user}\n" for user, role in USERS.items()))
    (home / "config" / "roles.yml").write_text(_ROLES)
    options = home / "config" / "jvm.options"  # its log of collections would go where nobody may write
    options.write_text("".join(line for line in options.read_text().splitlines(True) if "logs/gc.log" not in line))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "config" / "ca.pem")
    shown = authority.issue_cert("127.0.0.1")
    shown.private_key_pem.write_to_path(home / "config" / "key.pem")
    shown.cert_chain_pems[0].write_to_path(home / "config" / "certificate.pem")
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    environment = {
        "ES_JAVA_HOME": str(java.parents[1]),
        "ES_PATH_CONF": str(home / "config"),
        "ES_TMPDIR": str(home / "tmp"),
        "ES_JAVA_OPTS": "-Xms512m -Xmx1g",
    }
    port = _free(range(19211, 19299))
    settings = {
        "discovery.type": "single-node",
        "http.port": port,
        "transport.port": _free(range(19311, 19399)),
        "path.data": home / "data",
        "path.logs": home / "logs",
        "xpack.security.enabled": "true",
        "xpack.security.enrollment.enabled": "false",
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": home / "config" / "key.pem",
        "xpack.security.http.ssl.certificate": home / "config" / "certificate.pem",
        "xpack.security.transport.ssl.enabled": "false",
    }
    command = [*_somebody(), str(program / "bin" / "elasticsearch")]
    command += [part for name, value in settings.items() for part in ("-E", f"{name}={value}")]
    key = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    with _started(command, home, f"https://127.0.0.1:{port}", environment) as url:
        yield Running(url=url, headers={"authorization": f"Basic {key}"}, ca=home / "config" / "ca.pem")


@contextmanager
def _started(command: Sequence[str], home: Path, url: str, environment: Mapping[str, str]) -> Iterator[str]:
    with (home / "output").open("wb") as output:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment, start_new_session=True
        )
        try:
            if not _answers(url, running, home / "config" / "ca.pem"):
                said = (home / "output").read_text(errors="replace").splitlines()
                why = next((line for line in said if "xception" in line or "rror" in line), "it did not answer in time")
                pytest.skip(f"the server did not start here: {why.strip()[:300]}")
            yield url
        finally:
            _ended(running)
            shutil.rmtree(home, ignore_errors=True)


def _answers(url: str, running: subprocess.Popen[bytes], ca: Path) -> bool:
    context = ssl.create_default_context(cafile=ca) if url.startswith("https:") else None
    until = time.monotonic() + START
    while time.monotonic() < until and running.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context):
                return True
        except urllib.error.HTTPError as error:  # it asks who we are, or does not know this page: it is there
            error.close()
            return True
        except OSError:
            time.sleep(0.3)
    return False


def _ended(running: subprocess.Popen[bytes]) -> None:
    for how, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, how)
        try:
            running.wait(patience)
            break
        except subprocess.TimeoutExpired:
            continue


def _somebody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []


def _unpacked_elasticsearch() -> Path:
    folder = TOOLS / f"elasticsearch-{ELASTICSEARCH}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        artifact = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{ELASTICSEARCH}:zip"
        _maven(["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={TOOLS}"], f"Elasticsearch {ELASTICSEARCH}")
        archive = TOOLS / f"elasticsearch-{ELASTICSEARCH}.zip"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(TOOLS)
        archive.unlink()
        for path in folder.rglob("*"):  # read by nobody; zipfile forgets who may run what
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        (folder / "complete").touch()
    for parent in (folder, *folder.parents):
        if os.geteuid() == 0 and not parent.stat().st_mode & 0o001:
            pytest.skip(f"Elasticsearch refuses to run as root, and nobody else may look into {parent}")
    return folder


def _maven(arguments: Sequence[str], what: str) -> None:
    if not shutil.which("mvn"):
        pytest.skip(f"no {what} on this machine, and no Maven to fetch it")
    TOOLS.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["mvn", "-B", "-q", *arguments], cwd=TOOLS, capture_output=True, text=True, timeout=FETCH, check=True)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be fetched from Maven Central within {FETCH} s")
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stdout.splitlines() if "ERROR" in line]
        pytest.skip(f"{what} could not be fetched from Maven Central: {lines[0][:200] if lines else error.returncode}")


@lru_cache
def _java(least: int) -> Path:
    """The newest Java here, the program itself."""
    names = [*Path("/usr/lib/jvm").glob("*/bin/java"), *([Path(found).resolve()] if (found := shutil.which("java")) else [])]
    fitting = sorted((_major(name), str(name)) for name in names if _major(name) >= least)
    if not fitting:
        pytest.skip(f"no Java {least} or later on this machine")
    return Path(fitting[-1][1])


@lru_cache
def _major(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _free(ports: range) -> int:
    for port in ports:
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.connect(("127.0.0.1", port))
            except ConnectionRefusedError:
                return port
            except OSError:
                continue
    pytest.skip(f"no port from {ports[0]} to {ports[-1]} is free")
