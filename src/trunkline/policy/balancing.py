"""Which of several places a request goes to, and what becomes of it on the way to another than it was meant for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from trunkline.policy.attempts import AttemptRules, Member, Pool
from trunkline.policy.models import is_allowed, model_in_path
from trunkline.providers.schema import Provider
from trunkline.wire.documents import UNREADABLE

# So many requests are shared by weight also where the quickest is chosen: how quick the others are now is else unknown.
_EXPLORES: Final = 0.05
_CHAT: Final = "chat/completions"
# What OpenAI's surface has, wherever it is.
_OPENAI_PATHS: Final = frozenset(
    {"chat/completions", "completions", "embeddings", "responses", "models", "moderations", "images/generations"}
)
_IN_A_SEGMENT: Final = "@:"


class Standing(NamedTuple):
    """How a member stands. ``tries`` is how often this request went to it, ``open`` how many exchanges are under way.

    ``latency`` are the milliseconds until its answers begin, None before the first. ``rests`` are the seconds for which
    it is to be asked only when there is nobody else. ``is_out``: it cannot be asked.
    """

    tries: int = 0
    open: int = 0
    latency: float | None = None
    rests: float = 0.0
    is_out: bool = False


def pool_for(rules: AttemptRules, provider: Provider, model: str) -> Pool | None:
    """Return the first pool that shares the requests for a provider's model; an empty name fits ``*`` alone."""
    for pool in rules.pools:
        if names(provider, pool.provider) and is_allowed(model, (pool.model,), provider.slug):
            return pool
    return None


def names(provider: Provider, name: str) -> bool:
    """Whether a name is this provider's slug or one of its others."""
    return name == provider.slug or name in provider.aliases


def may_be_repeated(rules: AttemptRules, provider: Provider) -> bool:
    """Whether a request may be sent more than once, or elsewhere: its body must be there in one piece for that."""
    return rules.max_attempts > 1 or rules.hedge > 0 or any(names(provider, pool.provider) for pool in rules.pools)


def choose(pool: Pool, standings: Sequence[Standing], chance: float) -> int | None:
    """Return the place in the pool of the member to ask, or None when none can be asked.

    Of those that do not rest, the ones that this request went to least often share by the pool's strategy. When all
    rest, it is the one whose rest ends first. ``chance`` is from 0 to below 1.
    """
    able = [index for index, standing in enumerate(standings) if not standing.is_out]
    if not able:
        return None
    awake = [index for index in able if not standings[index].rests]
    if not awake:
        return min(able, key=lambda index: standings[index].rests)
    fewest = min(standings[index].tries for index in awake)
    fresh = [index for index in awake if standings[index].tries == fewest]
    if pool.strategy == "weighted":
        return _by_weight(pool, fresh, chance)
    if pool.strategy == "latency" and chance < _EXPLORES:
        return _by_weight(pool, fresh, chance / _EXPLORES)
    known = [latency for index in fresh if (latency := standings[index].latency) is not None]
    quickest = min(known, default=1.0)

    def load(index: int) -> float:
        standing = standings[index]
        time = 1.0
        if pool.strategy == "latency":
            # Who was not measured yet is taken for quicker than all others, and so is measured next.
            time = quickest / 2 if standing.latency is None else standing.latency
        return time * (standing.open + 1) / pool.members[index].weight

    loads = {index: load(index) for index in fresh}
    least = min(loads.values())
    best = [index for index in fresh if loads[index] == least]
    return best[int(chance * len(best))]


def _by_weight(pool: Pool, indices: Sequence[int], chance: float) -> int:
    left = chance * sum(pool.members[index].weight for index in indices)
    for index in indices:
        left -= pool.members[index].weight
        if left < 0:
            return index
    return indices[-1]


def path_at(asked: Provider, provider: Provider, member: Member, rest: str) -> str | None:
    """Return what follows the provider in the path of a request that goes to a member, None where it cannot go there.

    ``asked`` is the provider that the request with this ``rest`` was for, ``provider`` the member's. Another provider
    takes what its OpenAI-compatible surface has.
    """
    moved: str | None = rest.lstrip("/")
    if provider.slug != asked.slug:
        moved = _openai_path(asked, provider, rest.lstrip("/"))
    if moved is None:
        return None
    if member.path:
        moved = "/".join([member.path, *moved.split("/")[member.path.count("/") + 1 :]])
    if member.model and (named := model_in_path(provider.slug, moved)) is not None:
        moved = _with_model_in_path(provider.slug, moved, named, member.model)
    return moved


def _openai_path(asked: Provider, provider: Provider, rest: str) -> str | None:
    before, behind = _openai_prefix(asked), _openai_prefix(provider)
    if before is None or behind is None:
        return None
    bare = rest.removeprefix(f"{asked.version}/") if asked.version else rest
    tail = bare.removeprefix(before.removeprefix(f"{asked.version}/") if asked.version else before)
    return behind + tail if tail in _OPENAI_PATHS else None


def _openai_prefix(provider: Provider) -> str | None:
    path = provider.chat_path
    return path.removesuffix(_CHAT) if path is not None and path.endswith(_CHAT) else None


def _with_model_in_path(slug: str, rest: str, named: str, model: str) -> str:
    if slug == "azure-openai":  # a resource may be called like the deployment
        resource, _, behind = rest.split("/", 2) if rest.count("/") > 1 else (*rest.split("/"), "")
        return "/".join(part for part in (resource, quote(model, safe=_IN_A_SEGMENT), behind) if part)
    return rest.replace(named, quote(model, safe=_IN_A_SEGMENT + ("/" if "/" in named else "")), 1)


def with_model(body: bytes, model: str) -> bytes | None:
    """Return a JSON body that asks for another model, its other members byte for byte; None where it is no object."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return None
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(members)


def backend_of(provider: Provider, rest: str) -> str:
    """Return the part of a path that says which of a provider's hosts is meant, or nothing where it has only one.

    Two Azure resources, or two regions of Bedrock, fail each by itself.
    """
    given = rest.lstrip("/").split("/")
    for route in provider.routes:
        wanted = route.path.split("/")
        if "{" in route.path and len(given) >= len(wanted):
            pairs = zip(wanted, given, strict=False)
            if all(segment.startswith("{") or segment == found for segment, found in pairs):
                return "/".join(given[: len(wanted)])
    return ""
