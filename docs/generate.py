"""Writes the files that are made from others: run by `make gen`, and tests fail when one is stale.

docs/settings.md from the settings table, docs/providers.md from the provider data, docs/credentials.md from the matrix
of credentials, web/src/gen/openapi.json from the console's API.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from trunkline import settings
from trunkline.credentials import PLACEMENTS, Carrier, Placement, Role
from trunkline.credentials.matrix import PRESENTATIONS, Case, Outcome, Presentation, Seat, Way
from trunkline.credentials.matrix import cases as matrix_cells
from trunkline.probe.rows import shows
from trunkline.providers import Catalogue, Provider, Slot
from trunkline.server.control import create_api
from trunkline.server.gateway import Gateway
from trunkline.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

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

PROVIDERS_HEAD = """\
# Providers

<!-- Made by docs/generate.py from src/trunkline/providers/data/. Change those files and run `make gen`. -->

A request to `/v1/{account}/{gateway}/{slug}/{rest}` goes to `{base URL}/{rest}`, over HTTP and WebSocket alike. The key
is written into the first slot listed, or stays in another of them where the caller put it there. Adding a provider is
one such file: no code.
"""

CREDENTIALS_HEAD = """\
# Credentials

<!-- Made by docs/generate.py from src/trunkline/credentials/. Change those files and run `make gen`. -->

One function reads the head of every request, over HTTP, on a stream and on a WebSocket, and the same key means the same
in each of them:

1. Every place below is looked at, in this order. Blank values, `undefined`, `null`, `none` and the dummy of
   ai-gateway-provider count as no key.
2. A key of the gateway's own (a gateway key, a client secret, the gateway token) says who asks. It is taken out
   wherever it sat, and never leaves.
3. What is left in a provider's place is the caller's own provider key. Without one, the key that the gateway stores is
   used: the one named in `cf-aig-byok-alias`, else `default`.
4. That one key is written into one place, the one the provider wants on that transport:
   [providers.md](providers.md) lists them. Every other credential stays here, and so do all `cf-aig-*` headers, unless
   another gateway stands behind this one.

Every line of the tables below is tested with each of its clients' transports and providers, on gateways with and
without authentication and a stored key, against a provider that is strict about its key: {cells} cells.
"""

CREDENTIALS_RULES = """\

## Which of several counts

- Of several gateway keys, the first in the order of the places that counts. One that was revoked or has expired refuses
  the request when no other counts, also on an open gateway.
- Of several provider keys, the one in a place that the addressed provider has: others belong to other APIs. Two
  different keys in its own places are refused with 400, and the places named.
- The caller's own key comes before a stored one, unless the gateway says `--stored-key-wins`
  ([gateways](gateways.md)).
- An unknown alias is refused with 400 and code 2040. The aliases there are named only to callers who showed a key.
- A key that must travel as a sub-protocol, behind another gateway, and holds a character that none can carry (such as
  `/` or `=`) is refused, and says so. A head that is too large is answered 431.

## A request was refused: by whom?

| What the client sees | Who refused, and what to do |
| --- | --- |
| 401, `cf-aig-error-code: 2009`; on a WebSocket an `error` event, close 3000 | This gateway: it demands its own key |
| 403, code 2009; close 4003 | This gateway: the key is good, but not for this gateway, provider, model or act |
| 401, code 2040; close 3000 | This gateway has no key to show the provider, and the request brought none |
| 400, code 2040; close 4000 | This gateway holds no key under that alias |
| 400, code 2019; close 4000 | This gateway: two different provider keys, or a key that cannot be one |
| 401 or 403 without `cf-aig-error-code`; an event in the provider's words | The provider refused the key it was shown |

`trunkline probe` shows all of this for any gateway: [the probe](probe.md).
"""


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
        "| Slug | Aliases | Base URL | Key over HTTP | Realtime | Key on a WebSocket | Usage read as |",
        "| --- | --- | --- | --- | --- | --- | --- |",
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
    return f"| `{provider.slug}` | {aliases} | {address} | {keys} | {realtime} | {slots} | {provider.usage} |"


def _slots(slots: tuple[Slot, ...]) -> str:
    return ", ".join(_slot(slot) for slot in slots) or "-"


def _slot(slot: Slot) -> str:
    match slot.kind:
        case "header":
            return f"`{slot.name}: {slot.scheme} KEY`" if slot.scheme else f"`{slot.name}: KEY`"
        case "subprotocol":
            return f"sub-protocol `{slot.name}KEY`"
        case "query":
            return f"`?{slot.name}=KEY`"


def credentials_page() -> str:
    """Return docs/credentials.md."""
    cells = sum(1 for _ in matrix_cells())
    rows = [
        CREDENTIALS_HEAD.format(cells=f"{cells:,}"),
        "## Where a key may sit",
        "",
        "| | Place | Whose key is understood there |",
        "| --- | --- | --- |",
        *(f"| {number} | {_place(place)} | {_whose(place)} |" for number, place in enumerate(PLACEMENTS, 1)),
        "",
        "A header may have any scheme before the key, or none; `Bearer:` with a colon is understood. Query parameters"
        " count where the provider's own API has them. Places that one provider alone has are looked at last.",
        "",
        "## What comes of it",
        "",
        "On a gateway that is open or authenticated, without and with a stored key. `2009`, `2040` and `2019` are"
        " refusals of this gateway.",
        "",
        "| Shown | Which clients do so | Over | Open | Open, key stored | Authenticated | Authenticated, key stored |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_presentation_row(row) for row in PRESENTATIONS if not row.trap),
        "",
        "## Traps",
        "",
        "Each of these was a bug report of somebody's.",
        "",
        "| Shown | Which clients do so | What went wrong elsewhere | What happens here |",
        "| --- | --- | --- | --- |",
        *(f"| {_shown(row)} | {row.client} | {row.trap} | {row.here} |" for row in PRESENTATIONS if row.trap),
    ]
    return "\n".join(rows) + "\n" + CREDENTIALS_RULES


def _place(place: Placement) -> str:
    match place.carrier:
        case Carrier.HEADER:
            return f"header `{place.name}`"
        case Carrier.SUBPROTOCOL:
            return f"sub-protocol `{place.name}KEY`"
        case Carrier.QUERY:
            return f"query parameter `{place.name}`"


def _whose(place: Placement) -> str:
    return "the gateway's" if place.role is Role.GATEWAY else "the gateway's, or the provider's"


def _presentation_row(row: Presentation) -> str:
    outcomes = (
        _OUTCOMES[Case(row, row.ways[0], row.providers[0], authenticated, stored).expected]
        for authenticated in (False, True)
        for stored in (False, True)
    )
    note = f" {row.here}" if row.here else ""
    return f"| {_shown(row)} | {row.client}.{note} | {_over(row)} | {' | '.join(outcomes)} |"


_OUTCOMES = {
    Outcome.CALLERS_KEY: "the caller's key",
    Outcome.STORED_KEY: "the stored key",
    Outcome.WRONG_KEY: "refused by the provider",
    Outcome.NO_GATEWAY_KEY: "2009",
    Outcome.NOT_PERMITTED: "2009, not permitted",
    Outcome.NO_PROVIDER_KEY: "2040",
    Outcome.TWO_KEYS: "2019",
}
_SERVER_SIDE = {Way.HTTP, Way.SSE, Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET, Way.REALTIME, Way.REALTIME_ROOT}


def _shown(row: Presentation) -> str:
    seats = {one.seat for one in row.shown}
    where = ""
    if row.ways and all(way.is_universal for way in row.ways) and seats == {Seat.STEP}:
        where = " (in the step)"
    elif row.ways and all(way.is_universal for way in row.ways) and seats == {Seat.STEP_FIELD}:
        where = " (a field of the step)"
    return f"`{shows(row)}`{where}" if row.shown else "no key"


def _over(row: Presentation) -> str:
    if set(row.ways) == set(Way):
        return "every transport"
    if set(row.ways) == _SERVER_SIDE:
        return "every transport of a server"
    return ", ".join(way.value for way in row.ways)


def openapi() -> str:
    """Return the description of the console's API."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Settings(data_dir=Path(directory)))
        try:
            return json.dumps(create_api(gateway, "").openapi(), indent=2) + "\n"
        finally:
            gateway.worker.release()


PAGES = {
    ROOT / "docs" / "settings.md": settings_page,
    ROOT / "docs" / "providers.md": providers_page,
    ROOT / "docs" / "credentials.md": credentials_page,
    ROOT / "web" / "src" / "gen" / "openapi.json": openapi,
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
