"""What every collector promises, held by Centreon's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.centreon import Centreon, CentreonSettings
from tests.contracts.test_collector_contract import (  # noqa: F401  # the tests themselves
    SPAN,
    START,
    Source,
    around,
    some_samples,
    test_a_gap_in_the_data_is_known_to_be_a_gap,
    test_a_part_of_the_series_gives_a_part_of_the_frame,
    test_a_series_the_source_does_not_have_is_no_data,
    test_a_source_that_is_down_says_so,
    test_asking_twice_gives_the_same,
    test_every_series_is_discovered_once,
    test_every_value_arrives_in_its_bucket_and_nothing_else,
    test_nothing_asked_is_nothing_answered,
    test_the_reach_is_the_first_and_last_value,
    test_windows_side_by_side_make_the_whole,
)
from tests.integration.mariadb import DAY, MariaDB

pytestmark = pytest.mark.integration


@pytest.fixture
def source(maria: MariaDB, tmp_path: Path) -> Iterator[Source]:
    samples = some_samples()
    with maria.schema("contract", START // DAY - 1, START // DAY + 1) as storage:
        hosts = {component: storage.host(component) for component in sorted({key.component for key in samples})}
        services = {name: storage.service(ident, "Checks") for name, ident in hosts.items()}
        for key, values in samples.items():
            storage.values(storage.metric(services[key.component], key.metric), values.items())
        names = {key.metric: key.metric for key in samples}
        made = CentreonSettings.model_validate(
            {
                "database": storage.settings().model_dump() | {"password": "env:TOCSIN_TEST_DATABASE"},
                "fields": names,
                "valid_for": "0s",
                "discover_every": "0s",
                "limits": {"retries": 0, "per_second": 1000},
            }
        )
        collector = Centreon(made, around(tmp_path))

        def breaks() -> None:
            storage.do("DROP DATABASE contract")
            maria.kill()

        yield Source(collector=collector, breaks=breaks)
        collector.close()
        storage.close()
    if maria.is_down:
        maria.start()
