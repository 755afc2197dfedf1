"""How a secret may be shown: by its last characters to its owner, by a fingerprint to everybody else.

And how what strangers wrote loses the secrets in it before it is kept: those that are known, those that can be told by
their shape, and those that are named as what they are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from trunkline.credentials.personal_data import Found, personal_data

REDACTED: Final = "[redacted]"
_REDACTED: Final = REDACTED.encode()

# Whole words of a parameter's name: ``xi-api-key`` and ``X-Amz-Signature`` hold a secret, ``keywords`` does not.
_SECRET_WORDS: Final = frozenset(
    {"key", "apikey", "token", "secret", "signature", "sig", "credential", "password", "auth", "authorization"}
)
_WORD_BREAK: Final = re.compile(r"[^a-z0-9]+")

# Members, headers and form fields whose value is a secret, by their names without case and punctuation.
_SECRET_NAMES: Final = frozenset(
    {
        *("authorization", "proxyauthorization", "cookie", "setcookie", "clientsecret", "secret", "secretkey"),
        *("apikey", "xapikey", "xiapikey", "xgoogapikey", "key", "accesskey", "secretaccesskey", "privatekey"),
        *("accesstoken", "authtoken", "bearertoken", "refreshtoken", "sessiontoken", "idtoken", "gatewaytoken"),
        *("password", "passwd", "credential", "credentials", "cfaigauthorization", "providerkey", "subscriptionkey"),
    }
)
# However somebody calls theirs: ``openai_api_key``.
_SECRET_ENDS: Final = ("apikey", "secretkey", "accesskey", "privatekey", "accesstoken", "authtoken", "clientsecret")
# These name much else too: what they hold is a secret only if it looks like one.
_VAGUE_NAMES: Final = frozenset({"key", "credential", "credentials"})
_NO_LETTER: Final = re.compile(r"[^a-z]")

# How keys of known shapes begin, and go on. Regular expressions alone would take twenty times as long to look for them
# as plain searches for their beginnings. No pattern is without bound, so that text without end costs no more than its
# length. Those that words of a language begin like (``key-``) have a digit, or the stars of a masked key.
_PLAIN: Final = rb"(?=[\w.-]{0,40}[\d*])[\w*.-]{8,400}"
_JSON_WEB_TOKEN: Final = b"eyJ"
_KEY_SHAPES: Final = tuple(
    (begin.encode(), re.compile(re.escape(begin.encode()) + rest))
    for begins, rest in (
        (
            "sk- sk_ rk- rk_ pk- pk_ ek- ek_ tlk- tlk_ gsk- gsk_ xai- xai_ pplx- pcsk_ csk- nvapi- tgp_ sess- key-",
            _PLAIN,
        ),
        ("hf_ r8_", rb"[A-Za-z0-9]{16,100}"),
        ("AIza", rb"[\w-]{20,60}"),
        ("ya29.", rb"[\w.-]{16,2000}"),
        ("AKIA ASIA ABIA ACCA", rb"[A-Z0-9]{12,28}"),
        ("ghp_ gho_ ghr_ ghs_ ghu_", rb"[A-Za-z0-9]{16,255}"),
        ("github_pat_ glpat-", rb"[\w-]{16,255}"),
        ("xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs-", rb"[\w-]{10,250}"),
        (_JSON_WEB_TOKEN.decode(), rb"[\w-]{8,1000}+\.[\w-]{4,4000}+(?:\.[\w-]{0,4000})?"),
    )
    for begin in begins.split()
)
# What follows such a word is a secret if it looks like one: a "bearer of bad news" has none.
_SCHEMES: Final = (b"bearer", b"token", b"basic")
_BEHIND_A_SCHEME: Final = re.compile(rb"(?: {1,4}|%20|\+)([^\s\"'\\,;<>(){}\[\]]{8,4096})")
# No letter is before a key, but for that of an escape: of JSON, in which a line break is ``\n``, or of a URL.
_LETTER_BEFORE: Final = re.compile(rb"(?<![\\%])(?<![\\%][0-9A-Fa-f])(?<!\\u[0-9A-Fa-f]{3})[A-Za-z0-9]\Z")
_PEM: Final = b"-----BEGIN "
_PRIVATE_KEY_BEGINS: Final = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_PRIVATE_KEY_ENDS: Final = re.compile(rb"-----END [A-Z ]{0,40}PRIVATE KEY-----|(?=\")")
# Deepgram's keys and others are nothing but hexadecimal digits; so are the names of commits, which bodies are full of.
_HEXADECIMAL: Final = re.compile(r"\b[0-9a-f]{40}\b")

# The last word of every secret name; behind it its quote (escaped, in JSON within JSON), a colon or an equals sign, and
# the quote of the value.
_LAST_WORDS: Final = (b"key", b"token", b"secret", b"authorization", b"password", b"passwd", b"cookie", b"credential")
_BEHIND_A_NAME: Final = re.compile(rb"s?(\\{0,7}[\"'])?\s{0,8}[:=]\s{0,8}(\\{0,7}[\"'])?")
_LONGEST_NAME: Final = 60
_NAME_START: Final = re.compile(rb"[a-z0-9_-]{1,60}\Z")
_JSON_STRING: Final = re.compile(rb"[^\"\\]*(?:\\.[^\"\\]*)*", re.DOTALL)
_STRING_IN_A_STRING: Final = re.compile(rb"[^\"]*")
_QUOTED: Final = re.compile(rb"[^'\"\\\r\n]*")
_BARE: Final = re.compile(rb"[^\s\"'&,;\\<>{}\[\]()]{0,4096}")
_JSON_BEGINS: Final = re.compile(rb"\s*(?:[{\[\"]|(?:event|data|id|retry)?:)")
_LOOKS_LIKE_A_SECRET: Final = re.compile(rb"(?=[^\d]{0,200}\d)[^\s]{8,}|[^\s]{20,}")
_LOOKS_LIKE_A_KEY: Final = re.compile(rb"(?=[^\d]{0,200}\d)[\w.+/=~:-]{16,}")

# What is refused for a secret must be one: names such as ``key-features-2024`` and values of examples are not. In a key
# is a run of letters and digits that no word is, or it is long and has all kinds of them.
_RANDOM: Final = re.compile(rb"(?<![A-Za-z0-9])(?=[A-Za-z]{0,100}\d)(?=\d{0,100}[A-Za-z])[A-Za-z0-9]{12,}")
_LONG_KEY: Final = re.compile(rb"(?=[^a-z]{0,100}[a-z])(?=[^A-Z]{0,100}[A-Z])(?=[^\d]{0,100}\d)[\w.-]{40,}")
_LOOKS_LIKE_A_PASSWORD: Final = re.compile(rb"(?=[^\d]{0,200}\d)(?=[^A-Za-z]{0,200}[A-Za-z])[^\s\"'<>{}$*]{8,200}")
_PASSWORDS: Final = frozenset({"password", "passwd"})

SecretKind = Literal["api_key", "json_web_token", "private_key", "bearer_token", "named_secret"]

# Shorter words are no secrets: they stand in many a text, and nobody is protected by leaving them out.
_SHORTEST_SECRET: Final = 8
# Between two of these another thread may run.
_WINDOW: Final = 64 * 1024


def tail(secret: str) -> str:
    """Return the last four characters of a secret, or nothing when that would be a good part of it."""
    return secret[-4:] if len(secret) >= 16 else ""


def fingerprint(secret: str) -> str:
    """Return a short digest by which two log lines can be seen to speak of the same secret."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def redact_query(query: str) -> str:
    """Return a query string with the values of parameters that carry secrets replaced."""
    if not query:
        return ""
    return urlencode(
        [
            (name, REDACTED if _holds_a_secret(name) else value)
            for name, value in parse_qsl(query, keep_blank_values=True)
        ],
        errors="replace",
    )


def names_a_secret(name: str) -> bool:
    """Whether a member or header of this name holds a secret, however it is spelt."""
    return _is_secret_name(_NO_LETTER.sub("", name.lower()))


def redact(text: str, secrets: Iterable[str] = (), *, personal: bool = False) -> str:
    """Return a text without secrets: as `Redactor.redact`, for a text that is read by people."""
    return Redactor(secrets, personal=personal).redact(text.encode(errors="replace")).decode(errors="replace")


def redact_message(message: str) -> str:
    """Return somebody's short message without what could be a key in it."""
    return _HEXADECIMAL.sub(REDACTED, redact(message))


class Redactor:
    """Takes secrets out of what is kept. ``secrets`` are known ones; ``personal``: personal data goes too."""

    def __init__(self, secrets: Iterable[str] = (), *, personal: bool = False) -> None:
        self._written = _ways_to_write(secrets)
        self._personal = personal

    def redact(self, text: bytes) -> bytes:
        """Return a text with every secret replaced by ``[redacted]``.

        What was JSON, or a stream of events with JSON, still is; what had no secret is the same object. The time it
        takes grows with the length alone, and other threads run meanwhile.
        """
        found = [*self._known(text), *_key_shapes(text), *_private_keys(text)]
        lower = text.lower()
        found += _behind_schemes(text, lower)
        found += _named(text, lower, is_json=_JSON_BEGINS.match(text) is not None)
        if self._personal:
            for start in range(0, len(text), _WINDOW):
                found += personal_data(text, start, min(len(text), start + _WINDOW))
        return _replaced(text, _with_keys_behind(text, found)) if found else text

    def _known(self, text: bytes) -> Iterator[Found]:
        for written in self._written:
            for at in _places(text, written):
                yield Found(at, at + len(written), _REDACTED)


def has_key_shape(text: str) -> bool:
    """Whether something in a text has the shape of a known kind of key."""
    return next(_key_shapes(text.encode(errors="replace")), None) is not None


def keys_in(text: str) -> list[str]:
    """Return what in a text has the shape of a known kind of key."""
    raw = text.encode(errors="replace")
    return [raw[found.start : found.end].decode(errors="replace") for found in _key_shapes(raw)]


def secrets_in(text: bytes) -> Iterator[tuple[SecretKind, Found]]:
    """Yield what in a text is a secret for sure enough to refuse the text for it, in no order; pieces may overlap.

    Stricter than `Redactor`, which loses nothing by replacing a word too many.
    """
    for begin, pattern in _KEY_SHAPES:
        kind: SecretKind = "json_web_token" if begin == _JSON_WEB_TOKEN else "api_key"
        for found in _of_shape(text, begin, pattern):
            key = text[found.start : found.end]
            if not pattern.pattern.endswith(_PLAIN) or _RANDOM.search(key) or _LONG_KEY.fullmatch(key):
                yield kind, found
    for found in _private_keys(text):
        yield "private_key", found
    lower = text.lower()
    for found in _behind_schemes(text, lower):
        if _LOOKS_LIKE_A_KEY.fullmatch(text[found.start : found.end]):
            yield "bearer_token", found
    for name, found in _named_values(text, lower, is_json=_JSON_BEGINS.match(text) is not None):
        shape = _LOOKS_LIKE_A_PASSWORD if name in _PASSWORDS else _LOOKS_LIKE_A_KEY
        if shape.fullmatch(text[found.start : found.end]):
            yield "named_secret", found


def redact_key_shapes(text: str) -> str:
    """Return a text without what has the shape of a known kind of key."""
    raw = text.encode(errors="replace")
    found = [*_key_shapes(raw)]
    return _replaced(raw, _with_keys_behind(raw, found)).decode(errors="replace") if found else text


def _places(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))


def _key_shapes(text: bytes) -> Iterator[Found]:
    for begin, pattern in _KEY_SHAPES:
        yield from _of_shape(text, begin, pattern)


def _of_shape(text: bytes, begin: bytes, pattern: re.Pattern[bytes]) -> Iterator[Found]:
    for at in _places(text, begin):
        found = pattern.match(text, at)
        if found is not None and not _is_within_a_word(text, at):
            yield Found(*found.span(), _REDACTED)


def _with_keys_behind(text: bytes, found: list[Found]) -> list[Found]:
    """Return pieces that go, and the keys that begin where one of them ends: no word is before those any more."""
    pieces = [(piece, True) for piece in found]
    for begin, pattern in _KEY_SHAPES:
        for at in _places(text, begin):
            shape = pattern.match(text, at)
            if shape is not None:
                pieces.append((Found(*shape.span(), _REDACTED), False))
    kept: list[Found] = []
    end = -1
    for piece, goes in sorted(pieces):
        if goes or piece.start == end:
            kept.append(piece)
            end = max(end, piece.end)
    return kept


def _behind_schemes(text: bytes, lower: bytes) -> Iterator[Found]:
    for scheme in _SCHEMES:
        for at in _places(lower, scheme):
            found = _BEHIND_A_SCHEME.match(text, at + len(scheme))
            if found is not None and _LOOKS_LIKE_A_SECRET.match(found[1]) and not _is_within_a_word(text, at):
                yield Found(*found.span(1), _REDACTED)


def _is_within_a_word(text: bytes, at: int) -> bool:
    return _LETTER_BEFORE.search(text, max(0, at - 6), at) is not None


def _private_keys(text: bytes) -> Iterator[Found]:
    """Yield the keys in PEM (RFC 7468), each to its end or to that of the string it stands in."""
    at = text.find(_PEM)
    while at >= 0:
        begun = _PRIVATE_KEY_BEGINS.match(text, at)
        last = at + len(_PEM)
        if begun is not None:
            ended = _PRIVATE_KEY_ENDS.search(text, begun.end())
            last = ended.end() if ended is not None else len(text)
            while text[last - 1 : last] == b"\\":  # these belong to the quote, in JSON within JSON
                last -= 1
            yield Found(at, last, _REDACTED)
        at = text.find(_PEM, last)


def _named(text: bytes, lower: bytes, *, is_json: bool) -> Iterator[Found]:
    """Yield the values of members and fields that are named as secrets."""
    return (found for _, found in _named_values(text, lower, is_json=is_json))


def _named_values(text: bytes, lower: bytes, *, is_json: bool) -> Iterator[tuple[str, Found]]:
    """Yield these with their names, which are letters alone."""
    for word in _LAST_WORDS:
        reached = 0
        for at in _places(lower, word):
            behind = _BEHIND_A_NAME.match(text, at + len(word)) if at >= reached else None
            if behind is None:
                continue
            begin = _NAME_START.search(lower, max(0, at - _LONGEST_NAME), at)
            first = begin.start() if begin is not None else at
            name = _NO_LETTER.sub("", lower[first : behind.end()].decode("ascii", "replace"))
            if not _is_secret_name(name):
                continue
            value = _value(text, behind, is_json=is_json)
            if value is not None and _is_secret(text[value[0] : value[1]], name, is_quoted=behind[2] is not None):
                reached = value[1]
                yield name, Found(*value, _REDACTED)


def _is_secret_name(letters: str) -> bool:
    return letters in _SECRET_NAMES or letters.endswith(_SECRET_ENDS)


def _is_secret(value: bytes, name: str, *, is_quoted: bool) -> bool:
    if name in _VAGUE_NAMES:
        return _LOOKS_LIKE_A_KEY.fullmatch(value) is not None
    return bool(value) if is_quoted else _LOOKS_LIKE_A_SECRET.match(value) is not None


def _value(text: bytes, behind: re.Match[bytes], *, is_json: bool) -> tuple[int, int] | None:
    """Return where the value behind a name stands. In JSON it never reaches beyond the string that it is part of."""
    name_quote, value_quote = behind.groups()
    start = behind.end()
    if name_quote is not None and value_quote != name_quote:
        return None  # a number or an object
    if value_quote is None:
        return _span(_BARE, text, start)
    if value_quote == b'"':
        # After a bare name this quote may be the end of a string of JSON, and not the beginning of a value.
        return None if is_json and name_quote is None else _span(_JSON_STRING, text, start)
    if value_quote.endswith(b"'"):
        return _span(_QUOTED, text, start)
    start, end = _span(_STRING_IN_A_STRING, text, start)
    return start, start + len(text[start:end].rstrip(b"\\"))  # these belong to the quote


def _span(pattern: re.Pattern[bytes], text: bytes, start: int) -> tuple[int, int]:
    found = pattern.match(text, start)
    return found.span() if found is not None else (start, start)


def _replaced(text: bytes, found: list[Found]) -> bytes:
    """Return a text with pieces replaced; of those that overlap, all of what they cover."""
    parts: list[bytes] = []
    at = 0
    for piece in sorted(found):
        if piece.start >= at:
            parts += (text[at : piece.start], piece.instead)
        at = max(at, piece.end)
    return b"".join((*parts, text[at:]))


def _ways_to_write(secrets: Iterable[str]) -> list[bytes]:
    """Return known secrets as they may be written: plainly, within JSON, in a URL, and in base64."""
    ways: dict[bytes, None] = {}
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue
        raw = secret.encode(errors="replace")
        inner = json.dumps(secret)[1:-1]
        texts = (secret, inner, inner.replace("/", "\\/"), json.dumps(inner)[1:-1], quote(secret, safe=""))
        for way in (*texts, quote_plus(secret), quote(secret)):
            ways[way.encode(errors="replace")] = None
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for before in range(3):
                ways[_in_base64(encode(bytes(before) + raw), before, len(raw))] = None
    # The longest first: where one is part of another, all of that other goes.
    return sorted(ways, key=len, reverse=True)


def _in_base64(encoded: bytes, before: int, length: int) -> bytes:
    """Return the characters that depend on nothing but the secret, which begins ``before`` bytes into a group."""
    return encoded[(before * 8 + 5) // 6 : (before + length) * 8 // 6]


def _holds_a_secret(parameter: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(_WORD_BREAK.split(parameter.lower()))
