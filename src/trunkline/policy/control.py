"""What a gateway does with requests besides passing them on: cache, limits, tries, checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect

from trunkline.errors import SettingsError
from trunkline.policy.attempts import AttemptRules
from trunkline.policy.caching import CacheRules
from trunkline.policy.guards import GuardRule
from trunkline.policy.limits import LimitRule
from trunkline.wire.documents import converted

# A step of the path by which msgspec names a place: `.limits` or `[0]`.
_STEP: Final = re.compile(r"\w+|\[[^\]]*\]")


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
            changed = converted(document, ControlRules)
        except msgspec.ValidationError as error:
            raise SettingsError(f"control: {error}{_choices(str(error))}.") from error
        for part in (changed.limits, changed.guards):
            ids = [rule.id for rule in part]
            if len(set(ids)) < len(ids):
                raise SettingsError("control: two rules have the same id.")
        return changed

    def document(self) -> dict[str, Any]:
        """Return what is set, as it is kept."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def whole(self) -> dict[str, Any]:
        """Return all fields, also those at which nothing is done: what `changed` makes these very rules of."""
        found: dict[str, Any] = _whole(self)
        return found


def _choices(fault: str) -> str:
    """Return the words that could stand where another does, which the fault itself leaves out, or nothing."""
    path = fault.rpartition("`$")[2].rstrip("`")
    kind: Any = inspect.type_info(ControlRules)
    for name in _STEP.findall(path) if fault.startswith("Invalid enum value") else ():
        match kind:
            case inspect.StructType(fields=fields):
                kind = next((field.type for field in fields if field.encode_name == name), None)
            case inspect.CollectionType(item_type=item):
                kind = item
            case inspect.VarTupleType(item_type=item):
                kind = item
    return f"; expected {', '.join(map(str, kind.values))}" if isinstance(kind, inspect.LiteralType) else ""


def _whole(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
        case list() | tuple():
            return [_whole(one) for one in value]
        case dict():
            return {name: _whole(one) for name, one in value.items()}
        case _:
            return value
