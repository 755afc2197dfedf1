"""Servers shared with the contract tests."""

from tests.contract.conftest import strict_upstream

__all__ = ["strict_upstream"]
