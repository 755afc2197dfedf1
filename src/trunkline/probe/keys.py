"""The keys of a run, and how they stay out of everything that is shown."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from trunkline.credentials.matrix import Secret
from trunkline.probe.errors import ProbeError

_NOT_IN_A_HEADER: Final = re.compile(r"[^\x21-\x7e]")
_BEARER: Final = re.compile(r"bearer\s+", re.IGNORECASE)
# How an API shows which key it means: sk-abc***********wxyz. Found word by word, which no text makes slow.
_WORD: Final = re.compile(r"[\w.*-]+")
_MASK: Final = "***"


@dataclass(frozen=True)
class Keys:
    """What the rows may show. An empty key skips the rows that need it.

    ``provider_from`` and ``gateway_from`` say where a person would set it. A ``Bearer`` before a key is left out: each
    row writes its own. Raises `ProbeError` for a key that no header can carry; its message does not hold the key.
    """

    provider_key: str = field(default="", repr=False)
    gateway_key: str = field(default="", repr=False)
    provider_from: str = "OPENAI_API_KEY"
    gateway_from: str = "CF_AIG_TOKEN"

    def __post_init__(self) -> None:
        object.__setattr__(self, "provider_key", _bare(self.provider_key, self.provider_from))
        object.__setattr__(self, "gateway_key", _bare(self.gateway_key, self.gateway_from))


def _bare(key: str, source: str) -> str:
    bare = _BEARER.sub("", key.strip(), count=1) if _BEARER.match(key.strip()) else key.strip()
    if _NOT_IN_A_HEADER.search(bare):
        raise ProbeError(f"{source} holds characters that no key has.")
    return bare


class Secrets:
    """The values behind the kinds of secret that rows name, and a wrong key made for this run alone."""

    def __init__(self, keys: Keys) -> None:
        self._values: Mapping[Secret, str] = {
            Secret.PROVIDER_KEY: keys.provider_key,
            Secret.GATEWAY_KEY: keys.gateway_key,
            Secret.WRONG_KEY: f"sk-wrong-{secrets.token_hex(20)}",
            Secret.NOTHING: "",
        }
        # The longest first, since one may hold another; in one pass, since a placeholder could hold a short key.
        shown = sorted((kind for kind in self._values if self._values[kind]), key=self._length, reverse=True)
        self._traces = re.compile(
            "|".join(f"(?P<{kind.name}>{_in_any_form(self._values[kind])})" for kind in shown), re.IGNORECASE
        )

    def value(self, kind: Secret) -> str:
        """Return what is sent for a kind of secret."""
        return self._values[kind]

    def scrub(self, text: str) -> str:
        """Return a text in which every secret of this run is replaced by its kind, in whatever form it was echoed."""
        known = self._traces.sub(lambda trace: placeholder(Secret[str(trace.lastgroup)]), text)
        return _WORD.sub(lambda word: "[masked]" if _MASK in word[0] else word[0], known)

    def _length(self, kind: Secret) -> int:
        return len(self._values[kind])


def placeholder(kind: Secret) -> str:
    """Return what stands for a secret where it may not be shown: ``[provider key]``."""
    return f"[{kind.value}]"


def _in_any_form(value: str) -> str:
    """Return a pattern of a value in which each character may be escaped as URLs, HTML or JSON within JSON do it."""
    return "".join(
        rf"(?:\\{{0,8}}(?:{re.escape(character)}|u{code:04x})|%{code:02x}|&\#x?0{{0,6}}(?:{code}|{code:x});)"
        for character, code in ((character, ord(character)) for character in value)
    )
