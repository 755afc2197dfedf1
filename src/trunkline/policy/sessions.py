"""What a gateway lets realtime sessions do: their limits, and how the gateway treats them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """So much of something within any stretch of so many seconds."""

    limit: float
    seconds: int


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What each key may use of realtime; None is no limit.

    ``max_duration`` and ``idle`` are seconds of one session; ``concurrent`` counts open sessions; ``sessions`` those
    opened, ``minutes`` the time they are open, ``tokens`` and ``budget`` (US dollars) what they use.
    """

    max_duration: float | None = None
    idle: float | None = None
    concurrent: int | None = None
    sessions: Quota | None = None
    minutes: Quota | None = None
    tokens: Quota | None = None
    budget: Quota | None = None


@dataclass(frozen=True, slots=True)
class RealtimeRules:
    """One gateway's switches for realtime.

    ``beta_bridge`` translates for clients of OpenAI's retired dialect; ``resume`` dials again when a provider is lost
    in a session, then ``fallbacks`` (``provider/model``) in turn; ``record`` keeps both sides' audio.
    """

    limits: SessionLimits = SessionLimits()
    beta_bridge: bool = True
    resume: bool = True
    fallbacks: tuple[str, ...] = ()
    record: bool = False
