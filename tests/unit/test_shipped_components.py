"""The component types that are shipped ready: each loads, is short, and describes its metrics as their source means them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tocsin.config import ComponentType, load
from tocsin.model import Aggregate, Direction, Metric

ROOT = Path(__file__).resolve().parents[2] / "config/components"
SOURCES = ("elasticsearch", "splunk", "centreon")
TYPES = {
    "apache", "http-service", "jvm", "kafka", "linux-host", "mysql", "network-interface", "nginx", "oracle", "postgresql",
    "rabbitmq", "windows-host",
}  # fmt: skip
FILES = sorted(ROOT.glob("*/*.yaml"))

CUMULATIVE = {
    "nginx.stubstatus.requests", "nginx.stubstatus.dropped", "apache.status.total_accesses", "apache.status.total_kbytes",
    "jvm.gc.time", "postgresql.database.transactions.commit", "postgresql.database.transactions.rollback",
    "postgresql.database.blocks.read", "postgresql.database.deadlocks", "postgresql.database.temporary.bytes",
    "mysql.status.queries", "mysql.status.aborted.connects", "mysql.status.bytes.sent", "mysql.status.created.tmp.disk_tables",
    "kafka.consumergroup.offset", "rabbitmq.queue.disk.writes.count", "system.network.in.bytes", "system.network.out.bytes",
    "system.network.in.errors", "system.network.out.errors", "system.network.in.dropped",
    "nginx.requests", "nginx.connections_accepted", "nginx.connections_handled", "apache.requests", "apache.traffic",
    "apache.request.time", "jvm.gc.collections.elapsed", "postgresql.commits", "postgresql.rollbacks", "postgresql.deadlocks",
    "mysql.row_operations", "mysql.row_locks", "mysql.tmp_resources", "oracledb.cpu_time", "oracledb.executions",
    "oracledb.user_commits", "oracledb.user_rollbacks", "oracledb.physical_reads", "oracledb.enqueue_deadlocks",
    "kafka.consumer_group.offset_sum", "rabbitmq.message.published", "rabbitmq.message.delivered", "rabbitmq.message.dropped",
    "interfaces_metric.RXbytes", "interfaces_metric.TXbytes", "interfaces_metric.RXerrors", "interfaces_metric.TXerrors",
    "interfaces_metric.RXdropped",
}  # fmt: skip
"""What its source counts since the start of something; whatever is not here is a value as it stands."""

UNITS = (
    (r"\.percentage$", "%"), (r"\.bytes$", "B"), (r"\.milliseconds$", "ms"), (r"\.seconds$", "s"),
    (r"\.bitspersecond$", "b/s"), (r"bytes\w*\.?persecond$", "B/s"), (r"(?<!bytes\.)(?<!bits)(?<!bytes)persecond$", "1/s"),
)  # fmt: skip
"""What the names of Centreon's plugins say of their unit."""

HIGH = r"error|drop|deadlock|rollback|lag|down|discard|duration|swap|busy|slow|long\.queries|aborted|under\.replicated|offline"
LOW = r"idle|free|consumers|members|hit\.ratio"


def loaded(path: Path, tmp_path: Path) -> ComponentType:
    main = tmp_path / "tocsin.yaml"
    main.write_text(f"components: ['{path}']\ndeliver: {{sink: recording}}\n")
    return load(main, environment={}).types[0]


def metrics_of(kind: ComponentType) -> list[tuple[str, Metric]]:
    return [
        (described.field or name, described.metric(name)) for entry in kind.collect for name, described in entry.metrics.items()
    ]


def test_every_type_is_ready_for_every_source() -> None:
    assert {source: {path.stem for path in (ROOT / source).glob("*.yaml")} for source in SOURCES} == dict.fromkeys(SOURCES, TYPES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_type_loads_is_short_and_means_what_its_source_means(path: Path, tmp_path: Path) -> None:
    kind = loaded(path, tmp_path)
    source = path.parent.name
    assert kind.name == path.stem
    assert source == "several" or {entry.plugin.name for entry in kind.collect} == {source}
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= (20 if source != "several" else 30)
    for field, metric in metrics_of(kind):
        where = f"{metric.name} ({field})"
        assert metric.counter == (field in CUMULATIVE), where
        assert metric.lower == 0, where
        if metric.counter:
            assert metric.unit.endswith("/s"), where
            assert metric.aggregate is Aggregate.LAST, where
        if field.endswith((".pct", ".percentage", "Pct", "pctIdle")) or metric.unit == "%":
            assert metric.upper == (1 if field.endswith(".pct") else 100), where
        if source == "centreon":
            assert [unit for pattern, unit in UNITS if re.search(pattern, field)] in ([], [metric.unit]), where
        if re.search(LOW, metric.name) and "busy" not in metric.name:
            assert metric.direction is Direction.LOW, where
        elif re.search(HIGH, metric.name):
            assert metric.direction is Direction.HIGH, where


def test_one_component_can_be_watched_through_three_sources(tmp_path: Path) -> None:
    kind = loaded(ROOT / "several/web-shop.yaml", tmp_path)
    assert [entry.plugin.name for entry in kind.collect] == list(SOURCES)
