"""What the tables of `centreon_storage` say of metrics, samples and pollers; a handful of statements for any number of series.

`data_bin` has no primary key and one index (id_metric); it is cut by ctime into a partition per day, so every statement on it
names both. Its values are 32-bit floats: read as text they would lose all but six digits, so they are widened first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.centreon.database import Database
from tocsin.errors import TransientError
from tocsin.model import LARGEST, Floats, Ints

NO_VALUE = 3e38
"""What a check that ran and had no value is read as: SQL's NULL is what NaN becomes, ±FLT_MAX an infinity."""

IDS = 20_000
"""Metrics named in one statement, at most: 160 kB of text."""

DEFAULT_INTERVAL = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredMetric:
    """A metric of a service. `interval` is that of its checks in seconds; `warning` and `critical` are plugin ranges or empty."""

    id: int
    host: str
    service: str
    name: str
    host_id: int
    service_id: int
    poller: int
    interval: int
    unit: str = ""
    counter: bool = False
    warning: str = ""
    critical: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Poller:
    """An engine: whether it runs, and when the broker last heard of it (epoch seconds, 0 never)."""

    id: int
    name: str
    running: bool
    last_alive: int


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of metrics, all (n,), in no order; ±`NO_VALUE` where a check had none."""

    ids: Ints
    times: Ints
    values: Floats


def inventory(database: Database, hosts: Sequence[str] = (), limit: int = 1_000_000) -> Iterator[StoredMetric]:
    """Every metric of every service that is checked now; with `hosts` (globs) only of hosts whose name matches one."""
    named = " OR ".join(["h.name LIKE %s ESCAPE '|'"] * len(hosts)) or "TRUE"
    sql = (
        "SELECT m.metric_id, h.name, i.service_description, m.metric_name, i.host_id, i.service_id, h.instance_id,"  # noqa: S608
        " i.check_interval, m.unit_name, m.data_source_type, m.warn_low + 0e0, m.warn + 0e0, m.warn_threshold_mode,"
        " m.crit_low + 0e0, m.crit + 0e0, m.crit_threshold_mode"
        " FROM index_data i"
        " JOIN metrics m ON m.index_id = i.id"
        " JOIN hosts h ON h.host_id = i.host_id AND h.enabled = 1"
        " JOIN services s ON s.host_id = i.host_id AND s.service_id = i.service_id AND s.enabled = 1"
        " WHERE i.special = '0' AND COALESCE(i.to_delete, 0) = 0 AND COALESCE(m.to_delete, 0) = 0"
        # Hosts of this name carry the module's own services, meta-services among them.
        f" AND h.name NOT LIKE '|_Module|_%%' ESCAPE '|' AND ({named})"
        " ORDER BY m.metric_id LIMIT %s"
    )
    for row in database.rows("list of metrics", sql, (*map(like, hosts), limit)):
        ident, host, service, name, host_id, service_id, poller, interval, unit, kind, *limits = row
        if not host or not service or not name:
            continue
        low, high, inside, low2, high2, inside2 = limits
        yield StoredMetric(
            id=int(ident),
            host=str(host),
            service=str(service),
            name=str(name),
            host_id=int(host_id),
            service_id=int(service_id),
            poller=int(poller),
            # In units of the engine's interval_length, which is 60 s wherever nobody changed it.
            interval=int(interval) * 60 if interval and 0 < interval < 20_000 else DEFAULT_INTERVAL,
            unit=str(unit or ""),
            counter=str(kind) in ("1", "2"),
            warning=threshold(low, high, bool(inside)),
            critical=threshold(low2, high2, bool(inside2)),
        )


def like(glob: str) -> str:
    """`srv-*` → `srv-%`, for LIKE … ESCAPE '|'. LIKE may ignore case, so it lets more through, never less."""
    escaped = re.sub(r"([|%_])", r"|\1", glob)
    return escaped.replace("*", "%").replace("?", "_")


def threshold(low: float | None, high: float | None, inside: bool) -> str:
    """The bounds as the broker keeps them → a range as plugins write it (`~:10`, `10:20`, `@10:20`); empty when there is none.

    A bound that is absent beside a high one is 0, as plugins have it; infinite ones are kept as ±FLT_MAX.
    """
    if low is None and high is None:
        return ""
    top = "" if high is None or high >= LARGEST else f"{_short(high)}"
    bottom = "~" if low is not None and low <= -LARGEST else _short(low or 0.0)
    if low is None and high is not None and high < 0:
        bottom = "~"
    if bottom == "~" and not top:
        return ""
    return f"{'@' if inside else ''}{'' if bottom == '0' and top else bottom + ':'}{top}"


def _short(value: float) -> str:
    """A 32-bit float as a person wrote it: 0.1 and not 0.10000000149."""
    return f"{float(np.format_float_positional(np.float32(value), unique=True, trim='-')):.15g}"


def pollers(database: Database) -> Mapping[int, Poller]:
    """Every engine that is configured."""
    sql = "SELECT instance_id, name, running, last_alive FROM instances WHERE deleted = 0"
    return {
        int(ident): Poller(id=int(ident), name=str(name), running=bool(running), last_alive=int(alive or 0))
        for ident, name, running, alive in database.rows("state of the pollers", sql)
    }


def stored(database: Database) -> int:
    """How many metrics there are in all."""
    ((count,),) = list(database.rows("number of metrics", "SELECT COUNT(*) FROM metrics"))
    return int(count)


def walks(asked: int, stored: int) -> bool:
    """Whether to walk through all rows of the days rather than look up those of each metric.

    The index leads to rows that lie all over a day's partition: one by one they cost some ten times as much as in the order
    in which they lie, and far more where the partition does not fit in the server's memory.
    """
    return asked * 10 >= stored


def samples(database: Database, ids: Sequence[int], start: int, end: int, *, walk: bool = False, states: bool = False) -> Samples:
    """Everything measured in [start, end) for at most `IDS` metrics, in one statement and one text per metric.

    With `states` not the values but what the service was at each check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

    The server packs the rows of each metric into one text: 40 times less work here than a row at a time. A text the server
    had to cut is a `TransientError`, never a shorter answer.
    """
    if not ids:
        return Samples(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    marks = ",".join(["%s"] * len(ids))
    # What is computed has no index. A hint would name the index, and fail where it has another name.
    owner = "id_metric + 0" if walk else "id_metric"
    # An enumeration counts from 1; '4' is pending, which is no state of a check.
    said = "COALESCE(NULLIF(status + 0, 5) - 1, 3e38)" if states else "COALESCE(value + 0e0, 3e38)"
    sql = (
        f"SELECT {owner}, COUNT(*), GROUP_CONCAT(ctime - %s, ' ', {said} SEPARATOR ' ')"  # noqa: S608
        # The times first: conditions are looked at in this order, and they leave few rows for the long list.
        f" FROM data_bin WHERE ctime >= %s AND ctime < %s AND {owner} IN ({marks}) GROUP BY {owner}"
    )
    owners, counts, texts = [], [], []
    for ident, count, text in database.rows("samples", sql, (start, start, end, *ids)):
        owners.append(int(ident))
        counts.append(int(count))
        texts.append(text if isinstance(text, str) else (text or b"").decode("ascii", "replace"))
    packed = " ".join(texts)
    database.bytes_read += len(packed)
    try:
        numbers = np.fromstring(packed, sep=" ")
    except (ValueError, DeprecationWarning):
        numbers = np.zeros(0)
    total = sum(counts)
    if len(numbers) != 2 * total:
        raise TransientError(
            f"{database.place}: samples: {total} were announced and {len(numbers) // 2} came: the answer was cut "
            "(group_concat_max_len or max_allowed_packet of the server)"
        )
    every = np.repeat(np.array(owners, np.int64), counts)
    return Samples(every, numbers[0::2].astype(np.int64) + start, numbers[1::2])


def days(database: Database) -> list[tuple[int, int]]:
    """The partitions of `data_bin` as [start, end), oldest first; one of all time when it has none."""
    sql = (
        "SELECT PARTITION_DESCRIPTION FROM information_schema.PARTITIONS"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'data_bin' AND PARTITION_NAME IS NOT NULL"
        " ORDER BY PARTITION_ORDINAL_POSITION"
    )
    found, start = [], 0
    for (limit,) in database.rows("partitions of data_bin", sql):
        end = 2**31 - 1 if str(limit) == "MAXVALUE" else int(limit)
        found.append((start, end))
        start = end
    return found or [(0, 2**31 - 1)]


def first_time(database: Database, ids: Sequence[int], start: int, end: int) -> int | None:
    """The first ctime of these metrics in [start, end), None when there is none."""
    return _edge(database, "MIN", ids, start, end)


def last_time(database: Database, ids: Sequence[int], start: int, end: int) -> int | None:
    """The last ctime of these metrics in [start, end), None when there is none."""
    return _edge(database, "MAX", ids, start, end)


def _edge(database: Database, which: str, ids: Sequence[int], start: int, end: int) -> int | None:
    sql = (
        f"SELECT {which}(ctime) FROM data_bin WHERE id_metric IN ({','.join(['%s'] * len(ids))})"  # noqa: S608
        " AND ctime >= %s AND ctime < %s"
    )
    for (found,) in database.rows("reach of the samples", sql, (*ids, start, end)):
        return None if found is None else int(found)
    return None
