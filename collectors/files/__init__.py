"""Measurements in files: CSV, gzip CSV and Parquet, wide or long, in folders that grow.

    2026-11-02T10:00:00Z,12.5,0.31        one row a time, one column a metric (wide)
    web1,cpu,1761991200,12.5              one row a sample (long)

Of each file an index of blocks is kept (where, from when, until when), so that a window reads only the blocks that overlap it,
and a file that grew only what is new.
"""

from collectors.files.collector import Files
from collectors.files.settings import FilesSettings
from collectors.files.strict import Table, check, read_table
from tocsin.ports import Plugin

__all__ = ["PLUGIN", "Files", "FilesSettings", "Table", "check", "read_table"]

PLUGIN = Plugin(
    name="files",
    summary="CSV, gzip CSV and Parquet files, wide or long, in a folder that may grow",
    settings=FilesSettings,
    build=Files,
)
