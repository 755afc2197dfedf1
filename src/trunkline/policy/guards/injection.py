"""Signs that a text speaks to the model behind the application's back. Heuristics: they miss what they do not know."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from trunkline.policy.guards.checking import Match
from trunkline.policy.guards.plain import plain
from trunkline.policy.guards.rules import InjectionOptions


class _Sign(NamedTuple):
    """``weight`` is how sure one such sign makes; ``needs``: one of these is in any text that has it."""

    kind: str
    weight: float
    written: str
    needs: tuple[str, ...]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What it looks like. Of some fifty patterns most gateways need none, and to compile one takes a while."""
        return _compiled(self.written)


_compiled: Final = cache(re.compile)


def _sign(kind: str, weight: float, pattern: str, needs: str) -> _Sign:
    return _Sign(kind, weight, plain(pattern), tuple(plain(needs).split("|")))


# In place of a star: a word without an end, made of such words, would be read to its end for each of them.
_REST_OF_A_WORD: Final = r"\w{0,30}+"


def _orders(verbs: str, which: str, what: str) -> str:
    """Return a pattern for verbs before "the former instructions", in either order of words."""
    gap = r"[^.\n。]{0,40}?"
    pattern = rf"(?:{verbs}){gap}(?:(?:{which}){gap}(?:{what})|(?:{what}){gap}(?:{which}))"
    return pattern.replace(r"\w*", _REST_OF_A_WORD)


def _orders_behind(verbs: str, which: str, what: str) -> str:
    """Return one for languages that put the verb last."""
    gap = r"[^.\n。]{0,25}?"
    return rf"(?:{which}){gap}(?:{what}){gap}(?:{verbs})".replace(r"\w*", _REST_OF_A_WORD)


# Who is told to forget what was said before, by language. Patterns are made plain as texts are, which makes all letters
# small: no escape may have a large one.
_OVERRIDES: Final = (
    _orders(
        r"\b(?:ignore|disregard|forget|override|bypass|discard"
        r"|(?:do not|don'?t|never|stop) (?:follow|obey|listen to)\w*)\b",
        r"\b(?:previous|prior|above|earlier|preceding|foregoing|former|all|your|system|original|initial)\b",
        r"\b(?:instruction|prompt|rule|directive|direction|guideline|command|programming|training)s?\b",
    ),
    _orders(
        r"\b(?:ignorier|vergiss|vergesst|missacht|umgeh|uberschreib)\w*",
        r"\b(?:vorherig|vorig|obig|bisherig|fruher|vorangegangen|alle|deine|eure|system|ursprunglich)\w*",
        r"(?:anweisung|instruktion|regel|vorgabe|befehl|prompt|richtlinie)\w*",
    ),
    _orders(
        r"\b(?:ignore[rzs]?|oublie[rzs]?|neglige[rzs]?|contourne[rzs]?|ne (?:tiens|tenez) (?:pas|aucun) compte)\b",
        r"(?:precedent|anterieur|ci-dessus|toutes|tous|\btes\b|\bvos\b|systeme|initial)\w*",
        r"(?:instruction|consigne|regle|directive|ordre|prompt)\w*",
    ),
    _orders(
        r"\b(?:ignor[ae]|olvid[ae]|desobedec|omit[ae]|haz caso omiso|descart)\w*",
        r"(?:anterior|previa|previo|\btod[ao]s|\btus\b|\bsus\b|sistema|original|inicial)\w*",
        r"(?:instruccion|orden|regla|directri|indicacion|prompt)\w*",
    ),
    _orders(
        r"\b(?:ignora|dimentica|trascura|scarta)\w*",
        r"(?:precedent|tutt[ei]|\btue\b|vostre|sopra|sistema|original|inizial)\w*",
        r"(?:istruzion|regol|direttiv|comand|prompt)\w*",
    ),
    _orders(
        r"\b(?:ignor[ae]|esquec[ae]|desconsider|descart)\w*",
        r"(?:anterior|previa|previo|\btod[ao]s|suas|tuas|sistema|original|inicia)\w*",
        r"(?:instruc|regra|diretri|ordens|comando|prompt)\w*",
    ),
    _orders(
        r"\b(?:negeer|vergeet|omzeil)\w*",
        r"\b(?:vorige|eerdere|voorgaande|bovenstaande|alle|jouw|je|systeem)\w*",
        r"(?:instructie|opdracht|regel|richtlijn|prompt)\w*",
    ),
    _orders(
        r"\b(?:zignoruj|ignoruj|zapomnij|pomin)\w*",
        r"\b(?:poprzedni|wczesniejsz|wszystki|powyzsz|swoje|systemow)\w*",
        r"(?:instrukcj|polece|regul|zasad|wytyczn|prompt)\w*",
    ),
    _orders(
        r"(?:игнориру|забуд|не обращай внимания|пренебрег|отмени)\w*",
        r"(?:предыдущ|прежн|\bвсе|вышеуказанн|\bсвои|\bтвои|системн)\w*",
        r"(?:инструкци|указани|правил|команд|промпт)\w*",
    ),
    _orders(
        r"(?:تجاهل|انس|تخط)\w*",
        r"(?:السابق|أعلاه|جميع|كل|الأصلي)\w*",
        r"(?:تعليمات|التعليمات|الأوامر|أوامر|القواعد)",
    ),
    _orders(
        r"(?:忽略|无视|無視|忽視|忽视|忘记|忘記|忘掉|不要理会|不要遵守)",
        r"(?:之前|以上|上面|先前|所有|前面|系统|系統|原来)",
        r"(?:指令|指示|提示|规则|規則|说明|說明|命令)",
    ),
    _orders_behind(
        r"(?:無視|忘れ|従わな|破棄)",
        r"(?:以前|これまで|上記|前|すべて|全て|システム)",
        r"(?:指示|命令|ルール|プロンプト|指令)",
    ),
    _orders_behind(
        r"(?:무시|잊어|따르지)",
        r"(?:이전|앞선|위의|모든|기존|시스템)",
        r"(?:지시|명령|규칙|프롬프트|지침)",
    ),
    _orders_behind(
        r"(?:yoksay|gormezden gel|unut|dikkate alma)\w*",
        r"(?:onceki|tum|yukar[iı]daki|sistem)\w*",
        r"(?:talimat|komut|kural|yonerge)\w*",
    ),
)
# A word for orders, one of which is in any text that the pattern of the same place fits.
_WORDS_FOR_ORDERS: Final = (
    "instruction|prompt|rule|directive|direction|guideline|command|programming|training",
    "anweisung|instruktion|regel|vorgabe|befehl|prompt|richtlinie",
    "instruction|consigne|regle|directive|ordre|prompt",
    "instruccion|orden|regla|directri|indicacion|prompt",
    "istruzion|regol|direttiv|comand|prompt",
    "instruc|regra|diretri|ordens|comando|prompt",
    "instructie|opdracht|regel|richtlijn|prompt",
    "instrukcj|polece|regul|zasad|wytyczn|prompt",
    "инструкци|указани|правил|команд|промпт",
    "تعليمات|الأوامر|أوامر|القواعد",
    "指令|指示|提示|规则|規則|说明|說明|命令",
    "指示|命令|ルール|プロンプト|指令",
    "지시|명령|규칙|프롬프트|지침",
    "talimat|komut|kural|yonerge",
)
_FREE: Final = r"(?:restriction|limit|limitation|filter|rule|guideline|censorship|constraint|ethic|moral)"

_SIGNS: Final = (
    *(_sign("override", 0.7, *pair) for pair in zip(_OVERRIDES, _WORDS_FOR_ORDERS, strict=True)),
    _sign(
        "reveal",
        0.5,
        r"\b(?:reveal|show|print|repeat|output|display|tell me|give me|leak|dump|disclose"
        r"|write (?:out|down)|what (?:is|are|was|were))\b[^.\n]{0,40}?"
        r"\b(?:system (?:prompt|message|instructions?)|(?:your|hidden|secret|initial|original) (?:\w+ )?"
        r"(?:instructions?|prompt|system message)|(?:text|words|everything|all) above)\b",
        "prompt|instruction|message|above",
    ),
    _sign("role_play", 0.65, r"\b(?:do anything now|dan mode|(?:you are|act as|become) dan)\b", "dan|anything now"),
    _sign(
        "role_play",
        0.65,
        r"\b(?:god|jailbreak|unrestricted) mode[^\w]{1,3}(?:is )?(?:now )?(?:enabled|activated|on)\b",
        " mode",
    ),
    _sign("role_play", 0.45, r"\b(?:developer|sudo) mode[^\w]{1,3}(?:is )?(?:now )?(?:enabled|activated)\b", " mode"),
    _sign(
        "role_play",
        0.65,
        rf"\b(?:act|pretend|behave|respond|answer|imagine|role-?play)\b[^.\n]{{0,80}}?"
        rf"\b(?:no|without(?: any)?|free (?:of|from)(?: any)?) (?:\w+ )?{_FREE}",
        "restriction|limit|filter|rule|guideline|censor|constraint|ethic|moral",
    ),
    _sign(
        "role_play",
        0.65,
        rf"\byou (?:now )?(?:have|are bound by|need follow) no (?:\w+ )?{_FREE}",
        "restriction|limit|filter|rule|guideline|censor|constraint|ethic|moral",
    ),
    _sign(
        "role_play",
        0.5,
        r"\b(?:unrestricted|unfiltered|uncensored|amoral|jailbroken) (?:ai|assistant|model|version|chatbot|llm)\b",
        "unrestricted|unfiltered|uncensored|amoral|jailbroken",
    ),
    _sign("role_play", 0.4, r"\bfrom now on,? you (?:are|will|must|act|speak)\b", "from now on"),
    _sign(
        "role_play",
        0.5,
        r"\byou are no longer (?:an? )?(?:ai\b|assistant|bound|chatgpt|claude|gemini|limited|restricted)",
        "no longer",
    ),
    _sign(
        "delimiters",
        0.65,
        r"<\|(?:im_start|im_end|system|user|assistant|end|eot_id|start_header_id|end_header_id|endoftext)\|>"
        r"|<(?:start|end)_of_turn>|\[/?inst\]|<</?sys>>|</system(?:_prompt|_message)?>",
        "<|im_|<|system|<|user|<|assistant|<|e|<|start|_of_turn>|inst]|sys>>|</system",
    ),
    _sign("delimiters", 0.4, r"(?m)^[^\w]{0,4}(?:system|assistant|developer)[^\w]{0,3}:", "system|assistant|developer"),
    _sign("delimiters", 0.3, r"(?m)^#{2,4} ?(?:system|instructions?|assistant)\b", "#"),
    _sign(
        "delimiters",
        0.5,
        r"\b(?:end of (?:the )?(?:system |user )?(?:prompt|input|instructions)"
        r"|new (?:system )?(?:instructions?|prompt)\s?:"
        r"|begin (?:new )?(?:system )?(?:prompt|instructions))",
        "end of|new |begin",
    ),
)

_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4,4000}")
# Flags of regions are written with tags.
_FLAG: Final = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{8,4000}")
_NO_WIDTH: Final = re.compile("[\u200b\u2060-\u2064\ufeff]")
_TURNED: Final = re.compile("[\u202d\u202e]")
_MANY: Final = 8

_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,8000}={0,2}")
_HEXADECIMAL: Final = re.compile(r"(?<![0-9A-Fa-f])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:]?){16,4000}(?![0-9A-Fa-f])")
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}|[\w.+-]){16,4000}")
_NO_DIGITS: Final = re.compile(r"0x|\\x|[ ,:]")
# What is a letter here is no separator: a row of characters that were both would be parted in all ways there are.
_SPACED: Final = re.compile(r"(?<!\w)(?:[^\W_][ .*_-]{1,2}+){10,200}[^\W_](?!\w)")
_SQUEEZED: Final = re.compile(
    r"(?:ignore|disregard|forget)(?:all)?(?:previous|prior|your|the|above)?(?:instruction|rule|prompt)"
)
# A pattern is searched for in so much at once, and then others have their turn: it lets nobody else work meanwhile.
_PIECE: Final = 16_384
_LONGEST_SIGN: Final = 512
_PAYLOADS: Final = 20
_PRINTABLE: Final = 0.85
_SURER: Final = 0.2


class Injection:
    """Adds up the signs in a text, each kind once; yields them when they come to the threshold."""

    def __init__(self, options: InjectionOptions) -> None:
        self._threshold = options.threshold

    def search(self, text: str) -> Iterator[Match]:
        """Yield the kinds of signs, or nothing for a text that is not suspect enough."""
        signs = _signs_in(text)
        if _sure(weight for weight, _ in signs.values()) >= self._threshold:
            for _, match in signs.values():
                yield match


def _sure(weights: Iterator[float] | list[float]) -> float:
    doubt = 1.0
    for weight in weights:
        doubt *= 1 - weight
    return round(1 - doubt, 6)


def _signs_in(text: str) -> dict[str, tuple[float, Match]]:
    """Return the strongest sign of each kind, with its weight."""
    found = _spoken(plain(text))
    for kind, weight in (*_hidden(text), *_encoded(text)):
        if weight > found.get(kind, (0.0,))[0]:
            found[kind] = weight, Match(kind, len(text), 1)
    return found


def _spoken(text: str) -> dict[str, tuple[float, Match]]:
    """Return the signs in a plain text."""
    found: dict[str, tuple[float, Match]] = {}
    for sign in _SIGNS:
        known = found.get(sign.kind)
        if (known is not None and known[0] >= sign.weight) or not any(word in text for word in sign.needs):
            continue
        match = _first(sign.pattern, text)
        if match is not None:
            left = len(text) - match.end()
            found[sign.kind] = sign.weight, Match(sign.kind, len(text) - match.start(), left)
    return found


def _first(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    for start in range(0, len(text), _PIECE):
        match = pattern.search(text, start, start + _PIECE + _LONGEST_SIGN)
        if match is not None:
            return match
    return None


def _hidden(text: str) -> Iterator[tuple[str, float]]:
    """Yield the signs of what is there and not seen."""
    if text.isascii():
        return
    for run in _TAGS.findall(_FLAG.sub("", text)):
        yield "hidden_text", 0.65
        yield from _payload("".join(chr(ord(one) - 0xE0000) for one in run))
    for run in _SELECTORS.findall(text):
        yield "hidden_text", 0.65
        raw = bytes(_selected(ord(one)) for one in run)
        yield from _payload(raw.decode("utf-8", "replace"))
    if len(_NO_WIDTH.findall(text)) >= _MANY:
        yield "hidden_text", 0.4
    if _TURNED.search(text):
        yield "hidden_text", 0.3


def _selected(code: int) -> int:
    return code - 0xFE00 if code < 0xE0000 else code - 0xE0100 + 16


def _encoded(text: str) -> Iterator[tuple[str, float]]:
    """Yield the signs of orders that are written so that people do not read them. What is encoded twice stays so."""
    for number, match in enumerate(_BASE64.finditer(text)):
        if number >= _PAYLOADS:
            break
        written = match[0].replace("-", "+").replace("_", "/").rstrip("=")
        yield from _payload(_decoded(written))
    for number, match in enumerate(_HEXADECIMAL.finditer(text)):
        if number >= _PAYLOADS:
            break
        digits = _NO_DIGITS.sub("", match[0])
        yield from _payload(_readable(bytes.fromhex(digits[: len(digits) // 2 * 2])))
    if text.count("%") >= _MANY:
        for number, match in enumerate(_PERCENT.finditer(text)):
            if number >= _PAYLOADS:
                break
            if "%" in match[0]:
                yield from _payload(unquote(match[0].replace("+", " ")))
    for match in _SPACED.finditer(text):
        if _SQUEEZED.search(plain(re.sub(r"[ .*_-]", "", match[0]))):
            yield "encoded", 0.8


def _decoded(written: str) -> str:
    try:
        return _readable(base64.b64decode(written[: len(written) // 4 * 4] + _rest(written)))
    except (binascii.Error, ValueError):
        return ""


def _rest(written: str) -> str:
    rest = written[len(written) // 4 * 4 :]
    return rest + "=" * (4 - len(rest)) if len(rest) > 1 else ""


def _readable(raw: bytes) -> str:
    """Return bytes as text if they are one."""
    text = raw.decode("utf-8", "ignore")
    if not text or len(text) < len(raw) // 4 or sum(map(str.isprintable, text)) < _PRINTABLE * len(text):
        return ""
    return text


def _payload(text: str) -> Iterator[tuple[str, float]]:
    if not text:
        return
    sure = _sure([weight for weight, _ in _spoken(plain(text)).values()])
    if sure:
        yield "encoded", min(0.95, sure + _SURER)
