"""Asking a running gateway, for the commands that need what only its process knows."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

import click

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.output import err
from trunkline.cli.secrets import ask
from trunkline.errors import SettingsError
from trunkline.settings import Settings, is_loopback_host
from trunkline.wire.sse import ServerSentEvent, SseParser

# Longer than a stream of the gateway's is silent.
_TIMEOUT_SECONDS: Final = 40.0
_PIECE: Final = 64 * 1024

url_option = click.option(
    "--url",
    metavar="URL",
    envvar="TRUNKLINE_URL",
    default="",
    show_envvar=True,
    help="The running gateway, such as https://HOST:PORT; without it, the one that `serve` starts on this machine.",
)
token_option = click.option(
    "--token-from",
    metavar="VARIABLE",
    default="",
    help="Variable with the gateway's token or a key; else, on this machine, the token of the settings.",
)


class RunningGateway:
    """One gateway, and the token that is shown to it and to nobody else: redirections are not followed."""

    def __init__(
        self, url: str, token_from: str, settings: Settings | None = None, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """``settings`` are those of the gateway on this machine; without them, as they are set here."""
        self._timeout = timeout
        settings = settings or chosen_settings(None)
        parts = urlsplit(url or _url_of(settings))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{url!r} is no address of a gateway; give one such as https://HOST:8787.")
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._parts = parts
        self._authority = settings.data_dir / "tls" / "authority.pem"
        self._token = ask("token", token_from) if token_from else "" if url else settings.gateway_token
        if self._token and parts.scheme == "http" and not is_loopback_host(parts.hostname):
            err(f"warning: {self.origin} is asked without TLS; the token can be read on the way.")

    def get(self, path: str) -> Any:
        """Return a JSON answer. Raises `SettingsError` with the gateway's reason for refusing, or why none came."""
        with self._asking("GET", path, "application/json") as response:
            return json.loads(response.read())

    def delete(self, path: str) -> Any:
        """Have something removed; return a JSON answer, or None where there is none. Raises as `get`."""
        with self._asking("DELETE", path, "application/json") as response:
            return json.loads(response.read() or b"null")

    def events(self, path: str) -> Iterator[ServerSentEvent]:
        """Yield server-sent events until the gateway ends the stream. Raises as `get`."""
        parser = SseParser()
        with self._asking("GET", path, "text/event-stream") as response:
            while piece := response.read1(_PIECE):
                yield from parser.feed(piece)

    @contextmanager
    def _asking(self, method: str, path: str, accept: str) -> Iterator[HTTPResponse]:
        headers = {"accept": accept}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise SettingsError(f"{self.origin} answered {response.status}: {_reason(response)}")
            yield response
        except (OSError, HTTPException, ValueError) as error:
            raise SettingsError(
                f"The gateway at {self.origin} cannot be asked ({error}). Is `trunkline serve` running there?"
            ) from error
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        assert self._parts.hostname is not None
        if self._parts.scheme == "http":
            return HTTPConnection(self._parts.hostname, self._parts.port, timeout=self._timeout)
        context = ssl.create_default_context()
        if self._authority.is_file():
            context.load_verify_locations(self._authority)
        return HTTPSConnection(self._parts.hostname, self._parts.port, timeout=self._timeout, context=context)


def _url_of(settings: Settings) -> str:
    scheme = "http" if settings.tls == "off" else "https"
    # An address that stands for all of this machine's is reached on loopback too; any other one only as it is.
    host = settings.host if settings.host not in ("0.0.0.0", "::", "localhost") else "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _reason(response: HTTPResponse) -> str:
    try:
        error = json.loads(response.read(_PIECE))["error"]
        message = str(error["message"])
        return message if response.status != 401 else f"{message} (--token-from names a variable with one)"
    except (ValueError, KeyError, TypeError):
        return f"{response.reason}."
