"""The core of Tocsin: nouns, ports, engine and doors."""

__version__ = "0.1.0"
