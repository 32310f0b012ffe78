"""What is not known, and what happens when the database does not answer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.integration import mariadb
from tests.integration.centreon_park import START, a_park, collector, two_hosts
from tests.integration.mariadb import DAY, MariaDB, Storage
from tocsin.centreon.storage import samples
from tocsin.errors import PermanentError, TransientError
from tocsin.model import SeriesIndex, Window

pytestmark = pytest.mark.integration


# --- what is not known ------------------------------------------------------------------------------------------------------


def test_a_stopped_engine_makes_the_time_since_unknown_and_says_so(storage: Storage) -> None:
    a_park(storage, 3, until=START + 1500)
    storage.do("UPDATE instances SET running = 0, last_alive = %s", (START + 1500,))
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 3600, 300))
    assert frame.known[0].tolist() == [True] * 6 + [False] * 6
    assert source.manners.state.kind == "degraded"
    assert "the engine of poller Central is stopped" in source.manners.state.reason
    source.close()


def test_a_broker_that_no_longer_writes_is_no_silence_of_all_hosts(storage: Storage) -> None:
    storage.do("INSERT INTO instances (instance_id, name, running, last_alive) VALUES (2, 'Lyon', 1, %s)", (START + 3590,))
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    a_park(storage, 15, until=START + 1500)
    a_park(storage, 15, poller=2)
    source = collector(storage, now=START + 3600)
    index = SeriesIndex(source.discover())
    frame = source.collect(index, Window(START, START + 3600, 300))
    first, second = (frame.known[[row for row, key in enumerate(index) if f"srv-{poller}" in key.component]] for poller in (1, 2))
    assert second.all()
    assert first[:, :6].all()
    assert not first[:, 8:].any()
    assert "nothing of poller Central arrives" in source.manners.state.reason
    source.close()


def test_one_host_that_is_silent_is_silent(storage: Storage) -> None:
    a_park(storage, 15)
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    storage.do("DELETE FROM data_bin WHERE id_metric = 1 AND ctime >= %s", (START,))
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START, START + 3600, 300))
    assert frame.known.all()
    assert np.isnan(frame.values[0, 2:]).all()
    source.close()


def test_before_the_first_check_ever_there_was_nothing(storage: Storage) -> None:
    a_park(storage, 15)
    source = collector(storage, now=START + 3600)
    frame = source.collect(SeriesIndex(source.discover()), Window(START - DAY, START - DAY + 3600, 300))
    assert frame.known.all()
    assert np.isnan(frame.values).all()
    source.close()


# --- when the database does not answer ----------------------------------------------------------------------------------------


def test_a_server_killed_while_it_answers_is_down_and_then_back(maria: MariaDB, storage: Storage) -> None:
    a_park(storage, 5)
    source = collector(storage, now=START + 3600)
    index, window = SeriesIndex(source.discover()), Window(START, START + 3600, 300)
    before = source.collect(index, window)
    database = storage.database()
    rows = database.rows("numbers", "SELECT seq, REPEAT('x', 1000) FROM seq_1_to_1000000")
    next(rows)
    maria.kill()
    try:
        with pytest.raises(TransientError):
            list(rows)
        with pytest.raises(TransientError, match="centreon_storage on 127.0.0.1"):
            source.collect(index, window)
    finally:
        maria.start()
        database.close()
    storage.reconnect()
    storage.do("UPDATE instances SET last_alive = %s", (START + 3590,))
    after = source.collect(index, window)
    np.testing.assert_array_equal(after.values, before.values)
    source.close()


def test_a_connection_that_was_closed_while_nobody_used_it_is_made_again(storage: Storage) -> None:
    two_hosts(storage)
    source = collector(storage)
    source.discover()
    for (ident,) in storage.all("SELECT id FROM information_schema.processlist WHERE user = 'tocsin'"):
        storage.do("KILL %s", (ident,))
    assert len(source.discover()) == 3
    assert source.manners.usage.failures == 0
    source.close()


def test_a_wrong_password_is_told_without_being_shown(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    database = storage.database()
    monkeypatch.setenv("TOCSIN_TEST_DATABASE", "wr0ng-one")
    with pytest.raises(PermanentError, match="account tocsin is refused; is the password right") as caught:
        list(database.rows("version", "SELECT 1"))
    assert "wr0ng-one" not in str(caught.value)
    monkeypatch.setenv("TOCSIN_TEST_DATABASE", mariadb.PASSWORD)
    assert list(database.rows("version", "SELECT 1")) == [(1,)]
    database.close()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(storage: Storage) -> None:
    database = storage.database(statement_timeout="1s")
    with pytest.raises(TransientError, match="not done in 1 s"):
        list(database.rows("slow", "SELECT COUNT(*) FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b ON a.seq + b.seq < 0"))
    assert list(database.rows("quick", "SELECT 1")) == [(1,)]
    database.close()


def test_nothing_can_be_written_whatever_the_account_may(storage: Storage) -> None:
    storage.do("CREATE USER IF NOT EXISTS mighty@'%' IDENTIFIED BY 'x'")
    storage.do("GRANT ALL ON *.* TO mighty@'%'")
    database = storage.database(user="mighty", password="env:TOCSIN_TEST_MIGHTY")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_TEST_MIGHTY", "x")
        with pytest.raises((TransientError, PermanentError), match="READ ONLY"):
            list(database.rows("write", "DELETE FROM metrics"))
    database.close()


def test_a_missing_right_is_told_with_the_remedy(maria: MariaDB, storage: Storage) -> None:
    storage.do("CREATE DATABASE IF NOT EXISTS elsewhere")
    storage.do("CREATE TABLE IF NOT EXISTS elsewhere.secret (a INT)")
    database = storage.database()
    with pytest.raises(PermanentError, match="GRANT SELECT"):
        list(database.rows("secret", "SELECT * FROM elsewhere.secret"))
    with pytest.raises(PermanentError, match="not the schema we know"):
        list(database.rows("schema", "SELECT nothing FROM metrics"))
    database.close()


def test_the_servers_certificate_is_verified(storage: Storage) -> None:
    stranger = storage.database(tls={})
    with pytest.raises(PermanentError, match="certificate is not trusted here"):
        list(stranger.rows("version", "SELECT 1"))
    pinned = storage.database(tls={"fingerprint": "0" * 64})
    with pytest.raises(PermanentError, match="not the one in database.tls.fingerprint"):
        list(pinned.rows("version", "SELECT 1"))
    ours = storage.database()
    assert next(ours.rows("cipher", "SHOW STATUS LIKE 'Ssl_version'"))[1].startswith("TLS")
    clear = storage.database(tls="off")
    assert next(clear.rows("cipher", "SHOW STATUS LIKE 'Ssl_version'"))[1] == ""
    ours.close()
    clear.close()


def test_a_text_the_server_had_to_cut_is_no_shorter_answer(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = storage.metric(storage.service(storage.host("srv-1"), "Cpu"), "cpu")
    storage.values(metric, [(START + 10 * step, 0.123456) for step in range(200)])
    monkeypatch.setattr("tocsin.centreon.database.PACK_BYTES", 1024)
    database = storage.database()
    with pytest.raises(TransientError, match="the answer was cut"):
        samples(database, [metric], START, START + 3600)
    database.close()


def test_a_part_that_cannot_be_read_is_not_known_and_the_rest_is(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    a_park(storage, 4)
    monkeypatch.setattr("collectors.centreon.doors.IDS", 2)
    source = collector(storage, now=START + 90_000)
    index = SeriesIndex(source.discover())
    door, asked = source._door, []
    read = door.samples

    def sometimes(metrics: object, start: int, end: int) -> object:
        asked.append(metrics)
        if len(asked) == 2:
            raise TransientError("cut")
        return read(metrics, start, end)

    monkeypatch.setattr(door, "samples", sometimes)
    frame = source.collect(index, Window(START, START + 600, 300))
    assert frame.known.tolist() == [[True, True], [True, True], [False, False], [False, False]]
    source.close()
