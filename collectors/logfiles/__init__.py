"""Log lines in files: counted per component, level and template, like those of any other source."""

from collectors.logfiles.settings import LogFilesSettings
from collectors.logfiles.source import LogFiles
from collectors.logs import collector
from tocsin.ports import LogCollector, Plugin, Surroundings

__all__ = ["PLUGIN", "LogFiles", "LogFilesSettings", "build"]


def build(settings: LogFilesSettings, surroundings: Surroundings) -> LogCollector:
    """The collector over these files."""
    return collector(LogFiles(settings, surroundings), settings.logs, surroundings)


PLUGIN = Plugin(
    name="logfiles",
    summary="Log files, plain or gzip, that grow and rotate; lines with a time, or CSV with a column of text",
    settings=LogFilesSettings,
    build=build,
)
