"""Inputs made of others: JSON is changed member by member and stays JSON, anything else byte by byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

LONGEST = 8192

_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *(
        "",
        " ",
        "0",
        "true",
        "\x00",
        "\ud800",
        "a\udc00b",
        "é",
        "你好",
        "\u2028",
        "\r\n",
        "..",
        "/",
        "%2e%2e",
        "%",
        "[DONE]",
    ),
    *("-1", "1e999", "NaN", "9" * 30, "9" * 5000, "x" * 300, "sk-proj-0123456789abcdefABCDEF0123", "data:,"),
    *([], {}, [[]], [None], {"": None}, [{}], {"type": "text", "text": "hi"}),
]
_PIECES = [
    *(
        b"\x00",
        b"\xff",
        b"\r\n",
        b"\n\n",
        b"\r",
        b"\n",
        b":",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"=",
        b"&",
        b"%",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\u0000",
        b"data: ",
        b"9" * 40,
        b"NaN",
        b"-",
        b"/",
        b"..",
        b"%00",
    ),
]
_DEEP = 1200


def mutated(data: bytes, chance: Random, words: Sequence[str], *, is_json: bool, most: int = LONGEST) -> bytes:
    """Return an input that differs from another in one place or a few, of at most ``most`` bytes."""
    if is_json and chance.random() < 0.9:
        try:
            document = [json.loads(data)]
        except (ValueError, RecursionError):
            pass
        else:
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                _change(document, chance, words)
            try:
                written = json.dumps(document[0], ensure_ascii=chance.random() < 0.7).encode("utf-8", "surrogatepass")
            except RecursionError:
                return data
            return written if len(written) <= most else data
    return _changed_bytes(data, chance, words)[:most]


def _change(document: list[Any], chance: Random, words: Sequence[str]) -> None:
    places = _places(document)
    container, key = chance.choice(places)
    there = container[key]
    match chance.randrange(10):
        case 0 | 1:
            container[key] = _odd(chance)
        case 2:
            container[key] = _word(chance, words)
        case 3 if container is not document:
            del container[key]
        case 4:  # what stands elsewhere
            elsewhere, other = chance.choice(places)
            container[key] = _copy(elsewhere[other])
        case 5 if isinstance(there, dict):
            there[_word(chance, words)] = chance.choice(
                [_odd(chance), _odd(chance), _word(chance, words), _copy(there)]
            )
        case 5 | 6 if isinstance(there, list):
            there.insert(chance.randint(0, len(there)), _copy(chance.choice(there)) if there else _odd(chance))
        case 6 if isinstance(container, dict):
            container[_word(chance, words)] = container.pop(key)
        case 7:
            container[key] = [there] if chance.random() < 0.5 else {_word(chance, words): there}
        case 8 if chance.random() < 0.05:
            for _ in range(_DEEP):
                there = [there]
            container[key] = there
        case _ if isinstance(there, str):
            at = chance.randint(0, len(there))
            put = chance.choice([str(_odd(chance)), _word(chance, words), ""])
            container[key] = there[:at] + put + there[at + chance.randint(0, 3) :]
        case _ if isinstance(there, int | float) and not isinstance(there, bool):
            container[key] = chance.choice([-there, there + 1, there * 10**6, str(there), float(min(there, 1e300))])
        case _:
            container[key] = _odd(chance)


def _places(document: list[Any]) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [document]
    while waiting:
        container = waiting.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            if isinstance(container[key], dict | list):
                waiting.append(container[key])
    return found


def _copy(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except RecursionError:
        return None


def _odd(chance: Random) -> Any:
    return deepcopy(chance.choice(_ODD))


def _word(chance: Random, words: Sequence[str]) -> str:
    return chance.choice(words) if words else "x"


def _changed_bytes(data: bytes, chance: Random, words: Sequence[str]) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        _BYTEWISE[chance.randrange(len(_BYTEWISE))](changed, chance, words)
    return bytes(changed)


def _insert(data: bytearray, chance: Random, words: Sequence[str]) -> None:
    at = chance.randint(0, len(data))
    word = _word(chance, words).encode("utf-8", "surrogatepass")
    data[at:at] = chance.choice([chance.choice(_PIECES), word, bytes([chance.randrange(256)])])


def _remove(data: bytearray, chance: Random, words: Sequence[str]) -> None:
    at = chance.randint(0, len(data))
    del data[at : at + chance.choice([1, 1, 2, 8, len(data)])]


def _repeat(data: bytearray, chance: Random, words: Sequence[str]) -> None:
    at = chance.randint(0, len(data))
    piece = data[at : at + chance.choice([1, 4, 16, 64])]
    where = chance.randint(0, len(data))
    data[where:where] = piece


def _flip(data: bytearray, chance: Random, words: Sequence[str]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


_BYTEWISE: list[Callable[[bytearray, Random, Sequence[str]], None]] = [_insert, _insert, _remove, _repeat, _flip]
