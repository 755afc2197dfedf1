"""Names and passwords of people who sign in, and how long wrong ones make the next attempt wait."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from trunkline.errors import SettingsError

LONGEST_NAME: Final = 100
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1000

# Wrong attempts that cost no waiting, and what the next ones cost: twice as long each time. Many at one name come from
# several places: one place alone is slowed down before it gets so far, and so keeps nobody out who is elsewhere.
_FREE_OF_NAME_THERE: Final = 5
_FREE_OF_ADDRESS: Final = 20
_FREE_OF_NAME: Final = 100
_FREE_OF_BROWSER: Final = 5
_LONGEST_WAIT: Final = 60.0
_FORGOTTEN_AFTER: Final = 900.0
_MOST_KEPT: Final = 10_000


def folded(name: str) -> str:
    """Return a name as it is compared: two that look alike but for case are one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())


def checked_name(name: str) -> str:
    """Return a name to sign in with. Raises `SettingsError` saying what is wrong with it."""
    name = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise SettingsError(
            f"A name has 1 to {LONGEST_NAME} characters that can be printed, such as an e-mail address."
        )
    return name


def checked_password(password: str, name: str) -> str:
    """Return a password as it is hashed. Raises `SettingsError` saying what is wrong with it, and never what it is."""
    # The same password, typed on another keyboard, may come as other code points.
    password = normal_password(password)
    if len(password) < SHORTEST_PASSWORD:
        raise SettingsError(f"A password has at least {SHORTEST_PASSWORD} characters; several words make a good one.")
    if len(password) > LONGEST_PASSWORD:
        raise SettingsError(f"A password has at most {LONGEST_PASSWORD} characters.")
    if folded(password) == folded(name) or len(set(password)) < 4:
        raise SettingsError("That password is too easy to guess; several words make a good one.")
    return password


def normal_password(password: str) -> str:
    """Return a password as it is compared."""
    return unicodedata.normalize("NFKC", password)


class _Count(NamedTuple):
    wrong: int
    first: float
    last: float


class _Key(NamedTuple):
    kind: str
    value: str
    free: int

    def is_forgotten(self, count: _Count, now: float) -> bool:
        # Attempts at one name from everywhere are counted anew at times: they may never cease.
        return now - (count.first if self.kind == "name" else count.last) > _FORGOTTEN_AFTER


class Attempts:
    """Counts attempts to sign in: by name and place, by place, and by name wherever they come from; bounded in memory.

    ``browser`` is any text of a browser's own in which the name was signed in before. It is counted by that alone, so
    that strangers cannot keep its owner out, from its own address neither. An attempt counts as wrong from its
    beginning until it `succeeded`, so that many at once are not judged as one. Times are seconds of any clock that only
    grows.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()

    def begin(self, name: str, address: str, now: float, browser: str = "") -> float:
        """Count an attempt; return 0, or for how many seconds it must wait and is not counted."""
        keys = _keys(name, address, browser)
        wait = max(self._wait(key, now) for key in keys)
        if wait > 0:
            return wait
        for key in keys:
            count = self._counts.get(key, _Count(0, now, now))
            self._counts[key] = _Count(count.wrong + 1, count.first, now)
            self._counts.move_to_end(key)
        while len(self._counts) > _MOST_KEPT:
            self._counts.popitem(last=False)
        return 0.0

    def succeeded(self, name: str, address: str, browser: str = "") -> None:
        """Take an attempt back, and forget the wrong ones at this name there."""
        for key in _keys(name, address, browser):
            count = self._counts.get(key)
            if count is None:
                continue
            if key.kind in ("name there", "browser") or count.wrong == 1:
                del self._counts[key]
            else:
                self._counts[key] = count._replace(wrong=count.wrong - 1)

    def _wait(self, key: _Key, now: float) -> float:
        count = self._counts.get(key)
        if count is None:
            return 0.0
        if key.is_forgotten(count, now):
            del self._counts[key]
            return 0.0
        if count.wrong < key.free:
            return 0.0
        return max(0.0, count.last + min(_LONGEST_WAIT, 2.0 ** min(count.wrong - key.free, 16)) - now)


def _keys(name: str, address: str, browser: str) -> Sequence[_Key]:
    if browser:
        return (_Key("browser", browser, _FREE_OF_BROWSER),)
    # A household has all addresses of a /64.
    network = ":".join(address.split(":")[:4]) if address.count(":") > 1 else address
    name = folded(name)
    return (
        _Key("name there", f"{network} {name}", _FREE_OF_NAME_THERE),
        _Key("address", network, _FREE_OF_ADDRESS),
        _Key("name", name, _FREE_OF_NAME),
    )
