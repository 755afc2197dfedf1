"""Writes the files that are made from others: run by `make gen`, and tests fail when one is stale.

docs/settings.md from the settings table, docs/providers.md from the provider data, docs/credentials.md from the matrix
of credentials, web/src/gen/openapi.json from the console's API, web/src/gen/constants.ts from the names that this API's
description does not hold, src/trunkline/policy/price_list.json from the library genai-prices.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trunkline import settings
from trunkline.credentials import PLACEMENTS, Carrier, Placement, Role
from trunkline.credentials.matrix import (
    PRESENTATIONS,
    Case,
    Outcome,
    Presentation,
    Seat,
    Secret,
    Shown,
    Way,
    cases,
)
from trunkline.errors import (
    ForbiddenOrigin,
    GatewayError,
    MalformedRequest,
    NoProviderKey,
    NotPermitted,
    Unauthorized,
    UnknownAlias,
)
from trunkline.policy.registry import Scope
from trunkline.providers import Catalogue, Provider, Slot
from trunkline.server.client_secrets import MODE_HEADER
from trunkline.server.console_access import CONSOLE_HEADER
from trunkline.server.control import create_api
from trunkline.server.gateway import Gateway
from trunkline.settings import Settings
from trunkline.wire.refusal import ERROR_CODE_HEADER

ROOT = Path(__file__).resolve().parent.parent
PRICE_LIST = ROOT / "src" / "trunkline" / "policy" / "price_list.json"
COSTS = ROOT / "docs" / "costs.md"
CELLS = tuple(cases())

SETTINGS_HEAD = """\
# Settings

<!-- Made by docs/generate.py from src/trunkline/settings.py. Change that file and run `make gen`. -->

A setting is taken from the first place that has it: a flag of `trunkline serve`, an environment variable,
`trunkline.toml`, the default. `trunkline settings` shows what is set and by what. The file is the one named by
`--config` or `TRUNKLINE_CONFIG`, else `./trunkline.toml`, else the one in the data directory. An unknown name is an
error, so that a typing mistake is not silent. Secrets have no flag: a process list would show them.
"""

SETTINGS_TAIL = """\

## Providers

Every provider of [providers.md](providers.md) can be changed, and new ones added, in `trunkline.toml`:

```toml
[providers.openai]
base_url = "https://eu.api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"        # read from that variable; the file then holds no secret

[providers.custom-mine]               # a provider of your own: its path is /v1/local/default/custom-mine/...
base_url = "http://127.0.0.1:11434/v1"
needs_key = false
chat_path = "chat/completions"
models_path = "models"
realtime = "cascade"                  # give its text model the local voice
```

The same by environment: `TRUNKLINE_PROVIDERS__OPENAI__BASE_URL`, `TRUNKLINE_PROVIDERS__OPENAI__API_KEY`. Plain `http:`
is accepted for loopback hosts only.
"""

CONSTANTS_HEAD = "/** Made by docs/generate.py from the Python of the gateway. Change that and run `make gen`. */"

PROVIDERS_HEAD = """\
# Providers

<!-- Made by docs/generate.py from src/trunkline/providers/data/. Change those files and run `make gen`. -->

A request to `/v1/{account}/{gateway}/{slug}/{rest}` goes to `{base URL}/{rest}`, over HTTP and WebSocket alike. The key
is written into the first slot listed, or stays in another of them where the caller put it there. Adding a provider is
one such file: no code. How each provider's realtime sessions are opened: [realtime providers](realtime-providers.md).
In whose words the unified API asks a provider: [decision 12](decisions/0012-what-the-unified-api-translates.md).
"""

CREDENTIALS_HEAD = """\
# Credentials

<!-- Made by docs/generate.py from src/trunkline/credentials/. Change those files and run `make gen`. -->

One function reads the head of every request, over HTTP, on a stream and on a WebSocket, so that the same key means
the same in each of them. This page says where a key may sit, what comes of it there, and who refused when it was
refused. Every line of its tables is tested on real servers, on each transport and before each provider that its
clients know, with a provider behind them that is strict about its key: {cells} cells.
"""

CREDENTIALS_REFUSALS = """\
`trunkline probe` asks the same of any gateway, in every place and on every transport: [the probe](probe.md).

On the universal WebSocket a refusal is the frame `universal.created` whose `metadata.status` is that status, with
Cloudflare's envelope as its `response`; the socket stays open. Over HTTP a refusal has the shape its caller can read:
the envelope for callers that send a `cf-aig-*` header, else the provider's own error object. The message says which
places were looked at, and never holds a key.

## The rule

1. Every place below is looked at, in this order, every line of a header. Blank values, `undefined`, `null`, `none`, a
   scheme that stands alone and the dummy of ai-gateway-provider count as no key.
2. A key of the gateway's own (a gateway key, a client secret, the gateway token) says who asks. It is taken out
   wherever it sat. An authenticated gateway demands one; an open gateway does not, but refuses one that counts no
   more.
3. What is left in a provider's place is the caller's own provider key. Without one, the key that the gateway stores
   is used.
4. That one key is written into one place: where the caller had it if the provider has that place, else the provider's
   first that takes such a one. Behind the sub-protocol `token` or `bearer` it counts as sent in `Authorization` with
   that scheme. Whatever else these places hold stays here.
"""

CREDENTIALS_PLACES = """\

A header may have any scheme before the key, or none; `Bearer:` with a colon is understood, and large and small
letters are the same. A query parameter counts where the provider's own API takes a key in it: {query}.
On the universal endpoint, the gateway's key may sit in any of these places of the request or of a step; a provider's
key belongs into its step ([more](universal.md)).

## What comes of it

The last four columns are the four kinds of gateway. *Yours*: the provider sees the key that you sent. *Stored*: it
sees the one the gateway holds. A number: this gateway refuses with that code. On the universal endpoint the
provider's key is sent in the step and the gateway's in the request, unless a line says otherwise. *Root* is
`/v1/realtime` without account and gateway: there the gateway's key says which gateway is meant.
"""

CREDENTIALS_RULES = """\

## Which of several counts

- Of several gateway keys, the first in the order of the places that counts. One that was revoked or has expired
  refuses the request when no other counts, also on an open gateway. A key of another gateway is known, and not
  permitted.
- Of several provider keys, the one in a place that the addressed provider has: others belong to other APIs. Two
  different keys in its own places are refused, and the places named.
- A client secret that was made with a provider key uses that one, whatever else is shown.
- The caller's own key comes before a stored one, unless the gateway was told otherwise (below).
- A gateway key in a universal request opens every step, unless the step brings a `cf-aig-authorization` of its own.

## Stored keys, and the placeholder

`trunkline vault set openai` stores a key for a gateway under the alias `default`, `--alias team-blue` under another.
A request chooses by the header `cf-aig-byok-alias`; an alias without a key is refused, and the aliases that exist are
named to callers who showed a key of the gateway. Where the vault has no default, the key of the settings is used.

Some clients must be given *some* key and send a placeholder. It counts as a key, and the provider refuses it: there
is no telling a placeholder from a key. Either put the gateway's key there, which every place understands, or say
`trunkline gateways set NAME --stored-key-wins`: what callers send in a provider's place then counts only where
nothing is stored ([gateways](gateways.md)).

## What never leaves

- A key of the gateway's own, counting or not, in whatever header, query parameter or sub-protocol it is the value.
- Every other credential in the places above.
- `cf-aig-*` headers, with `cf-skip-cache` and `cf-cache-ttl` as two of them were called before, `cf-access-*` and
  `x-trunkline-*`; of these, what is meant for a Cloudflare gateway goes on to one that stands behind this one.
- What belongs to the browser or to the connection: `Cookie`, `Origin`, `Referer`, `Sec-*`, `Forwarded`,
  `X-Forwarded-*`, `Proxy-Authorization` and their kind.

No key reaches a log line or an error message either. A key that must travel as a sub-protocol and holds a character
that none can carry (such as `/` or `=`) is refused, and said to be. A head that is too large is answered 431.

## Where the key goes

A stored key goes into the first place. The caller's own stays in any of them in which it was sent. A dash: the
provider has no WebSocket. A provider added by settings takes the key wherever its client puts it.

| Provider | Over HTTP | On a WebSocket |
| --- | --- | --- |
"""

# The tables of presentations, by what is sent.
PROVIDER_KEY = "A provider key alone"
BOTH_KEYS = "The gateway's key beside a provider key"
GATEWAY_KEY = "The gateway's key alone"
MEETING = "Keys that meet, or sit where they do not belong"
NO_KEY = "No key, and wrong keys"
GROUPS = (PROVIDER_KEY, BOTH_KEYS, GATEWAY_KEY, MEETING, NO_KEY)

OUTCOMES = {
    Outcome.CALLERS_KEY: "yours",
    Outcome.STORED_KEY: "stored",
    Outcome.WRONG_KEY: "the provider refuses",
    Outcome.NO_GATEWAY_KEY: "2009",
    Outcome.NOT_PERMITTED: "2009, not permitted",
    Outcome.NO_PROVIDER_KEY: "2040",
    Outcome.TWO_KEYS: "2019",
}
SEATS = {Seat.STEP: "in the step", Seat.STEP_FIELD: "as a field of the step", Seat.REQUEST: "in the request"}
WAYS = {
    Way.HTTP: "HTTP",
    Way.SSE: "SSE",
    Way.UNIVERSAL_HTTP: "universal HTTP",
    Way.UNIVERSAL_WEBSOCKET: "universal WebSocket",
    Way.REALTIME: "realtime",
    Way.REALTIME_ROOT: "root",
    Way.REALTIME_BROWSER: "realtime in a browser",
}
# Transports that have one word together.
TRANSPORTS = (
    ({Way.HTTP, Way.SSE}, "HTTP, SSE"),
    ({Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET}, "universal"),
)

# Who refused: the error, and what to do about it.
REFUSALS = (
    (
        Unauthorized,
        "This gateway is authenticated and saw no key of its own, or one that counts no more. `trunkline keys create`"
        " makes one",
    ),
    (NotPermitted, "This gateway knows the key, which is not good for this gateway, provider, model or act"),
    (
        NoProviderKey,
        "This gateway lets you in, and has no key to show the provider. Send yours, or `trunkline vault set`",
    ),
    (UnknownAlias, "This gateway holds no key under the alias in `cf-aig-byok-alias`"),
    (MalformedRequest, "This gateway was shown two different provider keys, or one that no header can hold"),
    (ForbiddenOrigin, "This gateway does not serve pages of that origin: `allowed_origins`"),
)

# Traps of a request's course, not of its head; tests/contract/test_matrix.py has each by name.
OTHER_TRAPS = (
    (
        "the second call of a tool loop came without the key",
        "Anthropic clients with tools",
        "the same head again on one connection",
        "Every request and every step is judged by itself.",
    ),
    (
        "one key was refused in one place and taken in another",
        "Workers AI on an open gateway",
        "a key for `local`, in any place",
        "The local provider needs no key of its own: on an open gateway anything is taken, on an authenticated one the"
        " gateway's key, in every place alike.",
    ),
    (
        "a client tried a WebSocket again and again",
        "Codex, on `.../openai/responses`",
        "any head",
        "The upgrade is answered 426, and Codex sends the same key over HTTP.",
    ),
    (
        "a 401 did not say who refused",
        "everybody",
        "any head",
        "The code does, and the message: see the first table.",
    ),
)

# Words in which answers state by which list they were billed, and what they are to the price library.
PRICED_TIERS = {
    **{tier: {"service_tier": tier, "speed": tier} for tier in ("flex", "priority", "fast")},
    "batch": {"processing": "batch"},
}


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = ["| Setting | Variable | Default | What it does |", "| --- | --- | --- | --- |"]
    for entry in settings.table():
        if entry.name == "providers":
            continue
        words = str(entry.metadata["help"])
        if entry.metadata["choices"]:
            words += f" One of {', '.join(f'`{choice}`' for choice in entry.metadata['choices'])}."
        rows.append(
            f"| `{'.'.join(settings.file_key(entry))}` | `{settings.environment_name(entry)}` "
            f"| {settings.default_words(entry)} | {words} |"
        )
    return "\n".join([SETTINGS_HEAD, *rows, SETTINGS_TAIL])


def providers_page() -> str:
    """Return docs/providers.md."""
    rows = [
        "| Slug | Aliases | Base URL | Key over HTTP | Realtime | Key on a WebSocket | Usage read as | Unified API |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [_provider_row(provider) for provider in Catalogue.build({}).all()]
    return "\n".join([PROVIDERS_HEAD, *rows, ""])


def _provider_row(provider: Provider) -> str:
    aliases = ", ".join(f"`{alias}`" for alias in provider.aliases) or "-"
    addresses = [provider.base_url, *dict.fromkeys(route.base_url for route in provider.routes)]
    address = "the local worker"
    if provider.slug != "local":
        address = ", ".join(f"`{one}`" for one in addresses if one)
    if provider.is_cascade:
        realtime, slots = "local voice (cascade)", "-"
    elif provider.socket is None:
        realtime, slots = "-", "-"
    else:
        paths = dict.fromkeys(provider.socket.paths.values())
        realtime = ", ".join(f"`{path}`" for path in paths) or "every path"
        slots = _slots(provider.socket.credential_slots)
    keys = _slots(provider.credential_slots)
    cells = (f"`{provider.slug}`", aliases, address, keys, realtime, slots, provider.usage, provider.unified_words)
    return f"| {' | '.join(cells)} |"


def _slots(slots: tuple[Slot, ...]) -> str:
    return ", ".join(_slot(slot) for slot in slots) or "-"


def _slot(slot: Slot) -> str:
    match slot.kind:
        case "header":
            place = f"`{slot.name}: {slot.scheme} KEY`" if slot.scheme else f"`{slot.name}: KEY`"
        case "subprotocol":
            place = f"sub-protocol `{slot.name}KEY`"
        case "query":
            place = f"`?{slot.name}=KEY`"
    if slot.except_prefix:
        return f"{place} (not for `{slot.except_prefix}...`)"
    return f"{place} (for `{slot.only_prefix}...` only)" if slot.only_prefix else place


def credentials_page() -> str:
    """Return docs/credentials.md."""
    query = "; ".join(
        f"{', '.join(f'`{name}`' for name in sorted(provider.query_names))} for {provider.name}"
        for provider in Catalogue.build().all()
        if provider.query_names
    )
    rows = [
        CREDENTIALS_HEAD.format(cells=f"{len(CELLS):,}"),
        "## A request was refused: by whom?",
        "",
        "| Over HTTP | In a realtime session | Who refused, and what to do |",
        "| --- | --- | --- |",
        *(_refusal_row(error, words) for error, words in REFUSALS),
        "| another 401 or 403, without `cf-aig-error-code` | the provider's own event and close | The provider, which"
        " did not like the key it was shown. A placeholder counts as a key: see below |",
        "",
        CREDENTIALS_REFUSALS,
        "## Where a key may sit",
        "",
        "| | Place | Whose key is understood there |",
        "| --- | --- | --- |",
        *(f"| {number} | {_place(place)} | {_whose(place)} |" for number, place in enumerate(PLACEMENTS, 1)),
        CREDENTIALS_PLACES.format(query=query),
        *(line for group in GROUPS for line in _group_table(group)),
        "## Traps",
        "",
        "What went wrong for users of other gateways, and what happens here.",
        "",
        "| What went wrong | With whom | What is sent | What happens here |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(trap)} |" for trap in (*_traps(), *OTHER_TRAPS)),
        CREDENTIALS_RULES.rstrip(),
        *(_key_row(provider) for provider in Catalogue.build().all() if provider.slug != "local"),
    ]
    return "\n".join(rows) + "\n"


def _refusal_row(error: type[GatewayError], words: str) -> str:
    over_http = f"{error.status}, `cf-aig-error-code: {error.code}`"
    return f"| {over_http} | `error` event `{error.reason}`, close {error.close_code} | {words} |"


def _place(place: Placement) -> str:
    match place.carrier:
        case Carrier.HEADER:
            return f"header `{place.name}`"
        case Carrier.SUBPROTOCOL:
            return f"sub-protocol `{place.name}KEY`"
        case Carrier.NEXT_SUBPROTOCOL:
            return f"the sub-protocol behind `{place.name}`"
        case Carrier.QUERY:
            return f"query parameter `{place.name}`"


def _whose(place: Placement) -> str:
    return "the gateway's" if place.role is Role.GATEWAY else "the gateway's, or the provider's"


def _group_table(group: str) -> list[str]:
    return [
        f"### {group}",
        "",
        "| What is sent | By whom | Over | Open | Open, stored | Authenticated | Authenticated, stored |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_presentation_row(row) for row in PRESENTATIONS if not row.trap and _group_of(row) == group),
        "",
    ]


def _group_of(row: Presentation) -> str:
    """Return the heading under which a row that is no trap stands."""
    shown = {one.secret for one in row.shown}
    if row.here:
        return MEETING
    if shown <= {Secret.WRONG_KEY}:
        return NO_KEY
    of_provider = not shown.isdisjoint({Secret.PROVIDER_KEY, Secret.ACCESS_TOKEN})
    of_gateway = not shown.isdisjoint({Secret.GATEWAY_KEY, Secret.CLIENT_SECRET})
    return BOTH_KEYS if of_provider and of_gateway else PROVIDER_KEY if of_provider else GATEWAY_KEY


def _presentation_row(row: Presentation) -> str:
    outcomes = [
        OUTCOMES[Case(row, row.ways[0], row.providers[0], authenticated, stored).expected]
        for authenticated in (False, True)
        for stored in (False, True)
    ]
    client = f"{row.client}. {row.here}" if row.here else row.client
    return f"| {_sent(row)} | {client} | {_over(row)} | {' | '.join(outcomes)} |"


def _traps() -> Iterator[tuple[str, str, str, str]]:
    """Yield the traps, those together that went wrong alike and are answered alike."""
    rows: dict[tuple[str, str], list[Presentation]] = {}
    for row in PRESENTATIONS:
        if row.trap:
            rows.setdefault((row.trap, row.here), []).append(row)
    for (trap, here), alike in rows.items():
        clients = "; ".join(dict.fromkeys(row.client for row in alike))
        yield trap, clients, "<br>or ".join(_sent(row) for row in alike), here


def _sent(row: Presentation) -> str:
    return " and ".join(_part(one, row) for one in row.shown) or "nothing"


def _part(shown: Shown, row: Presentation) -> str:
    """Return one thing that is sent, the secret replaced by what it is; a signature's tail is left out."""
    form = f"{shown.form.partition('/')[0]}/..." if "/" in shown.form else shown.form
    text = form.replace("{}", f"[{shown.secret.value}]")
    seat = f" {SEATS[shown.seat]}" if all(way.is_universal for way in row.ways) else ""
    match shown.placement.carrier:
        case Carrier.HEADER:
            return f"`{shown.name}: {text}`{seat}" if text.strip() else f"`{shown.name}:` with nothing{seat}"
        case Carrier.SUBPROTOCOL:
            return f"sub-protocol `{shown.name}{text}`"
        case Carrier.NEXT_SUBPROTOCOL:
            return f"sub-protocols `{shown.name}, {text}`"
        case Carrier.QUERY:
            return f"`?{shown.name}={text}`"


def _over(row: Presentation) -> str:
    ways = {cell.way for cell in CELLS if cell.presentation is row}
    if ways == set(Way):
        return "every transport"
    words = [words for together, words in TRANSPORTS if together <= ways]
    named = {way for together, _ in TRANSPORTS if together <= ways for way in together}
    return ", ".join([*words, *(WAYS[way] for way in Way if way in ways - named)])


def _key_row(provider: Provider) -> str:
    socket = _slots(provider.socket.credential_slots) if provider.socket is not None else "-"
    return f"| {provider.name} | {_slots(provider.credential_slots)} | {socket} |"


def constants() -> str:
    """Return web/src/gen/constants.ts: what the console says to the gateway beside what its API describes."""
    names = {
        "CONSOLE_HEADER": CONSOLE_HEADER.decode(),
        "CLIENT_SECRETS_HEADER": MODE_HEADER.decode(),
        "ERROR_CODE_HEADER": ERROR_CODE_HEADER.decode(),
        "GATEWAY_TOKEN_HEADER": next(
            place.name for place in PLACEMENTS if place.carrier is Carrier.HEADER and place.role is Role.GATEWAY
        ),
    }
    lines = [f"export const {name} = '{value}';" for name, value in names.items()]
    scopes = ", ".join(f"'{scope.value}'" for scope in Scope)
    return "\n".join([CONSTANTS_HEAD, *lines, f"export const SCOPES = [{scopes}] as const;", ""])


def openapi() -> str:
    """Return the description of the console's API."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Settings(data_dir=Path(directory)))
        try:
            return json.dumps(create_api(gateway, "").openapi(), indent=2) + "\n"
        finally:
            gateway.worker.release()


def price_list() -> str:
    """Return src/trunkline/policy/price_list.json: a line for each model, in the library's order, the first counts."""
    from genai_prices.data_snapshot import get_snapshot  # late: it takes a while, and no other page needs it

    made_from, day = _version_and_day()
    sellers = ",\n".join(_seller(provider) for provider in get_snapshot().providers)
    return f'{{"version":"{made_from}","day":"{day}","sellers":[\n{sellers}\n]}}\n'


def _version_and_day() -> tuple[str, str]:
    """Return the version of the price library that is installed, and the day on which it was taken up here."""
    installed = version("genai-prices")
    before = json.loads(PRICE_LIST.read_text("utf-8")) if PRICE_LIST.exists() else {}
    return installed, before["day"] if before.get("version") == installed else f"{datetime.now(UTC).date()}"


def _seller(provider: Any) -> str:
    about: dict[str, Any] = {"id": provider.id}
    if provider.provider_match is not None:
        about["match"] = _clause(provider.provider_match)
    if provider.fallback_model_providers:
        about["falls_back_to"] = provider.fallback_model_providers
    offers = ",\n".join(_compact(_offer(model)) for model in provider.models)
    return f'{_compact(about)[:-1]},"offers":[\n{offers}\n]}}'


def _offer(model: Any) -> dict[str, Any]:
    first, *later = model.prices if isinstance(model.prices, list) else [None]
    offer: dict[str, Any] = {"match": _clause(model.match), "prices": _by_unit((first or model).prices)}
    if later:
        offer["later"] = [_change(one) for one in later]
    tiers = {}
    for tier, context in PRICED_TIERS.items():
        variants = [one for one in model.price_variants or () if one.when.items() <= context.items()]
        if variants:
            tiers[tier] = [_change(one) for one in variants]
    return {**offer, "tiers": tiers} if tiers else offer


def _change(change: Any) -> dict[str, Any]:
    changed: dict[str, Any] = {"prices": _by_unit(change.prices)}
    match change.constraint:
        case None:
            pass
        case constraint if hasattr(constraint, "start_date"):
            changed["since"] = int(datetime.combine(constraint.start_date, time(), UTC).timestamp())
        case constraint:
            changed["hours"] = [_second_of_day(constraint.start_time), _second_of_day(constraint.end_time)]
    return changed


def _second_of_day(moment: time) -> int:
    """Return the second of the day in UTC; a moment without a time zone is in UTC."""
    anchored = datetime.combine(datetime(2000, 1, 1, tzinfo=UTC), moment, moment.tzinfo or UTC)
    return int(anchored.timestamp()) % 86_400


def _by_unit(prices: Any) -> dict[str, Any]:
    return {unit: _price(price) for unit, price in sorted(vars(prices).items()) if price is not None}


def _price(price: Any) -> Any:
    if not isinstance(price, Decimal):
        return [_price(price.base), [[tier.start, _price(tier.price)] for tier in price.tiers]]
    return int(price) if price == int(price) else float(price)


def _clause(clause: Any) -> list[Any]:
    """Return a clause as its kind and what it compares with; texts are compared in small letters, patterns are not."""
    ((kind, value),) = vars(clause).items()
    match kind:
        case "regex":
            return [kind, value]
        case "equals":
            return [kind, [value.lower()]]
        case "or_" | "and_":
            return _together(kind.rstrip("_"), [_clause(one) for one in value])
        case _:
            return [kind, value.lower()]


def _together(kind: str, clauses: list[list[Any]]) -> list[Any]:
    """Return several clauses as one; of those of which any may fit, the names come first, as one clause."""
    if kind == "or":
        names = [name for one, value in clauses if one == "equals" for name in value]
        others = [clause for clause in clauses if clause[0] != "equals"]
        clauses = [["equals", names], *others] if names else others
    return clauses[0] if len(clauses) == 1 else [kind, clauses]


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def costs_page() -> str:
    """Return docs/costs.md, a page written by hand, with the version and the day of the price list."""
    made_from, day = _version_and_day()
    text = COSTS.read_text("utf-8")
    return re.sub(r"version [\d.]+, taken up on [\d-]+", f"version {made_from}, taken up on {day}", text)


PAGES = {
    ROOT / "docs" / "settings.md": settings_page,
    ROOT / "docs" / "providers.md": providers_page,
    ROOT / "docs" / "credentials.md": credentials_page,
    ROOT / "web" / "src" / "gen" / "openapi.json": openapi,
    ROOT / "web" / "src" / "gen" / "constants.ts": constants,
    PRICE_LIST: price_list,
    COSTS: costs_page,
}


def main() -> None:
    """Write every page that changed."""
    for path, make in PAGES.items():
        text = make()
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
