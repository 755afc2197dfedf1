"""What became of a session, as data: made by `SessionRecord.report`, kept by the store, compared by `compare`.

Every ``*_ms`` is in milliseconds. Moments count from the start of the session, which is when it was dialled.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trunkline.realtime.usage import Tokens

Ending = Literal["open", "completed", "cancelled", "incomplete", "failed", "unanswered"]
Side = Literal["client", "provider", "gateway"]
TalkState = Literal["connecting", "idle", "listening", "thinking", "speaking", "closed"]


class FunctionCall(msgspec.Struct, frozen=True):
    """A function that the model asked for. ``arguments`` is JSON, cut where it is very long; ``length`` is not."""

    name: str
    arguments: str
    length: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said, if anything, and one response to it. In a session that only transcribes: one utterance.

    ``ending``: how the response ended; ``open`` while it runs, ``unanswered`` where none came. ``reason`` says more,
    in the provider's word (``turn_detected``, ``max_output_tokens``), or ``connection_lost``.

    The latencies count from the end of what the user said: the moment at which the provider says that speech stopped
    (its silence window is before that and cannot be seen from here), or the client commits its audio, or, where there
    was neither, asks for a response. ``first_byte_ms`` runs to the first content of the response, be it sound, text or
    arguments; ``first_audio_ms`` to the first sound. ``barge_in_ms`` runs from the moment at which the user speaks, or
    the client cancels, to the end of the cancelled response, after which no more of it is heard.

    ``interrupted``: the response was cancelled, or the client cut what it had played of it at ``cut_at_ms`` (in its
    own audio). ``tokens`` and ``cost`` are those of the response; ``transcription_cost`` is the user's part.
    """

    index: int
    started_ms: float
    user: str = ""
    assistant: str = ""
    ending: Ending = "open"
    reason: str = ""
    out_of_band: bool = False
    interrupted: bool = False
    cut_at_ms: int | None = None
    calls: tuple[FunctionCall, ...] = ()
    first_byte_ms: float | None = None
    first_audio_ms: float | None = None
    barge_in_ms: float | None = None
    ended_ms: float | None = None
    tokens: Tokens = Tokens()
    cost: float | None = None
    transcription_cost: float | None = None


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """What one model used to write down what users said."""

    model: str
    count: int
    tokens: Tokens = Tokens()
    seconds: float = 0.0
    cost: float | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars, None where nothing has a known price.

    ``unpriced`` usages are in no sum. ``estimated`` ones are: of responses that broke off before they said what they
    used.
    """

    total: float | None = None
    responses: float | None = None
    transcription: float | None = None
    unpriced: int = 0
    estimated: int = 0


class Latency(msgspec.Struct, frozen=True):
    """Of ``count`` measured times, the middle one and the one that 95 of 100 stay within."""

    count: int
    median_ms: float
    p95_ms: float


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One error. ``message`` holds no secret and at most 300 characters."""

    at_ms: float
    code: str
    message: str
    source: Side


class Sound(msgspec.Struct, frozen=True):
    """Audio of one format, such as ``audio/pcm;rate=24000``; ``seconds`` only where the format tells them."""

    format: str
    bytes: int
    seconds: float | None


class Traffic(msgspec.Struct, frozen=True):
    """Messages one way. ``bytes`` are those of their payloads."""

    frames: int = 0
    bytes: int = 0


class RateLimit(msgspec.Struct, frozen=True):
    """The last state of a limit that the provider told of; ``reset_s`` in seconds."""

    name: str
    limit: float
    remaining: float
    reset_s: float


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """Who closed first, and with what."""

    by: Side
    code: int
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Counts and sums are of all of it; ``turns`` and ``errors`` are the last ones."""

    protocol: str
    model: str = ""
    voice: str = ""
    state: TalkState = "connecting"
    duration_ms: float = 0.0
    connect_ms: float | None = None
    turns: tuple[Turn, ...] = ()
    turn_count: int = 0
    turns_dropped: int = 0
    interruptions: int = 0
    function_calls: int = 0
    first_byte: Latency | None = None
    first_audio: Latency | None = None
    barge_in: Latency | None = None
    tokens: Tokens = Tokens()
    transcriptions: tuple[Transcription, ...] = ()
    cost: Cost = Cost()
    errors: tuple[Trouble, ...] = ()
    error_count: int = 0
    heard: tuple[Sound, ...] = ()
    spoken: tuple[Sound, ...] = ()
    from_client: Traffic = Traffic()
    from_provider: Traffic = Traffic()
    losses: int = 0
    resumes: int = 0
    unsettled_bytes: int = 0
    rate_limits: tuple[RateLimit, ...] = ()
    close: Close | None = None
