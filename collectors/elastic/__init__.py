"""Elasticsearch and OpenSearch: metrics and logs, aggregated where they are."""

from typing import Any

from collectors.elastic.collector import ElasticCollector
from collectors.elastic.settings import ElasticSettings
from tocsin.ports import Plugin, Surroundings

__all__ = ["PLUGIN", "ElasticCollector", "ElasticSettings"]


def _build(settings: ElasticSettings, surroundings: Surroundings) -> Any:
    return ElasticCollector(settings, surroundings)


PLUGIN = Plugin(
    name="elasticsearch",
    summary="Elasticsearch 8 and 9, OpenSearch: metrics and logs, aggregated where they are",
    settings=ElasticSettings,
    build=_build,
)
