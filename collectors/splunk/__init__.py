"""Metrics, events and saved searches of Splunk, counted and averaged there.

One search reads all components of a window; it is a job of Splunk that is started under our own name, waited for, read in
pages, and cancelled. What Splunk says beside its rows (in a status, in messages, by the state of the job) decides whether a
bucket holds values, no data, or is not known.
"""

from collectors.splunk.collector import Splunk
from collectors.splunk.settings import SplunkSettings
from tocsin.ports import Plugin

__all__ = ["PLUGIN", "Splunk", "SplunkSettings"]

PLUGIN = Plugin(
    name="splunk",
    summary="Splunk: metrics indexes, counted events, search-time fields and saved searches",
    settings=SplunkSettings,
    build=Splunk,
)
