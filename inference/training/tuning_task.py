"""The inputs of a tuning run: base model, code, recipe and work folder. Torch-free."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import CodeLlamaError
from inference.models import store
from inference.models.adapter_files import WEIGHTS
from inference.models.catalog import Model
from inference.models.identify import row_of
from inference.models.manifest import sha256
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.source_files import SourceFile, read_sources
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX
from inference.training import heldout
from inference.training.recipe import Recipe


class TuningError(CodeLlamaError):
    """The tuning run can't start with these inputs."""


@dataclass(frozen=True, slots=True)
class Base:
    """The model to tune: its catalogue row, folder, the source of its files, and its tokenizer."""

    row: Model
    folder: Path
    source: str
    tokenizer: Tokenizer

    @property
    def new_tokens(self) -> list[int]:
        """The ids of the infilling sentinels if the model was not trained to infill, else none."""
        ids = [self.tokenizer.control_id(token) for token in (PREFIX, SUFFIX, MIDDLE, END_OF_INFILL)]
        return [] if self.row.infill else [i for i in ids if i is not None]


@dataclass(frozen=True, slots=True)
class Code:
    """Files to train on, files to hold out, and the number of skipped files by reason."""

    training: list[SourceFile]
    held_out: list[SourceFile]
    skipped: Counter[str]

    @property
    def fingerprint(self) -> str:
        """A digest of all names and texts."""
        digest = hashlib.sha256()
        for file in (*self.training, *self.held_out):
            digest.update(f"{file.name}\0{file.text}\0".encode(errors="replace"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TuningTask:
    """Inputs of a run. ``work`` is the folder of its files; ``start`` an adapter to start from, or None."""

    base: Base
    code: Code
    recipe: Recipe
    work: Path
    start: Path | None

    def settings(self) -> dict[str, Any]:
        """Return everything that decides the result. A checkpoint can only be resumed with the same settings."""
        return {
            "base": self.base.row.id,
            "base_source": self.base.source,
            "code": self.code.fingerprint,
            "recipe": self.recipe.as_json(),
            "start": _digest(self.start) if self.start else None,
        }

    def check_same(self) -> None:
        """Raise TuningError if the work folder holds an interrupted run with other settings."""
        try:
            before = json.loads((self.work / "settings.json").read_text("utf-8"))
        except (OSError, ValueError):
            return
        changed = [name for name, value in self.settings().items() if before.get(name) != value]
        if changed:
            raise TuningError(
                f"An interrupted run of this adapter has other settings ({', '.join(changed)}). Add --restart to "
                "discard it, or --name to train another adapter."
            )


def open_base(name: str) -> Base:
    """Return an installed model that has infilling sentinels. Raises TuningError, UnknownModelError, StoreError."""
    row = row_of(name)
    folder = store.installed(row.id)
    tokenizer = load_tokenizer(folder)
    if tokenizer.control_id(END_OF_INFILL) is None:
        raise TuningError(
            f"{row.id} can't learn to infill: its vocabulary has no infilling sentinels. "
            "Tune codellama-7b, codellama-13b, one of their Instruct models, codellama-70b, or the starter."
        )
    return Base(row, folder, store.source(row.id), tokenizer)


def read_code(paths: Sequence[Path]) -> Code:
    """Read the code below ``paths`` and hold out a tenth of the files. Raises TuningError, FileNotFoundError."""
    sources = read_sources([path.expanduser().resolve() for path in paths])
    try:
        training, held_out = heldout.split(sources.files)
    except ValueError as error:
        raise TuningError(f"{len(sources.files)} files of code were found. {error}") from error
    return Code(training, held_out, sources.skipped)


def _digest(folder: Path) -> str:
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise TuningError(f"There is no adapter in {folder}: {weights.name} is missing. Choose another folder.")
    return sha256(weights)
