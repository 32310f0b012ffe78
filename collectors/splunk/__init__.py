"""Metrics, events and saved searches of Splunk, counted and averaged there.

One search reads all components of a window; it is a job of Splunk that is started under our own name, waited for, read in
pages, and cancelled. What Splunk says beside its rows (in a status, in messages, by the state of the job) decides whether a
bucket holds values, no data, or is not known.
"""

from typing import Any

from collectors.logs import collector as counting
from collectors.splunk.collector import Splunk
from collectors.splunk.logs import SplunkLogs
from collectors.splunk.settings import SplunkSettings
from tocsin.ports import Plugin, Surroundings

__all__ = ["PLUGIN", "Splunk", "SplunkLogs", "SplunkSettings"]


def _build(settings: SplunkSettings, surroundings: Surroundings) -> Any:
    if settings.logs is None:
        return Splunk(settings, surroundings)
    return counting(SplunkLogs(settings, surroundings), settings.logs, surroundings)


PLUGIN = Plugin(
    name="splunk",
    summary="Splunk: metrics indexes, counted events, search-time fields, saved searches and log entries",
    settings=SplunkSettings,
    build=_build,
)
