"""The proxy of LiteLLM."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from trunkline.benchmark.gateways.environments import PythonEnvironment, program
from trunkline.benchmark.gateways.gateway import KEY, Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import MODEL, REALTIME_MODEL, Kind

# It does not start with a weak one. This one opens nothing but the benchmark's.
_MASTER_KEY: Final = "sk-" + "0123456789abcdef" * 3


def _prepare(place: Place) -> Start:
    settings = place.folder / "config.yaml"  # JSON is YAML too
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": place.base_url, "api_key": KEY},
        }
        for name in (MODEL, REALTIME_MODEL)
    ]
    cache = {"cache": True, "cache_params": {"type": "local", "mode": "default_off", "ttl": 86_400}}
    settings.write_text(
        json.dumps({"model_list": models, "litellm_settings": {"set_verbose": False, "num_retries": 0, **cache}}),
        encoding="utf-8",
    )
    asks = openai_asks(*Kind, headers={"authorization": f"Bearer {_MASTER_KEY}"})
    asks[Kind.CACHE] = msgspec.structs.replace(asks[Kind.CACHE], extra={"cache": {"use-cache": True}})
    flags = ("--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1", "--telemetry", "False")
    # Prices come from the package, and not from elsewhere at every start.
    environment = {
        "LITELLM_MASTER_KEY": _MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    return Start([program(place.home, "litellm"), "--config", settings, *flags], asks, environment)


LITELLM: Final = Gateway(
    name="litellm",
    setup="one worker, its master key as the only key, no database, errors logged only; a cache in memory where it is"
    " asked for",
    environment=PythonEnvironment("litellm", ("litellm[proxy]",)),
    prepare=_prepare,
)
