"""What the gateway tells those who watch it: metrics, traces, the log as it grows, and whether it is well."""

from trunkline.server.observability.observability import Observability

__all__ = ["Observability"]
