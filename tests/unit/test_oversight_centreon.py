"""The stages and Centreon's Web API together: what people do there holds back or lets go here, and its silence hides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.centreon.supervision import PLUGIN, SupervisionSettings
from tests.centreon_fake import PASSWORD, USER, Fake, centreon
from tests.unit.test_grouping import incident
from tests.unit.test_oversight import NOW, configured, kept, staged, state
from tocsin.config import load
from tocsin.model import Severity
from tocsin.oversight import Oversight
from tocsin.store.state import State

__all__ = ["state"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    with centreon(now=lambda: NOW) as one:
        yield one


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def act(number: int, **facts: Any) -> dict[str, Any]:
    common = {"author_id": 3, "author_name": "jdoe", "entry_time": iso(NOW - 60), "deletion_time": None}
    return {**common, "id": number, "is_sticky": True, "state": 1, **facts}


def test_acknowledged_and_planned_in_centreon_until_it_falls_silent(fake: Fake, tmp_path: Path, state: State) -> None:
    one, two = fake.host("web-1"), fake.host("web-2")
    mine = fake.service(one, "Anomaly-web")
    fake.service(two, "Anomaly-web")
    fake.acknowledgements.append(act(7, host_id=one.id, service_id=mine.id, comment="on it"))
    times = {
        "start_time": iso(NOW - 30),
        "end_time": iso(NOW + 7200),
        "actual_start_time": iso(NOW - 30),
        "actual_end_time": None,
    }
    fake.downtimes.append(
        act(
            8,
            host_id=two.id,
            service_id=None,
            comment="disk",
            duration=7230,
            is_started=True,
            is_cancelled=False,
            is_fixed=True,
            **times,
        )
    )
    config = configured(tmp_path, "{ladder: status}")
    (tmp_path / "tocsin.yaml").write_text(
        "state: var\ndeliver: {sink: recording}\nsupervision: {use: centreon, trust: 15m, "
        f"api: {{url: '{fake.url}', user: {USER}, password: env:TOCSIN_TEST_PASSWORD}}, "
        "limits: {per_second: 1000, retries: 0}}\n"
    )
    config = load(tmp_path / "tocsin.yaml", environment={})
    assert config.supervision is not None
    assert isinstance(config.supervision.settings, SupervisionSettings)
    oversight = Oversight(config, state, PLUGIN.build(config.supervision.settings, None))
    incidents = [
        incident(name, id=name, since=NOW - 600, opened=NOW - 540, severity=Severity.WARNING) for name in ("web-1", "web-2")
    ]
    kept(state, *incidents)
    oversight.supervise(NOW)
    held = {one.component: one.held_by for one in staged(oversight, config, incidents, NOW)}
    assert held["web-1"] == (("acknowledged", "at WARNING by jdoe: on it"),)
    assert held["web-2"][0][0] == "maintenance"
    assert "by jdoe (disk)" in held["web-2"][0][1]
    assert {(one.kind, one.verdict, one.source) for one in state.accounts.verdicts()} == {
        ("acknowledgement", "useful", "centreon"),
        ("downtime", "known", "centreon"),
    }
    fake.fail("/downtimes", status=500, times=100)
    oversight.supervise(NOW + 600)
    assert staged(oversight, config, incidents, NOW + 600)[1].held_by
    assert "has not answered for" in oversight.result("tocsin", NOW + 660).text
    oversight.supervise(NOW + 1000)
    assert staged(oversight, config, incidents, NOW + 1000)[1].held_by == ()
    oversight.overseen.close()
