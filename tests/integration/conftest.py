"""Fixtures that run real servers."""

from tests.integration.mariadb import maria, storage
from tests.integration.nagios import nagios, nagios_program

__all__ = ["maria", "nagios", "nagios_program", "storage"]
