"""Where installed checkpoints lie on this machine, and how one gets there whole or not at all.

Torch-free. Knows neither where checkpoints come from (``pull``) nor what is in them (``checkpoint``): for it a model
is a folder of files with a manifest, and only a folder that was renamed into its place is a model.

Which models are installed, and removing one. Torch-free; knows not who uses them: whoever removes one asks first.

Where the vocabulary of a model lies on this machine, be the model installed or its vocabulary alone.

Torch-free. To ask another server with token ids takes kilobytes of a checkpoint, not its gigabytes of weights:
``codellama-ls pull ID --tokenizer`` puts those beside the models, where no list of models shows them.
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

from inference.models import manifest
from inference.models.catalog import CATALOG, canonical
from inference.models.manifest import MismatchError, sync
from inference.system.files import make_private
from inference.system.progress import OnProgress

FOLDER_VARIABLE = "CODELLAMA_LS_MODELS"
"""Environment variable that names another folder for models, e.g. on a larger disk."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""A name that is a folder's name and no more."""
LONGEST_NAME = 200
"""Characters of a model's or adapter's name; file systems take 255 bytes, and unfinished copies get longer names."""


class StoreError(Exception):
    """A model can't be found, trusted or stored; the text is one sentence for the user."""


class ModelMissingError(StoreError):
    """The model was never installed."""


class ModelDamagedError(StoreError):
    """Files of an installed model are missing or changed."""


@dataclass(frozen=True, slots=True)
class Staging:
    """An installation under way: what is put into ``checkpoint`` will be installed, ``work`` is for the rest.

    What is put into ``facts`` stands in the manifest, for ``facts()`` to give back.
    """

    checkpoint: Path
    work: Path
    facts: dict[str, Any] = field(default_factory=dict)


def models_folder() -> Path:
    """The folder of all models: ``$CODELLAMA_LS_MODELS``, else ``models`` in the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("codellama-ls", False) / "models"


def location(model_id: str) -> Path:
    """Where a model lies if it is installed. Raises StoreError for a name that could leave the models' folder."""
    if len(model_id) > LONGEST_NAME:
        raise StoreError(f"A model's name has at most {LONGEST_NAME} characters, not {len(model_id)}.")
    if not NAME.fullmatch(model_id):
        raise StoreError(f"{model_id!r} can't name a model: use letters, digits, '.', '_' and '-'.")
    return models_folder() / model_id


def installed(model_id: str) -> Path:
    """The folder of an installed model whose files are all there in full length (their content is not read).

    Raises ModelMissingError, ModelDamagedError.
    """
    verify(model_id)
    return location(model_id)


def verify(model_id: str, *, full: bool = False, on_progress: OnProgress | None = None) -> None:
    """Compare an installed model with its manifest: sizes, and with ``full`` the content too (SHA-256).

    Raises ModelMissingError, ModelDamagedError.
    """
    folder = _existing(model_id)
    try:
        manifest.compare(folder, manifest.files(manifest.read(folder)), full, on_progress)
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def facts(model_id: str) -> dict[str, Any]:
    """What was noted about an installed model when it was installed. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        noted = manifest.read(folder).get("facts", {})
    except MismatchError as error:
        raise _damaged(model_id, error) from error
    return noted if isinstance(noted, dict) else {}


def source(model_id: str) -> str:
    """Where an installed model came from, version and all. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        return str(manifest.read(folder).get("source", ""))
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def hashes(model_id: str) -> dict[str, str]:
    """The SHA-256 of each file of an installed model. Raises ModelMissingError, ModelDamagedError."""
    folder = _existing(model_id)
    try:
        return {name: file.sha256 for name, file in manifest.files(manifest.read(folder)).items()}
    except MismatchError as error:
        raise _damaged(model_id, error) from error


def kept(model_id: str, version: str) -> Path:
    """A folder beside the models for what was downloaded of one version of a model until it can be installed.

    It outlives an interrupted download; what was kept of another version is removed. Raises StoreError for a version
    that could leave that folder.
    """
    if not NAME.fullmatch(version):
        raise StoreError(f"{version[:80]!r} can't name a version: use letters, digits, '.', '_' and '-'.")
    root = location(model_id).with_name(f".{model_id}.download")
    for other in root.iterdir() if root.is_dir() else ():
        if other.name != version:
            shutil.rmtree(other)
    folder = root / version
    return make_private(folder)


def forget_kept(model_id: str) -> None:
    """Remove what ``kept`` holds of a model."""
    shutil.rmtree(location(model_id).with_name(f".{model_id}.download"), ignore_errors=True)


@contextmanager
def locked(model_id: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the right to install this model; ``on_wait`` is called once if another process has it."""
    root = location(model_id).parent
    make_private(root)
    lock = FileLock(root / f".{model_id}.lock")  # freed by the system when its holder dies
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
    """Folders to fill; when the block ends without an exception they become the model, else nothing changes.

    The caller holds ``locked(model_id)``. What an interrupted installation left is removed first. ``source`` says in
    the manifest where the files came from; ``on_progress`` follows their hashing. Raises StoreError if the disk has
    less than ``bytes_needed`` free.
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
        raise ModelMissingError(f"The model {model_id!r} is not installed: run `codellama-ls pull {model_id}`.")
    return folder


def _damaged(model_id: str, error: MismatchError) -> ModelDamagedError:
    repair = f"run `codellama-ls pull {model_id} --force`"
    return ModelDamagedError(f"The installed model {model_id!r} is damaged ({error}): {repair}.")


def _swap(new: Path, target: Path, replaced: Path) -> None:
    if target.exists():
        target.rename(replaced)
    new.rename(target)
    sync(target.parent)


def _clean(target: Path, partial: Path, replaced: Path) -> None:
    """Undo what a killed installation left, also between the two renames of ``_swap``."""
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
            f"free: make room, or set {FOLDER_VARIABLE} to a folder on a larger disk."
        )


def all_installed() -> dict[str, Path]:
    """The folder of every model by id, sorted; damaged ones are among them, so that they can be seen and removed."""
    root = models_folder()
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith(".")}


def remove(model_id: str) -> None:
    """Delete an installed model, damaged or not.

    Raises ModelMissingError, StoreError while it is being installed, OSError where the disk refuses.
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
            forget_kept(model_id)
    except Timeout:
        raise StoreError(f"The model {model_id!r} is being installed; remove it when that has ended.") from None


FOLDER = ".tokenizers"

FILES = ("tokenizer.model", "tokenizer.json")


class VocabularyMissingError(LookupError):
    """No vocabulary of the model is on this machine; the message says how to get it."""


def place(model_id: str) -> Path:
    """Where a vocabulary by itself lies, or would. Raises ``store.StoreError`` for a name that can't be one."""
    model = location(model_id)
    return model.parent / FOLDER / model.name


def put(model_id: str, files: Iterable[Path]) -> Path:
    """Copy files to ``place``, all of them or none; what lay there before goes.

    Who puts the same one at the same time waits: two would copy into one folder.
    """
    target = place(model_id)
    make_private(target.parent)
    with FileLock(target.with_name(f".{target.name}.lock")):
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        make_private(partial)
        for file in files:
            shutil.copyfile(file, partial / file.name)
        shutil.rmtree(target, ignore_errors=True)
        return partial.rename(target)


def folder_of(name: str) -> Path:
    """The folder with the vocabulary of a model, by its id or Hugging Face id.

    Its own, else that of another size which was published with the same file. Raises ``VocabularyMissingError``, and
    ``store.StoreError`` for a name that can't be one.
    """
    model_id = canonical(name)
    for folder in _candidates(model_id):
        if any((folder / file).exists() for file in FILES):
            return folder
    raise VocabularyMissingError(
        f"The vocabulary of {model_id!r} is not on this machine: run `codellama-ls pull {model_id} --tokenizer`, which "
        "fetches no weights."
    )


def _candidates(model_id: str) -> Iterator[Path]:
    for one in (model_id, *_alike(model_id)):
        yield location(one)
        yield place(one)


def _alike(model_id: str) -> list[str]:
    """Code Llamas with as many rows: Meta published one vocabulary with sentinels and one without.

    What the 70B Instruct model adds to it, ``<step>``, is for chat.
    """
    row = CATALOG.get(model_id)
    if row is None or not row.hub.startswith("codellama/"):
        return []
    others = (other for other in CATALOG.values() if other.hub.startswith("codellama/") and other is not row)
    return [other.id for other in others if other.shape.vocab == row.shape.vocab]
