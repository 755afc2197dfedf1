"""What a gateway keeps of the exchanges that pass it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from trunkline.errors import SettingsError
from trunkline.policy.prices import ModelPrice
from trunkline.wire.documents import converted

Strategy = Literal["DELETE_OLDEST", "STOP_INSERTING"]
# A database's numbers end somewhere, and so do those of JSON.
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class LoggingRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's switches for its log.

    ``collect``: keep a row of each exchange; ``payloads``: its bodies too, with keys redacted, and with ``redact_pii``
    e-mail addresses, phone and card numbers as well. ``max_rows`` and ``max_age_days`` bound the log, None is no bound;
    ``strategy`` says what happens at ``max_rows``. ``usage_in_streams``: ask providers for the usage of streamed
    chats whose callers did not, and keep it from them. ``custom_costs``: prices of the gateway's own, of which the
    first that fits a model counts.
    """

    collect: bool = True
    payloads: bool = False
    redact_pii: bool = False
    max_rows: _Count | None = None
    max_age_days: _Count | None = None
    strategy: Strategy = "DELETE_OLDEST"
    usage_in_streams: bool = False
    custom_costs: tuple[ModelPrice, ...] = ()

    def keeps(self, collect: bool | None = None, payloads: bool = True) -> tuple[bool, bool]:
        """Return whether a row is kept, and whether its bodies are.

        The arguments are what the caller asks for. It decides about its row, whatever the switch says; bodies are kept
        only where the gateway keeps any.
        """
        kept = self.collect if collect is None else collect
        return kept, kept and self.payloads and payloads

    def changed(self, changes: Mapping[str, Any]) -> LoggingRules:
        """Return these rules with fields replaced. Raises `SettingsError` naming the field at fault."""
        try:
            return converted({**self.document(), **changes}, LoggingRules)
        except msgspec.ValidationError as error:
            raise SettingsError(f"logging: {error}.") from error

    def document(self) -> dict[str, Any]:
        """Return what is set, as it is kept."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
