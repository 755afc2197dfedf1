"""Why a run cannot begin. What happens within one is a verdict, never an exception."""

from __future__ import annotations

from trunkline.errors import TrunklineError


class ProbeError(TrunklineError):
    """The run cannot begin: the address, a key or a choice of rows is at fault, or nobody is there."""


class AddressRefused(ProbeError):
    """The guard does not let the probe connect there; the message names its rule."""
