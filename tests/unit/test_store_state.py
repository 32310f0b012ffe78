"""The state database on SQLite."""

from __future__ import annotations

import sqlite3
import stat
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from tests.contracts.state import OPENING, Open, StateContract, a_row, an_incident
from tests.fakes import no_room
from tocsin.errors import ConfigError, PermanentError, TransientError
from tocsin.store.arrays import pack, squeeze, unsqueeze
from tocsin.store.state import State


class TestOnSqlite(StateContract):
    @pytest.fixture
    def open_state(self, tmp_path: Path) -> Open:
        return lambda: State.open(tmp_path / "tocsin.db", owner=True)


def test_the_database_is_safe_against_power_cuts_and_for_our_eyes_only(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path / 'tocsin.db'}") as state:
        with state._read.connect() as connection:
            pragma = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
        assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_writer_begins_with_the_write_lock(tmp_path: Path) -> None:
    said: list[str] = []
    with State.open(tmp_path / "tocsin.db") as state:
        for view in (state._read, state._write):
            event.listen(view, "before_cursor_execute", lambda *call: said.append(call[2]))
        with state.tick("web") as tick:
            tick.set_watermark("files", 300)
        state.watermarks()
    assert list(dict.fromkeys(word for word in said if word.startswith("BEGIN"))) == ["BEGIN IMMEDIATE", "BEGIN"]


@pytest.mark.parametrize(
    "url",
    ["mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "postgresql+psycopg2://u:hunter2@h/d", "post gres://", "://"],
)
def test_a_database_we_do_not_know_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="database: ") as refused:
        State.open(url)
    assert "hunter2" not in str(refused.value)
    assert len(refused.value.problems) == 1
    assert "\n" not in refused.value.problems[0]


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="state database postgresql") as refused:
        State.open("postgresql+pg8000://tocsin:hunter2@127.0.0.1:9/tocsin")
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    for path in (tmp_path / "missing" / "tocsin.db", tmp_path / "folder.db"):
        with pytest.raises(ConfigError, match=str(path)) as refused:
            State.open(path)
        assert "\n" not in str(refused.value)


def test_a_second_opening_does_not_need_the_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    State.open(tmp_path / "tocsin.db").close()
    monkeypatch.setattr("tocsin.store.database.MIGRATIONS", tmp_path / "none")
    State.open(tmp_path / "tocsin.db").close()


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_costs_the_tick_and_nothing_else(tmp_path: Path) -> None:
    with State.open(tmp_path / "tocsin.db") as state:
        with state.tick("web") as tick:
            tick.set_watermark("files", 300)
        with no_room(), pytest.raises(TransientError, match=r"tocsin\.db"), state.tick("web") as tick:
            tick.set_watermark("files", 600)
        assert state.watermarks() == {("web", "files"): 300}
        with state.tick("web") as tick:
            tick.set_watermark("files", 900)
        assert state.watermarks() == {("web", "files"): 900}


def test_a_lock_held_too_long_is_a_passing_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    State.open(tmp_path / "tocsin.db").close()
    monkeypatch.setattr("tocsin.store.database.BUSY_SECONDS", 0.05)
    with (
        closing(sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)) as other,
        State.open(tmp_path / "tocsin.db") as state,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="locked"), state.tick("web") as tick:
            tick.set_watermark("files", 300)
        assert not state.watermarks()  # readers do not wait for the writer
        other.execute("ROLLBACK")
        with state.tick("web") as tick:
            tick.set_watermark("files", 300)
        assert state.watermarks()


def lived(path: Path) -> None:
    """A state with a copy that is one tick old."""
    with State.open(path, owner=True) as state:
        with state.tick("web") as tick:
            tick.set_watermark("files", 300)
            tick.put_incidents([an_incident()])
            tick.put_transitions([OPENING])
        assert state.backup(1_000_000.0) == path.parent / "backups" / "tocsin-19700112T134640Z.db"
        with state.tick("web") as tick:
            tick.set_watermark("files", 600)
            tick.want([a_row(host=f"web-{number:03}") for number in range(200)])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(100, len(data), 1024):
        data[place] ^= 0xFF
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5000]),
    "header": lambda path: path.write_bytes(bytes(100) + path.read_bytes()[100:]),
    "text": lambda path: path.write_text("this is not a database, it only has the name of one" * 100),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_lost_database_is_replaced_by_its_last_copy_loudly(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    lived(path)
    (tmp_path / "backups" / "tocsin-29990101T000000Z.db").write_text("a newer copy that is no database")
    DAMAGES[damage](path)
    with State.open(path, owner=True) as state:
        (problem,) = state.problems
        assert "the copy tocsin-19700112T134640Z.db took its place" in problem
        assert state.watermarks() == {("web", "files"): 300}
        assert state.incident("abc1")[1] == [OPENING]
        with state.tick("web") as tick:
            tick.set_watermark("files", 600)
    assert path.with_name("tocsin.db.damaged-1").exists() == (damage != "gone")
    with State.open(path, owner=True) as state:
        assert state.problems == []
        assert state.watermarks() == {("web", "files"): 600}


def test_without_a_good_copy_a_damaged_database_starts_empty_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    path.write_bytes(b"\0" * 8192)
    with State.open(path, owner=True) as state:
        (problem,) = state.problems
        assert "starts empty" in problem
        assert not state.watermarks()


def test_who_only_looks_never_replaces_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    lived(path)
    path.write_text("damaged" * 1000)
    with pytest.raises(ConfigError, match="not a database"):
        State.open(path)
    assert path.read_text().startswith("damaged")


def test_only_the_newest_copies_are_kept(tmp_path: Path) -> None:
    with State.open(tmp_path / "tocsin.db") as state:
        copies = [state.backup(3600.0 * hour, keep=3) for hour in range(5)]
    assert sorted((tmp_path / "backups").iterdir()) == copies[2:]
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in (tmp_path / "backups").iterdir()} == {0o600}


def test_a_damaged_judge_state_is_a_permanent_error(tmp_path: Path) -> None:
    with State.open(tmp_path / "tocsin.db") as state:
        with state.tick("web") as tick:
            tick.set_judge_state({})
        for data in (b"", b"x", b"x\x9c\x03\x00\x00\x00\x00\x01"):
            with state._write.begin() as connection:
                connection.exec_driver_sql("UPDATE judge_state SET data = ?", (data,))
            with pytest.raises(PermanentError):
                state.judge_state("web")


def test_what_an_older_program_remembered_of_judging_is_read(tmp_path: Path) -> None:
    with State.open(tmp_path / "tocsin.db") as state:
        with state.tick("web") as tick:
            tick.set_judge_state({})
        older = zlib.compress(pack({"tail": np.arange(6.0).reshape(2, 3)}), 1)
        with state._write.begin() as connection:
            connection.exec_driver_sql("UPDATE judge_state SET data = ?", (older,))
        found = state.judge_state("web")
        assert found is not None and found["tail"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_damaged_arrays_are_a_permanent_error_and_take_no_memory() -> None:
    data = squeeze({"tail": np.arange(1000.0)})
    assert unsqueeze(data)["tail"].tolist() == list(range(1000))
    for damaged in (data[:-1], data[:8], data[8:], b"\x00\xff" + data[2:], data[:20] + b"\xff" * 20 + data[40:]):
        with pytest.raises(PermanentError):
            unsqueeze(damaged)
