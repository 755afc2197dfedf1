"""Every refusal and failure Trunkline can answer with, as one tree.

    TrunklineError
    ├── SettingsError             a setting cannot be used; the process does not start
    ├── LocalError                the embedded provider cannot do it
    │   ├── ModelsMissing
    │   └── WorkerUnavailable
    └── GatewayError              answered to the caller, on any transport
        ├── MalformedRequest
        │   └── InvalidFields         fields of a body or a query are not what they have to be
        ├── RequestTooLarge
        ├── UnknownGateway
        ├── UnknownProvider
        ├── Unauthorized          the gateway refuses the caller
        │   ├── SignInRequired    a person must sign in first
        │   └── SignInRefused     a name, password or link is not good
        ├── ForbiddenOrigin
        ├── NotPermitted          the caller is known, and may not do this
        ├── NoProviderKey         nothing to show the provider
        ├── UnknownAlias          no stored key of that alias
        ├── TooManyRequests       more at once than is taken on
        ├── LimitReached          as much was used as a rule of the gateway allows in a time
        │   ├── SpendLimitReached     as much money was spent
        │   └── SessionRateReached    more sessions, minutes or tokens than a key may use in a time
        ├── LimitsUnavailable     nothing can be counted now, and nothing is to pass uncounted
        ├── CacheUnavailable      what is kept of answers cannot be looked at or purged now
        ├── PromptBlocked         a check of the gateway's refuses what is asked: data that must not leave
        │   └── HarmfulPrompt         ... or harm
        ├── AnswerBlocked         a check of the gateway's refuses what is answered: data that must not leave
        │   └── HarmfulAnswer         ... or harm
        ├── RouteEnded            a dynamic route came to no answer
        ├── SpendCapReached       what a client secret may spend is spent
        ├── BudgetSpent           what a key may spend on realtime is spent
        ├── TooManySessions       more of a key's sessions are open than may be
        ├── SessionExpired        a realtime session was open as long as one may be
        ├── SessionIdle           nothing happened in it for too long
        ├── TooManySecrets        more client secrets are open than the gateway keeps
        ├── UpgradeRequired
        ├── GatewayLeaving        it is about to stop
        ├── UnknownSession        no realtime session of that id
        ├── UnknownLog            no row of the log of that id
        ├── UnknownConversation   no conversation of that id that is the caller's
        ├── NotFound              nothing of that id, in the management API (UnknownCustomProvider and UnknownRoute are)
        ├── Taken                 something has that name already (SlugTaken is one)
        ├── NotSoldHere           what only a seller of credits has
        ├── SessionTerminated     an operator ended the realtime session
        └── UpstreamError         no usable answer from the provider
            ├── UpstreamUnresolved    (DNS)
            ├── UpstreamNotPublic     (an address within this network)
            ├── UpstreamRefused       (connection refused or unreachable)
            ├── UpstreamUntrusted     (TLS)
            ├── UpstreamTimeout
            │   └── UpstreamLate      (no answer within the time that the request or its gateway gives it)
            ├── UpstreamBroken        (closed, reset or malformed)
            ├── UpstreamBusy          (no free connection in time)
            │   └── UpstreamResting   (not asked for a while, after failures in a row)
            └── UpstreamUpgradeRefused

Each class says the HTTP ``status``, the gateway's numeric ``code`` (Cloudflare's table where it has one), the
``reason`` programs match on, the OpenAI error ``type``, the WebSocket ``close_code``, and the ``close_reason`` where
that is not ``type.reason``. A message names the layer that refused and what to do next, and never holds a secret.
"""

from __future__ import annotations

from typing import Final


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or else its kind: a driver's go on with statements and values."""
    return str(error).partition("\n")[0] or type(error).__name__


class TrunklineError(Exception):
    """The root: ``str(error)`` is a complete sentence for a person."""


class SettingsError(TrunklineError):
    """A flag, variable or line of ``trunkline.toml`` cannot be used."""


class LocalError(TrunklineError):
    """The embedded provider cannot do what was asked."""


class ModelsMissing(LocalError):
    """A weight file is absent or damaged; the message names ``trunkline models install``."""


class WorkerUnavailable(LocalError):
    """The inference process could not be started."""


class GatewayError(TrunklineError):
    """An answer to the caller: HTTP status and body, or an in-band event and a close code."""

    status: int = 500
    code: int = 2000
    reason: str = "internal_error"
    type: str = "server_error"
    close_code: int = 1011
    close_reason: str = ""

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        # What an answer over HTTP says besides.
        self.headers: list[tuple[bytes, bytes]] = []


class MalformedRequest(GatewayError):
    """The path, a header or a sub-protocol cannot be understood."""

    status = 400
    code = 2019
    reason = "malformed_request"
    type = "invalid_request_error"
    close_code = 4000


class InvalidFields(MalformedRequest):
    """Fields of a body or a query of the gateway's own API are missing, unknown or not what they have to be."""

    status = 422
    reason = "invalid_request"


class RequestTooLarge(GatewayError):
    """A body that must be read whole before it is sent on, and is too large for that."""

    status = 413
    code = 2019
    reason = "request_too_large"
    type = "invalid_request_error"
    close_code = 1009


class UnknownGateway(GatewayError):
    """No gateway of that account and name."""

    status = 400
    code = 2001
    reason = "unknown_gateway"
    type = "invalid_request_error"
    close_code = 4000


class UnknownProvider(GatewayError):
    """No provider with that slug, or not on this transport."""

    status = 400
    code = 2008
    reason = "unknown_provider"
    type = "invalid_request_error"
    close_code = 4000


class Unauthorized(GatewayError):
    """The gateway itself refuses the caller: its token is missing, unknown or expired."""

    status = 401
    code = 2009
    reason = "invalid_api_key"
    type = "invalid_request_error"
    close_code = 3000


class SignInRequired(Unauthorized):
    """The gateway has accounts, and nobody is signed in who could do this."""

    reason = "sign_in_required"


class SignInRefused(Unauthorized):
    """A name and password, or a one-time link, open nothing."""

    reason = "sign_in_refused"


class ForbiddenOrigin(GatewayError):
    """A browser page of an origin or host that is not on the allow-list."""

    status = 403
    code = 2009
    reason = "origin_not_allowed"
    type = "invalid_request_error"
    close_code = 4003


class NotPermitted(GatewayError):
    """The caller's key is good, but not for this gateway, provider, model or act."""

    status = 403
    code = 2009
    reason = "not_permitted"
    type = "invalid_request_error"
    close_code = 4003


class NoProviderKey(GatewayError):
    """The caller is welcome, but there is no key to show the provider."""

    status = 401
    code = 2040
    reason = "no_provider_key"
    type = "invalid_request_error"
    close_code = 3000


class UnknownAlias(GatewayError):
    """The gateway holds no provider key under the alias that was asked for."""

    status = 400
    code = 2040
    reason = "unknown_alias"
    type = "invalid_request_error"
    close_code = 4000


class TooManyRequests(GatewayError):
    """More requests at once than the gateway takes on; one that waits for another to end will be served."""

    status = 429
    code = 2003
    reason = "too_many_requests"
    type = "rate_limit_error"
    close_code = 1013


class LimitReached(GatewayError):
    """A rule of the gateway's allows so many requests or tokens in a time, and they are used."""

    status = 429
    code = 2003
    reason = "rate_limit_exceeded"
    type = "rate_limit_error"
    close_code = 1013


class SpendLimitReached(LimitReached):
    """A rule of the gateway's allows so much money in a time, and it is spent. Voice clients do not dial again."""

    code = 2041
    reason = "spend_limit_reached"
    type = "insufficient_quota"
    close_code = 3000


class LimitsUnavailable(GatewayError):
    """The server that counts for limits is away or full, and the gateway is set to let nothing pass then."""

    status = 503
    code = 2003
    reason = "limits_unavailable"
    type = "server_error"
    close_code = 1013


class CacheUnavailable(GatewayError):
    """The server that keeps answers does not answer, or refuses what is asked of it."""

    status = 503
    code = 2003
    reason = "cache_unavailable"
    type = "server_error"
    close_code = 1013


class PromptBlocked(GatewayError):
    """A check refuses what is asked: it holds data that must not leave."""

    status = 400
    code = 2029
    reason = "request_blocked"
    type = "invalid_request_error"
    close_code = 4000


class HarmfulPrompt(PromptBlocked):
    """A check refuses what is asked: it does harm."""

    code = 2016


class AnswerBlocked(GatewayError):
    """A check refuses what is answered: it holds data that must not leave."""

    status = 400
    code = 2030
    reason = "response_blocked"
    type = "invalid_request_error"
    close_code = 4000


class HarmfulAnswer(AnswerBlocked):
    """A check refuses what is answered: it does harm."""

    code = 2017


class RouteEnded(GatewayError):
    """A dynamic route came to its end without an answer of a model."""

    status = 502
    code = 2005
    reason = "route_ended"
    close_code = 1013


class SpendCapReached(GatewayError):
    """A client secret has spent what it may. Clients take the type, or the close code, for final."""

    status = 429
    code = 2041
    reason = "spend_cap_reached"
    type = "insufficient_quota"
    close_code = 4000


class BudgetSpent(GatewayError):
    """A key has spent what it may on realtime within the budget's time.

    Clients that dial again after any close stop at this code: each session would be refused until the time has passed.
    """

    status = 429
    code = 2041
    reason = "insufficient_quota"
    type = "insufficient_quota"
    close_code = 3000


class SessionRateReached(LimitReached):
    """A key has opened as many sessions, or used as many minutes or tokens, as it may within a time."""


class TooManySessions(GatewayError):
    """As many of a key's sessions are open as may be; when one ends, another may begin."""

    status = 429
    code = 2003
    reason = "too_many_sessions"
    type = "rate_limit_error"
    close_code = 1013


class SessionExpired(GatewayError):
    """A realtime session was open as long as one may be. Told as OpenAI does, so that clients open another."""

    status = 408
    code = 2003
    reason = "session_expired"
    type = "invalid_request_error"
    close_code = 1001
    close_reason = "session hit the maximum duration"


class SessionIdle(GatewayError):
    """Nothing but silence passed in a realtime session for too long. Not to be dialled again until there is a use."""

    status = 408
    code = 2003
    reason = "session_idle_timeout"
    type = "invalid_request_error"
    close_code = 4008


class TooManySecrets(GatewayError):
    """More client secrets are open than the gateway keeps."""

    status = 429
    code = 2003
    reason = "too_many_secrets"
    type = "rate_limit_error"
    close_code = 1013


class UpgradeRequired(GatewayError):
    """A WebSocket where only HTTP is served; clients fall back when they read 426."""

    status = 426
    code = 2008
    reason = "websocket_not_supported"
    type = "invalid_request_error"
    close_code = 4000


class GatewayLeaving(GatewayError):
    """The gateway is about to stop; another one, or this one in a moment, will answer."""

    status = 503
    code = 2003
    reason = "gateway_leaving"
    type = "server_error"
    close_code = 1013


class UnknownSession(GatewayError):
    """No realtime session of that id is open, or was kept, on a gateway that the caller may look at."""

    status = 404
    code = 2044
    reason = "unknown_session"
    type = "invalid_request_error"
    close_code = 4004


class UnknownLog(GatewayError):
    """The log has no row of that id, or not what was said in it."""

    status = 404
    code = 7003
    reason = "unknown_log"
    type = "invalid_request_error"
    close_code = 4004


class UnknownConversation(GatewayError):
    """No conversation of that id is kept for whoever asks."""

    status = 404
    code = 2044
    reason = "unknown_conversation"
    type = "invalid_request_error"
    close_code = 4004


class NotFound(GatewayError):
    """Nothing of that id here."""

    status = 404
    code = 7003
    reason = "not_found"
    type = "invalid_request_error"


class Taken(GatewayError):
    """Something has that name already."""

    status = 409
    code = 7001
    reason = "taken"
    type = "invalid_request_error"


class NotSoldHere(GatewayError):
    """What only a seller of credits has."""

    status = 400
    code = 7010
    reason = "not_sold_here"
    type = "invalid_request_error"


class SessionTerminated(GatewayError):
    """An operator ended the realtime session, and it must stay ended.

    LiveKit's agents dial again after any close, unless the error before it has one of five types or codes. This type is
    the one of them that blames neither the key nor the bill.
    """

    status = 403
    code = 2045
    reason = "session_terminated"
    type = "account_deactivated"
    close_code = 4000


class UpstreamError(GatewayError):
    """The provider gave no usable answer. 502 or 504, so that clients' retry logic works."""

    status = 502
    code = 2005
    reason = "upstream_error"
    type = "server_error"
    close_code = 1013


class UpstreamUnresolved(UpstreamError):
    """The provider's host name has no address."""

    reason = "upstream_unresolved"


class UpstreamNotPublic(UpstreamError):
    """The host name of a provider that was added over the network leads to an address that is not public."""

    reason = "upstream_not_public"


class UpstreamRefused(UpstreamError):
    """The provider's host refused the connection or cannot be reached."""

    reason = "upstream_refused"


class UpstreamUntrusted(UpstreamError):
    """TLS failed: the certificate is not trusted or the handshake broke."""

    reason = "upstream_untrusted"


class UpstreamTimeout(UpstreamError):
    """The provider did not connect, answer or continue in time."""

    status = 504
    reason = "upstream_timeout"


class UpstreamLate(UpstreamTimeout):
    """The provider did not begin to answer within the time that the request, or its gateway, gives it."""

    reason = "upstream_late"


class UpstreamBroken(UpstreamError):
    """The provider closed or reset the connection, or sent something that is not its protocol."""

    reason = "upstream_broken"


class UpstreamBusy(UpstreamError):
    """Every connection to the provider stayed in use for the whole connect timeout."""

    status = 504
    reason = "upstream_busy"


class UpstreamResting(UpstreamBusy):
    """The provider failed so often in a row that the gateway leaves it alone for a while."""

    reason = "upstream_resting"


# The codes with which OpenAI itself refuses a session, by the status that says the same over HTTP.
_CLOSE_CODES: Final = {400: 4000, 401: 3000, 403: 3000, 404: 4004}


class UpstreamUpgradeRefused(UpstreamError):
    """The provider answered a WebSocket handshake with an ordinary HTTP response.

    ``upstream_status`` (HTTP status), ``headers`` and ``body`` (at most 64 KiB) are that response. The close code says
    what the status means: try later (1013), or do not try again with this key, path or model.
    """

    reason = "upstream_upgrade_refused"

    def __init__(self, message: str, *, upstream_status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(message)
        self.upstream_status = upstream_status
        self.close_code = _CLOSE_CODES.get(upstream_status, self.close_code)
        self.headers = headers
        self.body = body
