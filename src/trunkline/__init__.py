"""Trunkline: a self-hosted AI gateway for text and real-time voice."""

from importlib.metadata import version

__version__ = version("trunkline")
