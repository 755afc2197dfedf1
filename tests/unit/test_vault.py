"""Sealed values: bound to their place and to one master key, which is made once and kept for its owner alone."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import SettingsError
from trunkline.store import Vault
from trunkline.store.vault import Unsealable

KEY = bytes(range(32))


@given(st.text(), st.lists(st.text(), max_size=4))
def test_what_is_sealed_opens_in_its_place(value: str, place: list[str]) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(value, *place)
    assert vault.open(sealed, *place) == value


@pytest.mark.parametrize("place", [(), ("a",), ("a", "b", "c"), ("b", "a"), ("ab", ""), ("a", "b", "")])
def test_what_is_sealed_opens_in_no_other_place(place: tuple[str, ...]) -> None:
    sealed = Vault(KEY).seal("sk-secret", "a", "b")
    with pytest.raises(Unsealable):
        Vault(KEY).open(sealed, *place)


def test_another_master_key_opens_nothing() -> None:
    with pytest.raises(Unsealable):
        Vault(KEY[::-1]).open(Vault(KEY).seal("sk-secret", "a"), "a")


def test_a_changed_byte_opens_nothing() -> None:
    sealed = Vault(KEY).seal("sk-secret", "a")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(Unsealable):
            Vault(KEY).open(bytes(changed), "a")


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_and_not_misread(garbage: bytes) -> None:
    with pytest.raises(Unsealable):
        Vault(KEY).open(garbage, "a")


def test_the_same_value_is_never_sealed_alike() -> None:
    vault = Vault(KEY)
    assert vault.seal("sk-secret", "a") != vault.seal("sk-secret", "a")


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    sealed = Vault.at(tmp_path).seal("sk-secret", "a")
    assert Vault.at(tmp_path).open(sealed, "a") == "sk-secret"
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["master.key"]


def test_processes_that_start_together_agree_on_one_master_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        vaults = list(pool.map(lambda _: Vault.at(tmp_path), range(16)))
    sealed = vaults[0].seal("sk-secret", "a")
    assert all(vault.open(sealed, "a") == "sk-secret" for vault in vaults)


@pytest.mark.parametrize(
    "written", [KEY.hex(), base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode().rstrip("=")]
)
def test_a_master_key_is_read_in_hex_and_base64(tmp_path: Path, written: str) -> None:
    assert Vault(KEY).open(Vault.at(tmp_path, written).seal("x", "a"), "a") == "x"
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize("written", ["short", "zz" * 32, KEY.hex()[:-2], "é" * 32])
def test_what_is_no_master_key_is_refused_without_being_shown(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingsError, match="32 bytes") as refusal:
        Vault.at(tmp_path, written)
    assert written not in str(refusal.value)
    (tmp_path / "master.key").write_text(written)
    with pytest.raises(SettingsError, match="32 bytes"):
        Vault.at(tmp_path)
