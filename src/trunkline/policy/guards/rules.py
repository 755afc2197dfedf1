"""The rules of a gateway's checks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec

from trunkline.credentials.national_ids import COUNTRIES, Country
from trunkline.credentials.personal_data import USUAL, PersonalKind
from trunkline.credentials.redaction import SecretKind
from trunkline.credentials.telephones import knows_region

Side = Literal["request", "response"]
Action = Literal["flag", "block"]
CheckName = Literal["secrets", "personal", "injection", "topics", "judge"]

_Window = Annotated[int, msgspec.Meta(ge=50, le=5000)]
_Term = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[\w .&/-]{1,64}$")]
_T = TypeVar("_T")


class _Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the options of all checks have in common.

    ``include_system``: also text that the application itself wrote is checked, as are the tools it offers. ``window``
    is how many characters of a stream wait until what follows them is known.
    """

    include_system: bool = False
    window: _Window = 200


class SecretsOptions(_Options, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``kinds`` of secrets that are looked for, all where none are named."""

    include_system: bool = True
    kinds: tuple[SecretKind, ...] = ()


class PersonalOptions(_Options, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``kinds`` of data that are looked for.

    ``countries`` (ISO 3166-1) are those whose national ids are. ``regions`` are countries whose telephone numbers are
    found without the international prefix as well.
    """

    include_system: bool = True
    kinds: Annotated[tuple[PersonalKind, ...], msgspec.Meta(min_length=1)] = tuple(sorted(USUAL))
    countries: Annotated[tuple[Country, ...], msgspec.Meta(min_length=1)] = tuple(sorted(COUNTRIES))
    regions: Annotated[tuple[str, ...], msgspec.Meta(max_length=10)] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for a region whose telephone numbers nobody knows."""
        for region in self.regions:
            if not knows_region(region):
                raise ValueError(
                    f"`regions` names countries by their two capital letters (ISO 3166-1), such as US or DE; telephone"
                    f" numbers of {region[:20]!r} are not known"
                )


class InjectionOptions(_Options, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``threshold`` is how sure the signs together must be, 0 to 1: at 0.6 one plain sign is enough."""

    threshold: Annotated[float, msgspec.Meta(ge=0.1, le=1)] = 0.6


class TopicsOptions(_Options, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``topics`` are lists of words and phrases by name. ``*`` stands for letters of a word, ``?`` for one."""

    topics: Annotated[
        dict[_Name, Annotated[tuple[_Term, ...], msgspec.Meta(min_length=1, max_length=500)]],
        msgspec.Meta(min_length=1, max_length=100),
    ]


class JudgeOptions(_Options, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A language model that judges. Times are milliseconds.

    ``policy`` says in words what is not allowed, ``categories`` name kinds of it. ``on_failure`` is what happens when
    there is no verdict: nothing passes a rule that blocks, and all passes one that flags, unless it is set. A stream is
    judged each ``stride`` characters, and waits for that. Of a text of more than ``longest`` characters the model sees
    the beginning and the end.
    """

    provider: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "local"
    model: Annotated[str, msgspec.Meta(max_length=200)] = ""
    policy: Annotated[str, msgspec.Meta(max_length=8000)] = ""
    categories: Annotated[
        dict[
            Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}$")],
            Annotated[str, msgspec.Meta(max_length=500)],
        ],
        msgspec.Meta(max_length=50),
    ] = {}
    timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=120_000)] = 10_000
    on_failure: Literal["block", "pass", ""] = ""
    stride: Annotated[int, msgspec.Meta(ge=50, le=20_000)] = 400
    longest: Annotated[int, msgspec.Meta(ge=500, le=500_000)] = 8000

    def __post_init__(self) -> None:
        """Raise `ValueError` where there is nothing to judge by, or nobody who does."""
        if not self.model and self.provider != "local":
            raise ValueError("`model` names the model that judges; only the provider `local` has one by itself")
        if not self.policy and not self.categories:
            raise ValueError("a judge needs `policy`, which says in words what is not allowed, or `categories`")


Options = SecretsOptions | PersonalOptions | InjectionOptions | TopicsOptions | JudgeOptions

_OPTIONS: Final[dict[CheckName, type[Options]]] = {
    "secrets": SecretsOptions,
    "personal": PersonalOptions,
    "injection": InjectionOptions,
    "topics": TopicsOptions,
    "judge": JudgeOptions,
}
# What could stand where another word does: errors leave it out.
_CHOICES: Final[dict[tuple[CheckName, str], str]] = {
    ("secrets", "kinds"): ", ".join(get_args(SecretKind)),
    ("personal", "kinds"): ", ".join(get_args(PersonalKind)),
    ("personal", "countries"): ", ".join(sorted(COUNTRIES)),
    ("judge", "on_failure"): "block or pass",
}
_PLACE: Final = re.compile(r"Invalid enum value .*`\$\.([a-z_]+)", re.DOTALL)
# These find data that must not leave; the others find what must not be asked or said.
_DATA: Final = frozenset({"secrets", "personal"})


class GuardRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One check. ``check`` names its kind, ``options`` are that kind's own.

    Flagged exchanges go on, and say so in their row of the log and in ``cf-aig-dlp``; blocked ones end.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    check: CheckName
    action: Action = "block"
    sides: Annotated[tuple[Side, ...], msgspec.Meta(min_length=1, max_length=2)] = ("request", "response")
    options: dict[str, Any] = {}
    enabled: bool = True

    def __post_init__(self) -> None:
        """Raise `ValueError` naming the option at fault and what it may be."""
        try:
            self._converted(_OPTIONS[self.check])
        except msgspec.ValidationError as error:
            place = _PLACE.match(str(error))
            choices = _CHOICES.get((self.check, place[1]), "") if place is not None else ""
            expected = f"; expected {choices}" if choices else ""
            raise ValueError(f"options of the check {self.id!r} ({self.check}): {error}{expected}") from error

    @property
    def is_about_data(self) -> bool:
        """Whether it looks for data that must not leave, rather than for harm."""
        return self.check in _DATA

    def options_as(self, kind: type[_T]) -> _T:
        """Return the options, of the kind that belongs to the check."""
        found = self._converted(_OPTIONS[self.check])
        assert isinstance(found, kind)
        return found

    def common(self) -> _Options:
        """Return the options as far as all checks have them."""
        return self._converted(_OPTIONS[self.check])

    def _converted(self, kind: type[Options]) -> Options:
        return msgspec.convert(self.options, kind)
