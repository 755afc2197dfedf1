"""Keys go to the target and nowhere else."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from trunkline.credentials.matrix import Secret
from trunkline.probe import Keys, ProbeError
from trunkline.probe.keys import Secrets, placeholder
from trunkline.wire.subprotocols import is_token

PROVIDER = 'sk-Provider/+="key'
GATEWAY = "gw_token-1234567890"
SECRETS = Secrets(Keys(PROVIDER, GATEWAY))


def test_a_repr_shows_no_key() -> None:
    shown = repr(Keys(PROVIDER, GATEWAY))
    assert PROVIDER not in shown
    assert GATEWAY not in shown


@pytest.mark.parametrize("written", [GATEWAY, f"Bearer {GATEWAY}", f"  bearer   {GATEWAY}\n"])
def test_bearer_before_a_key_is_the_rows_to_write(written: str) -> None:
    assert Keys(gateway_key=written).gateway_key == GATEWAY


@pytest.mark.parametrize("key", ["sk-hidden\r\nx: y", "sk-hidden é", "sk-hidden two words"])
def test_a_key_that_no_header_can_carry_is_refused_by_the_name_of_its_variable(key: str) -> None:
    with pytest.raises(ProbeError, match="MY_KEY holds characters") as caught:
        Keys(key, provider_from="MY_KEY")
    assert "hidden" not in str(caught.value)


def test_each_run_has_a_wrong_key_of_its_own_that_every_place_can_carry() -> None:
    first, second = (Secrets(Keys()).value(Secret.WRONG_KEY) for _ in range(2))
    assert first != second
    assert first.startswith("sk-wrong-")
    assert is_token(first)


@pytest.mark.parametrize(
    "written",
    [
        PROVIDER,
        PROVIDER.upper(),
        quote(PROVIDER, safe=""),
        quote(PROVIDER),
        json.dumps(PROVIDER)[1:-1],
        json.dumps(PROVIDER)[1:-1].replace("/", "\\/"),
        html.escape(PROVIDER).replace("&quot;", "&#34;"),
        "".join(f"\\u{ord(character):04x}" for character in PROVIDER),
        "".join(f"&#x{ord(character):X};" for character in PROVIDER),
    ],
)
def test_a_key_is_found_in_whatever_form_it_is_echoed(written: str) -> None:
    assert SECRETS.scrub(f"you sent {written}, which is wrong") == "you sent [provider key], which is wrong"


def test_every_secret_is_replaced_by_what_it_is() -> None:
    wrong = SECRETS.value(Secret.WRONG_KEY)
    assert SECRETS.scrub(f"{GATEWAY}{PROVIDER} {wrong}") == "[gateway key][provider key] [wrong key]"


def test_a_key_within_a_longer_one_does_not_leave_the_rest_of_it() -> None:
    assert Secrets(Keys("sk-abc", "sk-abc-and-more")).scrub("sk-abc-and-more") == "[gateway key]"


def test_a_short_key_does_not_tear_what_stands_for_another() -> None:
    assert Secrets(Keys("sk-long-one", "key")).scrub("sk-long-one") == "[provider key]"


@pytest.mark.parametrize("masked", ["sk-abc12*********wxyz", "***", "sk-proj-****.wxyz"])
def test_what_an_api_has_masked_itself_is_masked_whole(masked: str) -> None:
    assert (
        SECRETS.scrub(f"Incorrect API key provided: {masked}, sorry") == "Incorrect API key provided: [masked], sorry"
    )


def test_what_stands_for_a_secret_names_its_kind() -> None:
    assert placeholder(Secret.PROVIDER_KEY) == "[provider key]"
