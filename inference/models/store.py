"""Installed models on disk: locate, verify, install atomically, remove. Torch-free.

A model is a folder of files with a manifest. An installation fills a temporary folder and renames it at the end.

Vocabularies can be installed without weights (``codellama-ls pull ID --tokenizer``): prompting a remote server with
token ids takes only the tokenizer's files. They lie in a hidden folder beside the models, and are not listed as models.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from inference.errors import CodeLlamaError
from inference.models import manifest
from inference.models.catalog import CATALOG, canonical
from inference.models.manifest import MismatchError, sync
from inference.system.files import make_private_folder
from inference.system.terminal import OnProgress

FOLDER_VARIABLE = "CODELLAMA_LS_MODELS"
"""Environment variable that overrides the folder of models, e.g. for a larger disk."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Valid names of models: safe as the name of a folder."""

LONGEST_NAME = 200
"""Characters of a model's or adapter's name. File systems allow 255 bytes, and temporary folders have suffixes."""

VOCABULARIES = ".tokenizers"
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


class StoreError(CodeLlamaError):
    """A model can't be found, verified or stored."""


class ModelMissingError(StoreError):
    """The model is not installed."""


class ModelDamagedError(StoreError):
    """Files of an installed model are missing or changed."""


class VocabularyMissingError(CodeLlamaError, LookupError):
    """The vocabulary of a model is not on this machine."""


@dataclass(frozen=True, slots=True)
class Staging:
    """A running installation.

    Attributes:
        checkpoint: the folder that becomes the model.
        work: a folder for temporary files.
        facts: entries for the manifest, returned by ``facts()`` later.
    """

    checkpoint: Path
    work: Path
    facts: dict[str, Any] = field(default_factory=dict)


def models_folder() -> Path:
    """Return the folder of all models: ``$CODELLAMA_LS_MODELS``, else ``models`` in the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("codellama-ls", False) / "models"


def location(model_id: str) -> Path:
    """Return the folder of a model, installed or not. Raises StoreError for an invalid name."""
    if len(model_id) > LONGEST_NAME:
        raise StoreError(f"A model's name has at most {LONGEST_NAME} characters, not {len(model_id)}.")
    if not NAME.fullmatch(model_id):
        raise StoreError(f"{model_id!r} can't name a model. Use letters, digits, '.', '_' and '-'.")
    return models_folder() / model_id


def installed(model_id: str) -> Path:
    """Return the folder of an installed model after checking that its files are complete (sizes only).

    Raises ModelMissingError, ModelDamagedError.
    """
    verify(model_id)
    return location(model_id)


def verify(model_id: str, *, full: bool = False, on_progress: OnProgress | None = None) -> None:
    """Compare an installed model with its manifest: sizes, and if ``full`` also content (SHA-256).

    Raises ModelMissingError, ModelDamagedError.
    """
    folder = _existing(model_id)
    try:
        manifest.compare(folder, manifest.files(manifest.read(folder)), full, on_progress)
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def facts(model_id: str) -> dict[str, Any]:
    """Return the facts that were recorded when a model was installed. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        entry = manifest.read(folder).get("facts", {})
    except MismatchError as error:
        raise _damaged(model_id, error) from error
    return entry if isinstance(entry, dict) else {}


def source(model_id: str) -> str:
    """Return the source and version of an installed model. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        return str(manifest.read(folder).get("source", ""))
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def hashes(model_id: str) -> dict[str, str]:
    """Return the SHA-256 of each file of an installed model. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        return {name: file.sha256 for name, file in manifest.files(manifest.read(folder)).items()}
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def download_folder(model_id: str, version: str) -> Path:
    """Return a folder for the downloaded files of one version of a model, until it is installed.

    The folder survives an interrupted download. Downloads of other versions are removed. Raises StoreError for an
    invalid version.
    """
    if not NAME.fullmatch(version):
        raise StoreError(f"{version[:80]!r} can't name a version. Use letters, digits, '.', '_' and '-'.")
    root = location(model_id).with_name(f".{model_id}.download")
    for other in root.iterdir() if root.is_dir() else ():
        if other.name != version:
            shutil.rmtree(other)
    folder = root / version
    return make_private_folder(folder)


def remove_download(model_id: str) -> None:
    """Remove the downloaded files of a model."""
    shutil.rmtree(location(model_id).with_name(f".{model_id}.download"), ignore_errors=True)


@contextmanager
def locked(model_id: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for installing a model; ``on_wait`` is called once if another process holds it."""
    root = location(model_id).parent
    make_private_folder(root)
    lock = FileLock(root / f".{model_id}.lock")  # the system releases it when its holder dies
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def installing(
    model_id: str, source: str, bytes_needed: int, on_progress: OnProgress | None = None
) -> Iterator[Staging]:
    """Yield folders to fill. If the block succeeds, they become the model; otherwise nothing changes.

    The caller must hold ``locked(model_id)``. Remains of an interrupted installation are removed first. ``source`` is
    recorded in the manifest; ``on_progress`` reports the hashing. Raises StoreError if less than ``bytes_needed`` bytes
    are free on the disk.
    """
    target = location(model_id)
    partial, replaced = (target.with_name(f".{model_id}.{kind}") for kind in ("partial", "replaced"))
    _clean(target, partial, replaced)
    _check_free(target.parent, model_id, bytes_needed)
    staging = Staging(partial / "checkpoint", partial / "work")
    try:
        for folder in (partial, staging.checkpoint, staging.work):
            folder.mkdir(mode=0o700)
        yield staging
        manifest.write(staging.checkpoint, on_progress, model=model_id, source=source, facts=staging.facts)
        _swap(staging.checkpoint, target, replaced)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _existing(model_id: str) -> Path:
    folder = location(model_id)
    if not folder.is_dir():
        raise ModelMissingError(f"The model {model_id!r} is not installed. Run `codellama-ls pull {model_id}`.")
    return folder


def _damaged(model_id: str, error: MismatchError) -> ModelDamagedError:
    repair = f"Run `codellama-ls pull {model_id} --force`."
    return ModelDamagedError(f"The installed model {model_id!r} is damaged ({error}). {repair}")


def _swap(new: Path, target: Path, replaced: Path) -> None:
    if target.exists():
        target.rename(replaced)
    new.rename(target)
    sync(target.parent)


def _clean(target: Path, partial: Path, replaced: Path) -> None:
    """Remove the remains of a killed installation, also of one killed between the two renames of ``_swap``."""
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    for folder in (partial, replaced):
        if folder.exists():
            shutil.rmtree(folder)


def _check_free(root: Path, model_id: str, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise StoreError(
            f"Installing {model_id!r} takes {needed / 1e9:.1f} GB while it runs, but {root} has {free / 1e9:.1f} GB "
            f"free. Make room, or set {FOLDER_VARIABLE} to a folder on a larger disk."
        )


def all_installed() -> dict[str, Path]:
    """Return the folder of every model by id, sorted. Damaged ones are included, so that they can be removed."""
    root = models_folder()
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def remove(model_id: str) -> None:
    """Delete an installed model, damaged or not. The caller makes sure that nothing uses it.

    Raises ModelMissingError, StoreError while it is being installed, OSError if deleting fails.
    """
    target = location(model_id)
    if not target.is_dir():
        raise ModelMissingError(f"The model {model_id!r} is not installed.")
    try:
        with FileLock(target.with_name(f".{model_id}.lock"), timeout=0):
            doomed = target.with_name(f".{model_id}.partial")  # an interrupted removal is cleaned up like a pull
            if doomed.exists():
                shutil.rmtree(doomed)
            target.rename(doomed)
            shutil.rmtree(doomed)
            remove_download(model_id)
    except Timeout:
        raise StoreError(f"The model {model_id!r} is being installed. Remove it afterwards.") from None


def vocabulary_folder(model_id: str) -> Path:
    """Return the folder for a vocabulary without weights. Raises StoreError for an invalid name."""
    model = location(model_id)
    return model.parent / VOCABULARIES / model.name


def put_vocabulary(model_id: str, files: Iterable[Path]) -> Path:
    """Replace a vocabulary without weights by copies of ``files``, atomically and under a lock."""
    target = vocabulary_folder(model_id)
    make_private_folder(target.parent)
    with FileLock(target.with_name(f".{target.name}.lock")):
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        make_private_folder(partial)
        for file in files:
            shutil.copyfile(file, partial / file.name)
        shutil.rmtree(target, ignore_errors=True)
        return partial.rename(target)


def find_vocabulary(name: str) -> Path:
    """Return the folder with the vocabulary of a model, by its id or Hugging Face id.

    It may be the folder of another size that was published with the same file. Raises VocabularyMissingError, or
    StoreError for an invalid name.
    """
    model_id = canonical(name)
    for folder in _candidates(model_id):
        if any((folder / file).exists() for file in TOKENIZER_FILES):
            return folder
    raise VocabularyMissingError(
        f"The vocabulary of {model_id!r} is not on this machine. Run `codellama-ls pull {model_id} --tokenizer`, which "
        "fetches no weights."
    )


def _candidates(model_id: str) -> Iterator[Path]:
    for one in (model_id, *_same_vocabulary(model_id)):
        yield location(one)
        yield vocabulary_folder(one)


def _same_vocabulary(model_id: str) -> list[str]:
    """Return the Code Llamas with as many embedding rows: Meta published one vocabulary with sentinels, one without.

    The 70B Instruct model adds only ``<step>``, for chat.
    """
    row = CATALOG.get(model_id)
    if row is None or not row.hub.startswith("codellama/"):
        return []
    others = (other for other in CATALOG.values() if other.hub.startswith("codellama/") and other is not row)
    return [other.id for other in others if other.shape.vocab == row.shape.vocab]
