"""Where the vocabulary of a model lies on this machine, be the model installed or its vocabulary alone.

Torch-free. To ask another server with token ids takes kilobytes of a checkpoint, not its gigabytes of weights:
``codellama-ls pull ID --tokenizer`` puts those beside the models, where no list of models shows them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from inference.folders import make_private
from inference.models import store
from inference.models.catalog import CATALOG, canonical

FOLDER = ".tokenizers"

FILES = ("tokenizer.model", "tokenizer.json")


class VocabularyMissingError(LookupError):
    """No vocabulary of the model is on this machine; the message says how to get it."""


def place(model_id: str) -> Path:
    """Where a vocabulary by itself lies, or would. Raises ``store.StoreError`` for a name that can't be one."""
    model = store.location(model_id)
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
        yield store.location(one)
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
