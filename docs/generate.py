"""Writes the files that are made from others: run by `make gen`, and tests fail when one is stale.

docs/settings.md from the settings table, docs/providers.md from the provider data, web/src/gen/openapi.json from the
console's API.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from trunkline import settings
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
