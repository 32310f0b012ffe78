"""Log lines become counts per component, level and template; what varies in a line, and whom it is about, is masked first.

A source of logs (`tocsin.ports.LogSource`) reads entries; `collector` makes of it a collector like any other:

    collector(source, settings.logs, surroundings)      where settings has `logs: Logs = None`
"""

from collectors.logs.collector import collector
from collectors.logs.settings import Logs, LogSettings

__all__ = ["LogSettings", "Logs", "collector"]
