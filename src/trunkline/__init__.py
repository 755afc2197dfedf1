"""Trunkline: a self-hosted AI gateway for text and real-time voice."""

__version__ = "0.1.0"
