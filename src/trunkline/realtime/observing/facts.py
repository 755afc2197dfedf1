"""The facts that a frame may state, in words that all protocols share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal, Protocol

import msgspec

from trunkline.realtime.frames import Frame
from trunkline.realtime.report import Ending, RateLimit
from trunkline.realtime.usage import Tokens


class SessionSet(msgspec.Struct, frozen=True, kw_only=True):
    """The session's settings; None for those that the frame does not name.

    ``heard`` and ``spoken`` are audio formats. ``manual``: no voice activity detection, the client says when the user
    has spoken. ``transcribes_only``: there will be no responses.
    """

    model: str | None = None
    voice: str | None = None
    heard: str | None = None
    spoken: str | None = None
    transcriber: str | None = None
    manual: bool | None = None
    transcribes_only: bool | None = None


class UserStarted(msgspec.Struct, frozen=True):
    """The provider hears the user speak."""

    item: str = ""


class UserStopped(msgspec.Struct, frozen=True):
    """What the user had to say has ended: the provider noticed, or the client committed it."""


class UserCommitted(msgspec.Struct, frozen=True):
    """The provider took what it heard as one item of the conversation."""

    item: str


class UserSaid(msgspec.Struct, frozen=True):
    """Words of the user. A ``piece`` continues the words before it; ``item`` is what they were spoken in.

    ``typed``: the client sends them, for a response to come. Otherwise the provider wrote down what it heard, which may
    be late.
    """

    text: str
    item: str = ""
    piece: bool = False
    typed: bool = False


class Utterance(msgspec.Struct, frozen=True):
    """A whole utterance was written down, to which nobody will answer."""

    text: str


class ResponseAsked(msgspec.Struct, frozen=True):
    """The client asks for a response."""


class CancelAsked(msgspec.Struct, frozen=True):
    """The client cancels the response."""


class ResponseStarted(msgspec.Struct, frozen=True):
    """A response begins. ``aside``: out of band, not an answer to the user."""

    id: str = ""
    aside: bool = False


class OutputItem(msgspec.Struct, frozen=True):
    """A response puts an item into the conversation."""

    item: str


class Content(msgspec.Struct, frozen=True):
    """Some of a response that is no sound."""


class AssistantSaid(msgspec.Struct, frozen=True):
    """Words of the assistant; a ``piece`` continues the words before it."""

    text: str
    piece: bool = False


class AssistantCorrected(msgspec.Struct, frozen=True):
    """All that was heard of the last response, which the user interrupted."""

    text: str


class Called(msgspec.Struct, frozen=True):
    """The model asks for a function; ``arguments`` is JSON."""

    name: str
    arguments: str


class ResponseEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A response is over.

    ``said`` and ``calls`` are all of it, for where its parts were not told before. ``tokens`` None: it does not state
    what it used.
    """

    id: str = ""
    ending: Ending = "completed"
    reason: str = ""
    said: str = ""
    calls: tuple[Called, ...] = ()
    tokens: Tokens | None = None


class Used(msgspec.Struct, frozen=True):
    """What a response used, stated apart from its end."""

    tokens: Tokens


class Transcribed(msgspec.Struct, frozen=True, kw_only=True):
    """What writing down the user's words used; ``model`` where the frame names it."""

    tokens: Tokens = Tokens()
    seconds: float = 0.0
    model: str = ""
    item: str = ""


class PlaybackCut(msgspec.Struct, frozen=True):
    """The client stopped playing an item at ``ms`` of it."""

    item: str
    ms: int


class PlaybackStarted(msgspec.Struct, frozen=True):
    """The user hears a response, whose sound takes another way than these frames (WebRTC, telephone)."""


class PlaybackCleared(msgspec.Struct, frozen=True):
    """The user hears no more of a response that takes another way."""

    response: str


class Failure(msgspec.Struct, frozen=True):
    """The provider reports an error."""

    code: str
    message: str


class LimitsTold(msgspec.Struct, frozen=True):
    """The provider's rate limits as they now stand."""

    limits: tuple[RateLimit, ...]


Fact = (
    SessionSet
    | UserStarted
    | UserStopped
    | UserCommitted
    | UserSaid
    | Utterance
    | ResponseAsked
    | CancelAsked
    | ResponseStarted
    | OutputItem
    | Content
    | AssistantSaid
    | AssistantCorrected
    | Called
    | ResponseEnded
    | Used
    | Transcribed
    | PlaybackCut
    | PlaybackStarted
    | PlaybackCleared
    | Failure
    | LimitsTold
)

# What a frame says: so many bytes of sound and nothing else, or facts. Nearly all frames are sound, and an integer is
# the cheapest way to say so.
Said = int | Sequence[Fact]

NOTHING: Final[Said] = ()
CONTENT: Final[Said] = (Content(),)


# Where the provider says what a response used: with its end, in a statement of its own, or not at all.
UsageStatement = Literal["at_end", "apart", "never"]


class Observer(Protocol):
    """Reads the frames of one session. It never raises, whatever they hold."""

    usage: ClassVar[UsageStatement]

    def client(self, said: Frame | bytes) -> Said:
        """Read a frame of the client's."""
        ...

    def provider(self, said: Frame | bytes) -> Said:
        """Read a frame of the provider's."""
        ...
