"""Many rows in one statement. SQLite is quick with one row at a time; PostgreSQL would ask the server once per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Subquery, Table, Update, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

Row = Mapping[str, Any]
Values = Mapping[str, ColumnElement[Any]]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row], on_conflict: Callable[[Any], Insert]) -> int:
    """Insert rows of one shape; `on_conflict` adds what to do with those that are there.

    No key may come twice. Returns how many were written.
    """
    if connection.dialect.name == "postgresql":
        new = _unnested(table, rows)
        statement = on_conflict(postgresql.insert(table).from_select(list(rows[0]), select(*new.c)))
        return connection.execute(statement, _columns(rows)).rowcount
    return connection.execute(on_conflict(sqlite.insert(table)), list(rows)).rowcount


def replace_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or overwrite every column that is no key. No key may come twice."""
    keys = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if not column.primary_key]

    def overwrite(statement: Any) -> Insert:
        replaced: Insert = statement.on_conflict_do_update(
            index_elements=keys, set_={name: statement.excluded[name] for name in others}
        )
        return replaced

    insert_rows(connection, table, rows, overwrite)


def update_rows(connection: Connection, table: Table, rows: Sequence[Row], build: Callable[[Values], Update]) -> None:
    """Update by rows of one shape; `build` makes the statement from the values of one of them. No key may come twice."""
    if connection.dialect.name == "postgresql":
        new = _unnested(table, rows)
        connection.execute(build({name: new.c[name] for name in rows[0]}), _columns(rows))
    else:
        statement = build({name: bindparam(f"new_{name}", type_=table.c[name].type) for name in rows[0]})
        connection.execute(statement, [{f"new_{name}": value for name, value in row.items()} for row in rows])


def _unnested(table: Table, rows: Sequence[Row]) -> Subquery:
    return select(
        *(func.unnest(bindparam(f"new_{name}", type_=postgresql.ARRAY(table.c[name].type))).label(name) for name in rows[0])
    ).subquery("new")


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {f"new_{name}": [row[name] for row in rows] for name in rows[0]}
