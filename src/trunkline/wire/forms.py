"""Forms with parts (RFC 7578), read where there is one way to read them: others who read them see the same fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# A token (RFC 9110 section 5.6.2), or a quoted text without escapes.
_VALUE: Final = r"""(?:"([^"\\\x00-\x1f]*)"|([A-Za-z0-9!#$%&'*+.^_`|~-]+))"""
_PARAMETER: Final = re.compile(rf"[ \t]*;[ \t]*([\w-]+\*?\w*\*?)={_VALUE}", re.ASCII)
# RFC 2046 section 5.1.1.
_BOUNDARY: Final = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]")
_HEADER: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")
_AS_IT_IS: Final = frozenset({b"binary", b"7bit", b"8bit"})


class UnreadableForm(ValueError):
    """What is no form, or one that can be read in more ways than one."""


def fields(content_type: str, body: bytes) -> Sequence[tuple[str, bytes]]:
    """Return the fields of a form, files among them, in order: their names and contents.

    Raises `UnreadableForm` for what readers differ about, such as lines that end otherwise, folded headers, escapes in
    names, parts that are encoded, and two names for one part.
    """
    delimiter = b"--" + _boundary(content_type)
    # Others may find it where no line begins, or behind other ends of lines.
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(pieces) < 2 or pieces[0] or body.count(delimiter) != len(pieces) - 1:
        raise UnreadableForm
    if pieces[-1] not in (b"--", b"--\r\n"):
        raise UnreadableForm
    return [_field(piece) for piece in pieces[1:-1]]


def _boundary(content_type: str) -> bytes:
    parameters = _parameters("multipart/form-data", content_type.strip(" \t"))
    values = [value for name, value in parameters if name.startswith("boundary")]
    if len(values) != 1 or ("boundary", values[0]) not in parameters or _BOUNDARY.fullmatch(values[0]) is None:
        raise UnreadableForm
    return values[0].encode()


def _parameters(kind: str, header: str) -> Sequence[tuple[str, str]]:
    """Return the parameters of a header whose value is of a kind, with their names in small letters."""
    if header[: len(kind)].lower() != kind:
        raise UnreadableForm
    found, at = [], len(kind)
    while at < len(header):
        match = _PARAMETER.match(header, at)
        if match is None:
            raise UnreadableForm
        found.append((match[1].lower(), match[2] or match[3] or ""))
        at = match.end()
    return found


def _field(piece: bytes) -> tuple[str, bytes]:
    head, blank, content = piece.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    if first or not blank:
        raise UnreadableForm
    headers: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None or found[1].lower() in headers:
            raise UnreadableForm
        headers[found[1].lower()] = found[2]
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in _AS_IT_IS:
        raise UnreadableForm
    return _name(headers.get(b"content-disposition", b"")), content


def _name(disposition: bytes) -> str:
    parameters = _parameters("form-data", disposition.decode("utf-8", "replace"))
    values = [value for name, value in parameters if name.startswith("name")]
    if len(values) != 1 or ("name", values[0]) not in parameters:
        raise UnreadableForm
    return values[0]
