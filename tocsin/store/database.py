"""Opening the state database, SQLite or PostgreSQL, and translating what it complains about."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tocsin.errors import ConfigError, PermanentError, TransientError
from tocsin.store.tables import HEAD

BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE_LOCK = 0x70C514


def url_of(where: str | Path) -> URL:
    """A path or an SQLAlchemy URL as the URL we use. Raises ConfigError for databases we do not know."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            f"database: this is no URL, expected postgresql+pg8000://USER@HOST/NAME or sqlite:///PATH ({error})"
        ) from None
    if url.drivername in ("postgresql", "postgresql+pg8000"):
        return url.set(drivername="postgresql+pg8000")
    if url.drivername in ("sqlite", "sqlite+pysqlite") and url.database not in (None, "", ":memory:"):
        return url
    raise ConfigError(f"database: {shown(url)} cannot be used, expected postgresql+pg8000://USER@HOST/NAME or sqlite:///PATH")


def shown(url: URL) -> str:
    """The URL without its password, a file as its path."""
    return str(url.database) if url.drivername.startswith("sqlite") else url.render_as_string(hide_password=True)


def connect(url: URL) -> tuple[Engine, Engine]:
    """Two views of one engine: for reading and for writing (which takes SQLite's write lock when it begins)."""
    if url.drivername.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=5, max_overflow=20)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        # The socket's timeout ends waiting for a server that went away without a word; it is longer than the lock's.
        engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args={"timeout": BUSY_SECONDS + 10})
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    return engine, engine.execution_options(writes=True)


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    cursor = connection.cursor()
    try:
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"its file system cannot hold a write-ahead log (journal mode {mode})")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Taking the write lock first means no transaction ever fails half way because somebody else wrote.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    cursor.execute("SET synchronous_commit = on")
    cursor.close()
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    # One writer at a time, as on SQLite: a tick and delivery write the same rows in different orders, and would dead-lock.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")


def make_file(path: Path) -> None:
    """An empty database file that only we can read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"state database {path} cannot be opened: {error.strerror}") from error


def migrate(write: Engine, name: str) -> None:
    """Bring the tables to what this program knows, in one transaction. Raises ConfigError when it cannot."""
    with write.begin() as connection:
        version = None
        if inspect(connection).has_table("alembic_version"):
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if version == HEAD:
            return
        # Imported here because it costs 0.7 s, and nearly every start finds the tables as they should be.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigError(
                f"state database {name} has tables of version {version}, this tocsin knows {HEAD}: install the newer one"
            ) from error


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Errors of the database in our words: TransientError when trying again can help, PermanentError otherwise."""
    try:
        yield
    except DBAPIError as error:
        sentence = f"state database {name}: {one_line(error.orig)}"
        if is_passing(error):
            raise TransientError(sentence) from error
        raise PermanentError(sentence) from error
    except (PoolTimeout, OSError) as error:
        raise TransientError(f"state database {name}: {one_line(error)}") from error
    except SQLAlchemyError as error:
        raise PermanentError(f"state database {name}: {one_line(error)}") from error


def is_passing(error: DBAPIError) -> bool:
    """Whether the same statement may work later: a lock, a full disk, a lost connection, a server that restarts."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return isinstance(original, sqlite3.OperationalError)
    if error.connection_invalidated or isinstance(original, OSError):
        return True
    facts = original.args[0] if original is not None and original.args else None
    code = str(facts.get("C", "")) if isinstance(facts, dict) else ""
    # connection, roll-back, resources, lock, operator intervention, system error (PostgreSQL manual, appendix A)
    return not code or code[:2] in {"08", "40", "53", "55", "57", "58"}


def one_line(error: object) -> str:
    """The first line of what a driver says; PostgreSQL's fields as their message."""
    arguments = getattr(error, "args", ())
    if arguments and isinstance(arguments[0], dict):
        return str(arguments[0].get("M", arguments[0]))
    return (str(error).splitlines() or [type(error).__name__])[0]
