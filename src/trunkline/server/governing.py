"""What bounds an exchange after its caller was admitted: the models, uses and money a key is good for.

Every HTTP exchange passes here, whatever endpoint it came by; a realtime session asks the same of its frames.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from trunkline.errors import NotPermitted, SpendCapReached
from trunkline.policy.models import models_in_request
from trunkline.server.admission import Admission
from trunkline.server.broker import Broker
from trunkline.server.metering import Meter
from trunkline.wire.head import Head

# These ask for something that is there, and cause no work of a model.
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def is_governed(admission: Admission) -> bool:
    """Whether the exchange is bounded, so that its body must be read before it is sent on."""
    return admission.is_restricted or admission.secret is not None


def begin(broker: Broker, head: Head, admission: Admission, sent: object) -> Meter | None:
    """Judge an exchange, whose body has been read if it is governed; count it.

    Return what measures its answer, if it is capped. Raises the `GatewayError` that refuses it.
    """
    if not is_governed(admission):
        return None
    body = sent if isinstance(sent, bytes) else b""
    if admission.is_restricted and head.method not in _HARMLESS:
        models = models_in_request(
            admission.provider.slug, admission.rest, head.header(b"content-type") or "application/json", body
        )
        if not models:
            raise NotPermitted(
                "The gateway refused this request: its key is for some models only, and the request names none that"
                " can be read in one way."
            )
        admission.check_models(models)
    secret = admission.secret
    if secret is None:
        return None
    meter = None
    if secret.spend_cap is not None and head.method not in _HARMLESS:
        meter = Meter(admission, body)
    broker.claim(secret)
    return meter


def end(broker: Broker, admission: Admission, meter: Meter | None) -> None:
    """Charge what an exchange came to. Its answer is gone: a cap that it broke stops the next one."""
    if meter is None or admission.secret is None:
        return
    with suppress(SpendCapReached):
        broker.charge(admission.secret, meter.cost())
