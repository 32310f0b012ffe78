"""Elasticsearch and OpenSearch: metrics and logs, aggregated where they are."""

from collectors.elastic.collector import ElasticCollector
from collectors.elastic.logs import ElasticLogs
from collectors.elastic.settings import ElasticSettings
from collectors.logs import collector
from tocsin.ports import Collector, Plugin, Surroundings

__all__ = ["PLUGIN", "ElasticCollector", "ElasticLogs", "ElasticSettings"]


def _build(settings: ElasticSettings, surroundings: Surroundings) -> Collector:
    if settings.logs is not None:
        return collector(ElasticLogs(settings, surroundings), settings.logs, surroundings)
    return ElasticCollector(settings, surroundings)


PLUGIN = Plugin(
    name="elasticsearch",
    summary="Elasticsearch 8 and 9, OpenSearch: metrics and logs, aggregated where they are",
    settings=ElasticSettings,
    build=_build,
)
