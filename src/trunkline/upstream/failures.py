"""The one border where errors of sockets, TLS and DNS become ours. Messages name host, stage and remedy, no more."""

from __future__ import annotations

import socket
import ssl

from trunkline.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamLate,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnresolved,
    UpstreamUntrusted,
)
from trunkline.upstream.address import Origin


def connecting(error: BaseException, origin: Origin) -> UpstreamError:
    """Translate what went wrong before a connection stood."""
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(
            f"{origin} did not accept a connection in time (upstream.connect_timeout)."
            " Check the network and the provider's status."
        )
    if isinstance(error, socket.gaierror):
        return UpstreamUnresolved(
            f"{origin.host} has no address. Check the provider's base_url and this machine's DNS."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamUntrusted(
            f"{origin} showed a certificate that is not trusted: {error.verify_message}."
            " If its authority is your own, name it in SSL_CERT_FILE."
        )
    if isinstance(error, ssl.SSLError):
        return UpstreamUntrusted(f"TLS with {origin} failed: {error.reason or 'the handshake broke off'}.")
    if isinstance(error, ConnectionRefusedError):
        return UpstreamRefused(f"{origin} refused the connection. Check that it runs and that base_url is right.")
    if isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
        return UpstreamBroken(f"{origin} closed the connection while it was being made.")
    if isinstance(error, OSError):
        return UpstreamRefused(f"{origin} cannot be reached: {error.strerror or type(error).__name__}.")
    return UpstreamRefused(f"{origin} cannot be reached through the proxy: {error}.")


def first_byte_timeout(origin: Origin) -> UpstreamTimeout:
    """Return the error for an answer whose head was not there in time."""
    return UpstreamTimeout(f"{origin} accepted the request and sent no answer in time (upstream.first_byte_timeout).")


def late(origin: Origin, seconds: float) -> UpstreamLate:
    """Return the error for an answer that did not begin in the time that was given for this request."""
    return UpstreamLate(
        f"{origin} did not begin to answer within the {round(seconds * 1000)} ms of cf-aig-request-timeout, or of the"
        " gateway's own timeout."
    )


def idle_timeout(origin: Origin) -> UpstreamTimeout:
    """Return the error for an answer, or the taking of a request, that stopped."""
    return UpstreamTimeout(f"{origin} fell silent in the middle of the exchange (upstream.idle_timeout).")


def broken(origin: Origin, how: str) -> UpstreamBroken:
    """Return the error for an exchange that was cut off or is not HTTP."""
    return UpstreamBroken(f"{origin} {how}.")
