"""Thousands of components cost no more questions than pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collectors.splunk import Splunk, SplunkSettings
from tests.splunk_fake import Fake
from tocsin.model import SeriesIndex, SeriesKey, Window
from tocsin.ports import Surroundings
from tocsin.timegrid import Calendar

NOON = 1_790_812_800


def test_two_thousand_components_are_read_with_as_many_requests_as_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_TOKEN", "good-token")
    fake = Fake()
    fake.states = ["DONE"]
    hosts = [{"index": "em_metrics", "host": f"web{place:04}"} for place in range(2000)]
    for minute in range(2):
        stamp = NOON + 60 * minute
        fake.samples.points[stamp // 60] += [
            (stamp + 1.0, float(place + minute), f"metric.{place}", host) for host in hosts for place in range(10)
        ]
    names = {f"m{place}": f"metric.{place}" for place in range(10)}
    around = Surroundings(component_type="web", calendar=Calendar("Europe/Paris"), span=60, metrics={}, folder=Path())
    asked = {}
    with fake.running() as port:
        for few, include in (("twenty", ["web000?", "web001?"]), ("all", [])):
            splunk = Splunk(
                SplunkSettings.model_validate(
                    {
                        "host": "127.0.0.1",
                        "port": port,
                        "scheme": "http",
                        "auth": {"token": "env:SPLUNK_TOKEN"},
                        "index": "em_metrics",
                        "fields": names,
                        "include": include,
                        "limits": {"per_second": 100},
                    }
                ),
                around,
            )
            index = SeriesIndex(SeriesKey(f"web{place:04}", name) for place in range(20 if include else 2000) for name in names)
            frame = splunk.collect(index, Window(NOON, NOON + 120, 60))
            wanted = np.array([[float(key.metric[1:]), float(key.metric[1:]) + 1] for key in index])
            np.testing.assert_array_equal(frame.values, wanted)
            assert frame.known.all()
            asked[few] = splunk.session.http.usage.requests
            splunk.close()
    assert asked["all"] == asked["twenty"] == 5
    assert fake.left() == []
