"""Sessions whose model names the provider: ``provider/model`` on the path ``compat``, ``dynamic/NAME`` on any."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from trunkline.errors import MalformedRequest, NotPermitted
from trunkline.policy.routes import route_name
from trunkline.server.admission import Admission, Doorkeeper
from trunkline.wire.head import Head
from trunkline.wire.path import UNIFIED, parse_path

_PATHS: Final = frozenset({"", "realtime", "v1/realtime"})


def to_provider(head: Head) -> Head:
    """Return a head on the path ``compat`` as it is on that of the provider which its model names; others as they are.

    Raises `MalformedRequest` for a model that names none.
    """
    target = parse_path(head.path)
    if target.provider != UNIFIED or target.rest.strip("/") not in _PATHS or is_routed(head):
        return head
    slug, _, model = (head.query_value("model") or "").partition("/")
    if not slug or not model:
        raise MalformedRequest(
            f"On the path {UNIFIED} the query names the provider with the model: ?model=openai/gpt-realtime, or"
            " ?model=dynamic/NAME for a dynamic route."
        )
    path = f"/v1/{target.account}/{target.gateway}/{quote(slug, safe='')}/realtime"
    others = [pair for pair in parse_qsl(head.query, keep_blank_values=True) if pair[0] != "model"]
    return replace(head, path=path, query=urlencode([*others, ("model", model)]))


def is_routed(head: Head) -> bool:
    """Whether a dynamic route is asked for."""
    return route_name(head.query_value("model") or "") is not None


def admitted_to_route(doorkeeper: Doorkeeper, head: Head) -> Admission:
    """Admit the caller of a dynamic route, who needs no key of any provider: those are the gateway's own.

    The admission is to whatever provider. Raises the `GatewayError` that refuses the caller.
    """
    try:
        return doorkeeper.admit(head, "local")
    except NotPermitted:
        # A client secret is good for one provider, and opens the route on the path of that.
        if parse_path(head.path).provider == UNIFIED:
            raise
        return doorkeeper.admit(head)
