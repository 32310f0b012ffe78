"""Fixtures that run real servers."""

from tests.integration.nagios import nagios, nagios_program

__all__ = ["nagios", "nagios_program"]
