"""What the head of a request has to be like, so that all read the same in it (RFC 9112), and what is said if not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

# Every field and the path together, as common servers have it.
MAX_HEAD_BYTES: Final = 64 * 1024
# One field of a WebSocket handshake, whose second parser (websockets) takes no longer line and no more lines.
_MAX_HANDSHAKE_FIELD: Final = 8000
_MAX_HANDSHAKE_FIELDS: Final = 120
_PUNCTUATION: Final = len(b": \r\n")
# RFC 3986 section 3.2, without who asks (RFC 9110 section 4.2.4).
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%_~-]+\])(?::[0-9]*)?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)[/?]", re.IGNORECASE)

Headers = Sequence[tuple[bytes, bytes]]


class Refusal(NamedTuple):
    """Why a request is not taken. Clients try again by themselves where ``type`` is ``server_error``, and not else."""

    status: bytes
    code: str
    message: str
    type: str = "invalid_request_error"

    def answer(self) -> bytes:
        """Return the answer that says so."""
        problem = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        body = json.dumps({"error": problem}).encode()
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (self.status, len(body)) + body


def malformed(reason: str) -> Refusal:
    """Return the refusal of what can be read in more ways than one, or in none."""
    return Refusal(b"400 Bad Request", code="malformed_request", message=f"{reason}.")


def too_large(what: str, size: int = MAX_HEAD_BYTES) -> Refusal:
    """Return the refusal of something that is larger than so many bytes (RFC 6585 section 5)."""
    return _too_much(f"{what} is larger than {size} bytes")


def late(reason: str) -> Refusal:
    """Return the refusal of a request whose rest does not come."""
    return Refusal(b"408 Request Timeout", code="request_timeout", message=f"{reason}. Send it again, in one piece.")


def full(most: int) -> Refusal:
    """Return the refusal of a connection for which there is no room: of so many at most."""
    return Refusal(
        b"503 Service Unavailable",
        code="too_many_connections",
        message=f"All {most} connections of clients are in use. Try again shortly.",
        type="server_error",
    )


def _too_much(reason: str) -> Refusal:
    status = b"431 Request Header Fields Too Large"
    return Refusal(status, code="request_header_fields_too_large", message=f"{reason}; send less.")


def why_refused(method: bytes, target: bytes, version: str, headers: Headers) -> Refusal | None:
    """Return why a head is not taken, if it is not. ``version`` is that of HTTP, names of headers are lower case."""
    if len(target) + sum(_sizes(headers)) > MAX_HEAD_BYTES:
        return too_large("The request's head")
    if version not in ("1.1", "1.0"):
        return malformed("HTTP/1.1 is spoken here, and HTTP/1.0")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        return malformed("A request has one Host header")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        return malformed("The Host header holds something else than a host and a port")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or [coding.lower() for coding in codings] != [b"chunked"]):
        return malformed("Transfer-Encoding can be chunked and nothing else here, and that in HTTP/1.1 alone")
    if method == b"CONNECT":
        return malformed("Nothing is tunnelled here")
    if not target.startswith(b"/") and not _is_other_target(method, target, hosts):
        return malformed("A request names a path here, or the whole URL of one with the host of its Host header")
    if b"#" in target:
        return malformed("A request's path has no fragment: percent-encode the #")
    return None


def why_no_handshake(target: bytes, version: str, headers: Headers) -> Refusal | None:
    """Return why the head of a WebSocket's handshake is not taken, if it is not."""
    sizes = _sizes(headers)
    if version != "1.1":
        return malformed("A WebSocket begins with a request of HTTP/1.1")
    if max([len(target), *sizes]) > _MAX_HANDSHAKE_FIELD:
        return too_large("A header or the path of a WebSocket's handshake", _MAX_HANDSHAKE_FIELD)
    if len(sizes) > _MAX_HANDSHAKE_FIELDS:
        return _too_much(f"A WebSocket's handshake may have {_MAX_HANDSHAKE_FIELDS} headers")
    return None


def _is_other_target(method: bytes, target: bytes, hosts: Sequence[bytes]) -> bool:
    """Whether a target that is no path can be taken (RFC 9112 section 3.2)."""
    if target == b"*":
        return method == b"OPTIONS"
    found = _ABSOLUTE.match(target)
    return found is not None and [found[1].lower()] == [host.lower() for host in hosts]


def _sizes(headers: Headers) -> list[int]:
    return [len(name) + len(value) + _PUNCTUATION for name, value in headers]
