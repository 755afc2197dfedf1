"""Who can be reached: one data file per provider under a strict schema, and pure functions that resolve addresses."""

from trunkline.providers.catalogue import Catalogue, check_via, custom_provider
from trunkline.providers.chaining import chained_http, chained_realtime, chained_slots
from trunkline.providers.resolution import UpstreamTarget, resolve_http, resolve_realtime
from trunkline.providers.schema import Provider, Realtime, Route, Slot, Via

__all__ = [
    "Catalogue",
    "Provider",
    "Realtime",
    "Route",
    "Slot",
    "UpstreamTarget",
    "Via",
    "chained_http",
    "chained_realtime",
    "chained_slots",
    "check_via",
    "custom_provider",
    "resolve_http",
    "resolve_realtime",
]
