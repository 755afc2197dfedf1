"""Which rows of the shared table a run shows, in which columns, and what keeps a cell from being asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from trunkline.credentials.matrix import PRESENTATIONS, Presentation, Secret, Way
from trunkline.credentials.placements import Carrier
from trunkline.probe.cell import COLUMNS, SOCKETS, Verdict
from trunkline.probe.errors import ProbeError
from trunkline.probe.keys import Keys, placeholder
from trunkline.probe.target import Target
from trunkline.providers import Provider
from trunkline.wire.subprotocols import is_token

_IN_SUBPROTOCOLS: Final = frozenset({Carrier.SUBPROTOCOL, Carrier.NEXT_SUBPROTOCOL})
_KEYS: Final = frozenset({Secret.GATEWAY_KEY, Secret.PROVIDER_KEY})


class Planned(msgspec.Struct, frozen=True):
    """A cell before the run. One that will not be asked has its ``verdict``, and says ``why``."""

    row: Presentation
    way: Way
    verdict: Verdict | None = None
    why: str = ""


def plan(
    target: Target, keys: Keys, *, rows: Sequence[str] | None = None, ways: Sequence[Way] | None = None
) -> list[Planned]:
    """Return every cell of a run, row by row.

    ``rows`` names rows of the matrix and ``ways`` chooses columns; without them all that suit the provider are taken.
    Rows with a wrong key are always part of it: without them no acceptance would mean anything. Raises `ProbeError`
    for a row or column that is not to be had.
    """
    columns = _columns(target, ways)
    chosen = _chosen(target.described, rows)
    return [_planned(row, way, keys) for row in chosen if set(row.ways) & set(columns) for way in columns]


def credential(row: Presentation) -> frozenset[Secret]:
    """Return what a row shows, wherever it sits: rows alike in this should come to the same."""
    return frozenset(one.secret for one in row.shown) - {Secret.NOTHING}


def is_control(row: Presentation) -> bool:
    """Whether a row shows a wrong key and nothing else, so that it must be refused."""
    return credential(row) == {Secret.WRONG_KEY}


def exposes_key(row: Presentation) -> bool:
    """Whether a row puts the provider's own key where pages, proxies and logs see it."""
    return any(one.secret is Secret.PROVIDER_KEY and one.placement.carrier is not Carrier.HEADER for one in row.shown)


def shows(row: Presentation) -> str:
    """Return what a row sends, each secret replaced by its kind."""
    return ", ".join(_written(row)) or Secret.NOTHING.value


def label(row: Presentation) -> str:
    """Return a row's head in a table: what it sends, and what a reader must know about it."""
    notes = ["control: must be refused"] if is_control(row) else []
    if exposes_key(row):
        notes.append("exposes the key")
    return shows(row) + "".join(f" ({note})" for note in notes)


def credential_words(kinds: frozenset[Secret]) -> str:
    """Return a credential in words: "gateway key and provider key"."""
    return " and ".join(kind.value for kind in Secret if kind in kinds) or Secret.NOTHING.value


def _written(row: Presentation) -> list[str]:
    words = {
        Carrier.HEADER: "{name}: {text}",
        Carrier.SUBPROTOCOL: "sub-protocol {text}",
        Carrier.NEXT_SUBPROTOCOL: "sub-protocols {name}, {text}",
        Carrier.QUERY: "?{name}={text}",
    }
    return [
        words[one.placement.carrier].format(name=one.placement.name, text=one.text(placeholder(one.secret)))
        for one in row.shown
    ]


def _columns(target: Target, ways: Sequence[Way] | None) -> list[Way]:
    there = target.ways
    for way in ways or ():
        if way not in COLUMNS:
            raise ProbeError(f"The probe has no column for the {way.value}.")
        if way not in there:
            raise ProbeError(f"{target.described.name} has nothing that the probe could ask over {COLUMNS[way]}.")
    return [way for way in there if ways is None or way in ways]


def _chosen(provider: Provider, names: Sequence[str] | None) -> list[Presentation]:
    if names is None:
        return [row for row in PRESENTATIONS if _suits(row, provider)]
    known = {row.name for row in PRESENTATIONS}
    if unknown := [name for name in names if name not in known]:
        raise ProbeError(f"There is no row {unknown[0]!r} in the matrix of credentials.")
    return [row for row in PRESENTATIONS if row.name in names or (row.probed and is_control(row))]


def _suits(row: Presentation, provider: Provider) -> bool:
    """Whether a client of the provider could show a row."""
    if row.probed and not credential(row) & _KEYS:
        return True  # no key, or a wrong one
    if provider.dialect == "openai":
        # Whoever speaks OpenAI's API takes a bearer token where OpenAI does.
        return row.probed and not {provider.slug, "openai"}.isdisjoint(row.providers)
    return provider.slug in row.providers and credential(row) <= _KEYS


def _planned(row: Presentation, way: Way, keys: Keys) -> Planned:
    if way not in row.ways:
        return Planned(row, way, Verdict.NOT_APPLICABLE, _why_not_applicable(row, way))
    if why := _missing(row, keys):
        return Planned(row, way, Verdict.SKIPPED, why)
    return Planned(row, way)


def _why_not_applicable(row: Presentation, way: Way) -> str:
    if way is Way.REALTIME_BROWSER and Carrier.HEADER in row.carriers:
        return "a browser cannot set headers on a WebSocket"
    if way not in SOCKETS and row.carriers & _IN_SUBPROTOCOLS:
        return "only a WebSocket has sub-protocols"
    return "no client shows a key like this here"


def _missing(row: Presentation, keys: Keys) -> str:
    """Return why a row cannot be shown with these keys, or nothing."""
    given = {
        Secret.PROVIDER_KEY: (keys.provider_key, keys.provider_from),
        Secret.GATEWAY_KEY: (keys.gateway_key, keys.gateway_from),
    }
    for one in row.shown:
        if one.secret in (Secret.WRONG_KEY, Secret.NOTHING):
            continue
        if one.secret not in given:
            return f"the probe has no {one.secret.value}"
        value, source = given[one.secret]
        if not value:
            return f"there is no {one.secret.value}; set {source}"
        if one.placement.carrier in _IN_SUBPROTOCOLS and not is_token(value):
            return f"the {one.secret.value} holds characters that no sub-protocol can carry"
    return ""
