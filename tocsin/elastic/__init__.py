"""Elasticsearch and OpenSearch behind one thin door: for the collector that reads them and the sink that writes to them."""

from tocsin.elastic.answers import TooMuch, said, too_much
from tocsin.elastic.client import Elastic, Reply
from tocsin.elastic.settings import Auth, Server

__all__ = ["Auth", "Elastic", "Reply", "Server", "TooMuch", "said", "too_much"]
