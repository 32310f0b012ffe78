"""A reading connection to Centreon's database (MariaDB or MySQL), and its errors sorted by what to do about them.

Nothing is ever written: the session is read only, whatever the account may do. The server itself ends a statement that takes
too long, so that nothing of ours goes on there when we have left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import structlog
from pydantic import Field, model_validator

from tocsin.errors import PermanentError, TransientError
from tocsin.http import clean
from tocsin.settings import Duration, SecretRef, Settings
from tocsin.tls import Tls, distrust

if TYPE_CHECKING:
    from pymysql import Connection

log = structlog.get_logger("tocsin.centreon")

PACK_BYTES = 16_000_000
"""The longest text that a GROUP_CONCAT may make here: as much as fits in one packet of a server left at its defaults."""

GRANT = "GRANT SELECT ON centreon_storage.* TO it"


class DatabaseSettings(Settings):
    """Centreon's own database, through an account that may only read.

    Either `host` and `port`, or the `socket` of a database on this machine. `tls: off` sends everything in the clear.
    """

    host: str = Field("", max_length=255)
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 3306
    socket: Path | None = None
    name: str = Field("centreon_storage", min_length=1, max_length=64)
    user: str = Field(min_length=1, max_length=80)
    password: SecretRef
    tls: Tls | Literal["off"] = Field(default_factory=Tls)
    statement_timeout: Annotated[Duration, Field(ge=1, le=3600)] = 30

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.host) == (self.socket is not None):
            raise ValueError("expected host or socket, one of them")
        return self

    @property
    def place(self) -> str:
        """How people name it in a sentence."""
        return f"{self.name} on {self.socket or self.host}" + (f":{self.port}" if self.host and self.port != 3306 else "")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not safe about the way to it."""
        if self.tls == "off":
            clear = "database.tls is off: what is read travels in the clear, and anybody between can change it"
            return () if self.socket or self.host in ("127.0.0.1", "::1", "localhost") else (clear,)
        return tuple(f"database.{warning}" for warning in self.tls.warnings)


class Database:
    """One connection, made at the first question and made again when it was lost. One question at a time."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings, self._lock = settings, threading.RLock()
        self._connection: Connection[Any] | None = None
        self.place, self.version = settings.place, ""
        self.statements = self.rows_read = self.bytes_read = 0

    def rows(self, what: str, sql: str, args: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows as they come, never all in memory. `what` names the question in error texts.

        Raises `TransientError` (not reached, broke off, took too long) or `PermanentError` (rights, wrong password, another
        schema); both also while the rows come. Leaving early gives up the connection: its remaining rows are never read.
        """
        import pymysql  # noqa: PLC0415  # `tocsin --help` does not wait for it

        with self._lock:
            done = False
            try:
                for row in self._answer(sql, args):
                    self.rows_read += 1
                    yield row
                done = True
            except (pymysql.MySQLError, OSError) as error:
                raise self._sorted(error, what) from error
            except (IndexError, UnicodeDecodeError, ValueError, AssertionError) as error:
                # The driver read something that is no protocol: a cut packet, another kind of server.
                raise TransientError(
                    f"{self.place}: {what}: an answer that is none of a database: {type(error).__name__}"
                ) from error
            finally:
                if not done:
                    self.close()

    def close(self) -> None:
        """Give back the connection; the next question opens another one."""
        with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                try:
                    connection.close()
                except Exception as error:  # noqa: BLE001  # whatever the driver says about a connection that is gone anyway
                    log.debug("centreon.database.close", error=type(error).__name__)

    def _answer(self, sql: str, args: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        import pymysql  # noqa: PLC0415

        fresh = self._connection is None
        try:
            cursor = self._ask(sql, args)
        except (pymysql.OperationalError, pymysql.InterfaceError) as error:
            if fresh or error.args[:1] not in _LOST:
                raise
            # It was closed while nobody used it (wait_timeout, a restart): that is no failure yet.
            self.close()
            cursor = self._ask(sql, args)
        done = False
        try:
            while row := cursor.fetchone():
                yield row
            done = True
        finally:
            if done:
                cursor.close()
            else:
                _forget(cursor)

    def _ask(self, sql: str, args: Sequence[Any]) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        self.statements += 1
        cursor = self._connection.cursor()
        cursor.execute(sql, args)
        return cursor

    def _connect(self) -> Connection[Any]:
        import pymysql  # noqa: PLC0415
        from pymysql.cursors import SSCursor  # noqa: PLC0415

        own = self._settings
        for warning in own.warnings:
            log.warning("centreon.database.not_protected", place=self.place, why=warning)
        try:
            password = own.password.reveal()
        except ValueError as error:
            raise PermanentError(f"{self.place}: database.password: {error}") from error
        plain = own.socket is not None or own.tls == "off"
        connection = pymysql.connect(
            host=own.host or None,
            port=own.port,
            unix_socket=None if own.socket is None else str(own.socket),
            user=own.user,
            password=password.encode(),  # as text it would be encoded as latin-1
            database=own.name,
            charset="utf8mb4",
            ssl=None if plain or own.tls == "off" else own.tls.context(),
            ssl_disabled=plain,
            connect_timeout=5,
            # A moment longer than the server itself lets a statement run.
            read_timeout=own.statement_timeout + 5,
            write_timeout=own.statement_timeout + 5,
            cursorclass=SSCursor,
            autocommit=True,
            program_name="tocsin",
        )
        self.version = connection.get_server_info()
        maria = "mariadb" in self.version.lower()
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute("SET SESSION group_concat_max_len = %s", (PACK_BYTES,))
            if maria:
                cursor.execute("SET SESSION max_statement_time = %s", (own.statement_timeout,))
            else:
                cursor.execute("SET SESSION max_execution_time = %s", (own.statement_timeout * 1000,))
        return connection

    def _sorted(self, error: Exception, what: str) -> TransientError | PermanentError:
        where, code = f"{self.place}: {what}", error.args[0] if error.args else 0
        said = clean(str(error.args[1] if len(error.args) > 1 else error))
        if why := distrust(error):
            return PermanentError(f"{where}: {why.replace('tls.', 'database.tls.')}")
        if code == 2026:
            return PermanentError(f"{where}: the server offers no TLS; set it up there, or write database.tls: off ({said})")
        if code in _RIGHTS:
            return PermanentError(f"{where}: the account {self._settings.user} may not do this; {GRANT} ({said})")
        if code in _LOGIN:
            return PermanentError(f"{where}: the account {self._settings.user} is refused; is the password right? ({said})")
        if code in _SCHEMA:
            return PermanentError(f"{where}: this is not the schema we know: {said}")
        if code in _SLOW:
            limit = self._settings.statement_timeout
            return TransientError(f"{where}: not done in {limit} s (statement_timeout), and given up by the server")
        return TransientError(f"{where}: {said or type(error).__name__}")


def _forget(cursor: Any) -> None:
    """Left early: without this the driver would read the rest of the answer, however long, before it lets go."""
    result, cursor.connection = cursor._result, None  # noqa: SLF001
    if result is not None:
        result.unbuffered_active, result.connection = False, None


_LOST = ((2006,), (2013,), (2055,), (0,), (1927,), (4031,))
_RIGHTS = (1142, 1143, 1227, 1370)
_LOGIN = (1044, 1045, 1049, 1130, 1698, 1820, 1862, 4151)
_SCHEMA = (1054, 1064, 1146)
_SLOW = (1969, 3024, 1317)
