"""A thousand half days of trouble, and a quarter of that again without reading back. Needs no server, only two minutes."""

from __future__ import annotations

import pytest

from tests.delivery import PACE, half_day

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("first_seed", range(1000, 2250, 50))
def test_no_opening_is_lost_and_no_service_is_wrong_or_restless(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 50):
        reads_back = seed < 2000
        site, longest_hidden = half_day(seed, reads_back=reads_back)
        assert site.wrong() == [], seed
        assert site.too_many_changes() == [], seed
        assert site.engine.received / len(site.services) / 13 < 30, seed
        if reads_back:
            # A receiver that neither tells nor keeps what it dropped can hide an incident shorter than the re-assertion.
            assert site.never_shown() == [], seed
            assert longest_hidden <= 1.1 * PACE.reassert + PACE.read_back, seed
