"""Where a request wants to go, read from its path.

Two forms name a provider's resource:

- ``/v1/{account}/{gateway}/{provider}/{rest}``: Cloudflare AI Gateway's provider-native form, and
- ``/v1/{rest}`` where ``rest`` begins with a resource of OpenAI's API: for clients that keep only the host of a base
  URL. Account and gateway are then the default ones.

A third, ``/v1/{account}/{gateway}`` alone, is the universal endpoint: what comes through it names its providers itself.
A fourth is Cloudflare's REST API, ``/client/v4/accounts/{account}/ai/...``, where a header names the gateway.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from trunkline.errors import MalformedRequest

# First path segments of OpenAI's API below /v1. An account cannot have one of these names.
ROOT_RESOURCES: Final = frozenset(
    {
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "live",
        "messages",
        "models",
        "moderations",
        "organization",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)


class Target(msgspec.Struct, frozen=True):
    """Names from a path. ``account``, ``gateway`` and ``provider`` are None in the root form; ``rest`` is as sent."""

    account: str | None
    gateway: str | None
    provider: str | None
    rest: str


def parse_path(path: str) -> Target:
    """Read a percent-encoded request path.

    Raises `MalformedRequest` for a path of neither form.
    """
    segments = path.split("/", 5)
    if len(segments) < 3 or segments[:2] != ["", "v1"]:
        raise MalformedRequest("The path must begin with /v1/; see the form /v1/{account}/{gateway}/{provider}/...")
    if segments[2] in ROOT_RESOURCES:
        return Target(None, None, None, path.removeprefix("/v1/"))
    account, gateway, provider, rest = (*segments[2:], "", "", "", "")[:4]
    if not account or not gateway or not provider:
        raise MalformedRequest(
            "The path names no provider; the form is /v1/{account}/{gateway}/{provider}/..., "
            "for example /v1/local/default/openai/chat/completions."
        )
    return Target(account, gateway, provider, rest)


UNIFIED: Final = "compat"
"""Stands where a provider does for the API that is the same for all of them."""


def is_unified(path: str) -> bool:
    """Whether a percent-encoded path is the unified API's: below ``compat/``, or ``run`` alone."""
    segments = path.split("/", 5)
    if len(segments) < 5 or segments[:2] != ["", "v1"] or segments[2] in ROOT_RESOURCES:
        return False
    return segments[4] == UNIFIED or (segments[4] == "run" and segments[5:] in ([], [""]))


def is_universal(path: str) -> bool:
    """Whether a percent-encoded path is the universal endpoint's, with or without a slash at its end."""
    segments = path.removesuffix("/").split("/", 4)
    if len(segments) != 4 or segments[:2] != ["", "v1"]:
        return False
    account, gateway = segments[2:]
    return account not in ROOT_RESOURCES and bool(account and gateway)


GATEWAY_HEADER: Final = b"cf-aig-gateway-id"
_REST: Final = re.compile(r"/client/v4/accounts/([^/]+)/ai/(?:v1/(?P<unified>.*)|run(?:/(?P<model>.*))?)", re.DOTALL)


def of_rest(path: str, gateway: str) -> str | None:
    """Return the path below ``/v1/`` that asks a gateway for the same as one of Cloudflare's REST API, if it is one.

    Below ``ai/v1`` is the unified API, ``ai/run`` stands beside it, and behind that is a model of Workers AI.
    """
    found = _REST.fullmatch(path)
    if found is None:
        return None
    base = f"/v1/{found[1]}/{quote(gateway, safe='')}"
    if found["unified"] is not None:
        return f"{base}/{UNIFIED}/{found['unified']}"
    return f"{base}/workers-ai/{found['model']}" if found["model"] else f"{base}/run"
