"""What an answer says about the credential that was shown: a verdict, and why. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from trunkline.credentials.matrix import Way
from trunkline.errors import (
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnresolved,
    UpstreamUntrusted,
)
from trunkline.probe.cell import SOCKETS, Verdict
from trunkline.probe.exchange import HttpAnswer, SocketAnswer
from trunkline.realtime.closing import ABNORMAL
from trunkline.wire.refusal import ERROR_CODE_HEADER

BROWSER_CLOSE: Final = ABNORMAL
"""The close code that a page sees when its browser, not the server, ends the connection."""


class Reading(NamedTuple):
    """A verdict and the sentence that says why."""

    verdict: Verdict
    why: str


# Cloudflare's numbers, which Trunkline shares: what each says about a credential, if anything.
_GATEWAY_CODES: Final = {
    2001: Reading(Verdict.UNCLEAR, "it has no gateway of this name"),
    2003: Reading(Verdict.UNCLEAR, "its rate limit is reached"),
    2005: Reading(Verdict.UNCLEAR, "it got no usable answer from the provider"),
    2008: Reading(Verdict.UNCLEAR, "it does not serve this provider in this way"),
    2009: Reading(Verdict.REFUSED, "it wants its own key"),
    2019: Reading(Verdict.UNCLEAR, "it could not make sense of the request"),
    2021: Reading(Verdict.REFUSED, "it has neither a provider key nor credits of its own to spend"),
    2040: Reading(Verdict.REFUSED, "it holds no key for the provider, and the request brought none"),
    2041: Reading(Verdict.UNCLEAR, "its spending limit is reached"),
    2045: Reading(Verdict.UNCLEAR, "its spending limit is reached"),
    10000: Reading(Verdict.REFUSED, "Cloudflare's API does not take the token"),
}

# Said only by an API that has taken the key. Where one says it before, the control rows come out accepted too.
_AFTER_THE_KEY: Final = {
    "insufficient_quota": "whose quota is spent",
    "invalid_model": "only the model is wrong; name one with --model or --realtime-model",
    "missing_model": "only the model is missing; name one with --model or --realtime-model",
    "model_not_found": "only the model is not there; name one with --model or --realtime-model",
}

_OF_CREDENTIALS: Final = re.compile(
    r"api[ _-]?key|authenti|authori[sz]|bearer|credential|forbidden|permission|provider_key", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]{1,6}")
# OpenAI's own (3000), those seen of gateways, the protocol's "policy violation", and HTTP's numbers put into 4xxx.
_CLOSED_FOR_THE_KEY: Final = frozenset({3000, 4001, 4003, 4401, 4403, 1008})


def read_http(answer: HttpAnswer, way: Way, *, allow_billable: bool = False) -> Reading:
    """Read an HTTP answer, or the one that came in place of a WebSocket."""
    status = answer.status
    complaint = complaint_in(answer)
    if 200 <= status < 300:
        return _read_success(answer, way, complaint)
    if 300 <= status < 400:
        return Reading(Verdict.UNCLEAR, _redirected(answer))
    if complaint is not None and complaint.number is not None:
        return _read_gateway_code(complaint.number, status, complaint)
    if complaint is not None and complaint.code in _AFTER_THE_KEY:
        return Reading(Verdict.ACCEPTED, f"the key is known, {_AFTER_THE_KEY[complaint.code]}")
    said = f"answered {status}" if complaint is None else f"answered {status}: {complaint}"
    if status in (401, 403):
        return Reading(Verdict.REFUSED, said if complaint is not None else f"{said}, without saying who refused")
    if status in (400, 422):
        if complaint is not None and complaint.is_about_credentials:
            return Reading(Verdict.REFUSED, said)
        if way is Way.SSE and complaint is not None:
            what = "request" if allow_billable else "empty request"
            return Reading(Verdict.ACCEPTED, f"the API read the {what} and refused what is in it, not the key: {said}")
    return Reading(Verdict.UNCLEAR, f"{said}, which says nothing about the key")


def read_socket(answer: SocketAnswer, way: Way) -> Reading:
    """Read what an opened WebSocket said. In the browser's column the browser's own rule comes first."""
    if fault := browser_fault(answer, way):
        return Reading(Verdict.REFUSED, fault)
    if answer.frame is None:
        return _read_silence(answer)
    if isinstance(answer.frame, bytes):
        return Reading(Verdict.UNCLEAR, "the first message is binary, not an event of the realtime API")
    event = _object(answer.frame)
    kind = str(event.get("type", ""))
    if kind == "session.created":
        return Reading(Verdict.ACCEPTED, "the session was created")
    if kind == "error":
        return _read_error_event(answer, _complaint_of(event))
    return Reading(
        Verdict.UNCLEAR,
        f"the first message is {kind[:60]!r}, not session.created" if kind else "the first message is no event",
    )


def browser_fault(answer: SocketAnswer, way: Way) -> str:
    """Return why a browser would drop the connection with `BROWSER_CLOSE` (RFC 6455 section 4.1), or nothing."""
    if way is not Way.REALTIME_BROWSER:
        return ""
    if answer.offered and answer.selected is None:
        return f"the server selected none of the offered sub-protocols; a browser drops such a socket ({BROWSER_CLOSE})"
    if answer.selected is not None and answer.selected not in answer.offered:
        return f"the server selected a sub-protocol nobody offered; a browser drops such a socket ({BROWSER_CLOSE})"
    return ""


def read_failure(error: UpstreamError | TimeoutError, seconds: float) -> Reading:
    """Put into words why no answer began."""
    match error:
        case UpstreamUnresolved():
            words = "the host name has no address"
        case UpstreamTimeout() | TimeoutError():
            words = f"no answer within {seconds:g} seconds"
        case UpstreamUntrusted():
            words = str(error).rstrip(".")
        case UpstreamRefused():
            words = "the host refused the connection or cannot be reached"
        case _:
            words = str(error).rstrip(".")
    return Reading(Verdict.UNREACHABLE, words)


class Complaint(msgspec.Struct, frozen=True):
    """An error as an API puts it. ``number`` is a gateway's own: its presence tells the layer that refused."""

    number: int | None = None
    code: str = ""
    kind: str = ""
    message: str = ""

    @property
    def is_about_credentials(self) -> bool:
        """Whether it speaks of keys and permissions."""
        return any(_OF_CREDENTIALS.search(part) for part in (self.code, self.kind, self.message))

    def __str__(self) -> str:
        name = self.code or self.kind
        said = f"an error object says {name}" if name else "an error object"
        return f'{said}: "{self.message}"' if self.message else said


def complaint_in(answer: HttpAnswer) -> Complaint | None:
    """Return the error that a body or the gateway's header holds, in any of the shapes that APIs use; None without."""
    header = answer.header(ERROR_CODE_HEADER)
    body = _object(answer.body)
    found = _complaint_of(body)
    if found is None and answer.status >= 400 and (message := _text(body.get("message"))):
        found = Complaint(message=message)
    if _NUMBER.fullmatch(header):
        return Complaint(number=int(header), message=found.message if found is not None else "")
    return found


def _complaint_of(body: dict[str, Any]) -> Complaint | None:
    error = body.get("error", body.get("errors", body.get("detail")))
    match error:
        case [{"code": int() as number, **rest}, *_]:  # Cloudflare's envelopes
            return Complaint(number=number, message=_text(rest.get("message")))
        case {**fields} if fields:  # OpenAI, Anthropic, Google
            code = _text(fields.get("code")) if isinstance(fields.get("code"), str) else _text(fields.get("status"))
            return Complaint(code=code, kind=_text(fields.get("type")), message=_text(fields.get("message")))
        case str() if error:
            return Complaint(message=error)
        case [_, *_]:  # FastAPI's list of what is invalid
            return Complaint(message=json.dumps(error))
    return None


def _read_success(answer: HttpAnswer, way: Way, complaint: Complaint | None) -> Reading:
    if way in SOCKETS:
        return Reading(Verdict.UNCLEAR, f"answered the WebSocket with {answer.status} in place of 101")
    if complaint is not None:
        verdict = Verdict.REFUSED if complaint.is_about_credentials else Verdict.UNCLEAR
        return Reading(verdict, f"answered {answer.status}, and then {complaint}")
    if answer.cut_off:
        return Reading(Verdict.UNCLEAR, f"answered {answer.status}, but {answer.cut_off}")
    if not _is_json(answer):
        return Reading(Verdict.UNCLEAR, f"answered {answer.status} with something that is not the API's JSON")
    return Reading(Verdict.ACCEPTED, f"answered {answer.status}")


def _read_gateway_code(number: int, status: int, complaint: Complaint) -> Reading:
    known = _GATEWAY_CODES.get(number)
    if known is not None and status != 403:  # a caller who is known but may not, or a host or page that may not
        return Reading(known.verdict, f"the gateway answered {number}: {known.why}")
    verdict = Verdict.REFUSED if status in (401, 403) else Verdict.UNCLEAR
    return Reading(verdict, f"the gateway answered {number} ({status}): {complaint.message or 'without a word'}")


def _read_error_event(answer: SocketAnswer, complaint: Complaint | None) -> Reading:
    closed = "" if answer.close_code is None else f", then closed with {_close_words(answer)}"
    said = f"the socket opened, {complaint or 'an error event without an error'}{closed}"
    if complaint is not None and complaint.code in _AFTER_THE_KEY:
        return Reading(Verdict.ACCEPTED, f"the key is known, {_AFTER_THE_KEY[complaint.code]}")
    about_credentials = complaint is not None and complaint.is_about_credentials
    if about_credentials or _closed_for_the_key(answer):
        return Reading(Verdict.REFUSED, said)
    return Reading(Verdict.UNCLEAR, f"{said}, which says nothing about the key")


def _read_silence(answer: SocketAnswer) -> Reading:
    if answer.close_code is None:
        return Reading(Verdict.UNCLEAR, "the socket opened and nothing came")
    if _closed_for_the_key(answer):
        return Reading(Verdict.REFUSED, f"the socket opened and was closed with {_close_words(answer)}")
    return Reading(
        Verdict.UNCLEAR, f"the socket opened and ended with {_close_words(answer)}, which says nothing about the key"
    )


def _closed_for_the_key(answer: SocketAnswer) -> bool:
    return answer.close_code in _CLOSED_FOR_THE_KEY or _OF_CREDENTIALS.search(answer.close_reason) is not None


def _close_words(answer: SocketAnswer) -> str:
    return f"{answer.close_code} {answer.close_reason}".rstrip()


def _redirected(answer: HttpAnswer) -> str:
    try:
        host = urlsplit(answer.header(b"location")).hostname
    except ValueError:
        host = None
    where = f" to {host}" if host else ""
    return f"answered {answer.status}, a redirect{where}; the probe follows none, since the key would go along"


def _is_json(answer: HttpAnswer) -> bool:
    """Whether a body is JSON, as far as it was read; a stream may have nothing to say but that it is done."""
    if not answer.is_whole or answer.body == "[DONE]":
        return answer.body.lstrip().startswith(("{", "["))
    try:
        return isinstance(json.loads(answer.body), dict | list)
    except (ValueError, RecursionError):
        return False


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if isinstance(value, list) and value:  # Google wraps the error of a stream
        value = value[0]
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
