"""A MariaDB of our own with Centreon's tables: found on the machine, or unpacked from Debian without installing it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
import trustme

from tests.integration.debian import program
from tocsin.centreon.database import Database, DatabaseSettings

NOBODY = 65534
USER, PASSWORD = "tocsin", "pässwörd"
DAY = 86_400


class MariaDB:
    """A server that can be killed and started again. `root` is a connection that may do everything."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "s"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.program = program("mariadbd", ["mariadb-server-core", "mariadb-common"], "usr/sbin/mariadbd")
        usr = self.program.parents[1]
        self.share = next((path for path in (usr / "share/mysql", usr / "share/mariadb") if path.is_dir()), usr / "share/mysql")
        self._process: subprocess.Popen[bytes] | None = None
        self._certificates()
        self._bootstrap()
        self.start()

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def start(self) -> None:
        options = [
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self.folder / 'pid'}",
            f"--lc-messages-dir={self.share}",
            f"--character-sets-dir={self.share / 'charsets'}",
            f"--ssl-cert={self.folder / 'server.pem'}",
            f"--ssl-key={self.folder / 'server.key'}",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=256M",
            "--innodb-log-file-size=128M",
            "--skip-log-bin",
            "--skip-name-resolve",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_nobody(), str(self.program), "--no-defaults", *options],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            # The driver forgets a socket it could not connect, so it is only asked where somebody listens.
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    pass
                self.root().close()
                return
            except (OSError, pymysql.OperationalError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.kill()
                    pytest.skip(f"MariaDB did not start: {(self.folder / 'log').read_text(errors='replace')[-300:]}")
                time.sleep(0.05)

    @property
    def is_down(self) -> bool:
        return self._process is None

    def kill(self) -> None:
        """Ended as a crash ends it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def root(self, database: str | None = None) -> Any:
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True, ssl_disabled=True, charset="utf8mb4"
        )

    @contextmanager
    def schema(self, name: str, first_day: int, last_day: int, *, keyed: bool = True) -> Iterator[Storage]:
        """Centreon's tables in a database of that name, a partition for each day, and the account that may only read."""
        connection = self.root()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"USE {name}")
            for statement in tables(first_day, last_day, keyed=keyed):
                cursor.execute(statement)
            cursor.execute("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", (USER, PASSWORD))
            cursor.execute(f"GRANT SELECT ON {name}.* TO %s@'%%'", (USER,))
        made = Storage(self, name, connection)
        try:
            yield made
        finally:
            made.close()

    def _certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / "server.pem"))

    def _bootstrap(self) -> None:
        scripts = [
            self.share / name for name in ("mysql_system_tables.sql", "mariadb_system_tables.sql") if (self.share / name).exists()
        ]
        filled = [
            self.share / name
            for name in ("mysql_system_tables_data.sql", "mariadb_system_tables_data.sql")
            if (self.share / name).exists()
        ]
        if not scripts or not filled:
            pytest.skip(f"no MariaDB to test with: {self.share} does not hold its system tables")
        (self.folder / "data" / "mysql").mkdir(parents=True)
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        local = "SET @current_hostname='localhost';\nSET @skip_auth_anonymous=1;\nSET @auth_root_socket=NULL;\n"
        text = "USE mysql;\n" + local + scripts[0].read_text() + filled[0].read_text()
        command = [
            *_as_nobody(),
            str(self.program),
            "--no-defaults",
            "--bootstrap",
            f"--datadir={self.folder / 'data'}",
            f"--lc-messages-dir={self.share}",
            f"--character-sets-dir={self.share / 'charsets'}",
            "--innodb-log-file-size=128M",
            "--skip-log-bin",
            "--log-warnings=0",
        ]
        done = subprocess.run(command, input=text.encode(), capture_output=True, cwd="/", timeout=60, check=False)
        if done.returncode:
            pytest.skip(f"no MariaDB to test with: {done.stderr.decode(errors='replace').strip()[-300:]}")


def _as_nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def server() -> Iterator[MariaDB]:
    """A running server, gone afterwards with all it kept."""
    # A socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="tocsin-mariadb-", dir="/tmp" if Path("/tmp").is_dir() else None))
    folder.chmod(0o755)
    made: MariaDB | None = None
    try:
        made = MariaDB(folder)
        yield made
    finally:
        if made is not None:
            made.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def maria() -> Iterator[MariaDB]:
    """One server for all tests; who kills it starts it again."""
    with server() as running:
        yield running


@pytest.fixture
def storage(maria: MariaDB) -> Iterator[Storage]:
    """Empty tables with a few days around day 20,500 of the epoch."""
    with maria.schema("centreon_storage", 20_497, 20_501) as made:
        yield made


class Storage:
    """A `centreon_storage` to be filled."""

    def __init__(self, server: MariaDB, name: str, connection: Any) -> None:
        self.server, self.name, self._connection = server, name, connection
        self._ids = {"hosts": 0, "services": 0, "metrics": 0}
        self.do(
            "INSERT INTO instances (instance_id, name, running, last_alive, deleted) VALUES (1, 'Central', 1, UNIX_TIMESTAMP(),"
            " 0)"
        )

    def settings(self, **changes: object) -> DatabaseSettings:
        """As the account that may only read, over TCP and TLS."""
        os.environ["TOCSIN_TEST_DATABASE"] = PASSWORD
        own = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "name": self.name,
            "user": USER,
            "password": "env:TOCSIN_TEST_DATABASE",
            "tls": {"ca": str(self.server.ca)},
        }
        return DatabaseSettings.model_validate({**own, **changes})

    def database(self, **changes: object) -> Database:
        return Database(self.settings(**changes))

    def close(self) -> None:
        if self._connection.open:
            self._connection.close()

    def reconnect(self) -> None:
        """After the server was away."""
        self._connection.close()
        self._connection = self.server.root(self.name)

    def do(self, sql: str, args: Sequence[object] = ()) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, args or None)

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(sql, list(rows))

    def all(self, sql: str, args: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, args or None)
            return list(cursor.fetchall())

    def host(self, name: str, poller: int = 1) -> int:
        """A host, known to the engine and as a resource."""
        self._ids["hosts"] += 1
        ident = self._ids["hosts"]
        self.do("INSERT INTO hosts (host_id, name, instance_id, enabled) VALUES (%s, %s, %s, 1)", (ident, name, poller))
        self.do(
            "INSERT INTO resources (id, parent_id, type, poller_id, name, enabled) VALUES (%s, 0, 1, %s, %s, 1)",
            (ident, poller, name),
        )
        return ident

    def service(self, host: int, name: str, interval: int = 5, poller: int = 1) -> int:
        """A service and its place in the index of graphs; gives that place."""
        self._ids["services"] += 1
        ident = self._ids["services"]
        (host_name,) = self.all("SELECT name FROM hosts WHERE host_id = %s", (host,))[0]
        self.do("INSERT INTO services (host_id, service_id, description, enabled) VALUES (%s, %s, %s, 1)", (host, ident, name))
        self.do(
            "INSERT INTO resources (id, parent_id, type, poller_id, name, parent_name, enabled) VALUES (%s, %s, 0, %s, %s, %s,"
            " 1)",
            (ident, host, poller, name, host_name),
        )
        self.do(
            "INSERT INTO index_data (id, host_id, service_id, host_name, service_description, check_interval) VALUES (%s, %s, %s,"
            " %s, %s, %s)",
            (ident, host, ident, host_name, name, interval),
        )
        return ident

    def metric(self, service: int, name: str, **columns: object) -> int:
        """A metric of a service."""
        self._ids["metrics"] += 1
        given = {"metric_id": self._ids["metrics"], "index_id": service, "metric_name": name, "data_source_type": "0", **columns}
        marks = ", ".join(["%s"] * len(given))
        self.do(f"INSERT INTO metrics ({', '.join(given)}) VALUES ({marks})", list(given.values()))
        return self._ids["metrics"]

    def values(self, metric: int, samples: Iterable[tuple[int, float | None]], status: str = "0") -> None:
        self.many(
            "INSERT INTO data_bin (id_metric, ctime, value, status) VALUES (%s, %s, %s, %s)",
            ((metric, when, value, status) for when, value in samples),
        )

    def park(self, hosts: int, metrics: int, services: int = 4, interval: int = 5) -> None:
        """Many hosts at once, each with so many metrics spread over its services; ids count from 1."""
        name = "CONCAT('srv-', LPAD({}, 5, '0'))"
        self.do(f"INSERT INTO hosts (host_id, name, instance_id) SELECT seq, {name.format('seq')}, 1 FROM seq_1_to_{hosts}")
        host = f"((seq - 1) DIV {services} + 1)"
        self.do(
            "INSERT INTO services (host_id, service_id, description)"
            f" SELECT {host}, seq, CONCAT('Service-', (seq - 1) MOD {services}) FROM seq_1_to_{hosts * services}"
        )
        self.do(
            "INSERT INTO index_data (id, host_id, service_id, host_name, service_description, check_interval)"
            f" SELECT s.service_id, s.host_id, s.service_id, h.name, s.description, {interval}"
            " FROM services s JOIN hosts h ON h.host_id = s.host_id"
        )
        place = f"((seq - 1) DIV {metrics}) * {services} + (seq - 1) MOD {metrics} MOD {services} + 1"
        self.do(
            "INSERT INTO metrics"
            " (metric_id, index_id, metric_name, data_source_type, unit_name, warn, warn_low, crit, crit_low)"
            f" SELECT seq, {place}, CONCAT('metric.', (seq - 1) MOD {metrics}, '.percentage'), '0', '%', 80, 0, 90, 0"
            f" FROM seq_1_to_{hosts * metrics}"
        )

    def history(self, first: int, last: int, step: int) -> None:
        """A check of every metric each `step` seconds in [first, last), each service at its own second: wave and noise."""
        self.do(
            "INSERT INTO data_bin SELECT STRAIGHT_JOIN m.metric_id, t.seq + (m.index_id * 37) MOD %s,"
            " 50 + 20 * SIN(6.2831853 * (t.seq MOD 86400) / 86400)"
            " + (m.metric_id * 7919 + t.seq DIV 60 * 104729) MOD 1000 / 100, '0'"
            f" FROM seq_{first}_to_{last - 1}_step_{step} t JOIN metrics m",
            (step,),
        )

    def tag(self, kind: int, name: str, hosts: Iterable[int] = (), services: Iterable[int] = ()) -> None:
        """A group (0 of services, 1 of hosts) or category (2, 3) on hosts or services."""
        found = self.all("SELECT tag_id FROM tags WHERE type = %s AND name = %s", (kind, name))
        if not found:
            self.do("INSERT INTO tags (id, type, name) SELECT COALESCE(MAX(id), 0) + 1, %s, %s FROM tags", (kind, name))
            found = self.all("SELECT tag_id FROM tags WHERE type = %s AND name = %s", (kind, name))
        for of, idents in ((1, hosts), (0, services)):
            for ident in idents:
                self.do(
                    "INSERT INTO resources_tags SELECT %s, resource_id FROM resources WHERE type = %s AND id = %s",
                    (found[0][0], of, ident),
                )


def tables(first_day: int, last_day: int, *, keyed: bool = True) -> Iterator[str]:
    """The tables as Centreon has them, reduced to the columns that anybody of us reads and their neighbours."""
    days = range(first_day, last_day + 1)
    parts = ", ".join(
        f"PARTITION p{time.strftime('%Y%m%d', time.gmtime(day * DAY))} VALUES LESS THAN ({(day + 1) * DAY})" for day in days
    )
    index = ", KEY index_metric (id_metric)" if keyed else ""
    yield (
        "CREATE TABLE data_bin (id_metric INT(11) DEFAULT NULL, ctime INT(11) DEFAULT NULL, value FLOAT DEFAULT NULL,"
        f" status ENUM('0','1','2','3','4') DEFAULT NULL{index}) ENGINE=InnoDB DEFAULT CHARSET=utf8"
        f" PARTITION BY RANGE (ctime) ({parts}, PARTITION pmax VALUES LESS THAN MAXVALUE)"
    )
    yield (
        "CREATE TABLE index_data (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, host_name VARCHAR(255),"
        " host_id INT(11),"
        " service_description VARCHAR(255), service_id INT(11), check_interval INT(11), special ENUM('0','1') DEFAULT '0',"
        " hidden ENUM('0','1') DEFAULT '0', to_delete INT(1) DEFAULT 0, rrd_retention INT(11),"
        " UNIQUE KEY host_service_unique_id (host_id, service_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE metrics (metric_id INT(11) NOT NULL AUTO_INCREMENT PRIMARY KEY, index_id BIGINT UNSIGNED,"
        " metric_name VARCHAR(255) CHARACTER SET utf8 COLLATE utf8_bin, data_source_type ENUM('0','1','2','3'),"
        " unit_name VARCHAR(32),"
        " current_value FLOAT, warn FLOAT, warn_low FLOAT, warn_threshold_mode TINYINT(1), crit FLOAT, crit_low FLOAT,"
        " crit_threshold_mode TINYINT(1), hidden ENUM('0','1') DEFAULT '0', min FLOAT, max FLOAT, to_delete INT(1) DEFAULT 0,"
        " UNIQUE KEY index_id (index_id, metric_name)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE instances (instance_id INT(11) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, running TINYINT(1),"
        " last_alive INT(11), deleted TINYINT(1) NOT NULL DEFAULT 0) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE hosts (host_id INT(11) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, alias VARCHAR(100),"
        " address VARCHAR(75),"
        " instance_id INT(11) NOT NULL, enabled TINYINT(1) NOT NULL DEFAULT 1, state SMALLINT(6), KEY host_name (name))"
        " ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE services (host_id INT(11) NOT NULL, service_id INT(11) NOT NULL, description VARCHAR(255) NOT NULL,"
        " enabled TINYINT(1) NOT NULL DEFAULT 1, state SMALLINT(6), last_check INT(11), output TEXT,"
        " UNIQUE KEY host_id (host_id, service_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE hosts_hosts_parents (child_id INT(11) NOT NULL, parent_id INT(11) NOT NULL,"
        " UNIQUE KEY child_id (child_id, parent_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE resources (resource_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, id BIGINT UNSIGNED NOT NULL,"
        " parent_id BIGINT UNSIGNED NOT NULL, type TINYINT UNSIGNED NOT NULL, status TINYINT UNSIGNED,"
        " poller_id BIGINT UNSIGNED NOT NULL,"
        " severity_id BIGINT UNSIGNED, name VARCHAR(255), parent_name VARCHAR(255), enabled TINYINT(1) NOT NULL DEFAULT 1,"
        " UNIQUE KEY resources_id_parent_id_type_uindex (id, parent_id, type)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    yield (
        "CREATE TABLE tags (tag_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, id BIGINT UNSIGNED NOT NULL,"
        " type TINYINT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL, UNIQUE KEY tags_id_type_uindex (id, type)) ENGINE=InnoDB"
    )
    yield (
        "CREATE TABLE resources_tags (tag_id BIGINT UNSIGNED NOT NULL, resource_id BIGINT UNSIGNED NOT NULL,"
        " UNIQUE KEY resources_tags_unique (tag_id, resource_id)) ENGINE=InnoDB"
    )
    yield (
        "CREATE TABLE severities (severity_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, id BIGINT UNSIGNED NOT NULL,"
        " type TINYINT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL, level INT UNSIGNED NOT NULL,"
        " icon_id BIGINT UNSIGNED NOT NULL DEFAULT 0)"
        " ENGINE=InnoDB"
    )
    yield (
        "CREATE TABLE downtimes (downtime_id INT(11) NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_time INT(11),"
        " host_id INT(11) NOT NULL,"
        " service_id INT(11), author VARCHAR(64), cancelled TINYINT(1), comment_data TEXT, deletion_time INT(11),"
        " duration INT(11),"
        " end_time INT(11), fixed TINYINT(1), instance_id INT(11), internal_id INT(11), start_time INT(11),"
        " actual_start_time INT(11),"
        " actual_end_time INT(11), started TINYINT(1), triggered_by INT(11), type SMALLINT(6)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE acknowledgements (acknowledgement_id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_time INT NOT NULL,"
        " host_id INT NOT NULL, service_id INT, author VARCHAR(64), comment_data VARCHAR(255), deletion_time INT,"
        " instance_id INT,"
        " notify_contacts BOOLEAN, persistent_comment BOOLEAN, state SMALLINT, sticky BOOLEAN, type SMALLINT,"
        " KEY (entry_time)) ENGINE=InnoDB"
    )
    yield (
        "CREATE TABLE comments (comment_id INT(11) NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_time INT(11) NOT NULL,"
        " host_id INT(11) NOT NULL, service_id INT(11), author VARCHAR(64), data TEXT, deletion_time INT(11),"
        " entry_type SMALLINT(6),"
        " expire_time INT(11), expires TINYINT(1), instance_id INT(11), internal_id INT(11) NOT NULL DEFAULT 0,"
        " persistent TINYINT(1),"
        " source SMALLINT(6), type SMALLINT(6)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
    yield (
        "CREATE TABLE logs (log_id INT(11) NOT NULL AUTO_INCREMENT, ctime INT(11), host_id INT(11), host_name VARCHAR(255),"
        " instance_name VARCHAR(255) NOT NULL DEFAULT '', msg_type TINYINT(4), output TEXT, retry INT(11),"
        " service_description VARCHAR(255),"
        " service_id INT(11), status TINYINT(4), type SMALLINT(6), KEY log_id (log_id), KEY ctime (ctime),"
        " KEY rq1 (host_id, service_id, msg_type, status, ctime)) ENGINE=InnoDB DEFAULT CHARSET=utf8"
    )
