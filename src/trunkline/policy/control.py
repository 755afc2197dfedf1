"""What a gateway does with requests besides passing them on: cache, limits, tries, checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.errors import SettingsError
from trunkline.policy.attempts import AttemptRules
from trunkline.policy.caching import CacheRules
from trunkline.policy.guards import GuardRule
from trunkline.policy.limits import LimitRule


class ControlRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One gateway's rules, as they are kept. Nothing is done where nothing is set."""

    cache: CacheRules = CacheRules()
    limits: tuple[LimitRule, ...] = ()
    attempts: AttemptRules = AttemptRules()
    guards: tuple[GuardRule, ...] = ()

    def changed(self, changes: Mapping[str, Any]) -> ControlRules:
        """Return these rules with parts replaced: fields of ``cache`` and ``attempts``, the other parts as a whole.

        Raises `SettingsError` naming the field at fault.
        """
        document = self.document()
        for name, value in changes.items():
            below = document.get(name, {})
            document[name] = {**below, **value} if isinstance(value, Mapping) and isinstance(below, Mapping) else value
        try:
            changed = msgspec.convert(document, ControlRules)
        except msgspec.ValidationError as error:
            raise SettingsError(f"control: {error}.") from error
        for part in (changed.limits, changed.guards):
            ids = [rule.id for rule in part]
            if len(set(ids)) < len(ids):
                raise SettingsError("control: two rules have the same id.")
        return changed

    def document(self) -> dict[str, Any]:
        """Return what is set, as it is kept."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
