"""An installation as checks come to know it, one after the other: later ones stand on what earlier ones have seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from trunkline.policy.registry import Registry
from trunkline.settings import Examined, Settings
from trunkline.store import Database
from trunkline.store.inspection import Contents, Health


@dataclass
class Installation:
    """``database`` is open where it can be used; ``contents`` and ``registry`` are known where its tables are ours."""

    examined: Examined
    is_online: bool = False
    database: Database | None = None
    health: Health | None = None
    contents: Contents | None = None
    registry: Registry | None = None
    clocks: dict[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings; what could not be read of them has its default."""
        return self.examined.settings

    @property
    def known(self) -> Registry:
        """The set-up, empty where it could not be read."""
        return self.registry or Registry({})

    def is_set(self, name: str) -> bool:
        """Whether somebody has given a setting a value."""
        return self.examined.sources.get(name, "default") != "default"
