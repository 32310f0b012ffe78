"""The same promises of the state database on a real PostgreSQL, and what only a server can do to us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from tests.contracts.state import Open, StateContract, a_row
from tests.integration import postgres
from tocsin.errors import TransientError
from tocsin.store.state import State

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(autouse=True)
def _empty_database(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


class TestOnPostgresql(StateContract):
    @pytest.fixture
    def open_state(self, url: str) -> Open:
        return lambda: State.open(url, owner=True)


def test_a_lost_connection_costs_one_tick(url: str) -> None:
    with State.open(url) as state:
        with state.tick("web") as tick:
            tick.set_watermark("files", 300)
        killer = create_engine(url, isolation_level="AUTOCOMMIT")
        others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"

        def lose_the_connection() -> None:
            with state.writing() as connection, killer.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
                connection.exec_driver_sql("SELECT 1")

        with pytest.raises(TransientError):
            lose_the_connection()
        killer.dispose()
        with state.tick("web") as tick:
            tick.set_watermark("files", 600)
        assert state.watermarks() == {("web", "files"): 600}


def test_ten_thousand_services_are_written_in_few_round_trips(url: str) -> None:
    rows = [a_row(host=f"web-{number:05}") for number in range(10_000)]
    with State.open(url) as state:
        for version in (1, 2):
            with state.tick("web") as tick:
                tick.want(replace(row, version=version) for row in rows)
        due = state.due(1000.0, 500)
        state.record(due, [replace(row, next_due_at=2000.0, attempts=1) for row in due])
        assert len(state.due(1000.0, 20_000)) == 9_500
