"""What one tuning is about: base, code, recipe and where its files lie. Knows no weights in memory and no terminal."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.models import store
from inference.models.adapter_files import WEIGHTS
from inference.models.catalog import Model
from inference.models.identify import row_of
from inference.models.manifest import sha256
from inference.text.source_files import SourceFile, read_sources
from inference.text.tokenizer import Tokenizer
from inference.text.tokenizer_loader import load_tokenizer
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX
from inference.training import heldout
from inference.training.recipe import Recipe


class TuningError(Exception):
    """It can't be tuned so; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Base:
    """The model that is taught: its row, its folder, where its files came from, its vocabulary."""

    row: Model
    folder: Path
    source: str
    tokenizer: Tokenizer

    @property
    def new_tokens(self) -> list[int]:
        """Sentinels the model has never been taught, if it never infilled."""
        ids = [self.tokenizer.control_id(piece) for piece in (PREFIX, SUFFIX, MIDDLE, END_OF_INFILL)]
        return [] if self.row.infill else [i for i in ids if i is not None]


@dataclass(frozen=True, slots=True)
class Code:
    """What is learnt from, what is judged by, and how many files were left out for which reason."""

    learnt: list[SourceFile]
    held: list[SourceFile]
    skipped: Counter[str]

    @property
    def fingerprint(self) -> str:
        """Changes with any file's name or text."""
        digest = hashlib.sha256()
        for file in (*self.learnt, *self.held):
            digest.update(f"{file.name}\0{file.text}\0".encode(errors="replace"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TuningTask:
    """Attributes: work: folder of the run's own files; start: an adapter whose weights it begins with, or None."""

    base: Base
    code: Code
    recipe: Recipe
    work: Path
    start: Path | None

    def settings(self) -> dict[str, Any]:
        """What decides the run's result; a checkpoint of other settings can't be gone on with."""
        return {
            "base": self.base.row.id,
            "base_source": self.base.source,
            "code": self.code.fingerprint,
            "recipe": self.recipe.as_json(),
            "start": _content(self.start) if self.start else None,
        }

    def check_same(self) -> None:
        """Raises TuningError where an interrupted run of other settings is in the way."""
        try:
            before = json.loads((self.work / "settings.json").read_text("utf-8"))
        except (OSError, ValueError):
            return
        changed = [name for name, value in self.settings().items() if before.get(name) != value]
        if changed:
            raise TuningError(
                f"An interrupted run of this adapter had other settings ({', '.join(changed)}): add --restart to begin "
                "anew, or --name to keep it and make another adapter."
            )


def open_base(name: str) -> Base:
    """An installed model with infilling's sentinels. Raises TuningError, UnknownModelError, StoreError."""
    row = row_of(name)
    folder = store.installed(row.id)
    tokenizer = load_tokenizer(folder)
    if tokenizer.control_id(END_OF_INFILL) is None:
        raise TuningError(
            f"{row.id} has no infilling sentinels in its vocabulary, so it can't be taught to infill: "
            "tune codellama-7b, codellama-13b, one of their Instruct models, codellama-70b, or the starter."
        )
    return Base(row, folder, store.source(row.id), tokenizer)


def read_code(paths: Sequence[Path]) -> Code:
    """The code below ``paths``, a tenth of its files held out. Raises TuningError, FileNotFoundError."""
    sources = read_sources([path.expanduser().resolve() for path in paths])
    try:
        learnt, held = heldout.split(sources.files)
    except ValueError as error:
        raise TuningError(f"{len(sources.files)} files of code were found. {error}") from error
    return Code(learnt, held, sources.skipped)


def _content(folder: Path) -> str:
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise TuningError(f"There is no adapter in {folder}: it holds no {weights.name}.")
    return sha256(weights)
