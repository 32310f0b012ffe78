"""Results of Centreon's checks: the metrics that today's static thresholds judge, from its database or its Web API."""

from collectors.centreon.collector import Centreon
from collectors.centreon.settings import CentreonSettings
from tocsin.ports import Plugin

__all__ = ["PLUGIN", "Centreon", "CentreonSettings"]

PLUGIN = Plugin(
    name="centreon",
    summary="metrics of Centreon's own checks, from its database (MariaDB) or its Web API",
    settings=CentreonSettings,
    build=Centreon,
)
