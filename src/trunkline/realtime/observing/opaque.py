"""A protocol that nobody here can read: its messages are counted, no more."""

from __future__ import annotations

from typing import ClassVar

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import NOTHING, Said, UsageStatement


class OpaqueObserver:
    """Reads nothing."""

    usage: ClassVar[UsageStatement] = "never"

    def client(self, said: Frame | bytes) -> Said:
        """See nothing."""
        return NOTHING

    def provider(self, said: Frame | bytes) -> Said:
        """See nothing."""
        return NOTHING
