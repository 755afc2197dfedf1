"""The console's built files, served from memory with the headers that keep foreign code and pages out."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

from trunkline.server.asgi import Receive, Scope, Send, respond
from trunkline.wire.head import Head

_INDEX: Final = "index.html"
_DIRECT: Final = "direct/index.html"
_ENCODINGS: Final = ((b"br", ".br"), (b"gzip", ".gz"))

_NOT_BUILT: Final = b"""<!doctype html><html lang="en"><title>Trunkline</title><h1>Trunkline is running</h1>
<p>This installation was built without the console. In a checkout, <code>make run</code> builds it.
The gateway itself is complete; try <code>/v1/local/default/local/models</code>.</p></html>"""


def content_security_policy(connect: Iterable[str] = ()) -> bytes:
    """Return the policy of a console document; ``connect`` are foreign origins it may open connections to."""
    sources = " ".join(["'self'", *connect])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src {sources}; worker-src 'self'; media-src 'self' blob:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
    ).encode()


_DOCUMENT_HEADERS: Final = [
    (b"cache-control", b"no-cache"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
]
_EVERY_FILE: Final = [
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class _File(msgspec.Struct, frozen=True):
    content_type: bytes
    etag: bytes
    variants: dict[bytes, bytes]  # encoding -> body; b"" is the plain one


class Console:
    """Serves the console. ``direct_origins`` names, when asked, the providers the direct voice page may dial."""

    def __init__(self, direct_origins: Callable[[], Iterable[str]]) -> None:
        self._direct_origins = direct_origins
        self._files = _load(files("trunkline").joinpath("_console"))

    @property
    def build(self) -> str:
        """A short hash of the built console; empty when there is none."""
        index = self._files.get(_INDEX)
        return index.etag.decode().strip('"') if index else ""

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a page or a file of the console."""
        if head.method not in ("GET", "HEAD"):
            await respond(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")])
            return
        name = scope["path"].lstrip("/")
        if name not in self._files:
            document = self._document(name)
            if name and document == _INDEX and "text/html" not in (head.header(b"accept") or ""):
                await respond(send, 404, [(b"content-type", b"text/plain"), *_EVERY_FILE], b"No such file.\n")
                return
            name = document
        found = self._files.get(name)
        if found is None:
            await respond(send, 200, [(b"content-type", b"text/html; charset=utf-8"), *_EVERY_FILE], _NOT_BUILT)
            return
        await self._send(name, found, head, send)

    def _document(self, name: str) -> str:
        """Return the document of a page, or of a thing on it; any other address is for the application to make out."""
        own = f"{name.partition('/')[0]}/{_INDEX}"
        return own if own in self._files else _INDEX

    async def _send(self, name: str, found: _File, head: Head, send: Send) -> None:
        headers = [(b"content-type", found.content_type), (b"etag", found.etag), *_EVERY_FILE]
        if name.endswith(".html"):
            connect = self._direct_origins() if name == _DIRECT else ()
            headers += [*_DOCUMENT_HEADERS, (b"content-security-policy", content_security_policy(connect))]
        elif name.startswith("assets/"):
            # File names in assets/ carry a hash of their content.
            headers.append((b"cache-control", b"public, max-age=31536000, immutable"))
        if (head.header(b"if-none-match") or "").encode("latin-1") == found.etag:
            await respond(send, 304, headers)
            return
        encoding, body = _chosen(found, head.header(b"accept-encoding") or "")
        if encoding:
            headers.append((b"content-encoding", encoding))
        headers += [(b"vary", b"accept-encoding"), (b"content-length", str(len(body)).encode())]
        await respond(send, 200, headers, b"" if head.method == "HEAD" else body)


def _chosen(found: _File, accepted: str) -> tuple[bytes, bytes]:
    offered = {part.partition(";")[0].strip() for part in accepted.split(",")}
    for encoding, _ in _ENCODINGS:
        if encoding in found.variants and encoding.decode() in offered:
            return encoding, found.variants[encoding]
    return b"", found.variants[b""]


def _load(directory: Traversable) -> dict[str, _File]:
    plain = dict(_walk(directory, ""))
    loaded = {}
    for name, body in plain.items():
        if name.endswith(tuple(suffix for _, suffix in _ENCODINGS)) or name.startswith("."):
            continue
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        text = kind.startswith("text/") or kind in ("application/javascript", "application/json", "image/svg+xml")
        variants = {b"": body}
        for encoding, suffix in _ENCODINGS:
            if name + suffix in plain:
                variants[encoding] = plain[name + suffix]
        loaded[name] = _File(
            content_type=(kind + ("; charset=utf-8" if text else "")).encode(),
            etag=b'"' + hashlib.sha256(body).hexdigest()[:16].encode() + b'"',
            variants=variants,
        )
    return loaded


def _walk(directory: Traversable, prefix: str) -> Iterable[tuple[str, bytes]]:
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()
