"""Names and passwords of people who sign in, and how long wrong ones make the next attempt wait."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from trunkline.errors import SettingsError

LONGEST_NAME: Final = 100
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1000

# Wrong attempts that cost no waiting, and what the next ones cost: twice as long each time.
_FREE_OF_NAME: Final = 5
_FREE_OF_ADDRESS: Final = 20
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


class Attempts:
    """Counts attempts to sign in, by the name that was tried and by where they come from; bounded in memory.

    An attempt counts as wrong from its beginning until it `succeeded`, so that many at once are not judged as one.
    Times are seconds of any clock that only grows.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def begin(self, name: str, address: str, now: float) -> float:
        """Count an attempt; return 0, or for how many seconds it must wait and is not counted."""
        keys = _keys(name, address)
        wait = max(self._wait(key, free, now) for key, free in keys)
        if wait > 0:
            return wait
        for key, _ in keys:
            count, _ = self._counts.get(key, (0, now))
            self._counts[key] = (count + 1, now)
            self._counts.move_to_end(key)
        while len(self._counts) > _MOST_KEPT:
            self._counts.popitem(last=False)
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Take an attempt back, and forget the wrong ones at this name."""
        (name_key, _), (address_key, _) = _keys(name, address)
        self._counts.pop(name_key, None)
        count, last = self._counts.get(address_key, (0, 0.0))
        if count > 1:
            self._counts[address_key] = (count - 1, last)
        else:
            self._counts.pop(address_key, None)

    def _wait(self, key: tuple[str, str], free: int, now: float) -> float:
        count, last = self._counts.get(key, (0, now))
        if now - last > _FORGOTTEN_AFTER:
            del self._counts[key]
            return 0.0
        if count < free:
            return 0.0
        return max(0.0, last + min(_LONGEST_WAIT, 2.0 ** min(count - free, 16)) - now)


def _keys(name: str, address: str) -> Iterable[tuple[tuple[str, str], int]]:
    # A household has all addresses of a /64.
    network = ":".join(address.split(":")[:4]) if address.count(":") > 1 else address
    return (("name", folded(name)), _FREE_OF_NAME), (("address", network), _FREE_OF_ADDRESS)
