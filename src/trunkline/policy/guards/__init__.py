"""What may not pass: checks on what is asked and on what is answered."""

from trunkline.policy.guards.rules import GuardRule

__all__ = ["GuardRule"]
