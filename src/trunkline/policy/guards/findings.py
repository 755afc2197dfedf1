"""What checks have found: which rule, on which side, and what kind of thing. Never the words themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from trunkline.errors import AnswerBlocked, GatewayError, HarmfulAnswer, HarmfulPrompt, PromptBlocked
from trunkline.policy.guards.rules import GuardRule, Side

FINDINGS_HEADER: Final = b"cf-aig-dlp"
NO_VERDICT: Final = "no_verdict"
UNREADABLE: Final = "unreadable"

_OF_HARM: Final = {"request": HarmfulPrompt, "response": HarmfulAnswer}
_OF_DATA: Final = {"request": PromptBlocked, "response": AnswerBlocked}


class Finding(msgspec.Struct, frozen=True):
    """One rule that found something. ``kinds`` are words of the rule's check, or names of its topics or categories."""

    rule: GuardRule
    side: Side
    kinds: tuple[str, ...]

    @property
    def blocks(self) -> bool:
        """Whether the exchange ends here."""
        return self.rule.action == "block"

    def document(self) -> dict[str, Any]:
        """Return it as the log keeps it."""
        return {
            "rule": self.rule.id,
            "check": self.rule.check,
            "side": self.side,
            "action": self.rule.action,
            "kinds": list(self.kinds),
        }


def header_of(findings: Sequence[Finding]) -> tuple[bytes, bytes]:
    """Return the header that tells the caller of findings, of which there is at least one."""
    said = {
        "findings": [
            {
                "profile": {"context": {}, "entry_ids": list(found.kinds), "profile_id": found.rule.id},
                "policy_ids": [found.rule.id],
                "check": found.side.upper(),
            }
            for found in findings
        ],
        "action": "BLOCK" if any(found.blocks for found in findings) else "FLAG",
    }
    return FINDINGS_HEADER, json.dumps(said, separators=(",", ":")).encode()


def refusal(blocking: Finding, findings: Iterable[Finding]) -> GatewayError:
    """Return the error that ends an exchange for a finding; its header tells of all ``findings``."""
    is_request = blocking.side == "request"
    what = "request" if is_request else "answer"
    if blocking.kinds == (NO_VERDICT,):
        why = f"its rule {blocking.rule.id!r} has the {what} judged by a model, and got no verdict. Try again later"
    elif blocking.kinds == (UNREADABLE,):
        why = f"its rule {blocking.rule.id!r} checks the {what}, which cannot be read here"
    else:
        why = f"its rule {blocking.rule.id!r} ({blocking.rule.check}) found: {', '.join(blocking.kinds)[:300]}"
    advice = " Leave that out of the request." if is_request and blocking.rule.is_about_data else ""
    message = f"The gateway blocked this {what}: {why}.{advice}"
    error: GatewayError = (_OF_DATA if blocking.rule.is_about_data else _OF_HARM)[blocking.side](message)
    error.headers.append(header_of(list(findings)))
    return error
