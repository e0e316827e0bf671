"""The model under test: its checkpoint, adapter, weight format and the layouts it supports. Torch-free until loaded."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.evaluation.batch_journal import key_of
from inference.evaluation.hole_prompts import LAYOUTS, PromptLayout
from inference.evaluation.hole_sources import DataError
from inference.models import adapter_store, identify, store
from inference.models.adapter_files import read
from inference.models.catalog import STARTER, Model, why_no_infill
from inference.models.checkpoint import LoadError
from inference.models.manifest import MANIFEST
from inference.models.shape import Shape
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """A model to evaluate.

    Attributes:
        row: its catalogue row, or one derived from its checkpoint.
        folder: its checkpoint.
        adapter: a peft adapter's folder, or None.
        weight_format: as for ``loader.load``.
        tokenizer: its tokenizer.
        layouts: prompt layouts that it supports.
    """

    row: Model
    folder: Path
    adapter: Path | None
    weight_format: Any
    tokenizer: Tokenizer
    layouts: tuple[PromptLayout, ...]

    def choose_layouts(self, wanted: Sequence[PromptLayout]) -> tuple[PromptLayout, ...]:
        """Return the wanted layouts, or all supported ones. Raises DataError for an unsupported one."""
        if any(layout not in self.layouts for layout in wanted):
            missing = f"The vocabulary in {self.folder} has no infilling sentinels. Use `--layout prefix`."
            raise DataError(why_no_infill(self.row) or missing)
        return tuple(layout for layout in LAYOUTS if layout in (wanted or self.layouts))

    def identity(self) -> str:
        """Return a digest of everything that decides its text: weights, adapter, vocabulary, format, versions."""
        from importlib.metadata import version

        import torch

        software = [version("torch"), version("transformers"), torch.cuda.is_available()]
        return key_of(_digest(self.folder), self.adapter and _digest(self.adapter), self.weight_format, software)

    def load(self) -> Any:
        """Load the transformers model with its adapter. Raises LoadError."""
        from inference.models.loader import read_transformers

        model = read_transformers(self.folder, self.weight_format)
        return model if self.adapter is None else _with_adapter(model, self.adapter)


def find_model(name: str, adapter_name: str | None, weight_format: Any) -> ModelUnderTest:
    """Find an installed model, or a checkpoint's folder, and an adapter by its name or folder.

    An adapter is taken to infill if the vocabulary has the sentinels, since ``tune`` teaches infilling.
    Raises AdapterError, UnknownModelError, StoreError, ShapeError, TokenizerError.
    """
    folder = Path(name)
    if folder.is_dir():
        row, tokenizer = _row_of_folder(folder)
    else:
        row = identify.row_of(name)
        folder = store.installed(row.id)
        tokenizer = load_tokenizer(folder)
    adapter = _adapter(adapter_name) if adapter_name else None
    sentinels = identify.guess(folder, tokenizer).infill
    infills = sentinels and (row.infill or adapter is not None)
    return ModelUnderTest(row, folder, adapter, weight_format, tokenizer, LAYOUTS if infills else ("prefix",))


def _row_of_folder(folder: Path) -> tuple[Model, Tokenizer]:
    """Derive a row from a folder that is not installed: its configuration and vocabulary."""
    shape, tokenizer = Shape.from_folder(folder), load_tokenizer(folder)
    trained = identify.guess(folder, tokenizer)
    known = {"context": shape.positions, "usable_context": shape.positions, "infill": trained.infill, "chat": None}
    return replace(STARTER, id=folder.resolve().name, title=folder.name, shape=shape, **known), tokenizer


def _adapter(name: str) -> Path:
    """Return the folder of an adapter, given by folder or by name. Raises AdapterError."""
    folder = Path(name)
    return read(folder).folder if folder.is_dir() else adapter_store.find(name).folder


def _with_adapter(model: Any, folder: Path) -> Any:
    """Merge the adapter, which is faster, unless the weights are in 4 bits: rounding would lose it."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings(action="ignore"):
            adapted = PeftModel.from_pretrained(model, folder, is_trainable=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LoadError(
            f"The adapter in {folder} does not fit this model ({reason}). Choose the model that it was made for."
        ) from error
    merged: Any = adapted if getattr(model, "is_loaded_in_4bit", False) else adapted.merge_and_unload()
    return merged.eval()


def _digest(folder: Path) -> str:
    """Return a digest of a folder's files; an installed model's manifest already has theirs."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        return key_of(json.loads(manifest.read_text("utf-8")))
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".model"))
    return key_of([[path.name, _content(path)] for path in files])


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
