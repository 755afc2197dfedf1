"""What a target is, and what every one of them promises."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from trunkline.errors import GatewayError, TrunklineError
from trunkline.wire.refusal import Dialect, http_refusal, realtime_refusal

CORPUS = Path(__file__).parent / "corpus"
SEEDS = Path(__file__).parent / "seeds"


class NotForThis(Exception):
    """An input that is none of this target: hypothesis and atheris go on with another."""


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers write.

    ``try_one`` takes any bytes: it returns, or raises one of ``refuses``, and asserts what must be true besides.
    ``modules`` are those whose words belong into inputs; ``is_json``: what is read is JSON, and is changed as such.
    """

    name: str
    try_one: Callable[[bytes], None]
    modules: Sequence[str]
    refuses: tuple[type[Exception], ...] = ()
    is_json: bool = True

    def run(self, data: bytes) -> None:
        """Try one input. Raises what is not documented, and `AssertionError` where a promise is broken."""
        try:
            self.try_one(data)
        except NotForThis:
            pass
        except self.refuses as error:
            _check_refusal(error)

    @functools.cached_property
    def seeds(self) -> list[bytes]:
        """The inputs that a person wrote: what others are made of."""
        return [path.read_bytes() for path in sorted((SEEDS / self.name).iterdir())]

    @property
    def kept(self) -> list[Path]:
        """The inputs that are kept, in order."""
        folder = CORPUS / self.name
        return sorted(folder.iterdir()) if folder.is_dir() else []

    @functools.cached_property
    def words(self) -> list[str]:
        """What stands in quotes in the modules: names of members, types, marks."""
        return sorted({word for module in self.modules for word in _words_of(module)})


def _check_refusal(error: Exception) -> None:
    """A refusal is a sentence, and goes to its caller in whatever shape that one reads."""
    if isinstance(error, TrunklineError):
        assert str(error).strip(), f"{type(error).__name__} says nothing"
    if not isinstance(error, GatewayError):
        return
    assert 400 <= error.status <= 504
    assert error.status != 500, "the gateway would say that it made a mistake"
    for dialect in Dialect:
        json.loads(http_refusal(error, dialect)[2])
        json.loads(realtime_refusal(error, dialect, "event_1")[0])


def _words_of(module: str) -> set[str]:
    file = importlib.import_module(module).__file__
    assert file is not None
    found = ast.walk(ast.parse(Path(file).read_text()))
    texts = {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if 0 < len(text) <= 40 and " " not in text}


# What a target's function does with its bytes


def json_of(data: bytes) -> Any:
    """Return the JSON that some bytes are, as Python reads it; half characters and NaN among them."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotForThis from error


def object_of(data: bytes) -> dict[str, Any]:
    """Return the object that some bytes are."""
    found = json_of(data)
    if not isinstance(found, dict):
        raise NotForThis
    return found


def text_at(document: Any, name: str, default: str = "") -> str:
    """Return a text of an object."""
    found = document.get(name, default)
    if not isinstance(found, str):
        raise NotForThis
    return found


def latin(text: str) -> bytes:
    """Return a text as a header carries it."""
    return text.encode("latin-1", "replace")


def pairs_of(value: Any) -> list[tuple[str, str]]:
    """Return a list of pairs of texts."""
    if not isinstance(value, list):
        raise NotForThis
    pairs = [one for one in value if isinstance(one, list) and len(one) == 2]
    return [(first, second) for first, second in pairs if isinstance(first, str) and isinstance(second, str)]


def body_of(value: Any) -> bytes:
    """Return a body: a text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def cut(data: bytes) -> list[bytes]:
    """Return some bytes in pieces, the same for the same bytes: now one by one, now in a few."""
    chance = Random(zlib.crc32(data))
    longest = chance.choice([1, 2, 7, 64, 1000])
    pieces = []
    at = 0
    while at < len(data):
        size = chance.randint(1, longest)
        pieces.append(data[at : at + size])
        at += size
    return pieces
